"""Ways to ablate: one file each, which is registered by being here."""
