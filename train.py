"""Trains a network, and measures while it trains: `python train.py --help` shows how."""

import sys

from llc_lightning.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
