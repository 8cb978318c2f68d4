"""Examples of planted directions: pure functions of the seed, and of the model's own direction."""

import lightning as L
import pytest
import torch

from llc_lightning.data.direction_data import DirectionData
from llc_lightning.models.direction_model import DirectionModel
from llc_lightning.runtime.errors import DataError, SettingError


def test_examples_follow_from_the_seed_and_fit_the_model() -> None:
    one, again, other = (DirectionData("decoy", analysis_size=100, seed=seed) for seed in (1, 1, 2))
    x, y = one.analysis_set()
    assert torch.equal(x, again.analysis_set()[0])
    assert not torch.equal(x, other.analysis_set()[0])
    assert DirectionModel("decoy", seed=5).per_example_loss((x, y)).max() < 1e-9
    assert [len(batch[0]) for batch in one.train_dataloader()] == [64, 64]


def test_a_net_of_another_direction_is_refused() -> None:
    trainer = L.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, max_steps=1,
        enable_model_summary=False,
    )  # fmt: skip
    with pytest.raises(DataError, match="model and data are of two directions"):
        trainer.fit(DirectionModel("backup"), DirectionData("decoy"))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"direction": "decoi"}, "unknown direction 'decoi'; did you mean 'decoy'"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"analysis_size": 0}, "analysis_size is 0"),
    ],
)
def test_refuses_what_is_not_there(settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(SettingError, match=sentence):
        DirectionData(**settings)
