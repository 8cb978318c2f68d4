"""The numbered folders of an experiment's runs."""

import re
from pathlib import Path

from llc_lightning.callbacks.last import LAST
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


def newest_version(experiment: Path) -> int:
    """Returns the number of the newest version that holds a checkpoint to continue from.

    Raises:
        SnapshotError: If there is none.
    """
    versions = [number for number in _versions(experiment) if (experiment / f"version_{number}" / LAST).is_file()]
    if not versions:
        raise SnapshotError(f"there is no run in {experiment} to continue; start one without --ckpt_path.")
    return max(versions)


def _versions(experiment: Path) -> list[int]:
    if not experiment.is_dir():
        return []
    named = (_VERSION.fullmatch(path.name) for path in experiment.iterdir())
    return [int(match.group(1)) for match in named if match]
