"""Writes every file of ``configs/`` but the overlays, each key with its comment: `python -m configs.source`."""

import textwrap
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from configs.source import comments
from configs.source.experiments import EXPERIMENTS, Experiment
from configs.source.families import LIKE_SNAPSHOTS, Because, Config

FOLDER = Path(__file__).parents[1]
WIDTH = 120


def files() -> dict[Path, str]:
    """Returns the text of every file that follows from the table."""
    return {
        FOLDER / ("smoke" if smoke else "") / f"{name}.yaml": text_of(name, experiment, smoke=smoke)
        for name, experiment in EXPERIMENTS.items()
        for smoke in (False, True)
    }


def text_of(name: str, experiment: Experiment, *, smoke: bool) -> str:
    """Returns the text of an experiment's file, or of its smoke variant's."""
    path = f"configs/{name}.yaml"
    small = f"{path} in small: everything happens, nothing is trained or measured long enough to mean anything. "
    about = small + experiment.family.smoke_hint
    if not smoke:
        about = f"{experiment.about} {experiment.family.hint.format(path=path)}"
    config = experiment.config(name, smoke=smoke)
    told = comments.of_callbacks() | comments.OTHERS
    used = {key.partition(".")[0]: key for key in config}
    groups = [key for key in dict.fromkeys([*comments.OTHERS, *told]) if key in used]
    if stray := [key for group, key in used.items() if group not in groups]:
        raise KeyError(f"{name} has keys of no group: {', '.join(sorted(stray))}")
    head = [*comment(about, 0), *comment("Made by `make configs` from configs/source/experiments.py.", 0)]
    first, second, *others = ["\n".join(lines_of(group, config, told, 0)) for group in groups]
    return "\n\n".join(["\n".join(head), f"{first}\n{second}", *others]) + "\n"


def lines_of(key: str, config: Config, told: dict[str, str], depth: int) -> list[str]:
    """Returns the lines of a key, with its comment above it and what is below it."""
    given = config.get(key)
    value, reason = (given.value, f" Here: {given.reason}.") if isinstance(given, Because) else (given, "")
    name, children = key.rpartition(".")[2], [one for one in config if one.rpartition(".")[0] == key]
    opening = [*comment(told[key] + reason, depth), f"{indent(depth)}{name}:"]
    if not children:
        opening[-1] += f" {scalar(value)}"
    elif value is not None:
        told = told | {f"{key}.{argument}": words for argument, words in comments.of_class(value).items()}
        opening[-1] += " &when" if key == "snapshots.when" else ""
        opening += [f"{indent(depth + 1)}class_path: {value}", f"{indent(depth + 1)}init_args:"]
        depth += 1
    below = [lines_of(one, config, told, depth + 1) for one in sorted(children, key=list(told).index)]
    return [*opening, *chain.from_iterable(below)]


def comment(text: str, depth: int) -> list[str]:
    """Returns the lines of a comment."""
    mark = f"{indent(depth)}# "
    return textwrap.wrap(
        text, WIDTH, initial_indent=mark, subsequent_indent=mark, break_on_hyphens=False, break_long_words=False
    )


def indent(depth: int) -> str:
    """Returns the space before a line."""
    return "  " * depth


def scalar(value: Any) -> str:
    """Returns a value as YAML on one line."""
    if value == LIKE_SNAPSHOTS:
        return value
    return yaml.safe_dump(value, default_flow_style=True, width=1000, sort_keys=False).removesuffix("...\n").strip()


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")
