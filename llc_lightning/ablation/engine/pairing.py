"""Effects as paired differences: example by example, against a lane of the same forward pass that ablates nothing."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.ablation.engine.effect import Summary
from llc_lightning.ablation.engine.examples import Examples
from llc_lightning.ablation.engine.influence import Entries
from llc_lightning.ablation.engine.lanes import Lanes, Losses
from llc_lightning.ablation.engine.moments import Counted
from llc_lightning.ablation.engine.plan import Pass, Run, plan
from llc_lightning.ablation.engine.replacing import Source
from llc_lightning.components.component import Component


@runtime_checkable
class Ablations(Protocol):
    """Some components under some methods, whose ablations share forward passes."""

    @property
    def lanes(self) -> Lanes:
        """What runs them."""
        ...

    @property
    def components(self) -> Sequence[Component]:
        """What is ablated."""
        ...

    @property
    def examples(self) -> Examples:
        """On which examples."""
        ...

    @property
    def sources(self) -> Any:  # a sequence of Source, which type checkers do not see in a cached property
        """What ablates."""
        ...

    @property
    def most(self) -> Any:  # a number, as well
        """Lanes that one forward pass takes."""
        ...

    def losses(self, passes: Sequence[Pass]) -> Iterator[Iterator[Losses]]:
        """Yields for every block of examples the losses of its passes; the blocks must be taken in turn."""
        ...


def measure(ablations: Ablations, *, keep: bool, done: Callable[[float], object] = lambda share: None) -> list[Summary]:
    """Returns for every source the differences that it makes on all components.

    Args:
        ablations: What to measure.
        keep: Whether to keep the differences of every example.
        done: Called after every block of examples with its share of all.
    """
    examples, n_components = ablations.examples, len(ablations.components)
    sources: Sequence[Source] = ablations.sources
    entries = [
        [Entries.of(rows, count) for count in counted] if any(source.donors for source in sources) else []
        for rows, counted in zip(examples.blocks.rows, examples.counted, strict=True)
    ]
    summaries = [
        Summary(
            examples.names,
            n=examples.blocks.n,
            keep=keep,
            metrics=len(examples.metrics),
            donors=source.donors,
            entries=entries,
            components=n_components,
        )
        for source in sources
    ]
    passes = plan(
        n_components, [source.draws + source.probes for source in sources], ablations.most, examples.blocks.together
    )
    sums: list[Tensor] = []
    for block, losses in enumerate(ablations.losses(passes)):
        counted = examples.counted[block]
        for run, differences in _differences(passes, losses, counted):
            summary, draws = summaries[run.kind], sources[run.kind].draws
            if run.draw >= draws:  # beside the constant, of which the sums still hold
                moved = zip(differences, sums, strict=True)
                apart = [value - total[run.components] / draws for value, total in moved]
                summary.given(entries[block], apart, draw=run.draw - draws, components=run.components)
                continue
            # Draws of a kind follow each other, so that one sum per component serves all kinds in turn.
            if run.draw == 0 and run.components.start == 0:
                sums = [values.new_zeros(n_components, *values.shape[1:]) for values in differences]
            for total, values in zip(sums, differences, strict=True):
                total[run.components] += values
            if not sources[run.kind].probes:
                summary.given(entries[block], differences, draw=run.draw, components=run.components)
            if run.draw == draws - 1 and run.components.stop == n_components:
                means = [total / draws for total in sums] if draws > 1 else sums
                summary.own(entries[block], means if sources[run.kind].probes else sums)
                summary.add(means, counted)
        done(1 / len(examples.blocks))
    return summaries


def _differences(
    passes: Sequence[Pass], outputs: Iterator[Losses], counted: Sequence[Counted]
) -> Iterator[tuple[Run, list[Float[Tensor, "some packed task"]]]]:
    """Yields, kind by kind and draw by draw, the paired differences of one block, of some components at a time."""
    unablated: list[Tensor] = []
    for step, losses in zip(passes, outputs, strict=True):
        full = [
            count.pack(values).to(torch.promote_types(values.dtype, torch.float32))
            for count, values in zip(counted, losses, strict=True)
        ]
        # The first lane of the first pass replaces nothing (plan), and is what all others are compared with.
        unablated = unablated or [values[0] for values in full]
        for run in step.runs:
            yield run, [values[run.lanes] - base for values, base in zip(full, unablated, strict=True)]
