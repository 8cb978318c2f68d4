"""What each score says of nets that are planted for one direction, and whether it is what it must say.

python -m benchmarks directions                      all of them, on three seeds: about 5 CPU minutes
python -m benchmarks directions backup --seeds 1
python -m benchmarks directions sides                the two sides of every neuron, in a net of many
"""

from __future__ import annotations

import argparse
import operator
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import compress
from typing import TypeAlias

import torch

from benchmarks.directions_nets import METHODS, Effects, LLCs, Planted, Roles, Value, value
from llc_lightning.components.listing import find_components
from llc_lightning.components.loss import loss_fn, snapshot_params
from llc_lightning.data.directions import DIRECTIONS
from llc_lightning.llc.estimator import estimate_parts
from llc_lightning.llc.settings import ChainSettings, Resolution, Restriction
from llc_lightning.models.planted import PlantedModel
from llc_lightning.runtime.batches import Batch
from llc_lightning.runtime.ranking import auroc
from llc_lightning.runtime.seeding import generator

Row: TypeAlias = tuple[str, ...]
Checked: TypeAlias = "Iterator[Row | Verdict]"
NOTHING = 1e-6
LADDER = (30.0, 300.0, 3000.0)
HIGH, LOW = Resolution(3000.0, 100.0), Resolution(100.0, 100.0)


@dataclass(frozen=True)
class Verdict:
    """Something that must hold, and what was found."""

    must: str
    found: str
    holds: bool


def backup(net: Planted) -> Checked:
    """A silent backup."""
    primary, spare, both = ("primary",), ("backup",), ("primary", "backup")
    effects, llc = net.effects(primary, spare, both), net.llc(primary, spare, at=HIGH, longer=True)
    yield from _rows(effects, {"wrLLC, n_beta 3000": llc})
    for method, most in (("zero", 0.01), ("optimal", 0.01), ("mean", 0.1), ("resample", 0.1)):
        yield _at_most(
            f"{method} of the primary / zero of both", effects[primary, method] / effects[both, "zero"], most
        )
    left = effects[both, "zero"] - effects[primary, "zero"]
    yield _at_least("zero of the backup without the primary / zero of both", left / effects[both, "zero"], 0.99)
    alone = net.llc(primary, at=HIGH, without="backup", longer=True)[primary]
    apart = llc[primary] - alone
    yield Verdict(
        "wrLLC of the primary, n_beta 3000, with and without the backup: within 2 errors, more than 5 from 0",
        f"{llc[primary]}, {alone}",
        abs(apart.value) <= 2 * apart.stderr and min(llc[primary].errors, alone.errors) > 5,
    )
    before, after = net.llc(spare, at=LOW)[spare], net.llc(spare, at=LOW, without="primary")[spare]
    yield _above("wrLLC of the backup, n_beta 100: without the primary - with it", after, before)


def simple_important(net: Planted) -> Checked:
    """Simple but important against complex but unimportant."""
    simple, hard = ("simple",), ("complex",)
    effects, llc = net.effects(simple, hard), net.llc(simple, hard, at=HIGH)
    yield from _rows(effects, {"wrLLC, n_beta 3000": llc})
    for method in METHODS:
        yield _above(f"{method}: simple - complex", effects[simple, method], effects[hard, method])
    yield _above("wrLLC: complex - simple", llc[hard], llc[simple])


def saturated(net: Planted) -> Checked:
    """An answer that the loss no longer tells apart."""
    sure, leaning = ("sure",), ("leaning",)
    effects, llc = net.effects(sure, leaning), net.llc(sure, leaning, at=HIGH)
    yield from _rows(effects, {"wrLLC, n_beta 3000": llc})
    for method in METHODS:
        yield _above(f"{method}: sure - leaning", effects[sure, method], effects[leaning, method])
    yield _at_most("wrLLC of the sure one", llc[sure], 0.01)
    yield _above("wrLLC: leaning - sure", llc[leaning], llc[sure])


def dead_large(net: Planted) -> Checked:
    """Weights that do nothing."""
    dead, circuit = ("dead",), ("circuit",)
    effects, llc, (reads, writes) = _with_sides(net, dead, circuit)
    yield from _rows(effects, {"wrLLC, n_beta 3000": llc, "incoming": reads, "outgoing": writes})
    yield from _no_effect(effects, dead, METHODS)
    for name, found in (("all", llc), ("incoming", reads), ("outgoing", writes)):
        yield _at_most(f"wrLLC of the dead one, {name} weights", found[dead], NOTHING)
    norms = net.norm(dead), net.norm(circuit)
    yield Verdict("weight norm: dead above circuit", "{:.3g}, {:.3g}".format(*norms), norms[0] > norms[1])


def constrained_unused(net: Planted) -> Checked:
    """A silence that is a constraint."""
    unused, circuit = ("unused",), ("circuit",)
    effects, llc, (reads, writes) = _with_sides(net, unused, circuit)
    yield from _rows(effects, {"wrLLC, n_beta 3000": llc, "incoming": reads, "outgoing": writes})
    yield from _no_effect(effects, unused, METHODS)
    for name, found in (("all", llc), ("outgoing", writes)):
        yield _at_least(f"wrLLC of the unused one, {name} weights", found[unused], 0.5)
    yield _at_most("wrLLC of the unused one, incoming weights", reads[unused], NOTHING)


def cancelling(net: Planted) -> Checked:
    """A pair that cancels, and one that is unrelated."""
    plus, minus, circuit = ("plus",), ("minus",), ("circuit",)
    pair, unrelated = ("plus", "minus"), ("plus", "circuit")
    every = (plus, minus, circuit, pair, unrelated)
    effects, llc = net.effects(*every), net.llc(*every, at=Resolution(1000.0, 10.0), longer=True)
    yield from _rows(effects, {"wrLLC, n_beta 1000": llc})
    yield _at_most("zero of both / zero of plus", effects[pair, "zero"] / effects[plus, "zero"], NOTHING)
    yield _at_most("wrLLC of both / sum of each", llc[pair] / (llc[plus] + llc[minus]), 0.25)
    ratio = llc[unrelated] / (llc[plus] + llc[circuit])
    yield Verdict("wrLLC of plus and circuit / sum of each: 1 +- .15", str(ratio), abs(ratio.value - 1) <= 0.15)


def redundant(net: Planted) -> Checked:
    """Two of which one would do."""
    twin, other, both = ("twin",), ("other twin",), ("twin", "other twin")
    effects, reads = net.effects(twin, other, both), net.llc(twin, other, both, at=HIGH, side="in")
    yield from _rows(effects, {"wrLLC, n_beta 3000": net.llc(twin, other, both, at=HIGH), "incoming": reads})
    for method in ("zero", "optimal"):
        for roles in (twin, other):
            share = effects[roles, method] / effects[both, "zero"]
            yield _at_most(f"{method} of the {roles[0]} / zero of both", share, 0.01)
        yield _above(f"{method} of both", effects[both, method], Value(0.0))
    for roles, found in reads.items():
        yield _at_most(f"wrLLC of the {' and the '.join(roles)}, incoming weights", found, 0.01)
    left = net.llc(other, at=HIGH, side="in", without="twin")[other]
    yield _above("wrLLC of the other twin, incoming weights: without the twin - with it", left, reads[other])


def decoy(net: Planted) -> Checked:
    """A neuron that knows the answer and tells nobody."""
    true, false = ("answering",), ("decoy",)
    effects, llc, (reads, writes) = _with_sides(net, true, false)
    yield from _rows(effects, {"wrLLC, n_beta 3000": llc, "incoming": reads, "outgoing": writes})
    known = float(torch.corrcoef(torch.stack([net.hidden(false), net.every[1][:, 0]]))[0, 1])
    yield _at_least("correlation of its activation with the answer", Value(known), 0.999)
    yield from _no_effect(effects, false, METHODS)
    yield _above("zero of the answering one", effects[true, "zero"], Value(0.0))
    yield _at_most("wrLLC of the decoy, incoming weights", reads[false], NOTHING)
    yield _above("wrLLC of the answering one, incoming weights", reads[true], Value(0.0))


def zero_misleads(net: Planted) -> Checked:
    """A bias in disguise."""
    yield from _alone(net, "constant", "zero")
    spread = float(net.hidden(("constant",)).std())
    yield _at_most("truth: spread of what it says", Value(spread), NOTHING)


def mean_misleads(net: Planted) -> Checked:
    """A value never seen."""
    yield from _alone(net, "two-valued", "mean")
    worst = max(net.worst("two-valued", float(value)) for value in net.hidden(("two-valued",)).unique())
    yield _at_most("truth: largest loss, on any example, whatever it says of another", Value(worst), NOTHING)
    reads = net.llc(("two-valued",), ("circuit",), at=HIGH, side="in")
    yield _above("wrLLC, incoming weights: circuit - two-valued", reads[("circuit",)], reads[("two-valued",)])


def resample_misleads(net: Planted) -> Checked:
    """Values that never meet."""
    yield from _alone(net, "witness", "resample")
    loudest = float(net.hidden(("alarm",)).max())
    yield _at_most("truth: the alarm, on any example", Value(loudest), NOTHING)
    both = net.effects(("witness", "alarm"))
    yield _at_most("truth: resample of witness and alarm", both[("witness", "alarm"), "resample"], NOTHING)
    reads = net.llc(("witness",), ("circuit",), at=HIGH, side="in")
    yield _above("wrLLC, incoming weights: circuit - witness", reads[("circuit",)], reads[("witness",)])


def patching_misses(net: Planted) -> Checked:
    """Neither restores anything without the other."""
    left, right, both = ("left",), ("right",), ("left", "right")
    effects, llc = net.effects(left, right, both), net.llc(left, right, both, at=HIGH)
    yield from _rows(effects, {"wrLLC, n_beta 3000": llc})
    restored = net.restored(left, right, both)
    for roles in (left, right):
        yield _at_most(f"share that patching {roles[0]} restores", restored[roles], NOTHING)
        yield _at_least(f"zero of {roles[0]} / zero of both", effects[roles, "zero"] / effects[both, "zero"], 0.99)
        yield _above(f"wrLLC of {roles[0]}", llc[roles], Value(0.0))
    yield _at_least("truth: share that patching both restores", restored[both], 0.999)


def scrubbing_accepts(net: Planted) -> Checked:
    """Inputs that always agree."""
    reader, circuit = ("reader of b",), ("circuit",)
    yield from _rows(net.effects(reader, circuit), {"wrLLC, n_beta 3000": net.llc(reader, circuit, at=HIGH)})
    disagreeing = torch.stack(
        [torch.randint(2, (len(net.drawn[0]),), generator=generator(net.seed, str(i))) for i in range(4)]
    )
    x = disagreeing.T.double()
    for where, batch, wrong in (
        ("as they come", net.drawn, 1.0),
        ("that disagree", (x, net.model.direction.labels(x)), 0.0),
    ):
        for read, wanted in (("a", wrong), ("b", 1.0)):
            found = net.scrubbed(read, batch)
            what = "truth" if where == "that disagree" else "scrubbing"
            yield Verdict(
                f"{what}: on inputs {where} its reading {read} explains {wanted:g} +- .05",
                str(found),
                abs(found.value - wanted) <= 0.05,
            )


def sides(seed: int) -> Checked:
    """The smaller of a neuron's two sides knows every neuron that does nothing, among all of a net of many."""
    model = PlantedModel(seed=seed)
    data = model.sample(1024, generator(seed, "analysis"))
    reads, writes = (_of_side(model, data, side, seed) for side in ("in", "out"))
    fires = loss_fn(model).activations(snapshot_params(model), data, ["net.hook_hidden"])["net.hook_hidden"].any(dim=0)
    dead = [neuron for neuron, role in enumerate(model.roles) if role == "dead"]
    known = [i for i, role in enumerate(model.roles) if role in ("dead", "unrelated") or role.startswith("circuit")]
    matters = [model.roles[neuron].startswith("circuit") for neuron in known]
    yield "n_beta", "largest of what does nothing", "smallest of a circuit", "AUROC", "ok"
    for rung, n_beta in enumerate(LADDER):
        for neuron in dead:
            what, side = ("unread, incoming", reads) if fires[neuron] else ("never fires, outgoing", writes)
            found = side[neuron][rung]
            nothing = abs(found.value) <= NOTHING and found.status == "ok"
            yield Verdict(f"{what}, n_beta {n_beta:g}: <= 1e-6, ok", str(found), nothing)
        both = [(reads[neuron][rung], writes[neuron][rung]) for neuron in known]
        least = [min(one.value, other.value) for one, other in both]
        found = auroc(least, matters)
        ends = max(compress(least, map(operator.not_, matters))), min(compress(least, matters))
        ok = sum(one.status == "ok" for pair in both for one in pair)
        yield f"{n_beta:g}", *(f"{end:.2g}" for end in ends), f"{found:.3f}", f"{ok} of {2 * len(both)}"
        yield Verdict(f"AUROC of the smaller side, n_beta {n_beta:g}: 1", f"{found:.3f}", found == 1.0)


def _of_side(model: PlantedModel, data: Batch, side: str, seed: int) -> list[list[Value]]:
    """Returns the wrLLC of one side of every neuron, at each n_beta of the ladder."""
    params = snapshot_params(model)
    parts = [Restriction(one.moved(params)) for one in find_components(model, f"neurons:{side}")]
    chains = ChainSettings(chains=8, draws=100, burn_in=100, batch_size=64)
    ladder = [Resolution(n_beta, 10.0) for n_beta in LADDER]
    found = estimate_parts(loss_fn(model), params, data, parts, ladder, chains, seed=seed)
    return [[value(record) for record in records] for records in found]


def _alone(net: Planted, role: str, method: str) -> Checked:
    """Yields that one method alone takes a neuron that tells nothing for the most important."""
    effects = net.effects((role,), ("circuit",))
    yield from _rows(effects, {})
    yield _above(f"{method}: {role} - circuit", effects[(role,), method], effects[("circuit",), method])
    yield from _no_effect(effects, (role,), [other for other in METHODS if other != method])


def _with_sides(net: Planted, *of: Roles) -> tuple[Effects, LLCs, tuple[LLCs, LLCs]]:
    sides = net.llc(*of, at=HIGH, side="in"), net.llc(*of, at=HIGH, side="out")
    return net.effects(*of), net.llc(*of, at=HIGH), sides


def _no_effect(effects: Effects, roles: Roles, methods: Iterable[str]) -> Iterator[Verdict]:
    for method in methods:
        yield _at_most(f"{method} of the {roles[0]}", effects[roles, method], NOTHING)


def _at_least(what: str, found: Value, least: float) -> Verdict:
    return Verdict(f"{what} >= {least:g}", str(found), found.value >= least)


def _at_most(what: str, found: Value, most: float) -> Verdict:
    return Verdict(f"{what} <= {most:g}", str(found), abs(found.value) <= most)


def _above(what: str, upper: Value, lower: Value) -> Verdict:
    apart = upper - lower
    return Verdict(f"{what} > 3 errors", f"{apart}, {apart.errors:.1f} errors", apart.errors > 3)


def _rows(effects: Effects, llcs: Mapping[str, LLCs]) -> Iterator[Row]:
    """Yields a head, and a row for each set of neurons."""
    yield "component", *METHODS, *llcs
    for roles in dict.fromkeys(roles for roles, _ in effects):
        ablated = [str(effects[roles, method]) for method in METHODS]
        yield "+".join(roles), *ablated, *(str(found.get(roles, "")) for found in llcs.values())


def _of(check: Callable[[Planted], Checked]) -> Callable[[int], Checked]:
    return lambda seed: check(Planted(check.__name__, seed))


CHECKS: Mapping[str, Callable[[int], Checked]] = {
    check.__name__: _of(check)
    for check in (
        *(backup, simple_important, saturated, dead_large, constrained_unused, cancelling, redundant, decoy),
        *(zero_misleads, mean_misleads, resample_misleads, patching_misses, scrubbing_accepts),
    )
} | {"sides": sides}


def checked(name: str, seed: int) -> tuple[list[Row], list[Verdict]]:
    """Returns the scores of a net, and what they must say."""
    found = list(CHECKS[name](seed))
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
        print(f"\n## {name}\n{DIRECTIONS[name].about if name in DIRECTIONS else CHECKS[name].__doc__}", flush=True)
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
