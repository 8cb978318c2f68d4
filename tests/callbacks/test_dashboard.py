"""What TensorBoard shows of a training."""

from typing import Any

import pytest
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from llc_lightning import AblationCallback, LLCCallback
from llc_lightning.runtime.cadence import AtSteps
from tests.callbacks.plain import examples, fit, trainer

SHORT: dict[str, Any] = {"gamma": 100.0, "chains": 2, "draws": 6, "burn_in": 2, "batch_size": 16, "step_size": 1e-5}


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> EventAccumulator:
    folder = tmp_path_factory.mktemp("events")
    when = AtSteps([1, 3])
    callbacks = [
        LLCCallback(when, n_beta=[100.0, 300.0], components="layers", data=examples(), **SHORT),
        AblationCallback(when, methods=["zero", "mean"], components="conv", data=examples()),
    ]
    fit(trainer(folder, callbacks, max_steps=4, logger=TensorBoardLogger(str(folder)), log_every_n_steps=2))
    found = EventAccumulator(str(folder / "lightning_logs" / "version_0"))
    found.Reload()
    return found


def test_scalars_are_at_the_steps_that_were_measured(events: EventAccumulator) -> None:
    tags = [tag for tag in events.Tags()["scalars"] if tag.startswith(("flagged/llc", "llc", "ablation"))]
    assert len(tags) >= 4
    assert {point.step for tag in tags for point in events.Scalars(tag)} == {1, 3}


def test_the_layout_is_there(events: EventAccumulator) -> None:
    assert events.Tags()["tensors"] == ["custom_scalars__config__"]
    content = events.Tensors("custom_scalars__config__")
    assert len(content) == 1
    assert b"effect of zero ablation" in content[0].tensor_proto.string_val[0]
    assert b"circuits" not in content[0].tensor_proto.string_val[0], "the net has none"
