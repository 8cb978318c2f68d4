"""How a registered thing with options is written: ``name`` or ``name(option=value,...)``."""

from __future__ import annotations

import re
from dataclasses import MISSING, Field, fields
from typing import Any, TypeVar

from llc_lightning.runtime.errors import SettingError, unknown
from llc_lightning.runtime.registry import Registry

T = TypeVar("T")

_TEXT = re.compile(r"(?P<name>[^()]+)(?:\((?P<options>[^()]*)\))?")
_FLAGS = {"true": True, "false": False}


def spell(name: str, thing: Any) -> str:
    """Returns the text that stands for a dataclass value: its name, with the options that are not the default ones.

    Options come in the order of their fields; those with objects that cannot be written are left out.
    """
    told = [
        f"{one.name}={_text(value)}"
        for one in _options(thing)
        if (value := getattr(thing, one.name)) != one.default and isinstance(value, str | int | float)
    ]
    return f"{name}({','.join(told)})" if told else name


def unspell(text: str, registry: Registry[type[T]]) -> T:
    """Returns the registered thing that a text names, made with the options that the text gives.

    Raises:
        SettingError: If the text cannot be read, the name or an option is unknown, or a value is not allowed.
    """
    match = _TEXT.fullmatch(text.strip())
    if match is None:
        raise SettingError(
            f"cannot read the {registry.kind} {text!r}; write a name such as 'noise', or a name with options such as "
            "'noise(scale=0.5,draws=8)'."
        )
    kind = registry.get(match["name"].strip()).item
    allowed = {one.name: one for one in _options(kind)}
    options: dict[str, Any] = {}
    for pair in filter(None, (match["options"] or "").split(",")):
        name, equals, value = (part.strip() for part in pair.partition("="))
        if not equals or name not in allowed:
            raise SettingError(unknown(f"option of {match['name'].strip()!r}", name, allowed))
        options[name] = _value(value, allowed[name], text)
    return kind(**options)


def _options(thing: Any) -> list[Field[Any]]:
    return [one for one in fields(thing) if one.init]


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def _value(text: str, option: Field[Any], whole: str) -> Any:
    """Reads a value of the type of the option's default."""
    like: Any = "" if option.default is MISSING else option.default
    try:
        if isinstance(like, bool):
            return _FLAGS[text.lower()]
        return int(text) if isinstance(like, int) else float(text) if isinstance(like, float) else text
    except (KeyError, ValueError):
        told = "true or false" if isinstance(like, bool) else "a whole number" if isinstance(like, int) else "a number"
        raise SettingError(f"{whole!r} gives {option.name} the value {text!r}; give {told}.") from None
