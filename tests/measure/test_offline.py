"""Snapshots measured afterwards give the rows that callbacks gave, to the byte."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from llc_lightning.callbacks.ablation import AblationCallback
from llc_lightning.callbacks.llc import LLCCallback
from llc_lightning.callbacks.snapshots import SnapshotCallback
from llc_lightning.llc.revision import llc_revision
from llc_lightning.llc.settings import ChainSettings
from llc_lightning.measure import offline
from llc_lightning.measure.ablation.plan import AblationPlan
from llc_lightning.measure.llc.plan import LLCPlan
from llc_lightning.measure.measurements import Plan
from llc_lightning.measure.offline import measure_snapshots
from llc_lightning.results.run import Run
from llc_lightning.results.schema import KEY
from llc_lightning.results.snapshots import save_snapshot
from llc_lightning.results.training import abandon_after
from llc_lightning.runtime.cadence import AtSteps
from llc_lightning.runtime.errors import AddressError, MeasurementError, SettingError, SnapshotError
from llc_lightning.runtime.workers import Workers
from tests.components.nets import MLP, Wrapped, regression
from tests.measure.small import Stage

REVISED = f"-revision={llc_revision(ChainSettings())}"

DATA = regression(48)
SHORT: dict[str, Any] = {"n_beta": [10.0, 100.0], "gamma": 5.0, "chains": 2, "draws": 4, "burn_in": 1, "batch_size": 8}
CHAINS: dict[str, Any] = {**SHORT, "step_size": 1e-4}


def callbacks() -> list[Any]:
    when = AtSteps([2, 5], at_start=True)
    return [
        SnapshotCallback(when),
        LLCCallback(when, **CHAINS, components=["all", "net.hook_two[1]"], data=DATA, replicates=2),
        AblationCallback(AtSteps([2, 6]), methods=["zero", "resample"], components="neurons", data=DATA, examples=999),
    ]


@pytest.fixture(autouse=True)
def _no_seed_left() -> Iterator[None]:
    yield
    for name in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
        os.environ.pop(name, None)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of 6 steps in 2 epochs that measured at steps 0, 2, 5 and 6, and kept the weights of 0, 2, 5 and 6."""
    folder = tmp_path_factory.mktemp("run")
    L.seed_everything(4, verbose=False)
    measuring = callbacks()
    measuring[0] = SnapshotCallback(AtSteps([2, 5, 6], at_start=True))
    trainer = L.Trainer(
        accelerator="cpu", max_epochs=2, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=folder, callbacks=measuring,
    )  # fmt: skip
    trainer.fit(Wrapped(), DataLoader(TensorDataset(*regression(24)), batch_size=8))
    return Run.open(folder / "llc_lightning")


PLANS: dict[str, Plan] = {
    "llc": LLCCallback(None, **CHAINS, components=["all", "net.hook_two[1]"]).plan,
    "ablation": AblationPlan(components=("neurons",), methods=("zero", "resample"), examples=999),
}
ABLATED = f"ablation-revision={PLANS['ablation'].revision}"


def copied(run: Run, to: Path, *, parts: bool = False) -> Run:
    """Returns a copy of a run's snapshots under the same name, with its measurements only where asked for."""
    folder = to / Path(run.name)
    for path in sorted(run.folder.rglob("*")):
        kept = path.parent.name not in ("measurements", "traces", "timings") or parts
        if path.is_file() and kept:
            target = folder / path.relative_to(run.folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    return Run.open(folder)


def files(run: Run) -> dict[str, bytes]:
    """Returns what is measured in a run, byte by byte."""
    found = [*(run.folder / "measurements").glob("*"), *(run.folder / "traces").glob("*")]
    return {str(path.relative_to(run.folder)): path.read_bytes() for path in sorted(found)}


def test_offline_rows_are_live_rows_to_the_byte(live: Run, tmp_path: Path) -> None:
    before = files(live)
    assert sorted(before) == [
        f"measurements/step=00000000-llc{REVISED}.parquet",
        f"measurements/step=00000002-{ABLATED}.parquet",
        f"measurements/step=00000002-llc{REVISED}.parquet",
        f"measurements/step=00000005-llc{REVISED}.parquet",
        f"measurements/step=00000006-{ABLATED}.parquet",
        f"measurements/step=00000006-llc-replicate=1{REVISED}.parquet",
        f"measurements/step=00000006-llc{REVISED}.parquet",
        f"traces/step=00000000-llc{REVISED}.zarr.zip",
        f"traces/step=00000002-llc{REVISED}.zarr.zip",
        f"traces/step=00000005-llc{REVISED}.zarr.zip",
        f"traces/step=00000006-llc-replicate=1{REVISED}.zarr.zip",
        f"traces/step=00000006-llc{REVISED}.zarr.zip",
    ]
    run = copied(live, tmp_path)
    assert files(run) == {}
    torch.manual_seed(77)
    module = Wrapped()
    written = measure_snapshots(module, DATA, PLANS, run, replicates=2)
    after = files(run)
    assert {str(path.relative_to(run.folder)) for path in written} == set(after)
    assert {name: content == before[name] for name, content in after.items() if name in before} == dict.fromkeys(
        before, True
    )
    assert {name.rpartition("/")[2] for name in set(after) - set(before)} == {
        f"step=00000000-{ABLATED}.parquet",
        f"step=00000005-{ABLATED}.parquet",
    }


def test_the_module_and_the_random_states_are_left_alone(live: Run, tmp_path: Path) -> None:
    module = Wrapped()
    before = ({name: value.clone() for name, value in module.state_dict().items()}, torch.get_rng_state())
    with torch.no_grad():
        run = copied(live, tmp_path)
        measure_snapshots(module, DATA, PLANS, run, steps=[2])
        assert not torch.is_grad_enabled()
    assert files(run).items() <= files(live).items()
    assert all(torch.equal(value, before[0][name]) for name, value in module.state_dict().items())
    assert torch.equal(torch.get_rng_state(), before[1])
    assert module.training


def test_two_processes_write_the_same_once(live: Run, tmp_path: Path) -> None:
    run = copied(live, tmp_path)

    def act(workers: Workers) -> list[Path]:
        return measure_snapshots(Wrapped(), DATA, PLANS, run, steps=[2, 5], workers=workers)

    one, other = Stage(2).play(act)
    assert one == other
    before, after = files(live), files(run)
    assert [name for name in after if after[name] != before.get(name)] == [
        f"measurements/step=00000005-{ABLATED}.parquet"
    ]
    assert len(after) == len(one) == 6
    assert run.timings()["processes"].tolist() == [2] * 4
    assert run.timings()["beside"].all()


def counted(monkeypatch: pytest.MonkeyPatch, before: Callable[[int], None] = lambda _: None) -> list[tuple[str, int]]:
    """Returns a list that is told kind and step of each measurement when it begins, after ``before`` of its step."""
    begun: list[tuple[str, int]] = []
    measure = offline.measure

    def spy(plan: Any, snapshot: Any, **more: Any) -> Any:
        before(snapshot.step)
        begun.append((plan.kind, snapshot.step))
        return measure(plan, snapshot, **more)

    monkeypatch.setattr(offline, "measure", spy)
    return begun


def test_two_calls_at_once_measure_no_part_twice(live: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = copied(live, tmp_path)
    within: list[list[Path]] = []

    def again(step: int) -> None:
        if not within:
            within.append([])
            within[0] = measure_snapshots(Wrapped(), DATA, PLANS, run, steps=[2, 5])

    begun = counted(monkeypatch, again)
    written = measure_snapshots(Wrapped(), DATA, PLANS, run, steps=[2, 5])
    assert sorted(begun) == [("ablation", 2), ("ablation", 5), ("llc", 2), ("llc", 5)]
    assert len(written) == 2
    assert {path.name for path in written}.isdisjoint(path.name for path in within[0])
    assert len(files(run)) == 6
    assert list(run.folder.glob(".*.claim")) == []


def test_what_a_training_goes_back_before_is_not_kept(
    live: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = copied(live, tmp_path)

    def goes_back(step: int) -> None:
        if step == 5:
            abandon_after(run.folder, 3)

    counted(monkeypatch, goes_back)
    with pytest.warns(UserWarning, match="the training has gone back to before step 5, which is not measured any more"):
        written = measure_snapshots(Wrapped(), DATA, {"ablation": PLANS["ablation"]}, run, steps=[2, 5])
    assert [path.name for path in written] == [f"step=00000002-{ABLATED}.parquet"]
    assert len(files(run)) == 1


def test_processes_measure_what_the_first_of_them_sees(live: Run, tmp_path: Path) -> None:
    run = copied(live, tmp_path)

    class Late(Run):
        """A run of which a process has not seen the snapshots yet."""

        @property
        def snapshots(self) -> dict[int, Path]:
            return {}

    def act(workers: Workers) -> list[Path]:
        seen = run if workers.is_zero else Late(run.folder)
        return measure_snapshots(Wrapped(), DATA, {"ablation": PLANS["ablation"]}, seen, steps=[2], workers=workers)

    one, other = Stage(2).play(act)
    assert one == other
    assert len(one) == 1
    told = Stage(2).play(lambda workers: measure_snapshots(Wrapped(), DATA, PLANS, run, steps=[3], workers=workers))
    assert [type(error) for error in told] == [SnapshotError] * 2
    assert "has no snapshot of step 3" in str(told[1])


def test_what_is_measured_is_not_measured_again(live: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = copied(live, tmp_path, parts=True)
    parts: list[tuple[str, int, int]] = []
    measure = offline.measure

    def spy(plan: Any, snapshot: Any, **more: Any) -> Any:
        parts.append((plan.kind, snapshot.step, more["replicate"]))
        return measure(plan, snapshot, **more)

    monkeypatch.setattr(offline, "measure", spy)
    written = measure_snapshots(Wrapped(), DATA, PLANS, run, replicates=2)
    assert parts == [("ablation", 0, 0), ("ablation", 5, 0)]
    assert len(written) == 2
    assert measure_snapshots(Wrapped(), DATA, PLANS, run, replicates=2) == []
    before = files(run)
    assert len(measure_snapshots(Wrapped(), DATA, PLANS, run, steps=[2], again=True)) == 3
    assert parts[2:] == [("llc", 2, 0), ("ablation", 2, 0)]
    assert files(run) == before
    damaged = run.store.parts()[f"step=00000002-{ABLATED}"]
    damaged.write_bytes(b"gone")
    assert measure_snapshots(Wrapped(), DATA, PLANS, run, steps=[2]) == [damaged]
    assert files(run) == before


OTHER: dict[str, Plan] = {"ablation": AblationPlan(components=("layers",), methods=("mean", "zero"))}


def test_what_was_measured_otherwise_is_not_lost(live: Run, tmp_path: Path) -> None:
    run = copied(live, tmp_path / "a", parts=True)
    before = files(run)
    with pytest.raises(SettingError) as raised:
        measure_snapshots(Wrapped(), DATA, OTHER, run)
    assert str(raised.value) == (
        f"step=00000002-{ABLATED} of {run.folder} was measured with other settings, components or "
        "examples, and would be lost; write to another folder (out, --out), or replace it (again, --again)."
    )
    assert files(run) == before
    other = {"llc": LLCPlan(components=("all",), n_beta=(30.0,), gamma=5.0)}
    with pytest.raises(SettingError, match=r"step=00000000-llc-revision=\d+ of .* was measured with other settings"):
        measure_snapshots(Wrapped(), DATA, other, run)
    with pytest.raises(SettingError, match=rf"step=00000002-{ABLATED} of .* was measured with other settings"):
        measure_snapshots(Wrapped(), regression(47), {"ablation": PLANS["ablation"]}, run)
    written = measure_snapshots(Wrapped(), DATA, OTHER, run, steps=[2], out=tmp_path / "b" / "more")
    assert written == [tmp_path / "b" / "more" / "measurements" / f"step=00000002-{ABLATED}.parquet"]
    assert set(Run.open(tmp_path / "b" / "more").measurements()["run"]) == {"b/more"}
    measure_snapshots(Wrapped(), DATA, OTHER, run, steps=[2], again=True)
    assert set(run.store.read_part(f"step=00000002-{ABLATED}")["method"]) == {"", "mean", "zero"}


def test_more_of_the_same_is_added(live: Run, tmp_path: Path) -> None:
    run = copied(live, tmp_path, parts=True)
    more: dict[str, Plan] = {
        "ablation": AblationPlan(components=("neurons", "layers"), methods=("zero", "resample", "mean"))
    }
    before = run.measurements().set_index(list(KEY))
    assert len(measure_snapshots(Wrapped(), DATA, more, run, steps=[2])) == 1
    after = run.measurements().set_index(list(KEY))
    assert len(after) > len(before)
    assert after.loc[before.index].equals(before)


def test_rows_of_errors_are_measured_again(live: Run, tmp_path: Path) -> None:
    class Broken(Wrapped):
        def per_example_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
            raise FloatingPointError("broken")

    from llc_lightning.measure.keep import keep
    from llc_lightning.measure.measurements import measure
    from llc_lightning.measure.snapshot import Snapshot

    run = copied(live, tmp_path)
    snapshot = Snapshot.of(Broken(), DATA, run=run.name, seed=4, step=2, epoch=0)
    plan = PLANS["ablation"].fitted(48)
    keep(run.folder, f"step=00000002-{ABLATED}", measure(plan, snapshot, on_error="skip"), step=2)
    assert set(run.measurements()["status"]) == {"error"}
    measure_snapshots(Wrapped(), DATA, {"ablation": PLANS["ablation"]}, run, steps=[2])
    assert set(run.measurements()["status"]) <= {"ok", "too-few-examples"}
    assert (
        files(run)[f"measurements/step=00000002-{ABLATED}.parquet"]
        == files(live)[f"measurements/step=00000002-{ABLATED}.parquet"]
    )


def test_a_step_without_a_snapshot(live: Run, tmp_path: Path) -> None:
    with pytest.raises(SnapshotError) as raised:
        measure_snapshots(Wrapped(), DATA, PLANS, live, steps=[2, 3, 1])
    assert str(raised.value) == f"{live.folder} has no snapshot of step 1; it has those of 0, 2, 5, 6."
    run = copied(live, tmp_path)
    for path in run.snapshots.values():
        path.unlink()
    with pytest.raises(SnapshotError) as raised:
        measure_snapshots(Wrapped(), DATA, PLANS, run)
    assert str(raised.value) == (
        f"{run.folder} has no snapshots to measure: the manifest lists snapshots that are gone, of 0, 2, 5, 6; restore "
        "them from a copy; train with snapshots switched on, or with a SnapshotCallback."
    )


def test_a_snapshot_of_another_model(live: Run, tmp_path: Path) -> None:
    run = copied(live, tmp_path)
    plans: dict[str, Plan] = {"ablation": AblationPlan(components=("layers",), methods=("zero",))}
    with pytest.raises(MeasurementError) as raised:
        measure_snapshots(Wrapped(MLP()), DATA, plans, run, steps=[2])
    assert str(raised.value) == (
        f"{run.snapshots[2]} is not of this Wrapped: it lacks net.first.bias, net.first.weight, net.last.weight and 2 "
        "more; it has net.W_in.bias, net.W_in.weight, net.W_mid.bias and 3 more too many; give the model that it was "
        "taken of."
    )
    assert files(run) == {}


def test_a_damaged_snapshot(live: Run, tmp_path: Path) -> None:
    run = copied(live, tmp_path)
    path = run.snapshots[2]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(MeasurementError, match=r"step=00000002\.safetensors is damaged: its SHA-256 is not the one"):
        measure_snapshots(Wrapped(), DATA, PLANS, run)
    assert [name for name in files(run) if "step=00000002" in name] == []


@pytest.mark.parametrize(
    ("module", "plans", "error", "told"),
    [
        (nn.Linear(1, 1), PLANS, SettingError, r"Linear has no per_example_loss\(batch\)"),
        (
            Wrapped(),
            {"x": AblationPlan(components=("net.hook_thre",), methods=("zero",))},
            AddressError,
            "unknown component 'net.hook_thre'; did you mean 'net.hook_three'|'net.hook_",
        ),
    ],
)
def test_what_can_be_known_is_told_before_anything_is_measured(
    live: Run, tmp_path: Path, module: nn.Module, plans: dict[str, Plan], error: type[Exception], told: str
) -> None:
    run = copied(live, tmp_path)
    with pytest.raises(error, match=told):
        measure_snapshots(module, DATA, plans, run)
    assert files(run) == {}


def test_a_run_that_does_not_tell_its_seed(tmp_path: Path) -> None:
    module = Wrapped()
    save_snapshot(tmp_path, 0, dict(module.state_dict()))
    plans: dict[str, Plan] = {"ablation": PLANS["ablation"]}
    with pytest.raises(SettingError) as raised:
        measure_snapshots(module, DATA, plans, Run.open(tmp_path))
    assert str(raised.value) == f"{tmp_path} does not tell its seed; give seed."
    assert len(measure_snapshots(module, DATA, plans, Run.open(tmp_path), seed=5)) == 1
    assert set(Run.open(tmp_path).measurements()["seed"]) == {5}
