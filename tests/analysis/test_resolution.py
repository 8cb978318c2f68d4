"""Two values of one LLC at different (n_beta, gamma)."""

import re

from llc_lightning.analysis.resolution import Rung, ladder, reconciled
from tests.analysis.synthetic import SyntheticRun

COARSE = Rung(268.0, 3.0, n_beta=10_000.0, gamma=1000.0)
FINE = Rung(634.0, 5.0, n_beta=11_123.0, gamma=230.0)


def test_more_directions_count_at_the_finer_resolution_whichever_is_given_first() -> None:
    said = reconciled(COARSE, FINE)
    assert said == reconciled(FINE, COARSE)
    assert said == (
        "634 ± 5 (n_beta 11123, gamma 230) and 268 ± 3 (n_beta 10000, gamma 1000) are two resolutions of one "
        "landscape: a direction counts, by a half, where its curvature exceeds gamma / n_beta, which is 0.0207 for the "
        "first and 0.1 for the second, so that more directions count for the first. Compare values at equal n_beta and "
        "gamma alone."
    )


def test_the_curvature_says_how_many() -> None:
    counted = (Rung(634.0, 5.0, 11_123.0, 230.0, counted=1290.0), Rung(268.0, 3.0, 10_000.0, 1000.0, counted=540.0))
    assert "at w* alone 1290 and 540 directions count, which makes 645 and 270; the rest is not" in reconciled(*counted)
    assert "alone" not in reconciled(FINE, counted[1]).replace("gamma alone", "")


def test_a_value_that_falls_at_the_finer_resolution_is_not_explained_away() -> None:
    fallen = Rung(200.0, 5.0, n_beta=11_123.0, gamma=230.0)
    assert "the first should not be lower: there w* is too far from a minimum" in reconciled(COARSE, fallen)
    assert "more directions count" not in reconciled(COARSE, fallen)
    within = Rung(260.0, 5.0, n_beta=11_123.0, gamma=230.0)
    assert "more directions count for the first" in reconciled(COARSE, within)


def test_equal_cuts_see_the_same_directions() -> None:
    twice = Rung(270.0, 3.0, n_beta=20_000.0, gamma=2000.0)
    assert "see the same directions, of a curvature above gamma / n_beta = 0.1:" in reconciled(COARSE, twice)


def test_the_rungs_of_a_run_are_those_that_nothing_speaks_against() -> None:
    rows = SyntheticRun(units=4, circuits=4).table()
    found = ladder(rows)
    last = max(found)
    assert [rung.n_beta for rung in found[last]] == [10_000.0]
    flagged = rows.assign(
        status=[
            "not-mixed" if step == last else status for step, status in zip(rows["step"], rows["status"], strict=True)
        ]
    )
    assert last not in ladder(flagged)
    assert re.fullmatch(r"\d+ ± \d+ \(n_beta 10000, gamma 1000\)", str(found[last][0]))
