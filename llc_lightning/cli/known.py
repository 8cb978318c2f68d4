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
    """Raises where a command or its files give a key that no callback or trainer, model or data module has.

    What it cannot know without running a class, such as arguments that it inherits, is left to the parser.

    Raises:
        SettingError: If one does; the message names the nearest.
    """
    given = list(_given(argv))
    known = arguments()
    keys = [f"{group}.{name}" for group, names in known.items() for name in names]
    for key, _ in given:
        group, _, name = key.partition(".")
        if name and group in known and name.partition(".")[0] not in known[group]:
            raise SettingError(unknown_key(key, keys))
    for above, class_path, names in _of_classes(given):
        for key in (key for key, _ in given if key.startswith(above)):
            if key.removeprefix(above).partition(".")[0] not in names:
                own, has = class_path.rpartition(".")[2], ", ".join(sorted(names)) or "none"
                raise SettingError(f"unknown key {key!r}; {own} has no such argument. Its arguments: {has}.")


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


def _given(argv: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Yields the keys that a command and its files give, to the third level, with what they are given."""
    import yaml

    for word, after in zip(argv, [*argv[1:], ""], strict=True):
        if word.startswith("--"):
            key, told, value = word.removeprefix("--").partition("=")
            yield key.rstrip("+"), value if told else after
    for path in files_of(argv):
        yield from _below(yaml.safe_load(path.read_text(encoding="utf-8")))


def _below(node: Any, above: str = "", levels: int = 3) -> Iterator[tuple[str, Any]]:
    for name, value in cast("dict[str, Any]", node).items() if isinstance(node, dict) and levels else ():
        key = f"{above}{name.rstrip('+')}"  # a list that is gone on with
        yield key, value
        yield from _below(value, f"{key}.", levels - 1)


def _of_classes(given: Sequence[tuple[str, Any]]) -> Iterator[tuple[str, str, frozenset[str]]]:
    """Yields before which keys, of which class, and which arguments: of model and data, where one class is named."""
    for group in ("model", "data"):
        told = {value for key, value in given if key in (group, f"{group}.class_path") and isinstance(value, str)}
        for one in told if len(told) == 1 and all(map(_is_path, told)) else ():  # names alone are resolved later
            if (names := arguments_of(one)) is not None:
                yield f"{group}.init_args.", one, names


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and "." in value


def arguments_of(class_path: str) -> frozenset[str] | None:
    """Returns the arguments of a class by its import path, without importing its file; None where that is not enough.

    Example:
        >>> sorted(arguments_of("llc_lightning.cli.fit.FitCLI") or ())
        ['argv', 'quiet']
    """
    module, _, name = class_path.rpartition(".")
    try:
        spec = find_spec(module)
        found = _classes(Path(str(spec.origin))) if spec else []
    except Exception:  # packages around it are run, and may raise anything; what is wrong itself is told by the import
        return None
    for one in found:
        made = [node for node in one.body if isinstance(node, ast.FunctionDef) and node.name == "__init__"]
        if one.name == name and len(made) == 1 and not (made[0].args.vararg or made[0].args.kwarg):
            return frozenset(_arguments(one) - {"self"})
    return None


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
