"""Against devinterp 2: the same steps under the same noise, and a baseline that is several times less noisy."""

import math

import pytest
import torch
from devinterp.optim import SGMCMC
from torch import Tensor, nn

from llc_lightning.components.loss import loss_fn, snapshot_params
from llc_lightning.llc.estimator import estimate_llc
from llc_lightning.runtime.seeding import generator
from llc_lightning.sampling.base import Posterior
from llc_lightning.sampling.chains import run_chains
from llc_lightning.sampling.samplers.sgld import SGLD
from llc_lightning.sampling.slices import moved_entries
from llc_lightning.sampling.stacked import StackedLoss

STEPS, CHAINS, N_BETA, GAMMA, STEP_SIZE = 50, 4, 100.0, 10.0, 1e-4


class Classifier(nn.Module):
    """An MLP with a cross entropy."""

    def __init__(self, inputs: int, width: int, classes: int) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, width)
        self.second = nn.Linear(width, classes)

    def per_example_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, y = batch
        return nn.functional.cross_entropy(self.second(self.first(x).relu()), y, reduction="none")


def data(n: int, inputs: int, classes: int) -> tuple[Tensor, Tensor]:
    """Returns inputs and noisy labels of a random linear teacher."""
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(n, inputs, generator=draws)
    teacher = torch.randn(inputs, classes, generator=draws)
    return x, (x @ teacher + 3 * torch.randn(n, classes, generator=draws)).argmax(1)


@pytest.mark.parametrize("batch_size", [16, None])
def test_fifty_steps_are_those_of_sgmcmc_under_the_same_noise(batch_size: int | None) -> None:
    torch.manual_seed(0)
    x, y = data(200, 8, 4)
    module = Classifier(8, 12, 4)
    loss, params = loss_fn(module), snapshot_params(module)
    stacked = StackedLoss(loss, params, [moved_entries(params, None)])
    sampler = SGLD(
        Posterior(stacked.start(1), torch.tensor([N_BETA]), torch.tensor([GAMMA])), torch.tensor([STEP_SIZE]), None
    )
    baseline = module.per_example_loss((x, y)).detach()
    ours = run_chains(
        stacked, sampler, (x, y), baseline, seed=7, chains=range(CHAINS), steps=STEPS, batch_size=batch_size
    )
    for chain in range(CHAINS):
        theirs = Classifier(8, 12, 4)
        theirs.load_state_dict(params)
        optimizer = SGMCMC.sgld(theirs.parameters(), lr=STEP_SIZE, nbeta=N_BETA, localization=GAMMA)
        noise, batches = generator(7, "noise", chain), generator(7, "batch", chain)
        indices = None if batch_size is None else torch.randint(len(x), (64, batch_size), generator=batches)
        for step in range(STEPS):
            index = torch.arange(len(x)) if indices is None else indices[step]
            optimizer.zero_grad()
            value = theirs.per_example_loss((x[index], y[index])).mean()
            value.backward()
            excess = value.item() - baseline[index].mean().item()
            assert ours.excess[0, chain, step].item() == pytest.approx(excess, abs=1e-5)
            optimizer.step(noise_generator=noise)
        for name, parameter in theirs.named_parameters():
            assert torch.allclose(ours.end[name][chain, 0], parameter, rtol=0, atol=1e-5), name
            assert not torch.equal(parameter, params[name])


def test_the_paired_estimate_repeats_three_times_better_than_a_baseline_of_32_batches() -> None:
    n, batch_size, n_beta, repeats = 20_000, 64, 20_000 / math.log(20_000), 16
    torch.manual_seed(0)
    torch.set_num_threads(1)
    x, y = data(n, 50, 10)
    module = Classifier(50, 40, 10)
    optimizer = torch.optim.Adam(module.parameters(), lr=3e-3)
    for _ in range(600):
        index = torch.randint(n, (512,))
        optimizer.zero_grad()
        module.per_example_loss((x[index], y[index])).mean().backward()
        optimizer.step()
    loss, params = loss_fn(module), snapshot_params(module)
    paired, unpaired = [], []
    for seed in range(repeats):
        record = estimate_llc(
            loss, params, (x, y), n_beta=n_beta, gamma=100.0, step_size=1e-6, chains=4, draws=100, burn_in=20,
            batch_size=batch_size, seed=seed, curvature_examples=16,
        )  # fmt: skip
        paired.append(record.value)
        # devinterp 2 subtracts the loss at w* on the first 32 batches, which by default all its chains share.
        there = (record.excess + record.baseline)[:, 20:].double().mean().item()
        unpaired.append(n_beta * (there - record.baseline[0, :32].double().mean().item()))
    ours, theirs = torch.tensor(paired).std().item(), torch.tensor(unpaired).std().item()
    assert record.healthy_chains == 4
    assert ours <= theirs / 3, (ours, theirs)
