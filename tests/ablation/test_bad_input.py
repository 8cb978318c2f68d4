"""A user's mistake is one clear sentence, or an honest status: no traceback, no silent wrong number."""

import json
import subprocess
import sys

import pytest

from tests.ablation.bad_input import CASES


@pytest.fixture(scope="module")
def told() -> dict[str, str]:
    """What each case says to a user, whose calls no one checks for types."""
    command = [sys.executable, "-m", "tests.ablation.bad_input"]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(found.stdout)


@pytest.mark.parametrize("case", CASES)
def test_a_mistake_is_told_in_one_sentence(told: dict[str, str], case: str) -> None:
    said, expected = told[case], CASES[case][1]
    assert said.startswith(expected)
    if not said.startswith("->"):
        kind, _, sentence = said.partition(": ")
        assert kind in ("SettingError", "DataError", "AddressError")
        assert sentence.endswith(".")
        assert "\n" not in sentence
