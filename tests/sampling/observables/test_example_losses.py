"""The losses of single examples."""

import torch
from torch import Tensor

from llc_lightning.runtime.batches import Params
from llc_lightning.sampling.base import SAMPLERS, Posterior
from llc_lightning.sampling.chains import run_chains
from llc_lightning.sampling.observables.example_losses import ExampleLosses
from llc_lightning.sampling.recorder import Recorder
from llc_lightning.sampling.slices import moved_entries
from llc_lightning.sampling.stacked import StackedLoss
from tests.sampling.observables.looks import DATA, look_at


def test_they_are_of_the_same_examples_whatever_the_minibatch() -> None:
    observable = ExampleLosses(1, DATA[[0, 3]], torch.tensor([1.0, 2.0]))
    looked = observable.look(look_at([[3.0, 4.0], [0.0, 0.0]], batches=[[[1], [2]]]))
    assert looked.tolist() == [[[12.5 + 3 - 1, 12.5 - 12 - 2]], [[-1.0, -2.0]]]


def test_what_their_examples_decide_is_kept_for_the_chains_alone() -> None:
    def loss(params: Params, batch: Tensor) -> Tensor:
        return (batch.exp() @ params["w"]).square()

    params, data = {"w": torch.ones(2)}, torch.randn(6, 2, generator=torch.Generator().manual_seed(0))
    stacked = StackedLoss(loss, params, [moved_entries(params, None)])
    posterior = Posterior(stacked.centre, torch.ones(1), torch.ones(1))
    kept: list[int] = []

    def done(_: int) -> None:
        kept.append(len(stacked._shared))

    baseline = loss(params, data)
    run = run_chains(
        stacked, SAMPLERS.get("sgld").item(posterior, torch.full((1,), 0.01), None), data, baseline,
        seed=0, chains=range(3), steps=4, done=done,
        recorder=Recorder([ExampleLosses(2, data[:4], baseline[:4])], posterior, lanes=1),
    )  # fmt: skip
    assert run.observed["example_losses"].shape == (1, 3, 2, 4)
    assert kept == [1] * 4
    assert not stacked._shared
