"""A trial tells what cannot be measured, and refuses nothing that can."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from llc_lightning.ablation.engine.base import METHODS
from llc_lightning.measure.measurements import measure
from llc_lightning.measure.trial import FEW, trial
from llc_lightning.results.schema import decode_details
from llc_lightning.sampling.base import SAMPLERS
from tests.measure.small import ABLATION, LLC, Net, alone, snapshot


class Picky(Net):
    """Refuses to have one of its hook points changed, and examples of double precision."""

    def per_example_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        if batch[0].dtype != torch.float32:
            raise RuntimeError("mat1 and mat2 must have the same dtype")
        if len(self.hook_one._forward_hooks) > 0:
            raise ArithmeticError("hands off")
        return super().per_example_loss(batch)


@pytest.mark.parametrize("name", METHODS.names())
def test_every_method_passes_on_a_few_examples(name: str) -> None:
    plan = replace(ABLATION, components=("hook_two[1]", "hook_two"), methods=(name,), resamples=99)
    try:
        measure(plan, snapshot())
    except ValueError:
        return  # nothing for this net
    assert trial(plan, snapshot()) == ""


@pytest.mark.parametrize("name", SAMPLERS.names())
def test_every_sampler_passes_with_one_chain_and_one_draw(name: str) -> None:
    size = None if SAMPLERS.get(name).facts.full_batch else 8
    settings = replace(
        LLC.settings, sampler=name, batch_size=size, watched_examples=16, chains=4, draws=500, step_size="auto"
    )
    assert trial(replace(LLC, settings=settings, losses=("circuit:0", "train")), snapshot()) == ""


def test_it_is_short_and_draws_no_random_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    loss = Net.per_example_loss

    def spy(self: Net, batch: Any) -> Tensor:
        seen.append(len(batch[0]))
        return loss(self, batch)

    monkeypatch.setattr(Net, "per_example_loss", spy)
    here = snapshot()
    before = (np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())  # noqa: NPY002
    assert trial(replace(ABLATION, components=("neurons",)), here) == ""
    assert before == (np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())  # noqa: NPY002
    assert len(seen) < 10
    assert seen[0] == FEW < 64


def test_what_fails_is_told_by_component_and_the_others_keep_their_rows() -> None:
    plan = replace(ABLATION, components=("hook_one[*]", "hook_two[*]"), methods=("zero",))
    told = trial(plan, snapshot(Picky()))
    assert told.startswith("hook_one[0]: ArithmeticError: hands off; leave it out of components=, or give on_error=")
    rows = [row for row in measure(plan, snapshot(Picky()), on_error="skip").rows if row.quantity == "ablation_effect"]
    failed = {row.component for row in rows if row.status == "error"}
    assert failed == {f"hook_one[{unit}]" for unit in range(5)}
    assert {row.component for row in rows} - failed == {f"hook_two[{unit}]" for unit in range(3)}
    assert all("hands off" in decode_details(row.details)["error"] for row in rows if row.status == "error")
    kept = {row.key: row.value for row in alone(ABLATION).rows}
    good = [row for row in rows if row.status != "error"]
    assert [row.value for row in good] == [kept[row.key] for row in good]


def test_a_loss_that_cannot_be_computed_is_told_once_with_the_precision() -> None:
    x, y = snapshot().data
    double = replace(snapshot(Picky()), data=(x.double(), y.double()))
    for plan in (LLC, ABLATION):
        told = trial(plan, double)
        assert told.startswith("RuntimeError: mat1 and mat2 must have the same dtype (the examples are of precision ")
        assert told.endswith("float64, the weights of float32: convert the examples)")
