"""A sampler, as a contributor would write it: SGLD at half of its step size."""

from jaxtyping import Float
from torch import Tensor

from llc_lightning.sampling.base import SAMPLERS, Posterior
from llc_lightning.sampling.samplers.sgld import SGLD
from llc_lightning.sampling.stacked import Stack


@SAMPLERS.register(
    "careful",
    summary="SGLD at half of its step size",
    full_batch=False,
    needs_centre_gradient=False,
    preconditioned=True,
    adapts=False,
    limited=True,
    bias_known=False,
    noise_known=True,
    order=1,
    fraction=0.2,
    step_fraction=0.2,
)
class Careful(SGLD):
    def __init__(self, posterior: Posterior, step_size: Float[Tensor, "lane"], preconditioner: Stack | None) -> None:
        super().__init__(posterior, step_size / 2, preconditioner)
