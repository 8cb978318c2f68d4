"""Random campaigns, too long for CI: ``make faults``."""
