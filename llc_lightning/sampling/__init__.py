"""Markov chains around a weight setting: posterior, samplers, and the batched driver.

Importing a sampler's file here is what registers it.
"""

from llc_lightning.sampling.sgld import SGLD as SGLD
