"""Ends a training at a signal, where it can be continued bit for bit and knows what is measured."""

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import lightning as L
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch.callbacks import Checkpoint

from llc_lightning.callbacks.folder import run_folder, save_last, writes
from llc_lightning.callbacks.steps import is_at_end, is_within_step, nothing_follows
from llc_lightning.runtime.errors import StoreError, one_line
from llc_lightning.runtime.peers import Child
from llc_lightning.runtime.signals import SIGNALS, Stopped
from llc_lightning.runtime.workers import Workers, leave_peers, peers_of

_PAUSE, _MOST = 0.5, 1000
"""Seconds, and steps at most, between talks of several processes about signals."""
REQUEUED = "requeued"
"""Holds the number of the job that goes on with a run; the next job of this number takes it away."""


@runtime_checkable
class Awaits(Protocol):
    """A callback that can have something to do between a validation and the next batch."""

    def awaits(self, trainer: L.Trainer) -> bool:
        """Says whether it has, now."""
        ...


class StopAtSignal(Checkpoint):
    """Answers Ctrl-C, SIGTERM and the signal with which SLURM announces the end of a job's time.

    All processes agree, at the end of an optimizer step, and of the validation or epoch if one ends with it; a
    measurement is broken off before, and stays due. They write ``last.ckpt`` and end: with 130, 143, or, when
    ``scontrol requeue`` has been called, with 0. A second Ctrl-C does not wait.

    It comes behind all other callbacks, so that each of them has done what a step asks of it. Lightning's own handlers
    are not used: they write and talk to other processes in the middle of whatever the signal has interrupted.
    """

    def __init__(self) -> None:
        self._requeue = 0
        self._step = 0
        self._passed = self._pause = 0
        """Steps since the processes have last talked, and how many they let pass."""
        self._talked = time.monotonic()

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Watches the signals, instead of Lightning."""
        if stage == "fit":
            untyped: Any = trainer
            untyped._signal_connector.register_signal_handlers = _nothing
            self._requeue = _requeue_signal(trainer)
            SIGNALS.watch({int(signal.SIGINT), int(signal.SIGTERM), self._requeue} - {0})
            if trainer.world_size > 1:
                watch_peers(trainer)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Looks for the first time; the job that this one goes on with has been found."""
        self._step = trainer.global_step
        if writes(trainer):
            marked = run_folder(trainer) / REQUEUED  # which every rank must ask for
            if trainer.is_global_zero and marked.is_file():
                marked.unlink()
        self._look(trainer)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Looks where an optimizer step has been made: partial sums of gradients are in no checkpoint."""
        stepped, self._step = trainer.global_step > self._step, trainer.global_step
        if stepped and nothing_follows(trainer):
            self._passed += 1
            if SIGNALS.agreed or trainer.world_size == 1 or self._passed > self._pause:
                self._look(trainer)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Looks when a validation is over, and saves where something will be measured before the next batch.

        At a signal meanwhile it is too late: that batch has been taken from its loader.
        """
        if trainer.state.fn == "fit" and not trainer.sanity_checking and not is_within_step(trainer):
            self._look(trainer)
            if is_awaited(trainer) and writes(trainer) and not is_at_end(trainer):
                save_last(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Looks when an epoch is over."""
        self._look(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Watches the other processes no longer: each ends in its own time."""
        workers = Workers.of(trainer)
        workers.meet()
        workers.barrier()  # until nobody asks the store of the first process any more
        leave_peers()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Leaves the signals alone; but what SLURM sends to a job that it starts anew is no news."""
        self.teardown(trainer, pl_module, "fit")
        if isinstance(exception, Stopped) and exception.number == self._requeue:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Leaves the signals alone."""
        leave_peers()
        SIGNALS.forget()
        untyped: Any = trainer
        if "register_signal_handlers" in vars(untyped._signal_connector):
            del untyped._signal_connector.register_signal_handlers

    def _look(self, trainer: L.Trainer) -> None:
        """Ends the training if any process has got a signal.

        Raises:
            Stopped: Then, on all of them.
            MeasurementError: If the job could not be requeued.
        """
        workers = Workers.of(trainer)
        if not SIGNALS.agreed:
            # All wait the same number of steps, about those of half a second: a step can be shorter than such talk.
            pace = int(_PAUSE * self._passed / max(time.monotonic() - self._talked, 1e-6))
            SIGNALS.agreed, self._pause = workers.largest(SIGNALS.noted, min(pace, _MOST))
            self._passed, self._talked = 0, time.monotonic()
        if not SIGNALS.agreed:
            return
        # From a checkpoint of the last step Lightning would do nothing of what is due at the end.
        if writes(trainer) and not is_at_end(trainer):
            save_last(trainer)
        if SIGNALS.agreed == self._requeue and writes(trainer):
            folder = run_folder(trainer)
            workers.on_zero(lambda: _requeue(folder))
        raise Stopped(SIGNALS.agreed)


def is_awaited(trainer: L.Trainer) -> bool:
    """Says whether a callback will measure before the next batch."""
    callbacks: list[object] = getattr(trainer, "callbacks", [])
    return any(isinstance(one, Awaits) and one.awaits(trainer) for one in callbacks)


def watch_peers(trainer: L.Trainer) -> None:
    """Watches the other processes of a training, from now on instead of Lightning, which would kill this one unheard.

    Every rank must call it. Where a process is lost, the others end with a sentence that says which and why.
    """
    peers = peers_of(Workers.of(trainer))
    peers.ends = True
    started: list[Any] = getattr(trainer.strategy.launcher, "procs", [])
    if all(isinstance(one, Child) for one in started):
        peers.children = dict(enumerate(started, start=trainer.global_rank + 1))
        started.clear()  # the list that Lightning's observer looks at


def job() -> str:
    """Returns the number of the SLURM job that this process is of, the same when it is started anew; '' for none."""
    array, own = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_JOB_ID", "")
    return f"{array}_{os.environ.get('SLURM_ARRAY_TASK_ID', '')}" if array else own


def _requeue(folder: Path) -> None:
    """Asks SLURM to start this job anew, and notes in the run folder that it is to go on there.

    Raises:
        StoreError: If SLURM does not do it.
    """
    new = folder / f".{REQUEUED}"
    new.write_text(job() + "\n", encoding="utf-8")
    new.replace(folder / REQUEUED)
    try:
        subprocess.run(["scontrol", "requeue", job()], check=True, capture_output=True, text=True, timeout=20)  # noqa: S603, S607
    except (OSError, subprocess.SubprocessError) as error:
        said: object = getattr(error, "stderr", None)  # bytes, or None, where it took too long
        told = said if isinstance(said, str) and said.strip() else one_line(error)
        raise StoreError(
            f"scontrol requeue {job()} failed: {told.strip().rstrip('.')}; {folder} can be continued by hand with "
            "--ckpt_path last."
        ) from error


def _requeue_signal(trainer: L.Trainer) -> int:
    """Returns the signal that SLURM announces the end of the time with; 0 where there is no SLURM."""
    untyped: Any = trainer
    environment = untyped._accelerator_connector.cluster_environment
    if not isinstance(environment, SLURMEnvironment) or not environment.auto_requeue:
        return 0
    return int(environment.requeue_signal or 0)


def _nothing() -> None:
    """Stands where Lightning sets its handlers."""
