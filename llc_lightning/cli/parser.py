"""A parser that says what is wrong in one sentence."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, cast

from lightning.pytorch.cli import LightningArgumentParser

from llc_lightning.runtime.errors import nearest

_WORDS = {
    "float": "a finite number",
    "int": "a whole number",
    "str": "text",
    "bool": "true or false",
    "NoneType": "null",
    "Cadence": "a cadence (Every, LogSpaced, AtSteps, AtStart, AtEnd, AnyOf)",
}


class Parser(LightningArgumentParser):
    """Lightning's parser, without pages of usage before an error; the last line on stderr says what is wrong."""

    known_keys: Sequence[str] = ()
    """All keys that a user may give, to name the nearest."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Prints one sentence and exits with 2."""
        if not self.exit_on_error:
            super().error(message, ex)
        sys.stderr.write(f"error: {sentence(message, self.known_keys)}\n")
        sys.exit(2)


def sentence(message: str, keys: Sequence[str] = ()) -> str:
    """Returns what a message of jsonargparse says as one sentence: what was given, what is allowed.

    Args:
        message: The message, of any number of lines.
        keys: The keys that there are.

    Example:
        >>> sentence("unrecognized arguments: --llc.gama 3", ["llc.gamma", "llc.when"])
        "unknown key 'llc.gama'; did you mean 'llc.gamma'? `fit --help` lists all keys."
    """
    if found := re.search(r"unrecognized arguments: (.+)", message):
        names = [word.split("=")[0].lstrip("-") for word in found[1].split() if word.startswith("-")]
        return _unknown_key(names[0], keys) if names else f"{_flat(found[1])!r} is not understood here."
    if found := re.search(r"does not accept option '([^']+)'", message):
        return _unknown_key(found[1], keys)
    found = re.search(r"dot import path string: (\S+)|Import path (\S+) does not correspond to a sub", message)
    if found and "Cadence" not in message:  # which has a sentence of its own
        key = ".init_args.".join(re.findall(r'Parser key "([^"]+)"', message))
        return f"{key} is {found[1] or found[2]}; give the import path of a class that fits there."
    if found := re.match(r'\s*Parser key "([^"]+)":(.*)', message, re.DOTALL):
        return _wrong_value(found[1], found[2])
    return _full_stop(_flat(message))


def _unknown_key(name: str, keys: Sequence[str]) -> str:
    close = " or ".join(repr(key) for key in nearest(name, keys))
    return f"unknown key {name!r}; " + (f"did you mean {close}? " if close else "") + "`fit --help` lists all keys."


def _wrong_value(key: str, reason: str) -> str:
    if found := re.search(r"class_path '([^']+)':\s*(.*?)(?=\n\s*- |\n\s*Given value|\Z)", reason, re.DOTALL):
        return _inside_class(key, found[1], found[2])
    given = re.findall(r"(?:Given|Got) value: (.*)", reason)
    subtypes = re.search(r"Subtypes: \[(.*)\]", reason)
    expected = re.findall(r"Expected (?:a |an )?(.*?)(?:\. Got value|\n|\Z)", reason)
    if given and (subtypes or expected):
        return f"{key} is {given[-1].strip()}; give {_types(subtypes[1] if subtypes else expected[0])}."
    return _full_stop(f"{key}: {_flat(reason)}")


def _inside_class(key: str, path: str, reason: str) -> str:
    name = path.rpartition(".")[2]
    if found := re.search(r"(?:Option|option) '([^']+)' is not accepted|does not accept option '([^']+)'", reason):
        return f"unknown key {key + '.init_args.' + (found[1] or found[2])!r}; {name} has no such argument."
    if found := re.match(r'\s*Parser key "([^"]+)":(.*)', reason, re.DOTALL):
        return _wrong_value(f"{key}.init_args.{found[1]}", found[2])
    return _full_stop(f"{key}: {name}: {_flat(reason)}")


def _types(text: str) -> str:
    """Returns types as a user would name them.

    Example:
        >>> _types("<class 'float'>, list[float], <class 'NoneType'>")
        'a finite number, list[float] or null'
        >>> _types("typing.Literal['batch', 'validation']")
        "'batch' or 'validation'"
    """
    plain = re.sub(r"<class '(?:[\w.]*\.)?(\w+)'>", r"\1", text)
    plain = re.sub(r"typing\.Literal\[([^\]]*)\]|Literal\[([^\]]*)\]", lambda found: found[1] or found[2], plain)
    plain = plain.replace("typing.", "").replace("collections.abc.", "").replace("Sequence[", "list[")
    names = [_WORDS.get(name.strip(), name.strip()) for name in re.split(r",(?![^\[]*\])", plain)]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


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
        return f"{path} is not YAML: {_full_stop(_flat(str(error)))}"
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


def _flat(text: str) -> str:
    return " ".join(text.split())


def _full_stop(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
