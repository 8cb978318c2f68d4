"""The command line: train, analyze what a run left, begin with files of one's own."""
