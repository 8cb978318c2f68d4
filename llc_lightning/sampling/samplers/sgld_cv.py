"""SGLD with less gradient noise, by a control variate at the centre."""

from jaxtyping import Float
from torch import Tensor

from llc_lightning.runtime.errors import SettingError
from llc_lightning.sampling.base import SAMPLERS, Evaluate, Evaluated, LangevinSampler, Posterior
from llc_lightning.sampling.stacked import Stack


@SAMPLERS.register(
    "sgld_cv",
    summary="SGLD with the gradient at w* as control variate: less bias from minibatches, at twice the cost of a step",
    source="Baker et al. 2019, arXiv:1706.05439",
    full_batch=False,
    needs_centre_gradient=True,
    preconditioned=True,
    adapts=False,
    limited=True,
    bias_known=True,
    noise_known=True,
    order=1,
    fraction=0.2,
)
class SGLDCV(LangevinSampler):
    """SGLD along ``grad L_b(w) - grad L_b(w*) + grad L(w*)``, with ``L_b`` the loss on the minibatch.

    The mean over minibatches is ``grad L(w)``, and the noise vanishes at w*. With the full batch it is SGLD.
    """

    def __init__(self, posterior: Posterior, step_size: Float[Tensor, "lane"], preconditioner: Stack | None) -> None:
        if posterior.gradient is None:
            raise SettingError("sgld_cv needs the gradient at the centre; give the posterior its gradient.")
        self._gradient = posterior.gradient
        super().__init__(posterior, step_size, preconditioner)

    def look(self, position: Stack, evaluate: Evaluate) -> Evaluated:
        """Returns the loss, and the gradient with its control variate."""
        excess, gradient = evaluate(position)
        if not evaluate.minibatch:
            return Evaluated(excess, gradient)
        there = evaluate.gradient_at_centre()
        return Evaluated(excess, {name: value - there[name] + self._gradient[name] for name, value in gradient.items()})
