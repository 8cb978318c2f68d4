"""The command ``analyze.py circuit``: the most important connections of a run's snapshot."""

from argparse import Namespace
from dataclasses import replace
from pathlib import Path

from llc_lightning.ablation.engine.base import Shared
from llc_lightning.analysis.table import Measured
from llc_lightning.circuits.base import Question, edge_scores
from llc_lightning.circuits.circuit import Circuit
from llc_lightning.circuits.evaluation.faithfulness import faithfulness
from llc_lightning.circuits.gradients import Subject
from llc_lightning.circuits.graph import Graph
from llc_lightning.circuits.masked import MaskedRuns
from llc_lightning.cli.offline import restored
from llc_lightning.report.cells import Table
from llc_lightning.runtime.batches import take
from llc_lightning.runtime.errors import SettingError, at_least


def circuit_of_run(options: Namespace) -> Circuit:
    """Returns the circuit of a run's snapshot, with its faithfulness where the donor's values are given.

    Args:
        options: ``run``, ``method``, ``donor``, ``edges``, ``among``, ``metric``, ``joined``, ``neurons``, ``mask``,
            ``step``, ``examples``.

    Raises:
        LLCLightningError: If it cannot be measured.
    """
    at_least(1, edges=options.edges, examples=options.examples)
    snapshot = restored(options.run, options.step)
    graph = Graph.of(snapshot.loss.module, joined=options.joined, neurons=options.neurons)
    data = take(snapshot.data, slice(0, options.examples))
    asked = Question.of(
        snapshot.loss, snapshot.params, data, graph, options.donor, options.metric, seed=snapshot.seed,
        mask=options.mask,
    )  # fmt: skip
    scores = edge_scores(asked, options.method, options.among)
    found = Circuit.top(
        scores, options.edges, method=options.method, donor=asked.donor.name, loss=asked.name, seed=asked.seed,
        source=f"{snapshot.run} step {snapshot.step}",
    )  # fmt: skip
    return _judged(found, asked) if isinstance(asked.donor, Shared) and _are_whole(found) else found


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
    return Table(
        "circuit",
        f"The {len(rows)} edges with the largest scores, of {circuit.of}",
        ("edge", "score", "status"),
        tuple(rows),
        f"Score: {circuit.method} of {circuit.loss} under {circuit.donor}, on {circuit.n_examples} examples, ± its "
        f"standard error over these.{share}",
    )


def json_file(path: Path) -> Path:
    """Returns a path, after checking that it is that of a JSON file.

    Raises:
        SettingError: If it is not.
    """
    if path.suffix != ".json":
        raise SettingError(f"--out is {path}; give a file that ends in .json.")
    return path


def _are_whole(circuit: Circuit) -> bool:
    """Says whether the edges are at all positions, as a circuit's faithfulness is measured."""
    return not any("@" in edge.sender for edge in circuit.edges)


def _judged(circuit: Circuit, asked: Question) -> Circuit:
    found = faithfulness(MaskedRuns(Subject(asked)), circuit.edges)
    return replace(circuit, faithfulness=found.as_row())
