"""Optimal ablation against closed forms, and its order among the methods."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llc_lightning.ablation.effect import Effect
from llc_lightning.ablation.optimal import Optimal, halves
from llc_lightning.ablation.sweep import sweep
from llc_lightning.ablation.warm import warm_start
from llc_lightning.components.component import Component
from llc_lightning.components.listing import find_components
from llc_lightning.components.loss import loss_fn, snapshot_params
from llc_lightning.data.cis import CISData
from llc_lightning.models.cis import CISModel
from llc_lightning.models.transformer import TransformerModel
from llc_lightning.runtime.errors import SettingError
from llc_lightning.runtime.types import Batch
from tests.ablation.nets import Circuits, circuits_data


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


def test_the_constant_is_the_least_squares_solution() -> None:
    module, (x, y) = Linear(), regression(200)
    parts = [*find_components(module, "one[2]"), *find_components(module, ["one[1,4]"])]
    found = effects(module, (x, y), parts, [Optimal(steps=200)])
    fit, held = halves(200, seed=0)
    with torch.no_grad():
        hidden, weight = module.one(x), module.two.weight
        for part in parts:
            units = list(part.units or ())
            others = hidden.clone()
            others[:, units] = 0
            target = y - module.two(others)
            losses = {}
            for name, half in (("fit", fit), ("held", held)):
                constant = torch.linalg.lstsq(weight[:, units], target[half].mean(0, keepdim=True).T).solution[:, 0]
                difference = (target - constant @ weight[:, units].T).square().sum(-1) - module.per_example_loss((x, y))
                losses[name] = difference[held].mean().item()
            effect = found[part.address, "optimal(steps=200)"]
            # Fitted on one half and chosen on the other, where it is measured: between the closed forms of the two.
            assert effect.n == len(held) == 100
            assert losses["held"] - 1e-4 <= effect.value <= losses["fit"] + 1e-4


def test_with_all_examples_in_one_half_it_converges_to_the_closed_form() -> None:
    module, (x, y) = Linear(), regression(64)
    fit, held = halves(128, seed=0)
    # The same examples in both halves, so that the choice on held-out examples is the fit itself.
    both = (
        torch.empty(128, 4).index_copy(0, fit, x).index_copy(0, held, x),
        torch.empty(128, 3).index_copy(0, fit, y).index_copy(0, held, y),
    )
    parts = find_components(module, ["one[0]", "one[3]", "one[1,4]"])
    found = effects(module, both, parts, [Optimal(steps=200)])
    with torch.no_grad():
        for part in parts:
            units = list(part.units or ())
            others = module.one(x)
            others[:, units] = 0
            target = y - module.two(others)
            constant = torch.linalg.lstsq(module.two.weight[:, units], target.mean(0, keepdim=True).T).solution[:, 0]
            best = (target - constant @ module.two.weight[:, units].T).square().sum(-1) - module.per_example_loss(
                (x, y)
            )
            assert found[part.address, "optimal(steps=200)"].value == pytest.approx(best.mean().item(), abs=1e-4)


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
    module, batch = CISModel(size=8, width=50), CISData(size=8).analysis_set(200)
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
    for part in parts:
        best, shared = (found[part.address, name].per_example for name in (own, pooled))
        assert best is not None
        assert shared is not None
        held = best.isfinite()
        assert (best - shared)[held].mean() <= 1e-6
        for name in others:
            other = found[part.address, name].per_example
            assert other is not None
            for one in (best, shared) if name != "mean" else (best,):  # the mean of each position is not shared
                difference = (one - other)[held].double()
                assert difference.mean() <= 2 * difference.std() / len(difference) ** 0.5 + 1e-6, (part.address, name)


def test_a_set_is_never_worse_than_the_constants_of_its_members() -> None:
    module, data = Circuits(width=8), circuits_data(400)
    parts = find_components(module, ["hook_hidden[0]", "hook_hidden[1]", "hook_hidden[2]", "hook_hidden[0,1,2]"])
    found = effects(module, data, parts, [Optimal(steps=30)])
    constants = [found[part.address, "optimal(steps=30)"].constants[0].flatten() for part in parts]
    together = found["hook_hidden[0,1,2]", "optimal(steps=30)"]
    with torch.no_grad():
        hidden = module.W_in(data[0]).relu()
        hidden[:, :3] = torch.cat(constants[:3])
        reused = (module.W_out(hidden) - data[1]).square().square().mean(-1) - module.per_example_loss(data)
    held = halves(400, seed=0)[1]
    assert together.value <= reused[held].mean().item() + 1e-6


def test_each_task_may_have_its_own_constant() -> None:
    module, data = Circuits(), circuits_data(300)
    parts = find_components(module, "hook_hidden[2]")
    found = sweep(
        loss_fn(module), snapshot_params(module), data, parts, ["optimal", "optimal(losses=each)"], seed=0, tasks=True
    )
    by_method = {
        name: {one.loss: one for one in found if one.method == name} for name in ("optimal", "optimal(losses=each)")
    }
    shared, each = by_method.values()
    assert set(each) == set(shared) == {"train", *module.task_names}
    assert each["train"].value == shared["train"].value
    assert all(each[task].value <= shared[task].value + 1e-4 for task in module.task_names)
    assert len({float(one.constants[0].sum()) for one in each.values()}) == 4


def test_drift_is_told_and_a_warm_start_is_taken() -> None:
    module, data = Circuits(), circuits_data(300)
    parts = find_components(module, "neurons")
    found = sweep(loss_fn(module), snapshot_params(module), data, parts, "optimal(steps=60)", seed=0)
    effect = found[1]
    assert set(effect.details) == {"start", "drift", "drift_sd"}
    mean = module.W_in(data[0][halves(300, seed=0)[0]]).relu()[:, 0].mean().item()
    moved = abs(effect.constants[0].item() - mean)
    assert effect.details["drift"] == pytest.approx(moved / abs(mean), rel=1e-3)
    later = sweep(
        loss_fn(module), snapshot_params(module), data, parts, "optimal(steps=60)", seed=0, warm=warm_start(found)
    )
    assert "warm" in {one.details["start"] for one in later[1:]}
    assert all(after.value <= before.value + 1e-9 for before, after in zip(found[1:], later[1:], strict=True))


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
    assert effects(module, (x, y), "hook_hidden[0]", "optimal(steps=3)").popitem()[1].status == "too-few-draws"
    x, y = circuits_data(100)
    with torch.no_grad():
        module.W_in.bias[2] = torch.nan
    found = effects(module, (x, y), "neurons", "optimal(steps=3)")
    assert {one.status for one in found.values()} == {"nan-loss"}


def test_a_component_made_by_hand() -> None:
    part = Component("hook_hidden", "layer", "hook_hidden")
    assert effects(Circuits(), circuits_data(90), [part], "optimal(steps=3)").popitem()[1].status == "ok"
