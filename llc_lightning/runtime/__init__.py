"""What every room stands on: types, seeds, errors, cadence, quarantine, workers. Imports no other room."""
