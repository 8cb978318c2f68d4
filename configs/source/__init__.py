"""Writes the files of ``configs/``: `make configs`. An experiment is an entry in ``experiments.py``."""
