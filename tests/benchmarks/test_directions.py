"""A sample of what scores must say of planted nets, and that a net which is not as planted would be seen."""

from dataclasses import replace

import pytest

from benchmarks import directions, directions_nets
from benchmarks.directions import checked
from llc_lightning.data.directions import DIRECTIONS
from llc_lightning.llc.settings import ChainSettings

pytestmark = pytest.mark.filterwarnings("ignore")  # of copies among examples


def shorten(monkeypatch: pytest.MonkeyPatch, chains: int, draws: int) -> None:
    for settings in ("CHAINS", "LONGER"):
        monkeypatch.setattr(directions_nets, settings, ChainSettings(chains=chains, draws=draws, burn_in=draws // 2))
    monkeypatch.setattr(directions_nets, "EXAMPLES", 1024)


@pytest.mark.parametrize("name", ["backup", "dead_large", "patching_misses", "scrubbing_accepts"])
def test_each_score_says_what_it_must(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shorten(monkeypatch, chains=16, draws=200)
    rows, verdicts = checked(name, 3)
    assert len(rows) >= 3
    assert [one for one in verdicts if not one.holds] == []


def test_a_backup_that_says_half_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten(monkeypatch, chains=2, draws=10)
    primary, backup = DIRECTIONS["backup"].units
    half = replace(DIRECTIONS["backup"], units=(primary, replace(backup, writes={"y": 0.5})))
    monkeypatch.setitem(DIRECTIONS, "backup", half)
    missed = {one.must for one in checked("backup", 3)[1] if not one.holds}
    assert "zero of the primary / zero of both <= 0.01" in missed
    assert "mean of the primary / zero of both <= 0.1" not in missed


def test_every_direction_is_checked() -> None:
    assert set(DIRECTIONS) | {"sides"} == set(directions.CHECKS)
