"""What stands before and behind all callbacks of a trainer, so that their order does not matter to what is measured."""

import warnings
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import lightning as L
from lightning.pytorch.callbacks import Checkpoint, StochasticWeightAveraging
from lightning.pytorch.utilities import rank_zero_info

from llc_lightning.callbacks.folder import (
    claim_folder,
    continue_training,
    forget_training,
    is_continued,
    run_folder,
    training_of,
    writes,
)
from llc_lightning.callbacks.progress import mend_epochs
from llc_lightning.callbacks.steps import OneSetOfWeights, moment_of
from llc_lightning.callbacks.stop import StopAtSignal
from llc_lightning.components.loss import named_tensors
from llc_lightning.results.claims import TRAINING, Claim, take
from llc_lightning.results.training import abandon_after, check_branch, forks, mark_ended
from llc_lightning.runtime.cadence import Cadence, Moment
from llc_lightning.runtime.digest import tensor_digest
from llc_lightning.runtime.doors import call
from llc_lightning.runtime.errors import SettingError
from llc_lightning.runtime.workers import Workers

C = TypeVar("C")
_KEY = "llc_lightning_training"
_FORKS = "llc_lightning_forks"
"""How often the training had gone back to an earlier step."""


@runtime_checkable
class Framed(Protocol):
    """A callback that the frame tells when a training ends."""

    name: str
    when: Cadence | None
    is_over: bool
    """Whether what the module holds are no longer the weights that are trained."""

    @property
    def tolerant(self) -> bool:
        """Whether the training is to go on where it cannot act."""
        ...

    def at_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Does what is due at the end, on the weights that were trained."""
        ...

    def at_averaged(self, trainer: L.Trainer, pl_module: L.LightningModule, moment: Moment) -> None:
        """Does what is due at the end, on the weights that a callback has put into the module."""
        ...


def frame(trainer: L.Trainer) -> None:
    """Puts the frame around a trainer's callbacks, once; Lightning's own checkpoints stay behind it.

    Raises:
        SettingError: If two callbacks have the same name.
    """
    mend_epochs(trainer)
    framed = _on(trainer)
    names = [callback.name for callback in framed]
    twice = [callback for callback in framed if names.count(callback.name) > 1]
    if twice:
        kinds = " and ".join(type(callback).__name__ for callback in twice[:2])
        raise SettingError(
            f"{kinds} have the same name {twice[0].name!r}, which names their files; give one of them another with "
            "name=."
        )
    if trainer.global_step == 0:
        forget_training(trainer)
    if not callbacks_of(trainer, Before):
        rest = [callback for callback in callbacks_of(trainer, L.Callback) if not isinstance(callback, Checkpoint)]
        before, stops = Before(), callbacks_of(trainer, StopAtSignal)
        checkpoints = [one for one in callbacks_of(trainer, Checkpoint) if not isinstance(one, StopAtSignal)]
        if not stops:
            stops = [StopAtSignal()]
            stops[0].setup(trainer, trainer.lightning_module, "fit")
        # A new list, since Lightning is walking through the present one.
        untyped: Any = trainer
        untyped.callbacks = [before, *rest, After(before), *checkpoints, *stops]


def callbacks_of(trainer: L.Trainer, kind: type[C]) -> list[C]:
    """Returns the trainer's callbacks of one kind."""
    callbacks: list[object] = getattr(trainer, "callbacks", [])
    return [callback for callback in callbacks if isinstance(callback, kind)]


def _on(trainer: L.Trainer) -> list[Framed]:
    return [callback for callback in callbacks_of(trainer, Framed) if callback.when is not None]


@runtime_checkable
class Beginning(Protocol):
    """A callback that has something to do before anything is measured."""

    def at_beginning(self, trainer: L.Trainer) -> None:
        """Does it."""
        ...


@runtime_checkable
class Fired(Protocol):
    """A callback that knows when it has last acted."""

    @property
    def fired_at(self) -> int:
        """The last step, also before a resume."""
        ...


def forget_points(trainer: L.Trainer, step: int) -> None:
    """Tells TensorBoard that points from a step on come again, as its own writer does with ``purge_step``.

    What was logged after the checkpoint that a training goes on from would else be drawn twice.
    """
    from lightning.pytorch.loggers import TensorBoardLogger

    protocol: Any = import_module("tensorboard.compat.proto.event_pb2")  # generated, without types
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            untyped: Any = logger
            begun = protocol.Event(step=step, session_log=protocol.SessionLog(status=protocol.SessionLog.START))
            untyped.experiment._get_file_writer().add_event(begun, step=step)


class Before(L.Callback):
    """Comes before all other callbacks of a trainer: whose folder it is, which step it is, and what is due at the end.

    Raises:
        SettingError: If weights move while the step stands still.
    """

    def __init__(self) -> None:
        self.trained = ""
        """Digest of the weights when the training ended; '' if nothing more is asked of them."""
        self.ended: Moment | None = None
        """When that was; SWA lets Lightning count a step more, which moves no weights."""
        self._steps = OneSetOfWeights()
        self._forks: int | None = None
        self._from: int | None = None
        """The step of the checkpoint that it goes on from."""
        self._claim: Claim | None = None
        """Says to what follows the training that it lasts."""

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Notes which training it is."""
        checkpoint[_KEY] = training_of(trainer)
        checkpoint[_FORKS] = len(forks(run_folder(trainer)))

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Continues the training."""
        continue_training(trainer, str(checkpoint.get(_KEY, "")))
        self._forks, self._from = checkpoint.get(_FORKS), int(checkpoint["global_step"])

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forgets points of later steps, before others log anything, when the training goes on from an earlier one."""
        step, self._from = self._from, None
        if step is not None and writes(trainer):
            first = step + any(each.fired_at == step for each in callbacks_of(trainer, Fired))
            Workers.of(trainer).on_zero(lambda: forget_points(trainer, first))

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Sets aside what the training has left of later steps when it goes on from an earlier one."""
        self.trained, self.ended, self._steps = "", None, OneSetOfWeights()
        self._look(trainer, pl_module)
        if not writes(trainer):
            return
        if is_continued(trainer):
            folder, step, known = claim_folder(trainer), trainer.global_step, self._forks

            def apart() -> None:
                if known is not None:
                    check_branch(folder, step, known)
                abandon_after(folder, step)

            Workers.of(trainer).on_zero(apart)
        for callback in callbacks_of(trainer, Beginning):
            callback.at_beginning(trainer)
        if training_of(trainer):
            place = run_folder(trainer)
            self._claim = Workers.of(trainer).on_zero(lambda: _begun(place))

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Ends what is measured of the trained weights where SWA is about to replace them, one epoch before the end."""
        swa = callbacks_of(trainer, StochasticWeightAveraging)
        if any(trainer.current_epoch == one.swa_end + 1 for one in swa):
            self._end(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Looks whether the step is that of the weights."""
        self._look(trainer, pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Has done what is due at the end."""
        if self.ended is None:
            self._end(trainer, pl_module)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Says that the training is over."""
        self.teardown(trainer, pl_module, "fit")

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Says that the training is over."""
        if self._claim:
            self._claim.release()
        self._claim = None

    def _end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.ended = moment_of(trainer, "end")
        every = _on(trainer)
        for callback in every:
            callback.at_end(trainer, pl_module)
            callback.is_over = True
        if any(callback.when is not None and callback.when.at_end for callback in every):
            self.trained = tensor_digest(named_tensors(pl_module))

    def _look(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        try:
            self._steps.look(trainer, pl_module)
        except SettingError as error:
            if not all(callback.tolerant for callback in _on(trainer)):
                raise
            warnings.warn(str(error), stacklevel=1)


class After(L.Callback):
    """Comes behind all other callbacks of a trainer but those that write checkpoints: the averaged weights, if any."""

    def __init__(self, before: Before) -> None:
        self.before = before

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Says that it has ended, where everything is and what to type next; train.py says more."""
        if training_of(trainer):
            folder = run_folder(trainer)
            if trainer.is_global_zero:
                mark_ended(folder, ended=True)
            rank_zero_info(f"wrote {folder}, next: {call('analyze', 'summary', folder)}")

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Has done what is due at the end on the weights that a callback has put into the module, if one has."""
        trained, ended = self.before.trained, self.before.ended
        if ended is None or not trained or tensor_digest(named_tensors(pl_module)) == trained:
            return
        for callback in _on(trainer):
            if callback.when is not None and callback.when.at_end:
                callback.at_averaged(trainer, pl_module, ended)


def _begun(folder: Path) -> Claim:
    """Returns the claim of a training that begins or goes on, which no other can hold."""
    mark_ended(folder, ended=False)
    return take(folder, TRAINING)
