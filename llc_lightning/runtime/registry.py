"""Named things with frozen facts: methods, samplers, kinds of measurement."""

from collections.abc import Callable, Iterator
from dataclasses import MISSING, dataclass, fields
from importlib import import_module
from pkgutil import iter_modules
from typing import Generic, TypeVar, cast

from llc_lightning.runtime.errors import SettingError, unknown

T = TypeVar("T")
F = TypeVar("F")
S = TypeVar("S")


@dataclass(frozen=True)
class NoFacts:
    """What is told of things of which nothing but name, summary and source is told."""


@dataclass(frozen=True)
class Entry(Generic[T, F]):
    """One registered thing and what is known about it."""

    name: str
    item: T
    summary: str
    """One line for tables and ``--help``."""
    source: str
    """Where it comes from: authors, year, arXiv id; '' where there is none."""
    also: tuple[str, ...]
    """What else it is called elsewhere: no names of it here, but messages lead from them to it."""
    revision: int
    """Raised whenever a value, an error or a status that it makes changes: rows of two revisions are told apart."""
    facts: F
    """Further facts; the registry's owner says which, as a frozen dataclass."""


class Registry(Generic[T, F]):
    """A table of named things of one kind, filled by decorators when their modules are imported.

    Args:
        kind: What an entry is, as error messages say it: "ablation method", "sampler".
        facts: A frozen dataclass whose fields are the facts that every entry must tell.
        rooms: The packages whose files enter themselves here, for entries that are also read by whoever may not import
            their rooms; they are imported as :func:`register_all` does, one room after the other, until what is asked
            for is there. None where importing is enough.
        revised: Whether an entry's revision enters rows. A table of things whose revision no row would say refuses one.
        apart: Facts that no two entries may share, such as a place.

    Example:
        >>> @dataclass(frozen=True)
        ... class Facts:
        ...     constant: bool
        >>> methods: Registry[Callable[[float], float], Facts] = Registry("method", Facts)
        >>> @methods.register("zero", summary="replaces by 0", constant=True)
        ... def zero(value: float) -> float:
        ...     return 0.0
        >>> methods.get("zero").facts.constant
        True
    """

    def __init__(
        self,
        kind: str,
        facts: type[F],
        *,
        rooms: tuple[str, ...] = (),
        revised: bool = False,
        apart: tuple[str, ...] = (),
    ) -> None:
        self.kind = kind
        self._facts = facts
        self._rooms = rooms
        self._revised = revised
        self._apart = apart
        self._known: dict[str, Entry[T, F]] = {}

    @property
    def _entries(self) -> dict[str, Entry[T, F]]:
        while self._rooms:
            self._import_a_room()
        return self._known

    def _import_a_room(self) -> None:
        room, *rest = self._rooms
        self._rooms = tuple(rest)
        register_all(room)

    def register(
        self,
        name: str,
        *,
        summary: str,
        source: str = "",
        also: tuple[str, ...] = (),
        revision: int = 1,
        **facts: object,
    ) -> Callable[[S], S]:
        """Returns a decorator that enters a function, class or value under ``name`` and hands it back unchanged.

        Args:
            name: The name users write.
            summary: One line that says what it is or does.
            source: Where it comes from: authors, year, arXiv id.
            also: What else it is called elsewhere, for messages about unknown names.
            revision: A whole number from 1 on, raised whenever what it makes changes.
            **facts: The facts that the registry asks for.

        Raises:
            SettingError: If the name is empty or taken, a fact is missing, unknown or another entry's alone, or the
                revision is out of range or would enter no row.
        """
        if not name:
            raise SettingError(f"the {self.kind} has an empty name; give it one.")
        if name in self._known:
            raise SettingError(f"the {self.kind} {name!r} is registered already; choose another name.")
        if type(revision) is not int or revision < 1:
            raise SettingError(f"the {self.kind} {name!r} has revision {revision!r}; give a whole number, at least 1.")
        if revision > 1 and not self._revised:
            raise SettingError(
                f"the {self.kind} {name!r} has revision {revision}, which no row would say; leave it out, and raise "
                "that of the plan, method, sampler, estimator, diagnostic or observable whose rows change."
            )
        told = self._told(name, facts)
        self._check_apart(name, told)

        def enter(item: S) -> S:
            self._known[name] = Entry(name, cast("T", item), summary, source, also, revision, told)
            return item

        return enter

    def _told(self, name: str, facts: dict[str, object]) -> F:
        """Returns the facts as what the registry keeps them in, after checking that they are all there."""
        asked = fields(cast("type[NoFacts]", self._facts))
        needed = [one.name for one in asked if one.default is MISSING and one.default_factory is MISSING]
        lacks = [fact for fact in needed if fact not in facts]
        if lacks:
            told = ", ".join(needed)
            raise SettingError(
                f"the {self.kind} {name!r} does not say {', '.join(lacks)}; register it with all of: {told}."
            )
        names = {one.name for one in asked}
        for fact in facts:
            if fact not in names:
                raise SettingError(unknown(f"fact of the {self.kind} {name!r}", fact, names))
        return self._facts(**facts)

    def _check_apart(self, name: str, told: F) -> None:
        for fact in self._apart:
            mine = getattr(told, fact)
            for holder, entry in self._known.items():
                if getattr(entry.facts, fact) == mine:
                    raise SettingError(
                        f"the {self.kind} {name!r} has {fact} {mine!r}, which {holder!r} has already; choose another."
                    )

    def get(self, name: str) -> Entry[T, F]:
        """Returns the entry called ``name``; the registered thing is its ``item``.

        Raises:
            SettingError: If there is none; the message names the nearest ones.
        """
        if not isinstance(cast("object", name), str) or name not in self:
            told = str(name).lower()
            near = [one for one, entry in self._entries.items() if told in entry.also or one in told]
            raise SettingError(unknown(self.kind, name, self._entries, near=near))
        return self._known[name]

    def names(self) -> tuple[str, ...]:
        """Returns all names, in the order of registration."""
        return tuple(self._entries)

    def items(self) -> tuple[tuple[str, Entry[T, F]], ...]:
        """Returns all (name, entry) pairs, in the order of registration."""
        return tuple(self._entries.items())

    def __contains__(self, name: object) -> bool:
        while name not in self._known and self._rooms:
            self._import_a_room()
        return name in self._known

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self._entries)


def register_all(package: str) -> None:
    """Imports every module and package of a room, in alphabetical order, so that what they register is there.

    Args:
        package: Its full name.
    """
    for found in sorted(iter_modules(import_module(package).__path__), key=lambda found: found.name):
        import_module(f"{package}.{found.name}")
