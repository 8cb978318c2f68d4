"""Effects as paired differences: example by example, against a lane of the same forward pass that ablates nothing."""

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.ablation.engine.editing import Editing
from llc_lightning.ablation.engine.effect import Summary
from llc_lightning.ablation.engine.lanes import Losses
from llc_lightning.ablation.engine.moments import Counted
from llc_lightning.ablation.engine.plan import Pass, plan
from llc_lightning.ablation.engine.replacing import Replacing

Ablations: TypeAlias = Editing | Replacing
"""Some components under some methods, whose ablations share forward passes."""


def measure(ablations: Ablations, *, keep: bool) -> list[Summary]:
    """Returns for every source the differences that it makes on all components.

    Args:
        ablations: What to measure.
        keep: Whether to keep the differences of every example.
    """
    examples, sources, n_components = ablations.examples, ablations.sources, len(ablations.components)
    summaries = [
        Summary(examples.names, n=examples.blocks.n, keep=keep, metrics=len(examples.metrics)) for _ in sources
    ]
    draws = [source.draws for source in sources]
    passes = plan(n_components, draws, ablations.most)
    for block, losses in enumerate(ablations.losses(passes)):
        counted, rows = examples.counted[block], examples.blocks.rows[block]
        for kind, differences in _differences(passes, losses, counted, draws, n_components):
            chosen = sources[kind].counts
            counts = counted if chosen is None else [_also(count, chosen[rows]) for count in counted]
            summaries[kind].add(differences, counts)
    return summaries


def _also(counted: Counted, chosen: Tensor) -> Counted:
    """Returns which losses count among those of chosen examples."""
    rows = chosen.to(counted.mask.device).float()[None, :, None].expand(1, -1, counted.mask.shape[1])
    return Counted(counted.mask & (counted.pack(rows)[0] > 0), counted.index)


def _differences(
    passes: Sequence[Pass],
    outputs: Iterator[Losses],
    counted: Sequence[Counted],
    draws: Sequence[int],
    n_components: int,
) -> Iterator[tuple[int, list[Float[Tensor, "component packed task"]]]]:
    """Yields, kind by kind, the paired differences of one block, averaged over draws in the order of the draws."""
    unablated: list[Tensor] = []
    sums: list[Tensor] = []
    for step, losses in zip(passes, outputs, strict=True):
        full = [
            count.pack(values).to(torch.promote_types(values.dtype, torch.float32))
            for count, values in zip(counted, losses, strict=True)
        ]
        # The first lane of the first pass replaces nothing (plan), and is what all others are compared with.
        if not unablated:
            unablated = [values[0] for values in full]
            sums = [values.new_zeros(n_components, *values.shape[1:]) for values in full]
        for run in step.runs:
            for total, values, base in zip(sums, full, unablated, strict=True):
                difference = values[run.lanes] - base
                # Draws of a kind follow each other, so that one sum per component serves all kinds in turn.
                if run.draw == 0:
                    total[run.components] = difference
                else:
                    total[run.components] += difference
            if run.draw == draws[run.kind] - 1 and run.components.stop == n_components:
                yield run.kind, [total / draws[run.kind] for total in sums]
