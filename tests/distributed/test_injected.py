"""What goes wrong on one process ends all with the same sentence, or is in the rows, soon; none waits for ever."""

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from llc_lightning.results.run import Run
from tests.processes import Script, run

SCRIPT = str(Path(__file__).with_name("injected_script.py"))
DIGEST = re.compile(r"\b[0-9a-f]{16}\b")
INJECTIONS = [
    *("exception", "exception:skip", "memory", "exit", "quarantine", "gather", "examples", "weights", "slow"),
    *("buffers", "apart"),
]


def ends(folder: Path, injection: str) -> list[dict[str, Any]]:
    """Returns how every process has ended."""
    return [json.loads(path.read_text()) for path in sorted((folder / injection).glob("ended-*.json"))]


@pytest.fixture(scope="session")
def injected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("injected")
    done = run(SCRIPT, str(folder), "2", "1", *INJECTIONS, folder=folder, processes=2)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize(
    ("injection", "told"),
    [
        ("exception", "llc at step 2: rank 1: FloatingPointError: broken (measuring out, first)"),
        ("memory", "llc at step 2: rank 1: OutOfMemoryError: broken (measuring out, first)"),
        ("exit", "llc at step 2: rank 1: SystemExit: 3"),
        ("quarantine", "llc at step 2: rank 1: OutOfMemoryError: broken"),
        ("gather", "llc at step 2: rank 1: OutOfMemoryError: broken"),
        (
            "examples",
            "llc at step 1: rank 1 has other examples to measure than rank 0 (digest ..., not ...); give every process "
            "the same, drawn from the seed alone.",
        ),
        (
            "weights",
            "llc at step 2: rank 1 has other weights or buffers to measure than rank 0 (digest ..., not ...); give "
            "every process the same, drawn from the seed alone.",
        ),
    ],
)
def test_all_end_soon_with_the_same_sentence(injected: Path, injection: str, told: str) -> None:
    ended = ends(injected, injection)
    first, second = (each["told"] for each in ended)
    assert first == second
    # Digests of trained weights are those of a processor: another one rounds otherwise.
    assert DIGEST.sub("...", first) == f"MeasurementError: {told}"
    began = max(each["began"] for each in ended)
    assert not began or max(each["ended"] for each in ended) - began < 15


def test_a_component_that_fails_is_a_row_and_training_goes_on(injected: Path) -> None:
    assert [(each["told"], each["step"]) for each in ends(injected, "exception:skip")] == [("", 4)] * 2
    rows = Run.open(injected / "exception:skip" / "llc_lightning").measurements()
    assert set(rows.loc[rows["status"] == "error", "step"]) == {2}
    assert (rows.loc[rows["step"] == 2, "status"] != "error").any()


def test_a_slow_process_is_waited_for(injected: Path) -> None:
    assert [(each["told"], each["step"]) for each in ends(injected, "slow")] == [("", 4)] * 2
    rows = {name: Run.open(injected / name / "llc_lightning").measurements() for name in ("slow", "exception")}
    first = [table.loc[table["step"] == 1].drop(columns="run").reset_index(drop=True) for table in rows.values()]
    assert first[0].equals(first[1])


def test_buffers_are_those_of_the_first_process_while_measured_whatever_their_types(injected: Path) -> None:
    assert [(each["told"], each["seen"]) for each in ends(injected, "buffers")] == [("", 7), ("", 8)]


def test_each_process_ends_in_its_own_time(injected: Path) -> None:
    until = time.monotonic() + 20  # the first one has ended
    while len(ends(injected, "apart")) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    assert [(each["told"], each["step"]) for each in ends(injected, "apart")] == [("", 4)] * 2


def test_a_process_that_is_killed_is_told_by_the_other(tmp_path: Path) -> None:
    script = Script(SCRIPT, str(tmp_path), "2", "1", "kill", folder=tmp_path, processes=2)
    assert script.finish().returncode == 1
    (ended,) = ends(tmp_path, "kill")
    assert ended["told"] == (
        "LostError: llc at step 2: rank 1 is lost: it was killed by signal 9; continue the run with --ckpt_path last"
    )
    assert ended["ended"] - ended["began"] < 25


def test_a_signal_to_one_process_stops_both(tmp_path: Path) -> None:
    script = Script(SCRIPT, str(tmp_path), "2", "1", "signal", folder=tmp_path, processes=2)
    assert script.finish().returncode == 1
    assert [(each["told"], each["step"]) for each in ends(tmp_path, "signal")] == [("Stopped: 143", 2)] * 2
    assert (tmp_path / "signal" / "llc_lightning" / "last.ckpt").is_file()
