"""The processes that share a measurement: who does what, what all know, and how one failure becomes everybody's.

Every process must make the same calls in the same order, whatever happens; of all methods but ``share``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, cast, runtime_checkable

from llc_lightning.runtime.errors import LLCLightningError, MeasurementError, SettingError

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
        """Returns this process's part of the items, which are dealt back and forth: to ranks 0, 1, 1, 0, 0, 1 ...

        Lists begin with the whole model, so its process gets no other large part beside it.
        """
        return [item for number, item in enumerate(items) if self._owner(number) == self.rank]

    def collect(self, results: Sequence[T]) -> list[T]:
        """Returns the results of all processes in the order of the items before ``share``, one result per item."""
        parts = self.gather(list(results))
        left = [iter(part) for part in parts]
        return [next(left[self._owner(number)]) for number in range(sum(map(len, parts)))]

    def _owner(self, number: int) -> int:
        round_, place = divmod(number, self.world_size)
        return place if round_ % 2 == 0 else self.world_size - 1 - place

    def gather(self, obj: T) -> list[T]:
        """Returns the objects of all processes in the order of their ranks, on every process."""
        if self.world_size == 1:
            return [obj]
        from torch import distributed

        gathered: list[T] = [obj] * self.world_size
        distributed.all_gather_object(gathered, obj)  # pyright: ignore[reportUnknownMemberType]
        return gathered

    def agree(self, error: BaseException | None) -> None:
        """Raises on every process if a measurement failed on any of them; must come before any other collective.

        Args:
            error: What went wrong on this process, None if nothing did.

        Raises:
            MeasurementError: If any process gave an error; with the same message on every process.
        """
        told = self.gather(None if error is None else one_sentence(error))
        failed = [(rank, sentence) for rank, sentence in enumerate(told) if sentence is not None]
        if not failed:
            return
        if self.world_size == 1:
            raise MeasurementError(failed[0][1]) from error
        raise MeasurementError("; ".join(f"rank {rank}: {sentence}" for rank, sentence in failed)) from error

    def jointly(self, do: Callable[[], T]) -> T:
        """Returns what ``do`` returns on this process, once it is known to have worked on every process.

        Raises:
            MeasurementError: If it raised on any process; with the same message on every process.
        """
        outcome, error = None, None
        try:
            outcome = do()
        except Exception as raised:
            error = raised
        self.agree(error)
        return cast("T", outcome)

    def on_zero(self, do: Callable[[], T]) -> T | None:
        """Returns what ``do`` returns on the process that writes, None on the others.

        Raises:
            MeasurementError: If it raised; with the same message on every process.
        """
        return self.jointly(lambda: do() if self.is_zero else None)

    def barrier(self) -> None:
        """Waits until every process has come here."""
        self.gather(None)


def one_sentence(error: BaseException) -> str:
    """Returns one sentence: our own errors speak for themselves, others are named."""
    return str(error) if isinstance(error, LLCLightningError) else f"{type(error).__name__}: {error}"
