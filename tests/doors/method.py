"""An ablation of weights, as a contributor would write it: weights keep their signs alone."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from llc_lightning.ablation.engine.base import METHODS, WeightMethod
from llc_lightning.ablation.engine.weights import Weight


@METHODS.register(
    "sign_only",
    summary="keeps the signs of the component's weights",
    constant=True,
    needs_reference=False,
    needs_partner=False,
    whole=False,
    draws=1,
)
@dataclass(frozen=True)
class SignOnly(WeightMethod):
    def edited(self, weights: Sequence[Weight], *, seed: int, draw: int) -> Sequence[Tensor]:
        return [weight.values.sign() for weight in weights]
