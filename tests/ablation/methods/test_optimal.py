"""Optimal ablation against closed forms, and its order among the methods."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llc_lightning.ablation.engine.blocks import split_examples
from llc_lightning.ablation.engine.effect import Effect, warm_start
from llc_lightning.ablation.engine.sweep import sweep
from llc_lightning.ablation.methods.optimal import Optimal
from llc_lightning.components.component import Component
from llc_lightning.components.listing import find_components
from llc_lightning.components.loss import loss_fn, snapshot_params
from llc_lightning.data.cis import CISData
from llc_lightning.models.cis import CISModel
from llc_lightning.models.transformer import TransformerModel
from llc_lightning.runtime.batches import Batch, take
from llc_lightning.runtime.errors import SettingError
from tests.ablation.nets import Circuits, circuits_data, literal_losses, values_of_constants


class Linear(nn.Module):
    """A linear net with a quadratic loss: the best constant of any units is a least-squares solution."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 6), nn.Linear(6, 3)

    def per_example_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        return (self.two(self.one(batch[0])) - batch[1]).square().sum(-1)


def regression(n: int) -> tuple[Tensor, Tensor]:
    stream = torch.Generator().manual_seed(4)
    return torch.randn(n, 4, generator=stream), torch.randn(n, 3, generator=stream) + 1


def effects(
    module: nn.Module, data: Batch, components: object, methods: object, **more: object
) -> dict[tuple[str, str], Effect]:
    parts = find_components(module, components) if isinstance(components, str) else components
    found = sweep(loss_fn(module), snapshot_params(module), data, parts, methods, seed=0, per_example=True, **more)
    return {
        (one.component, one.method): one for one in found if one.quantity == "ablation_effect" and one.loss == "train"
    }


def replaced(module: Linear, data: tuple[Tensor, Tensor], units: list[int], constant: Tensor) -> Tensor:
    """Returns the losses with units held at constants, and without."""
    hidden = module.one(data[0])
    hidden[:, units] = constant
    return (module.two(hidden) - data[1]).square().sum(-1) - module.per_example_loss(data)


def least_squares(module: Linear, data: tuple[Tensor, Tensor], units: list[int]) -> Tensor:
    """Returns the constants that are best on some examples."""
    others = module.one(data[0])
    others[:, units] = 0
    target = (data[1] - module.two(others)).mean(0, keepdim=True)
    return torch.linalg.lstsq(module.two.weight[:, units], target.T).solution[:, 0]


@torch.no_grad()
def test_the_constant_is_the_least_squares_solution() -> None:
    module, data = Linear(), regression(200)
    parts = [*find_components(module, "one[2]"), *find_components(module, ["one[1,4]"])]
    found = effects(module, data, parts, [Optimal(steps=200)])
    fit, select, score = (take(data, rows) for rows in vars(split_examples(200, seed=0)).values())
    for part in parts:
        units, effect = list(part.units or ()), found[part.address, "optimal(steps=200)"]
        constant = effect.constants[0].flatten()
        # Of what the search met, which ends at the closed form, it is the best on the examples that select.
        closed = least_squares(module, fit, units)
        chosen, ended = (replaced(module, select, units, one).mean() for one in (constant, closed))
        assert chosen <= ended + 1e-4
        # Its effect is measured on examples that had no say.
        assert effect.n == len(score[0]) == 50
        assert effect.value == pytest.approx(replaced(module, score, units, constant).mean().item(), abs=1e-5)
        assert effect.value >= replaced(module, score, units, least_squares(module, score, units)).mean() - 1e-5


@torch.no_grad()
def test_with_the_same_examples_in_all_parts_it_converges_to_the_closed_form() -> None:
    module, data = Linear(), regression(32)
    split, (x, y) = split_examples(128, seed=0), data
    # So that selecting is fitting, and scoring too.
    rows = torch.empty(128, dtype=torch.int64)
    for part, copies in ((split.fit, 2), (split.select, 1), (split.score, 1)):
        rows[part] = torch.arange(32).repeat(copies)
    parts = find_components(module, ["one[0]", "one[3]", "one[1,4]"])
    found = effects(module, (x[rows], y[rows]), parts, [Optimal(steps=200)])
    for part in parts:
        units = list(part.units or ())
        best = replaced(module, data, units, least_squares(module, data, units)).mean().item()
        assert found[part.address, "optimal(steps=200)"].value == pytest.approx(best, abs=1e-4)


class Separate(nn.Module):
    """Units that guess a target of their own, each by itself: as many independent choices of a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.units = nn.Identity()

    def per_example_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        return (self.units(batch[0]) - batch[1]).square().sum(-1)


def test_effects_are_measured_without_the_bias_of_the_choice() -> None:
    n, width, stream = 120, 400, torch.Generator().manual_seed(6)
    data = torch.randn(n, width, generator=stream), torch.randn(n, width, generator=stream)
    parts = [Component(f"units[{i}]", "unit", "units", (i,)) for i in range(width)]
    found = effects(Separate(), data, parts, ["zero", "optimal(steps=20)"])
    score = split_examples(n, seed=0).score
    excess: list[Tensor] = []
    for part in parts:
        best, zero = found[part.address, "optimal(steps=20)"], found[part.address, "zero"]
        assert zero.per_example is not None
        # Targets have mean 0: a constant a is worse than 0 by a^2 in the population, whatever the examples say.
        excess.append(best.value - zero.per_example[score].double().mean() - best.constants[0].double().square().sum())
    bias, error = torch.stack(excess).mean(), torch.stack(excess).std() / width**0.5
    assert bias.abs() <= 3 * error
    assert error < 0.01  # measured on the examples that select, the bias is five times that


class Maps(nn.Module):
    """A convolutional net with batch norm; its channels have a constant for every pixel, or one for all."""

    def __init__(self) -> None:
        super().__init__()
        self.maps, self.norm, self.mix, self.read = (
            nn.Conv2d(1, 50, 3),
            nn.BatchNorm2d(50),
            nn.Conv2d(50, 8, 3),
            nn.Linear(8, 5),
        )

    def per_example_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        h = self.mix(self.norm(self.maps(batch[0])).relu()).relu()
        return F.cross_entropy(self.read(h.mean((-2, -1))), batch[1], reduction="none")


def circuits() -> tuple[nn.Module, Batch, list[Component]]:
    module, batch = CISModel(size=8, width=50), CISData(size=8).analysis_set(800)
    return module, batch, find_components(module, "neurons")


def images() -> tuple[nn.Module, Batch, list[Component]]:
    module, stream = Maps(), torch.Generator().manual_seed(1)
    return (
        module,
        (torch.randn(120, 1, 5, 5, generator=stream), torch.arange(120) % 5),
        find_components(module, "maps[*]"),
    )


def transformer() -> tuple[nn.Module, Batch, list[Component]]:
    module, stream = TransformerModel(7, 6, d_model=8, d_mlp=24), torch.Generator().manual_seed(2)
    with torch.no_grad():  # parts that matter
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=stream))
    tokens = torch.randint(0, 7, (120, 7), generator=stream)
    return module, (tokens[:, :-1], tokens[:, 1:]), find_components(module, ["heads", "neurons"])


@pytest.mark.parametrize("task", [circuits, images, transformer])
def test_no_constant_and_no_donor_is_better(task: Callable[[], tuple[nn.Module, Batch, list[Component]]]) -> None:
    torch.manual_seed(0)
    module, data, parts = task()
    own, pooled = "optimal(steps=8)", "optimal(positions=pooled,steps=8)"
    others = ["zero", "mean", "mean(positions=pooled)", "resample"]
    found = effects(module, data, parts, [own, pooled, *others])
    assert len(parts) >= 50
    # The mean of each position is no constant that all positions could share.
    pairs = [(own, pooled), *((own, name) for name in others), *((pooled, name) for name in others if name != "mean")]
    worse: list[tuple[str, str, str]] = []
    for part in parts:
        changes = {name: found[part.address, name].per_example for name in others}
        for name in (own, pooled):
            constants = values_of_constants(part, found[part.address, name].constants)
            clean, (ablated,) = literal_losses(module, data, part, constants)
            changes[name] = ablated - clean
        worse += [(part.address, one, other) for one, other in pairs if is_worse(changes[one], changes[other])]
        best, shared = changes[own], changes[pooled]
        assert best is not None
        assert shared is not None
        # The shared constant is among those that are selected from.
        assert (best - shared)[split_examples(len(best), seed=0).select].mean() <= 1e-6
    assert not worse


def is_worse(one: Tensor | None, other: Tensor | None) -> bool:
    """Whether a change of the losses exceeds another by two standard errors on what is held out of the fit."""
    assert one is not None
    assert other is not None
    split = split_examples(len(one), seed=0)
    difference = (one - other)[torch.cat([split.select, split.score])].double()
    return bool(difference.mean() > 2 * difference.std() / len(difference) ** 0.5 + 1e-6)


def test_a_set_is_never_worse_than_the_constants_of_its_members() -> None:
    module, data = Circuits(width=8), circuits_data(400)
    parts = find_components(module, ["hook_hidden[0]", "hook_hidden[1]", "hook_hidden[2]", "hook_hidden[0,1,2]"])
    found = effects(module, data, parts, [Optimal(steps=30)])
    constants = [found[part.address, "optimal(steps=30)"].constants[0].flatten() for part in parts]
    together = found["hook_hidden[0,1,2]", "optimal(steps=30)"]

    @torch.no_grad()
    def losses(constant: Tensor) -> Tensor:
        hidden = module.W_in(data[0]).relu()
        hidden[:, :3] = constant
        return (module.W_out(hidden) - data[1]).square().square().mean(-1) - module.per_example_loss(data)

    select = split_examples(400, seed=0).select
    assert losses(constants[3])[select].mean() <= losses(torch.cat(constants[:3]))[select].mean() + 1e-6
    assert not is_worse(losses(constants[3]), losses(torch.cat(constants[:3])))
    score = split_examples(400, seed=0).score
    assert together.value == pytest.approx(losses(constants[3])[score].mean().item(), abs=1e-5)


def test_each_task_may_have_its_own_constant() -> None:
    module, data = Circuits(), circuits_data(300)
    parts = find_components(module, "hook_hidden[2]")
    methods = ["optimal", "optimal(losses=each)"]
    found = sweep(loss_fn(module), snapshot_params(module), data, parts, methods, seed=0, tasks=True)
    shared, each = ({one.loss: one for one in found if one.method == name} for name in methods)
    assert set(each) == set(shared) == {"train", *module.task_names}
    assert each["train"].value == shared["train"].value
    assert len({float(one.constants[0].sum()) for one in each.values()}) == 4
    select = split_examples(300, seed=0).select
    for task, name in enumerate(module.task_names):
        counts = select[data[1][select, task] != 0]
        own, train = (task_losses(module, data, one[name].constants[0], task)[counts].mean() for one in (each, shared))
        assert own <= train * (1 + 1e-6)  # the shared constant is among those that the task selects from


@torch.no_grad()
def task_losses(module: Circuits, data: tuple[Tensor, Tensor], constant: Tensor, task: int) -> Tensor:
    hidden = module.W_in(data[0]).relu()
    hidden[:, 2] = constant.flatten()
    return (module.W_out(hidden) - data[1]).square().square()[:, task]


def test_drift_is_told_and_a_warm_start_is_taken() -> None:
    module, data = Circuits(), circuits_data(300)
    parts = find_components(module, "neurons")
    found = sweep(loss_fn(module), snapshot_params(module), data, parts, "optimal(steps=60)", seed=0)
    effect = found[1]
    assert set(effect.details) == {"start", "drift", "drift_sd"}
    mean = module.W_in(data[0][split_examples(300, seed=0).fit]).relu()[:, 0].mean().item()
    moved = abs(effect.constants[0].item() - mean)
    assert effect.details["drift"] == pytest.approx(moved / abs(mean), rel=1e-3)
    later = sweep(
        loss_fn(module), snapshot_params(module), data, parts, "optimal(steps=60)", seed=0, warm=warm_start(found)
    )
    assert "warm" in {one.details["start"] for one in later[1:]}
    select = split_examples(300, seed=0).select
    for unit, (before, after) in enumerate(zip(found[1:], later[1:], strict=True)):
        old, new = (hidden_losses(module, data, unit, one.constants[0])[select].mean() for one in (before, after))
        assert new <= old * (1 + 1e-6)


@torch.no_grad()
def hidden_losses(module: Circuits, data: tuple[Tensor, Tensor], unit: int, constant: Tensor) -> Tensor:
    hidden = module.W_in(data[0]).relu()
    hidden[:, unit] = constant.flatten()
    return (module.W_out(hidden) - data[1]).square().square().mean(-1)


def test_pairs_at_two_points_are_fitted_together() -> None:
    module, data = Circuits(), circuits_data(300)
    pair = find_components(module, "hook_hidden[1]+hook_out[0]")
    (effect,) = effects(module, data, pair, "optimal(steps=30)").values()
    assert [tuple(one.shape) for one in effect.constants] == [(1, 1), (1, 1)]
    assert effect.kind == "set"


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"positions": "all"}, "positions is 'all'; use 'own' or 'pooled'."),
        ({"losses": "some"}, "losses is 'some'; use 'train' or 'each'."),
        ({"rate": 0.0}, "steps is 150 and rate 0.0; give whole steps from 0 and a positive rate."),
    ],
)
def test_settings(settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(SettingError) as error:
        Optimal(**settings)
    assert str(error.value) == sentence


def test_one_example_and_broken_activations_have_a_status() -> None:
    module, (x, y) = Circuits(), circuits_data(1)
    assert effects(module, (x, y), "hook_hidden[0]", "optimal(steps=3)").popitem()[1].status == "one-example"
    x, y = circuits_data(100)
    with torch.no_grad():
        module.W_in.bias[2] = torch.nan
    found = effects(module, (x, y), "neurons", "optimal(steps=3)")
    assert {one.status for one in found.values()} == {"nan-loss"}


@torch.no_grad()
def test_parts_of_the_examples_may_be_of_different_size_when_traced() -> None:
    module, data = Linear(), regression(256)  # blocks of 128 to fit, and of 64 to select
    (effect,) = effects(module, data, "one[2]", "optimal(steps=40)").values()
    score = take(data, split_examples(256, seed=0).score)
    expected = replaced(module, score, [2], effect.constants[0].flatten()).mean().item()
    assert (effect.status, effect.value) == ("ok", pytest.approx(expected, abs=1e-5))


@pytest.mark.parametrize("where", ["fit", "select", "score"])
def test_an_example_that_is_no_number_has_a_status_wherever_it_is(where: str) -> None:
    x, y = circuits_data(100)
    x[getattr(split_examples(100, seed=0), where)[1], 2] = torch.nan
    found = effects(Circuits(), (x, y), "neurons", ["optimal(steps=3)", "zero"])
    assert {one.status for one in found.values()} == {"nan-loss"}


@pytest.mark.parametrize("n", [1, 2, 3, 4, 9, 100, 5000])
def test_parts_are_disjoint_and_make_up_the_whole(n: int) -> None:
    split = split_examples(n, seed=3)
    parts = [split.fit, split.select, split.score]
    assert all(len(part) for part in parts)
    assert sorted({int(row) for part in parts for row in part}) == list(range(n))
    assert sum(map(len, parts)) == n or n <= 2
    assert len(split.select) <= 1024


def test_a_component_made_by_hand() -> None:
    part = Component("hook_hidden", "layer", "hook_hidden")
    assert effects(Circuits(), circuits_data(90), [part], "optimal(steps=3)").popitem()[1].status == "ok"
