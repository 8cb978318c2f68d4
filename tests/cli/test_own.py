"""Functions of a user's own script."""

import pickle
import sys
from pathlib import Path

import pytest

from llc_lightning.cli.own import Own
from llc_lightning.runtime.errors import SettingError

SCRIPT = """
from __future__ import annotations
from dataclasses import dataclass

@dataclass
class Size:
    n: int

def make():
    return Size(3)
"""


def test_what_a_script_makes_can_be_pickled(tmp_path: Path) -> None:
    script = tmp_path / "sizes_of_a_test.py"
    script.write_text(SCRIPT)
    try:
        size = Own(module=f"{script}:make").made()["model"]
        assert pickle.loads(pickle.dumps(size)) == size  # noqa: S301 - of this test
    finally:
        sys.modules.pop("sizes_of_a_test", None)


def test_a_script_may_have_the_name_of_a_package_and_takes_nothing_from_it(tmp_path: Path) -> None:
    script = tmp_path / "pickle.py"
    script.write_text(SCRIPT)
    assert Own(data=f"{script}:make").made()["data"].n == 3
    assert sys.modules["pickle"] is pickle
    sys.modules.pop("pickle_of_your_own", None)


def test_a_script_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    script = tmp_path / "broken_of_a_test.py"
    script.write_text("1 / 0")
    with pytest.raises(SettingError, match=r"cannot be imported: ZeroDivisionError: division by zero; what it does"):
        Own(module=f"{script}:make").made()
    assert "broken_of_a_test" not in sys.modules
