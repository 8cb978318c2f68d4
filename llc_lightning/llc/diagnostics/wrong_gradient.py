"""A loss that does not follow its gradient."""

import math

from jaxtyping import Float
from torch import Tensor

from llc_lightning.llc.diagnostics.base import REASONS, Evidence
from llc_lightning.sampling.observables.base import apart

WRONG_SHARE = 0.25
WRONG_ERRORS = 4.0


@REASONS.register(
    "wrong-gradient",
    summary=f"away from w* the loss rises otherwise than its gradient says, by {WRONG_SHARE} of both and by "
    f"{WRONG_ERRORS:.0f} errors of the difference",
    sentence="along the chains the loss changes otherwise than its gradient says; compute it with differentiable "
    "operations of all moved weights, without detach(), round() or argmax().",
    order=90,
    observes=("gradient_check",),
)
def wrong_gradient(evidence: Evidence) -> bool:
    """Says whether the gradient is that of another function."""
    seen = evidence.observed.get("gradient_check")
    return seen is not None and differ(*apart(seen))


def differ(risen: Float[Tensor, "chain look"], sloped: Float[Tensor, "chain look"]) -> bool:
    """Says whether two changes of the loss differ by a quarter of both and by 4 errors, since kinks make some."""
    gap = (risen - sloped).double()
    size = (risen.double().abs() + sloped.double().abs()).mean().item() / 2
    error = gap.std().item() / math.sqrt(gap.numel()) if gap.numel() > 1 else math.inf
    return gap.mean().abs().item() > max(WRONG_SHARE * size, WRONG_ERRORS * error)
