"""The keys that can be known without importing what they belong to: their classes are read, not run."""

import ast
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from llc_lightning.cli.files import files_of
from llc_lightning.runtime.errors import SettingError, nearest

_CALLBACKS = Path(__file__).parents[1] / "callbacks"
_NEVER = {"self", "data", "name"}
"""Arguments of callbacks that no file can say."""
_OTHERS = {"LastCheckpoint": "last", "Trainer": "trainer"}


def check_keys(argv: Sequence[str]) -> None:
    """Raises where a command or its files give a key that no callback, or no trainer, has.

    What it cannot know, such as the arguments of a user's own module, is left to the parser.

    Raises:
        SettingError: If one does; the message names the nearest.
    """
    known = arguments()
    keys = [f"{group}.{name}" for group, names in known.items() for name in names]
    for key in _given(argv):
        group, _, name = key.partition(".")
        if name and group in known and name.partition(".")[0] not in known[group]:
            raise SettingError(unknown_key(key, keys))


def unknown_key(name: str, keys: Sequence[str]) -> str:
    """Returns the sentence about a key that there is not."""
    close = " or ".join(repr(key) for key in nearest(name, keys))
    return f"unknown key {name!r}; " + (f"did you mean {close}? " if close else "") + "`fit --help` lists all keys."


@cache
def arguments() -> dict[str, frozenset[str]]:
    """Returns the arguments below every key that measures, keeps or trains, such as ``{"snapshots": {"when"}}``."""
    lightning = find_spec("lightning")
    home = Path(str(lightning.origin)).parent if lightning else Path()
    files = [*_CALLBACKS.glob("*.py"), home / "pytorch" / "trainer" / "trainer.py"]
    found = {"snapshots": frozenset({"when"})}
    for one in (one for path in files for one in _classes(path)):
        if names := frozenset(_arguments(one) - _NEVER):
            found |= dict.fromkeys(_keys(one), names)
    return found


def _given(argv: Sequence[str]) -> Iterator[str]:
    """Yields the keys that a command and its files give, to the second level."""
    import yaml

    for word in argv:
        if word.startswith("--"):
            yield word.removeprefix("--").partition("=")[0].rstrip("+")
    for path in files_of(argv):
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        for group, below in _items(content):
            yield from (f"{group}.{name}" for name, _ in _items(below))


def _items(node: Any) -> list[tuple[str, Any]]:
    return list(cast("dict[str, Any]", node).items()) if isinstance(node, dict) else []


def _classes(path: Path) -> list[ast.ClassDef]:
    if not path.is_file():
        return []
    return [node for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.ClassDef)]


def _arguments(one: ast.ClassDef) -> set[str]:
    made = [node for node in one.body if isinstance(node, ast.FunctionDef) and node.name == "__init__"]
    return {each.arg for init in made for each in (*init.args.args, *init.args.kwonlyargs)}


def _keys(one: ast.ClassDef) -> tuple[str, ...]:
    """Returns the keys below which a class has its arguments."""
    if one.name in _OTHERS:
        return (_OTHERS[one.name],)
    for made in one.decorator_list:
        if isinstance(made, ast.Call) and ast.unparse(made.func) == "CALLBACKS.register":
            told = {each.arg: each.value for each in made.keywords}
            return tuple(ast.literal_eval(told["keys"]))
    return ()
