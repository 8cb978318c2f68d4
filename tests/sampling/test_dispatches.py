"""The inner loop of chains, counted: as many operations for many chains as for few, none that waits for a device."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from llc_lightning.llc.estimator import estimate_llc
from llc_lightning.runtime.batches import Params
from llc_lightning.sampling import chains as runs
from llc_lightning.sampling.base import SAMPLERS, Posterior
from llc_lightning.sampling.slices import Layout, moved_entries
from llc_lightning.sampling.stacked import Stack, StackedLoss

WAITS = {"_local_scalar_dense", "item", "is_nonzero", "nonzero", "equal", "masked_select", "unique_dim", "_unique2"}
"""Operations whose result the processor needs before it goes on: on a GPU each of them waits for all before it."""

_MOST = {"sgld_cv": 200, "sgnht": 200, "mala": 230}
"""Operations of a step that takes a second gradient, moves momenta, or decides on what it proposes."""


class Operations(TorchDispatchMode):
    """Counts operations by their names."""

    def __init__(self) -> None:
        super().__init__()  # pyright: ignore[reportUnknownMemberType]
        self.made = Counter[str]()

    def __torch_dispatch__(self, func: Any, types: object, args: Any = (), kwargs: Any = None) -> object:
        self.made[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


def operations(sampler: str, *, chains: int, draws: int) -> Counter[str]:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(64, 4, generator=generator), torch.randn(64, 5, generator=generator)
    params = {"weight": torch.randn(5, 4, generator=generator), "bias": torch.zeros(5)}

    def loss(params: Params, batch: Any) -> Tensor:
        return (batch[0] @ params["weight"].T + params["bias"] - batch[1]).square().sum(-1)

    with Operations() as seen:
        estimate_llc(
            loss, params, (x, y), n_beta=10.0, gamma=10.0, sampler=sampler, step_size=1e-3, chains=chains, draws=draws,
            burn_in=0, batch_size=None if SAMPLERS.get(sampler).facts.full_batch else 8, seed=0,
        )  # fmt: skip
    return seen.made


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_a_step_makes_as_many_operations_for_many_chains_and_waits_for_none(sampler: str) -> None:
    steps = 12
    each: list[float] = []
    operations(sampler, chains=1, draws=1)  # what a process finds out once
    for chains in (2, 8):
        few, many = (operations(sampler, chains=chains, draws=draws) for draws in (steps, 2 * steps))
        more = {name: many[name] - few[name] for name in many}
        assert not {name: number for name, number in more.items() if name in WAITS and number}
        each.append(sum(more.values()) / steps)
    # What decides on a proposal is a number of each chain's own.
    assert each[1] <= each[0] + (6 if sampler == "mala" else 1)
    assert each[0] < _MOST.get(sampler, 160)


class _OverError(Exception):
    """Ends chains before they take their results to the processor."""


class DeviceNoise:
    """Stands for streams of noise, whose generators a device would have to be there for."""

    def __init__(self, seed: int, chains: Sequence[int], layout: Layout, like: Stack, *, kind: str) -> None:
        self._n, self._like = len(chains), {form.parameter: (form.shape, like[form.parameter]) for form in layout.forms}

    def normal(self) -> Stack:
        return {name: torch.randn(self._n, 1, *shape, device=on.device) for name, (shape, on) in self._like.items()}

    def uniform(self) -> Tensor:
        return torch.rand(self._n, 1, device="meta")


@pytest.mark.parametrize("batch_size", [8, None])
@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_chains_on_a_device_ask_for_no_number_and_take_nothing_of_the_processor(
    monkeypatch: pytest.MonkeyPatch, name: str, batch_size: int | None
) -> None:
    """A device without memory stands for a GPU: what asks for a number of it raises, and what mixes the two does."""
    kind = SAMPLERS.get(name)
    if kind.facts.full_batch and batch_size:
        return

    def loss(params: Params, batch: Any) -> Tensor:
        return (batch[0] @ params["weight"].T + params["bias"] - batch[1]).square().sum(-1)

    made: list[int] = []

    def done(n: int) -> None:
        made.append(n)
        if len(made) == 3:
            raise _OverError

    monkeypatch.setattr(runs, "NoiseStream", DeviceNoise)
    here = {"weight": torch.randn(5, 4), "bias": torch.zeros(5)}
    lane = moved_entries(here, {at: torch.ones_like(value, dtype=torch.bool) for at, value in here.items()})
    stacked = StackedLoss(loss, {at: value.to("meta") for at, value in here.items()}, [lane])
    centre = stacked.start(1)
    n_beta, gamma, step_size = torch.ones(3, stacked.width, device="meta")
    posterior = Posterior(centre, n_beta, gamma, {at: torch.zeros_like(value) for at, value in centre.items()})
    data = (torch.empty(64, 4, device="meta"), torch.empty(64, 5, device="meta"))
    sampler = kind.item(posterior, step_size, None)
    with pytest.raises(_OverError):
        runs.run_chains(
            stacked, sampler, data, torch.empty(64, device="meta"), seed=0, chains=range(4), steps=5, burn_in=1,
            batch_size=batch_size, done=done,
        )  # fmt: skip
