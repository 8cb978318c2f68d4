"""What each key of a configuration means: the words of the docstrings, and of this file where there is none of ours."""

import importlib
import re
from functools import cache
from typing import Any

from docstring_parser import parse_from_object

from llc_lightning.callbacks.base import CALLBACKS
from llc_lightning.callbacks.last import LastCheckpoint
from llc_lightning.cli.keys import add_keys
from llc_lightning.cli.parser import Parser

OTHERS = {
    "experiment": "Folder of the runs below checkpoints/; each run gets its own version_<n> in it.",
    "seed_everything": "Seed of the weights, the data and every measurement.",
    "budget": "Seconds of measuring for each second of training beside it; what does not fit is left out, and "
    "`analyze.py measure` measures it afterwards; null sets no limit.",
    "trainer": "Keys of Lightning's Trainer.",
    "trainer.accelerator": "The net is too small for a GPU to help.",
    "trainer.max_steps": "Optimizer steps; -1 for no limit but max_epochs.",
    "trainer.max_epochs": "Passes over the training examples; -1 for no limit but max_steps.",
    "trainer.check_val_every_n_epoch": "Epochs between validations.",
    "trainer.gradient_clip_val": "Longest gradient; a longer one is shortened.",
    "trainer.log_every_n_steps": "Training steps between points of the training curve.",
    "trainer.num_sanity_val_steps": "No validation before the first step.",
    "model": "Any LightningModule with per_example_loss(batch), by its import path.",
    "data": "Any LightningDataModule, by its import path; with analysis_set() it also gives the examples to "
    "measure on.",
    "last": "Checkpoints to continue from (--ckpt_path last), written after every measurement, and now and then "
    "between.",
    "snapshots": "The weights, kept so that `analyze.py measure` can measure more of them later.",
    "llc": "The local learning coefficient of the full model and of large parts.",
    "llc_units": "The restricted local learning coefficients of small parts, at settings of their own; the keys "
    "of llc.",
    "ablation": "How much the loss rises without the activation of a component.",
    "ablation.methods": "What to put in its place: zero, mean, resample (the value in another example), noise "
    "(the value with noise), or another of docs/ablation.md; one or several.",
}


@cache
def of_callbacks() -> dict[str, str]:
    """Returns the comments of the keys that measure, such as ``llc.gamma``: what `train.py fit --help` says.

    The comment of a callback's own key is what its docstring begins with.
    """
    parser: Any = Parser()
    add_keys(parser)
    parser.add_lightning_class_args(LastCheckpoint, "last")
    keys = {key: parse_from_object(entry.item) for _, entry in CALLBACKS.items() for key in entry.facts.keys}
    headings = {key: _plain(told.short_description or "") for key, told in keys.items()}
    return {one.dest: _plain(one.help) for one in parser._actions} | headings


@cache
def of_class(path: str) -> dict[str, str]:
    """Returns the comments of a class's arguments, in their order."""
    module, _, name = path.rpartition(".")
    told = parse_from_object(getattr(importlib.import_module(module), name))
    return {one.arg_name: _plain(one.description or "") for one in told.params}


def _plain(text: str) -> str:
    """Returns a docstring's words as a file says them."""
    return re.sub(r"\bNone\b", "null", re.sub(r"(:\w+:)?`+([^`]+)`+", r"\2", " ".join(text.split())))
