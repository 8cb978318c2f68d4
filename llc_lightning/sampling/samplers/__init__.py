"""Every sampler is a file here, and being here registers it."""
