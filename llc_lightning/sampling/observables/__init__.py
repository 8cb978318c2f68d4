"""What is seen along a chain: every observable is a file here, and being here registers it."""
