"""The numbered folders of an experiment's runs."""

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llc_lightning.callbacks.folder import LAST
from llc_lightning.callbacks.stop import REQUEUED, job
from llc_lightning.results.run import Run
from llc_lightning.runtime.errors import SettingError, SnapshotError, StoreError

_VERSION = re.compile(r"version_(\d+)")
_NAME = re.compile(r"\w[\w .+=-]{0,99}")


def checked_experiment(name: str) -> str:
    """Returns the name of an experiment, which becomes a folder.

    Raises:
        SettingError: If it is empty, too long, or has characters other than letters, digits, spaces and ``_ . + = -``.

    Example:
        >>> checked_experiment("cis")
        'cis'
    """
    if not _NAME.fullmatch(name):
        raise SettingError(
            f"experiment is {name!r}; use 1 to 100 letters, digits, spaces and _ . + = -, the first a letter or digit."
        )
    return name


def claim_version(experiment: Path) -> int:
    """Makes the folder of the next version and returns its number; runs that start at once get different ones.

    Raises:
        StoreError: If the folder cannot be made.
    """
    number = max(_versions(experiment), default=-1) + 1
    while True:
        try:
            (experiment / f"version_{number}").mkdir(parents=True)
        except FileExistsError:
            number += 1
        except OSError as error:
            raise StoreError(
                f"cannot make a folder in {experiment}: {error.strerror}; make it writable, or choose another one with "
                "--trainer.default_root_dir."
            ) from error
        else:
            return number


def requeued_version(experiment: Path, config: Mapping[str, Any]) -> int | None:
    """Returns the number of the version that this job was requeued to go on with; None if there is none.

    Args:
        experiment: The folder of the experiment.
        config: The complete configuration of this job, in plain values: a run with another one is not its.
    """
    for number in sorted(_versions(experiment)):
        folder = experiment / f"version_{number}"
        marked = folder / REQUEUED
        mine = job() and marked.is_file() and marked.read_text(encoding="utf-8").strip() == job()
        if mine and (folder / LAST).is_file() and Run(folder).config == config:
            return number
    return None


def newest_version(experiment: Path) -> int:
    """Returns the number of the newest version that holds a checkpoint to continue from, and tells of newer ones.

    Raises:
        SnapshotError: If there is none.
    """
    versions = [number for number in _versions(experiment) if (experiment / f"version_{number}" / LAST).is_file()]
    if not versions:
        raise SnapshotError(f"there is no run in {experiment} to continue; start one without --ckpt_path.")
    newer = [number for number in _versions(experiment) if number > max(versions)]
    if newer:
        names = ", ".join(f"version_{number}" for number in sorted(newer))
        warnings.warn(f"{names} of {experiment} ended before the first checkpoint, and is passed over.", stacklevel=1)
    return max(versions)


def _versions(experiment: Path) -> list[int]:
    if not experiment.is_dir():
        return []
    named = (_VERSION.fullmatch(path.name) for path in experiment.iterdir())
    return [int(match.group(1)) for match in named if match]
