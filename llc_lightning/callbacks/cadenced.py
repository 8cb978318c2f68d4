"""A callback that acts at the moments that a cadence names, once each, across accumulation and resume."""

from abc import ABC, abstractmethod
from typing import Any, Literal, TypeAlias, TypeVar, cast

import lightning as L

from llc_lightning.results.files import checked_name
from llc_lightning.runtime.cadence import Cadence, Clock, Event, Moment
from llc_lightning.runtime.errors import SettingError

At: TypeAlias = Literal["batch", "validation"]
C = TypeVar("C", bound=L.Callback)


class CadencedCallback(L.Callback, ABC):
    """Asks its cadence at every moment of a training, and acts where it is due.

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
        self._max_steps: int | None = None

    @property
    def is_on(self) -> bool:
        """Whether it has a cadence."""
        return self._clock is not None

    @property
    def fired_at(self) -> int:
        """The last step it acted at, also before a resume; -1 if there is none."""
        return -1 if self._clock is None else self._clock.state_dict()["fired"]

    @property
    def state_key(self) -> str:
        """The key of its state in a checkpoint."""
        return f"{type(self).__name__}[{self.name}]"

    def state_dict(self) -> dict[str, Any]:
        """Returns what has been done, in whole numbers."""
        return {} if self._clock is None else dict(self._clock.state_dict())

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues from what has been done; a state saved while the callback was off says nothing."""
        if self._clock is not None and state_dict:
            self._clock.load_state_dict(state_dict)

    @abstractmethod
    def act(self, trainer: L.Trainer, pl_module: L.LightningModule, moment: Moment) -> None:
        """Does what is due; runs on every rank. What it raises leaves the moment due."""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Asks before the first batch."""
        steps = trainer.estimated_stepping_batches if self.is_on else 0
        self._max_steps = int(steps) if 0 < steps < float("inf") else None
        self._ask(trainer, pl_module, "start")

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Asks after a training batch."""
        if self.at == "batch":
            self._ask(trainer, pl_module, "step")

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Asks after a validation that is part of a training."""
        if self.at == "validation" and trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._ask(trainer, pl_module, "validation_end")

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Asks after an epoch."""
        self._ask(trainer, pl_module, "epoch_end")

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Asks at the end."""
        self._ask(trainer, pl_module, "end")

    def _ask(self, trainer: L.Trainer, pl_module: L.LightningModule, event: Event) -> None:
        if self._clock is None:
            return
        # At the end Lightning has counted the last epoch as done.
        epoch = trainer.current_epoch - (1 if event == "end" and trainer.current_epoch > 0 else 0)
        moment = Moment(trainer.global_step, epoch, event, self._max_steps)
        before = self._clock.state_dict()
        if not self._clock.fires(moment):
            return
        try:
            self.act(trainer, pl_module, moment)
        except BaseException:
            # So that a checkpoint written on the way out leaves the moment due.
            self._clock.load_state_dict(before)
            raise


def callbacks_of(trainer: L.Trainer, kind: type[C]) -> list[C]:
    """Returns the trainer's callbacks of one kind."""
    callbacks: list[object] = getattr(trainer, "callbacks", [])
    return [callback for callback in callbacks if isinstance(callback, kind)]
