"""Baselines: the affine fit, the net wired by hand, and their losses against formulas."""

from typing import TypeAlias

import pytest
import torch

from llc_lightning.components.loss import TaskQuantity
from llc_lightning.data.tasks import CISTask, make_task
from llc_lightning.data.tasks.abs import AbsTask
from llc_lightning.data.tasks.base import ProductTask
from llc_lightning.data.tasks.circ import CircTask
from llc_lightning.data.tasks.relu import ReluTask
from llc_lightning.models.baselines import affine_least_squares, baseline_quantities, dedicated_net
from llc_lightning.runtime.seeding import generator
from tests.data.tasks.sizes import settings

Measured: TypeAlias = tuple[CISTask, float, int, dict[str, TaskQuantity]]
N = 131_072
SETTINGS = settings(100)


@pytest.fixture(params=[(task, power) for task in SETTINGS for power in (2.0, 4.0)], ids=str, scope="module")
def measured(request: pytest.FixtureRequest) -> Measured:
    (name, power), (size, width) = request.param, SETTINGS[request.param[0]]
    task = make_task(name, size=size)
    rows = baseline_quantities(task, task.sample(N, generator(0)), width=width, power=power)
    return task, power, width, {f"{row.quantity} {row.method}": row for row in rows}


def test_every_baseline_has_a_row_on_all_examples(
    measured: Measured,
) -> None:
    task, *_, rows = measured
    assert set(rows) == {
        *(f"baseline_loss {method}" for method in ("zero", "affine", "dedicated_net", "dedicated")),
        "circuits_solved dedicated",
        f"{task.accuracy} dedicated",
    }
    assert rows[f"{task.accuracy} dedicated"].value >= task.chance
    assert all(row.n == N and row.loss == "train" for row in rows.values())


def test_zero_has_the_trivial_loss(measured: Measured) -> None:
    task, power, _, rows = measured
    zero = rows["baseline_loss zero"]
    assert abs(zero.value - task.trivial_loss(power)) < 4 * zero.stderr
    assert 0 < zero.stderr < 0.01 * zero.value


def test_the_net_wired_by_hand_reaches_the_formula_within_2_percent(
    measured: Measured,
) -> None:
    task, power, width, rows = measured
    formula = rows["baseline_loss dedicated"]
    assert (formula.value, formula.stderr) == (task.dedicated_loss(power, width), 0.0)
    assert rows["baseline_loss dedicated_net"].value == pytest.approx(formula.value, rel=0.02)
    assert rows["circuits_solved dedicated"].value == width / task.relus_per_circuit


def test_no_affine_map_beats_zero_where_a_task_needs_computation_and_half_the_input_is_best_on_relu(
    measured: Measured,
) -> None:
    task, power, _, rows = measured
    affine, zero = rows["baseline_loss affine"].value, rows["baseline_loss zero"].value
    if not isinstance(task, (ReluTask, ProductTask, CircTask, AbsTask)):
        assert power != 2.0 or affine < 1.03 * zero, "a task may have a linear part"
    elif isinstance(task, ReluTask):
        assert affine == pytest.approx({2.0: 1 / 12, 4.0: 1 / 80}[power], rel=0.05)
    else:
        assert affine == pytest.approx(zero, rel=0.03)


def test_the_affine_fit_finds_an_affine_map_and_ignores_inputs_that_are_never_on() -> None:
    x = torch.randint(-1, 2, (20_000, 5), generator=generator(0), dtype=torch.int8)
    x[:, 3] = 0
    map_ = torch.tensor([[1.0, -2.0, 0.5, 0.0, 3.0, 0.25], [0.0, 0.0, 1.0, 0.0, 0.0, -1.0]])
    y = x.float() @ map_[:, :-1].T + map_[:, -1]
    assert torch.allclose(affine_least_squares(x, y), map_, atol=1e-6)


def test_the_affine_fit_is_the_least_squares_solution() -> None:
    x = torch.randn(500, 4, generator=generator(0))
    y = torch.randn(500, 2, generator=generator(1))
    terms = torch.cat((x, torch.ones(500, 1)), dim=1).double()
    assert torch.allclose(
        affine_least_squares(x, y).double(), torch.linalg.lstsq(terms, y.double()).solution.T, atol=1e-6
    )


@pytest.mark.parametrize("name", SETTINGS)
def test_each_neuron_wired_by_hand_serves_exactly_one_circuit(name: str) -> None:
    size, width = SETTINGS[name]
    task = make_task(name, size=size)
    net = dedicated_net(task, width)
    x, y = task.sample(8192, generator(0))
    active = task.is_active(x, y)

    def circuit_losses(silent: int | None) -> torch.Tensor:
        def silence(hidden: torch.Tensor, hook: object) -> torch.Tensor:
            return hidden if silent is None else hidden.index_fill(-1, torch.tensor([silent]), 0.0)

        with torch.no_grad():
            outputs = net.run_with_hooks(x, fwd_hooks=[("hook_hidden", silence)])
        return (task.per_circuit((outputs - y).square()) * active).sum(dim=0) / active.sum(dim=0)

    base = circuit_losses(None)
    effects = torch.stack([circuit_losses(neuron) - base for neuron in range(width)]).clamp(min=0)
    assert (effects.sum(dim=1) ** 2 / effects.square().sum(dim=1) == 1).all()
    assert torch.equal(effects.argmax(dim=1), torch.arange(width) // task.relus_per_circuit)
