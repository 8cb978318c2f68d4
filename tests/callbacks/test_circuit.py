"""The settings of CircuitCallback, and a training with it."""

from pathlib import Path
from typing import Any

import torch

from llc_lightning import CircuitCallback, SnapshotCallback
from llc_lightning.measure.offline import measure_snapshots
from llc_lightning.results.run import Run
from llc_lightning.runtime.cadence import AtEnd, AtSteps
from tests.callbacks.plain import PlainModule, examples, fit, trainer
from tests.callbacks.test_ablated_llc import Dropping


def test_its_settings_become_a_plan() -> None:
    plan: Any = CircuitCallback(AtEnd(), edges="* -> out[0]", donor="zero", search="ugs(steps=3)", examples=7).plan
    assert (plan.components, plan.donor, plan.search, plan.examples) == (("* -> out[0]",), "zero", "ugs(steps=3)", 7)


def callback() -> CircuitCallback:
    return CircuitCallback(
        AtSteps([2]), edges="out:input[*] -> out[0]", donor="mean", search="ugs(steps=3)", resamples=2, examples=16,
        data=examples(32),
    )  # fmt: skip


def test_a_training_is_the_same_with_it_and_offline_gives_the_same_rows(tmp_path: Path) -> None:
    with_it, without = Dropping(), Dropping()
    fit(trainer(tmp_path / "a", [SnapshotCallback(AtSteps([2])), callback()], max_steps=3), module=with_it)
    fit(trainer(tmp_path / "b", [], max_steps=3), module=without)
    for name, value in without.state_dict().items():
        assert torch.equal(value, with_it.state_dict()[name]), name
    run = Run.open(tmp_path / "a" / "llc_lightning")
    live = run.measurements()
    assert (live["quantity"] == "edge_effect").sum() == 64
    assert {"circuit_edges", "circuit_resamples", "edge_share"} <= set(live["quantity"])
    assert set(live["step"]) == {2}
    before = {path.name: path.read_bytes() for path in run.store.parts().values()}
    fitted = callback().plan.fitted(32)
    measure_snapshots(PlainModule(), examples(32), {"circuit": fitted}, run, again=True)
    assert {path.name: path.read_bytes() for path in run.store.parts().values()} == before
