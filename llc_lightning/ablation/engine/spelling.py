"""How a registered thing with options is written: ``name`` or ``name(option=value,...)``."""

import re
from collections.abc import Iterable
from dataclasses import MISSING, Field, fields
from typing import Any, TypeVar, cast

from llc_lightning.runtime.errors import SettingError, unknown
from llc_lightning.runtime.registry import Registry

T = TypeVar("T")

_TEXT = re.compile(r"(?P<name>[^()]+)(?:\((?P<options>[^()]*)\))?")
_FLAGS = {"true": True, "false": False}


def spell(name: str, thing: Any) -> str:
    """Returns the text that stands for a dataclass value: its name, with the options that are not the default ones.

    Options come in the order of their fields; those with objects that cannot be written are left out.
    """
    options = [
        f"{one.name}={_text(value)}"
        for one in _options(thing)
        if (value := getattr(thing, one.name)) != one.default and isinstance(value, str | int | float)
    ]
    return f"{name}({','.join(options)})" if options else name


def unspell(text: str, registry: Registry[type[T], Any]) -> T:
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
        if not allowed:
            raise SettingError(f"{match['name'].strip()!r} has no options; write it without {match['options']!r}.")
        if not equals:
            meant = f"{match['name'].strip()}({_likely(name, allowed.values())}={name})"
            raise SettingError(
                f"{text!r} gives {name!r} without the name of an option; write it, as in {meant!r}. The options are: "
                f"{', '.join(allowed)}."
            )
        if name not in allowed:
            raise SettingError(unknown(f"option of {match['name'].strip()!r}", name, allowed))
        if name in options:
            raise SettingError(f"{text!r} gives the option {name!r} twice; give it once.")
        options[name] = _value(value, allowed[name], text)
    return kind(**options)


def resolved(given: object, registry: Registry[type[T], Any], *, base: type[T]) -> tuple[T, ...]:
    """Returns the registered things that are meant, a text standing for the thing that it names with its options.

    Args:
        given: A text or an object, or several of them.
        registry: Where names are looked up.
        base: What the objects derive from.

    Raises:
        SettingError: If a name or option is unknown, something is neither text nor object, or two share a name.
    """
    each: list[object] = [given]
    if isinstance(given, Iterable) and not isinstance(given, str):
        each = list(cast("Iterable[object]", given))
    things = tuple(_resolved(one, registry, base) for one in each)
    names: list[str] = [cast("Any", one).name for one in things]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SettingError(f"the {registry.kind} {twice[0]!r} is given twice; give each once.")
    return things


def _resolved(given: object, registry: Registry[type[T], Any], base: type[T]) -> T:
    if isinstance(given, str):
        return unspell(given, registry)
    if isinstance(given, base):
        return given
    if isinstance(given, type) and issubclass(given, base):
        raise SettingError(
            f"the {registry.kind} {given.__name__} is given as a class; give an object, {given.__name__}()."
        )
    names = ", ".join(registry.names())
    raise SettingError(f"{given!r} is no {registry.kind}; give the name of one, or an object. There are: {names}.")


def _options(thing: Any) -> list[Field[Any]]:
    return [one for one in fields(thing) if one.init]


def _likely(value: str, options: Iterable[Field[Any]]) -> str:
    """Returns the option that a value without a name is most likely of: a number of an option that is one."""

    def distance(option: Field[Any]) -> tuple[bool, bool]:
        number = isinstance(option.default, int | float) and not isinstance(option.default, bool)
        return number != value.replace(".", "", 1).isdigit(), option.name == "draws"

    return min(options, key=distance).name


def _text(value: object) -> str:
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _value(text: str, option: Field[Any], whole: str) -> Any:
    """Reads a value of the type of the option's default."""
    like: Any = "" if option.default is MISSING else option.default
    try:
        if isinstance(like, bool):
            return _FLAGS[text.lower()]
        return int(text) if isinstance(like, int) else float(text) if isinstance(like, float) else text
    except (KeyError, ValueError):
        kind = "true or false" if isinstance(like, bool) else "a whole number" if isinstance(like, int) else "a number"
        raise SettingError(f"{whole!r} gives {option.name} the value {text!r}; give {kind}.") from None
