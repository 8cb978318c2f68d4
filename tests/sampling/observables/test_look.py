"""What observables share at a draw."""

import torch

from tests.sampling.observables.looks import look_at


def test_the_second_minibatch_is_drawn_once_and_its_loss_taken_over_from_its_gradient() -> None:
    look = look_at([[3.0, 4.0]], batches=[[[0]], [[1]], [[2]]])
    assert look.other is look.other
    assert look.there.excess.item() == 12.5 - 3
    assert look.there.gradient["w"].flatten().tolist() == [2.0, 4.0]
    assert look.other_excess is look.there.excess


def test_the_loss_on_the_second_minibatch_needs_no_gradient() -> None:
    look = look_at([[3.0, 4.0]], batches=[[[0]], [[1]]])
    assert look.other_excess.item() == 12.5 - 3
    assert "there" not in vars(look)


def test_with_all_examples_there_is_no_other_loss() -> None:
    look = look_at([[3.0, 4.0]])
    assert look.other is look.loss
    assert torch.equal(look.away["w"], look.position["w"])
