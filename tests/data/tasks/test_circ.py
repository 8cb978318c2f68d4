"""The circ task: random small networks without an affine part."""

from itertools import pairwise

import pytest
import torch

from llc_lightning.data.tasks.circ import CircTask
from llc_lightning.models.baselines import affine_least_squares
from llc_lightning.runtime.seeding import generator

TASK = CircTask(12, 3.0)


@pytest.fixture(scope="module")
def examples() -> tuple[torch.Tensor, torch.Tensor]:
    return TASK.sample(131_072, generator(0))


def test_sizes(examples: tuple[torch.Tensor, torch.Tensor]) -> None:
    x, y = examples
    assert (TASK.n_inputs, TASK.n_circuits, TASK.n_outputs) == (36, 12, 24)
    assert (x.shape[1], y.shape[1], len(TASK.names)) == (36, 24, 12)


def test_a_circuit_that_is_off_has_neither_inputs_nor_targets_and_one_that_is_on_has_its_flag(
    examples: tuple[torch.Tensor, torch.Tensor],
) -> None:
    x, y = examples
    active = TASK.is_active(x, y)
    read, flag = x.view(-1, 12, 3).split([2, 1], dim=-1)
    assert torch.equal(flag[..., 0], active.float())
    assert not read[~active].any()
    assert not y.view(-1, 12, 2)[~active].any()
    assert read[active].square().mean().item() == pytest.approx(1 / 3, rel=0.02)


def test_every_output_has_unit_variance_where_active_and_no_affine_part(
    examples: tuple[torch.Tensor, torch.Tensor],
) -> None:
    x, y = examples
    active = TASK.is_active(x, y)
    for circuit in range(12):
        own = y.view(-1, 12, 2)[active[:, circuit], circuit]
        assert own.mean(dim=0).abs().max() < 4 / len(own) ** 0.5
        assert torch.allclose(own.square().mean(dim=0), torch.ones(2), rtol=0.05)
    slopes = affine_least_squares(x, y)
    residual = y - torch.cat((x, torch.ones(len(x), 1)), dim=1) @ slopes.T
    assert residual.square().mean() / y.square().mean() > 0.995


def test_circuits_are_the_same_for_every_seed_and_ordered_by_their_fourth_moment() -> None:
    assert all(torch.equal(a, b) for a, b in zip(TASK.circuits, CircTask(12, 1.0).circuits, strict=True))
    served = [TASK.dedicated_loss(4.0, 4 * n) for n in range(13)]
    gains = [before - after for before, after in pairwise(served)]
    assert gains == sorted(gains, reverse=True)
    assert served[0] == pytest.approx(TASK.trivial_loss(4.0))
    assert served[-1] == 0


def test_under_a_squared_error_all_circuits_count_alike() -> None:
    assert TASK.trivial_loss(2.0) == pytest.approx(1.0, rel=1e-4)
    assert TASK.dedicated_loss(2.0, 32) == pytest.approx(1 - 32 / 48, rel=1e-4)
    assert TASK.dedicated_loss(2.0, 1000) == 0


def test_right_is_an_error_below_three_quarters_over_both_outputs() -> None:
    y = torch.zeros(1, 24)
    outputs = y.clone()
    outputs[0, :4] = torch.tensor([1.0, 0.3, 1.0, 0.4])
    assert TASK.is_correct(outputs, y).tolist() == [[True, False, *[True] * 10]]
    x, y = TASK.sample(65_536, generator(1))
    active = TASK.is_active(x, y)
    assert TASK.is_correct(0 * y, y)[active].double().mean().item() == pytest.approx(0.39, abs=0.01)
