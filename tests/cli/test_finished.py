"""A run that has ended is continued with the settings that its rows have, or not at all."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from llc_lightning.cli.finished import check_continues
from llc_lightning.runtime.errors import SnapshotError

KEYS = ("seed_everything", "data", "llc")
BEFORE: dict[str, Any] = {
    "seed_everything": 0,
    "trainer": {"max_steps": 12, "max_epochs": None},
    "data": {"class_path": "Data", "init_args": {"size": 3}},
    "llc": {"gamma": 1.0, "methods": ["a", "b"], "when": None},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(BEFORE))
    return tmp_path


def check(folder: Path, step: int = 12, epoch: int = 2, **changes: Any) -> None:
    check_continues(folder, {"global_step": step, "epoch": epoch}, {**BEFORE, **changes}, KEYS)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed_everything": 1}, "seed_everything=0, not 1;"),
        ({"llc": {**BEFORE["llc"], "gamma": 2.0}}, r"llc\.gamma=1\.0, not 2\.0;"),
        ({"llc": {**BEFORE["llc"], "methods": ["a"]}}, r"llc\.methods=\['a', 'b'\], not \['a'\];"),
        ({"llc": {**BEFORE["llc"], "when": {"steps": 2}}}, r"llc\.when=None, not \{'steps': 2\};"),
        ({"data": {**BEFORE["data"], "init_args": {"size": 4}}}, r"data\.init_args\.size=3, not 4;"),
    ],
)
def test_other_settings_are_refused(folder: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(SnapshotError, match=f"has ended, and its rows have {said}.*llc-lightning analyze measure"):
        check(folder, **changes)
    check(folder, step=11, **changes)


def test_the_same_settings_are_not(folder: Path) -> None:
    check(folder)
    check(folder, llc={**BEFORE["llc"], "new": 3})


def test_a_larger_limit_trains_on(folder: Path) -> None:
    check(folder, seed_everything=1, trainer={"max_steps": 13, "max_epochs": -1})
    with pytest.raises(SnapshotError, match="has ended"):
        check(folder, seed_everything=1, trainer={"max_steps": -1, "max_epochs": 2})


def test_a_run_without_a_configuration_says_nothing(tmp_path: Path) -> None:
    check(tmp_path, seed_everything=1)
