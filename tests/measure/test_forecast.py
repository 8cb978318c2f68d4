"""What a measurement will cost is told from a few of its steps."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch

from llc_lightning.llc.settings import ChainSettings
from llc_lightning.measure import forecast as forecasts
from llc_lightning.measure.ablation.plan import AblationPlan
from llc_lightning.measure.cost import Forecast, duration
from llc_lightning.measure.forecast import Told, brief, by_examples, cost_told, forecast, timed
from llc_lightning.measure.llc.plan import LLCPlan
from llc_lightning.measure.snapshot import Snapshot
from llc_lightning.runtime.progress import Advance
from llc_lightning.runtime.workers import Workers
from tests.callbacks.plain import PlainModule, examples


@dataclass
class Watch:
    """A clock that goes on as it is told."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def estimates(watch: Watch, settings: ChainSettings, number: int) -> Callable[[Advance], None]:
    """Returns what runs estimates: 10 s to begin, 1 s a step, 2 s more a draw that is looked at, 5 s to end."""

    def run(done: Advance) -> None:
        for _ in range(number):
            watch.now += 10
            for step in range(settings.steps):
                watch.now += 1 if step < settings.burn_in else 3
                done(1)
            watch.now += 5

    return run


def test_steps_that_were_not_made_are_added_and_looks_are_rarer() -> None:
    watch, settings = Watch(), ChainSettings(draws=500, burn_in=100)
    few = brief(settings, 1000)
    assert (few.burn_in, few.draws, few.chains) == (8, 12, settings.chains)
    assert few.curvature_size(1000) == settings.curvature_size(1000)
    # 50 of 500 draws are looked at.
    assert timed(estimates(watch, few, 3), few, settings, watch) == pytest.approx([15 + 600 + 2 * 50] * 3, abs=16)
    assert watch.now == 3 * (15 + 8 + 12 * 3)
    looked = timed(estimates(watch, few, 1), few, settings, watch, looks=500)
    assert looked == [15 + 600 + 2 * 500]


def test_a_measurement_that_fails_costs_what_failing_costs() -> None:
    watch, settings = Watch(), ChainSettings()

    def run(done: Advance) -> None:
        watch.now += 3

    assert timed(run, brief(settings, 10), settings, watch) == [3]


def test_what_grows_with_the_examples_is_told_from_some_of_them() -> None:
    watch = Watch()

    def run(n: int) -> None:
        watch.now += 2 + 0.5 * n

    assert by_examples(run, 800, watch) == 2 + 0.5 * 800


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    return Snapshot.of(PlainModule(), examples(), run="a", seed=0, step=0, epoch=0)


@pytest.mark.parametrize(
    "plan",
    [
        LLCPlan(
            components=("all", "channels"), n_beta=(10.0, 30.0, 100.0), gamma=1.0,
            settings=ChainSettings(chains=2, draws=20, burn_in=4),
        ),
        AblationPlan(components=("channels",), methods=("zero", "mean")),
    ],
)  # fmt: skip
def test_every_component_has_its_share_and_the_module_stays_as_it_is(plan: LLCPlan, snapshot: Snapshot) -> None:
    before = {name: value.clone() for name, value in snapshot.params.items()}
    told = forecast(plan, snapshot)
    assert told is not None
    found = plan.components_of(snapshot.loss.module, snapshot.data)
    assert set(told.components) == {component.address for component in found}
    assert all(seconds > 0 for seconds in told.components.values())
    assert told.seconds == pytest.approx(told.once + sum(told.components.values()))
    assert (told.with_minibatches is not None) == isinstance(plan, LLCPlan), "full batches of 96 examples"
    assert all(torch.equal(value, before[name]) for name, value in snapshot.params.items())


def test_what_is_short_is_not_told_and_a_fault_is_left_to_the_measurement(
    snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = AblationPlan(components=("channels",), methods=("zero",))
    assert cost_told(plan, snapshot, Workers()) is None
    monkeypatch.setattr(forecasts, "_QUICK", 0.0)
    assert cost_told(plan, snapshot, Workers()) is not None
    assert cost_told(AblationPlan(components=("heads",), methods=("zero",)), snapshot, Workers()) is None


def test_a_needless_full_batch_is_told_with_the_setting() -> None:
    told = Told(Forecast(1.0, {"all": 21.0}, with_minibatches=1.3), 2000)
    assert told.sentence(10) == "one measurement takes about 22 s; 10 are due, about 4 min"
    assert told.sentence(1) == "one measurement takes about 22 s; 1 is due, about 22 s"
    assert told.sentence(None) == "one measurement takes about 22 s"
    assert "all 2,000 examples, about 22 s a measurement; with batch_size=64 it takes about 1 s" in told.advice
    assert Told(Forecast(1.0, {"all": 21.0}, with_minibatches=15.0), 2000).advice == ""
    assert Told(Forecast(1.0, {"all": 2.0}, with_minibatches=0.1), 2000).advice == ""
    assert Told(Forecast(1.0, {"all": 21.0}), 2000).advice == ""
    assert duration(100.0) == "2 min"
