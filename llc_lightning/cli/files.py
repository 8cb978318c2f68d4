"""Configuration files: found by path or by name, and what is wrong with one, before anything heavy is imported."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

from llc_lightning.runtime.errors import SettingError, unknown

_OPTIONS = ("-c", "--config")
_PACKAGE = Path(__file__).parents[1]


def folder() -> Path:
    """Returns the folder of the configurations that come with the package: in a checkout it lies beside it."""
    installed = _PACKAGE / "configs"
    return installed if installed.is_dir() else _PACKAGE.parent / "configs"


def names() -> list[str]:
    """Returns the names of the configurations that come with the package, such as ``cis`` and ``smoke/cis``."""
    home = folder()
    return sorted(path.relative_to(home).with_suffix("").as_posix() for path in home.rglob("*.yaml"))


def found(given: str) -> Path:
    """Returns the file that a user means: a path, or the name of a configuration that comes with the package.

    Args:
        given: Such as ``mine.yaml``, ``cis``, ``smoke/cis``, or ``configs/cis.yaml`` from any folder.

    Raises:
        SettingError: If there is none.
    """
    path = Path(given)
    if path.is_file():
        return path
    name = given.removeprefix("configs/").removesuffix(".yaml")
    if name in names():
        return folder() / f"{name}.yaml"
    raise SettingError(unknown("configuration", given, names()).rstrip(".") + ", or the path of a YAML file.")


def with_files(argv: Sequence[str]) -> list[str]:
    """Returns the arguments of a command with the path of every configuration instead of its name.

    Raises:
        SettingError: If there is no such configuration, or what is in it cannot be meant.
    """
    words: list[str] = []
    for option, word in zip(["", *argv], argv, strict=False):
        start, given = ("", word) if option in _OPTIONS else ("--config=", word.removeprefix("--config="))
        if not word.startswith(start):
            words.append(word)
            continue
        path = found(given)
        if fault := faulty_file(path):
            raise SettingError(fault)
        words.append(f"{start}{path}")
    return words


def files_of(argv: Sequence[str]) -> list[Path]:
    """Returns the configuration files that a command names."""
    named = [after for option, after in pairwise(argv) if option in _OPTIONS]
    named += [word.removeprefix("--config=") for word in argv if word.startswith("--config=")]
    return [Path(name) for name in named]


def faulty_file(path: Path) -> str | None:
    """Returns what is wrong with a configuration file that a parser would pass over or not say where it is.

    A key that is given twice is wrong, where YAML takes the last; a file that does not exist is left to the parser.
    """
    import yaml

    untyped: Any = yaml
    if not path.is_file():
        return None
    try:
        root: Any = untyped.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = 0 if error.problem_mark is None else error.problem_mark.line + 1
        return f"{path} is not YAML: line {line}: {error.problem}."
    except (OSError, ValueError, yaml.YAMLError) as error:
        return f"{path} is not YAML: {full_stop(flat(str(error)))}"
    if root is None:
        return f"{path} is empty; give at least one key."
    if twice := _twice(root):
        return f"{path} gives the key {twice!r} twice; give it once."
    return _other_seed(path, untyped.safe_load(path.read_text(encoding="utf-8")))


def _other_seed(path: Path, config: Any) -> str | None:
    """Returns which class is given a seed that is not the run's, and would not get it."""
    if not isinstance(config, dict):
        return None
    found = cast("dict[str, Any]", config)
    for key in ("model", "data"):
        described: Any = found.get(key)
        arguments: Any = cast("dict[str, Any]", described).get("init_args") if isinstance(described, dict) else None
        if arguments and arguments.get("seed", found.get("seed_everything", 0)) != found.get("seed_everything", 0):
            return (
                f"{path} gives {key}.init_args.seed, which follows seed_everything; set that, and leave this one out."
            )
    return None


def _twice(node: Any, above: str = "") -> str | None:
    """Returns the first key below a YAML node that comes twice in one mapping."""
    pairs: list[tuple[Any, Any]] = node.value if node.id == "mapping" else []
    items: list[Any] = node.value if node.id == "sequence" else []
    seen: set[str] = set()
    for key, value in pairs:
        name = f"{above}{key.value}"
        if name in seen:
            return name
        seen.add(name)
        if found := _twice(value, f"{name}."):
            return found
    return next((found for item in items if (found := _twice(item, above))), None)


def flat(text: str) -> str:
    """Returns a text on one line."""
    return " ".join(text.split())


def full_stop(text: str) -> str:
    """Returns a text that ends as a sentence does."""
    return text if text.endswith((".", "!", "?")) else f"{text}."
