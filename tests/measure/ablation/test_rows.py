"""Rows of ablation effects, plain losses and the module's own quantities."""

import math
from dataclasses import replace

import pytest
import torch

from llc_lightning import ablation_effects
from llc_lightning.ablation.procedures.attribution import attribution
from llc_lightning.components.loss import Edit
from llc_lightning.measure.ablation.plan import AblationPlan
from llc_lightning.measure.ablation.rows import Warm
from llc_lightning.measure.jobs import data_digest
from llc_lightning.measure.measurements import measure
from llc_lightning.measure.snapshot import Snapshot
from llc_lightning.results.schema import COMMON, Row, decode_details
from llc_lightning.runtime.errors import SettingError
from llc_lightning.runtime.status import is_failed
from tests.ablation.padded import OwnMask, Padded, examples
from tests.components.nets import MLP
from tests.measure.small import ABLATION, Net, alone, snapshot


@pytest.fixture
def rows() -> list[Row]:
    return alone(ABLATION).rows


def one(rows: list[Row], **columns: object) -> Row:
    found = [row for row in rows if all(getattr(row, name) == value for name, value in columns.items())]
    assert len(found) == 1, found
    return found[0]


def test_an_effect_is_a_paired_difference(rows: list[Row]) -> None:
    taken = snapshot()
    unit = torch.arange(5) == 3
    ablated = taken.loss.with_edits([Edit("hook_one", unit, torch.zeros(()))])
    difference = (ablated(taken.params, taken.data) - taken.loss(taken.params, taken.data)).double()
    row = one(rows, quantity="ablation_effect", component="hook_one[3]", method="zero", loss="train")
    assert row.value == pytest.approx(difference.mean().item(), rel=1e-5)
    assert row.stderr == pytest.approx(difference.std().item() / 8, rel=1e-5)
    assert (row.kind, row.params_moved, row.n_examples, row.draws) == ("neuron", "", 64, 1)
    assert not is_failed(row.status)
    assert row.settings == ABLATION.settings_with(data_digest(taken.data), revision=row.revision)
    assert decode_details(row.details) == {
        "draws": 1,
        "vmapped": True,
        COMMON: ABLATION.settings_with(data_digest(taken.data)),
    }


def test_an_effect_on_a_task_counts_the_tasks_examples(rows: list[Row]) -> None:
    taken = snapshot()
    unit = torch.arange(3) == 0
    ablated = taken.loss.with_edits([Edit("hook_two", unit, torch.zeros(()))])
    losses, counted = taken.loss.per_task(taken.params, taken.data)
    difference = (ablated.per_task(taken.params, taken.data)[0] - losses)[:, 1][counted[:, 1]].double()
    row = one(rows, quantity="ablation_effect", component="hook_two[0]", method="zero", loss="circuit:1")
    assert row.value == pytest.approx(difference.mean().item(), rel=1e-5)
    assert row.n_examples == counted[:, 1].sum()


def test_plain_losses_come_once(rows: list[Row]) -> None:
    taken = snapshot()
    losses = [row for row in rows if row.quantity == "loss"]
    assert [row.loss for row in losses] == ["train", "circuit:0", "circuit:1"]
    assert losses[0].value == pytest.approx(taken.loss(taken.params, taken.data).mean().item(), rel=1e-6)
    assert all((row.component, row.method, row.draws, row.details) == ("", "", 0, "{}") for row in losses)


def test_methods_of_one_plan_can_be_compared_whatever_their_revisions(rows: list[Row]) -> None:
    effects = [row for row in rows if row.quantity == "ablation_effect" and row.loss == "train"]
    assert len({row.method for row in effects}) > 1
    assert len({decode_details(row.details)[COMMON] for row in effects}) == 1


def test_draws_are_told(rows: list[Row]) -> None:
    row = one(rows, quantity="ablation_effect", component="hook_out", method="resample", loss="train")
    assert row.draws > 1
    assert decode_details(row.details)["draws"] == row.draws
    assert row.kind == "layer"


def test_the_modules_own_quantities_are_rows(rows: list[Row]) -> None:
    accuracy = one(rows, quantity="sign_accuracy")
    assert (accuracy.value, accuracy.stderr, accuracy.loss, accuracy.status) == (0.5, 0.1, "circuit:0", "ok")
    assert accuracy.n_examples == 64
    undefined = one(rows, quantity="circuits_solved")
    assert math.isnan(undefined.value)
    assert undefined.status == "nan-loss"


def test_a_plan_without_tasks_measures_the_loss_alone() -> None:
    rows = measure(replace(ABLATION, tasks=False), snapshot()).rows
    assert {row.loss for row in rows} == {"train"}
    assert {row.quantity for row in rows} == {"loss", "ablation_effect"}


def test_a_module_without_tasks_measures_the_loss_alone() -> None:
    rows = measure(replace(ABLATION, components=("neurons",)), snapshot(MLP())).rows
    assert {(row.loss, row.quantity) for row in rows} == {("train", "loss"), ("train", "ablation_effect")}
    assert {row.kind for row in rows if row.component} == {"neuron_in"}


def test_the_first_examples_are_measured_on() -> None:
    some = measure(replace(ABLATION, examples=16), snapshot()).rows
    fewer = measure(ABLATION, snapshot(n=16)).rows
    assert [(row.key, row.value) for row in some if row.quantity == "ablation_effect"] == [
        (row.key, row.value) for row in fewer if row.quantity == "ablation_effect"
    ]
    assert {row.n_examples for row in some if row.loss == "train"} == {16}


def test_a_nan_in_the_net_is_a_failed_row() -> None:
    net = Net()
    with torch.no_grad():
        net.W_out.bias[0] = math.nan
    rows = measure(ABLATION, snapshot(net)).rows
    failed = {(row.loss, row.status) for row in rows if row.quantity == "loss"}
    assert failed == {("train", "nan-loss"), ("circuit:0", "nan-loss"), ("circuit:1", "ok")}
    healthy = one(rows, quantity="ablation_effect", component="hook_one[3]", method="zero", loss="circuit:1")
    assert not is_failed(healthy.status)


def test_a_metric_is_a_loss_of_its_own() -> None:
    plan = replace(ABLATION, components=("hook_one[3]",), methods=("zero",), metrics=("kl(output=hook_out)",))
    taken = snapshot()
    unit = torch.arange(5) == 3
    ablated = taken.loss.with_edits([Edit("hook_one", unit, torch.zeros(()))])
    before, after = (
        one.activations(taken.params, taken.data, ["hook_out"])["hook_out"].log_softmax(-1)
        for one in (taken.loss, ablated)
    )
    row = one(measure(plan, taken).rows, quantity="ablation_effect", loss="metric:kl(output=hook_out)")
    assert row.value == pytest.approx((before.exp() * (before - after)).sum(-1).mean().item(), rel=1e-4)


def test_metrics_and_intervals_leave_the_other_values_as_they_are() -> None:
    plain = replace(ABLATION, components=("neurons",), methods=("zero", "resample"))
    more = measure(replace(plain, metrics=("kl(output=hook_out)",), resamples=99), snapshot()).rows
    kept = [replace(row, details="{}", settings="") for row in more if not row.loss.startswith("metric:")]
    few = measure(plain, snapshot()).rows
    assert kept == [replace(row, details="{}", settings="") for row in few]
    assert not {row.key for row in more} & {row.key for row in few}
    assert {"low", "high", "p"} <= set(
        decode_details(one(more, component="hook_one[3]", method="zero", loss="train").details)
    )


def test_a_seed_of_ones_own_draws_other_donors() -> None:
    plan = replace(ABLATION, components=("hook_one[3]",), methods=("resample",), tasks=False)
    mine, same, own = (measure(replace(plan, seed=seed), snapshot()).rows[-1] for seed in (None, snapshot().seed, 8))
    assert mine.value == same.value != own.value
    assert len({mine.key, same.key, own.key}) == 3


def test_a_mask_is_of_the_plan_and_the_rows_are_those_of_the_sweep() -> None:
    net, data = Padded(), examples()
    taken = Snapshot.of(net, data, run="r", seed=0, step=0, epoch=0)
    plan = AblationPlan(components=("up[2]",), methods=("mean",), metrics=("kl",), mask="real", tasks=False)
    rows = [row for row in measure(plan, taken).rows if row.quantity == "ablation_effect"]
    expected = ablation_effects(net, data, "up[2]", "mean", metrics="kl", mask="real")
    assert [row.value for row in rows] == expected["value"].tolist()
    own = measure(replace(plan, mask=""), Snapshot.of(OwnMask(), data, run="r", seed=0, step=0, epoch=0)).rows
    assert [row.value for row in own if row.quantity == "ablation_effect"] == expected["value"].tolist()


def test_examples_are_measured_in_the_precision_of_the_weights() -> None:
    net = MLP().bfloat16()
    x, y = torch.randn(20, 4), torch.randn(20, 2)
    taken = Snapshot.of(net, (x, y), run="r", seed=0, step=0, epoch=0)
    assert [one.dtype for one in taken.data] == [torch.bfloat16] * 2


def test_a_warm_start_is_told_and_is_named_by_other_settings() -> None:
    plan = replace(ABLATION, components=("hook_one[3]",), methods=("optimal(steps=5)",), warm_start=True, tasks=False)
    warm: Warm = {}
    first = measure(plan, snapshot(), memory=warm).rows
    assert list(warm) == ["hook_one[3] optimal(steps=5) train"]
    kept = dict(warm)
    second = measure(plan, snapshot(), memory=warm).rows
    before, after = (one(rows, quantity="ablation_effect") for rows in (first, second))
    assert decode_details(after.details)["gain"] >= decode_details(before.details)["gain"] - 1e-6
    assert warm.keys() == kept.keys()
    assert after.settings != replace(plan, warm_start=False).settings_with(data_digest(snapshot().data))
    cold = measure(replace(plan, warm_start=False), snapshot(), memory=warm).rows
    assert one(cold, quantity="ablation_effect").value == before.value


def test_estimates_from_gradients_come_beside_the_effects() -> None:
    taken = snapshot()
    plan = replace(ABLATION, components=("hook_one[*]", "hook_two"), methods=("zero",), tasks=False)
    both = replace(plan, attribution=("zero", "mean"))
    rows = measure(both, taken).rows
    estimated = [row for row in rows if row.quantity == "attribution"]
    assert [row for row in rows if row.quantity != "attribution"] == measure(plan, taken).rows
    expected = attribution(
        taken.loss, taken.params, taken.data, list(both.components), ["zero", "mean"], seed=taken.seed
    )
    told = {(row.component, f"attribution(of={row.method})"): (row.value, row.stderr) for row in estimated}
    wanted = expected.set_index(["component", "method"])[["value", "stderr"]].T.to_dict("list")
    assert len(estimated) == 12
    assert told == {key: tuple(pair) for key, pair in wanted.items()}
    assert {row.n_examples for row in estimated} == {64}


@pytest.mark.parametrize("method", ["optimal", "weight_zero"])
def test_what_has_no_values_of_its_own_is_not_estimated(method: str) -> None:
    with pytest.raises(SettingError, match="attribution estimates from the values of a method"):
        replace(ABLATION, attribution=(method,))
