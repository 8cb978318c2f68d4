"""Gives a module the weights of a snapshot."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from llc_lightning.components.loss import named_tensors
from llc_lightning.runtime.errors import SnapshotError

_SHOWN = 3


def restore(module: nn.Module, tensors: Mapping[str, Tensor], *, source: str = "the snapshot") -> None:
    """Gives every parameter and buffer of a module its value, and its type, from a snapshot.

    Args:
        module: The module; it is changed in place, on the devices where it is.
        tensors: Parameters and buffers by name, tied ones once, as ``snapshot_params`` returns them.
        source: What the tensors are called in an error, such as a path.

    Raises:
        SnapshotError: If a name is missing or too many, or a shape differs; the module is then unchanged.
    """
    own = named_tensors(module)
    lacks, has = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    shapes = {
        name: (tuple(tensors[name].shape), tuple(tensor.shape)) for name, tensor in own.items() if name in tensors
    }
    differ = [f"{name} has shape {one}, not {other}" for name, (one, other) in shapes.items() if one != other]
    wrong = [
        *([f"it lacks {_some(lacks)}"] if lacks else []),
        *([f"it has {_some(has)} too many"] if has else []),
        *differ,
    ]
    if wrong:
        kind = type(module).__name__
        raise SnapshotError(
            f"{source} is not of this {kind}: {_some(wrong, '; ')}; give the model that it was taken of."
        )
    for name, tensor in own.items():
        tensor.data = tensors[name].to(tensor.device, copy=True)


def _some(names: Sequence[str], between: str = ", ") -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return between.join(names[:_SHOWN]) + more
