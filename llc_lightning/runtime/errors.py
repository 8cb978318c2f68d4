"""The exceptions of the package, the sentences about unknown names, and checks of numbers that a user gives."""

import difflib
import math
from collections.abc import Iterable

_LISTED = 20


class LLCLightningError(ValueError):
    """Base of every error that this package raises on purpose; the message says what was given, allowed and to do."""


class SettingError(LLCLightningError):
    """An argument or a configuration key has a value that is not allowed."""


class AddressError(LLCLightningError):
    """A component address cannot be read, or names nothing in the module."""


class DataError(LLCLightningError):
    """The examples to measure on are not usable."""


class SnapshotError(LLCLightningError):
    """A snapshot of the weights is missing, damaged or of another module."""


class StoreError(LLCLightningError):
    """A run folder or a file in it cannot be read or written."""


class MeasurementError(LLCLightningError):
    """A measurement failed on one of the processes."""


class LostError(LLCLightningError):
    """Another process of the run is lost; nothing can go on without it."""


def nearest(name: str, options: Iterable[str], n: int = 3) -> list[str]:
    """Returns up to ``n`` options that resemble ``name``, the closest first; capitals do not count.

    Example:
        >>> nearest("reasmple", ["zero", "mean", "resample"])
        ['resample']
    """
    known = sorted(set(options))
    close = difflib.get_close_matches(name.lower(), {option.lower() for option in known}, n=n, cutoff=0.6)
    return [option for lower in close for option in known if option.lower() == lower][:n]


def unknown(kind: str, name: object, options: Iterable[str], *, near: Iterable[str] = ()) -> str:
    """Returns the sentence about a name that is not among the options, with the nearest ones and what is allowed.

    Args:
        kind: What the name should have been, such as "ablation method".
        name: What was given.
        options: The allowed names; of a long list only the number is told.
        near: Options that the caller takes to be meant, told before those that resemble the name.

    Example:
        >>> unknown("method", "zeor", ["mean", "zero"])
        "unknown method 'zeor'; did you mean 'zero'? Use one of: mean, zero."
    """
    allowed = sorted(set(options))
    close = list(dict.fromkeys([*near, *nearest(str(name), allowed)]))
    question = f"; did you mean {' or '.join(repr(option) for option in close)}?" if close else "."
    if not allowed:
        return f"unknown {kind} {name!r}; there is none to choose from."
    if len(allowed) > _LISTED:
        shown = ", ".join(allowed[:_LISTED])
        return f"unknown {kind} {name!r}{question} Use one of {len(allowed)} names, among them: {shown}."
    return f"unknown {kind} {name!r}{question} Use one of: {', '.join(allowed)}."


def one_line(error: BaseException) -> str:
    """Returns the message of a foreign error as part of a sentence: one line, no full stop at the end.

    Example:
        >>> one_line(OSError("Invalid  header."))
        'Invalid header'
    """
    return " ".join(str(error).split()).rstrip(".")


def at_least(least: int, /, **numbers: object) -> None:
    """Checks that numbers are whole and not too small.

    Raises:
        SettingError: If one of them is no whole number, or below ``least``.

    Example:
        >>> at_least(1, width=3, depth=1)
    """
    for name, number in numbers.items():
        if not isinstance(number, int) or isinstance(number, bool) or number < least:
            raise SettingError(f"{name} is {number!r}; give an integer of at least {least}.")


def positive(**numbers: object) -> None:
    """Checks that numbers are finite and above 0.

    Raises:
        SettingError: If one of them is not.

    Example:
        >>> positive(learning_rate=1e-3)
    """
    for name, number in numbers.items():
        if _finite(name, number) <= 0:
            raise SettingError(f"{name} is {number!r}; it must be positive.")


def not_negative(**numbers: object) -> None:
    """Checks that numbers are finite and 0 or above.

    Raises:
        SettingError: If one of them is not.

    Example:
        >>> not_negative(gamma=0.0)
    """
    for name, number in numbers.items():
        if _finite(name, number) < 0:
            raise SettingError(f"{name} is {number!r}; it must be at least 0.")


def unless_none(**numbers: object) -> dict[str, object]:
    """Returns those that are not None, to check them.

    Example:
        >>> at_least(1, **unless_none(width=3, depth=None))
    """
    return {name: number for name, number in numbers.items() if number is not None}


def _finite(name: str, number: object) -> int | float:
    if not isinstance(number, int | float) or isinstance(number, bool) or not math.isfinite(number):
        raise SettingError(f"{name} is {number!r}; give a finite number.")
    return number
