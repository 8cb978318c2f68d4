"""Several runs, read to be compared: which are of one net, and what is known of it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llc_lightning.analysis.across import Measurements
from llc_lightning.cli.truth import what_matters
from llc_lightning.results.run import Run
from llc_lightning.runtime.errors import SettingError, StoreError


def measurements_of(folders: Sequence[Path]) -> tuple[list[Measurements], list[str]]:
    """Returns what was measured of every run that has something, and a sentence for each that has not.

    Runs of one model, data and training, which differ in seed and in what is measured, are of one net, named by the
    first one's experiment; of several with one seed, which are one training, the first counts.

    Raises:
        StoreError: If a folder is no run, a table is damaged, or none of the runs was measured.
    """
    runs = [Run.open(folder) for folder in folders]
    nets: dict[str, str] = {}
    seeds: set[tuple[str, Any]] = set()
    found: list[Measurements] = []
    told: list[str] = []
    for run in runs:
        rows = run.measurements()
        if not len(rows):
            told.append(f"{run.name} has no measurements yet and is left out.")
            continue
        config = run.config
        seed = config.get("seed_everything")
        net = nets.setdefault(_alike(config) if config else run.name, _named(run, config, nets))
        if type(seed) is int and (net, seed) in seeds:  # true asks for any seed
            told.append(f"{run.name} is left out, since another run of {net} has the same seed, {seed}.")
            continue
        seeds.add((net, seed))
        try:
            truth = what_matters(config)
        except SettingError as error:
            told.append(f"What matters in {run.name} is not known: {error}")
            truth = {}
        found.append(Measurements(run.name, net, rows, truth))
    if not found:
        raise StoreError("none of these runs has measurements yet; train on, or measure their snapshots.")
    return found, told


def _alike(config: Mapping[str, Any]) -> str:
    """Returns what runs of one net have in common: model, data and how they are trained."""
    trainer: dict[str, Any] = config.get("trainer") or {}
    how = {name: value for name, value in trainer.items() if name not in _ELSEWHERE}
    return json.dumps([config.get("model"), config.get("data"), how], sort_keys=True, default=str)


_ELSEWHERE = {
    *("accelerator", "callbacks", "default_root_dir", "enable_checkpointing", "enable_model_summary"),
    *("enable_progress_bar", "log_every_n_steps", "logger", "num_sanity_val_steps", "profiler"),
}
"""Keys of the trainer that say nothing of what is trained."""


def _named(run: Run, config: Mapping[str, Any], nets: Mapping[str, str]) -> str:
    """Returns the experiment's name without its seed; the run's own where another net has that already."""
    name = str(config.get("experiment") or run.name)
    short = name.removesuffix(f"-{config.get('seed_everything')}")
    return run.name if short in nets.values() else short
