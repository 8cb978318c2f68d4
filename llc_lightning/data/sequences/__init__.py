"""Tasks for small transformers: one file and one class each."""
