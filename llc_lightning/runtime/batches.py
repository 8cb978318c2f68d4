"""The types that rooms exchange, and examples as batches: counting, taking, moving and walking them in chunks."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol, TypeAlias, cast, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.runtime.errors import DataError, at_least

Params: TypeAlias = dict[str, Tensor]
"""Tensors by name, as ``named_parameters()`` spells the names."""

Batch: TypeAlias = Tensor | tuple[Tensor, ...] | list[Tensor] | Mapping[str, Tensor]
"""Examples: tensors that share their leading axis, the example axis. Named tuples stay what they are; what else has
names, such as a ``BatchEncoding`` of transformers, becomes a dict, and reaches the module as :class:`Named`."""


class Named(dict[str, Tensor]):
    """A batch with names, as a module gets it: its tensors are attributes too."""

    def __getattr__(self, name: str) -> Tensor:
        """Returns the tensor of that name."""
        if name in self:
            return self[name]
        raise AttributeError(f"the batch has no {name!r}; it has {', '.join(self)}.")


@runtime_checkable
class LossFn(Protocol):
    """The loss of a network as a pure function of its weights and a batch of examples."""

    def __call__(self, params: Params, batch: Batch, /) -> Float[Tensor, "example"]:
        """Returns the loss of each example, differentiable in ``params``.

        Args:
            params: The weights to evaluate at, by name.
            batch: The examples.
        """
        ...


def without_graph(params: Params) -> Params:
    """Returns copies of the tensors, of which gradients can be taken, and which a loss may write to."""
    return {name: tensor.detach().clone() for name, tensor in params.items()}


def n_weights(params: Params) -> int:
    """Returns how many numbers the tensors hold."""
    return sum(tensor.numel() for tensor in params.values())


_ALLOWED = "a tensor, a tuple or list of tensors, or a dict of tensors"


def n_examples(data: object) -> int:
    """Returns the number of examples of a ``Batch``, after checking that it is one and that its tensors agree.

    Raises:
        DataError: If ``data`` is no tensor, tuple or dict of tensors, or holds no tensor, a tensor without an axis,
            tensors of different leading sizes, or no example.
    """
    sizes: dict[str, int] = {}
    for name, tensor in _named(data):
        if tensor.ndim == 0:
            raise DataError(f"the data's {name} is a scalar; every tensor needs a leading example axis.")
        sizes[name] = tensor.shape[0]
    if not sizes:
        raise DataError(f"the data is empty; give {_ALLOWED} with at least one example.")
    if len(set(sizes.values())) > 1:
        told = ", ".join(f"{name} has {size}" for name, size in sizes.items())
        raise DataError(f"the data's tensors disagree on the number of examples: {told}; give equal leading sizes.")
    size = next(iter(sizes.values()))
    if size == 0:
        raise DataError("the data has 0 examples; give at least 1.")
    return size


def forms(data: Batch) -> dict[str, tuple[int, ...]]:
    """Returns the shape of one example in each of the tensors, by a name for messages.

    Example:
        >>> forms((torch.zeros(4, 2), torch.zeros(4)))
        {'entry 0': (2,), 'entry 1': ()}
    """
    return {name: tuple(tensor.shape[1:]) for name, tensor in _named(data)}


def check_partners(partners: object, data: Batch, *, what: str) -> None:
    """Checks examples that stand beside others: one for each, and of their form.

    Args:
        partners: What is given.
        data: The examples.
        what: What the partners are called, such as "donors".

    Raises:
        DataError: If they are not.
    """
    if not isinstance(partners, Tensor | tuple | list | Mapping):
        raise DataError(f"the {what} are of type {type(partners).__name__}; give {_ALLOWED}, as the examples are.")
    n, given = n_examples(data), n_examples(cast("Batch", partners))
    if n != given:
        raise DataError(f"there are {given} {what} for {n} examples; give one for each.")
    mine, theirs = forms(data), forms(cast("Batch", partners))
    if mine != theirs:
        told = [", ".join(f"{name} of shape {list(shape)}" for name, shape in form.items()) for form in (theirs, mine)]
        raise DataError(f"the {what} hold {told[0]} each, the examples {told[1]}; give the same for both.")


def take(data: Batch, index: Tensor | slice) -> Batch:
    """Returns the examples at ``index`` (a slice gives views), in the same kind of container.

    Example:
        >>> take((torch.arange(4), torch.arange(4) * 10), slice(1, 3))
        (tensor([1, 2]), tensor([10, 20]))
    """
    if isinstance(index, slice):
        return _mapped(data, lambda tensor: tensor[index])
    # index_select is several times faster than advanced indexing, which is much of a small network's step.
    flat = index.reshape(-1)
    return _mapped(
        data, lambda tensor: tensor.index_select(0, flat.to(tensor.device)).view(*index.shape, *tensor.shape[1:])
    )


def to_device(data: Batch, device: torch.device | str) -> Batch:
    """Returns the examples on ``device``; tensors that are there already are not copied."""
    return _mapped(data, lambda tensor: tensor.to(device))


def for_params(data: Batch, params: Params) -> Batch:
    """Returns the examples where the weights are, and with floats of their type, where they all have one.

    A trainer with precision ``bf16-true``, ``16-true`` or ``64-true`` gives a module its examples so; to one of single
    precision examples of NumPy come in double precision, which its weights cannot multiply.
    """
    device = next((tensor.device for tensor in params.values()), None)
    dtypes = {tensor.dtype for tensor in params.values() if tensor.is_floating_point()}
    dtype = dtypes.pop() if len(dtypes) == 1 else None

    def changed(tensor: Tensor) -> Tensor:
        if dtype is not None and tensor.is_floating_point():
            return tensor.to(device, dtype)
        return tensor if device is None else tensor.to(device)

    return _mapped(data, changed)


def chunks(n: int, size: int) -> Iterator[slice]:
    """Yields the slices that cover ``range(n)`` in order, ``size`` at a time; the last may be shorter.

    Raises:
        SettingError: If ``size`` is below 1.

    Example:
        >>> list(chunks(5, 2))
        [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    at_least(1, **{"the chunk size": size})
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def _named(data: object) -> Iterator[tuple[str, Tensor]]:
    if isinstance(data, Tensor):
        members: dict[str, object] = {"tensor": data}
    elif isinstance(data, tuple | list):
        members = {f"entry {i}": member for i, member in enumerate(cast("Sequence[object]", data))}
    elif isinstance(data, Mapping):
        members = {f"entry {key!r}": member for key, member in cast("Mapping[object, object]", data).items()}
    else:
        raise DataError(
            f"the data is of type {type(data).__name__}; give {_ALLOWED}, each with a leading example axis."
        )
    for name, member in members.items():
        if not isinstance(member, Tensor):
            raise DataError(f"the data's {name} is of type {type(member).__name__}; give {_ALLOWED}.")
        yield name, member


def _mapped(data: Batch, change: Callable[[Tensor], Tensor]) -> Batch:
    if isinstance(data, Tensor):
        return change(data)
    if isinstance(data, tuple):
        made = [change(tensor) for tensor in data]
        return type(data)(*made) if hasattr(data, "_fields") else tuple(made)
    if isinstance(data, list):
        return [change(tensor) for tensor in data]
    return {name: change(tensor) for name, tensor in data.items()}


def plain(data: Batch) -> Batch:
    """Returns the examples in a container that torch's transforms know: of those with names, a dict."""
    return _mapped(data, lambda tensor: tensor)
