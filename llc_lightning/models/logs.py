"""When a training step logs."""

import lightning as L


def logs_now(module: L.LightningModule) -> bool:
    """Says whether Lightning keeps what the present training step logs.

    At other steps it throws it away, and logging there anyway would double the time of a small net's step.
    """
    every: int = getattr(module.trainer, "log_every_n_steps", 0)
    return every > 0 and (module.trainer.global_step + 1) % every == 0
