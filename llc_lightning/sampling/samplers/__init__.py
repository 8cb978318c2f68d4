"""Every sampler is a file here, and being here registers it."""

from llc_lightning.runtime.registry import register_all

register_all("llc_lightning.sampling.samplers")
