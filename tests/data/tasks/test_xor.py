"""The xor task: pairs of signs and their products."""

import torch

from llc_lightning.data.tasks.xor import XorTask
from llc_lightning.runtime.seeding import generator

TASK = XorTask(32)


def test_examples_are_pairs_of_signs_stored_in_one_byte() -> None:
    x, y = TASK.sample(4096, generator(0))
    assert x.dtype == y.dtype == torch.int8
    assert set(x.unique().tolist()) == set(y.unique().tolist()) == {-1, 0, 1}
    a, b = x.view(-1, 32, 2).unbind(-1)
    assert torch.equal(a * b, y)
    assert torch.equal(a == 0, b == 0)


def test_the_four_sign_pairs_are_equally_likely() -> None:
    x, _ = TASK.sample(65_536, generator(0))
    pairs = x.view(-1, 2)[x.view(-1, 2)[:, 0] != 0].float()
    n = len(pairs)
    assert pairs.mean(dim=0).abs().max() < 4 / n**0.5
    assert (pairs[:, 0] * pairs[:, 1]).mean().abs() < 4 / n**0.5


def test_losses_of_zero_and_dedicated_neurons_do_not_depend_on_the_power() -> None:
    assert TASK.trivial_loss(2.0) == TASK.trivial_loss(4.0) == 1.0
    assert TASK.dedicated_loss(2.0, 32) == TASK.dedicated_loss(4.0, 32) == 0.5
    assert TASK.dedicated_loss(2.0, 64) == TASK.dedicated_loss(2.0, 1000) == 0.0


def test_hand_wired_circuits_are_exact_on_every_input() -> None:
    weights = XorTask(1).dedicated_weights(2)
    x = torch.tensor([[0, 0], [1, 1], [1, -1], [-1, 1], [-1, -1]]).float()
    outputs = (x @ weights["W_in"].T).relu() @ weights["W_out"].T + x @ weights["W_skip"].T
    assert outputs.flatten().tolist() == [0, 1, -1, -1, 1]


def test_an_output_of_zero_has_no_sign() -> None:
    y = torch.tensor([[1, -1, 1, -1]])
    assert XorTask(4).is_correct(torch.tensor([[0.1, 0.1, 0.0, -3.0]]), y).tolist() == [[True, False, False, True]]
