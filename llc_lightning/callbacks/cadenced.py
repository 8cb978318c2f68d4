"""A callback that acts at the moments that a cadence names, once each, across accumulation and resume."""

import warnings
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any, Literal, TypeAlias, cast

import lightning as L

from llc_lightning.callbacks.frame import frame
from llc_lightning.callbacks.steps import moment_of, validates
from llc_lightning.callbacks.strategies import check_strategy
from llc_lightning.results.files import checked_name
from llc_lightning.runtime.cadence import Cadence, Clock, Event, Moment
from llc_lightning.runtime.errors import SettingError
from llc_lightning.runtime.signals import SIGNALS, Stopped, stop_if_agreed

At: TypeAlias = Literal["batch", "validation"]


class CadencedCallback(L.Callback, ABC):
    """Asks its cadence at every moment of a training, and acts where it is due, on the weights that are trained.

    Where a callback averages weights (EMA, SWA), those that are trained are in the module but for validations and the
    very end. So what is due after a validation is done when every callback has left it, and what is due at the end
    before any callback begins to end: the order of the callbacks does not matter.

    Args:
        when: The cadence; None switches the callback off.
        name: Names the callback's files and its state in checkpoints; callbacks of one trainer need different names.
        at: Look at the cadence after every training batch, or only after every validation.

    Raises:
        SettingError: If the name cannot name a file, ``at`` is unknown, or ``when`` is no cadence.
    """

    def __init__(self, when: Cadence | None, *, name: str, at: At = "batch") -> None:
        if at not in ("batch", "validation"):
            raise SettingError(f"{type(self).__name__} got at={at!r}; use 'batch' or 'validation'.")
        if when is not None and not isinstance(cast("object", when), Cadence):
            raise SettingError(f"{type(self).__name__} got when={when!r}; give a cadence, such as Every(steps=500).")
        self.when = when
        self.name = checked_name("name of a callback", name)
        self.at = at
        self._clock = None if when is None else Clock(when)
        self.is_over = False
        """Whether what the module holds are no longer the weights that are trained."""
        self._validated = False
        """Whether a validation is over that it has not asked for."""
        self._left = -1
        """The epoch whose end it has not asked for, as a signal came; -1 if there is none."""
        self._joined = False

    @property
    def is_on(self) -> bool:
        """Whether it has a cadence."""
        return self._clock is not None

    @property
    def tolerant(self) -> bool:
        """Whether the training is to go on where it cannot act."""
        return False

    @property
    def fired_at(self) -> int:
        """The last step it acted at, also before a resume; -1 if there is none."""
        return -1 if self._clock is None else self._clock.state_dict()["fired"]

    def awaits(self, trainer: L.Trainer) -> bool:
        """Says whether it will act before the next batch, as a validation is over and its cadence asks for it."""
        if self._clock is None or not self._validated or self.is_over:
            return False
        before = self._clock.state_dict()
        due = self._clock.fires(moment_of(trainer, "validation_end"))
        self._clock.load_state_dict(before)
        return due

    @property
    def state_key(self) -> str:
        """The key of its state in a checkpoint."""
        key = f"{type(self).__name__}[{self.name}]"
        return key if self._joined else _StateKey(key)

    def state_dict(self) -> dict[str, Any]:
        """Returns what has been done, in whole numbers, and what a signal has left to be asked for."""
        if self._clock is None:
            return {}
        left = {"validated": 1} if self._validated else {}
        left |= {"epoch": self._left} if self._left >= 0 else {}
        return {**self._clock.state_dict(), **left}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues from what has been done; a state saved while the callback was off says nothing."""
        if self._clock is not None and state_dict:
            self._clock.load_state_dict(state_dict)
            self._validated = bool(state_dict.get("validated", 0))
            self._left = int(state_dict.get("epoch", -1))

    @abstractmethod
    def act(self, trainer: L.Trainer, pl_module: L.LightningModule, moment: Moment) -> None:
        """Does what is due; runs on every rank. What it raises leaves the moment due."""

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Puts the frame around the trainer's callbacks.

        Raises:
            SettingError: If the strategy splits the weights.
        """
        self._joined = True
        if stage == "fit" and self.is_on:
            check_strategy(trainer, self.name)
            frame(trainer)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Asks before the first batch."""
        self.is_over = False
        if trainer.global_step == 0:
            self._validated, self._left = False, -1
        if self.is_on and self.at == "validation" and not validates(trainer):
            warnings.warn(
                f"{self.name} measures after validations (at='validation'), and this training has none: give it a "
                "validation loader and validation_step, or leave out at=.",
                stacklevel=1,
            )
        epoch = self._left if self._left >= 0 else None
        if epoch is not None and self._ask(trainer, pl_module, "epoch_end", epoch=epoch):
            self._left = -1
        # Between two validations the next one is the moment to ask.
        if self.at == "batch" or self._validated or trainer.global_step == 0:
            self._validated = not self._ask(trainer, pl_module, "start", epoch=epoch) and self.at == "validation"

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Asks for the validation before, if there was one.

        Raises:
            Stopped: If a signal came meanwhile: the batch would move the weights, and a checkpoint was written before.
        """
        self._ask_validated(trainer, pl_module)
        stop_if_agreed()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Asks after a training batch."""
        if self.at == "batch":
            self._ask(trainer, pl_module, "step")

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Notes a validation that is part of a training."""
        self._validated = self.at == "validation" and trainer.state.fn == "fit" and not trainer.sanity_checking

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Asks after an epoch."""
        self._ask_validated(trainer, pl_module)
        if not self._ask(trainer, pl_module, "epoch_end"):
            self._left = trainer.current_epoch

    def at_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Asks at the end of the training, before any callback ends.

        Raises:
            Stopped: If a signal came meanwhile.
        """
        self._ask_validated(trainer, pl_module)
        self._ask(trainer, pl_module, "end")
        stop_if_agreed()

    def at_averaged(self, trainer: L.Trainer, pl_module: L.LightningModule, moment: Moment) -> None:
        """Does what is due on the weights that a callback has put into the module when training ended."""

    def _ask_validated(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._validated:
            self._validated = not self._ask(trainer, pl_module, "validation_end")

    def _ask(self, trainer: L.Trainer, pl_module: L.LightningModule, event: Event, *, epoch: int | None = None) -> bool:
        """Acts if it is due, and says whether nothing is left to do: not where a signal ends the training first."""
        if self._clock is None or self.is_over:
            return True
        if SIGNALS.agreed:
            return False
        moment = moment_of(trainer, event)
        moment = moment if epoch is None else replace(moment, epoch=epoch)
        before = self._clock.state_dict()
        due, after = self._clock.fires(moment), self._clock.state_dict()
        if not due:
            return True
        # A step is noted when it is done and kept: a checkpoint that is written meanwhile leaves it due.
        self._clock.load_state_dict(before)
        try:
            self.act(trainer, pl_module, moment)
        except Stopped as stop:
            SIGNALS.agreed = stop.number
            return False
        self._clock.load_state_dict(after)
        return True


class _StateKey(str):
    """The key of a state while a trainer looks through its callbacks: of two callbacks with the same, it says so."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        if isinstance(other, _StateKey) and str(self) == str(other) and self is not other:
            kind, name = str(self).removesuffix("]").split("[")
            raise SettingError(
                f"two callbacks of one trainer are {kind} with name={name!r}; give each a name of its own, such as "
                f"name={name + '_2'!r}."
            )
        return str(self) == other
