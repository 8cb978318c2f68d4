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
from llc_lightning.llc.settings import Resolution
from llc_lightning.llc.virial import virial_weights
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


def most_copies(**settings: Any) -> float:
    """Returns how many copies of all weights an estimate holds at most; the caller's are one of them."""
    torch.manual_seed(0)
    # Four layers: what is done to one after the other must not be held for all of them.
    params = {str(layer): torch.randn(192, 192) / 14 for layer in range(4)}
    data = torch.randn(8, 192)

    def loss(params: Params, batch: Tensor) -> Tensor:
        for weight in params.values():
            batch = torch.tanh(batch @ weight)
        return batch.square().mean(-1)

    few: dict[str, Any] = {"n_beta": 10.0, "gamma": 10.0, "draws": 8, "burn_in": 2, "batch_size": 2}
    held = Held()
    with held:
        estimate_llc(loss, params, data, **{**few, **settings})
    return held.most / 4 / sum(weight.numel() for weight in params.values())


@pytest.fixture(autouse=True)
def _as_of_a_large_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes the gradients of single examples not many at once."""
    monkeypatch.setattr("llc_lightning.llc.batch_noise._NUMBERS", 1)


FULL: dict[str, Any] = {"batch_size": None}
HUTCHINSON: dict[str, Any] = {"preconditioner": "hutchinson"}


@pytest.mark.parametrize("chains", [1, 4])
@pytest.mark.parametrize(
    ("settings", "once", "each"),
    [
        ({}, 0, 0),
        (FULL, 0, 0),
        ({"step_size": 1e-3}, 0, 0),
        ({"estimator": "first_order"}, 0, 0),
        ({"sampler": "sgld"}, 0, 0),
        ({"sampler": "sgld"} | FULL, 0, 0),
        (HUTCHINSON, 7, 0),
        (HUTCHINSON | FULL, 7, 0),
        (HUTCHINSON | {"sampler": "sgld"}, 7, 0),
        (HUTCHINSON | {"step_size": 1e-3}, 7, 0),
        ({"n_beta": [10.0, 30.0]}, 3, 0),
        ({"sampler": "sgnht"}, 3, 0),
        ({"sampler": "sgld_cv"}, 0, 3),
        ({"sampler": "mala"} | FULL, 0, 3),
        ({"sampler": "rmsprop_sgld"}, 1, 4),
    ],
)
def test_an_estimate_holds_the_copies_of_the_weights_that_are_stated(
    settings: dict[str, Any], once: int, each: int, chains: int
) -> None:
    assert most_copies(chains=chains, **settings) <= 7 + once + (8 + each) * chains


def test_the_full_batch_takes_no_more_than_minibatches() -> None:
    assert most_copies(chains=2, **FULL) <= most_copies(chains=2)


@pytest.mark.parametrize("chains", [2, 3])
def test_by_default_several_chains_hold_one_copy_less_than_is_stated(chains: int) -> None:
    assert most_copies(chains=chains) <= 6 + 8 * chains


@pytest.mark.parametrize("probes", [1, 2, 3])
def test_the_weights_of_the_virial_are_made_in_place_of_what_they_are_made_of(probes: int) -> None:
    at, generator = Resolution(n_beta=3.0, gamma=0.5), torch.Generator().manual_seed(0)
    diagonals = torch.randn(probes, 1, 1, 1000, generator=generator)
    given = [{"": one.clone()} for one in diagonals]
    held = Held()
    with held:
        found = virial_weights(given, 4, at)[""]
    assert held.most <= 4 * 1000 * (probes + 4 + 5.5)

    others = [torch.cat([diagonals[:chain], diagonals[chain + 1 :]]) for chain in range(4)]
    for chain, seen in enumerate(others if probes > 1 else [diagonals] * 4):
        mean, count = seen.sum(0) / len(seen), len(seen)
        error = (((seen.square().sum(0) / count - mean.square()).clamp(min=0)) / max(count - 1, 1)).sqrt()
        curvature = mean.where((mean > 2 * error) | (count == 1), 0.0).clamp(min=0)
        expected = 3 * curvature / (3 * curvature + 0.5)
        torch.testing.assert_close(found[min(chain, len(found) - 1), None], expected)
