"""A circuit as a value: its edges with their scores, and under which conditions they were found."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

from llc_lightning.ablation.engine.effect import Effect
from llc_lightning.circuits.edge import Edge
from llc_lightning.runtime.errors import LLCLightningError, SettingError, StoreError, at_least, one_line

VERSION, READ = 3, (1, 2, 3)
"""Of the form of the file, and those that are read: one of version 1 tells nothing of its search, 2 no constants."""


class NoAnswerError(SettingError):
    """A network has nothing to find at these weights, such as one whose losses are no numbers.

    Args:
        told: What there is not.
        status: Why a value is missing.
    """

    def __init__(self, told: str, status: str = "nan-loss") -> None:
        super().__init__(told)
        self.status = status


@dataclass(frozen=True)
class ScoredEdge:
    """An edge with its score."""

    edge: Edge
    score: float
    stderr: float = math.nan
    status: str = "ok"


@dataclass(frozen=True)
class Circuit:
    """Some edges of a network, the most important first.

    Example:
        >>> circuit = Circuit((ScoredEdge(Edge("a", "b"), 2.0, 0.1),), "exact", "zero", "train", 16, 0)
        >>> Circuit.from_json(circuit.to_json()) == circuit
        True
    """

    scored: tuple[ScoredEdge, ...]
    method: str
    """How edges were scored."""
    donor: str
    loss: str
    """What was measured: ``train`` for the loss, or ``metric:NAME``."""
    n_examples: int
    seed: int
    of: int = 0
    """How many edges were scored."""
    faithfulness: Mapping[str, float | int | str] = field(default_factory=dict[str, "float | int | str"])
    """Its faithfulness with the settings of that, where it was measured."""
    search: Mapping[str, float | int | str] = field(default_factory=dict[str, "float | int | str"])
    """How it was looked for: the order of edges, a threshold, and what else a method tells of its search."""
    source: str = ""
    """The network: a run and its step, or what else names it."""
    constants: Mapping[str, tuple[tuple[float, ...], ...]] = field(
        default_factory=dict[str, tuple[tuple[float, ...], ...]]
    )
    """What each sender says where it is ablated, for each part of it, where the donor is ``constants``; else nothing.
    :meth:`~llc_lightning.circuits.constants.Constants.of` takes it."""

    @property
    def edges(self) -> tuple[Edge, ...]:
        """Its edges."""
        return tuple(one.edge for one in self.scored)

    @classmethod
    def top(cls, scores: Sequence[Effect], edges: int, **told: Any) -> Circuit:
        """Returns the circuit of the edges with the largest absolute scores.

        Args:
            scores: Of all edges.
            edges: How many to take.
            **told: What else is known: donor, loss, seed, source and so on.

        Raises:
            SettingError: If the number is below 1, or there is no score.
        """
        at_least(1, edges=edges)
        known = [one for one in scores if not math.isnan(one.value)]
        if not known:
            raise NoAnswerError("there is no edge with a score to make a circuit of; score some.")
        order = sorted(known, key=lambda one: -abs(one.value))[:edges]
        scored = (ScoredEdge(Edge.parse(one.component), one.value, one.stderr, one.status) for one in order)
        return cls(tuple(scored), n_examples=max(one.n for one in scores), of=len(scores), **told)

    def to_json(self) -> str:
        """Returns the circuit as JSON, in which numbers that are none are null."""
        told = asdict(self) | {"version": VERSION}
        told["scored"] = [
            {"edge": str(one.edge), "score": _told(one.score), "stderr": _told(one.stderr), "status": one.status}
            for one in self.scored
        ]
        for name in ("faithfulness", "search"):
            told[name] = {k: _told(v) if isinstance(v, float) else v for k, v in getattr(self, name).items()}
        return json.dumps(told, indent=2, allow_nan=False)

    @classmethod
    def from_json(cls, text: str, *, source: str = "the text") -> Circuit:
        """Returns the circuit that :meth:`to_json` wrote.

        Raises:
            StoreError: If the text is no circuit, or of another version.
        """
        try:
            told = cast("dict[str, Any]", json.loads(text))
            version = told.pop("version")
            if version not in READ:
                raise StoreError(
                    f"{source} holds a circuit of version {version}, and these are read here: "
                    f"{', '.join(map(str, READ))}; write it anew, or read it with the release that wrote it."
                )
            scored = tuple(
                ScoredEdge(Edge.parse(one["edge"]), _number(one["score"]), _number(one["stderr"]), one["status"])
                for one in told.pop("scored")
            )
            measured, search = (
                {name: _number(v) if v is None else v for name, v in told.pop(one, {}).items()}
                for one in ("faithfulness", "search")
            )
            constants = {
                name: tuple(tuple(map(float, one)) for one in some) for name, some in told.pop("constants", {}).items()
            }
            return cls(scored, faithfulness=measured, search=search, constants=constants, **told)
        except StoreError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, LLCLightningError) as error:
            raise StoreError(
                f"{source} holds no circuit ({one_line(error)}); give a file that save() wrote."
            ) from error

    def save(self, path: Path | str) -> None:
        """Writes the circuit to one JSON file."""
        Path(path).write_text(self.to_json() + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path | str) -> Circuit:
        """Returns the circuit in a file.

        Raises:
            StoreError: If there is no such file, or it holds no circuit.
        """
        if not Path(path).is_file():
            raise StoreError(f"there is no file {path}; give one that a circuit was saved to.")
        return cls.from_json(Path(path).read_text(encoding="utf-8"), source=str(path))


def _told(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
