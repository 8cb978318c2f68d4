"""Positions that do not count enter nothing; values are those of the examples without their padding."""

import math
import warnings
from collections.abc import Callable

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llc_lightning import ablation_effects
from llc_lightning.ablation.engine.base import METHODS, Activations, Shared, WeightMethod
from llc_lightning.ablation.engine.influence import donors
from llc_lightning.ablation.engine.mask import position_axes
from llc_lightning.ablation.methods.resample import Resample
from llc_lightning.components.component import Component
from llc_lightning.runtime.errors import DataError, SettingError
from tests.ablation.nets import hooked, replaced
from tests.ablation.padded import LENGTHS, PAD, OwnMask, Padded, examples, parts, unpadded

WHOLE = [name for name, entry in METHODS.items() if entry.facts.whole]
ACTIVATIONS = [name for name, entry in METHODS.items() if issubclass(entry.item, Shared) and name not in WHOLE]
ACTIVATIONS += ["mean(positions=pooled)", "resample(positions=own)", "resample(positions=pooled)"]
WEIGHTS = [name for name, entry in METHODS.items() if issubclass(entry.item, WeightMethod)]
WEIGHTS += ["quantise(bits=3)"]
METRICS = (
    *("kl", "kl(last=true)", "kl(at=second)", "accuracy(target=tokens,shift=1)"),
    *("accuracy(target=tokens,shift=1,last=true)", "logit_difference(right=right,wrong=wrong)"),
    "logit_difference(right=right,wrong=wrong,at=second)",
)


def table(components: object, methods: object, *, left: bool = False, fill: int | None = PAD) -> pd.DataFrame:
    data, partners = (examples(left=left, fill=fill, partner=partner) for partner in (False, True))
    return ablation_effects(
        Padded(), data, components, methods, metrics=METRICS, mask="real", counterfactual=partners
    )  # fmt: skip


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize(
    ("components", "methods"),
    [
        (parts(), ACTIVATIONS),
        (["up[2]"], WEIGHTS),
        (["up", "hook_resid"], WHOLE),
    ],
)
def test_what_fills_padding_changes_no_bit(components: object, methods: object, left: bool) -> None:
    one, other = (table(components, methods, left=left, fill=fill) for fill in (PAD, None))
    pd.testing.assert_frame_equal(one, other, check_exact=True)
    assert len(one) > 30 or methods == WHOLE
    assert one["value"].notna().mean() > 0.9  # scores of minus infinity have no mean and no noise


@pytest.mark.parametrize("component", [parts()[0], parts()[3]])
def test_nor_does_it_change_what_is_fitted(component: Component) -> None:
    one, other = (
        ablation_effects(Padded(), examples(fill=fill), component, "optimal(steps=4)", metrics="kl", mask="real")
        for fill in (PAD, None)
    )
    pd.testing.assert_frame_equal(one, other, check_exact=True)
    assert one["value"].notna().all()


def by_hand(change: Callable[[Tensor, int], Tensor], *, left: bool) -> dict[str, float]:
    """Effects of what a change of ``up`` does to the examples one at a time, without their padding."""
    net, batch = Padded().eval(), examples(left=left)
    found: dict[str, list[float]] = {name: [] for name in ("train", *METRICS)}
    for i, length in enumerate(LENGTHS):
        one = unpadded(batch, i)
        with torch.no_grad():
            clean, before = net.logits(one)[0], net.per_example_loss(one)
            with hooked(net, "up", lambda h, i=i: change(h, i)):
                after, loss = net.logits(one)[0], net.per_example_loss(one)
        kl = F.kl_div(after.log_softmax(-1), clean.log_softmax(-1), log_target=True, reduction="none").sum(-1)
        right = [(out[:-1].argmax(-1) == one["tokens"][0, 1:]).double() for out in (after, clean)]
        gap = [out[:, one["right"][0]] - out[:, one["wrong"][0]] for out in (after, clean)]
        at = int(one["second"])
        assert length == len(clean)
        numbers = (
            *(loss - before, kl.mean(), kl[-1], kl[at], right[0].mean() - right[1].mean(), right[0][-1] - right[1][-1]),
            *(gap[0][-1] - gap[1][-1], gap[0][at] - gap[1][at]),
        )
        for name, number in zip(found, numbers, strict=True):
            found[name].append(float(number))
    return {name: sum(numbers) / len(numbers) for name, numbers in found.items()}


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("method", ["zero", "mean", "resample(draws=1)"])
def test_values_are_those_of_the_examples_without_padding(method: str, left: bool) -> None:
    batch = examples(left=left)
    with torch.no_grad(), hooked(net := Padded(), "up", lambda h: (seen.append(h), h)[1]):
        seen: list[Tensor] = []
        net.per_example_loss(batch)
    activation, real = seen[0], batch["real"]
    mean = torch.stack([activation[real[:, at], at].mean(0) for at in range(activation.shape[1])])
    order = donors(len(LENGTHS), seed=0, draw=0)

    def change(h: Tensor, i: int) -> Tensor:
        value = torch.zeros_like(activation[i]) if method == "zero" else mean.clone()
        if method.startswith("resample"):
            for at in real[i].nonzero().flatten():
                donor = int(order[i])
                while not real[donor, at]:
                    donor = int(order[donor])
                value[at] = activation[donor, at]
        return replaced(Component("up[2,5]", "set", "up", (2, 5)), value[real[i]][None])(h)

    found = ablation_effects(
        Padded(), batch, [Component("up[2,5]", "set", "up", (2, 5))], method, metrics=METRICS, mask="real"
    )
    expected = by_hand(change, left=left)
    assert len(found) == len(expected)
    for loss, value in zip(found["loss"], found["value"], strict=True):
        assert value == pytest.approx(expected[loss.removeprefix("metric:")], abs=1e-6)
    assert found["value"].abs().max() > 1e-2


def test_a_module_may_say_what_counts_and_an_entry_too() -> None:
    data = examples()
    named = table(["up"], ["mean", "resample"])
    own = ablation_effects(OwnMask(), data, ["up"], ["mean", "resample"], metrics=METRICS)
    unequal = ablation_effects(Padded(), data, ["up"], ["mean", "resample"], metrics=METRICS, mask="tokens!=9")
    whole = {**examples(fill=None), "real": torch.ones_like(data["real"])}
    assert named.equals(own)
    assert named.equals(unequal)
    # Where all positions count, a mask changes no bit.
    masked, plain = (
        ablation_effects(Padded(), whole, ["up"], ["mean", "resample", "noise"], metrics=METRICS[:1], mask=mask)
        for mask in ("real", "")
    )
    pd.testing.assert_frame_equal(masked, plain, check_exact=False, atol=1e-7)


def test_padding_without_a_mask_is_told() -> None:
    data = examples()
    with pytest.warns(UserWarning, match=r"the examples look padded \('tokens' ends in runs of 9\) and no mask is"):
        ablation_effects(Padded(), data, ["up"], "mean")
    with pytest.warns(UserWarning, match=r"'attention_mask' has zeros"):
        ablation_effects(Padded(), {"attention_mask": data["real"], **data}, ["up"], "zero", metrics="kl")
    labels = {"labels": data["tokens"].where(data["real"], -100), **data}
    with pytest.warns(UserWarning, match=r"'labels' ends in runs of -100"):
        ablation_effects(Padded(), labels, ["up"], "resample")
    with pytest.warns(UserWarning, match=r"'tokens' begins in runs of 9"):
        ablation_effects(Padded(), examples(left=True), ["up"], "mean")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ablation_effects(Padded(), data, ["up"], "zero")  # looks at no position
        ablation_effects(Padded(), data, ["up"], "mean", mask="real")
        full = {**data, "tokens": torch.randint(0, 5, data["tokens"].shape), "real": torch.ones_like(data["real"])}
        ablation_effects(Padded(), full, ["up"], "mean", metrics="kl")


@pytest.mark.parametrize(
    ("mask", "error", "told"),
    [
        ("reel", SettingError, "unknown entry of the examples 'reel'; did you mean 'real'"),
        ("tokens", DataError, "holds other numbers than 0 and 1; give one that is true where a position counts, or"),
        ("right", DataError, r"the mask 'right' has shape \(12,\); it must be \[example, position\] for 12 examples"),
        ("none", DataError, "example 3 has no position that counts by the mask 'none'; leave such examples out"),
        ("short", DataError, r"the mask has 5 positions, and the activation at 'up' has shape \(8, 12\) per example"),
    ],
)
def test_masks_that_are_none_are_refused(mask: str, error: type[Exception], told: str) -> None:
    none = examples()["real"].clone()
    none[3] = False
    data = {**examples(), "none": none, "short": torch.ones(len(LENGTHS), 5, dtype=torch.bool)}
    with pytest.raises(error, match=told):
        ablation_effects(Padded(), data, ["up"], "mean", mask=mask)


def test_chosen_positions_are_among_those_that_count() -> None:
    data = {
        **examples(),
        "far": torch.full((len(LENGTHS),), 6),
        "odd": torch.arange(8).remainder(2).bool().expand(12, 8),
    }
    with pytest.raises(DataError, match=r"no position of example 1 that 'far' names counts for 'kl\(at=far\)'"):
        ablation_effects(Padded(), data, ["up"], "zero", metrics="kl(at=far)", mask="real")
    with pytest.raises(DataError, match=r"the positions 'tokens' of 'kl\(at=tokens\)' have shape \(12, 8\)"):
        ablation_effects(Padded(), data, ["up"], "zero", metrics="kl(at=tokens)", mask="real")
    value = ablation_effects(Padded(), data, ["up"], "zero", metrics="kl(at=odd)", mask="real")["value"][1]
    assert math.isfinite(value)
    assert value != ablation_effects(Padded(), data, ["up"], "zero", metrics="kl", mask="real")["value"][1]


def test_donors_at_a_position_are_a_permutation_of_those_that_count_there() -> None:
    real = torch.rand(30, 4, generator=torch.Generator().manual_seed(0)) < 0.5
    reference = torch.arange(120.0).view(30, 4, 1)
    for method in (Resample(), Resample(positions="own")):
        seen = Activations(reference, real=real[..., None])
        (values,) = method.values(seen, [torch.arange(30)], seed=0)
        for draw in values:
            for at in range(4):
                given, own = draw[real[:, at], at, 0], reference[real[:, at], at, 0]
                assert torch.equal(given.sort().values, own)
                assert bool((given != own).all())


def test_axes_of_positions() -> None:
    real = torch.tensor([[True, True, False], [True, True, True]])
    assert position_axes(torch.randn(2, 3, 5), -1, real, "h") == (-2,)
    assert position_axes(torch.randn(2, 5), -1, real, "h") == ()
    assert position_axes(torch.randn(2, 2, 3, 4), -3, real, "h") == (-2,)
    assert position_axes(torch.randn(2, 2, 3, 3), -3, real, "h") == (-2,)
    pattern = torch.rand(2, 3, 3, 3).where(real[:, None, None], 0)
    assert position_axes(pattern, -3, real, "h") == (-2, -1)
    assert position_axes(pattern, -1, real, "h") == (-2, -1)


class Bare(nn.Module):
    """A classifier of vectors: its activations have no positions, and a mask is about nothing."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.one = nn.Linear(4, 3)

    def per_example_loss(self, batch: dict[str, Tensor]) -> Tensor:
        return F.cross_entropy(self.one(batch["x"]), batch["y"], reduction="none")


def test_activations_without_positions_are_left_as_they_are() -> None:
    stream = torch.Generator().manual_seed(0)
    data = {"x": torch.randn(9, 4, generator=stream), "y": torch.randint(3, (9,), generator=stream)}
    masked = {**data, "real": torch.ones(9, 5, dtype=torch.bool)}
    found = ablation_effects(Bare(), masked, "one", ["mean", "resample"], mask="real")
    assert found.equals(ablation_effects(Bare(), data, "one", ["mean", "resample"]))
