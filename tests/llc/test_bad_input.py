"""What a user may get wrong is said in one sentence, or flagged."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from llc_lightning.llc.estimator import estimate_llc
from llc_lightning.llc.inputs import check_inputs, check_start, rungs
from llc_lightning.runtime.batches import Params
from llc_lightning.runtime.errors import SettingError
from llc_lightning.runtime.status import is_failed

DATA = torch.linspace(-1, 1, 16)


def loss(params: Params, batch: Tensor) -> Tensor:
    return params["w"].square().sum() / 2 + 0 * batch


def estimate(function: object = loss, **settings: object) -> object:
    options = {"n_beta": 10.0, "gamma": 1.0, "step_size": 0.05, "chains": 4, "draws": 50, "burn_in": 10, **settings}
    return estimate_llc(function, {"w": torch.zeros(3)}, DATA, **options)  # pyright: ignore


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"n_beta": -1.0}, r"n_beta is -1\.0; it must be positive\."),
        ({"n_beta": 0.0}, r"n_beta is 0\.0; it must be positive\."),
        ({"n_beta": math.nan}, r"n_beta is nan; give a finite number\."),
        ({"gamma": -1.0}, r"gamma is -1\.0; it must be at least 0\."),
        ({"gamma": math.inf}, r"gamma is inf; give a finite number\."),
        ({"step_size": 0.0}, r"step_size is 0\.0; it must be positive\."),
        ({"step_size": math.nan}, r"step_size is nan; give a finite number\."),
        ({"step_fraction": -0.1}, r"step_fraction is -0\.1; it must be positive\."),
        ({"chains": 0}, r"chains is 0; give an integer of at least 1\."),
        ({"draws": 0}, r"draws is 0; give an integer of at least 1\."),
        ({"burn_in": -1}, r"burn_in is -1; give an integer of at least 0\."),
        ({"batch_size": 0}, r"batch_size is 0; give an integer of at least 1\."),
        ({"box": -1.0}, r"box is -1\.0; it must be positive\."),
        ({"box": 1.0, "sampler": "mala"}, r"mala is exact without a box, and not with one; leave box out\."),
        ({"estimator": "meen"}, r"unknown estimator 'meen'; did you mean 'mean'\? Use one of: first_order, mean\.$"),
        ({"estimator": "stein"}, r"^estimator is 'stein', which is reported beside the value; use one of: .*mean"),
        ({"watched_examples": -1}, r"watched_examples is -1; give an integer of at least 0\."),
        ({"moved": {"w": torch.zeros(3, dtype=torch.bool)}}, "nothing is moved: give at least one mask"),
        ({"moved": {}}, "nothing is moved: give at least one mask"),
        ({"moved": {"w": torch.ones(4, dtype=torch.bool)}}, "it must be bool of the parameter's shape"),
        ({"moved": {"w": torch.ones(3)}}, "it must be bool of the parameter's shape"),
        ({"moved": {"v": torch.ones(3, dtype=torch.bool)}}, "'v', which is not a parameter"),
        ({"n_beta": []}, "there is nothing to estimate; give at least one part and one n_beta"),
    ],
)
def test_settings_out_of_range(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        estimate(**settings)


def test_a_loss_that_is_no_loss_per_example() -> None:
    with pytest.raises(ValueError, match=r"the loss function returned shape \(\) for 16 examples"):
        estimate(lambda params, batch: loss(params, batch).mean())
    with pytest.raises(ValueError, match=r"the loss function returned shape \(16, 1\) for 16 examples"):
        estimate(lambda params, batch: loss(params, batch)[:, None])


@pytest.mark.parametrize(
    ("function", "returned"),
    [
        (lambda params, batch: 3.0, "a float"),
        (lambda params, batch: None, "a NoneType"),
        (lambda params, batch: (loss(params, batch),), "a tuple"),
        (lambda params, batch: (0 * batch).long(), r"a tensor of torch\.int64"),
    ],
)
def test_a_loss_that_is_no_tensor_of_floats(function: object, returned: str) -> None:
    with pytest.raises(ValueError, match=f"the loss function returned {returned} for 16 examples; it must return"):
        estimate(function)


def test_a_loss_without_a_gradient_that_the_weights_change_is_refused() -> None:
    with pytest.raises(ValueError, match=r"but has no gradient; w must .* without detach\(\)"):
        estimate(lambda params, batch: loss(params, batch).detach())


@pytest.mark.parametrize(
    ("n_beta", "said"),
    [
        (None, "n_beta is None; give a finite number"),
        ("10", "n_beta is '10'; give a finite number"),
        ([1.0, -2.0], r"n_beta is -2\.0; it must be positive"),
        ([2.0, 1.0, 2.0], r"n_beta has 2\.0 twice; give each once"),
    ],
)
def test_a_ladder_that_is_none(n_beta: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        rungs(n_beta)


@pytest.mark.parametrize("given", [torch.tensor(3.0), np.float32(3.0), 3, np.array(3.0)])
def test_one_number_of_any_library(given: object) -> None:
    assert rungs(given) == [3.0]
    assert rungs(np.array([1.0, 3.0])) == rungs(torch.tensor([1.0, 3.0])) == rungs((1, 3)) == [1.0, 3.0]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"loss_fn": 3}, "the loss is of type int; give a function of parameters and a batch"),
        ({"params": torch.nn.Linear(1, 1)}, r"params is a module; give a dict of tensors.*named_parameters"),
        ({"params": [torch.zeros(1)]}, "params is of type list; give a dict of tensors"),
        ({"moved": "w"}, "moved is of type str; give a dict of bool tensors by parameter, or None to move all"),
        ({"moved": {"w": [True]}}, "moved has 'w' with a list; give a bool tensor by the name of a parameter"),
        ({"seed": 1.5}, r"seed is 1\.5; give an integer\."),
        ({"replicate": -1}, r"replicate is -1; give an integer of at least 0\."),
        ({"trivial_loss": math.nan}, r"trivial_loss is nan; give a finite number\."),
    ],
)
def test_inputs_of_a_wrong_type(given: dict[str, object], said: str) -> None:
    fine = {"loss_fn": loss, "params": {"w": torch.zeros(3)}, "moved": None, "seed": 0, "replicate": 0}
    check_inputs(**fine, trivial_loss=None)
    with pytest.raises(ValueError, match=said):
        check_inputs(**{**fine, "trivial_loss": None, **given})


def test_a_loss_that_is_nan_has_a_failed_status() -> None:
    record = estimate(lambda params, batch: loss(params, batch) * math.nan)
    assert record.status == "nan-loss"
    assert math.isnan(record.value)


def test_a_loss_that_none_of_the_weights_enter_has_no_complexity_and_a_status() -> None:
    record = estimate(lambda params, batch: 1 + 0 * batch)
    assert record.value == 0.0


@pytest.mark.parametrize(("settings", "reason"), [({"draws": 3}, "too-few-draws"), ({"chains": 1}, "single-chain")])
def test_too_little_to_judge_is_a_status(settings: dict[str, int], reason: str) -> None:
    record = estimate(**settings)
    assert reason in record.status
    assert not is_failed(record.status)


def test_a_box_that_holds_the_chains_is_a_status() -> None:
    free, held = estimate(draws=400), estimate(draws=400, box=0.1)
    assert free.box_hits == 0
    assert "box-hits" in held.status
    assert held.box_hits > 0.1
    assert held.value < free.value


def test_a_loss_without_a_second_derivative_is_told() -> None:
    data = (torch.randn(20, 3, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 3)

    def margin(params: dict[str, torch.Tensor], batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        return torch.nn.functional.multi_margin_loss(batch[0] @ params["w"], batch[1], reduction="none")

    with pytest.raises(SettingError, match="torch differentiates the loss once and not twice"):
        estimate_llc(margin, {"w": torch.eye(3)}, data, n_beta=10.0, gamma=1.0, chains=2, draws=5, burn_in=2)


@pytest.mark.parametrize(
    ("start", "said"),
    [
        ({}, r"start has nothing as 'w', where params has \(\(3,\), torch\.float32, 'cpu'\); give the same parameters"),
        ({"w": torch.ones(2)}, r"start has \(\(2,\), torch\.float32, 'cpu'\) as 'w'"),
        ({"w": torch.ones(3).double()}, r"start has \(\(3,\), torch\.float64, 'cpu'\) as 'w'"),
        ({"w": torch.ones(3), "v": torch.ones(1)}, r"as 'v', where params has nothing"),
    ],
)
def test_chains_start_at_values_of_the_same_parameters(start: Params, said: str) -> None:
    with pytest.raises(SettingError, match=said):
        check_start(start, {"w": torch.zeros(3)})
