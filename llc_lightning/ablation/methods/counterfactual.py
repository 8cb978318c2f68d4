"""Counterfactual ablation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from llc_lightning.ablation.engine.base import METHODS, Activations, Shared
from llc_lightning.runtime.errors import SettingError


@METHODS.register(
    "counterfactual", summary="replaces the activation by that on the example's counterfactual partner",
    source="Vig et al. 2020, arXiv:2004.12265; Wang et al. 2022, arXiv:2211.00593",
    also=("patching", "interchange"), constant=False, needs_reference=True, needs_partner=True, whole=False, draws=1,
    revision=3,
)  # fmt: skip
@dataclass(frozen=True)
class Counterfactual(Shared):
    """Replaces the activation by that on a partner of the example, which differs from it in what is studied alone.

    Partners are given with the examples, or by the module's ``counterfactual(batch)``.
    """

    def values(
        self, seen: Activations, blocks: Sequence[Int[Tensor, "row"]], *, seed: int
    ) -> Iterator[Float[Tensor, "1 row *unit"]]:
        """Yields the partners' activations."""
        if seen.partner is None:
            raise SettingError(
                "the ablation method 'counterfactual' needs a partner of each example; give counterfactual=, or give "
                "the module a method counterfactual(batch)."
            )
        partner = seen.partner
        if seen.partner_real is not None:  # where a partner has nothing to say, the activation stays
            partner = torch.where(seen.partner_real, partner, seen.activation)
        return (partner[rows.to(partner.device)][None] for rows in blocks)
