"""A model and examples that a user's own script makes, for runs that it trained: ``FILE:FUNCTION``."""

import importlib.util
import sys
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llc_lightning.runtime.errors import SettingError, one_line, unknown


@dataclass(frozen=True)
class Own:
    """What is taken from a user's script instead of a run's configuration; '' where the configuration is to tell."""

    module: str = ""
    data: str = ""

    @classmethod
    def of(cls, options: Namespace) -> "Own":
        """Returns what a command was given."""
        return cls(options.module, options.data)

    @property
    def words(self) -> list[str]:
        """The options again, for the next command."""
        given = {"--module": self.module, "--data": self.data}
        return [word for option, place in given.items() if place for word in (option, place)]

    def made(self) -> dict[str, Any]:
        """Calls the functions, and returns what they give, by the keys of a configuration.

        Raises:
            SettingError: If one cannot be found or called.
        """
        given = {"model": ("--module", self.module), "data": ("--data", self.data)}
        return {key: _call(option, place) for key, (option, place) in given.items() if place}


def _call(option: str, place: str) -> Any:
    """Returns what a function without arguments gives."""
    file, _, name = place.rpartition(":")
    if not (file and name):
        raise SettingError(f"{option} is {place}; give FILE:FUNCTION, such as train_mine.py:make.")
    function = _function(option, Path(file), name)
    try:
        return function()
    except Exception as error:
        raise SettingError(f"{option}: {place} failed with {type(error).__name__}: {one_line(error)}.") from error


def _function(option: str, file: Path, name: str) -> Callable[[], Any]:
    if not file.is_file():
        raise SettingError(f"{option}: there is no file {file}; give FILE:FUNCTION.")
    own = file.stem if file.stem not in sys.modules else f"{file.stem}_of_your_own"
    described = importlib.util.spec_from_file_location(own, file)
    if described is None or described.loader is None:
        raise SettingError(f"{option}: {file} is no Python file; give FILE:FUNCTION.")
    script = importlib.util.module_from_spec(described)
    sys.modules[own] = script  # where dataclasses and pickle look
    home = str(file.resolve().parent)
    sys.path.insert(0, home)  # for what it imports from beside it
    try:
        described.loader.exec_module(script)
    except Exception as error:
        del sys.modules[own]
        raise SettingError(
            f"{option}: {file} cannot be imported: {type(error).__name__}: {one_line(error)}; what it does when it is "
            'run belongs below if __name__ == "__main__".'
        ) from error
    finally:
        sys.path.remove(home)
    functions = {key: value for key, value in vars(script).items() if callable(value) and not key.startswith("_")}
    if name not in functions:
        raise SettingError(f"{option}: {unknown(f'function of {file}', name, functions)}")
    return functions[name]
