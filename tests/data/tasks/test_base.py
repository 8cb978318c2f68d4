"""What every task promises: shapes, types, probabilities, names, trivial and dedicated losses."""

import pytest
import torch

from llc_lightning.data.tasks import TASKS, CISTask, make_task
from llc_lightning.data.tasks.uprod import UprodTask
from llc_lightning.models.baselines import dedicated_net
from llc_lightning.models.cis_net import power_of
from llc_lightning.runtime.errors import SettingError
from llc_lightning.runtime.seeding import generator
from tests.data.tasks.sizes import smallest

N = 65_536


@pytest.fixture(params=TASKS.names(), scope="module")
def task(request: pytest.FixtureRequest) -> CISTask:
    return make_task(request.param, size=smallest(request.param, 8).size, active=1.5)


def test_samples_have_the_declared_shapes(task: CISTask) -> None:
    x, y = task.sample(100, generator(0))
    assert x.shape == (100, task.n_inputs)
    assert y.shape == (100, task.n_outputs)
    assert len(task.names) == task.n_circuits == task.n_outputs / task.outputs_per_circuit
    assert task.names[7] == "circuit:07"


def test_samples_are_a_function_of_the_generator_alone(task: CISTask) -> None:
    state = torch.get_rng_state()
    first, again, other = (task.sample(50, generator(seed)) for seed in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])
    assert torch.equal(state, torch.get_rng_state())


def test_circuits_are_active_with_probability_q_and_independently(task: CISTask) -> None:
    active = task.is_active(*task.sample(N, generator(0))).double()
    assert active.mean().item() == pytest.approx(task.q, rel=0.02)
    shared = torch.eye(task.n_circuits, dtype=torch.bool)
    if isinstance(task, UprodTask):
        a, b = task.pairs()
        shared = torch.stack([(a == other) | (b == other) for other in (a[:, None], b[:, None])]).any(dim=0)
    assert torch.corrcoef(active.T)[~shared].abs().max() < 5 / N**0.5


def test_targets_of_inactive_circuits_are_zero(task: CISTask) -> None:
    x, y = task.sample(1000, generator(0))
    assert not task.per_circuit(y.abs().float())[~task.is_active(x, y)].any()


def test_the_targets_themselves_are_correct_and_their_opposite_is_not(task: CISTask) -> None:
    x, y = task.sample(1000, generator(0))
    counted = task.is_active(x, y) & (task.per_circuit(y.abs().float()) > 0.5)
    assert task.is_correct(y.float(), y)[counted].all()
    assert not task.is_correct(-y.float(), y)[counted].any()


@pytest.mark.parametrize("power", [2.0, 3.0, 4.0])
def test_the_trivial_loss_is_that_of_zero_over_all_examples_and_where_active(task: CISTask, power: float) -> None:
    x, y = task.sample(N, generator(0))
    losses = task.per_circuit(power_of(y.float(), power))
    assert losses.mean().item() / task.q == pytest.approx(task.trivial_loss(power), rel=0.02)
    assert losses[task.is_active(x, y)].mean().item() == pytest.approx(task.trivial_loss(power), rel=0.02)


@pytest.mark.parametrize("power", [2.0, 4.0])
@pytest.mark.parametrize("share", [0.25, 0.5, 1.0, 1.5])
def test_the_net_wired_by_hand_reaches_its_formula(task: CISTask, power: float, share: float) -> None:
    width = int(share * task.n_circuits) * task.relus_per_circuit
    x, y = task.sample(N, generator(1))
    with torch.no_grad():
        loss = power_of(dedicated_net(task, width)(x) - y, power).mean().item() / task.q
    assert loss == pytest.approx(task.dedicated_loss(power, width), rel=0.02, abs=1e-12)


def test_a_neuron_too_few_for_a_circuit_is_left_out(task: CISTask) -> None:
    width = 2 * task.relus_per_circuit + task.relus_per_circuit - 1
    w_out = task.dedicated_weights(width)["W_out"]
    assert w_out.shape == (task.n_outputs, width)
    assert w_out.any(dim=1).sum() == 2 * task.outputs_per_circuit


def test_refuses_unknown_names_and_numbers_out_of_range() -> None:
    with pytest.raises(SettingError, match="unknown task 'xro'; did you mean 'xor'"):
        make_task("xro", size=4)
    with pytest.raises(SettingError, match="size is 0"):
        make_task("xor", size=0)
    with pytest.raises(SettingError, match="size is 1; give an integer of at least 2"):
        make_task("uprod", size=1)
    for active in (0.0, -1.0, 5.0, float("nan")):
        with pytest.raises(SettingError, match="must be above 0 and at most 4"):
            make_task("xor", size=4, active=active)
    assert make_task("uprod", size=4, active=5.0).q == 5 / 6
