"""Checks of numbers that a user gives."""

from math import inf, isfinite

from llc_lightning.runtime.errors import SettingError


def at_least(least: int, **numbers: object) -> None:
    """Checks that numbers are whole and not too small; None is left alone.

    Raises:
        SettingError: If one of them is no whole number, or below ``least``.

    Example:
        >>> at_least(1, width=3, depth=None)
    """
    for name, number in numbers.items():
        if number is None:
            continue
        if not isinstance(number, int) or isinstance(number, bool):
            raise SettingError(f"{name} is {number!r}; give a whole number, at least {least}.")
        if number < least:
            raise SettingError(f"{name} is {number}; give at least {least}.")


def above_0(**numbers: float) -> None:
    """Checks that numbers are above 0 and finite.

    Raises:
        SettingError: If one of them is not.

    Example:
        >>> above_0(learning_rate=1e-3)
    """
    for name, number in numbers.items():
        if not 0 < number < inf:
            raise SettingError(f"{name} is {number}; give a number above 0.")


def check_positive(name: str, value: object, *, zero: bool = False) -> None:
    """Raises a SettingError unless a number is finite and positive (or zero, where that is allowed)."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not isfinite(value):
        raise SettingError(f"{name} is {value!r}; give a finite number.")
    if value < 0 or (value == 0 and not zero):
        raise SettingError(f"{name} is {value!r}; it must be {'at least 0' if zero else 'positive'}.")


def check_count(name: str, value: object, least: int) -> None:
    """Raises a SettingError unless a number is an integer of at least ``least``."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise SettingError(f"{name} is {value!r}; give an integer of at least {least}.")
