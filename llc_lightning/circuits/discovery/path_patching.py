"""Recursive path patching: from the output back, along the paths that were found to matter."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import ClassVar

import torch

from llc_lightning.circuits.circuit import Circuit, ScoredEdge
from llc_lightning.circuits.discovery.base import DISCOVERIES, Discovery, rise
from llc_lightning.circuits.masked import MaskedRuns
from llc_lightning.runtime.errors import SettingError


@DISCOVERIES.register(
    "path_patching", summary="follows from the output back the paths along which a donor changes the loss",
    source="Wang et al. 2022, arXiv:2211.00593; Goldowsky-Dill et al. 2023, arXiv:2304.05969",
)  # fmt: skip
@dataclass(frozen=True)
class PathPatching(Discovery):
    """An edge stays where a donor that is sent along it, and on along edges that stay alone, changes the loss.

    All other readers hear what they hear in the network, so that what is told is the path's own, whatever else the
    sender does. Readers come from the output back; one from which no edge that stays leads on is passed over.
    """

    minimises: ClassVar[bool] = False
    threshold: float = 0.1
    """Least absolute change of the loss, in nats, or the metric's unit."""

    def __post_init__(self) -> None:
        """Checks the settings."""
        if not self.threshold > 0:
            raise SettingError(f"threshold is {self.threshold}; give a number above 0, below which edges go.")

    def find(self, runs: MaskedRuns) -> Circuit:
        """Returns the edges of the paths, each with what the donor does along it."""
        graph = runs.subject.graph
        stay: list[ScoredEdge] = []
        with torch.no_grad():
            (base,) = runs(runs.mask(runs.edges)[None])
            for _, group in groupby(reversed(runs.edges), lambda edge: graph.reader(edge).stream):
                live = [one.edge for one in stay]
                heard = graph.heard(live)
                asked = [edge for edge in group if edge.reader in heard]
                if asked:
                    given = torch.stack([runs.mask([edge]) for edge in asked])
                    losses = runs(runs.mask(live).expand(len(asked), -1), given=given)
                    found = [rise(after, base, edge) for edge, after in zip(asked, losses, strict=True)]
                    stay += [one for one in found if not abs(one.score) < self.threshold]
        return self.circuit(runs, stay, {"threshold": self.threshold})
