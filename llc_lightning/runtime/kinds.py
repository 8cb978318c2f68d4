"""Kinds of components: one record of each, for listing a module's components as for reading the rows about them.

A kind is the word in the column ``kind``. The records stand in ``components/kinds/``, where a new file is a new kind.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from llc_lightning.runtime.registry import Registry

Level: TypeAlias = Literal["model", "layers", "units", "parts", "joined"]
"""How tables and figures take a kind. ``model``: the whole network; ``layers``: all units of one hook point, in figures
of their own; ``units``: one unit of a hook point; ``parts``: anything else that stands for the units where none were
measured; ``joined``: what no figure of single components shows, such as pairs."""

Lister: TypeAlias = Callable[[Any, str], list[Any]]
"""Returns the components that a text names, of a :class:`~llc_lightning.components.inventory.Listing`."""


@dataclass(frozen=True)
class HookName:
    """Names of hook points, as libraries give them, that tell the kind of what lies there."""

    pattern: str
    """Regular expression of the end of the path, from a dot on."""
    unit_axis: int = -1
    """Axis of the units in the activation, counted from the end."""
    grouped: bool = False
    """Whether a unit is a group of neighbouring features, as a head is where heads stand side by side."""
    output: bool = False
    """Whether this is what the units say to the rest of the network: what words such as ``heads`` mean."""
    size: str = ""
    """The name in ``cfg`` of their number here, where a net has another number of them than of the kind."""


@dataclass(frozen=True)
class KindFacts:
    """What is known about a kind of component."""

    plural: str
    """What tables and figures call several."""
    level: Level
    written: tuple[str, ...]
    """Examples of how users write it."""
    order: int = 100
    """Of units: their place among the units of a table, the most telling first; figures of units show the first."""
    word: str = ""
    """The word that names all that a module has of it; '' for none."""
    wider: str = ""
    """A word of another kind that names these too; '' for none."""
    form: str = ""
    """Regular expression of its own addresses; '' for a kind that is addressed by hook points and their units."""
    whole: str = "layer"
    """The kind of all units of a hook point together, where its name tells that its units are of this kind."""
    size: str = ""
    """The name in ``cfg`` of the number of units, '' where there is none."""
    called: str = ""
    """What sentences and figures call one; '' for the name of the kind."""
    hooks: tuple[HookName, ...] = ()
    """The hook points whose names tell that they have such units, or that all of their units together are this kind."""

    def names(self, text: str) -> bool:
        """Says whether a text is the kind's word or has its form."""
        return text == self.word != "" or (self.form != "" and re.fullmatch(self.form, text, re.DOTALL) is not None)


KINDS: Registry[Lister | None, KindFacts] = Registry(
    "kind of component", KindFacts, rooms=("llc_lightning.components.kinds",)
)
"""All kinds; what is registered lists the components that a kind's word or form names, None where it has neither."""


def level_of(kind: str) -> Level:
    """Returns how tables and figures take a kind; one that is not registered is taken as ``parts``.

    Example:
        >>> level_of("head"), level_of("layer"), level_of("pair"), level_of("my_own")
        ('units', 'layers', 'joined', 'parts')
    """
    return KINDS.get(kind).facts.level if kind in KINDS else "parts"


def plural(kind: str) -> str:
    """Returns what several components of a kind are called.

    Example:
        >>> plural("head")
        'heads'
    """
    return KINDS.get(kind).facts.plural if kind in KINDS else f"{kind}s"


def called(kind: str) -> str:
    """Returns what one component of a kind is called.

    Example:
        >>> called("head"), called("neuron_in")
        ('head', 'neuron')
    """
    return (KINDS.get(kind).facts.called if kind in KINDS else "") or kind


def at_level(level: Level) -> tuple[str, ...]:
    """Returns the kinds of a level in their order.

    Example:
        >>> at_level("units")[:5]
        ('neuron', 'channel', 'head', 'neuron_in', 'channel_in')
    """
    facts = {name: entry.facts for name, entry in KINDS.items()}
    return tuple(sorted((name for name in facts if facts[name].level == level), key=lambda name: facts[name].order))
