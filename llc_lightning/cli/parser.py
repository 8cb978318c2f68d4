"""A parser that says what is wrong in one sentence."""

import re
import sys
from collections.abc import Sequence
from typing import NoReturn

from lightning.pytorch.cli import LightningArgumentParser

from llc_lightning.cli.files import flat, full_stop
from llc_lightning.cli.known import unknown_key

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
        return unknown_key(names[0], keys) if names else f"{flat(found[1])!r} is not understood here."
    if found := re.search(r"does not accept option '([^']+)'", message):
        return unknown_key(found[1], keys)
    found = re.search(r"dot import path string: (\S+)|Import path (\S+) does not correspond to a sub", message)
    if found and "Cadence" not in message:  # which has a sentence of its own
        key = ".init_args.".join(re.findall(r'Parser key "([^"]+)"', message))
        return f"{key} is {found[1] or found[2]}; give the import path of a class that fits there."
    if found := re.match(r'\s*Parser key "([^"]+)":(.*)', message, re.DOTALL):
        return _wrong_value(found[1], found[2])
    return full_stop(flat(message))


def _wrong_value(key: str, reason: str) -> str:
    if found := re.search(r"class_path '([^']+)':\s*(.*?)(?=\n\s*- |\n\s*Given value|\Z)", reason, re.DOTALL):
        return _inside_class(key, found[1], found[2])
    given = re.findall(r"(?:Given|Got) value: (.*)", reason)
    subtypes = re.search(r"Subtypes: \[(.*)\]", reason)
    expected = re.findall(r"Expected (?:a |an )?(.*?)(?:\. Got value|\n|\Z)", reason)
    if given and (subtypes or expected):
        return f"{key} is {given[-1].strip()}; give {_types(subtypes[1] if subtypes else expected[0])}."
    return full_stop(f"{key}: {flat(reason)}")


def _inside_class(key: str, path: str, reason: str) -> str:
    name = path.rpartition(".")[2]
    if found := re.search(r"(?:Option|option) '([^']+)' is not accepted|does not accept option '([^']+)'", reason):
        return f"unknown key {key + '.init_args.' + (found[1] or found[2])!r}; {name} has no such argument."
    if found := re.match(r'\s*Parser key "([^"]+)":(.*)', reason, re.DOTALL):
        return _wrong_value(f"{key}.init_args.{found[1]}", found[2])
    return full_stop(f"{key}: {name}: {flat(reason)}")


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
