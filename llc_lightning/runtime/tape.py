"""A function of tensors as the list of the operations that it does, recorded while it does them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from hashlib import blake2b
from typing import Any, NamedTuple, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from llc_lightning.runtime.digest import tensor_digest

R = TypeVar("R")

_REFUSED = (
    *(torch.Tag.nondeterministic_seeded, torch.Tag.inplace_view),
    *(torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape),
)
_ALLOWED = (torch.ops.aten._local_scalar_dense.default,)  # pyright: ignore[reportPrivateUsage] - read, and noted


class RecordingError(RuntimeError):
    """A function does what a tape cannot do again for other numbers."""


_PRODUCTS = (torch.ops.aten.mm.default, torch.ops.aten.bmm.default, torch.ops.aten.addmm.default)
_PLAIN: Any = torch._C._disabled_torch_function_impl  # pyright: ignore
_MAKE: Any = Tensor._make_wrapper_subclass  # pyright: ignore[reportPrivateUsage, reportUnknownMemberType]


@dataclass(frozen=True, slots=True)
class Ref:
    """A value of a tape, by its number."""

    at: int

    def __repr__(self) -> str:
        """Returns the text that stands for it among arguments."""
        return f"%{self.at}"


class Form(NamedTuple):
    """What is known of a value without its numbers."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype
    device: str
    root: int
    """The value whose memory it has; itself where the memory is its own."""
    known: bool
    """Whether it is the same in every call, as a range of numbers is."""

    @property
    def whole(self) -> bool:
        """Whether each of its numbers has a place of its own, in their order."""
        size = 1
        for length, stride in zip(reversed(self.shape), reversed(self.stride), strict=True):
            if length != 1 and stride != size:
                return False
            size *= length
        return True


@dataclass(frozen=True)
class Step:
    """One operation: its arguments, with references for tensors, and the values that it makes."""

    operation: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    makes: tuple[int, ...] | int
    """Of several results their numbers, -1 for what is no tensor."""

    @property
    def text(self) -> str:
        """Tells it from others: the text of an argument tells 1 from 1.0 and True, and 0.0 from -0.0."""
        return f"{self.operation} {self.args} {self.kwargs}"

    @cached_property
    def made(self) -> tuple[int, ...]:
        """The values that it makes."""
        return (self.makes,) if isinstance(self.makes, int) else tuple(one for one in self.makes if one >= 0)

    @cached_property
    def needs(self) -> tuple[int, ...]:
        """The values that it needs."""
        return tuple(_references([*self.args, *self.kwargs.values()]))


@dataclass
class Tape:
    """The operations of a function in order; they read its arguments, constants, and each other's results."""

    inputs: int
    """The number of the function's tensors; these are the first values."""
    forms: list[Form] = field(default_factory=list["Form"])
    """Of every value."""
    constants: dict[int, Tensor] = field(default_factory=dict[int, Tensor])
    """Tensors that the function holds itself."""
    steps: list[Step] = field(default_factory=list["Step"])
    reads: list[tuple[int, int | float | bool]] = field(default_factory=list["tuple[int, int | float | bool]"])
    """Numbers that the function has read from its values: it may do other things where these are other numbers."""
    outputs: tuple[int, ...] = ()
    """The results, in the order of their leaves."""

    def digest(self, *more: object) -> str:
        """Returns what tells the function from others, by all that it does, its constants included, not by its tensors.

        Args:
            *more: What else to tell apart.
        """
        held = {str(at): constant for at, constant in self.constants.items()}
        lines = [*map(str, self.forms[: self.inputs]), *(f"{step.makes} = {step.text}" for step in self.steps)]
        told = "\n".join([*lines, str(self.reads), str(self.outputs), tensor_digest(held), *map(str, more)])
        return blake2b(told.encode(), digest_size=16).hexdigest()


class Recorded(Tensor):
    """A value while it is recorded: without numbers of its own, so that nothing can look at these unseen."""

    numbers: Tensor
    at: int

    __torch_function__: Any = _PLAIN

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Refuses what happens outside of the recording."""
        raise RecordingError(f"{func} met a recorded tensor outside of the recording.")

    def __deepcopy__(self, memo: object) -> Recorded:
        """Returns itself: a module may keep a value for longer than a recording, and must be copied all the same."""
        return self


def record(function: Callable[..., R], *args: Any) -> tuple[R, Tape]:
    """Returns what ``function`` returns, and what it did.

    All is done once, on the real tensors: recording costs little more than the call. Sizes are those of these
    arguments, and numbers that the function reads are noted; one that writes to tensors or draws random numbers is
    refused.

    Args:
        function: Of trees of tensors; returns one.
        *args: The trees.

    Raises:
        RecordingError: If the function does something that a tape cannot do again for other numbers.
        Exception: Whatever the function meets on tensors that are recorded.
    """
    leaves = [leaf for leaf in tree_flatten(args)[0] if isinstance(leaf, Tensor)]
    recorder = _Recorder(Tape(len(leaves)))
    given = iter([recorder.value(leaf) for leaf in leaves])

    def swapped(leaf: Any) -> Any:
        return next(given) if isinstance(leaf, Tensor) else leaf

    trees = tree_map(swapped, args)
    with torch.no_grad(), recorder:
        result = function(*trees)
    recorder.tape.outputs = tuple(
        recorder.reference(leaf).at for leaf in tree_flatten(result)[0] if isinstance(leaf, Tensor)
    )
    return cast("R", tree_map(_real, result)), recorder.tape


def told_apart(tensor: Tensor) -> Tensor:
    """Returns the tensor; in a recording another value with its memory, so that what reads which of the two shows."""
    return tensor.view_as(tensor) if isinstance(tensor, Recorded) else tensor


@cache
def _known_of(operation: Any) -> tuple[str, bool]:
    """Returns why an operation is refused, or '', and whether its results are known to have memory of their own."""
    own = torch.Tag.pointwise in getattr(operation, "tags", ()) or operation in _PRODUCTS
    return _refusal(operation), own


def _refusal(operation: Any) -> str:
    if operation in _ALLOWED:
        return ""
    schema = getattr(operation, "_schema", None)
    if schema is None or schema.is_mutable:
        return f"{operation} writes to its input"
    if any(tag in operation.tags for tag in _REFUSED):
        return f"{operation} is random, or its result depends on the numbers"
    return ""


_SIMPLE = frozenset({int, float, bool, type(None)})
"""Types of arguments that are noted as they are."""
_ORDINARY = frozenset({Tensor, nn.Parameter, nn.Buffer, Recorded})


class _Recorder(TorchDispatchMode):
    def __init__(self, tape: Tape) -> None:
        super().__init__()  # pyright: ignore[reportUnknownMemberType]
        self.tape = tape
        self._known: dict[int, int] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Returns False: else torch's compiler, which takes a second to import, would wrap every operation."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Does an operation on the real tensors, and notes it."""
        if not _ORDINARY.issuperset(types):
            return NotImplemented  # another kind of tensor, which asks again for what it is made of
        refusal, own = _known_of(func)
        if refusal and not _harmless(func, args):
            raise RecordingError(f"{refusal}.")
        seen: list[Tensor] = []
        noted, real = self._noted(args, seen)
        if func is torch.ops.aten._local_scalar_dense.default:  # pyright: ignore[reportPrivateUsage]
            return self._read(noted[0].at, func(*real))
        named, given = self._noted(kwargs or {}, seen)
        result = func(*real, **given)
        if isinstance(result, Tensor):
            made = self.value(result, seen, own=own)
            self.tape.steps.append(Step(func, noted, named, made.at))
            return made
        results: list[Any] = [*result] if type(result) in (tuple, list) else [result]
        if result is None or not all(one is None or isinstance(one, Tensor) for one in results):
            raise RecordingError(f"{func} returns something that is no tensor.")
        several = [None if one is None else self.value(one, seen) for one in results]
        makes = tuple(-1 if one is None else one.at for one in several)
        self.tape.steps.append(Step(func, noted, named, makes))
        return type(result)(several)

    def _read(self, at: int, number: int | float | bool) -> int | float | bool:
        if not self.tape.forms[at].known:
            self.tape.reads.append((at, number))
        return number

    def value(self, real: Tensor, seen: Sequence[Tensor] | None = None, *, own: bool = False) -> Recorded:
        """Returns a new value: what an operation made of others, or, where it saw none, what was given.

        Args:
            real: Its numbers.
            seen: What the operation saw, whose memory it may have.
            own: Whether it is known to have memory of its own.
        """
        forms, shape, stride = self.tape.forms, real.shape, real.stride()
        value: Recorded = _MAKE(Recorded, shape, stride, real.storage_offset(), dtype=real.dtype, device=real.device)
        root = value.at = len(forms)
        value.numbers = real
        if seen and not own:
            memory = _memory(real)
            owner = next((one for one in seen if _memory(_real(one)) == memory), None)
            root = root if owner is None else forms[self.reference(owner).at].root
        known = seen is not None and all(forms[self.reference(one).at].known for one in seen)
        forms.append(Form(tuple(shape), stride, real.dtype, str(real.device), root, known))
        return value

    def reference(self, tensor: Tensor) -> Ref:
        """Returns the number of a value; what was there before is a constant."""
        if isinstance(tensor, Recorded):
            return Ref(tensor.at)
        if id(tensor) not in self._known:
            constant = self.value(tensor)
            self._known[id(tensor)] = constant.at
            self.tape.constants[constant.at] = tensor  # held, so that no other tensor gets its id
        return Ref(self._known[id(tensor)])

    def _noted(self, value: Any, seen: list[Tensor]) -> tuple[Any, Any]:
        """Returns arguments with references and with the real tensors; adds these to what was seen."""
        if isinstance(value, Recorded):
            seen.append(value)
            return Ref(value.at), value.numbers
        if type(value) in _SIMPLE:
            return value, value
        if isinstance(value, Tensor):
            seen.append(value)
            return self.reference(value), _real(value)
        if isinstance(value, tuple | list):
            several = cast("Sequence[Any]", value)
            if _SIMPLE.issuperset(map(type, several)):
                return several, several
            noted, real = zip(*[self._noted(one, seen) for one in several], strict=True)
            return (noted, real) if isinstance(value, tuple) else (list(noted), list(real))
        if isinstance(value, dict):
            named = {name: self._noted(one, seen) for name, one in cast("dict[str, Any]", value).items()}
            return {name: pair[0] for name, pair in named.items()}, {name: pair[1] for name, pair in named.items()}
        return value, value


def _harmless(operation: Any, args: Sequence[Any]) -> bool:
    """Says whether an operation that may depend on numbers or chance does not with these arguments.

    Entries are taken by their numbers, not by a mask; attention drops nothing.
    """
    if operation is torch.ops.aten.index.Tensor:
        return all(index is None or index.dtype in (torch.int64, torch.int32) for index in args[1])
    place = _dropout_at(operation)
    return place is not None and (place >= len(args) or args[place] == 0)


@cache
def _dropout_at(operation: Any) -> int | None:
    schema = getattr(operation, "_schema", None)
    names = [] if schema is None or schema.is_mutable else [one.name for one in schema.arguments]
    return names.index("dropout_p") if "dropout_p" in names else None


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata  # pyright: ignore[reportPrivateUsage]


def _real(value: Any) -> Any:
    return value.numbers if isinstance(value, Recorded) else value


def _references(values: Sequence[Any]) -> list[int]:
    found: list[int] = []
    for value in values:
        if isinstance(value, Ref):
            found.append(value.at)
        elif isinstance(value, tuple | list):
            found += _references(cast("Sequence[Any]", value))
    return found
