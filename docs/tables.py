"""Writes the tables of these pages that are registries: `make docs`."""

import re
import warnings
from collections.abc import Callable, Iterable
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

from llc_lightning.ablation import METHODS, METRICS, WeightMethod
from llc_lightning.circuits.base import SCORES
from llc_lightning.circuits.discovery.base import DISCOVERIES
from llc_lightning.circuits.wiring.base import FAMILIES
from llc_lightning.components.found import Found
from llc_lightning.components.listing import find_components
from llc_lightning.data.directions import DIRECTIONS
from llc_lightning.llc.estimators import ESTIMATORS
from llc_lightning.report.glossary import TERMS
from llc_lightning.results.quantities import QUANTITIES
from llc_lightning.runtime.errors import AddressError
from llc_lightning.runtime.kinds import KINDS
from llc_lightning.runtime.status import REASONS, in_order
from llc_lightning.sampling.base import SAMPLERS
from llc_lightning.sampling.observables.base import OBSERVABLES

FOLDER = Path(__file__).parent
Rows = Iterable[tuple[str, ...]]


def reasons() -> Rows:
    """Yields what can be wrong with a value."""
    yield "reason", "of", "value", "what it means and what to change", "when it is given"
    for reason in in_order(REASONS):
        of, value = "LLC" if reason.item else "other", "NaN" if reason.facts.failed else "kept"
        yield f"`{reason.name}`", of, value, reason.facts.sentence, reason.summary


def samplers() -> Rows:
    """Yields the samplers."""
    yield "sampler", "what it is", "examples", "preconditioner", "source"
    for name, entry in sorted(SAMPLERS.items()):
        examples = "all" if entry.facts.full_batch else "minibatches"
        diagonal = "finds its own" if entry.facts.adapts else "may be given" if entry.facts.preconditioned else "none"
        yield f"`{name}`", entry.summary, examples, diagonal, entry.source


def estimators() -> Rows:
    """Yields the estimators."""
    yield "estimator", "what it is", "source"
    for name, entry in sorted(ESTIMATORS.items()):
        yield f"`{name}`", entry.summary, entry.source


def observables() -> Rows:
    """Yields what a name can observe."""
    yield "observable", "what is seen"
    for name, entry in sorted(OBSERVABLES.items()):
        yield f"`{name}`", entry.summary


def quantities() -> Rows:
    """Yields what is measured."""
    yield "quantity", "unit", "definition", "source"
    for name, entry in sorted(QUANTITIES.items()):
        yield f"`{name}`", entry.item.unit, entry.item.definition, entry.source


def kinds() -> Rows:
    """Yields the kinds of components, the whole model first."""
    yield "written", "kind", "what it is"
    places = ["model", "layers", "parts", "units", "joined"]
    for name, entry in sorted(
        KINDS.items(), key=lambda item: (places.index(item[1].facts.level), item[1].facts.order, item[0])
    ):
        yield ", ".join(f"`{one}`" for one in entry.facts.written), f"`{name}`", entry.summary


def options(thing: type) -> str:
    """Returns the options of a method or metric with their defaults."""
    told = [f"{one.name}={str(one.default) or '...'}" for one in fields(thing) if one.init]
    return ", ".join(f"`{one}`" for one in told if "function" not in one)


def methods() -> Rows:
    """Yields the ablation methods."""
    yield "method", "of", "what it does", "options", "source"
    for name, entry in sorted(METHODS.items()):
        side = "weights" if issubclass(entry.item, WeightMethod) else "activations"
        yield f"`{name}`", side, entry.summary, options(entry.item), entry.source


def metrics() -> Rows:
    """Yields what can be measured besides the loss."""
    yield "name", "what it is, per example", "options"
    for name, entry in sorted(METRICS.items()):
        yield f"`{name}`", entry.summary, options(entry.item)


def modules() -> Rows:
    """Yields the kinds of modules that the tests train, with what is measured of each."""
    yield "module", "ablated", "LLC", "left out, and why"
    yield from _modules()


@cache
def _modules() -> list[tuple[str, ...]]:
    import torch

    from tests.foreign.settings import SETTINGS

    rows: list[tuple[str, ...]] = []
    for one in SETTINGS.values():
        torch.manual_seed(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module, batch = one.make(), one.batch()
            module = module if one.dtype == "float32" else module.to(getattr(torch, one.dtype))
            found = [each for each in _explained(module, "*", batch) if each.weights]
            units = {word: _explained(module, word, batch) for word in ("neurons", "channels", "heads")}
        moved = {each.component.address.split(":call")[0] for each in found if not each.no_llc}
        counts = [_counted(sum(not each.no_ablation for each in found), "layer")]
        ablated = {word: sum(not each.no_ablation for each in some) for word, some in units.items()}
        counts += [f"{number} {word}" for word, number in ablated.items() if number]
        asked = [*found, *(some[0] for some in units.values() if some)]
        reasons = [(f"no ablation of `{each.component.address}`", each.no_ablation) for each in asked]
        reasons += [(f"no LLC of `{each.component.address}`", each.no_llc) for each in asked]
        told = "; ".join(f"{what}: {why}" for what, why in dict.fromkeys(reasons) if why)
        rows.append((one.name, ", ".join(counts), _counted(len(moved), "layer"), told))
    return rows


def _explained(module: Any, word: str, batch: Any) -> list[Found]:
    try:
        return find_components(module, word, explain=True, data=batch)
    except AddressError:
        return []


def _counted(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"


def families() -> Rows:
    """Yields the networks whose edges are known."""
    yield "family", "what it is"
    for name, entry in sorted(FAMILIES.items()):
        yield f"`{name}`", entry.summary


def scores() -> Rows:
    """Yields the ways to score edges."""
    yield "score", "what it is", "stands for an effect", "options", "source"
    for name, entry in sorted(SCORES.items()):
        yield f"`{name}`", entry.summary, "yes" if entry.facts.estimates else "no", options(entry.item), entry.source


def discoveries() -> Rows:
    """Yields the ways to find circuits."""
    yield "method", "what it does", "options", "source"
    for name, entry in sorted(DISCOVERIES.items()):
        yield f"`{name}`", entry.summary, options(entry.item), entry.source


def words() -> Rows:
    """Yields what the words of the report mean."""
    yield "word", "meaning"
    for term in TERMS:
        yield f'<a id="{term.anchor}"></a>{", ".join((term.name, *term.spelled))}', term.means


def directions() -> Rows:
    """Yields the planted directions, and what each score must say."""
    yield "direction", "what it is", "what each score must say"
    for name, one in DIRECTIONS.items():
        yield f"`{name}`", one.about, "; ".join(f"*{score}*: {told}" for score, told in one.says.items())


TABLES: dict[str, list[Callable[[], Rows]]] = {
    "llc.md": [reasons, samplers, estimators, observables, quantities],
    "ablation.md": [kinds, methods, metrics],
    "bridges.md": [modules],
    "circuits.md": [families, scores, discoveries],
    "glossary.md": [words],
    "zoo.md": [directions],
}
"""The tables of each page, which stand between comments of their names."""


def written(page: str) -> str:
    """Returns the text of a page with its tables as they are now."""
    text = (FOLDER / page).read_text(encoding="utf-8")
    for table in TABLES[page]:
        name = table.__name__
        text, found = re.subn(
            rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)",
            lambda marks, table=table: f"{marks[1]}{markdown(table())}{marks[2]}",
            text,
            flags=re.DOTALL,
        )
        if found != 1:
            raise ValueError(f"{page} has {found} places for the table {name!r}, between <!-- {name} --> and its end")
    return text


def markdown(rows: Rows) -> str:
    """Returns a table, whose first row is its head."""
    head, *others = (f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |\n" for row in rows)
    return "".join([head, "|" + "---|" * (head.count(" | ") + 1) + "\n", *others])


if __name__ == "__main__":
    for page in TABLES:
        (FOLDER / page).write_text(written(page), encoding="utf-8")
