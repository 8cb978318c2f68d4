"""Settings beside what they reached, in TensorBoard's table of runs."""

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from llc_lightning.report.hparams import settings_and_ends
from llc_lightning.results.run import CONFIG, Run
from llc_lightning.results.store import Store, part_name
from tests.report.test_tensorboard import rows_at


def test_a_run_tells_its_settings_and_what_it_reached_last(tmp_path: Path) -> None:
    (tmp_path / CONFIG).write_text("model:\n  init_args:\n    width: 12\nllc:\n  gamma: 10.0\n")
    for step in (30, 3000):
        Store(tmp_path).write(part_name(step, "all"), rows_at(step, units=12, circuits=12))
    settings, reached = settings_and_ends(Run(tmp_path))
    assert settings == {"model.init_args.width": "12", "llc.gamma": "10.0"}
    assert all(name.startswith("hparam/") for name in reached)
    assert reached["hparam/analysis/loss_on_131072"] == pytest.approx(0.1421, abs=1e-3)
    assert reached["hparam/llc/full"] == pytest.approx(274.7, abs=0.1), "of the last step"
    with SummaryWriter(str(tmp_path / "events")) as writer:
        writer.add_hparams(settings, reached, run_name=".")
    tags = EventAccumulator(str(tmp_path / "events")).Reload().Tags()
    assert set(reached) <= set(tags["scalars"])


def test_a_run_without_rows_tells_nothing(tmp_path: Path) -> None:
    (tmp_path / CONFIG).write_text("llc:\n  gamma: 10.0\n")
    assert settings_and_ends(Run(tmp_path)) == ({}, {})
