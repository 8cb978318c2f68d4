"""The drawn tasks: fixed, balanced, named as what they are, and not to be told apart by a line."""

import hashlib
import time

import pytest
import torch

from llc_lightning.data.drawn import TEST, TRAIN, draw_gratings, draw_segments, drawn_tasks
from llc_lightning.data.image_sets import ImageTask


@pytest.fixture(scope="module")
def tasks() -> tuple[ImageTask, ImageTask]:
    return drawn_tasks()


def test_they_are_drawn_within_seconds_and_always_alike(tasks: tuple[ImageTask, ImageTask]) -> None:
    before, began = torch.get_rng_state(), time.process_time()
    again = drawn_tasks()
    assert time.process_time() - began < 10
    for one, other in zip(tasks, again, strict=True):
        assert torch.equal(one.train.images, other.train.images)
    assert torch.equal(before, torch.get_rng_state())


def test_they_have_ten_equally_frequent_classes_and_names_of_their_own(tasks: tuple[ImageTask, ImageTask]) -> None:
    assert [task.name for task in tasks] == ["segments", "gratings"]
    for task in tasks:
        for part, n in ((task.train, TRAIN), (task.test, TEST)):
            assert part.images.shape == (n, 28, 28)
            assert part.labels.bincount().tolist() == [n // 10] * 10
        assert (
            hashlib.sha256(task.train.images[:TEST].numpy().tobytes()).digest()
            != hashlib.sha256(task.test.images.numpy().tobytes()).digest()
        )


def test_a_one_lights_the_right_side_alone_and_an_eight_everything() -> None:
    draws = torch.Generator().manual_seed(0)
    one, eight = (draw_segments(torch.full((200,), figure), draws).mean(dim=0) for figure in (1, 8))
    assert one[:, 16:].sum() > 3 * one[:, :12].sum() - 12 * 28 * 0.2
    assert eight[:, :14].mean() > one[:, :14].mean() + 0.05
    assert eight[:, 10:18].mean() > one[:, 10:18].mean()


def test_the_waves_of_a_grating_run_in_the_direction_of_its_label() -> None:
    images = draw_gratings(torch.tensor([0, 5]).repeat(100), torch.Generator().manual_seed(0))
    across, along = images.diff(dim=2).abs().mean(dim=(1, 2)), images.diff(dim=1).abs().mean(dim=(1, 2))
    assert (across[0::2] > along[0::2]).all()
    assert (across[1::2] < along[1::2]).all()


def test_the_phase_hides_the_gratings_from_a_linear_map(tasks: tuple[ImageTask, ImageTask]) -> None:
    images = tasks[1].train.images.float().flatten(1) / 255
    means = torch.stack([images[tasks[1].train.labels == label].mean(dim=0) for label in range(10)])
    assert (means - means.mean(dim=0)).abs().max() < 0.12
