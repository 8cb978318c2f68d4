"""Ten ways in which an LLC has come out wrong elsewhere and looked healthy: here it is right, or its status says so."""

import math

import pytest
import torch
from torch import Tensor, nn

from llc_lightning.components.listing import find_components
from llc_lightning.components.loss import loss_fn, snapshot_params
from llc_lightning.exact import quadratic_value
from llc_lightning.llc.draws import error_of
from llc_lightning.llc.estimator import estimate_llc
from llc_lightning.llc.record import LLCRecord
from llc_lightning.runtime.batches import Params
from llc_lightning.runtime.status import is_failed
from tests.known_answers.losses import ONE_EXAMPLE, quadratic

AT = {"n_beta": 100.0, "gamma": 1.0}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def estimate(dimension: int = 20, **settings: object) -> LLCRecord:
    known = quadratic((1.0,) * dimension)
    return estimate_llc(known.loss, known.params, known.data, **{**AT, "chains": 16, "step_size": 0.002, **settings})


def test_1_the_thermostat_is_not_too_cold() -> None:
    """A sampler whose friction was never used sampled at a fiftieth of the temperature: 0.2 instead of 9.9."""
    record = estimate(sampler="sgnht", burn_in=300, draws=600)
    exact = quadratic_value([1.0] * 20, **AT)
    assert exact == pytest.approx(9.90, abs=0.01)
    assert abs(record.value - exact) <= 3 * record.stderr + 0.02 * exact
    assert record.status == "ok"


@pytest.mark.parametrize("burn_in", [0, 400])
def test_2_burn_in_is_not_averaged_in(burn_in: int) -> None:
    """Steps on the way to equilibrium pulled 106.1 down to 82.5."""
    record = estimate(200, step_size=2e-4, burn_in=burn_in, draws=20, chains=64)
    exact = quadratic_value([1.0] * 200, **AT)
    settled = abs(record.value - exact) <= 3 * record.stderr + 0.02 * exact
    assert settled == (burn_in == 400)
    assert settled or record.status != "ok"
    assert record.value == pytest.approx(100 * record.excess[:, burn_in:].double().mean().item())


def test_3_chains_that_all_died_have_no_value() -> None:
    """NaN draws were left out one by one: four dead chains gave 5.24 with a spread of 0."""

    def cliff(params: Params, batch: Tensor) -> Tensor:
        level = params["w"].square().sum() / 2 + 0 * batch
        return torch.where(level < 0.05, level, math.nan)

    record = estimate_llc(cliff, {"w": torch.zeros(20)}, ONE_EXAMPLE, **AT, step_size=0.002, chains=4, draws=300)
    assert is_failed(record.status)
    assert math.isnan(record.value)
    assert math.isnan(record.stderr)


def test_4_the_error_is_that_of_independent_chains() -> None:
    """The spread was divided by n instead of n - 1, and shared minibatches hid their own noise."""
    draws = torch.randn(4, 50, dtype=torch.float64) + torch.tensor([[0.0], [3.0], [6.0], [9.0]])
    assert error_of(draws.numpy()) == pytest.approx(draws.mean(1).std(correction=1).item() / 2)
    x = torch.randn(256, 5, generator=torch.Generator().manual_seed(0))

    def noisy(params: Params, batch: Tensor) -> Tensor:
        return (batch @ params["w"] - batch[:, 0]).square() / 2

    record = estimate_llc(noisy, {"w": torch.zeros(5)}, x, **AT, step_size=1e-3, chains=4, draws=10, batch_size=4)
    assert len({row.tolist()[0] for row in record.baseline}) == 4


def test_5_a_process_group_changes_no_value() -> None:
    """Losses were summed over all processes of a job: 20 instead of 5. Two real processes: tests/distributed."""
    before = estimate(draws=30, burn_in=0, chains=4)
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    assert estimate(draws=30, burn_in=0, chains=4).value == before.value


def test_6_parameters_that_need_no_gradient_stay_when_frozen() -> None:
    """Noise was added to frozen parameters too."""
    module = nn.Linear(3, 1)
    module.bias.requires_grad_(False)
    start = {name: value.detach().clone() for name, value in module.named_parameters()}

    def loss(params: Params, batch: Tensor) -> Tensor:
        strayed = (params["bias"] - start["bias"]).abs().sum()
        excess = (params["weight"] - start["weight"]).square().sum() / 2
        return excess + torch.where(strayed > 0, math.nan, 0.0) + 0 * batch

    moved = {"weight": torch.ones(1, 3, dtype=torch.bool)}
    record = estimate_llc(loss, start, ONE_EXAMPLE, **AT, step_size=0.002, moved=moved, burn_in=500, draws=800)
    assert record.dimension == 3
    assert abs(record.value - quadratic_value([1.0] * 3, **AT)) <= 3 * record.stderr + 0.06


def test_7_the_acceptance_is_that_of_every_step_on_one_fixed_batch() -> None:
    """Its first entry was always 0, and consecutive losses came from different minibatches."""
    first, calm, coarse = (
        estimate(sampler="mala", step_size=step, burn_in=0, draws=draws, chains=64).acceptance
        for step, draws in ((1e-5, 1), (1e-5, 100), (0.01, 400))
    )
    assert min(first, calm) > 0.999
    assert 0.3 < coarse < 0.95


class Transformer(nn.Module):
    """A module whose components are addressed by names that do not exist in it."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, 4)
        self.unembed = nn.Linear(4, 7)

    def per_example_loss(self, batch: Tensor) -> Tensor:
        return nn.functional.cross_entropy(self.unembed(self.embed(batch[:, 0])), batch[:, 1], reduction="none")


def test_8_a_component_is_found_with_its_weights_or_refused() -> None:
    """Masks of the embedding came out empty without a word, and those of a head raised an error about 0 layers."""
    module, data = Transformer(), torch.randint(7, (64, 2))
    (unembed,) = find_components(module, "unembed")
    params = snapshot_params(module)
    masks = unembed.moved(params)
    assert sum(int(mask.sum()) for mask in masks.values()) == 7 * 4 + 7
    for name in ("l0h1", "blocks.0.attn"):
        with pytest.raises(ValueError, match=r"names nothing|unknown"):
            find_components(module, name)
    with pytest.raises(ValueError, match="nothing is moved"):
        estimate_llc(loss_fn(module), params, data, **AT, moved={"embed.weight": torch.zeros(7, 4, dtype=torch.bool)})


def test_9_the_gradient_norm_is_of_the_loss_and_says_so() -> None:
    """It left out n_beta in one place and not in another; half precision ran without scaling."""
    start = torch.full((4,), 0.1)

    def loss(params: Params, batch: Tensor) -> Tensor:
        return params["w"].square().sum() / 2 + 0 * batch

    record = estimate_llc(loss, {"w": start}, ONE_EXAMPLE, **AT, step_size=0.002, draws=20)
    assert record.gradient_norm == pytest.approx(start.norm().item())
    with pytest.raises(ValueError, match="chains need float32 or float64"):
        estimate_llc(loss, {"w": start.half()}, ONE_EXAMPLE, **AT)


class Noisy(nn.Module):
    """A net with dropout and a batch norm, in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.drop, self.out = (
            nn.Linear(4, 8),
            nn.BatchNorm1d(8),
            nn.Dropout(0.5),
            nn.Linear(8, 1),
        )

    def per_example_loss(self, batch: Tensor) -> Tensor:
        return self.out(self.drop(self.norm(self.first(batch)).relu()))[:, 0].square()


def test_10_sampling_runs_in_eval_mode_and_leaves_buffers_alone() -> None:
    """Dropout was active, and the running statistics of batch norms drifted with the chains."""
    module = Noisy().train()
    buffers = {name: value.clone() for name, value in module.named_buffers()}
    data = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    params = snapshot_params(module)
    one, again = (
        estimate_llc(loss_fn(module), params, data, **AT, step_size=1e-4, chains=2, draws=20, batch_size=8)
        for _ in range(2)
    )
    assert one.value == again.value
    assert one.loss == pytest.approx(loss_fn(module.eval())(params, data).mean().item())
    for name, value in module.named_buffers():
        assert torch.equal(value, buffers[name])
