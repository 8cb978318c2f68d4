"""The inner loop of chains, counted: as many operations for many chains as for few, none that waits for a device."""

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from llc_lightning.llc.estimator import estimate_llc
from llc_lightning.runtime.batches import Params

WAITS = {"_local_scalar_dense", "item", "is_nonzero", "nonzero", "equal", "masked_select", "unique_dim", "_unique2"}
"""Operations whose result the processor needs before it goes on: on a GPU each of them waits for all before it."""


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
            burn_in=0, batch_size=8, seed=0,
        )  # fmt: skip
    return seen.made


@pytest.mark.parametrize("sampler", ["lm", "rmsprop_sgld"])
def test_a_step_makes_as_many_operations_for_many_chains_and_waits_for_none(sampler: str) -> None:
    steps = 12
    each: list[float] = []
    for chains in (2, 8):
        few, many = (operations(sampler, chains=chains, draws=draws) for draws in (steps, 2 * steps))
        more = {name: many[name] - few[name] for name in many}
        assert not {name: number for name, number in more.items() if name in WAITS and number}
        each.append(sum(more.values()) / steps)
    assert each[1] <= each[0] + 1
    assert each[0] < 160
