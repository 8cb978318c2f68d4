"""An ablation of weights with a reason of its own, as a contributor would write it: weights keep their signs alone."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from llc_lightning.ablation.engine.base import METHODS, Activations, WeightMethod
from llc_lightning.ablation.engine.effect import Effect
from llc_lightning.ablation.engine.weights import Weight
from llc_lightning.runtime.status import REASONS

REASONS.register(
    "few-examples", summary="fewer than 8 examples", sentence="few examples tell little of signs; measure on more."
)(None)


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

    def reasons(self, effect: Effect, seen: Sequence[Activations]) -> Sequence[str]:
        return ["few-examples"] if effect.n < 8 else []
