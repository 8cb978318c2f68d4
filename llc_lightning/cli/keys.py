"""The measuring callbacks as top-level keys of a configuration; a key without ``when`` is switched off."""

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any, Optional, get_type_hints

from jsonargparse.typing import class_from_function

from llc_lightning.callbacks.base import CALLBACKS, MeasurementCallback
from llc_lightning.callbacks.snapshots import SnapshotCallback
from llc_lightning.cli.parser import Parser
from llc_lightning.runtime.cadence import Cadence
from llc_lightning.runtime.errors import LLCLightningError, SettingError
from llc_lightning.runtime.registry import register_all

register_all("llc_lightning.callbacks")


def add_keys(parser: Parser) -> None:
    """Adds ``snapshots`` and the keys of all measuring callbacks, whose values merge key by key."""
    untyped: Any = parser
    entries = sorted(CALLBACKS.items(), key=lambda item: (item[1].facts.place, item[0]))
    made = {key: measuring(name, key) for name, entry in entries for key in entry.facts.keys}
    for key, make in {"snapshots": snapshots, **made}.items():
        # As add_lightning_class_args does it, without what no file can say, and without the name, which is the key.
        untyped.add_class_arguments(class_of(make), key, skip={"data", "name"}, fail_untyped=False, sub_configs=True)
        parser.callback_keys.append(key)


class_of = cache(class_from_function)  # reads the source of every call that leads to it


def snapshots(when: Cadence | None = None) -> SnapshotCallback:
    """Keeps the weights.

    Args:
        when: The cadence, such as ``{class_path: Every, init_args: {steps: 100}}``; null keeps none.
    """
    return SnapshotCallback(when)


@cache
def measuring(kind: str, key: str) -> Callable[..., MeasurementCallback]:
    """Returns what makes the callback of a kind of measurement from a key: with its arguments, none of which is needed.

    Without ``when`` it makes the callback switched off; with it, what the callback has no default for must be given.

    Args:
        kind: Its name in the table of callbacks.
        key: The key, which becomes the name of the callback.
    """
    entry = CALLBACKS.get(kind)
    callback: Any = entry.item  # whose own arguments are those of its class
    arguments = inspect.signature(entry.item).parameters
    needed = [one.name for one in arguments.values() if one.default is one.empty]

    def make(**given: Any) -> MeasurementCallback:
        if given.get("when") is None:
            return entry.item.off(key)
        for name in needed:
            if given[name] is None:
                raise SettingError(f"{key}.{name} is not given; {entry.facts.needs}.")
        try:
            return callback(**{**given, "name": key})
        except LLCLightningError as error:
            raise SettingError(f"{key}: {error}") from error

    untyped: Any = make
    hints = get_type_hints(entry.item.__init__)
    optional = [_optional(one, hints[name]) for name, one in arguments.items()]
    untyped.__signature__ = inspect.Signature(optional, return_annotation=entry.item)
    untyped.__annotations__ = {one.name: one.annotation for one in optional} | {"return": entry.item}
    untyped.__doc__, untyped.__qualname__ = entry.item.__doc__, key
    return make


def _optional(argument: inspect.Parameter, hint: Any) -> inspect.Parameter:
    """Returns an argument that need not be given."""
    keyword = argument.replace(kind=inspect.Parameter.KEYWORD_ONLY)
    if argument.default is argument.empty:
        return keyword.replace(default=None, annotation=Optional[hint])  # noqa: UP045 - the hint may be any object
    return keyword.replace(annotation=hint)
