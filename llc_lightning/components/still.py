"""What a copied LightningModule sees of the training: where it stands, and nothing else."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from llc_lightning.components.hooks import submodules
from llc_lightning.runtime.errors import SettingError

_TRAINER = "_trainer"
"""Where a LightningModule keeps its trainer, which a copy of it loses."""


@dataclass(frozen=True)
class StillTrainer:
    """Stands for the trainer of a copied LightningModule: epoch and step as they were, and nothing is logged.

    With it ``current_epoch`` and ``global_step`` of a copy are those of the moment. Whatever else is asked of it is
    refused, since a measurement is a function of the weights, the examples, the epoch and the step alone.
    """

    current_epoch: int
    """Number of the epoch in progress, from 0."""
    global_step: int
    """Optimizer updates done."""
    global_rank: int = 0
    """That of the process that writes, on every process: what is measured must not depend on who measures it."""
    local_rank: int = 0
    """As ``global_rank``."""
    is_global_zero: bool = True
    """As ``global_rank``."""
    logger: None = None
    """Nothing of a measurement belongs into the training's log."""
    loggers: tuple[()] = ()
    """As ``logger``."""
    refusals: list[str] = field(default_factory=list[str], compare=False, repr=False)
    """What was refused, in words: a loss may catch the error and go on with something else."""

    def __getattr__(self, name: str) -> Any:
        """Refuses what a measurement cannot know.

        Raises:
            SettingError: If it is more than Python's own.
        """
        if name.startswith("__"):
            raise AttributeError(name)
        self.refusals.append(
            f"the loss reads trainer.{name}, which a measurement does not know: of the training it knows current_epoch "
            f"and global_step alone; keep what the loss needs in an attribute of the module, or in a buffer if it "
            "changes while training."
        )
        raise SettingError(self.refusals[-1])


def standing(module: nn.Module) -> list[nn.Module]:
    """Returns the parts of a copy that see a trainer, where one is given."""
    return [part for part in module.modules() if _TRAINER in vars(part)]


@contextmanager
def telling_refusals(parts: Sequence[nn.Module]) -> Generator[None]:
    """Raises afterwards what was refused to a loss that caught the error.

    Args:
        parts: Those that may see a trainer.

    Raises:
        SettingError: If anything was refused.
    """
    found: list[Any] = [vars(part).get(_TRAINER) for part in parts]
    trainers = [trainer for trainer in found if isinstance(trainer, StillTrainer)]
    for trainer in trainers:
        trainer.refusals.clear()
    yield
    for told in [told for trainer in trainers for told in trainer.refusals]:
        raise SettingError(told)


def stands_still(module: nn.Module, like: nn.Module) -> None:
    """Gives a copy what it lost of the training that its original is part of.

    Args:
        module: The copy; it is changed in place.
        like: The original.
    """
    originals = submodules(like)
    for path, part in submodules(module).items():
        live: Any = vars(originals[path]).get(_TRAINER) if path in originals else None
        if isinstance(live, StillTrainer):
            vars(part)[_TRAINER] = live
        elif live is not None:
            vars(part)[_TRAINER] = StillTrainer(int(live.current_epoch), int(live.global_step))


def stand_at(module: nn.Module, *, epoch: int, step: int) -> None:
    """Tells a copy, and every LightningModule in it, where the training stands.

    Args:
        module: The copy; it is changed in place.
        epoch: Number of the epoch in progress, from 0.
        step: Optimizer updates done.
    """
    for part in module.modules():
        own: Mapping[str, Any] = vars(part)
        if _TRAINER in own:
            vars(part)[_TRAINER] = StillTrainer(epoch, step)
