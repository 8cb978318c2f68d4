"""The study: nets of four kinds trained and measured alike, the tables that this leaves, and what these say.

``python -m study run`` trains and measures what is missing and keeps one table for each net and seed in
``study/tables``; ``python -m study tables`` prints from them every number of ``docs/findings.md``.
"""
