"""What is known by construction of a run's network: which of its components matter."""

from argparse import ArgumentError
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import lightning as L

from llc_lightning.cli.parser import Parser, sentence
from llc_lightning.runtime.errors import SettingError


@runtime_checkable
class KnowsWhatMatters(Protocol):
    """A module of which it is known by construction which components its answers hear of the input through."""

    def matters(self) -> dict[str, bool]:
        """Returns whether a component matters, by its address; those of which it is not known are not in it."""
        ...


def what_matters(config: Mapping[str, Any]) -> dict[str, bool]:
    """Returns whether each component of the model of a configuration matters, by its address; empty where not known.

    Raises:
        SettingError: If the model cannot be made here.
    """
    if "model" not in config:
        return {}
    # jsonargparse leaves its own types open.
    parser: Any = Parser(allow_abbrev=False, exit_on_error=False)
    parser.add_lightning_class_args(L.LightningModule, "model", subclass_mode=True)
    try:
        # The name until jsonargparse 4.48.
        make: Any = getattr(parser, "instantiate", None) or parser.instantiate_classes
        model: Any = make(parser.parse_object({"model": config["model"]}))["model"]
    except ArgumentError as error:
        raise SettingError(f"its model cannot be made: {sentence(str(error))}") from error
    return model.matters() if isinstance(model, KnowsWhatMatters) else {}
