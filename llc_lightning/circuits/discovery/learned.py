"""Masks over edges that are learned: samples of them, their losses, and a price for each edge that is kept."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.circuits.circuit import Circuit, NoAnswerError, ScoredEdge
from llc_lightning.circuits.constants import Constants
from llc_lightning.circuits.discovery.base import Discovery
from llc_lightning.circuits.evaluation.faithfulness import CONSTANTS, faithfulness
from llc_lightning.circuits.fitted_constants import FittedConstants, fit_constants, halves
from llc_lightning.circuits.gradients import Subject
from llc_lightning.circuits.masked import MaskedRuns
from llc_lightning.runtime.errors import SettingError, at_least
from llc_lightning.runtime.seeding import generator

_BLOCK = 16
"""Examples of one step."""
_BETAS, _RATE = (0.9, 0.995), 2e-3
"""Of AdamW, and its rate for constants, as the authors of uniform gradient sampling have them."""
_BACKWARD = 3
"""Passes forward that one forward and back costs."""
_CLIP = 5.0
"""Largest norm of a step's gradient."""


@dataclass(frozen=True)
class Samples:
    """Masks of one step with what they cost."""

    masks: Float[Tensor, "lane edge"]
    losses: Float[Tensor, "lane"]


@dataclass(frozen=True)
class Learned(Discovery):
    """A search by gradient descent over the parameters of a distribution of masks."""

    steps: int = 400
    samples: int = 4
    """Masks of one step, all of them on the same 16 examples."""
    rate: float = 0.1
    draw: int = 0
    """Which stream of random numbers."""
    constants: bool = False
    """Whether ablated senders say constants, which are learned together with the masks, instead of what a donor says
    (optimal ablation, Li & Janson 2024, arXiv:2409.09951). They start from the means over all examples, every second
    block is held out of the search, and those of the circuit that is found are fitted anew: its faithfulness is that
    on the blocks held out, with those constants as its donor, which it keeps."""
    start: float = field(default=1.0, init=False)
    """Of every parameter."""

    def __post_init__(self) -> None:
        """Checks the settings."""
        at_least(1, steps=self.steps, samples=self.samples)
        if not self.rate > 0:
            raise SettingError(f"rate is {self.rate}; give a number above 0.")

    @property
    def scores_are_effects(self) -> bool:
        """No: they are probabilities."""
        return False

    def passes(self, edges: int, n_examples: int) -> int:
        """Returns how often it passes over all examples: forward and back on some of them, under every mask."""
        return math.ceil(_BACKWARD * self.steps * self.samples * _BLOCK / max(n_examples, _BLOCK))

    @abstractmethod
    def sample(self, parameters: Float[Tensor, "edge"], stream: torch.Generator) -> Float[Tensor, "lane edge"]:
        """Returns masks; gradients may flow from them to the parameters."""
        ...

    @abstractmethod
    def slope(self, parameters: Float[Tensor, "edge"], drawn: Samples, step: int) -> Float[Tensor, "edge"]:
        """Returns the gradient of losses and price at the parameters."""
        ...

    @abstractmethod
    def chosen(self, parameters: Float[Tensor, "edge"]) -> Float[Tensor, "edge"]:
        """Returns the score of every edge; those above one half are kept."""
        ...

    def find(self, runs: MaskedRuns) -> Circuit:
        """Returns the circuit, with the scores of its edges."""
        asked = runs.subject.question
        runs = MaskedRuns(Subject(asked, block=_BLOCK))
        parameters = torch.full((len(runs.edges),), self.start, requires_grad=True)
        constants = Constants.means(runs.subject).trainable() if self.constants else None
        # Their steps are not typed.
        searches: list[Any] = [torch.optim.AdamW([parameters], lr=self.rate, betas=_BETAS, weight_decay=0.0)]
        if constants is not None:
            searches.append(torch.optim.AdamW(constants.tensors, lr=_RATE, betas=_BETAS, weight_decay=0.0))
        blocks = halves(runs)[0] if self.constants else range(len(runs.subject.examples.blocks))
        stream = generator(asked.seed, "masks", self.draw)
        for step in range(self.steps):
            block = blocks[int(torch.randint(len(blocks), (), generator=stream))]
            self._step(runs, parameters, constants, stream, block, step)
            for search in searches:
                search.step()
        return self._circuit(runs, self.chosen(parameters.detach()), constants)

    def _step(
        self,
        runs: MaskedRuns,
        parameters: Tensor,
        constants: Constants | None,
        stream: torch.Generator,
        block: int,
        step: int,
    ) -> None:
        """Puts the gradients of one step where optimizers find them."""
        with torch.enable_grad():
            masks = self.sample(parameters, stream)
            masks = masks * _leading(runs, masks)  # what leads nowhere is no part of a circuit
            losses = runs(masks, constants=constants, blocks=[block]).mean(1)
            if not losses.isfinite().all():
                raise NoAnswerError(
                    f"the loss under masks is no finite number in step {step + 1} of {self.steps}, so that no mask can "
                    "be learned from it; look at the network's own loss on these examples, or take another donor."
                )
            if constants is not None:
                told = torch.autograd.grad(losses.mean(), constants.tensors, retain_graph=True, allow_unused=True)
                for one, slope in zip(constants.tensors, told, strict=True):
                    one.grad = slope
            parameters.grad = self.slope(parameters, Samples(masks, losses), step)
        torch.nn.utils.clip_grad_norm_([parameters], _CLIP)

    def _circuit(self, runs: MaskedRuns, scores: Tensor, constants: Constants | None) -> Circuit:
        told: dict[str, Any] = {"steps": self.steps}
        scored = [ScoredEdge(edge, float(score)) for edge, score in zip(runs.edges, scores, strict=True) if score > 0.5]
        found = self.circuit(runs, scored, told)
        if constants is None:
            return found
        fitted = fit_constants(runs, found.edges, starts=[constants.detached()])
        told |= {f"loss with {name} constants": value for name, value in fitted.of.items()}
        return replace(
            self.circuit(runs, scored, told),
            donor=CONSTANTS,
            faithfulness=_judged(runs, found, fitted),
            constants=fitted.constants.told(),
        )


def _judged(runs: MaskedRuns, found: Circuit, fitted: FittedConstants) -> dict[str, float | int | str]:
    """Returns the faithfulness with constants, on the examples that no descent saw.

    Nothing of a circuit of no edge, and of a network that does nothing that its ablation does not.
    """
    if not found.scored:
        return {}
    try:
        return faithfulness(runs, found.edges, constants=fitted.constants, blocks=halves(runs)[1]).as_row()
    except NoAnswerError:
        return {}


def _leading(runs: MaskedRuns, masks: Float[Tensor, "lane edge"]) -> Float[Tensor, "lane edge"]:
    """Returns 1 for the edges of each mask that lead on to the output through others of it."""
    found: list[list[float]] = []
    for mask in masks.detach() > 0:
        heard = runs.subject.graph.heard([edge for edge, on in zip(runs.edges, mask, strict=True) if on])
        found.append([float(edge.reader in heard) for edge in runs.edges])
    return torch.tensor(found)


def hard_concrete(
    parameters: Float[Tensor, "edge"], samples: int, stream: torch.Generator
) -> Float[Tensor, "lane edge"]:
    """Returns masks from the hard-concrete distribution (Louizos et al. 2018, arXiv:1712.01312).

    Temperature 2/3, stretched to -.1 .. 1.1 and cut off.
    """
    noise = torch.rand((samples, len(parameters)), generator=stream).clamp(1e-6, 1 - 1e-6)
    soft = torch.sigmoid((noise.logit() + parameters) / _TEMPERATURE)
    return (soft * (_HIGH - _LOW) + _LOW).clamp(0, 1)


_TEMPERATURE, _LOW, _HIGH = 2 / 3, -0.1, 1.1


def kept(parameters: Float[Tensor, "edge"]) -> Float[Tensor, "edge"]:
    """Returns the probability with which each mask of :func:`hard_concrete` is not 0."""
    return torch.sigmoid(parameters - _TEMPERATURE * torch.tensor(-_LOW / _HIGH).log())
