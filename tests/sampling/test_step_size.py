"""The automatic step size."""

import torch
from torch import Tensor

from llc_lightning.runtime.batches import Params
from llc_lightning.sampling.base import Posterior
from llc_lightning.sampling.samplers.sgld import SGLD
from llc_lightning.sampling.slices import moved_entries
from llc_lightning.sampling.stacked import StackedLoss
from llc_lightning.sampling.step_size import automatic_step_size

ONE_EXAMPLE = torch.zeros(1)


def quartic(params: Params, batch: Tensor) -> Tensor:
    return params["w"].sum() ** 4 + 0 * batch


def test_a_pilot_chain_that_is_about_to_explode_does_not_decide_the_step() -> None:
    """Its last move is behind its last loss: nothing but the curvature there, a thousand times the usual, tells."""
    params = {"w": torch.zeros(8)}
    stacked = StackedLoss(quartic, params, [moved_entries(params, None)])
    posterior = Posterior(stacked.start(1), torch.tensor([100.0]), torch.tensor([0.1]))
    chosen = torch.cat([
        automatic_step_size(
            stacked, SGLD, posterior, None, ONE_EXAMPLE, torch.zeros(1), ONE_EXAMPLE,
            fraction=0.4, seed=seed, chains=range(4), batch_size=None,
        )
        for seed in range(12, 27)  # 17 and 24 end so
    ])  # fmt: skip
    assert chosen.min() > chosen.median() / 10
