"""A trial: a little of everything is measured before anything is trained, so that what cannot be is told at once."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from llc_lightning.circuits.edge import ARROW
from llc_lightning.components.component import Component
from llc_lightning.measure.measurements import Failed, Plan, apart, components_at, measurement_of
from llc_lightning.measure.snapshot import Snapshot
from llc_lightning.runtime.batches import Batch, n_examples, take
from llc_lightning.runtime.progress import silent
from llc_lightning.runtime.workers import one_sentence

FEW = 8
"""Examples that a trial measures on, at most."""
_SHOWN = 3


def trial(plan: Plan, snapshot: Snapshot) -> str:
    """Returns in one sentence what of a plan cannot be measured, and why; '' if all can.

    The loss is computed once, and what the plan measures is measured as little as it can be: of one component of each
    kind at each hook point, on the first few examples, whatever comes of it. It leaves no trace, and needs no other
    process.

    Args:
        plan: What is to be measured.
        snapshot: Where.
    """
    few = replace(snapshot, data=take(snapshot.data, torch.arange(min(FEW, n_examples(snapshot.data)))))
    kind = measurement_of(plan)
    small: Any = kind.small(plan).fitted(n_examples(few.data))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numbers that nobody will see
        try:
            with torch.no_grad():
                few.loss(few.params, few.data)
            components = _one_of_each(components_at(plan, few))
            kind.once(small, few)
        except Exception as error:  # of whatever the module and torch raise
            return one_sentence(error).rstrip(".") + _mismatch(few)

        def measured(some: list[Component]) -> Sequence[Any]:
            return kind.measure(small, few, some, replicate=0, advance=silent, memory=kind.memory())

        return _told([each for each in apart(measured, components) if isinstance(each, Failed)])


def _one_of_each(components: Sequence[Component]) -> list[Component]:
    """Returns the first component of each kind at each hook point: the others fail or work with it.

    Of edges also the first that leads to each.
    """
    found: dict[tuple[str, ...], Component] = {}
    for one in components:
        weights = () if one.point else (one.address,)
        found.setdefault((one.kind, *(part.point for part in one.members), *weights), one)
        _, arrow, reader = one.address.partition(ARROW)
        if arrow:
            found.setdefault((arrow, reader.partition("[")[0]), one)
    return list({one.address: one for one in found.values()}.values())


def _told(failed: Sequence[Failed]) -> str:
    if not failed:
        return ""
    reasons: dict[str, list[str]] = {}
    for each in failed:
        reasons.setdefault(each.told, []).append(each.component.address)
    shown = [f"{', '.join(some[:_SHOWN])}: {told.rstrip('.')}" for told, some in list(reasons.items())[:_SHOWN]]
    more = f"; and {len(reasons) - _SHOWN} more" if len(reasons) > _SHOWN else ""
    remedy = "; leave it out of components=, or give on_error='skip' to have the rows of the rest"
    return "; ".join(shown) + more + remedy


def _mismatch(snapshot: Snapshot) -> str:
    """Returns that examples and weights are of two precisions, where they are: torch says it of matrices."""
    data = {tensor.dtype for tensor in _tensors(snapshot.data) if tensor.is_floating_point()}
    weights = {tensor.dtype for tensor in snapshot.params.values() if tensor.is_floating_point()}
    if not data or not weights or data & weights:
        return ""
    one, other = (str(sorted(map(str, some))[0]).removeprefix("torch.") for some in (data, weights))
    return f" (the examples are of precision {one}, the weights of {other}: convert the examples)"


def _tensors(data: Batch) -> Iterator[Tensor]:
    if isinstance(data, Tensor):
        yield data
    else:
        yield from data.values() if isinstance(data, Mapping) else data
