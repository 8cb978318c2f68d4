"""The losses of tasks along chains of their joint loss, and chains of a task's own loss."""

import math

import pytest
import torch
from torch import Tensor

from llc_lightning.components.loss import loss_fn, snapshot_params, task_loss
from llc_lightning.data.cis import CISData
from llc_lightning.llc.estimator import estimate_llc, estimate_parts
from llc_lightning.llc.settings import ChainSettings, Resolution, Restriction
from llc_lightning.llc.tasks import tasks_of_module
from llc_lightning.models.cis import CISModel
from llc_lightning.runtime.batches import Params
from llc_lightning.runtime.errors import SettingError

AT = {"n_beta": 100.0, "gamma": 1.0}
CURVATURES = torch.tensor([[1.0, 0.0], [0.0, 3.0]])
"""Of two kinds of examples."""
KINDS = torch.arange(8) % 4 == 0


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def loss(params: Params, batch: Tensor) -> Tensor:
    return (batch * params["w"].square()).sum(-1) / 2


def data() -> Tensor:
    return CURVATURES[KINDS.long()]


@pytest.mark.parametrize("batch_size", [None, 4])
def test_tasks_add_up_to_the_joint_loss_and_each_is_exact(batch_size: int | None) -> None:
    step_size, burn_in, draws = (0.02, 200, 1000) if batch_size is None else (0.002, 1500, 3000)
    masks = {"first": ~KINDS, "second": KINDS}
    record = estimate_llc(
        loss, {"w": torch.zeros(2)}, data(), **AT, sampler="lm", step_size=step_size, chains=64,
        burn_in=burn_in, draws=draws, batch_size=batch_size, tasks=masks,
    )  # fmt: skip
    joint = torch.tensor([0.75, 0.25]) @ CURVATURES
    variance = 1 / (AT["n_beta"] * joint + AT["gamma"])
    for name, curvature in zip(masks, CURVATURES, strict=True):
        exact = (AT["n_beta"] * curvature * variance).sum().item() / 2
        found = record.tasks[name]
        slack = 0.0 if batch_size is None else 0.1 * exact  # minibatches bias the posterior itself
        assert abs(found.value - exact) <= 3 * found.stderr + slack
        assert found.stderr < 0.05 * exact
    if batch_size is None:
        total = 0.75 * record.tasks["first"].value + 0.25 * record.tasks["second"].value
        assert total == pytest.approx(record.value, abs=6 * record.stderr)  # at a part of the draws


def test_a_task_that_is_no_mask_or_has_no_example_is_refused() -> None:
    params = {"w": torch.zeros(2)}
    with pytest.raises(SettingError, match=r"the task 'x' is torch\.int64 of shape \(8,\); give a bool for each of"):
        estimate_llc(loss, params, data(), **AT, tasks={"x": torch.zeros(8, dtype=torch.long)})
    with pytest.raises(SettingError, match=r"the task 'x' has no example; give it at least one, or leave it out\."):
        estimate_llc(loss, params, data(), **AT, tasks={"x": torch.zeros(8, dtype=torch.bool)})


def test_the_tasks_of_a_module_and_a_task_sampled_by_itself() -> None:
    module = CISModel(size=4, width=6)
    examples = CISData(size=4, analysis_size=512).analysis_set()
    whole, params = loss_fn(module), snapshot_params(module)
    tasks = tasks_of_module(whole, params, examples)
    settings = ChainSettings(chains=4, draws=40, burn_in=10, batch_size=32, step_size=1e-4)
    at = [Resolution(50.0, 100.0)]
    ((record,),) = estimate_parts(whole, params, examples, [Restriction(None)], at, settings, tasks=tasks)
    assert set(record.tasks) == set(module.task_names)
    assert all(math.isfinite(found.value) for found in record.tasks.values())
    ((plain,),) = estimate_parts(whole, params, examples, [Restriction(None)], at, settings)
    assert plain.value == record.value
    name = module.task_names[2]
    own, some = task_loss(whole, params, examples, name)
    ((alone,),) = estimate_parts(own, params, some, [Restriction(None)], at, settings)
    assert alone.n_examples == len(some[0]) < len(examples[0])
    assert alone.loss == pytest.approx(own(params, some).mean().item())
    with pytest.raises(SettingError, match="unknown task 'circuit:99'"):
        task_loss(whole, params, examples, "circuit:99")
