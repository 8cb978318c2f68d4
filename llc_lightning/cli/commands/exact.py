"""``analyze.py exact``: known answers with their sources, and what is known about one of them.

The names and their options come from the registry of known answers, which is imported when the command is used.
"""

import argparse
import json
import math
import sys
from argparse import Namespace
from dataclasses import MISSING, Field, asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args, get_origin

from llc_lightning.cli.console import analyze, following, rendered, write
from llc_lightning.cli.options import Options, common, number, whole
from llc_lightning.runtime.errors import SettingError

if TYPE_CHECKING:
    from llc_lightning.exact import KnownAnswer

DOES = "List the known answers, or say what is known about one of them, with its source."
_READERS = {int: whole, float: number}


def add_options(one: Options) -> None:
    """Adds the command's options."""
    from llc_lightning.exact import KNOWN

    _add_output(one)
    names = one.add_subparsers(metavar="NAME", dest="NAME")
    for name, entry in KNOWN.items():
        below = names.add_parser(name, help=entry.summary, description=f"{entry.summary}\n\nSource: {entry.source}")
        for parameter in fields(entry.item):
            _add_parameter(below, parameter)
        for name, text in (("n_beta", "inverse temperature times sample size"), ("gamma", "localisation")):
            below.add_argument(f"--{name}", type=number, metavar="X", help=f"{text}, for the finite value")
        # Given before the name, they must not be taken back by a default behind it.
        _add_output(below, default=argparse.SUPPRESS)


def run(options: Namespace) -> None:
    """Lists the known answers, or says what is known about the named one."""
    found = _about(options) if options.NAME else {"known": _listed()}
    if options.json:
        text = json.dumps(found, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    else:
        text = _as_lines(found) if options.NAME else _as_table(found["known"])
    if options.out is None:
        sys.stdout.write(text)
        return
    write(options.out, text)
    sys.stdout.write(json.dumps({"written": [str(options.out)]}) + "\n" if options.json else f"wrote {options.out}\n")


def _add_output(one: Options, **kwargs: Any) -> None:
    one.add_argument("--out", type=Path, metavar="FILE", help="write there instead of printing", **kwargs)
    common(one, **kwargs)


def _add_parameter(one: Options, parameter: "Field[Any]") -> None:
    kind, inner = parameter.type, get_args(parameter.type)
    settings: dict[str, Any] = {"help": parameter.metadata["help"]}
    if get_origin(kind) is Literal:
        settings |= {"choices": inner}
    elif get_origin(kind) is tuple:
        settings |= {"type": _READERS[inner[0]], "nargs": "+", "metavar": "X"}
    else:
        settings |= {"type": _READERS[kind], "metavar": "X"}  # pyright: ignore[reportArgumentType]
    settings |= {"required": True} if parameter.default is MISSING else {"default": parameter.default}
    one.add_argument(f"--{parameter.name}", **settings)


def _listed() -> list[dict[str, Any]]:
    from llc_lightning.exact import KNOWN

    return [
        {
            "name": name,
            "summary": entry.summary,
            "parameters": [parameter.name for parameter in fields(entry.item)],
            "finite": entry.item.quantity or None,
            "source": entry.source,
        }
        for name, entry in KNOWN.items()
    ]


def _about(options: Namespace) -> dict[str, Any]:
    """Returns everything about one known answer."""
    from llc_lightning.exact import KNOWN

    entry = KNOWN.get(options.NAME)
    answer = _answer(entry.item, options)
    coefficient = answer.coefficient()
    found: dict[str, Any] = {
        "name": entry.name,
        "summary": entry.summary,
        "parameters": asdict(answer),
        "learning_coefficient": float(coefficient.value),
        "fraction": str(coefficient.value),
        "multiplicity": coefficient.multiplicity,
        "half_dimension": coefficient.dimension / 2,
    }
    if (options.n_beta is None) != (options.gamma is None):
        given, missing = ("gamma", "n_beta") if options.n_beta is None else ("n_beta", "gamma")
        raise SettingError(f"--{given} is given without --{missing}; give both, for the finite value, or neither.")
    if options.n_beta is not None:
        value = answer.value(n_beta=options.n_beta, gamma=options.gamma)
        if not math.isfinite(value):
            raise SettingError(f"the numbers are too large or too small: the {answer.quantity} would be {value}.")
        found |= {"n_beta": options.n_beta, "gamma": options.gamma, "quantity": answer.quantity, "value": value}
    return {**found, "source": entry.source}


def _answer(kind: "type[KnownAnswer]", options: Namespace) -> "KnownAnswer":
    given: dict[str, Any] = {parameter.name: getattr(options, parameter.name) for parameter in fields(kind)}
    lists = {name: tuple(cast("list[object]", value)) for name, value in given.items() if isinstance(value, list)}
    return kind(**{**given, **lists})


def _as_table(known: list[dict[str, Any]]) -> str:
    from llc_lightning.report.cells import NONE, Table

    rows = tuple((one["name"], one["summary"], one["finite"] or NONE, one["source"]) for one in known)
    columns = ("name", "loss", "value at finite n_beta", "source")
    text = rendered([], [Table("known", "Known answers", columns, rows)]).lstrip("\n")
    return f"{text}\n{following(analyze('exact', 'reduced-rank', '--help'))}\n"


def _as_lines(found: dict[str, Any]) -> str:
    fraction = f" = {found['fraction']}" if "/" in found["fraction"] else ""
    rows = {
        **found["parameters"],
        "learning coefficient": f"{found['learning_coefficient']:.10g}{fraction}",
        "multiplicity": found["multiplicity"],
        "half the dimension": f"{found['half_dimension']:g}",
    }
    if "value" in found:
        rows[found["quantity"]] = f"{found['value']:.8g} at n_beta {found['n_beta']:g}, gamma {found['gamma']:g}"
    rows["source"] = found["source"]
    width = max(map(len, rows))
    return f"{found['name']}: {found['summary']}\n\n" + "".join(
        f"{name:{width}}  {_shown(value)}\n" for name, value in rows.items()
    )


def _shown(value: object) -> str:
    if not isinstance(value, tuple):
        return str(value)
    return " ".join(str(one) for one in cast("tuple[object, ...]", value)) or "none"
