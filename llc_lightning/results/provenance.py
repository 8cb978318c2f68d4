"""Where the numbers of a run come from: versions, source code, seeds; nothing that depends on the host or the time."""

import json
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any, cast

from llc_lightning.results.files import publish
from llc_lightning.results.schema import SCHEMA_VERSION
from llc_lightning.runtime.errors import StoreError, one_line

FILE = "provenance.json"
_PACKAGES = ("arviz-stats", "jaxtyping", "lightning", "numpy", "safetensors", "scipy", "torch", "transformer-lens")


def provenance(*, seeds: dict[str, int], device: str = "cpu", source: Path | None = None) -> dict[str, Any]:
    """Returns what must be equal for numbers to be equal to the bit, apart from the configuration.

    Args:
        seeds: The seeds of the run by what they are for.
        device: The type of device that the run trains on.
        source: A folder of the git repository whose commit to note; by default the working directory.
    """
    import torch

    return {
        "llc_lightning": _version("llc_lightning"),
        "schema_version": SCHEMA_VERSION,
        "python": platform.python_version(),
        # The metadata of some wheels leave out the build, such as +cu130.
        "packages": {name: _version(name) for name in _PACKAGES} | {"torch": str(torch.__version__)},
        "device": device,
        "threads": torch.get_num_threads(),
        "seeds": dict(sorted(seeds.items())),
        "git": _git(source or Path.cwd()),
    }


def write_provenance(run: Path, record: dict[str, Any]) -> Path:
    """Notes under what conditions the run is trained from now on; a resumed run keeps the earlier records.

    Args:
        run: The run folder.
        record: What ``provenance`` returned.

    Raises:
        StoreError: If the folder cannot be written to, or the present file is damaged.
    """
    sessions = read_provenance(run) if (run / FILE).is_file() else []
    if not sessions or sessions[-1] != record:
        sessions.append(record)
    text = json.dumps({"sessions": sessions}, indent=2) + "\n"
    return publish(run, FILE, lambda path: path.write_text(text, encoding="utf-8"))


def read_provenance(run: Path) -> list[dict[str, Any]]:
    """Returns the conditions of the run, one record for each time that they changed; none if they were not noted.

    Raises:
        StoreError: If the file is damaged.
    """
    path = run / FILE
    if not path.is_file():
        return []
    try:
        return cast("list[dict[str, Any]]", json.loads(path.read_text(encoding="utf-8"))["sessions"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is damaged: {one_line(error)}; restore it from a copy, or delete it.") from error


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git(folder: Path) -> dict[str, Any] | None:
    """Returns the commit, and whether files differ from it; None outside of a repository or without git."""
    commit = _run_git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    return {"commit": commit, "changed": bool(_run_git(folder, "status", "--porcelain", "--untracked-files=no"))}


def _run_git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603
            ["git", "-C", str(folder), *arguments],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
