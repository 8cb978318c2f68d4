"""Optimal ablation against closed forms, and its order among the methods."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.optimal import beyond
from llc_lightning.ablation.engine.blocks import fold_of, fold_orders
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


def folds_of(effect: Effect) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Returns for each fold its constants, the examples that they were fitted on, and those they are measured on."""
    orders = fold_orders(effect.n, seed=0)
    folds = fold_of(effect.n, seed=0)
    return [(effect.constants[0][fold], orders[fold], (folds == fold).nonzero()[:, 0]) for fold in range(2)]


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
def test_the_constants_are_the_least_squares_solutions_of_the_other_folds() -> None:
    module, data = Linear(), regression(200)
    parts = [*find_components(module, "one[2]"), *find_components(module, ["one[1,4]"])]
    found = effects(module, data, parts, "optimal")
    for part in parts:
        units, effect = list(part.units or ()), found[part.address, "optimal"]
        assert effect.per_example is not None
        assert (effect.n, effect.status) == (200, "ok")
        for constant, fit, score in folds_of(effect):
            assert not set(fit.tolist()) & set(score.tolist())
            closed = least_squares(module, take(data, fit), units)
            torch.testing.assert_close(constant.flatten(), closed, atol=2e-3, rtol=2e-3)
            expected = replaced(module, take(data, score), units, constant.flatten())
            torch.testing.assert_close(effect.per_example[score], expected, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_with_the_same_examples_in_both_folds_it_is_the_minimum() -> None:
    module, (x, y) = Linear(), regression(32)
    rows = torch.empty(128, dtype=torch.int64)
    for order in fold_orders(128, seed=0):
        rows[order] = torch.arange(32).repeat(2)
    parts = find_components(module, ["one[0]", "one[3]", "one[1,4]"])
    with pytest.warns(UserWarning, match="of the 128 examples only 32 differ"):
        found = effects(module, (x[rows], y[rows]), parts, "optimal")
    for part in parts:
        units = list(part.units or ())
        best = replaced(module, (x, y), units, least_squares(module, (x, y), units)).mean().item()
        assert found[part.address, "optimal"].value == pytest.approx(best, abs=1e-5)


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
    found = effects(Separate(), data, parts, ["zero", "optimal"])
    excess: list[Tensor] = []
    for part in parts:
        best, zero = found[part.address, "optimal"], found[part.address, "zero"]
        # Targets have mean 0: a constant a is worse than 0 by a^2 in the population, whatever the examples say.
        squares = best.constants[0].double().square().flatten().mean()
        excess.append(torch.tensor(best.value - zero.value) - squares)
    bias, error = torch.stack(excess).mean(), torch.stack(excess).std() / width**0.5
    assert bias.abs() <= 3 * error
    assert error < 0.01  # on the examples of the fit the bias is 2 / 60


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
    pairs = [*((own, name) for name in others), *((pooled, name) for name in others if name != "mean")]
    compared = {
        (part.address, one, other): errors_worse(found[part.address, one], found[part.address, other])
        for part in parts
        for one, other in pairs
    }
    assert not [names for names, is_beyond in zip(compared, beyond(list(compared.values())), strict=True) if is_beyond]


def given(values: dict[str, Tensor], part: Component, activation: Tensor) -> Tensor:
    return values[part.point]


@pytest.mark.parametrize("task", [circuits, images, transformer])
def test_where_it_was_fitted_nothing_plain_is_better_at_all(
    task: Callable[[], tuple[nn.Module, Batch, list[Component]]],
) -> None:
    torch.manual_seed(0)
    module, data, parts = task()
    found = effects(module, data, parts[::5], "optimal(steps=8)")
    for part in parts[::5]:
        best = found[part.address, "optimal(steps=8)"]
        whole = loss_fn(module).activations(snapshot_params(module), data, [part.point])
        means = {point: h.double().mean(0).float()[None, None] for point, h in whole.items()}
        for fold, fit in enumerate(fold_orders(best.n, seed=0)):
            batch, here = take(data, fit), tuple(one[fold : fold + 1] for one in best.constants)
            chosen, mean, zero = (
                float((ablated - clean).double().mean())
                for clean, ablated in (
                    literal_losses(module, batch, part, values_of_constants(part, here)),
                    literal_losses(module, batch, part, partial(given, means)),
                    literal_losses(module, batch, part, lambda _, h: torch.zeros_like(h)[None]),
                )
            )
            assert chosen <= min(mean, zero) + 1e-6, part.address


def errors_worse(one: Effect, other: Effect) -> float:
    """Returns by how many paired standard errors the losses under one are larger than under another."""
    assert one.per_example is not None
    assert other.per_example is not None
    difference = (one.per_example - other.per_example).double()
    error = float(difference.std() / len(difference) ** 0.5)
    return (float(difference.mean()) - 1e-6) / error if error else 0.0


def test_a_set_is_never_worse_than_the_constants_of_its_members() -> None:
    module, data = Circuits(width=8), circuits_data(400)
    parts = find_components(module, ["hook_hidden[0]", "hook_hidden[1]", "hook_hidden[2]", "hook_hidden[0,1,2]"])
    found = effects(module, data, parts, "optimal")

    @torch.no_grad()
    def losses(constant: Tensor, rows: Tensor) -> Tensor:
        hidden = module.W_in(data[0][rows]).relu()
        hidden[:, :3] = constant
        return (module.W_out(hidden) - data[1][rows]).square().square().mean(-1).mean()

    for fold, (constant, fit, _) in enumerate(folds_of(found["hook_hidden[0,1,2]", "optimal"])):
        single = torch.cat([found[part.address, "optimal"].constants[0][fold].flatten() for part in parts[:3]])
        assert losses(constant.flatten(), fit) <= losses(single, fit) + 1e-6


def test_each_task_may_have_its_own_constant() -> None:
    module, data = Circuits(), circuits_data(300)
    parts = find_components(module, "hook_hidden[2]")
    methods = ["optimal", "optimal(losses=each)"]
    found = sweep(loss_fn(module), snapshot_params(module), data, parts, methods, seed=0, tasks=True)
    shared, each = ({one.loss: one for one in found if one.method == name} for name in methods)
    assert set(each) == set(shared) == {"train", *module.task_names}
    assert each["train"].value == shared["train"].value
    assert [each[name].details["fitted_to"] for name in module.task_names] == list(module.task_names)
    assert {one.details["fitted_to"] for one in shared.values()} == {"train"}
    for task, name in enumerate(module.task_names):
        for fold, fit in enumerate(fold_orders(300, seed=0)):
            counts = fit[data[1][fit, task] != 0]
            own, train = (
                task_losses(module, data, one[name].constants[0][fold], task)[counts].mean() for one in (each, shared)
            )
            assert own <= train * (1 + 1e-6)  # the shared constant is among those that the task starts from


@torch.no_grad()
def task_losses(module: Circuits, data: tuple[Tensor, Tensor], constant: Tensor, task: int) -> Tensor:
    hidden = module.W_in(data[0]).relu()
    hidden[:, 2] = constant.flatten()
    return (module.W_out(hidden) - data[1]).square().square()[:, task]


def test_drift_is_told_and_a_warm_start_never_makes_it_worse() -> None:
    module, data = Circuits(), circuits_data(300)
    parts = find_components(module, ["neurons", "hook_hidden"])
    found = sweep(loss_fn(module), snapshot_params(module), data, parts, "optimal(steps=1)", seed=0)
    effect = found[1]
    orders = fold_orders(300, seed=0)
    hidden = module.W_in(data[0]).relu()[:, 0].detach()
    moved = [abs(effect.constants[0][f].item() - hidden[order].mean().item()) for f, order in enumerate(orders)]
    drifts = [one / abs(hidden[order].mean().item()) for one, order in zip(moved, orders, strict=True)]
    assert effect.details["drift"] == pytest.approx(max(drifts), rel=1e-3)
    later = sweep(
        loss_fn(module), snapshot_params(module), data, parts, "optimal(steps=1)", seed=0, warm=warm_start(found)
    )
    assert any("warm" in str(one.details["start"]) for one in later[1:])
    for unit, (before, after) in enumerate(zip(found[1:-1], later[1:-1], strict=True)):
        for fold, order in enumerate(orders):
            old, new = (
                hidden_losses(module, data, unit, one.constants[0][fold])[order].mean() for one in (before, after)
            )
            assert new <= old * (1 + 1e-5)


def test_what_is_left_is_told_where_the_search_has_no_time() -> None:
    module, data = Linear(), regression(200)
    parts = find_components(module, "one[1,4]")
    short, long = (effects(module, data, parts, f"optimal(steps={steps})").popitem()[1] for steps in (1, 149))
    assert short.status == "not-converged"
    assert long.status == "ok"
    assert float(long.details["left"]) < 1e-3 < float(short.details["left"])


def test_many_constants_are_best_on_all_examples_of_the_fit() -> None:
    stream = torch.Generator().manual_seed(6)
    data = torch.randn(400, 30, generator=stream), 0.3 + torch.randn(400, 30, generator=stream)
    (effect,) = effects(Separate(), data, [Component("units", "layer", "units")], "optimal").values()
    assert effect.status == "ok"
    for constant, fit, _ in folds_of(effect):
        targets = data[1][fit].double()
        # The loss is that of the means of the targets, and this much more.
        excess = (constant.double().flatten() - targets.mean(0)).square().sum()
        gain = (data[0][fit].double().mean(0) - targets.mean(0)).square().sum()
        assert excess < 0.001 * gain


class Rugged(nn.Module):
    """Units whose loss has a minimum at every few tenths."""

    def __init__(self) -> None:
        super().__init__()
        self.units = nn.Identity()

    def per_example_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        hidden = self.units(batch[0])
        return ((hidden - batch[1]).square() / 5 - (9 * hidden).cos()).sum(-1)


def test_descents_that_end_in_different_minima_have_a_status() -> None:
    stream = torch.Generator().manual_seed(6)
    # The mean lies on the ridge between two minima, whatever unit it is.
    data = 1.047 + torch.randn(400, 12, generator=stream), 2 + 0.1 * torch.randn(400, 12, generator=stream)
    found = effects(Rugged(), data, [Component("units", "layer", "units")], "optimal")
    (effect,) = found.values()
    assert effect.status == "not-converged"
    assert float(effect.details["left"]) > 0.01 * float(effect.details["gain"])


def test_a_metric_has_the_constants_that_are_best_for_it() -> None:
    torch.manual_seed(1)
    module, stream = Guesses(), torch.Generator().manual_seed(0)
    data = torch.randn(500, 6, generator=stream), torch.randint(0, 4, (500,), generator=stream)
    parts = find_components(module, "a[*]")
    methods = ["zero", "mean", "optimal"]
    found = sweep(
        loss_fn(module), snapshot_params(module), data, parts, methods, seed=0, metrics=["kl", "accuracy"],
        per_example=True,
    )  # fmt: skip
    by = {(one.component, one.method, one.loss): one for one in found}
    worse: list[float] = []
    for part in parts:
        kl = by[part.address, "optimal", "metric:kl"]
        assert kl.details["fitted_to"] == "metric:kl"
        assert by[part.address, "optimal", "metric:accuracy"].details["fitted_to"] == "train"
        worse += [errors_worse(kl, by[part.address, plain, "metric:kl"]) for plain in ("zero", "mean")]
    assert not any(beyond(worse))
    # What is best for the loss is not what is near the model's own answers.
    gained = [
        by[part.address, "mean", "metric:kl"].value - by[part.address, "optimal", "metric:kl"].value for part in parts
    ]
    assert sum(gained) > 0


class Guesses(nn.Module):
    """A classifier whose labels have nothing to do with its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 16), nn.Linear(16, 4)
        with torch.no_grad():
            self.b.weight.mul_(6)

    def logits(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        return self.b(self.a(batch[0]).tanh())

    def per_example_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        return F.cross_entropy(self.logits(batch), batch[1], reduction="none")


def test_positions_may_keep_their_activation() -> None:
    module, data, _ = transformer()
    parts = find_components(module, "net.blocks.0.hook_resid_pre")
    found = effects(module, data, parts, ["optimal(steps=3)", "optimal(steps=3,keep=0)", "optimal(steps=3,keep=0+-1)"])
    part = parts[0].address
    losses: list[Tensor] = []
    for name, kept in (
        ("optimal(steps=3)", []),
        ("optimal(steps=3,keep=0)", [0]),
        ("optimal(steps=3,keep=0+-1)", [0, -1]),
    ):
        effect = found[part, name]
        assert effect.per_example is not None
        for constant, _, score in folds_of(effect):
            batch = take(data, score)

            def put(
                module: nn.Module, args: object, h: Tensor, constant: Tensor = constant, kept: list[int] = kept
            ) -> Tensor:
                value = constant.expand_as(h).clone()
                value[:, kept] = h[:, kept]
                return value

            clean = module.per_example_loss(batch)
            handle = module.get_submodule("net.blocks.0.hook_resid_pre").register_forward_hook(put)
            torch.testing.assert_close(
                effect.per_example[score], module.per_example_loss(batch) - clean, atol=1e-5, rtol=1e-4
            )
            handle.remove()
        losses.append(effect.per_example)
    assert not torch.equal(losses[0], losses[1])
    assert not torch.equal(losses[1], losses[2])


def test_effects_have_the_same_bits_alone_and_beside_others_and_in_any_chunk() -> None:
    module, data, _ = transformer()
    parts = find_components(module, ["net.blocks.0.attn.hook_z[*]", "net.blocks.0.mlp.hook_post[*]"])
    together = effects(module, data, parts, ["optimal(steps=6)", "zero"])
    alone = effects(module, data, parts[2:3], "optimal(steps=6)") | effects(
        module, data, parts[9:10], "optimal(steps=6)"
    )
    chunked = effects(module, data, parts, ["optimal(steps=6)", "zero"], chunk=5)
    assert chunked == together
    assert all(together[key] == one for key, one in alone.items())


def test_keep_needs_an_axis_of_positions() -> None:
    module, data = Linear(), regression(64)
    with pytest.raises(SettingError, match="without one axis of positions ahead of the units; leave out 'keep'"):
        effects(module, data, "one[2]", "optimal(keep=0)")


@torch.no_grad()
def hidden_losses(module: Circuits, data: tuple[Tensor, Tensor], unit: int, constant: Tensor) -> Tensor:
    hidden = module.W_in(data[0]).relu()
    hidden[:, unit] = constant.flatten()
    return (module.W_out(hidden) - data[1]).square().square().mean(-1)


def test_pairs_at_two_points_are_fitted_together() -> None:
    module, data = Circuits(), circuits_data(300)
    pair = find_components(module, "hook_hidden[1]+hook_out[0]")
    (effect,) = effects(module, data, pair, "optimal(steps=30)").values()
    assert [tuple(one.shape) for one in effect.constants] == [(2, 1), (2, 1)]
    assert effect.kind == "set"


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"positions": "all"}, "positions is 'all'; use 'own' or 'pooled'."),
        ({"losses": "some"}, "losses is 'some'; use 'train' or 'each'."),
        ({"keep": "first"}, "keep is 'first'; give positions such as '0', or several as in '0+-1'."),
        ({"rate": 0.0}, "steps is 300 and rate 0.0; give whole steps from 0 and a positive rate."),
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
    module, data = Linear(), regression(256)  # blocks of 128 to fit, and of 256 to measure
    (effect,) = effects(module, data, "one[2]", "optimal(steps=40)").values()
    sums = [replaced(module, take(data, score), [2], one.flatten()).sum() for one, _, score in folds_of(effect)]
    assert (effect.status, effect.value) == ("ok", pytest.approx(float(sum(sums)) / 256, abs=1e-5))


@pytest.mark.parametrize("fold", [0, 1])
def test_an_example_that_is_no_number_has_a_status_wherever_it_is(fold: int) -> None:
    x, y = circuits_data(100)
    x[fold_orders(100, seed=0)[fold][1], 2] = torch.nan
    found = effects(Circuits(), (x, y), "neurons", ["optimal(steps=3)", "zero"])
    assert {one.status for one in found.values()} == {"nan-loss"}


@pytest.mark.parametrize("n", [1, 2, 3, 4, 9, 100, 5000])
def test_folds_are_halves_and_make_up_the_whole(n: int) -> None:
    orders, folds = fold_orders(n, seed=3), fold_of(n, seed=3)
    for fold, order in enumerate(orders):
        assert len(order) >= 1
        assert n == 1 or set(order.tolist()) == set((folds != fold).nonzero()[:, 0].tolist())
    assert n == 1 or abs(len(orders[0]) - len(orders[1])) <= 1


def test_a_component_made_by_hand() -> None:
    part = Component("hook_hidden", "layer", "hook_hidden")
    assert effects(Circuits(), circuits_data(90), [part], "optimal(steps=3)").popitem()[1].n > 0
