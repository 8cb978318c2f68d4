"""The command ``analyze.py circuit``: the most important connections of a run's snapshot."""

from argparse import Namespace
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from llc_lightning.ablation.engine.base import Shared
from llc_lightning.analysis.table import Measured
from llc_lightning.circuits.base import Question, edge_scores
from llc_lightning.circuits.circuit import Circuit
from llc_lightning.circuits.discovery.base import DISCOVERIES, find_circuit
from llc_lightning.circuits.edge import Edge
from llc_lightning.circuits.evaluation.faithfulness import faithfulness
from llc_lightning.circuits.gradients import Subject
from llc_lightning.circuits.graph import Graph
from llc_lightning.circuits.masked import MaskedRuns
from llc_lightning.circuits.stability import over_examples
from llc_lightning.cli.offline import restored
from llc_lightning.cli.own import Own
from llc_lightning.report.cells import Table
from llc_lightning.report.graph import Drawing, Frame, Line
from llc_lightning.results.run import Run
from llc_lightning.runtime.batches import take
from llc_lightning.runtime.errors import LLCLightningError, SettingError, at_least, unless_none


def circuit_of_run(options: Namespace) -> Circuit:
    """Returns the circuit of a run's snapshot, with its faithfulness where the donor's values are given.

    Args:
        options: ``run``, ``method``, ``donor``, ``edges``, ``among``, ``metric``, ``joined``, ``neurons``, ``mask``,
            ``step``, ``examples``, ``module``, ``data``.

    Raises:
        LLCLightningError: If it cannot be measured.
    """
    at_least(1, examples=options.examples, **unless_none(edges=options.edges))
    asked, source = _question(options, options.step)
    return _found(options, asked, source)


def picture_of_run(options: Namespace) -> Drawing:
    """Returns the pictures of a run's circuits: of one snapshot, or of each from the first to the last.

    Args:
        options: As of :func:`circuit_of_run`, with ``over_steps`` and ``resamples``.

    Raises:
        LLCLightningError: If they cannot be measured or drawn.
    """
    at_least(1, examples=options.examples, **unless_none(edges=options.edges))
    if options.resamples:
        at_least(2, resamples=options.resamples)
    if not options.over_steps:
        return Drawing((_frame(options, options.step),))
    frames: list[Frame] = []
    errors: list[LLCLightningError] = []
    for step in sorted(Run.open(options.run).snapshots):
        try:
            frames.append(_frame(options, step))
        except LLCLightningError as error:  # the other snapshots may have a circuit
            errors.append(error)
            frames.append(Frame(f"step {step}", (), f"No circuit could be measured: {error}"))
    if len(errors) == len(frames) and errors:
        raise errors[0]
    return Drawing(tuple(frames))


def _frame(options: Namespace, step: int | None) -> Frame:
    """Returns the picture of one snapshot."""
    asked, source = _question(options, step)
    circuit = _found(options, asked, source)
    shares = _shares(options, asked)
    lines = [
        Line(
            one.edge.sender, one.edge.reader, one.score, one.stderr, one.status,
            None if shares is None else shares.get(one.edge, 0.0),
        )
        for one in circuit.scored
    ]  # fmt: skip
    return Frame(source[source.rfind("step") :], tuple(lines), circuit_table(circuit).note)


def _shares(options: Namespace, asked: Question) -> Mapping[Edge, float] | None:
    """Returns how many of the circuits of resampled examples hold each edge; None where none are asked for."""
    if not options.resamples:
        return None
    return over_examples(asked, partial(_looked_for, options), count=options.resamples).shares


def _question(options: Namespace, step: int | None) -> tuple[Question, str]:
    """Returns what is asked of a snapshot, and which it is."""
    snapshot = restored(options.run, step, Own.of(options))
    graph = Graph.of(snapshot.loss.module, joined=options.joined, neurons=options.neurons)
    data = take(snapshot.data, slice(0, options.examples))
    asked = Question.of(
        snapshot.loss, snapshot.params, data, graph, options.donor, options.metric, seed=snapshot.seed,
        mask=options.mask,
    )  # fmt: skip
    return asked, f"{snapshot.run} step {snapshot.step}"


def _found(options: Namespace, asked: Question, source: str) -> Circuit:
    """Returns the circuit, with its faithfulness where that can be told."""
    found = replace(_looked_for(options, asked), source=source)
    can_be_judged = isinstance(asked.donor, Shared) and _are_whole(found) and found.scored and not found.faithfulness
    return _judged(found, asked) if can_be_judged else found


def _looked_for(options: Namespace, asked: Question) -> Circuit:
    """Returns the circuit that the options ask for, on the examples of the question."""
    return _searched(options, asked) if _is_discovery(options.method) else _scored(options, asked)


def _scored(options: Namespace, asked: Question) -> Circuit:
    """Returns the edges with the largest scores."""
    scores = edge_scores(asked, options.method, options.among)
    return Circuit.top(
        scores, options.edges or 10, method=options.method, donor=asked.donor.name, loss=asked.name, seed=asked.seed
    )


def _searched(options: Namespace, asked: Question) -> Circuit:
    """Returns the circuit that a search finds.

    Raises:
        SettingError: If it is told how many edges, or which, beside its own options.
    """
    if options.edges is not None or options.among != ["*"]:
        raise SettingError(
            f"{options.method!r} looks among all edges and takes what it finds; leave --edges and --among out, or give "
            "an option of its own, as in 'greedy(edges=8)'."
        )
    return find_circuit(asked, options.method)


def _is_discovery(method: str) -> bool:
    return method.partition("(")[0].strip() in DISCOVERIES


def circuit_table(circuit: Circuit) -> Table:
    """Returns the edges of a circuit as a table, the most important first."""
    rows = [(str(one.edge), str(Measured(one.score, one.stderr)), one.status) for one in circuit.scored]
    told = circuit.faithfulness
    share = ""
    if told:
        share = (
            f" Alone they do {Measured(float(told['value']), float(told['stderr']))} of what the network does "
            f"({told['average']}, all other edges ablated by {told['donor']} at {told['positions']} positions)."
        )
    which = f"that {'were' if len(rows) != 1 else 'was'} found" if circuit.search else "with the largest scores"
    how = "".join(f" {name}: {value}." for name, value in circuit.search.items())
    return Table(
        "circuit",
        f"The {len(rows)} edge{'s' * (len(rows) != 1)} {which}, of {circuit.of}",
        ("edge", "score", "status"),
        tuple(rows),
        f"Score: {circuit.method} of {circuit.loss} under {circuit.donor}, on {circuit.n_examples} examples, ± its "
        f"standard error over these.{how}{share}",
    )


def circuit_file(options: Namespace) -> Path | None:
    """Returns where the circuit goes, after checking that it can; None where it is shown.

    Raises:
        SettingError: If the file is of no sort that is written, or several steps or shares of circuits do not go there.
    """
    path: Path | None = options.out
    suffix, told = ("", "there is no --out") if path is None else (path.suffix, f"--out is {path}")
    if path is not None and suffix not in {".json", ".svg", ".html"}:
        raise SettingError(f"{told}; give a file that ends in .json, .svg or .html.")
    if options.over_steps and suffix != ".html":
        raise SettingError(f"--over-steps makes several pictures, and {told}; give a file that ends in .html.")
    if options.resamples and suffix not in {".svg", ".html"}:
        raise SettingError(f"--resamples is told in pictures, and {told}; give a file that ends in .svg or .html.")
    return path


def write_circuit(options: Namespace, path: Path) -> None:
    """Writes the circuit as JSON, as a picture, or as a page.

    Raises:
        LLCLightningError: If it cannot be measured or drawn.
    """
    if path.suffix == ".json":
        circuit_of_run(options).save(path)
        return
    drawn = picture_of_run(options)
    title = f"{options.method} circuit of {options.run}"
    path.write_text(drawn.svg(drawn.frames[0]) if path.suffix == ".svg" else drawn.page(title), encoding="utf-8")


def _are_whole(circuit: Circuit) -> bool:
    """Says whether the edges are at all positions, as a circuit's faithfulness is measured."""
    return not any("@" in edge.sender for edge in circuit.edges)


def _judged(circuit: Circuit, asked: Question) -> Circuit:
    found = faithfulness(MaskedRuns(Subject(asked)), circuit.edges)
    return replace(circuit, faithfulness=found.as_row())
