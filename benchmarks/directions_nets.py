"""Planted nets whose scores are checked: what is asked of one, and figures with their errors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.ablation.effects import ablation_effects
from llc_lightning.ablation.procedures.patching import patching
from llc_lightning.ablation.procedures.scrubbing import Node, scrubbing
from llc_lightning.components.listing import find_components
from llc_lightning.components.loss import Edit, loss_fn, snapshot_params
from llc_lightning.llc.estimator import estimate_parts
from llc_lightning.llc.record import LLCRecord
from llc_lightning.llc.settings import ChainSettings, Resolution, Restriction
from llc_lightning.models.direction_model import DirectionModel
from llc_lightning.runtime.batches import Batch
from llc_lightning.runtime.seeding import generator

METHODS = ("zero", "mean", "resample", "optimal")
CHAINS = ChainSettings(chains=16, draws=600, burn_in=300)
LONGER = ChainSettings(chains=16, draws=2000, burn_in=500)
"""For neurons that read alike, along whose common directions chains move slowly."""
EXAMPLES = 4096
"""So many are drawn to ablate on; chains see all that there are."""

Roles: TypeAlias = tuple[str, ...]
"""The roles of the neurons that are taken together."""
Effects: TypeAlias = Mapping[tuple[Roles, str], "Value"]
"""By roles and method."""
LLCs: TypeAlias = Mapping[Roles, "Value"]


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


def value(record: LLCRecord) -> Value:
    """Returns the figure of an estimate."""
    return Value(record.value, record.stderr, record.status)


def _worse(one: Value, other: Value) -> str:
    return one.status if other.status == "ok" else other.status


class Planted:
    """A direction's net with one seed, and its scores."""

    def __init__(self, direction: str, seed: int) -> None:
        self.seed = seed
        self.model = DirectionModel(direction, seed=seed).double()
        self.loss, self.params = loss_fn(self.model), snapshot_params(self.model)
        self.drawn = self._labelled(self.model.direction.sample(EXAMPLES, generator(seed, "analysis"))[0])
        self.every = self._labelled(self.model.direction.examples()[0])

    def _labelled(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.double(), self.model.direction.labels(x.double())

    def effects(self, *of: Roles) -> Effects:
        """Returns the effects of ablating neurons, by their roles and the method."""
        places = {self.model.at(*roles): roles for roles in of}
        table = ablation_effects(self.model, self.drawn, list(places), METHODS, seed=self.seed)
        return {
            (places[row.component], row.method): Value(row.value, row.stderr, row.status)
            for row in table.query("loss == 'train'").itertuples()
        }

    def llc(self, *of: Roles, at: Resolution, without: str = "", side: str = "", longer: bool = False) -> LLCs:
        """Returns the wrLLC of neurons, or of one side of their weights, where others may be ablated to 0."""
        addresses = [self.model.at(*roles) + (f":{side}" if side else "") for roles in of]
        parts = [Restriction(one.moved(self.params)) for one in find_components(self.model, addresses)]
        records = estimate_parts(
            self.loss.with_edits(self._saying(without, 0.0) if without else ()), self.params, self.every, parts, [at],
            LONGER if longer else CHAINS, seed=self.seed, trivial_loss=self.model.trivial_loss,
        )  # fmt: skip
        return {roles: value(record) for roles, (record,) in zip(of, records, strict=True)}

    def hidden(self, roles: Roles) -> Float[Tensor, "example"]:
        """Returns what a neuron says on every example there is."""
        (found,) = find_components(self.model, self.model.at(*roles))
        (unit,) = found.units or ()
        return self.loss.activations(self.params, self.every, [found.point])[found.point][:, unit]

    def norm(self, roles: Roles) -> float:
        """Returns the norm of a neuron's weights."""
        (found,) = find_components(self.model, self.model.at(*roles))
        masks = found.moved(self.params)
        return float(torch.cat([self.params[name][mask] for name, mask in masks.items()]).norm())

    def worst(self, role: str, value: float) -> float:
        """Returns the largest loss of any example where a neuron says a value."""
        edited = self.loss.with_edits(self._saying(role, value))
        return float(edited(self.params, self.every).max())

    def restored(self, *of: Roles) -> Mapping[Roles, Value]:
        """Returns the share of a yes that neurons restore on an input of zeros, as they are where the answer is 1."""
        x, y = (part[self.drawn[1][:, 0] == 1] for part in self.drawn)
        places = {self.model.at(*roles): roles for roles in of}
        table = patching(self.loss, self.params, (x, y), (0 * x, y), list(places), noising=False)
        return {places[row.component]: Value(row.normalised) for row in table.itertuples()}

    def scrubbed(self, read: str, batch: Batch) -> Value:
        """Returns how much of what the reader is worth its reading a certain input explains."""
        place = self.model.direction.inputs.index(read)
        hypothesis = [Node(self.model.at("reader of b"), lambda batch: batch[0][:, place].long())]
        found = scrubbing(self.loss, self.params, batch, hypothesis, [], seed=self.seed)
        return Value(found.recovered, found.stderr, found.status)

    def _saying(self, role: str, value: float) -> list[Edit]:
        """Returns what replaces the activation of some neurons by a value."""
        found = [member for one in find_components(self.model, self.model.at(role)) for member in one.members]
        hidden = self.loss.activations(self.params, self.every, [member.point for member in found])
        return [
            Edit(member.point, member.unit_mask(hidden[member.point][0]), torch.tensor(value, dtype=torch.float64))
            for member in found
        ]
