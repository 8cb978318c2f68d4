"""How often intervals of ablation effects cover the effect in the population, over simulated data sets.

The truth of a method is its effect as the examples become many: under zero, under the population's mean, under donors
drawn from the population, and for ``optimal`` under the constants that are best in the population, so that what a
search on half of the examples misses of these counts against it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llc_lightning.ablation.engine.sweep import sweep
from llc_lightning.ablation.significance import with_statistics
from llc_lightning.components.component import Component
from llc_lightning.components.loss import loss_fn, snapshot_params
from llc_lightning.runtime.batches import Batch

METHODS = (("zero", "mean", "resample(draws=1)", "resample", "resample(draws=16)"), ("optimal",))
"""Those of one sweep."""
_RESAMPLES = 199
_POPULATION = 400_000
"""Examples that the truth is measured on: its error is a twentieth of that of 200 examples."""


class Sets(nn.Module):
    """A net that many data sets go through side by side: examples [example, set, ...], the loss the sum over the sets.

    A set is one unit, so that a sweep over the units is a sweep of every set by itself.
    """

    axis = -1
    """Axis of the sets at the hook point ``unit``, which is a part of the net alone."""

    def __init__(self) -> None:
        super().__init__()
        self.unit = nn.Identity()

    def parts(self, sets: int) -> list[Component]:
        """Returns the component, once for every set."""
        return [Component(f"unit[{k}]", "unit", "unit", (k,), self.axis) for k in range(sets)]


class Classifier(Sets):
    """Knows a rare class from one of its inputs."""

    def per_example_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Returns the cross-entropy."""
        x, label = batch
        logits = 3 * self.unit(x[..., 0]) + x[..., 1] - 2.5
        return F.binary_cross_entropy_with_logits(logits, label, reduction="none").sum(-1)


class Regression(Sets):
    """Predicts a sum of skewed inputs."""

    def per_example_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Returns the absolute error."""
        x, target = batch
        return (self.unit(x[..., 0]) + x[..., 1] - target).abs().sum(-1)


class Transformer(Sets):
    """One block of attention, a head of which is the unit, and of an MLP; predicts the next token."""

    axis = -2

    def __init__(self, *, tokens: int = 5, positions: int = 3, width: int = 8) -> None:
        super().__init__()
        stream = torch.Generator().manual_seed(0)
        shapes = {
            "embed": (tokens, width), "place": (positions, width), "query": (2, width, 2), "key": (2, width, 2),
            "value": (2, width, 2), "out": (2, 2, width), "inner": (width, 16), "outer": (16, width),
            "read": (width, tokens),
        }  # fmt: skip
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(torch.randn(shape, generator=stream) / shape[-2] ** 0.5))
        self._train(stream)

    def _train(self, stream: torch.Generator, steps: int = 150) -> None:
        optimizer = torch.optim.Adam(self.parameters(), 3e-2)
        for _ in range(steps):
            optimizer.zero_grad()
            self.per_example_loss(_tokens(padded=True)(256, 1, stream)).mean().backward()
            optimizer.step()

    def per_example_loss(self, batch: dict[str, Tensor]) -> Tensor:
        """Returns the cross-entropy, mean over the positions that count."""
        tokens, counts = batch["tokens"], batch["counts"]
        inputs, targets = tokens[..., :-1], tokens[..., 1:]
        x = self.embed[inputs] + self.place
        query, key, value = (torch.einsum("ekpw,hwd->ekhpd", x, one) for one in (self.query, self.key, self.value))
        size = inputs.shape[-1]
        heard = torch.ones(size, size, dtype=torch.bool, device=x.device).tril() & counts[:, None, None, None]
        scores = (query @ key.mT / 2**0.5).masked_fill(~heard, -1e9)
        kept, unit = (scores.softmax(-1) @ value).unbind(2)
        z = torch.stack([kept, self.unit(unit.transpose(1, 2)).transpose(1, 2)])
        x = x + torch.einsum("hekpd,hdw->ekpw", z, self.out)
        logits = (x + (x @ self.inner).relu() @ self.outer) @ self.read
        losses = F.cross_entropy(logits.movedim(-1, 1), targets, reduction="none")
        return ((losses * counts[:, None]).sum(-1) / counts.sum(-1, keepdim=True)).sum(-1)

    def mask(self, batch: dict[str, Tensor]) -> Tensor:
        """Returns which positions count, the same in all sets."""
        return batch["counts"]


def _rare(share: float) -> Callable[[int, int, torch.Generator], Batch]:
    def draw(n: int, sets: int, stream: torch.Generator) -> Batch:
        label = (torch.rand(n, sets, generator=stream) < share).float()
        clear, vague = torch.randn(2, n, sets, generator=stream)
        return torch.stack([label + 0.3 * clear, vague], -1), label

    return draw


def _skewed(n: int, sets: int, stream: torch.Generator) -> Batch:
    x = -torch.rand(n, sets, 2, generator=stream).clamp_min(1e-9).log()
    return x, x.sum(-1) + 0.5 * torch.randn(n, sets, generator=stream) + 0.3


def _tokens(*, padded: bool) -> Callable[[int, int, torch.Generator], Batch]:
    def draw(n: int, sets: int, stream: torch.Generator) -> Batch:
        tokens = torch.randint(0, 5, (n, sets, 4), generator=stream)
        # A token is often said again, so that there is something to hear.
        again = torch.rand(n, sets, 6, generator=stream) < 0.5
        for at in range(2, 4):
            tokens[..., at] = torch.where(again[..., at], tokens[..., at - 2], tokens[..., at])
        lengths = torch.randint(1, 4, (n, 1), generator=stream) if padded else torch.full((n, 1), 3)
        return {"tokens": tokens, "counts": torch.arange(3) < lengths}

    return draw


@dataclass(frozen=True)
class Case:
    """A net, its data, and the size of the data sets."""

    module: Callable[[], Sets]
    data: Callable[[int, int, torch.Generator], Batch]
    n: int
    together: int
    """Data sets that go through the net side by side; the work for each grows with them."""


CASES = {
    "imbalanced classifier": Case(Classifier, _rare(0.15), 200, 40),
    "rarer class": Case(Classifier, _rare(0.05), 200, 40),
    "rarer class, n 1000": Case(Classifier, _rare(0.05), 1000, 20),
    "skewed regression": Case(Regression, _skewed, 200, 40),
    "transformer head": Case(Transformer, _tokens(padded=False), 200, 4),
    "padded transformer head": Case(Transformer, _tokens(padded=True), 200, 4),
}


@dataclass(frozen=True)
class Row:
    """What is said of one data set under one method."""

    value: float
    stderr: float
    low: float
    high: float
    status: str


Rows = dict[str, list[Row]]
"""By method."""


class Simulation:
    """Data sets of a case, and what the rows of each say.

    Args:
        case: The net and its data.
        kept: A file that groups of data sets are kept in, one in a line, so that what was interrupted goes on from
            there; None to keep none.
    """

    def __init__(self, name: str, kept: Path | None = None) -> None:
        self._name, self._case, self._kept = name, CASES[name], kept
        self._module = self._case.module()
        self._loss = loss_fn(self._module)  # one for all, so that what is traced is used again

    def rows(self, sets: int, *, n: int | None = None, first: int = 0) -> Rows:
        """Returns what is said of every data set."""
        together, rows = min(self._case.together, sets), Rows()
        for start in range(first, first + sets, together):
            for methods in METHODS:
                for method, some in self._known(methods, start, together, n or self._case.n).items():
                    rows.setdefault(method, []).extend(some)
        return rows

    def truth(self) -> dict[str, float]:
        """Returns the effect in the population, by method."""
        return {method: rows[0].value for method, rows in self.rows(1, n=_POPULATION, first=10**6).items()}

    def _known(self, methods: Sequence[str], first: int, sets: int, n: int) -> Rows:
        """Returns what is said of a group of data sets, of an earlier call where it was kept."""
        key = json.dumps([self._name, *methods, first, sets, n])
        if self._kept and self._kept.exists():
            for line in self._kept.read_text(encoding="utf-8").splitlines():
                found = json.loads(line)
                if found["key"] == key:
                    return {method: [Row(*row) for row in rows] for method, rows in found["rows"].items()}
        rows = self._measured(methods, first, sets, n)
        if self._kept:
            told = {method: [astuple(row) for row in some] for method, some in rows.items()}
            with self._kept.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"key": key, "rows": told}) + "\n")
        return rows

    def _measured(self, methods: Sequence[str], first: int, sets: int, n: int) -> Rows:
        data = self._case.data(n, sets, torch.Generator().manual_seed(first))
        parts, params = self._module.parts(sets), snapshot_params(self._module)
        found = sweep(self._loss, params, data, parts, methods, seed=first, per_example=True)
        rows = Rows()
        for one in with_statistics(found, resamples=_RESAMPLES, seed=first)[1:]:
            low, high = float(one.details["low"]), float(one.details["high"])
            rows.setdefault(one.method, []).append(Row(one.value, one.stderr, low, high, one.status))
        return rows


@dataclass(frozen=True)
class Coverage:
    """Of one method on one net, over data sets: shares whose interval holds the truth."""

    normal: float
    """Of all: within 1.96 standard errors."""
    interval: float
    """Of all: the bootstrap-t interval."""
    ok: float
    """Share with status ok."""
    missed: tuple[float, float]
    """Shares of all that miss the truth with status ok: by 1.96 standard errors, by the interval."""
    ratio: float
    """SD over data sets by the root mean square of the standard errors."""
    bias: float
    """Mean over data sets minus the truth, in SDs over data sets."""


def coverage(name: str, *, sets: int, kept: Path | None = None) -> dict[str, Coverage]:
    """Returns for every method how often what it says of a data set covers the effect in the population."""
    simulation = Simulation(name, kept)
    truth = simulation.truth()
    return {method: _coverage(rows, truth[method]) for method, rows in simulation.rows(sets).items()}


def _coverage(rows: Sequence[Row], truth: float) -> Coverage:
    values, errors, low, high = (
        np.array([getattr(row, name) for row in rows]) for name in ("value", "stderr", "low", "high")
    )
    ok = np.array([row.status == "ok" for row in rows])
    normal, interval = np.abs(values - truth) < 1.96 * errors, (low <= truth) & (truth <= high)
    return Coverage(
        float(normal.mean()),
        float(interval.mean()),
        float(ok.mean()),
        (float((ok & ~normal).mean()), float((ok & ~interval).mean())),
        float(values.std() / np.sqrt(np.mean(errors**2))),
        float((values.mean() - truth) / values.std()),
    )
