"""Standard errors that count donors and estimated constants, against their formulas by hand."""

import pytest
import torch
from torch import Tensor, nn

from llc_lightning.ablation.engine.effect import Effect
from llc_lightning.ablation.engine.influence import donors
from llc_lightning.ablation.engine.sweep import sweep
from llc_lightning.components.listing import find_components
from llc_lightning.components.loss import loss_fn, snapshot_params
from llc_lightning.runtime.batches import Batch
from tests.ablation.nets import Circuits, circuits_data, literal_error


class Product(nn.Module):
    """The loss is what a unit and the example make of each other: ``(h - y)^4``, all derivatives known."""

    def __init__(self) -> None:
        super().__init__()
        self.unit = nn.Identity()

    def per_example_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        return (self.unit(batch[0])[:, 0] - batch[1]).pow(4)


def pairs(n: int, seed: int) -> tuple[Tensor, Tensor]:
    stream = torch.Generator().manual_seed(seed)
    return torch.randn(n, 1, generator=stream).exp(), torch.randn(n, generator=stream)


def effects(module: nn.Module, data: Batch, methods: object, parts: str = "unit[0]", **more: object) -> list[Effect]:
    found = sweep(
        loss_fn(module),
        snapshot_params(module),
        data,
        find_components(module, parts.split()),
        methods,
        per_example=True,
        **more,
    )
    return [one for one in found if one.quantity == "ablation_effect"]


@pytest.mark.parametrize("draws", [1, 3])
def test_resample_sums_the_products_over_all_pairs_that_share_an_example(draws: int) -> None:
    n, (x, y) = 150, pairs(150, 0)
    (found,) = effects(Product(), (x, y), f"resample(draws={draws})", seed=5)
    by_draw = torch.stack([donors(n, seed=5, draw=draw) for draw in range(draws)])
    changes = ((x[:, 0][by_draw] - y).pow(4) - (x[:, 0] - y).pow(4)).double()
    # What two changes share twice, as with the same two examples the other way round, is counted twice.
    assert found.stderr == pytest.approx(literal_error(changes, by_draw), rel=0.05)
    assert found.influences is not None
    assert float(found.influences.std() / n**0.5) == pytest.approx(found.stderr, rel=1e-6)
    assert found.stderr != pytest.approx(float(changes.mean(0).std() / n**0.5), rel=0.2)


def test_many_donors_of_few_examples_are_told_an_error_that_is_no_chance() -> None:
    class Mean(Product):
        def per_example_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
            return (self.unit(batch[0]).mean(1) - batch[1]).square().sum(-1)

    # Sixteen donors of each example, whose sums of squares are almost all noise: 30 data sets side by side.
    stream = torch.Generator().manual_seed(0)
    x = torch.randn(100, 16, 30, generator=stream).exp() + torch.randn(100, 1, 30, generator=stream)
    units = " ".join(f"unit[{k}]" for k in range(30))
    found = effects(Mean(), (x, x.mean(1)), "resample(positions=own)", units, seed=0)
    values, errors = torch.tensor([[one.value, one.stderr] for one in found]).unbind(1)
    assert errors.min() > values.std() / 3
    assert errors.max() < values.std() * 3


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_of_a_handful_of_examples_the_error_is_at_least_that_of_their_own_changes(n: int) -> None:
    (found,) = effects(Product(), pairs(n, 4), "resample", seed=0)
    assert found.per_example is not None
    assert found.stderr >= float(found.per_example.double().std() / n**0.5) * (1 - 1e-6)


def test_mean_adds_the_gradient_at_the_mean_times_what_an_example_adds_to_it() -> None:
    x, y = pairs(3000, 1)
    x = 2 + x / 4
    (found,) = effects(Product(), (x, y), "mean", seed=0)
    mean = x.double().mean()
    own = (mean - y).pow(4) - (x[:, 0] - y).pow(4)
    gradient = 4 * (mean - y).pow(3).mean()
    influences = own + gradient * (x[:, 0] - mean)
    assert found.stderr == pytest.approx(float(influences.std() / 3000**0.5), rel=0.02)
    assert abs(found.stderr / float(own.std() / 3000**0.5) - 1) > 0.1  # what the mean adds shows


def test_errors_on_tasks_count_donors_too_and_the_chunk_changes_nothing() -> None:
    module, data = Circuits(), circuits_data(200)
    methods = ["mean", "resample", "resample(positions=own,draws=2)"]
    whole = effects(module, data, methods, "hook_hidden[*]", seed=0, tasks=True, block=64)
    assert whole == effects(module, data, methods, "hook_hidden[*]", seed=0, tasks=True, chunk=3, block=64)
    for one in whole:
        assert one.per_example is None or one.stderr != pytest.approx(float(one.per_example.std() / 200**0.5), rel=1e-6)
        assert one.stderr > 0


def test_the_same_label_is_moved_among_itself() -> None:
    x, y = pairs(400, 2)
    label = (y > 0).long()

    class Labelled(Product):
        def labels(self, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
            return {"side": (batch[1] > 0).long()}

    (found,) = effects(Labelled(), (x, y), "mean(label=side)", seed=0)
    influences = torch.empty(400, dtype=torch.float64)
    for side in (0, 1):
        at = label == side
        mean = x[at].double().mean()
        own = (mean - y[at].double()).pow(4) - (x[at, 0] - y[at]).pow(4)
        influences[at] = own + 4 * (mean - y[at]).pow(3).mean() * (x[at, 0] - mean)
    assert found.stderr == pytest.approx(float(influences.std() / 20), rel=0.1)


@pytest.mark.parametrize("n", [2, 3, 15, 16])
def test_a_handful_of_examples_says_so(n: int) -> None:
    x, y = torch.linspace(0, 1, n)[:, None].pow(0.25), torch.zeros(n)
    (found,) = effects(Product(), (x, y), "zero", seed=0)
    assert found.status == ("ok" if n == 16 else "too-few-examples")


@pytest.mark.parametrize("n", [300, 2000])
def test_effects_of_few_examples_among_many_say_so(n: int) -> None:
    x, y = pairs(n, 3)
    statuses = {one.method: one.status for one in effects(Product(), (x, y), ["zero", "resample"], seed=0)}
    assert statuses == {"zero": "too-few-examples", "resample": "too-few-examples"}
    assert effects(Circuits(), circuits_data(2000), "zero", "hook_hidden[0]", seed=0)[0].status == "ok"
