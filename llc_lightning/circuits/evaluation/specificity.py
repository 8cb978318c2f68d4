"""Whether a circuit is one of its task, or of whatever the network does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan, nan

import torch

from llc_lightning.circuits.edge import Edge
from llc_lightning.circuits.evaluation.chance import random_circuits
from llc_lightning.circuits.evaluation.faithfulness import Faithfulness, of_many
from llc_lightning.circuits.evaluation.hypotheses import Verdict, sufficiency
from llc_lightning.circuits.masked import MaskedRuns
from llc_lightning.runtime.errors import AddressError, SettingError, at_least
from llc_lightning.runtime.status import join


@dataclass(frozen=True)
class Transfer:
    """What the circuit of one task does on another, or on its own."""

    found_on: str
    """The task whose circuit it is."""
    judged_on: str
    """The task on which it is judged."""
    found: Faithfulness
    """Of the circuit."""
    own: Faithfulness
    """Of the circuit that was found on the task on which it is judged."""
    random: tuple[float, ...]
    """The faithfulness of random circuits of its size on that task."""
    random_status: str = "ok"
    """What speaks against any of these."""

    @property
    def against_random(self) -> Verdict:
        """The test of whether it is more faithful than random circuits of its size, as for a circuit's own task.

        Its ``p`` and count are NaN where one of these has no value, or the circuit: which it beats is then not known.
        """
        found = sufficiency(-abs(1 - self.found.value), -(1 - torch.tensor(self.random).double()).abs())
        return replace(found, p=nan, statistic=nan) if any(map(isnan, (self.found.value, *self.random))) else found

    @property
    def status(self) -> str:
        """What speaks against any of the circuits' values; ``ok`` where nothing does."""
        return _together([self.found.status, self.own.status, self.random_status])


def specificity(
    runs: Mapping[str, MaskedRuns], circuits: Mapping[str, Sequence[Edge]], *, seed: int, count: int = 100
) -> list[Transfer]:
    """Returns what the circuit of every task does on every task, those on their own among them.

    A circuit that is specific is faithful on its own task, and on others neither as faithful as theirs nor more so than
    random circuits of its size (cross-task evaluation, as of Merullo et al. 2024, arXiv:2310.08744, and Hanna et al.
    2024, arXiv:2403.17806). The random circuits of a size are the same on all tasks.

    Args:
        runs: For every task the network on its examples, with its donor and metric.
        circuits: For every task the edges that were found on it.
        seed: Keys the random circuits.
        count: Random circuits of each size.

    Returns:
        One for each task's circuit on each task: circuit by circuit, in the order of ``circuits``. On a task on which
        the network does nothing that its ablation does not, values are NaN with the status ``no-gap``.

    Raises:
        SettingError: If there are fewer than two tasks, the two do not name the same ones, or their graphs differ.
        AddressError: If a circuit has an edge that there is not.
    """
    at_least(1, count=count)
    edges = _shared_edges(runs, circuits)
    chance = {size: random_circuits(edges, size, count, seed=seed) for size in map(len, circuits.values())}
    table: dict[tuple[str, str], Faithfulness] = {}
    by_chance: dict[tuple[int, str], Sequence[Faithfulness]] = {}
    for task, one in runs.items():
        random = [edges for some in chance.values() for edges in some]
        every = of_many(one, [*circuits.values(), *random], strict=False)
        table.update(((name, task), found) for name, found in zip(circuits, every, strict=False))
        for at, size in enumerate(chance):
            first = len(circuits) + at * count
            by_chance[size, task] = every[first : first + count]
    return [
        _transfer((name, task), table[name, task], table[task, task], by_chance[len(circuit), task])
        for name, circuit in circuits.items()
        for task in runs
    ]


def _transfer(
    names: tuple[str, str], found: Faithfulness, own: Faithfulness, random: Sequence[Faithfulness]
) -> Transfer:
    return Transfer(*names, found, own, tuple(one.value for one in random), _together([one.status for one in random]))


def _together(statuses: Sequence[str]) -> str:
    """Returns the status that holds the reasons of all."""
    return join(reason for one in statuses for reason in one.split("+"))


def _shared_edges(runs: Mapping[str, MaskedRuns], circuits: Mapping[str, Sequence[Edge]]) -> tuple[Edge, ...]:
    """Returns the edges of the graph that all tasks share."""
    if runs.keys() != circuits.keys() or len(runs) < 2:
        raise SettingError(
            f"there are runs of {', '.join(runs) or 'no task'} and circuits of {', '.join(circuits) or 'none'}; give "
            "both for the same tasks, at least two."
        )
    (first, one), *others = runs.items()
    for task, other in others:
        if other.edges != one.edges:
            raise SettingError(
                f"the graphs of {first!r} and {task!r} have other edges; take one network, and the same options."
            )
    known = set(one.edges)
    for task, circuit in circuits.items():
        wrong = next((edge for edge in circuit if edge not in known), None)
        if wrong is not None:
            raise AddressError(f"the circuit of {task!r} has the edge {str(wrong)!r}, which the network lacks.")
    return one.edges
