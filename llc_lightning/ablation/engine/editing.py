"""Components with edited weights, several of them in one forward pass."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from llc_lightning.ablation.engine.base import WeightMethod
from llc_lightning.ablation.engine.examples import Examples
from llc_lightning.ablation.engine.lanes import Lanes, Losses
from llc_lightning.ablation.engine.plan import Pass
from llc_lightning.ablation.engine.replacing import Source
from llc_lightning.ablation.engine.weights import Weight
from llc_lightning.components.component import Component
from llc_lightning.runtime.batches import Params

EDITED_LANES = 8
"""Lanes of one pass, at most: everything behind an edited weight has an axis of lanes, and must fit a cache."""
_CPU_NUMBERS, _GPU_NUMBERS = 1 << 20, 1 << 26
"""Numbers that the edited parameters of one pass may hold."""


@dataclass(frozen=True)
class Editing:
    """Components with weights in the same parameters, under the edits of some methods.

    Every lane has copies of these parameters, in which the component's entries alone differ. What is kept of an edit
    are its own entries, so that thousands of neurons fit the memory.
    """

    lanes: Lanes
    """In weights."""
    methods: Sequence[WeightMethod]
    components: Sequence[Component]
    weights: Sequence[Sequence[Weight]]
    """Of every component."""
    examples: Examples
    chunk: int | None
    seed: int

    @property
    def sources(self) -> Sequence[Source]:
        """One for each method."""
        return [Source(method, method.draws) for method in self.methods]

    @property
    def most(self) -> int:
        """Lanes that one forward pass takes; at least 2, since a library's kernels may round a single one apart."""
        if self.chunk is not None:
            return max(2, self.chunk)
        edited = list(self._params(1).values())
        numbers = _CPU_NUMBERS if edited[0].device.type == "cpu" else _GPU_NUMBERS
        return max(2, min(EDITED_LANES, numbers // sum(parameter.numel() for parameter in edited)))

    def losses(self, passes: Sequence[Pass]) -> Iterator[Iterator[Losses]]:
        """Yields for every block of examples the losses of its passes."""
        for block in range(len(self.examples.blocks)):
            batch, clean = self.examples.blocks.batches[block], self.examples.clean[block]
            yield (self.lanes(batch, [self._edited(step)], clean=clean) for step in passes)

    @cached_property
    def _edits(self) -> list[list[list[Sequence[Tensor]]]]:
        """The edited entries of every method, draw, component and weight."""
        return [
            [
                [method.edited(weights, seed=self.seed, draw=draw) for weights in self.weights]
                for draw in range(method.draws)
            ]
            for method in self.methods
        ]

    def _edited(self, step: Pass) -> Params:
        """Returns the parameters of every lane of a pass."""
        params = self._params(len(step.components))
        for run in step.runs:
            edits = self._edits[run.kind][run.draw][run.components]
            lanes = range(run.lanes.start, run.lanes.stop)
            for lane, weights, edited in zip(lanes, self.weights[run.components], edits, strict=True):
                for weight, values in zip(weights, edited, strict=True):
                    weight.write(params[weight.slice.parameter][lane], values)
        return params

    def _params(self, lanes: int) -> Params:
        """Returns copies of the parameters that are edited, one for each lane."""
        own = {weight.slice.parameter: weight.parameter for weight in self.weights[0]}
        return {name: parameter[None].repeat(lanes, *[1] * parameter.ndim) for name, parameter in own.items()}
