"""What a GPU measures is what the processor measures, within the error of its sums."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from llc_lightning.ablation.engine.base import METHODS
from llc_lightning.llc.settings import ChainSettings
from llc_lightning.measure.ablation.plan import AblationPlan
from llc_lightning.measure.llc.plan import LLCPlan
from llc_lightning.measure.measurements import measure
from llc_lightning.measure.snapshot import Snapshot
from llc_lightning.sampling.base import SAMPLERS
from tests.measure.small import snapshot

pytestmark = pytest.mark.gpu
TOLERANCE = 1e-3
"""Relative, of single precision sums in another order along a few steps of chains."""
PLAIN = sorted(name for name in METHODS if name in {"zero", "mean", "resample", "noise"})


def on_gpu(at: Snapshot) -> Snapshot:
    """Returns a snapshot whose weights, buffers and examples are on the GPU."""
    module: Any = at.loss.module
    params = {name: value.cuda() for name, value in at.params.items()}
    module.cuda()
    data = tuple(value.cuda() for value in at.data) if isinstance(at.data, tuple) else at.data
    return replace(at, params=params, data=data)


def values(plan: Any, at: Snapshot) -> dict[Any, float]:
    return {row.key: row.value for row in measure(plan, at).rows if plan.owns(row.quantity, row.loss)}


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_every_sampler_is_as_on_the_processor(sampler: str) -> None:
    batch = None if SAMPLERS.get(sampler).facts.full_batch else 8
    settings = ChainSettings(
        chains=2, draws=6, burn_in=2, batch_size=batch, step_size=1e-4, sampler=sampler, preconditioner="none"
    )
    plan = LLCPlan(components=("all", "hook_two[*]"), n_beta=(10.0,), gamma=5.0, settings=settings)
    expected, found = values(plan, snapshot()), values(plan, on_gpu(snapshot()))
    assert found == pytest.approx(expected, rel=TOLERANCE, abs=1e-4, nan_ok=True)


@pytest.mark.parametrize("method", PLAIN)
def test_every_method_is_as_on_the_processor(method: str) -> None:
    plan = AblationPlan(components=("neurons", "layers"), methods=(method,))
    expected, found = values(plan, snapshot()), values(plan, on_gpu(snapshot()))
    assert found == pytest.approx(expected, rel=TOLERANCE, abs=1e-5)


def test_chains_wait_for_the_gpu_nowhere_but_at_their_ends() -> None:
    settings = ChainSettings(chains=4, draws=40, burn_in=2, batch_size=8, step_size=1e-4, preconditioner="none")
    plan = LLCPlan(components=("all",), n_beta=(10.0,), gamma=5.0, settings=settings)
    at = on_gpu(snapshot())

    def watched(draws: int) -> None:
        torch.cuda.set_sync_debug_mode("warn")
        try:
            measure(replace(plan, settings=replace(settings, draws=draws)), at)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    with pytest.warns(UserWarning, match="synchron") as few:
        watched(20)
    with pytest.warns(UserWarning, match="synchron") as many:
        watched(40)
    assert len(few) == len(many)
