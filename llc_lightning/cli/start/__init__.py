"""What ``llc-lightning init`` writes: a configuration, and a module and data that it names."""
