"""Two real gloo processes share, gather and agree."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.processes import Script

Outcomes = list[dict[str, Any]]


@pytest.fixture(scope="session")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    folder = tmp_path_factory.mktemp("workers")
    script = Path(__file__).with_name("workers_script.py")
    scripts = [Script(str(script), str(rank), "2", str(folder), folder=folder) for rank in range(2)]
    done = [script.finish() for script in scripts]
    assert [process.returncode for process in done] == [0, 0], [process.stderr for process in done]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


def test_each_has_its_rank_and_its_share(outcomes: Outcomes) -> None:
    assert [outcome["rank"] for outcome in outcomes] == [0, 1]
    assert [outcome["is_zero"] for outcome in outcomes] == [True, False]
    assert [outcome["share"] for outcome in outcomes] == [[0, 1], [2, 3, 4]]


def test_everybody_gets_everything_in_order(outcomes: Outcomes) -> None:
    for outcome in outcomes:
        assert outcome["gather"] == [{"rank": 0}, {"rank": 1}]


def test_results_come_to_the_first_in_order(outcomes: Outcomes) -> None:
    assert [outcome["collect"] for outcome in outcomes] == [[0, 10, 20, 30, 40], []]


def test_everybody_raises_the_same_message(outcomes: Outcomes) -> None:
    for outcome in outcomes:
        assert outcome["agree on nothing"] == ""
        assert outcome["agree on one"] == "rank 1: FloatingPointError: chain 3 diverged"
        assert outcome["agree on two"] == "rank 0: RuntimeError: broken 0; rank 1: RuntimeError: broken 1"


def test_the_group_still_works_after_an_error(outcomes: Outcomes) -> None:
    assert all(outcome["after"] == [0, 1] for outcome in outcomes)
