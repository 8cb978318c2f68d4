"""How much memory the estimate of a whole network takes, beside what its activations do."""

import weakref
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from llc_lightning.llc.estimator import estimate_llc
from llc_lightning.runtime.batches import Params


class Held(TorchDispatchMode):
    """Counts the bytes of the tensors that are alive."""

    def __init__(self) -> None:
        super().__init__()
        self.most = 0
        self._sizes: dict[int, int] = {}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Calls the operation and counts what it returns."""
        found = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(found):
            if isinstance(tensor, Tensor) and not isinstance(tensor, FakeTensor):
                storage = tensor.untyped_storage()
                key = storage._cdata
                if key not in self._sizes:
                    self._sizes[key] = storage.nbytes()
                    weakref.finalize(storage, self._sizes.pop, key)
        self.most = max(self.most, sum(self._sizes.values()))
        return found


@pytest.mark.parametrize("chains", [2, 3])
def test_an_estimate_holds_so_many_copies_of_the_weights_and_so_many_more_for_each_chain(
    chains: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    # As of a large network, whose gradients of single examples are not taken many at once.
    monkeypatch.setattr("llc_lightning.llc.batch_noise._NUMBERS", 1)
    # Four layers: what is done to one after the other must not be held for all of them.
    params = {str(layer): torch.randn(96, 96) / 10 for layer in range(4)}
    data = torch.randn(8, 96)

    def loss(params: Params, batch: Tensor) -> Tensor:
        for weight in params.values():
            batch = torch.tanh(batch @ weight)
        return batch.square().mean(-1)

    held = Held()
    with held:
        estimate_llc(loss, params, data, n_beta=10.0, gamma=10.0, chains=chains, draws=8, burn_in=2, batch_size=2)
    weights = sum(weight.numel() for weight in params.values())
    assert held.most <= 4 * (6 + 8 * chains) * weights
