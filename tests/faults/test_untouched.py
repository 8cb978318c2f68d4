"""Training has the same bits with and without measuring, also when a measurement fails half-way."""

import json
from pathlib import Path

import pytest

from llc_lightning.results.run import Run
from tests.processes import run

Outcome = tuple[Path, dict[str, list[str]]]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    folder = tmp_path_factory.mktemp("untouched")
    script = Path(__file__).with_name("untouched_script.py")
    done = run(str(script), str(folder), folder=folder)
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout.splitlines()[-1])


def test_the_digest_sees_every_batch(outcome: Outcome) -> None:
    digests = outcome[1]["without"]
    assert [line.split()[0] for line in digests[:8]] == ["0", "0", "0", "1", "1", "1", "1", "2"]
    assert len(digests) == len({line.split()[1] for line in digests}) == 36


@pytest.mark.parametrize("place", ["batch", "validation"])
def test_training_is_untouched(outcome: Outcome, place: str) -> None:
    assert outcome[1][f"from {place} end"] == outcome[1]["without"]


@pytest.mark.parametrize("place", ["batch", "validation"])
def test_training_is_untouched_by_a_measurement_that_fails_half_way(outcome: Outcome, place: str) -> None:
    assert outcome[1][f"breaking, from {place} end"] == outcome[1]["breaking, without"]


@pytest.mark.parametrize(("variant", "status"), [("from batch end", "ok"), ("breaking, from batch end", "error")])
def test_it_was_really_measured(outcome: Outcome, variant: str, status: str) -> None:
    rows = Run.open(outcome[0] / variant / "llc_lightning").measurements()
    assert set(rows["step"]) == {0, 3, 6, 9}
    assert (rows["status"] == status).any()
    assert (status == "error") == (rows["status"] == "error").any()
