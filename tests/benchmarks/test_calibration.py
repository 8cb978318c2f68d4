"""The table of calibrations: what is in it and what a row says."""

import dataclasses

import pytest
import torch

from benchmarks import calibration
from llc_lightning.llc.calibrate.calibration import calibrate
from tests.known_answers.losses import quadratic


def test_every_row_has_a_configuration() -> None:
    folder = calibration.ROOT / "configs"
    assert all((folder / f"{name}.yaml").is_file() for name in calibration.ARCHITECTURES)


def test_an_unknown_configuration_is_refused() -> None:
    with pytest.raises(SystemExit, match="unknown configuration 'cos'; use one of: cis, cis_mse"):
        calibration.main(["cos"])


def test_a_row_says_what_was_chosen_and_what_came_of_it() -> None:
    torch.set_num_threads(1)
    known = quadratic((1.0, 0.3))
    found = calibrate(known.loss, known.params, known.data, n_beta=10.0, gamma=5.0, budget=2400)
    row = calibration.Row("cis", 2, dataclasses.replace(found, refusal="not reached: x."), 1.4)
    told = calibration.line(row).split()
    assert told[0] == "cis"
    assert told[-1] == "refused"
    assert f"{found.steps} / 2400" in calibration.line(row)
    assert told[-3:-1] == ["-", "-"]
    assert calibration.line(dataclasses.replace(row, found=dataclasses.replace(found, refusal=""))).endswith("accepted")
