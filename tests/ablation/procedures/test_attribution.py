"""Attribution against closed forms, finite differences and the ablations that it estimates."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llc_lightning import ablation_effects
from llc_lightning.ablation.effects import COLUMNS
from llc_lightning.ablation.engine import examples as kept_of
from llc_lightning.ablation.procedures.attribution import attribution
from llc_lightning.components.component import Component
from llc_lightning.components.loss import Edit, loss_fn, snapshot_params
from llc_lightning.runtime.errors import AddressError, SettingError
from tests.ablation.nets import Circuits, Tokens, circuits_data, heads, tokens_data
from tests.ablation.padded import PAD, Padded, examples, parts


class Quadratic(nn.Module):
    """The loss ``sum_j c_j h_j^2 + h_0 h_1`` of a linear hidden layer."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.c = nn.Linear(3, 4), nn.Parameter(torch.tensor([1.0, -2.0, 0.5, 3.0]))

    def logits(self, batch: Tensor) -> Tensor:
        return self.hidden(batch)

    def per_example_loss(self, batch: Tensor) -> Tensor:
        h = self.hidden(batch)
        return (self.c * h.square()).sum(-1) + h[:, 0] * h[:, 1]


def made(kind: type[nn.Module]) -> nn.Module:
    """Returns a net with the same random weights wherever it is made."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return kind()


X = torch.randn(90, 3, generator=torch.Generator().manual_seed(0))
QUADRATIC = made(Quadratic)


def test_closed_form_of_a_quadratic_loss() -> None:
    loss, params = loss_fn(QUADRATIC), snapshot_params(QUADRATIC)
    h, c = QUADRATIC.hidden(X).detach(), QUADRATIC.c.detach()
    slope = 2 * c * h
    slope[:, 0] += h[:, 1]
    slope[:, 1] += h[:, 0]
    for method, value in (("zero", torch.zeros(4)), ("mean", h.mean(0))):
        found = attribution(loss, params, X, ["hidden[0]", "hidden[1,3]", "hidden"], method)
        expected = (value - h) * slope
        sums = torch.stack([expected[:, 0], expected[:, [1, 3]].sum(-1), expected.sum(-1)], dim=1)
        assert tuple(found.columns) == COLUMNS
        assert found["value"].tolist() == pytest.approx(sums.mean(0).tolist(), abs=1e-6)
        assert found["stderr"].tolist() == pytest.approx((sums.std(0) / 90**0.5).tolist(), abs=1e-6)
        assert set(found["method"]) == {f"attribution(of={method})"}
        # The slope is linear on the way, so that one midpoint is exact: the parts of the whole add up to its effect.
        integrated = attribution(loss, params, X, ["hidden", "hidden[*]"], method, steps=1)
        whole = ablation_effects(QUADRATIC, X, "hidden", method)["value"][0]
        assert integrated["value"][0] == pytest.approx(whole, abs=1e-5)
        assert integrated["value"][1:].sum() == pytest.approx(whole, abs=1e-5)
        assert set(integrated["method"]) == {f"attribution(of={method},steps=1)"}


def test_one_gradient_serves_all_hook_points_and_is_that_of_each_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    net, data, made_of = made(Circuits), circuits_data(70), list[int]()
    loss, params, grad = loss_fn(net), snapshot_params(net), torch.autograd.grad

    def counted(*given: Any, **more: Any) -> Any:
        made_of.append(1)
        return grad(*given, **more)

    monkeypatch.setattr(torch.autograd, "grad", counted)
    points = ["hook_hidden", "hook_out"]
    for method in ("zero", "mean", "resample"):
        made_of.clear()
        together = attribution(loss, params, data, points, method, seed=4)
        assert len(made_of) == 2  # the other asks whether the loss is computed from all of them
        for point in points:
            alone = attribution(loss, params, data, point, method, seed=4)
            assert alone["value"].tolist() == together["value"][together["component"] == point].tolist()
    monkeypatch.setattr(kept_of, "KEPT", 0)
    for method in ("zero", "mean", "resample"):
        kept = attribution(loss, params, data, points, method, seed=4)
        monkeypatch.undo()
        assert attribution(loss, params, data, points, method, seed=4)["value"].tolist() == kept["value"].tolist()
        monkeypatch.setattr(kept_of, "KEPT", 0)


class Detached(nn.Module):
    """Reads one of its layers behind a cut of the graph."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.r = nn.Linear(3, 4), nn.Linear(3, 4), nn.Linear(4, 1)

    def per_example_loss(self, batch: Tensor) -> Tensor:
        return (self.r(self.a(batch))[:, 0] + self.b(batch).detach().sum(1)).square()


def test_a_hook_point_without_gradient_is_named_among_others_with_one() -> None:
    net = made(Detached)
    loss, params = loss_fn(net), snapshot_params(net)
    assert attribution(loss, params, X, "a")["value"].abs().item() > 0
    for points in (["b"], ["a", "b"], ["b", "a"]):
        with pytest.raises(SettingError, match="'train' has no gradient at 'b'"):
            attribution(loss, params, X, points)


@pytest.mark.parametrize("method", ["zero", "mean", "resample"])
def test_blocks_of_examples_have_the_estimates_that_they_have_together(method: str) -> None:
    net, data = made(Circuits), circuits_data(600)  # three blocks, of which the last is not full
    loss, params = loss_fn(net), snapshot_params(net)
    found = attribution(loss, params, data, ["hook_hidden", "hook_out"], method, seed=1)
    for point in ("hook_hidden", "hook_out"):
        alone = attribution(loss, params, data, point, method, seed=1)
        assert alone["value"].tolist() == found["value"][found["component"] == point].tolist()
    if method == "zero":
        h = net.W_in(data[0]).relu().detach().requires_grad_()
        total = (net.W_out(h) - data[1]).square().square().mean(-1).sum()
        expected = -(h * torch.autograd.grad(total, h)[0]).sum(1).mean().item()
        value = found["value"][(found["component"] == "hook_hidden") & (found["loss"] == "train")].item()
        assert value == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("module", "data", "components"),
    [
        (made(Circuits), circuits_data(70), [Component("hook_hidden[2]", "neuron", "hook_hidden", (2,))]),
        (made(Tokens), tokens_data(70), heads()),
        (made(Padded), examples(), [one for one in parts() if one.point != "hook_scores" and not one.parts]),
    ],
)
def test_slopes_are_those_of_finite_differences(module: nn.Module, data: object, components: list[Component]) -> None:
    loss = loss_fn(module.double())
    params = snapshot_params(module)
    data = tuple(one.double() for one in data) if isinstance(data, tuple) else data
    mask, real = "", None
    if isinstance(data, dict):
        mask, real = "real", data["real"]
    found = attribution(loss, params, data, components, "zero", mask=mask)
    step = 1e-6
    for component, value in zip(components, found["value"], strict=True):
        edits: list[Edit] = []
        for member in component.members:
            h = loss.activations(params, data, [member.point])[member.point]
            where = member.unit_mask(h[0])
            if member.positions is not None:
                where = where & (torch.arange(h.shape[1]) == member.positions[0])[:, None]
            target = torch.zeros_like(h)
            if member.basis is not None:
                target = h - (h @ member.basis.T.double()) @ member.basis.double()
            counts = torch.ones((), dtype=torch.bool)
            if real is not None:
                pattern = member.point == "hook_pattern"
                shape = [len(h), *[1] * (h.ndim - 1)]
                shape[h.ndim - 2 if pattern else 1] = real.shape[1]
                counts = real.view(shape)
                if pattern:
                    counts = counts & real[:, None, None]
            edits.append(Edit(member.point, where & counts, h + step * (target - h)))
        with torch.no_grad():
            differences = (loss.with_edits(edits)(params, data) - loss(params, data)) / step
        assert value == pytest.approx(float(differences.mean()), abs=2e-5, rel=2e-4)
    module.float()
    assert found["value"].abs().max() > 1e-3


@pytest.mark.parametrize("method", ["zero", "resample(draws=2)", "mean"])
def test_more_steps_come_to_the_effect_of_the_whole(method: str) -> None:
    module, data = made(Tokens), tokens_data(70)
    loss, params = loss_fn(module), snapshot_params(module)
    whole = ablation_effects(module, data, heads()[-1], method)["value"][0]
    off = [
        attribution(loss, params, data, heads()[-1], method, steps=steps)["value"][0] - whole for steps in (0, 1, 4, 16)
    ]
    assert abs(off[3]) < 1e-5
    assert abs(off[3]) <= abs(off[2]) <= abs(off[1]) < abs(off[0])


def test_metrics_and_partners_and_padding() -> None:
    module = made(Padded)
    loss, params = loss_fn(module), snapshot_params(module)
    metrics = ["kl", "logit_difference(right=right,wrong=wrong)"]
    tables = [
        attribution(
            loss, params, examples(fill=fill), parts(), ["mean", "counterfactual", "resample"], steps=3,
            metrics=metrics, counterfactual=examples(fill=fill, partner=True), mask="real",
        )
        for fill in (PAD, None)
    ]  # fmt: skip
    assert tables[0].equals(tables[1])
    layer = Component("up", "layer", "up")
    measured = ablation_effects(module, examples(), layer, "mean", metrics=metrics, mask="real")
    found = attribution(loss, params, examples(), layer, "mean", steps=64, metrics=metrics, mask="real")
    assert found["loss"].tolist() == measured["loss"].tolist()
    assert found["value"].tolist() == pytest.approx(measured["value"].tolist(), abs=2e-4)
    flat = attribution(loss, params, examples(), layer, "mean", metrics="kl", mask="real")
    assert flat["value"][1] == pytest.approx(0, abs=1e-6)  # the divergence has its minimum there


def test_what_has_no_slope_is_refused() -> None:
    loss, params = loss_fn(QUADRATIC), snapshot_params(QUADRATIC)
    with pytest.raises(
        SettingError, match="attribution estimates from the values of a method, and 'optimal' fits them"
    ):
        attribution(loss, params, X, "hidden", "optimal")
    with pytest.raises(SettingError, match="and 'weight_zero' fits them or edits weights; use zero, mean, resample or"):
        attribution(loss, params, X, "hidden", "weight_zero")
    with pytest.raises(SettingError, match="steps"):
        attribution(loss, params, X, "hidden", steps=-1)
    with pytest.raises(AddressError, match="has no activation"):
        attribution(loss, params, X, "parameters")
    data = {"x": X, "y": torch.zeros(90, dtype=torch.int64)}

    class Classes(Quadratic):
        def logits(self, batch: dict[str, Tensor]) -> Tensor:
            return self.hidden(batch["x"])

        def per_example_loss(self, batch: dict[str, Tensor]) -> Tensor:
            return F.cross_entropy(self.logits(batch), batch["y"], reduction="none")

    net = Classes()
    with pytest.raises(SettingError, match=r"'metric:accuracy\(target=y\)' has no gradient at 'hidden'"):
        attribution(loss_fn(net), snapshot_params(net), data, "hidden", metrics="accuracy(target=y)")
