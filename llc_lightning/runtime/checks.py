"""Checks of numbers that a user gives."""

import math

from llc_lightning.runtime.errors import SettingError


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
