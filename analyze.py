"""Reads a run, finished or not: `python analyze.py --help` shows what there is."""

import sys

from llc_lightning.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["analyze", *sys.argv[1:]]))
