"""Families of networks: a file here tells how one of them is wired."""
