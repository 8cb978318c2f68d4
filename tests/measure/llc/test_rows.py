"""Rows and traces of LLC estimates."""

import math
from dataclasses import replace

import pytest
import torch

from llc_lightning.llc.estimator import estimate_llc
from llc_lightning.measure.jobs import data_digest
from llc_lightning.measure.llc.rows import LLCMeasurement
from llc_lightning.measure.measurements import Outcome, measure
from llc_lightning.results.schema import Row, decode_details
from tests.measure.small import CHAINS, LLC, Net, alone, snapshot


@pytest.fixture
def measured() -> Outcome:
    return alone(LLC)


def one(rows: list[Row], **columns: object) -> Row:
    found = [row for row in rows if all(getattr(row, name) == value for name, value in columns.items())]
    assert len(found) == 1, found
    return found[0]


def test_a_restricted_estimate_is_that_of_its_weights(measured: Outcome) -> None:
    taken = snapshot()
    (neuron,) = replace(LLC, components=("hook_two[1]",)).components_of(taken.loss.module)
    record = estimate_llc(
        taken.loss, taken.params, taken.data, n_beta=100.0, gamma=5.0, moved=neuron.moved(taken.params), seed=3,
        chains=2, draws=6, burn_in=2, batch_size=8, step_size=1e-4,
    )  # fmt: skip
    row = one(measured.rows, quantity="llc", component="hook_two[1]", n_beta=100.0)
    assert (row.value, row.stderr, row.status) == (record.value, record.stderr, record.status)
    assert (row.kind, row.params_moved, row.method, row.loss) == ("neuron", "hook_two[1]", "", "train")
    assert (row.chains, row.draws, row.gamma, row.step_size, row.n_examples) == (2, 6, 5.0, pytest.approx(1e-4), 64)
    assert row.settings == LLC.settings_at(100.0, data=data_digest(taken.data), replicate=0)
    details = decode_details(row.details)
    assert details["dimension"] == 5 + 1 + 2
    assert details["per_chain"] == list(record.per_chain)
    assert (details["sampler"], details["burn_in"], details["batch_size"]) == ("lm", 2, 8)
    assert (details["replicate"], details["paired"], details["vmapped"]) == (0, True, True)


def test_the_whole_model_has_no_address(measured: Outcome) -> None:
    row = one(measured.rows, quantity="llc", params_moved="all", n_beta=10.0)
    assert (row.component, row.kind) == ("", "all")
    assert decode_details(row.details)["dimension"] == sum(p.numel() for p in Net().parameters())


def test_the_loss_is_that_of_all_examples(measured: Outcome) -> None:
    taken = snapshot()
    losses = taken.loss(taken.params, taken.data).double()
    row = one(measured.rows, quantity="loss")
    assert row.value == pytest.approx(losses.mean().item(), rel=1e-6)
    assert row.stderr == pytest.approx(losses.std().item() / 8, rel=1e-6)
    assert (row.component, row.kind, row.params_moved, row.n_examples) == ("", "", "", 64)


def test_norms_are_those_of_the_moved_weights(measured: Outcome) -> None:
    taken = snapshot()
    params = {name: value.clone().requires_grad_() for name, value in taken.params.items()}
    taken.loss(params, taken.data).mean().backward()
    moved = [params["W_mid.weight"][1], params["W_mid.bias"][1], params["W_out.weight"][:, 1]]
    grads = [params["W_mid.weight"].grad[1], params["W_mid.bias"].grad[1], params["W_out.weight"].grad[:, 1]]
    for quantity, parts in (("weight_norm", moved), ("grad_norm", grads)):
        row = one(measured.rows, quantity=quantity, component="hook_two[1]")
        expected = torch.cat([part.flatten() for part in parts]).norm().item()
        assert row.value == pytest.approx(expected, rel=1e-5)
        assert (row.stderr, row.params_moved, row.kind) == (0.0, "hook_two[1]", "neuron")
        assert decode_details(row.details)["dimension"] == 5 + 1 + 2


def test_a_correction_stands_beside_its_estimate(measured: Outcome) -> None:
    corrections = [row for row in measured.rows if row.quantity == "llc_correction"]
    assert corrections
    for row in corrections:
        beside = one(measured.rows, quantity="llc", component=row.component, n_beta=row.n_beta)
        assert (row.settings, row.params_moved, row.gamma) == (beside.settings, beside.params_moved, beside.gamma)
        assert row.value == pytest.approx(decode_details(beside.details)["correction"])
        assert row.stderr == 0.0
        assert row.status == ("not-a-minimum" if "not-a-minimum" in beside.status else "ok")


def test_traces_hold_every_kept_draw_of_every_estimate(measured: Outcome) -> None:
    rows = [row for row in measured.rows if row.quantity == "llc"]
    labels = [(trace.component, trace.n_beta, trace.gamma, trace.settings, trace.status) for trace in measured.traces]
    assert labels == [(row.component, row.n_beta, row.gamma, row.settings, row.status) for row in rows]
    for trace, row in zip(measured.traces, rows, strict=True):
        assert trace.excess.shape == trace.loss.shape == (2, 6)
        assert row.n_beta * trace.excess.double().mean().item() == pytest.approx(row.value, rel=1e-5)
        assert trace.excess.device.type == "cpu"


def test_a_loss_that_is_not_finite_is_a_failed_row_without_a_trace() -> None:
    net = Net()
    with torch.no_grad():
        net.W_mid.weight[0, 0] = math.nan
    found = measure(LLC, snapshot(net))
    assert found.traces == []
    for quantity in ("loss", "llc", "grad_norm"):
        rows = [row for row in found.rows if row.quantity == quantity]
        assert {row.status for row in rows} == {"nan-loss"}, quantity
        assert all(math.isnan(row.value) for row in rows)
    assert "llc_correction" not in {row.quantity for row in found.rows}
    norms = {row.component: row for row in found.rows if row.quantity == "weight_norm"}
    assert (norms["hook_two[0]"].status, norms["hook_two[1]"].status) == ("nan-loss", "ok")


def test_chains_that_die_are_rows(measured: Outcome) -> None:
    plan = replace(LLC, settings=replace(CHAINS, step_size=1e6))
    found = measure(plan, snapshot())
    rows = [row for row in found.rows if row.quantity == "llc"]
    assert len(rows) == 10
    assert {row.status for row in rows} == {"all-diverged"}
    assert all(math.isnan(row.value) and math.isnan(row.stderr) and row.chains == 0 for row in rows)
    assert one(found.rows, quantity="loss").value == one(measured.rows, quantity="loss").value


def test_a_record_is_sent_without_the_draws_of_its_neighbours() -> None:
    taken = snapshot()
    components = replace(LLC, components=("neurons",)).components_of(taken.loss.module)
    for each in LLCMeasurement().measure(
        LLC, taken, components, replicate=0, advance=lambda n=1, note="": None, memory=None
    ):
        for record in each.records:
            for draws in (record.excess, record.baseline):
                assert draws.untyped_storage().nbytes() == draws.numel() * draws.element_size()


def test_the_trivial_loss_judges_the_whole_model_alone(measured: Outcome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Net, "trivial_loss", 1e-9)
    strict = measure(LLC, snapshot())
    before = {row.key: row.status for row in measured.rows if row.quantity == "llc"}
    after = {row.key: row.status for row in strict.rows if row.quantity == "llc"}
    changed = {row.params_moved for row in strict.rows if row.key in after and after[row.key] != before[row.key]}
    assert changed == {"all"}
