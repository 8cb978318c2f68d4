"""The name of a connection: who writes, and who reads it."""

from __future__ import annotations

from dataclasses import dataclass

from llc_lightning.components.address import Address
from llc_lightning.runtime.errors import AddressError

ARROW = " -> "


@dataclass(frozen=True, order=True)
class Edge:
    """A connection from one part of a network to another, each named by its address.

    Raises:
        AddressError: If a side is no address, or several joined by ``+``.

    Example:
        >>> Edge.parse("net.blocks.0.attn.hook_z[1] -> net.blocks.1.attn.hook_k[2]").reader
        'net.blocks.1.attn.hook_k[2]'
        >>> str(Edge("net.hook_embed", "net.blocks.0.attn.hook_q[3]"))
        'net.hook_embed -> net.blocks.0.attn.hook_q[3]'
    """

    sender: str
    """Whose output is meant; with ``@`` and positions behind it at these alone."""
    reader: str
    """Who hears it."""

    def __post_init__(self) -> None:
        for side in (self.sender, self.reader):
            for part in side.split("+"):
                Address.parse(part)
        if ARROW.strip() in self.sender + self.reader:
            raise AddressError(_unreadable(str(self)))

    @classmethod
    def parse(cls, text: str) -> Edge:
        """Reads an edge; printing the result gives ``text`` back.

        Raises:
            AddressError: If the text is not two addresses with an arrow between them.
        """
        sides = text.split(ARROW)
        if len(sides) != 2:
            raise AddressError(_unreadable(text))
        return cls(*sides)

    def __str__(self) -> str:
        """Returns the text that parses to this edge."""
        return f"{self.sender}{ARROW}{self.reader}"


def _unreadable(text: str) -> str:
    return (
        f"cannot read the edge {text!r}; write sender and reader with an arrow between them, as in "
        "'net.blocks.0.attn.hook_z[1] -> net.blocks.1.attn.hook_k[2]'."
    )
