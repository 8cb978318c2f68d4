"""The LightningDataModule of planted directions."""

from functools import partial

from llc_lightning.data.directions import DIRECTIONS
from llc_lightning.data.order import AnalysedData, EpochLoader, Stream
from llc_lightning.runtime.batches import Batch
from llc_lightning.runtime.errors import SettingError, at_least, unknown
from llc_lightning.runtime.seeding import generator


class DirectionData(AnalysedData):
    """Examples of a planted direction, labelled by what its whole net answers, to measure on.

    Args:
        direction: The name of the direction, the same as in the model.
        batch_size: Examples in a training batch, on each rank; no step changes the net.
        analysis_size: Examples of the analysis set, on which the LLC and ablations are measured.
        seed: The run's seed; all examples are functions of it.

    Raises:
        SettingError: If the direction is unknown or a number is out of range.
    """

    def __init__(
        self, direction: str = "backup", *, batch_size: int = 64, analysis_size: int = 1024, seed: int = 0
    ) -> None:
        super().__init__(seed=seed)
        at_least(1, batch_size=batch_size, analysis_size=analysis_size)
        if direction not in DIRECTIONS:
            raise SettingError(unknown("direction", direction, DIRECTIONS))
        self.save_hyperparameters(logger=False)
        self.direction = DIRECTIONS[direction]
        self.batch_size = batch_size
        self.analysis_size = analysis_size

    def train_dataloader(self) -> EpochLoader:
        """Returns this rank's training batches."""
        stream = Stream(partial(self.direction.sample, self.batch_size), seed=self.seed, kind="train")
        return self.loader(stream, "fresh", 2)

    def make_analysis_set(self) -> Batch:
        """Draws the analysis set."""
        return self.direction.sample(self.analysis_size, generator(self.seed, "analysis"))
