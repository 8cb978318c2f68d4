"""A network and its data, to be replaced by your own; `config.yaml` names both."""

import lightning as L
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

Batch = tuple[Tensor, Tensor]


class MyModel(L.LightningModule):
    """Learns the product of two numbers. All that measuring asks of a module is ``per_example_loss``."""

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.up, self.act, self.down = nn.Linear(2, width), nn.Tanh(), nn.Linear(width, 1)

    def per_example_loss(self, batch: Batch) -> Tensor:
        """Returns one loss for each example."""
        x, y = batch
        return (self.down(self.act(self.up(x)))[:, 0] - y).square()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Trains on the mean, and logs it under the name that the report draws."""
        loss = self.per_example_loss(batch).mean()
        self.log("train/loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Any optimizer will do."""
        return torch.optim.Adam(self.parameters(), lr=1e-2)


class MyData(L.LightningDataModule):
    """The examples to train on, and through ``analysis_set`` those to measure on."""

    def setup(self, stage: str) -> None:
        """Makes 2048 points and their labels."""
        self.x = torch.randn(2048, 2, generator=torch.Generator().manual_seed(0))
        self.y = self.x.prod(dim=1)

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Returns batches in an order that follows from the run's seed."""
        return DataLoader(TensorDataset(self.x, self.y), batch_size=64, shuffle=True)

    def analysis_set(self) -> Batch:
        """Returns a tensor, or a tuple or dict of tensors, whose first axis counts the examples."""
        return self.x, self.y
