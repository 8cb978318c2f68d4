"""Hook points whose activation nothing reads: replacing it would be an effect of 0 that says nothing."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from llc_lightning.components.loss import ModuleLoss
from llc_lightning.runtime.batches import Batch, Params, take
from llc_lightning.runtime.errors import AddressError

_FEW = 3
"""Examples that tell what is computed from what."""


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
    few = take(batch, slice(0, _FEW))
    for point in _without_gradient(loss, params, few, points) if points else ():
        # Where one point's gradient fails, none is known of the others; and a few examples may pass by a layer.
        if not _without_gradient(loss, params, batch, [point]):
            continue
        # A module may cut its graph off, or write over what it needs; then numbers must tell.
        with torch.no_grad():
            shifted = loss.asked("per_example_loss", params, batch, [(point, partial(_add, torch.ones(())))])
            if torch.equal(shifted, loss(params, batch)):
                raise AddressError(
                    f"the loss does not depend on what the hook point {point!r} shows, so that ablating it does "
                    "nothing; address the submodule whose output is used."
                )


def _without_gradient(loss: ModuleLoss, params: Params, batch: Batch, points: Sequence[str]) -> list[str]:
    """Returns the hook points in whose activations no gradient of the loss is known, all asked in one pass."""
    probes = {point: torch.zeros((), requires_grad=True) for point in points}
    changes = [(point, partial(_add, probe)) for point, probe in probes.items()]
    with torch.enable_grad():
        total = loss.asked("per_example_loss", params, batch, changes).sum()
        found = _gradients(total, list(probes.values()))
    return [point for point, one in zip(probes, found, strict=True) if one is None]


def hears(loss: ModuleLoss, params: Params, batch: Batch, sender: str, receiver: str) -> bool:
    """Says whether the activation at one hook point is computed from that at another, by gradient or by numbers."""
    few = take(batch, slice(0, _FEW))
    heard: list[Tensor] = []

    def listen(activation: Tensor) -> Tensor:
        heard.append(activation.clone())
        return activation

    def run(probe: Tensor) -> Tensor:
        loss.asked("per_example_loss", params, few, [(sender, partial(_add, probe)), (receiver, listen)])
        return heard.pop()

    with torch.enable_grad():
        probe = torch.zeros((), requires_grad=True)
        if _gradients(run(probe).sum(), [probe])[0] is not None:
            return True
    with torch.no_grad():
        return not torch.equal(run(torch.ones(())), run(torch.zeros(())))


def _add(number: Tensor, activation: Tensor) -> Tensor:
    return activation + number.to(activation)


def _gradients(total: Tensor, probes: Sequence[Tensor]) -> Sequence[Tensor | None]:
    """Returns the gradients of a sum; None where there is none, or where it is not known."""
    if not total.requires_grad:
        return [None] * len(probes)
    try:
        return torch.autograd.grad(total, probes, allow_unused=True)
    except RuntimeError:  # in place something was written over what the gradient needs
        return [None] * len(probes)
