"""A signal ends a training where it can be continued bit for bit, whatever it interrupts."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.processes import run

Told = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    folder = tmp_path_factory.mktemp("stopping")
    done = run(str(Path(__file__).with_name("stopping_script.py")), str(folder), folder=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("moment", "code", "stopped_at", "saved_at"),
    [
        ("before the first step", 143, 0, 0),
        ("in a batch", 130, 4, 4),
        ("between parts of a step", 143, 5, 5),
        ("when a batch ends", 143, 4, 4),
        ("in a measurement", 143, 4, 4),
        ("in a validation", 143, 6, 6),
        ("after a validation", 143, 3, 3),
        ("in a measurement after a validation", 143, 3, 3),
        ("in a measurement after a validation, without a callback that keeps last.ckpt", 143, 3, 3),
        ("at the end of an epoch", 143, 6, 6),
        # From a checkpoint of the last step Lightning would measure nothing.
        ("in the last measurement", 143, 12, 10),
    ],
)
def test_a_signal_is_answered_where_the_training_goes_on_bit_for_bit(
    told: Told, moment: str, code: int, stopped_at: int, saved_at: int
) -> None:
    found = told[moment]
    assert (found["code"], found["stopped at"], found["saved at"]) == (code, stopped_at, saved_at)
    assert found["differs"] == []
    assert found["digests"]
    assert found["folders"] == ["llc_lightning"]
