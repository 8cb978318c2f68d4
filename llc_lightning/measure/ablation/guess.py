"""What ablations take before any was made: a guess from where in the network components are."""

from collections.abc import Sequence
from itertools import accumulate

from llc_lightning.components.component import Component
from llc_lightning.runtime.batches import Params

_LEAST = 0.1
"""What a pass takes at least behind a component, in passes: the loss, and what has no weights."""
_RECORDING, _BLOCK, _RECORDED = 0.03, 256, 0.6
"""Seconds of recording what is replayed behind a hook point, beside so much of a pass over a block of examples."""


def guessed(components: Sequence[Component], params: Params, examples: int, seconds: float) -> float:
    """Returns about how many seconds an ablation of one of some components takes, the first time.

    What lies before a hook point is passed once for all of its components, what lies behind it for each of them; how
    much that is of the network is taken from the weights that are listed from the last of the component's own on.

    Args:
        components: What is ablated.
        params: The weights, in the order of the network, and no buffers.
        examples: How many examples are passed.
        seconds: What a pass takes over these.
    """
    if not components:
        return seconds
    points = {part.point for component in components for part in component.members}
    recording = _RECORDING + _RECORDED * seconds * min(_BLOCK, examples) / examples
    behind = sum(_behind(component, params) for component in components)
    return (seconds * behind + (seconds + recording) * len(points)) / len(components)


def _behind(component: Component, params: Params) -> float:
    """Returns the share of a pass that lies behind a component; all of it where it has no weights to tell."""
    names = {part.parameter for part in component.weights}
    before = [0, *accumulate(params[name].numel() for name in params)]
    first = max((place for place, name in enumerate(params) if name in names), default=0)
    return _LEAST + (1 - _LEAST) * (1 - before[first] / max(before[-1], 1))
