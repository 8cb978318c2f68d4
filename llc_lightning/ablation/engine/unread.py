"""Hook points whose activation nothing reads: replacing it would be an effect of 0 that says nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from llc_lightning.components.loss import ModuleLoss
from llc_lightning.runtime.batches import Batch, Params
from llc_lightning.runtime.errors import AddressError


def check_read(loss: ModuleLoss, params: Params, batch: Batch, points: Sequence[str]) -> None:
    """Checks that the loss is computed from the activations at hook points.

    Some are shown after they were used: attention scores in a bridge of TransformerLens, or what a fused kernel
    computes again by itself. A unit that nothing reads *by its weights* is read, and its effect of 0 is a finding.

    Args:
        loss: The module's loss.
        params: The weights.
        batch: Some examples.
        points: The hook points.

    Raises:
        AddressError: If nothing reads one of them.
    """
    for point in points:
        with torch.enable_grad():
            probe = torch.zeros((), requires_grad=True)
            total = loss.with_edits([_Shift(point, probe)])(params, batch).sum()
            gradient: tuple[Tensor | None, ...] = (None,)
            if total.requires_grad:
                gradient = torch.autograd.grad(total, probe, allow_unused=True)
        if gradient[0] is not None:
            continue
        # A module may cut its graph off; then numbers must tell.
        with torch.no_grad():
            shifted = loss.with_edits([_Shift(point, torch.ones(()))])(params, batch)
            if torch.equal(shifted, loss(params, batch)):
                raise AddressError(
                    f"the loss does not depend on what the hook point {point!r} shows, so that ablating it does "
                    "nothing; address the submodule whose output is used."
                )


@dataclass(frozen=True)
class _Shift:
    """Adds a number to an activation."""

    point: str
    by: Tensor

    def __call__(self, activation: Tensor) -> Tensor:
        """Returns the sum."""
        return activation + self.by.to(activation)
