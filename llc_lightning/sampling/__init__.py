"""Markov chains around a weight setting: posterior, samplers, and the batched driver.

Importing a sampler's file here is what registers it.
"""

from llc_lightning.sampling.lm import LeimkuhlerMatthews as LeimkuhlerMatthews
from llc_lightning.sampling.mala import MALA as MALA
from llc_lightning.sampling.rmsprop_sgld import RMSpropSGLD as RMSpropSGLD
from llc_lightning.sampling.sgld import SGLD as SGLD
from llc_lightning.sampling.sgld_cv import SGLDCV as SGLDCV
from llc_lightning.sampling.sgnht import SGNHT as SGNHT
