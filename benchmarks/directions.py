"""What each score says of nets that are planted for one direction, and whether it is what it must say.

python -m benchmarks directions                      all of them
python -m benchmarks directions backup --seeds 1
"""

from __future__ import annotations

import argparse
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from llc_lightning.ablation.effects import ablation_effects
from llc_lightning.components.listing import find_components
from llc_lightning.components.loss import Edit, loss_fn, snapshot_params
from llc_lightning.llc.estimator import estimate_parts
from llc_lightning.llc.settings import ChainSettings, Resolution, Restriction
from llc_lightning.models.direction_model import DirectionModel
from llc_lightning.models.directions import DIRECTIONS
from llc_lightning.runtime.seeding import generator

METHODS = ("zero", "mean", "resample", "optimal")
CHAINS = ChainSettings(chains=16, draws=600, burn_in=300)
EXAMPLES = 4096
"""So many are drawn to ablate on; chains see all that there are."""

Roles: TypeAlias = tuple[str, ...]
"""The roles of the neurons that are taken together."""


@dataclass(frozen=True)
class Value:
    """A figure with its standard error."""

    value: float
    stderr: float = 0.0
    status: str = "ok"

    def __str__(self) -> str:
        error = f" +- {self.stderr:.2g}" if self.stderr else ""
        return f"{self.value:.3g}{error}{'' if self.status == 'ok' else f' ({self.status})'}"

    def __sub__(self, other: Value) -> Value:
        return Value(self.value - other.value, math.hypot(self.stderr, other.stderr), _worse(self, other))

    def __add__(self, other: Value) -> Value:
        return Value(self.value + other.value, math.hypot(self.stderr, other.stderr), _worse(self, other))

    def __truediv__(self, other: Value) -> Value:
        ratio = self.value / other.value
        error = abs(ratio) * math.hypot(self.stderr / self.value, other.stderr / other.value)
        return Value(ratio, error, _worse(self, other))

    @property
    def errors(self) -> float:
        """How many standard errors it is above 0."""
        return self.value / self.stderr if self.stderr else math.copysign(math.inf, self.value)


def _worse(one: Value, other: Value) -> str:
    return one.status if other.status == "ok" else other.status


@dataclass(frozen=True)
class Verdict:
    """Something that must hold, and what was found."""

    must: str
    found: str
    holds: bool


class Planted:
    """A direction's net with one seed, and its scores."""

    def __init__(self, direction: str, seed: int) -> None:
        self.seed = seed
        self.model = DirectionModel(direction, seed=seed).double()
        self.loss, self.params = loss_fn(self.model), snapshot_params(self.model)
        self.drawn = _double(self.model.sample(EXAMPLES, generator(seed, "analysis")))
        self.every = _double(self.model.examples())

    def effects(self, *of: Roles) -> Mapping[tuple[Roles, str], Value]:
        """Returns the effects of ablating neurons, by their roles and the method."""
        places = {self.model.at(*roles): roles for roles in of}
        table = ablation_effects(self.model, self.drawn, list(places), METHODS, seed=self.seed)
        return {
            (places[row.component], row.method): Value(row.value, row.stderr, row.status)
            for row in table.query("loss == 'train'").itertuples()
        }

    def llc(
        self, *of: Roles, at: Resolution, without: str = "", side: str = "", chains: ChainSettings = CHAINS
    ) -> dict[Roles, Value]:
        """Returns the wrLLC of neurons, or of one side of their weights, where others may be ablated to 0."""
        components = find_components(self.model, [self.model.at(*roles) for roles in of])
        masks = [_side(component.moved(self.params), side) for component in components]
        records = estimate_parts(
            self.loss.with_edits(self._silent(without) if without else ()), self.params, self.every,
            [Restriction(mask) for mask in masks], [at], chains, seed=self.seed, trivial_loss=self.model.trivial_loss,
        )  # fmt: skip
        return {
            roles: Value(record.value, record.stderr, record.status)
            for roles, (record,) in zip(of, records, strict=True)
        }

    def _silent(self, role: str) -> list[Edit]:
        """Returns what replaces the activation of some neurons by 0."""
        found = [member for one in find_components(self.model, self.model.at(role)) for member in one.members]
        hidden = self.loss.activations(self.params, self.every, [member.point for member in found])
        return [
            Edit(member.point, member.unit_mask(hidden[member.point][0]), torch.zeros((), dtype=torch.float64))
            for member in found
        ]


def _double(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    x, y = batch
    return x.double(), y.double()


def _side(moved: dict[str, Tensor], side: str) -> dict[str, Tensor]:
    return {name: mask for name, mask in moved.items() if not side or ("W_out" in name) == (side == "out")}


Row: TypeAlias = tuple[str, ...]
Checked: TypeAlias = Iterator[Row | Verdict]


def backup(net: Planted) -> Checked:
    """A silent backup."""
    primary, spare, both = ("primary",), ("backup",), ("primary", "backup")
    high, low = Resolution(3000.0, 100.0), Resolution(100.0, 100.0)
    effects = net.effects(primary, spare, both)
    whole = net.llc(primary, spare, at=high)
    yield from _rows(effects, {"wrLLC, n_beta 3000": whole})
    alone = net.llc(primary, at=high, without="backup")[primary]
    before, after = net.llc(spare, at=low)[spare], net.llc(spare, at=low, without="primary")[spare]
    for method, most in (("zero", 0.01), ("optimal", 0.01), ("mean", 0.1), ("resample", 0.1)):
        yield _at_most(
            f"{method} of the primary / zero of both", effects[primary, method] / effects[both, "zero"], most
        )
    apart = whole[primary] - alone
    yield Verdict(
        "wrLLC of the primary, n_beta 3000, with and without backup: within 2 errors, more than 5 from 0",
        f"{whole[primary]}, {alone}",
        abs(apart.value) <= 2 * apart.stderr and min(whole[primary].errors, alone.errors) > 5,
    )
    yield _above("wrLLC of the backup, n_beta 100, primary ablated - as it is", after, before)


def simple_important(net: Planted) -> Checked:
    """Simple but important against complex but unimportant."""
    simple, hard = ("simple",), ("complex",)
    effects, llc = net.effects(simple, hard), net.llc(simple, hard, at=Resolution(3000.0, 100.0))
    yield from _rows(effects, {"wrLLC, n_beta 3000": llc})
    for method in METHODS:
        yield _above(f"{method}: simple - complex", effects[simple, method], effects[hard, method])
    yield _above("wrLLC: complex - simple", llc[hard], llc[simple])


def cancelling(net: Planted) -> Checked:
    """A pair that cancels, and one that is unrelated."""
    plus, minus, circuit = ("plus",), ("minus",), ("circuit",)
    pair, unrelated = ("plus", "minus"), ("plus", "circuit")
    every = (plus, minus, circuit, pair, unrelated)
    long = ChainSettings(chains=16, draws=2000, burn_in=500)
    effects, llc = net.effects(*every), net.llc(*every, at=Resolution(1000.0, 10.0), chains=long)
    yield from _rows(effects, {"wrLLC, n_beta 1000": llc})
    yield _at_most("zero of both / of plus", effects[pair, "zero"] / effects[plus, "zero"], 1e-6)
    yield _at_most("wrLLC of both / sum of each", llc[pair] / (llc[plus] + llc[minus]), 0.25)
    ratio = llc[unrelated] / (llc[plus] + llc[circuit])
    yield Verdict("wrLLC of plus and circuit / sum of each: 1 +- .15", str(ratio), abs(ratio.value - 1) <= 0.15)


def _at_most(what: str, found: Value, most: float) -> Verdict:
    return Verdict(f"{what} <= {most:g}", str(found), abs(found.value) <= most)


def _above(what: str, upper: Value, lower: Value) -> Verdict:
    apart = upper - lower
    return Verdict(f"{what} > 3 errors", f"{apart}, {apart.errors:.1f} errors", apart.errors > 3)


def _rows(effects: Mapping[tuple[Roles, str], Value], llcs: Mapping[str, Mapping[Roles, Value]]) -> Iterator[Row]:
    """Yields a head, and a row for each set of neurons."""
    yield "component", *METHODS, *llcs
    for roles in dict.fromkeys(roles for roles, _ in effects):
        ablated = [str(effects[roles, method]) for method in METHODS]
        yield "+".join(roles), *ablated, *(str(found.get(roles, "")) for found in llcs.values())


CHECKS: Mapping[str, Callable[[Planted], Checked]] = {
    "backup": backup,
    "simple_important": simple_important,
    "cancelling": cancelling,
}


def checked(direction: str, seed: int) -> tuple[list[Row], list[Verdict]]:
    """Returns the scores of a direction's net, and what they must say."""
    found = list(CHECKS[direction](Planted(direction, seed)))
    return [one for one in found if isinstance(one, tuple)], [one for one in found if isinstance(one, Verdict)]


def main(arguments: list[str]) -> int:
    """Prints the tables in Markdown; 1 where something is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks directions")
    parser.add_argument("names", nargs="*", choices=[*CHECKS, []], metavar="NAME", help=", ".join(CHECKS))
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args(arguments)
    warnings.filterwarnings("ignore")
    missed = 0
    for name in given.names or CHECKS:
        print(f"\n## {name}\n{DIRECTIONS[name].about}", flush=True)
        verdicts: list[tuple[int, Verdict]] = []
        for seed in range(given.seeds):
            (head, *rows), own = checked(name, seed)
            if not seed:
                print(f"\n| seed | {' | '.join(head)} |\n|{'---|' * (1 + len(head))}")
            print("\n".join(f"| {seed} | {' | '.join(row)} |" for row in rows), flush=True)
            verdicts += [(seed, one) for one in own]
        print("\n| seed | must | found | verdict |\n|---|---|---|---|")
        for seed, one in sorted(verdicts, key=lambda each: each[1].must):
            print(f"| {seed} | {one.must} | {one.found} | {'kept' if one.holds else 'missed'} |", flush=True)
            missed += not one.holds
    return min(missed, 1)
