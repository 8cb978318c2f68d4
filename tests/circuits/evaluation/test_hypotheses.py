"""Tests of circuits: by hand, on what is planted, and on a true and a wrong circuit."""

import pytest
import torch
from scipy import stats

from llc_lightning.circuits.edge import Edge
from llc_lightning.circuits.evaluation.chance import random_circuits, verdicts
from llc_lightning.circuits.evaluation.completeness import incompleteness, needed, worst_outside
from llc_lightning.circuits.evaluation.hypotheses import (
    binomial_tail,
    equivalence,
    independence,
    minimality,
    partial_necessity,
    sufficiency,
)
from llc_lightning.circuits.gradients import Subject
from llc_lightning.circuits.masked import MaskedRuns
from llc_lightning.models.hand_built import EDGES
from llc_lightning.runtime.errors import DataError, SettingError
from tests.circuits.nets import question


def test_tails_are_binomial() -> None:
    for wins, n, share in ((0, 5, 0.3), (3, 5, 0.3), (60, 100, 0.6), (100, 100, 0.9), (1, 1, 0.0)):
        assert binomial_tail(wins, n, share) == pytest.approx(stats.binom.sf(wins - 1, n, share), rel=1e-9)


def test_counts_are_told_by_their_tails() -> None:
    wins = torch.arange(100) < 75
    found = equivalence(wins.float(), 1 - wins.float())
    expected = stats.binom.sf(74, 100, 0.6) + stats.binom.sf(74, 100, 0.4)
    assert (found.statistic, found.p) == (75.0, pytest.approx(expected))
    others = torch.linspace(0, 1, 100)
    assert sufficiency(2.0, others).p == pytest.approx(0.9**100)
    assert partial_necessity(-1.0, others).p == pytest.approx(0.9**100)
    assert minimality(2.0, others, edges=3).p == pytest.approx(3 * 0.9**100)
    assert sufficiency(0.5, others).p > 0.99
    assert 0 < sufficiency(0.5, others).attainable <= 0.05


def test_dependence_is_seen_and_independence_not() -> None:
    stream = torch.Generator().manual_seed(0)
    one, other = torch.randn(2, 60, generator=stream)
    assert independence(one.abs(), one, permutations=200).is_rejected
    assert not independence(other, one, permutations=200).is_rejected


def test_the_true_circuit_stands_and_a_wrong_one_falls() -> None:
    runs = MaskedRuns(Subject(question("hand_built")))
    true = [Edge.parse(one) for one in EDGES]
    wrong = [edge for edge in runs.edges if edge not in true][: len(true)]
    stands, falls = ({one.test: one for one in verdicts(runs, some, seed=0, count=40)} for some in (true, wrong))
    assert stands["sufficiency"].is_rejected
    assert not stands["equivalence"].is_rejected
    assert falls["equivalence"].is_rejected
    assert not falls["sufficiency"].is_rejected
    # A random circuit that holds one of the true edges is as needed as all of them.
    assert stands["partial_necessity"].statistic > 30 > 1 > falls["partial_necessity"].statistic


def test_what_is_left_out_and_what_is_needed() -> None:
    runs = MaskedRuns(Subject(question("hand_built")))
    true = [Edge.parse(one) for one in EDGES]
    assert incompleteness(runs, true, seed=0, sets=3).worst < 1e-3
    assert incompleteness(runs, true[3:], seed=0, sets=3).worst > 1.0
    by_edge = needed(runs, true)
    # The donor keeps positions, so that the edges that carry these alone are not needed.
    assert {edge for edge, value in by_edge.items() if value > 1} == {
        one for one in true if "pos_embed" not in one.sender
    }
    assert worst_outside(runs, true, steps=3) < 1e-2
    assert worst_outside(runs, true[:-1], steps=3) > -1e-3


def test_random_circuits_are_of_their_size_and_keyed() -> None:
    edges = question("layer").graph.edges
    found = random_circuits(edges, 4, 3, seed=0)
    assert [len(set(one)) for one in found] == [4, 4, 4]
    assert found == random_circuits(edges, 4, 3, seed=0) != random_circuits(edges, 4, 3, seed=1)
    with pytest.raises(SettingError, match="a random circuit of 999 edges is asked for"):
        random_circuits(edges, 999, 1, seed=0)


def test_what_cannot_be_tested_is_told() -> None:
    with pytest.raises(DataError, match="give one number for each of the same examples"):
        equivalence(torch.zeros(1), torch.zeros(1))
    with pytest.raises(SettingError, match=r"epsilon is 0\.5"):
        equivalence(torch.zeros(3), torch.zeros(3), epsilon=0.5)
    with pytest.raises(DataError, match="no random circuit"):
        sufficiency(1.0, torch.zeros(0))
    runs = MaskedRuns(Subject(question("layer")))
    with pytest.raises(SettingError, match="the circuit has 0 of"):
        verdicts(runs, [], seed=0)
