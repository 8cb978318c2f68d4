"""Markov chains around a weight setting: posterior, samplers, and the batched driver."""

from llc_lightning.sampling.samplers.lm import LeimkuhlerMatthews as LeimkuhlerMatthews
from llc_lightning.sampling.samplers.mala import MALA as MALA
from llc_lightning.sampling.samplers.rmsprop_sgld import RMSpropSGLD as RMSpropSGLD
from llc_lightning.sampling.samplers.sgld import SGLD as SGLD
from llc_lightning.sampling.samplers.sgld_cv import SGLDCV as SGLDCV
from llc_lightning.sampling.samplers.sgnht import SGNHT as SGNHT
