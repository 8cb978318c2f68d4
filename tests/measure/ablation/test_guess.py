"""What ablations are taken to take before any was made."""

import pytest
import torch

from llc_lightning.components.component import Component, WeightSlice
from llc_lightning.measure.ablation.guess import guessed

PARAMS = {"one.weight": torch.zeros(60), "two.weight": torch.zeros(30), "three.weight": torch.zeros(10)}


def neuron(point: str, number: int, reads: str) -> Component:
    return Component(f"{point}[{number}]", "neuron", point, (number,), weights=(WeightSlice(reads, reads=True),))


def test_layers_before_are_passed_once_a_hook_point_and_layers_behind_once_a_component() -> None:
    early = [neuron("one", number, "two.weight") for number in range(8)]
    late = [neuron("two", number, "three.weight") for number in range(8)]
    recording = 0.03 + 0.6 * 2.0 / 4  # of 256 of 1,024 examples
    assert 8 * guessed(early, PARAMS, 1024, 2.0) == pytest.approx(2 + recording + 8 * 2 * (0.1 + 0.9 * 0.4))
    assert 8 * guessed(late, PARAMS, 1024, 2.0) == pytest.approx(2 + recording + 8 * 2 * (0.1 + 0.9 * 0.1))
    both = 16 * guessed([*early, *late], PARAMS, 1024, 2.0)
    assert both == pytest.approx(8 * (guessed(early, PARAMS, 1024, 2.0) + guessed(late, PARAMS, 1024, 2.0)))


def test_of_a_component_without_weights_all_of_a_pass_is_taken_to_lie_behind() -> None:
    bare = Component("hook", "layer", "hook")
    assert guessed([bare], PARAMS, 100, 1.0) == pytest.approx(1 + 1 + 0.03 + 0.6)
    assert guessed([bare], {}, 100, 1.0) == pytest.approx(1 + 1 + 0.03 + 0.6)


def test_of_no_component_a_pass_is_taken() -> None:
    assert guessed([], PARAMS, 100, 1.5) == 1.5


def test_a_set_at_two_hook_points_passes_the_layers_before_each() -> None:
    parts = (neuron("one", 0, "two.weight"), neuron("two", 0, "three.weight"))
    whole = Component("both", "set", "one", parts=parts, weights=(*parts[0].weights, *parts[1].weights))
    assert guessed([whole], PARAMS, 256, 1.0) == pytest.approx(0.1 + 0.9 * 0.1 + 2 * (1 + 0.03 + 0.6))
