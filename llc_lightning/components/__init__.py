"""Addresses of a network's parts: where their activation is replaced, and which weights make them."""
