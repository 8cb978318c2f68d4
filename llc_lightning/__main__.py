"""``python -m llc_lightning``: the same as ``llc-lightning``."""

import sys

from llc_lightning.cli.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
