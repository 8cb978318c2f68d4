"""The address grammar: ``point``, ``point[unit,unit,...]``, either with ``@position,position,...`` behind."""

from __future__ import annotations

import re
from dataclasses import dataclass

from llc_lightning.runtime.errors import AddressError

_UNIT = r"(?:0|[1-9][0-9]{0,8})"
UNITS = rf"{_UNIT}(?:,{_UNIT})*"
"""Regular expression of the units between the brackets."""

POSITIONS = rf"(?:-[1-9][0-9]{{0,8}}|{_UNIT})(?:,(?:-[1-9][0-9]{{0,8}}|{_UNIT}))*"
"""Regular expression of the positions behind the ``@``; negative ones count from the last."""

_POINT = re.compile(r"[^\[\]*?@+{}]+")
_ADDRESS = re.compile(rf"(?P<point>{_POINT.pattern})(?:\[(?P<index>{UNITS})\])?(?:@(?P<positions>{POSITIONS}))?")


@dataclass(frozen=True)
class Address:
    """A hook point, and the units and positions of it that are meant (``None``: all of them).

    Raises:
        AddressError: If the point is empty or has one of the characters ``[ ] * ? @ + { }``, or the units are not
            different numbers from 0 to 999999999, at least one; positions may be negative as well.

    Example:
        >>> Address.parse("net.hook_hidden[3,5]")
        Address(point='net.hook_hidden', index=(3, 5), positions=None)
        >>> str(Address("net.hook_hidden", (3, 5)))
        'net.hook_hidden[3,5]'
        >>> Address.parse("blocks.0.hook_resid_post@-1").positions
        (-1,)
    """

    point: str
    index: tuple[int, ...] | None = None
    positions: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if _ADDRESS.fullmatch(str(self)) is None or _POINT.fullmatch(self.point) is None:
            raise AddressError(_unreadable(str(self)))
        for what, given in (("unit", self.index), ("position", self.positions)):
            if given is not None and len(set(given)) < len(given):
                raise AddressError(f"the address {str(self)!r} names a {what} twice; name each once.")

    @classmethod
    def parse(cls, text: str) -> Address:
        """Reads an address; printing the result gives ``text`` back.

        Raises:
            AddressError: If the text does not follow the grammar, or names a unit twice.
        """
        match = _ADDRESS.fullmatch(text)
        if match is None:
            raise AddressError(_unreadable(text))
        return cls(match["point"], _numbers(match["index"]), _numbers(match["positions"]))

    def __str__(self) -> str:
        """Returns the text that parses to this address."""
        units = "" if self.index is None else f"[{','.join(map(str, self.index))}]"
        return f"{self.point}{units}{'' if self.positions is None else '@' + ','.join(map(str, self.positions))}"


def _numbers(text: str | None) -> tuple[int, ...] | None:
    return None if text is None else tuple(int(number) for number in text.split(","))


def _unreadable(text: str) -> str:
    return (
        f"cannot read the address {text!r}; write a hook point such as 'net.hook_hidden', or units of it such as "
        "'net.hook_hidden[7]' or 'net.hook_hidden[3,5]': whole numbers from 0, without spaces or leading zeros; "
        "positions of a sequence follow as in 'blocks.0.hook_resid_post@3' or '@-1'."
    )
