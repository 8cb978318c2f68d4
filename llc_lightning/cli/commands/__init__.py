"""The commands of ``analyze.py``: a file here is the command of its name.

It says what the command does (``DOES``), adds its options, and runs it; it imports nothing heavy until then, so that
``--help`` is there at once.
"""

from argparse import Namespace
from importlib import import_module
from pkgutil import iter_modules
from typing import Protocol, cast, runtime_checkable

from llc_lightning.cli.options import Options
from llc_lightning.runtime.errors import SettingError

FIRST = ("summary", "trajectories", "report")
"""What a reader looks for first; the others follow by name."""


@runtime_checkable
class Command(Protocol):
    """What the file of a command holds."""

    DOES: str
    """One sentence for ``--help``."""

    def add_options(self, one: Options) -> None:
        """Adds its options to a parser."""
        ...

    def run(self, options: Namespace) -> None:
        """Does it."""
        ...


def commands() -> dict[str, Command]:
    """Returns all commands by name."""
    names = sorted(module.name for module in iter_modules(__path__))
    ordered = [*FIRST, *(name for name in names if name not in FIRST)]
    found = {name: import_module(f"{__name__}.{name}") for name in ordered}
    for name, module in found.items():
        if not isinstance(module, Command):
            raise SettingError(f"{module.__name__} is no command {name!r}; give it DOES, add_options and run.")
    return {name: cast("Command", module) for name, module in found.items()}
