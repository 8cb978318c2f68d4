"""Estimates on modules that ask for care: what cannot be estimated is refused, and what can be is right."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llc_lightning.components.loss import loss_fn, snapshot_params
from llc_lightning.llc.estimator import estimate_llc
from llc_lightning.llc.record import LLCRecord
from llc_lightning.runtime.errors import SettingError

SETTINGS = {"n_beta": 100.0, "gamma": 10.0, "chains": 2, "draws": 12, "burn_in": 2, "batch_size": 8}
X = torch.randn(64, 4, 3, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """Answers 0 to sequences of 4 vectors of 3 numbers."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.body = body
        self.head = nn.Linear(3, 1)

    def per_example_loss(self, batch: Tensor) -> Tensor:
        answer = self.body(batch)
        return self.head(answer[0] if isinstance(answer, tuple) else answer).flatten(1).square().mean(1)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q, self.k = nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(self.q(x), self.k(x), x)


class OfTheBatch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(0, keepdim=True)


class Random(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.randn_like(x)


def estimate(module: nn.Module, params: dict[str, Tensor] | None = None, **more: object) -> LLCRecord:
    given = dict(module.named_parameters()) if params is None else params
    return estimate_llc(loss_fn(module), given, X, **{**SETTINGS, **more})


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # vmap says so of an LSTM, once a process
@pytest.mark.parametrize("body", [Attention(), nn.LSTM(3, 3, batch_first=True), nn.GRU(3, 3, batch_first=True)])
def test_fused_operators_do_not_keep_from_an_estimate(body: nn.Module) -> None:
    record = estimate(Net(body))
    assert torch.tensor([record.value, record.curvature, record.gradient_norm]).isfinite().all()


@pytest.mark.parametrize("body", [OfTheBatch(), Random()], ids=["of the batch", "random"])
def test_losses_that_depend_on_other_examples_or_on_chance_are_refused(body: nn.Module) -> None:
    with pytest.raises(SettingError, match=r"the loss of example \d+ is .* in one batch and .* in another; it must"):
        estimate(Net(body))


def test_the_grad_mode_of_the_caller_changes_nothing() -> None:
    module = Net(nn.Linear(3, 3))
    plain = estimate(module)
    assert plain.gradient_norm > 0
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            other = estimate(module)
        assert (other.value, other.gradient_norm, other.status) == (plain.value, plain.gradient_norm, plain.status)


def test_buffers_are_not_sampled() -> None:
    module = Net(nn.Sequential(nn.Flatten(0, 1), nn.BatchNorm1d(3), nn.Unflatten(0, (-1, 4)))).eval()
    assert "body.1.num_batches_tracked" in snapshot_params(module)
    assert estimate(module, snapshot_params(module)).dimension == 3 + 3 + 3 + 1


def test_types_too_small_for_chains_are_refused() -> None:
    module = Net(nn.Linear(3, 3))
    small = {name: value.detach().bfloat16() for name, value in module.named_parameters()}
    with pytest.raises(SettingError, match=r"'body\.weight' is torch\.bfloat16; chains need float32 or float64"):
        estimate(module, small)
