"""How many directions count at a resolution, by the curvature of the loss at w*."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from llc_lightning.llc.estimator import moved_by_default
from llc_lightning.llc.local import some_examples, spectrum_around
from llc_lightning.llc.settings import Resolution
from llc_lightning.runtime.batches import Batch, LossFn, Params
from llc_lightning.sampling.curvature import Spectrum
from llc_lightning.sampling.slices import moved_entries
from llc_lightning.sampling.stacked import StackedLoss

_EXAMPLES = 512


@dataclass(frozen=True)
class Directions:
    """The spectrum of the Hessian along the moved weights at w*, of which there are ``dimension``."""

    spectrum: Spectrum
    dimension: int
    norm: float
    """Of all weights of the model."""

    def counted(self, at: Resolution) -> float:
        """Returns ``sum_i n_beta h_i / (n_beta h_i + gamma)``: twice the LLC in the quadratic approximation."""
        nodes, weights = at.n_beta * self.spectrum.nodes[0, 0].clamp(min=0), self.spectrum.weights[0, 0]
        felt = torch.where(nodes > 0, nodes / (nodes + at.gamma), 0.0)
        return self.dimension * (weights * felt).sum().item()


def directions(
    loss_fn: LossFn, params: Params, data: Batch, moved: Mapping[str, Tensor] | None, *, seed: int
) -> Directions:
    """Returns the curvature at w*, on at most 512 of the examples.

    Args:
        loss_fn: The loss per example.
        params: w*.
        data: The examples.
        moved: Masks by parameter name; None moves everything.
        seed: Keys the random vectors and the choice of examples.
    """
    with torch.inference_mode(False), torch.enable_grad():
        params = {name: tensor.detach().clone() for name, tensor in params.items()}
        lane = moved_entries(params, moved_by_default(loss_fn, params) if moved is None else moved)
        stacked = StackedLoss(loss_fn, params, [lane])
        spectrum = spectrum_around(stacked, some_examples(data, _EXAMPLES, seed), stacked.start(1), seed)
    norm = math.sqrt(sum(v.double().square().sum().item() for v in params.values() if v.is_floating_point()))
    return Directions(spectrum, lane.layout.dimension, norm)
