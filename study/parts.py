"""What the study trains: each net on each seed is one part, which ends in one table."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import yaml

from llc_lightning.cli.truth import what_matters
from llc_lightning.models.planted import PlantedModel
from llc_lightning.results.run import Run
from study import planted

HERE = Path(__file__).parent
TABLES = HERE / "tables"
RUNS = Path("checkpoints/study")
AGAIN = " (again: "
"""Behind the name of a net that is measured in another part as well, before what that is about."""
_NO_MEASURING = "configs/overlays/no_measuring.yaml"
_LEFT_OUT = {"details": "{}", "settings": "", "epoch": 0, "rhat": math.nan, "ess": math.nan, "step_size": math.nan}
"""Columns that no analysis of the study reads, and what stands for them."""


class PartFailed(Exception):
    """A command of a part ended badly."""


@dataclass(frozen=True)
class Part:
    """A net on one seed."""

    net: str
    """Its configuration in ``configs/``."""
    seed: int
    settings: tuple[str, ...] = ()
    """What is measured: files of this folder, laid one over the other; none for what the configuration says."""
    afterwards: bool = False
    """Whether it is measured once it is trained, and not while it trains."""
    smoke: bool = False
    about: str = ""
    """What it is about, where the net is measured in another part as well, on the same seeds; told behind the net's
    name."""

    @property
    def name(self) -> str:
        """Names its run and its table."""
        return f"{'smoke-' if self.smoke else ''}{self.group}-{self.seed}"

    @property
    def group(self) -> str:
        """Names the parts that are seeds of the same."""
        return f"{self.net}{self.about and f'_{self.about}'}"

    @property
    def label(self) -> str:
        """Returns the net as tables name it: one that is measured in another part as well is no other net."""
        return f"{self.net}{AGAIN}{self.about})" if self.about else self.net

    def commands(self, root: Path) -> list[list[str]]:
        """Returns what trains and measures it, going on where it was interrupted."""
        if self.net == planted.NAME:
            return [["-m", "study.planted", "--seed", str(self.seed), "--root", str(root)]]
        run = root / self.name / "version_0"
        settings = [f"study/{name}.yaml" for name in self.settings]
        overlays = [_NO_MEASURING] if self.afterwards else settings
        train = [
            *("train.py", "fit", "-c", f"configs/{'smoke/' if self.smoke else ''}{self.net}.yaml"),
            *(word for overlay in overlays for word in ("-c", overlay)),
            *("--experiment", self.name, "--seed_everything", str(self.seed)),
            *("--trainer.default_root_dir", str(root), "--trainer.enable_progress_bar", "false"),
            *(("--ckpt_path", "last") if (run / "last.ckpt").exists() else ()),
        ]
        measure = ["analyze.py", "measure", str(run), "--config", *settings, "--steps"]
        return [train, measure] if self.afterwards else [train]

    @property
    def digest(self) -> str:
        """Names what it was asked: 16 hexadecimal digits of its configuration and settings."""
        config = Path("configs", "smoke" if self.smoke else "", f"{self.net}.yaml")
        files = [HERE / "planted.py"] if self.net == planted.NAME else [config]
        files += [HERE / f"{name}.yaml" for name in self.settings]
        return hashlib.blake2b(b"".join(file.read_bytes() for file in files), digest_size=8).hexdigest()

    def make(self, root: Path, tables: Path) -> None:
        """Trains and measures it, and keeps its table.

        Raises:
            PartFailed: If a command ends badly; what it printed is in the part's log.
        """
        run, log = root / self.name / "version_0", root / f"{self.name}.log"
        root.mkdir(parents=True, exist_ok=True)
        if not (run / "last.ckpt").exists():
            shutil.rmtree(run.parent, ignore_errors=True)  # killed before it could be continued
        began, spent = time.monotonic(), 0.0
        for command in self.commands(root):
            if command[-1] == "--steps":
                command.append(str(max(Run.open(run).snapshots)))
            code, cpu = _ended([sys.executable, *command], log)
            spent += cpu
            if code:
                raise PartFailed(f"{self.name}: {' '.join(command)} ended with {code}; see {log}.")
        cost = {"seconds": time.monotonic() - began, "cpu_seconds": spent}
        keep(Run.open(run), self.name, tables, {"asked": self.digest, **cost})


def keep(run: Run, name: str, tables: Path, facts: dict[str, float | str]) -> None:
    """Writes the rows of a run, without what no analysis reads, and beside them what was asked and what they cost."""
    tables.mkdir(parents=True, exist_ok=True)
    rows = run.measurements().drop(columns=list(_LEFT_OUT))
    (tables / f"{name}.json").write_text(json.dumps({"rows": len(rows), **facts}, indent=1) + "\n", encoding="utf-8")
    half = tables / f".{name}.parquet"
    rows.to_parquet(half, compression="zstd", compression_level=19, index=False)
    half.replace(tables / f"{name}.parquet")


def missing(parts: Sequence[Part], tables: Path) -> list[Part]:
    """Returns the parts that have no table yet."""
    return [part for part in parts if not (tables / f"{part.name}.parquet").exists()]


def older(parts: Sequence[Part], tables: Path) -> list[Part]:
    """Returns the parts whose table is of other settings than theirs are now, or does not say of which."""
    told = [(part, tables / f"{part.name}.json") for part in parts]
    return [
        part
        for part, path in told
        if path.exists() and json.loads(path.read_text(encoding="utf-8")).get("asked") != part.digest
    ]


def table_of(part: Part, tables: Path) -> pd.DataFrame:
    """Returns the rows of a part."""
    return pd.read_parquet(tables / f"{part.name}.parquet").assign(**_LEFT_OUT)


def matters(part: Part) -> dict[str, bool]:
    """Returns whether each component matters, by its address; nothing where that is not known by construction."""
    if part.net == planted.NAME:
        return PlantedModel(seed=part.seed).matters()
    path = Path("configs", "smoke" if part.smoke else "", f"{part.net}.yaml")
    return what_matters(yaml.safe_load(path.read_text(encoding="utf-8")))


def _ended(command: Sequence[str], log: Path) -> tuple[int, float]:
    """Runs a command, and returns its exit status and CPU seconds."""
    with log.open("a", encoding="utf-8") as told:
        process = subprocess.Popen(command, stdout=told, stderr=told)
        _, status, used = os.wait4(process.pid, 0)
    return os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime


_LIVE = {
    "cis": ("cis",),
    "cis_mse": ("cis", "cis_mse"),
    "induction": ("induction",),
    "mnist_fashion": ("images",),
    "modular_addition": ("modular",),
    "ioi": ("ioi",),
    "mnist_fashion_cnn": ("cnn",),
    "mnist_fashion_super": ("images",),
}
_STATED = (11, 12, 13)
"""Seeds of the run that was stated before it was made."""
_HELD = {"induction": "complement", "cis": "complement_cis", "cis_mse": "complement_cis"}
"""Where the same weights hold still with nothing ablated, as a control."""
PARTS = [
    *(Part(net, seed, ("heads",), afterwards=True) for net in ("induction_strict", "ioi_strict") for seed in _STATED),
    *(Part(planted.NAME, seed) for seed in range(3)),
    *(Part(net, seed, settings) for seed in range(3) for net, settings in _LIVE.items()),
    *(
        Part(net, seed, (settings,), afterwards=True, about="complement")
        for net, settings in _HELD.items()
        for seed in range(3)
    ),
    *(Part("induction", seed, ("scrubbed",), afterwards=True, about="scrubbed") for seed in range(3)),
]
SMOKE = [Part(net, seed, smoke=True) for net in ("cis", "induction") for seed in range(2)]
