"""Measures the snapshots of a run as its own configuration says, or as a file laid over it says."""

import os
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import lightning as L
from lightning.fabric import Fabric

from llc_lightning.callbacks.base import HasAnalysisSet, MeasurementCallback
from llc_lightning.cli.files import faulty_file
from llc_lightning.cli.keys import add_keys
from llc_lightning.cli.known import check_keys
from llc_lightning.cli.own import Own
from llc_lightning.cli.parser import Parser
from llc_lightning.measure.measurements import Plan
from llc_lightning.measure.offline import measure_snapshots, seed_of
from llc_lightning.measure.snapshot import Snapshot, restore
from llc_lightning.results.claims import TRAINING, is_held
from llc_lightning.results.left_out import read_left_out
from llc_lightning.results.run import CONFIG, Run, run_name
from llc_lightning.results.snapshots import load_snapshot, snapshot_epoch
from llc_lightning.results.training import has_ended
from llc_lightning.runtime.errors import SettingError, SnapshotError, StoreError, unknown
from llc_lightning.runtime.progress import Progress
from llc_lightning.runtime.workers import Workers

Record = dict[str, Any]
"""A note of what a budget has left out of a part."""
_PAUSE = 1.0
"""Seconds between looks at a training for what it has left out."""
_NICE = 10
"""By how much what follows a training has less of a claim on a core than it."""
_BASES: dict[str, type] = {"model": L.LightningModule, "data": L.LightningDataModule}


@runtime_checkable
class FitsData(Protocol):
    """A model that takes something from its data, as its ``setup`` does when it is trained."""

    def fit_to(self, data: L.LightningDataModule) -> None:
        """Takes it."""
        ...


@runtime_checkable
class WatchesFile(Protocol):
    """A plan that can watch other examples than it measures on."""

    @property
    def on(self) -> str:
        """Their file."""
        ...


def measure_run(
    folder: Path,
    *,
    steps: Sequence[int] | None = None,
    only: Sequence[str] | None = None,
    config: Path | None = None,
    again: bool = False,
    out: Path | None = None,
    progress: Progress | None = None,
    own: Own | None = None,
    on: Path | None = None,
    follow: bool = False,
    fabric: Fabric | None = None,
) -> list[Path]:
    """Measures what the run's configuration names and is not measured yet, and returns the files that were written.

    Several calls at once share the work, whatever the host.

    Args:
        folder: The run folder.
        steps: The snapshots to measure; all of them by default.
        only: The keys of the configuration to measure, such as ``llc``; all that are switched on by default.
        config: A YAML file whose keys are laid over the run's, such as ``llc: {n_beta: 3000}``.
        again: Measure also what is measured already, and replace what was measured with other settings.
        out: The folder to write to; the run's own by default.
        progress: Shows how far it is.
        own: Where model and examples come from, if not from the configuration.
        on: A file of examples to watch in place of the run's own, in files of its name.
        follow: Go on until the training has ended: meanwhile measure what its budget leaves out, then all that lacks.
        fabric: The processes that share the work, launched; by default this one alone.

    Raises:
        StoreError: If the folder is no run, or has no configuration and ``own`` is not complete.
        SettingError: If a key is unknown or switched off, the data gives nothing to measure on, or ``follow`` is given
            together with ``again`` or ``out``.
    """
    if follow and (again or out is not None):
        raise SettingError(
            f"got --follow with {'--again' if again else '--out'}; it measures what a training leaves out, once, into "
            "the run itself: leave one of them away."
        )
    run, workers = Run.open(folder), Workers.of(fabric)
    made = _made(run, config, own)
    model, examples = _fitted(made)
    if fabric is not None:
        model.to(fabric.device)
    plans = {
        name if on is None else f"{name}_{on.stem}": (plan, callback)
        for name, callback in _chosen(made, only, run).items()
        if (plan := callback.plan if on is None else watching(callback.plan, on)) is not None
    }
    if not plans:
        raise SettingError(
            f"--on {on} is of examples to watch, and nothing that is measured here watches any; give the key "
            "posterior, with a cadence (when:) and more, with --config."
        )

    def measured(parts: Collection[str] | None, steps: Sequence[int] | None) -> list[Path]:
        return [
            path
            for name, (plan, callback) in plans.items()
            for path in measure_snapshots(
                model,
                examples,
                {name: plan},
                run,
                steps=steps,
                seed=callback.own_seed,
                replicates=callback.replicates,
                traces=callback.traces,
                again=again,
                out=out,
                workers=workers,
                progress=progress,
                parts=parts,
            )
        ]

    followed = _followed(run, steps, workers, measured) if follow else []
    return [*followed, *measured(None, steps)]


@cache
def _give_way() -> None:
    """Leaves most of a core to a training that wants the same one, from now on; once, since it adds up."""
    if hasattr(os, "nice"):
        os.nice(_NICE)


def _followed(
    run: Run,
    steps: Sequence[int] | None,
    workers: Workers,
    measured: Callable[[Collection[str] | None, Sequence[int] | None], list[Path]],
) -> list[Path]:
    """Measures what a training leaves out until it has ended, and returns the files that were written.

    What could not be measured, such as what another process has claimed, is not tried again while its note is the same.
    """
    _give_way()
    written: list[Path] = []
    tried: dict[str, Record] = {}
    waiting = False
    while (left := workers.gather(workers.on_zero(lambda: _left_out(run, steps)))[0]) is not None:
        new = {part: record for part, record in left.items() if tried.get(part) != record}
        tried = left
        if new:
            written += measured(list(new), sorted({record["step"] for record in new.values()}))
            continue
        waited, waiting = waiting, workers.is_zero and not is_held(run.folder, TRAINING)
        if waiting and not waited:
            print(f"waiting for the training of {run.folder} to begin or go on; Ctrl-C ends it", file=sys.stderr)
        time.sleep(_PAUSE)
    return written


def _left_out(run: Run, steps: Sequence[int] | None) -> dict[str, Record] | None:
    """Returns the notes of what a budget has left out where there is a snapshot; None once the training has ended."""
    if has_ended(run.folder):
        return None
    there = set(run.snapshots) if steps is None else set(run.snapshots) & set(steps)
    return {record["part"]: record for record in read_left_out(run.folder) if record["step"] in there}


def watching(plan: Plan, on: Path) -> Plan | None:
    """Returns a plan that watches the examples of a file; None for one that watches none.

    Raises:
        SettingError: If the file does not exist, or the plan's chains do not take all examples.
    """
    if not isinstance(plan, WatchesFile):
        return None
    if not on.is_file():
        raise SettingError(f"{on} does not exist; give a file that torch.save wrote of examples.")
    watches: Any = plan
    return replace(watches, on=str(on))


def restored(folder: Path, step: int | None = None, own: Own | None = None) -> Snapshot:
    """Returns a snapshot of a run as its configuration would measure it, with the model and data that it names.

    Args:
        folder: The run folder.
        step: Which snapshot; the last by default.
        own: Where model and examples come from, if not from the configuration.

    Raises:
        StoreError: If the folder is no run, or has no configuration and ``own`` is not complete.
        SnapshotError: If there is no such snapshot, or it is damaged or of another model.
        SettingError: If the data gives nothing to measure on.
    """
    run = Run.open(folder)
    there = run.snapshots
    if not there or (step is not None and step not in there):
        steps = ", ".join(map(str, there)) or "none"
        asked = "no snapshots" if step is None else f"no snapshot of step {step}"
        raise SnapshotError(f"{folder} has {asked}; there are: {steps}.")
    at = max(there) if step is None else step
    module, data = _fitted(_made(run, None, own))
    restore(module, load_snapshot(there[at]), source=str(there[at]))
    return Snapshot.of(module, data, run=run_name(folder), seed=seed_of(run), step=at, epoch=snapshot_epoch(there[at]))


def plans_of(folder: Path) -> dict[str, Plan]:
    """Returns what a run's configuration measures, by its keys.

    Raises:
        StoreError: If the folder is no run, or has no configuration.
        SettingError: If it switches on no measurement.
    """
    run = Run.open(folder)
    return {name: callback.plan for name, callback in _chosen(_made(run, None, None), None, run).items()}


def model_and_examples(folder: Path, own: Own | None = None) -> tuple[Any, Any]:
    """Returns the model of a run as its configuration or ``own`` makes it, and the examples to measure on.

    Raises:
        StoreError: If the folder is no run, or has no configuration and ``own`` is not complete.
        SettingError: If the data gives nothing to measure on.
    """
    return _fitted(_made(Run.open(folder), None, own))


def _made(run: Run, overlay: Path | None, own: Own | None) -> dict[str, Any]:
    """Returns model, data and callbacks, by their keys in the configuration."""
    given = own.made() if own else {}
    if not run.config and len(given) < len(_BASES):
        raise StoreError(
            f"{run.folder} has no {CONFIG}, since a script of your own trained it; give --module FILE:FUNCTION and "
            "--data FILE:FUNCTION, which make its module and the examples, or use measure_snapshots in Python."
        )
    # jsonargparse leaves its own types open.
    parser: Any = Parser(allow_abbrev=False)
    bases = {key: base for key, base in _BASES.items() if key not in given}
    for key, base in bases.items():
        parser.add_lightning_class_args(base, key, subclass_mode=True)
    add_keys(parser)
    keys: list[str] = [*bases, *parser.callback_keys]
    found = parser.parse_object({key: value for key, value in run.config.items() if key in keys})
    if overlay is not None:
        parser.known_keys = sorted(found.keys())
        laid = _read(parser, overlay)
        if not run.config:  # what is given is meant to be measured; at which steps the snapshots say
            laid = {key: {"when": {"class_path": "llc_lightning.AtEnd"}} | keys for key, keys in laid.items()}
        found = parser.parse_object(laid, cfg_base=found)
    instances: Mapping[str, Any] = parser.instantiate_classes(found)
    return {key: instances[key] for key in keys} | given


def _fitted(made: Mapping[str, Any]) -> tuple[Any, Any]:
    """Returns the model, which has taken from its data what it takes, and the examples to measure on."""
    model: Any = made["model"]
    data: Any = made["data"]
    if not isinstance(data, L.LightningDataModule):
        return model, data
    data.prepare_data()
    data.setup("fit")
    if not isinstance(data, HasAnalysisSet):
        raise SettingError(
            f"{type(data).__name__} has no examples to measure on; give it a method analysis_set(), or give them with "
            "--data FILE:FUNCTION."
        )
    examples = data.analysis_set()
    if isinstance(model, FitsData):
        model.fit_to(data)
    return model, examples


def _read(parser: Any, path: Path) -> dict[str, dict[str, Any]]:
    import yaml

    if not path.is_file():
        parser.error(f"{path} does not exist; give a YAML file with --config.")
    if fault := faulty_file(path):
        parser.error(fault)
    found: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        parser.error(f"{path} holds no keys; give some, such as 'llc: {{n_beta: 3000}}'.")
    keys = cast("dict[str, Any]", found)
    for key, value in keys.items():
        if not isinstance(value, dict):
            parser.error(f"{path} gives {key}: {value!r}; give keys below it, such as 'llc: {{n_beta: 3000}}'.")
    try:
        check_keys([f"--config={path}"])
    except SettingError as error:
        parser.error(str(error))
    return keys


def _chosen(made: Mapping[str, Any], only: Sequence[str] | None, run: Run) -> dict[str, MeasurementCallback]:
    measuring = {name: one for name, one in made.items() if isinstance(one, MeasurementCallback)}
    for name in only or ():
        if name not in measuring:
            raise SettingError(unknown("key", name, measuring))
        if not measuring[name].is_on:
            raise SettingError(
                f"{name} is switched off in {run.folder}; give it a cadence (when:) and more with --config."
            )
    chosen = {name: one for name, one in measuring.items() if one.is_on and (only is None or name in only)}
    if not chosen:
        raise SettingError(
            f"{run.folder} names nothing to measure; give llc or ablation settings and a cadence (when:) with --config."
        )
    return chosen
