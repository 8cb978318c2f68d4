"""What is known of a net that was trained to compute in superposition."""

import pytest
import torch
from torch import Tensor

from llc_lightning.components.listing import find_components
from llc_lightning.components.loss import loss_fn, snapshot_params
from llc_lightning.data.cis import CISData
from llc_lightning.llc.estimator import estimate_llc, estimate_parts
from llc_lightning.llc.settings import ChainSettings, Resolution, Restriction
from llc_lightning.models.cis import CISModel
from llc_lightning.runtime.seeding import generator
from llc_lightning.runtime.status import split


@pytest.fixture(scope="module")
def trained() -> CISModel:
    torch.set_num_threads(1)
    model = CISModel()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=1500)
    for step in range(1500):
        optimizer.zero_grad()
        model.per_example_loss(model.task.sample(512, generator(0, "fresh", step))).mean().backward()
        optimizer.step()
        schedule.step()
    return model


@pytest.fixture(scope="module")
def data() -> tuple[Tensor, Tensor]:
    return CISData(analysis_size=20_000).analysis_set()


def with_a_dead_neuron(model: CISModel) -> CISModel:
    """Returns the net with one more hidden neuron, which never fires, but would reach the outputs if it did."""
    wider = CISModel(width=model.net.width + 1)
    with torch.no_grad():
        wider.net.W_in.weight[:-1] = model.net.W_in.weight
        wider.net.W_in.bias[:-1] = model.net.W_in.bias
        wider.net.W_in.bias[-1] = -100.0
        wider.net.W_out.weight[:, :-1] = model.net.W_out.weight
        wider.net.W_out.bias.copy_(model.net.W_out.bias)
    return wider


def test_a_neuron_that_never_fires_has_no_complexity_and_trained_ones_have(
    trained: CISModel, data: tuple[Tensor, Tensor]
) -> None:
    model = with_a_dead_neuron(trained)
    params = snapshot_params(model)
    parts = [Restriction(part.moved(params)) for part in find_components(model, "neurons")]
    settings = ChainSettings(chains=4, draws=100, burn_in=50, batch_size=128, curvature_examples=512)
    records = [record for (record,) in estimate_parts(
        loss_fn(model), params, data, parts, [Resolution(300.0, 10.0)], settings
    )]  # fmt: skip
    *firing, dead = records
    assert abs(dead.value) <= 3 * dead.stderr + 1e-12
    assert dead.distance > 0
    assert len(firing) == 32
    assert min(record.value for record in firing) > 5


def test_chains_that_leave_the_solution_are_not_local(trained: CISModel, data: tuple[Tensor, Tensor]) -> None:
    loss, params = loss_fn(trained), snapshot_params(trained)
    settings = {"chains": 4, "draws": 200, "burn_in": 200, "batch_size": 128, "curvature_examples": 512}
    far = estimate_llc(loss, params, data, n_beta=100.0, gamma=1.0, trivial_loss=trained.trivial_loss, **settings)
    assert "not-local" in [reason.name for reason in split(far.status)]
    near = estimate_llc(
        loss, params, data, n_beta=1e4, gamma=1000.0, trivial_loss=trained.trivial_loss, preconditioner="hutchinson",
        **settings,
    )  # fmt: skip
    assert "not-local" not in [reason.name for reason in split(near.status)]
