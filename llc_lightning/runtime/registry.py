"""Named things with frozen metadata: methods, samplers, quantities."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Generic, TypeVar, cast

from llc_lightning.runtime.errors import SettingError, unknown

T = TypeVar("T")
S = TypeVar("S")


@dataclass(frozen=True)
class Entry(Generic[T]):
    """One registered thing and what is known about it."""

    name: str
    item: T
    summary: str
    """One line for tables and ``--help``."""
    source: str
    """Where it comes from: authors, year, arXiv id; '' where there is none."""
    also: tuple[str, ...]
    """What else it is called elsewhere: no names of it here, but messages lead from them to it."""
    metadata: Mapping[str, object]
    """Further facts, read only; the registry's owner says which."""


class Registry(Generic[T]):
    """A table of named things of one kind, filled by decorators when their modules are imported.

    Args:
        kind: What an entry is, as error messages say it: "ablation method", "sampler".

    Example:
        >>> methods: Registry[Callable[[float], float]] = Registry("method")
        >>> @methods.register("zero", summary="replaces by 0", constant=True)
        ... def zero(value: float) -> float:
        ...     return 0.0
        >>> methods.get("zero").metadata["constant"]
        True
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, Entry[T]] = {}

    def register(
        self, name: str, *, summary: str, source: str = "", also: tuple[str, ...] = (), **metadata: object
    ) -> Callable[[S], S]:
        """Returns a decorator that enters a function, class or value under ``name`` and hands it back unchanged.

        Args:
            name: The name users write.
            summary: One line that says what it is or does.
            source: Where it comes from: authors, year, arXiv id.
            also: What else it is called elsewhere, for messages about unknown names.
            **metadata: Further facts, kept read only.

        Raises:
            SettingError: If the name is empty or taken.
        """
        if not name:
            raise SettingError(f"the {self.kind} has an empty name; give it one.")
        if name in self._entries:
            raise SettingError(f"the {self.kind} {name!r} is registered already; choose another name.")

        def enter(item: S) -> S:
            self._entries[name] = Entry(name, cast("T", item), summary, source, also, MappingProxyType(dict(metadata)))
            return item

        return enter

    def get(self, name: str) -> Entry[T]:
        """Returns the entry called ``name``; the registered thing is its ``item``.

        Raises:
            SettingError: If there is none; the message names the nearest ones.
        """
        if not isinstance(cast("object", name), str) or name not in self._entries:
            told = str(name).lower()
            near = [one for one, entry in self._entries.items() if told in entry.also or one in told]
            raise SettingError(unknown(self.kind, name, self._entries, near=near))
        return self._entries[name]

    def names(self) -> tuple[str, ...]:
        """Returns all names, in the order of registration."""
        return tuple(self._entries)

    def items(self) -> tuple[tuple[str, Entry[T]], ...]:
        """Returns all (name, entry) pairs, in the order of registration."""
        return tuple(self._entries.items())

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self._entries)
