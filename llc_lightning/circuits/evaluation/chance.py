"""Random circuits, and what is claimed of a circuit against them."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from llc_lightning.circuits.edge import Edge
from llc_lightning.circuits.evaluation.faithfulness import of_many
from llc_lightning.circuits.evaluation.hypotheses import (
    Verdict,
    equivalence,
    independence,
    minimality,
    partial_necessity,
    sufficiency,
)
from llc_lightning.circuits.masked import MaskedRuns
from llc_lightning.runtime.errors import SettingError, at_least
from llc_lightning.runtime.seeding import generator


def random_circuits(edges: Sequence[Edge], size: int, count: int, *, seed: int) -> list[list[Edge]]:
    """Returns random circuits of some edges, each of a size, in the order of the edges.

    Raises:
        SettingError: If there are not so many edges.
    """
    at_least(1, count=count)
    if not 0 <= size <= len(edges):
        raise SettingError(f"a random circuit of {size} edges is asked for, and there are {len(edges)}; give fewer.")
    orders = [torch.randperm(len(edges), generator=generator(seed, "random circuits", draw)) for draw in range(count)]
    return [[edges[int(at)] for at in order[:size].sort().values] for order in orders]


def verdicts(runs: MaskedRuns, circuit: Sequence[Edge], *, seed: int, count: int = 100) -> list[Verdict]:
    """Returns the five tests of a circuit against its network and random circuits of its size.

    Minimality is tested for the edge whose removal changes the circuit least, corrected for all of its edges.

    Args:
        runs: The network and its donor; scores are minus the losses.
        circuit: The edges.
        seed: Keys random circuits and permutations.
        count: Random circuits.

    Raises:
        SettingError: If the circuit is empty, or all edges.
    """
    if not 0 < len(set(circuit)) < len(runs.edges):
        raise SettingError(
            f"the circuit has {len(set(circuit))} of {len(runs.edges)} edges, so that there is nothing to test it "
            "against; give some edges, and leave some out."
        )
    rest = [edge for edge in runs.edges if edge not in set(circuit)]
    random = random_circuits(runs.edges, len(circuit), count, seed=seed)
    without = [[edge for edge in runs.edges if edge not in set(one)] for one in random]
    with torch.no_grad():
        own, other, every = -runs(torch.stack([runs.mask(circuit), runs.mask(rest), runs.mask(runs.edges)])).double()
    kept, left, *told = [one.value for one in of_many(runs, [circuit, rest, *random, *without])]
    faithful, complements = torch.tensor(told[:count]), torch.tensor(told[count:])
    return [
        equivalence(own, every),
        independence(other, every, seed=seed),
        _least(runs, circuit, rest, seed=seed, count=count),
        sufficiency(-abs(1 - kept), -(1 - faithful).abs()),
        partial_necessity(left, complements),
    ]


def _least(runs: MaskedRuns, circuit: Sequence[Edge], rest: Sequence[Edge], *, seed: int, count: int) -> Verdict:
    """Returns the test of the edge that the circuit needs least."""
    added = random_circuits(rest, 1, count, seed=seed)
    inflated = torch.stack([runs.mask([*circuit, *one]) for one in added])
    removed = torch.stack([runs.mask([edge for edge in circuit if edge != one]) for one in circuit])
    with torch.no_grad():
        base, *means = runs(torch.cat([runs.mask(circuit)[None], inflated, removed])).double().mean(1)
    random = torch.stack(means[:count]) - base
    least = min((float(one - base) for one in means[count:]), key=abs)
    return minimality(least, random, edges=len(circuit))
