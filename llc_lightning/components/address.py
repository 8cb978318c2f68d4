"""The address grammar: ``point`` or ``point[unit,unit,...]``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from llc_lightning.runtime.errors import AddressError

_UNIT = r"(?:0|[1-9][0-9]{0,8})"
UNITS = rf"{_UNIT}(?:,{_UNIT})*"
"""Regular expression of the units between the brackets."""

_POINT = re.compile(r"[^\[\]*?]+")
_ADDRESS = re.compile(rf"(?P<point>{_POINT.pattern})(?:\[(?P<index>{UNITS})\])?")


@dataclass(frozen=True)
class Address:
    """A hook point, and the units of it that are meant (``None``: all of them).

    Raises:
        AddressError: If the point is empty or has one of the characters ``[ ] * ?``, or the units are not different
            numbers from 0 to 999999999, at least one.

    Example:
        >>> Address.parse("net.hook_hidden[3,5]")
        Address(point='net.hook_hidden', index=(3, 5))
        >>> str(Address("net.hook_hidden", (3, 5)))
        'net.hook_hidden[3,5]'
    """

    point: str
    index: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if _ADDRESS.fullmatch(str(self)) is None or _POINT.fullmatch(self.point) is None:
            raise AddressError(_unreadable(str(self)))
        if self.index is not None and len(set(self.index)) < len(self.index):
            raise AddressError(f"the address {str(self)!r} names a unit twice; name each once.")

    @classmethod
    def parse(cls, text: str) -> Address:
        """Reads an address; printing the result gives ``text`` back.

        Raises:
            AddressError: If the text does not follow the grammar, or names a unit twice.
        """
        match = _ADDRESS.fullmatch(text)
        if match is None:
            raise AddressError(_unreadable(text))
        units = match["index"]
        return cls(match["point"], None if units is None else tuple(int(unit) for unit in units.split(",")))

    def __str__(self) -> str:
        """Returns the text that parses to this address."""
        return self.point if self.index is None else f"{self.point}[{','.join(map(str, self.index))}]"


def _unreadable(text: str) -> str:
    return (
        f"cannot read the address {text!r}; write a hook point such as 'net.hook_hidden', or units of it such as "
        "'net.hook_hidden[7]' or 'net.hook_hidden[3,5]': whole numbers from 0, without spaces or leading zeros."
    )
