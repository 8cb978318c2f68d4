"""The losses of predictions position by position, and their mean over the positions that have a target."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from llc_lightning.data.sequences.base import Outputs, Targets, has_target


def position_losses(outputs: Outputs, targets: Targets) -> Float[Tensor, "example position"]:
    """Returns the loss at every position, 0 where there is no target.

    It is the cross-entropy in nats where the targets are tokens, and the squared error of the one output where they are
    numbers.
    """
    if targets.is_floating_point():
        return (outputs[..., 0] - targets.nan_to_num()).square() * has_target(targets)
    losses = F.cross_entropy(outputs.flatten(0, 1), targets.flatten().clamp_min(0), reduction="none")
    return losses.view(targets.shape) * has_target(targets)


def sequence_losses(outputs: Outputs, targets: Targets) -> Float[Tensor, "example"]:
    """Returns the loss of every sequence, the mean over its targets; 0 for a sequence without any."""
    return position_losses(outputs, targets).sum(dim=1) / has_target(targets).sum(dim=1).clamp_min(1)


def sequence_hits(outputs: Outputs, targets: Targets) -> Float[Tensor, "example"]:
    """Returns the share of every sequence's target tokens that have the largest logit."""
    hits = (outputs.argmax(dim=-1) == targets) & has_target(targets)
    return hits.sum(dim=1) / has_target(targets).sum(dim=1).clamp_min(1)


def mean_loss(outputs: Outputs, targets: Targets) -> Float[Tensor, ""]:
    """Returns the mean loss over sequences."""
    return sequence_losses(outputs, targets).mean()
