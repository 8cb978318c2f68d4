"""What several runs answer: one file for each question."""
