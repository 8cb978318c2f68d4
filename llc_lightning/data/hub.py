"""Data sets of the Hugging Face hub, without the half a minute that ``datasets`` takes to find it out of reach."""

import urllib.request
from importlib import import_module
from typing import Any

from llc_lightning.runtime.errors import DataError, one_line

_WAIT = 3.0
"""Seconds after which the hub counts as out of reach."""


def load_dataset(name: str, *, instead: str, **options: Any) -> Any:
    """Returns what ``datasets.load_dataset(name, ...)`` does; offline, it looks into its cache alone.

    Args:
        name: Of the data set.
        instead: What to do where the hub is out of reach, as the end of a sentence.
        options: Passed on.

    Raises:
        DataError: If the hub is out of reach.
    """
    # datasets has no type stubs.
    datasets: Any = import_module("datasets")
    if not datasets.config.HF_HUB_OFFLINE:
        _check_reachable(datasets.config.HF_ENDPOINT, instead)
    return datasets.load_dataset(name, **options)


def _check_reachable(endpoint: str, instead: str) -> None:
    try:
        request = urllib.request.Request(endpoint, method="HEAD")  # noqa: S310 - the hub's own address
        with urllib.request.urlopen(request, timeout=_WAIT):  # noqa: S310
            pass
    except urllib.request.HTTPError:
        return  # it answered
    except (OSError, ValueError) as error:
        raise DataError(
            f"the Hugging Face hub cannot be reached ({endpoint}: {one_line(error)}); connect to it, set "
            f"HF_HUB_OFFLINE=1 to use what was downloaded before, or {instead}."
        ) from error
