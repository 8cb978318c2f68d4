"""Plans refuse what cannot be measured, and name their settings."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from llc_lightning.llc.settings import ChainSettings, Resolution
from llc_lightning.measure.ablation.plan import AblationPlan
from llc_lightning.measure.llc.plan import LLCPlan
from llc_lightning.runtime.errors import AddressError, SettingError
from tests.components.nets import MLP
from tests.measure.small import ABLATED, ABLATION, LLC, MOVED, Net


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"components": ()}, "components is empty; give at least one."),
        ({"components": ("all", "layers", "all")}, "components has 'all' twice; give each once."),
        ({"n_beta": ()}, "n_beta is empty; give at least one."),
        ({"n_beta": (10.0, 3.0, 10.0)}, "n_beta has 10.0 twice; give each once."),
        ({"n_beta": (10.0, 0.0)}, "n_beta is 0.0; it must be positive."),
        ({"n_beta": (-1.0,)}, "n_beta is -1.0; it must be positive."),
        ({"n_beta": (float("nan"),)}, "n_beta is nan; give a finite number."),
        ({"gamma": -1.0}, "gamma is -1.0; it must be at least 0."),
        ({"gamma": float("inf")}, "gamma is inf; give a finite number."),
    ],
)
def test_an_llc_plan_that_cannot_be_meant(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError) as raised:
        replace(LLC, **change)
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"components": ()}, "components is empty; give at least one."),
        ({"methods": ()}, "methods is empty; give at least one."),
        ({"methods": ("zero", "zero")}, "methods has 'zero' twice; give each once."),
        ({"examples": 0}, "examples is 0; give an integer of at least 1."),
    ],
)
def test_an_ablation_plan_that_cannot_be_meant(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError) as raised:
        replace(ABLATION, **change)
    assert str(raised.value) == message


def test_an_unknown_method_is_told_with_the_nearest() -> None:
    with pytest.raises(SettingError, match="unknown ablation method 'zreo'; did you mean 'zero'"):
        replace(ABLATION, methods=("zreo",))


def test_components_and_resolutions() -> None:
    assert [part.address for part in LLC.components_of(Net())] == MOVED
    assert [part.address for part in ABLATION.components_of(Net())] == ABLATED
    assert LLC.resolutions == [Resolution(10.0, 5.0), Resolution(100.0, 5.0)]


def test_components_that_have_but_one_side() -> None:
    with pytest.raises(SettingError) as raised:
        replace(LLC, components=("all", "1")).components_of(nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
    assert str(raised.value) == (
        "'1' has no weights of its own, so it has no restricted LLC; address a Linear or Conv, or declare the weights "
        "of the hook point with weight_axes()."
    )
    for part in ("all", "first.bias"):
        with pytest.raises(AddressError) as raised:
            replace(ABLATION, components=("layers", part)).components_of(MLP())
        assert str(raised.value) == (
            f"{part!r} has no activation, so it cannot be ablated; address a hook point or units of one, such as "
            "'layers' or 'neurons'."
        )


def test_an_unknown_component() -> None:
    for plan in (LLC, ABLATION):
        with pytest.raises(AddressError, match="unknown component 'hook_thre'; did you mean 'hook_"):
            replace(plan, components=("hook_thre",)).components_of(Net())


def test_a_plan_fits_itself_to_the_examples() -> None:
    assert LLC.fitted(3) is LLC
    assert ABLATION.fitted(3) is ABLATION
    some = replace(ABLATION, examples=10)
    assert (some.fitted(3).examples, some.fitted(10).examples, some.fitted(99).examples) == (3, 10, 10)


@pytest.mark.parametrize(("resamples", "least"), [(-3, 0), (50, 99)])
def test_too_few_resamples_are_refused_before_anything_is_measured(resamples: int, least: int) -> None:
    with pytest.raises(SettingError) as raised:
        replace(ABLATION, resamples=resamples)
    assert str(raised.value) == f"resamples is {resamples}; give an integer of at least {least}."


def test_every_component_has_a_job_at_every_rung() -> None:
    parts = LLC.components_of(Net())
    jobs = LLC.jobs(parts, data="d")
    assert [(job.component.address, job.resolution) for job in jobs] == [
        (part.address, at) for part in parts for at in LLC.resolutions
    ]
    assert len({job.key(run="r", step=0) for job in jobs}) == len(jobs) == 10
    assert {job.settings for job in jobs} == {LLC.settings_at(rung, data="d", replicate=0) for rung in LLC.n_beta}


def test_every_component_has_a_job_for_every_method() -> None:
    parts = ABLATION.components_of(Net())
    jobs = ABLATION.jobs(parts, data="d")
    assert [(job.component.address, job.method) for job in jobs] == [
        (part.address, method) for part in parts for method in ("zero", "resample")
    ]
    assert len({job.key(run="r", step=0) for job in jobs}) == len(jobs) == 22
    assert jobs == ABLATION.jobs(parts, data="d", replicate=1)


def settings(plan: LLCPlan | AblationPlan, data: str = "d", replicate: int = 0) -> list[str]:
    return sorted({job.settings for job in plan.jobs(plan.components_of(Net()), data=data, replicate=replicate)})


def test_whatever_may_change_a_value_changes_the_settings() -> None:
    others = [
        *(settings(replace(LLC, gamma=6.0)), settings(LLC, data="e"), settings(LLC, replicate=1)),
        *(settings(replace(LLC, n_beta=(11.0, 101.0))), settings(replace(ABLATION)), settings(ABLATION, data="e")),
    ]
    changes: list[dict[str, Any]] = [
        *({"sampler": "sgld", "step_size": 1e-5}, {"step_fraction": 0.3}, {"preconditioner": "hutchinson"}),
        *({"chains": 3}, {"draws": 7}, {"burn_in": 3}, {"batch_size": 9}, {"curvature_examples": 9}),
    ]
    others += [settings(replace(LLC, settings=replace(LLC.settings, **change))) for change in changes]
    changes = [
        {"metrics": ("kl",)},
        {"metrics": ("kl(last=true)",)},
        {"resamples": 99},
        {"resamples": 199},
        {"seed": 0},
    ]
    others += [settings(replace(ABLATION, **change)) for change in [*changes, {"warm_start": True}, {"mask": "real"}]]
    known = set(settings(LLC))
    for other in others:
        assert len(other[0]) == 16
        assert not known & set(other)
        known |= set(other)


def test_what_changes_no_value_leaves_the_settings() -> None:
    assert settings(replace(LLC, components=("hook_one[2]",))) == settings(LLC)
    assert set(settings(replace(LLC, n_beta=(100.0,)))) < set(settings(LLC))
    fewer = replace(ABLATION, components=("layers",), tasks=False)
    assert settings(fewer) == settings(ABLATION)
    for method in ABLATION.methods:
        (alone,) = settings(replace(fewer, methods=(method,)))
        assert alone in settings(ABLATION)


def test_chain_settings_have_defaults() -> None:
    assert LLCPlan(components=("all",), n_beta=(1.0,), gamma=1.0).settings == ChainSettings()


def test_words_leave_out_what_has_no_weights_and_addresses_do_not() -> None:
    class Normed(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = torch.nn.Linear(4, 6)
            self.b = torch.nn.utils.parametrizations.spectral_norm(torch.nn.Linear(6, 6))
            self.c = torch.nn.Linear(6, 1)

        def per_example_loss(self, batch: torch.Tensor) -> torch.Tensor:
            return self.c(self.b(self.a(batch).relu()).relu())[:, 0].square()

    plan = replace(LLC, components=("neurons",))
    assert [component.address for component in plan.components_of(Normed())] == [f"a[{unit}]" for unit in range(6)]
    with pytest.raises(SettingError, match=r"'b\[0\]' has no weights of its own"):
        replace(LLC, components=("b[0]",)).components_of(Normed())
