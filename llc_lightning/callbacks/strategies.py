"""Which of Lightning's strategies leave the whole weights on every process, so that they can be measured there."""

import lightning as L
from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy

from llc_lightning.runtime.errors import SettingError

SHARDED = (FSDPStrategy, ModelParallelStrategy, DeepSpeedStrategy)
"""Those that leave a part of the weights, or weights of another form, on each process: FSDP, FSDP2, tensor and pipeline
parallel, DeepSpeed."""


def check_strategy(trainer: L.Trainer, name: str) -> None:
    """Checks that a callback finds the whole weights in the module.

    Args:
        trainer: The trainer.
        name: What the callback is called.

    Raises:
        SettingError: If its strategy splits them.
    """
    if isinstance(trainer.strategy, SHARDED):
        kind = type(trainer.strategy).__name__
        raise SettingError(
            f"{name} needs the whole weights on every process, and {kind} splits them; train with a ddp strategy, or "
            "without this callback (when=None) and measure offline: load a consolidated checkpoint into the module, "
            "and call estimate_llc and ablation_effects."
        )
