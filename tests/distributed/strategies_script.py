"""What test_strategies.py runs: a training with both callbacks by one strategy.

Usage: python strategies_script.py FOLDER STRATEGY
"""

import sys
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import lightning as L
from lightning.pytorch.strategies import ModelParallelStrategy

from llc_lightning.callbacks.ablation import AblationCallback
from llc_lightning.callbacks.llc import LLCCallback
from llc_lightning.runtime.cadence import AtSteps
from llc_lightning.runtime.errors import SettingError
from tests.callbacks.plain import PlainModule, examples, loader, trainer

SHORT: dict[str, Any] = {"n_beta": 100.0, "gamma": 100.0, "chains": 2, "draws": 2, "burn_in": 1, "batch_size": 16}


class Loads(PlainModule):
    """Has its own data, as processes that are started anew need it."""

    def train_dataloader(self) -> Any:
        return loader(batch_size=4, rank=self.global_rank, world_size=self.trainer.world_size)

    def configure_model(self) -> None:
        """Sharded strategies ask for it."""


def main(folder: Path, strategy: str) -> None:
    """Trains two steps."""
    L.seed_everything(3, verbose=False)
    when, data = AtSteps([1]), examples(48)
    callbacks: list[L.Callback] = [
        LLCCallback(when, components=["all", "conv[1]"], data=data, step_size=1e-5, **SHORT),
        AblationCallback(when, methods="zero", components="conv", data=data),
    ]
    given: Any = ModelParallelStrategy(process_group_backend="gloo") if strategy == "fsdp2" else strategy
    one = trainer(folder, callbacks, max_steps=2, devices=2, strategy=given)
    try:
        one.fit(Loads())
    except SettingError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(Path(sys.argv[1]), sys.argv[2])
