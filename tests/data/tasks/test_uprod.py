"""The uprod task: all products of two of m ternary inputs."""

import torch

from llc_lightning.data.tasks.uprod import UprodTask
from llc_lightning.runtime.seeding import generator

TASK = UprodTask(12)


def test_targets_are_the_products_of_all_pairs_stored_in_one_byte() -> None:
    x, y = TASK.sample(2048, generator(0))
    assert x.dtype == y.dtype == torch.int8
    assert set(x.unique().tolist()) == set(y.unique().tolist()) == {-1, 0, 1}
    assert torch.equal(y, torch.stack([x[:, i] * x[:, j] for i in range(12) for j in range(i + 1, 12)], dim=1))
    assert (TASK.n_inputs, TASK.n_circuits, TASK.n_outputs) == (12, 66, 66)


def test_inputs_are_on_with_the_root_of_q_and_have_either_sign() -> None:
    x, _ = TASK.sample(65_536, generator(0))
    n = x.numel()
    assert abs((x != 0).double().mean() - TASK.q**0.5) < 4 * (TASK.q**0.5 / n) ** 0.5
    assert x.double().mean().abs() < 4 * (TASK.q**0.5 / n) ** 0.5


def test_losses_of_zero_and_dedicated_neurons_do_not_depend_on_the_power() -> None:
    assert TASK.trivial_loss(2.0) == TASK.trivial_loss(4.0) == 1.0
    assert TASK.dedicated_loss(2.0, 32) == TASK.dedicated_loss(4.0, 32) == 1 - 16 / 66


def test_hand_wired_circuits_are_exact_on_every_input() -> None:
    weights = UprodTask(2).dedicated_weights(2)
    values = torch.tensor([-1.0, 0.0, 1.0])
    x = torch.cartesian_prod(values, values)
    outputs = (x @ weights["W_in"].T).relu() @ weights["W_out"].T + x @ weights["W_skip"].T
    assert torch.equal(outputs[:, 0], x[:, 0] * x[:, 1])
