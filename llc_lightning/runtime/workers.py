"""The processes that share a measurement: who does what, what all know, and how one failure becomes everybody's.

Every process must make the same calls in the same order, whatever happens; of all methods but ``share``.
"""

import io
import pickle
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

import torch
from jaxtyping import UInt8
from torch import Tensor

from llc_lightning.runtime.errors import LLCLightningError, MeasurementError, SettingError
from llc_lightning.runtime.peers import Peers
from llc_lightning.runtime.signals import ElsewhereError, Stopped

T = TypeVar("T")


@runtime_checkable
class Launched(Protocol):
    """What a Lightning Trainer and a Lightning Fabric both tell about their processes."""

    @property
    def global_rank(self) -> int:
        """The number of this process, from 0."""
        ...

    @property
    def world_size(self) -> int:
        """The number of processes."""
        ...


@dataclass(frozen=True)
class Workers:
    """The processes of a run, seen from one of them; a single process never touches ``torch.distributed``."""

    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world_size:
            raise SettingError(
                f"got rank {self.rank} of {self.world_size} processes; ranks go from 0 to the number of processes - 1."
            )

    @classmethod
    def of(cls, source: Launched | None) -> "Workers":
        """Returns the processes of a Trainer or a Fabric, or this process alone for None.

        Raises:
            SettingError: If there are several processes that cannot talk to each other.
        """
        if source is None:
            return cls()
        if source.world_size > 1:
            from torch import distributed

            if not (distributed.is_available() and distributed.is_initialized()):
                raise SettingError(
                    f"there are {source.world_size} processes but torch.distributed is not initialized; "
                    "use a strategy such as 'ddp', and call launch() first on a Fabric."
                )
        return cls(source.global_rank, source.world_size)

    @property
    def is_zero(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> list[T]:
        """Returns this process's part of the items: a stretch of them, since neighbours often share what they cost.

        The stretches follow one another in the order of the ranks, and differ in length by at most one.
        """
        n, processes = len(items), self.world_size
        return list(items[n * self.rank // processes : n * (self.rank + 1) // processes])

    def collect(self, results: Sequence[T]) -> list[T]:
        """Returns the results of all processes, in the order of the items before ``share``.

        The process that writes gets them; the others get none.
        """
        if self.world_size == 1:
            return list(results)
        mine = self.jointly(lambda: torch.empty(0, dtype=torch.uint8) if self.is_zero else packed(list(results)))
        others = self.bring(mine)
        return self.on_zero(lambda: [*results, *(result for other in others for result in unpacked(other))]) or []

    def gather(self, obj: T) -> list[T]:
        """Returns the objects of all processes in the order of their ranks, on every process."""
        if self.world_size == 1:
            return [obj]
        from torch import distributed

        gathered: list[T] = [obj] * self.world_size
        with _told_if_lost():
            distributed.all_gather_object(gathered, obj, group=_group())  # pyright: ignore[reportUnknownMemberType]
        return gathered

    def bring(self, mine: UInt8[Tensor, "bytes"]) -> list[UInt8[Tensor, "others"]]:
        """Returns the bytes of the others, in the order of their ranks, on the first process; none on these."""
        sizes = self.gather(len(mine))[1:]
        others = self.on_zero(lambda: [mine.new_empty(size) for size in sizes]) or []
        from torch import distributed

        untyped: Any = distributed
        with _told_if_lost():
            for rank, other in enumerate(others, start=1):
                untyped.recv(other, src=rank, group=_group())
            if not self.is_zero:
                untyped.send(mine, dst=0, group=_group())
        return others

    def largest(self, *numbers: int) -> list[int]:
        """Returns the largest of each of the numbers of all processes, on every process."""
        if self.world_size == 1:
            return list(numbers)
        from torch import distributed, int32, tensor

        untyped: Any = distributed
        largest = tensor(numbers, dtype=int32)
        with _told_if_lost():
            untyped.all_reduce(largest, op=distributed.ReduceOp.MAX, group=_group())
        return [int(number) for number in largest]

    def take_from_zero(self, tensors: Iterable[Tensor]) -> None:
        """Gives contiguous tensors of the CPU, the same everywhere but for values, those that the first process has."""
        from torch import distributed, uint8

        untyped: Any = distributed
        with _told_if_lost():
            for tensor in tensors:
                # As bytes, since gloo lacks some types.
                untyped.broadcast(tensor.view(-1).view(uint8), src=0, group=_group())

    def agree(self, error: BaseException | None) -> None:
        """Raises on every process if a measurement failed on any of them; must come before any other collective.

        Args:
            error: What went wrong on this process, None if nothing did.

        Raises:
            MeasurementError: If any process gave an error; with the same message on every process.
            Stopped: If any process has got a signal.
            LostError: If a process is lost.
        """
        self.meet(failed=error is not None and not isinstance(error, Stopped | ElsewhereError))
        told = self.gather(_told(error))
        stops = [each for each in told if isinstance(each, int)]
        if stops:
            raise Stopped(max(stops)) from error
        failed = [(rank, each) for rank, each in enumerate(told) if isinstance(each, str)]
        if not failed:
            return
        failed = [one for one in failed if one[1]] or [(failed[0][0], "it was told of a failure that no rank tells")]
        cause = error.__cause__ if isinstance(error, MeasurementError) and error.__cause__ else error
        if self.world_size == 1:
            raise MeasurementError(failed[0][1]) from cause
        raise MeasurementError("; ".join(f"rank {rank}: {sentence}" for rank, sentence in failed)) from cause

    def jointly(self, do: Callable[[], T]) -> T:
        """Returns what ``do`` returns on this process, once it is known to have worked on every process.

        Raises:
            MeasurementError: If it raised on any process; with the same message on every process.
        """
        outcome, error = None, None
        try:
            outcome = do()
        except KeyboardInterrupt:
            raise
        except BaseException as raised:  # also what would end this process, which the others wait for
            error = raised
        self.agree(error)
        return cast("T", outcome)

    def on_zero(self, do: Callable[[], T]) -> T | None:
        """Returns what ``do`` returns on the process that writes, None on the others.

        Raises:
            MeasurementError: If it raised; with the same message on every process.
        """
        return self.jointly(lambda: do() if self.is_zero else None)

    def meet(self, *, failed: bool = False) -> None:
        """Waits until every process has come here, however slow it is, unless one is lost.

        Args:
            failed: Whether this one has failed.

        Raises:
            LostError: If a process is lost.
        """
        if self.world_size == 1:
            return
        if failed:
            self.fail()
        peers_of(self).meet()

    def fail(self) -> None:
        """Tells the others, who are at work, that this one has failed: they do not finish; no collective."""
        if self.world_size > 1 and _PEERS:
            _PEERS[0][1].failed()

    def barrier(self) -> None:
        """Waits until every process has come here."""
        self.gather(None)


def packed(value: object) -> UInt8[Tensor, "bytes"]:
    """Returns a value as bytes; of tensors nothing but their own, and equal ones once."""
    buffer = io.BytesIO()
    _Packer(buffer, pickle.HIGHEST_PROTOCOL).dump(value)
    return torch.frombuffer(bytearray(buffer.getbuffer()), dtype=torch.uint8)


def unpacked(value: UInt8[Tensor, "bytes"]) -> Any:
    """Returns what was packed; by this run's own processes alone."""
    return pickle.loads(value.numpy().data)  # noqa: S301


class _Packer(pickle.Pickler):
    """Writes a tensor as its bytes: pickle alone would write all that it is a view of, as an archive of its own."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._written: dict[bytes, bytes] = {}

    def reducer_override(self, obj: object) -> Any:
        """Returns how a tensor is made again; pickle writes the same bytes once."""
        if not isinstance(obj, Tensor):
            return NotImplemented
        content = obj.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
        return _tensor, (self._written.setdefault(content, content), obj.dtype, tuple(obj.shape))


def _tensor(content: bytes, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    return torch.frombuffer(bytearray(content), dtype=dtype).view(shape) if content else torch.empty(shape, dtype=dtype)


def _told(error: BaseException | None) -> str | int | None:
    """Returns what a process tells of how its part ended: a sentence, or the signal that it stops for."""
    if isinstance(error, Stopped):
        return error.number
    if isinstance(error, ElsewhereError):
        return ""  # the one that has failed tells why, and nobody goes on without a result
    return None if error is None else one_sentence(error)


_PEERS: list[tuple[Any, Peers]] = []
"""The group of processes that torch knows, and what watches it."""
_GROUPS: list[tuple[Any, Any]] = []
"""The group of processes that torch knows, and the same as they talk through the memory of the CPU."""


def peers_of(workers: Workers) -> Peers:
    """Returns what watches the processes; every process must call it at the same place first."""
    from torch import distributed

    world: Any = distributed.group.WORLD
    if not _PEERS or _PEERS[0][0] is not world:
        for _, old in _PEERS:
            old.leave()
        _PEERS[:] = [(world, Peers(workers.rank, workers.world_size, lambda place: workers.gather(place)[0]))]
    return _PEERS[0][1]


def leave_peers() -> None:
    """Watches the other processes no longer: this one has nothing more to do with them."""
    for _, peers in _PEERS:
        peers.leave()
    _PEERS.clear()


def _group() -> Any:
    """Returns the group of processes; a second one where the first talks through GPUs, which such talk would stop."""
    from torch import distributed

    untyped: Any = distributed
    world: Any = distributed.group.WORLD
    if not _GROUPS or _GROUPS[0][0] is not world:
        _GROUPS[:] = [(world, world if distributed.get_backend() == "gloo" else untyped.new_group(backend="gloo"))]
    return _GROUPS[0][1]


@contextmanager
def _told_if_lost() -> Generator[None]:
    """Says which process is lost where torch only says that it cannot be reached."""
    try:
        yield
    except RuntimeError as error:
        if not _PEERS:
            raise
        raise _PEERS[0][1].why(error) from error


def one_sentence(error: BaseException) -> str:
    """Returns one sentence: our own errors speak for themselves, others are named."""
    return str(error) if isinstance(error, LLCLightningError) else f"{type(error).__name__}: {error}"
