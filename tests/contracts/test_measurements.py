"""What every kind of measurement must tell, and what its callback and its plans must do."""

import inspect
from itertools import groupby
from pathlib import Path

import pytest

from llc_lightning.callbacks.base import CALLBACKS
from llc_lightning.measure.measurements import MEASUREMENTS, Plan, measure, measurement_of
from llc_lightning.results.quantities import QUANTITIES
from llc_lightning.runtime.errors import SettingError
from llc_lightning.runtime.registry import register_all
from tests.measure.small import ABLATED_LLC, ABLATION, CIRCUIT, LLC, POSTERIOR, alone, snapshot

register_all("llc_lightning.callbacks")
PLANS = {name: entry.item.off(name).plan for name, entry in CALLBACKS.items()}
PLANS |= {plan.kind: plan for plan in (LLC, ABLATION, ABLATED_LLC, POSTERIOR, CIRCUIT)}  # which are quick
EVERY = pytest.mark.parametrize("name", MEASUREMENTS.names())


@EVERY
def test_it_has_a_room_a_callback_and_quantities(name: str) -> None:
    entry = MEASUREMENTS.get(name)
    home = Path(inspect.getfile(entry.facts.plan)).parent
    assert home.name == name
    assert {"plan.py", "rows.py"} <= {path.name for path in home.iterdir()}
    assert entry.facts.plan.kind == name
    assert measurement_of(PLANS[name]) is entry.item
    assert entry.summary
    assert CALLBACKS.get(name).facts.keys
    assert set(entry.facts.quantities) <= set(QUANTITIES)


def test_no_callback_stands_alone_and_no_key_is_there_twice() -> None:
    assert set(CALLBACKS) == set(MEASUREMENTS)
    keys = [key for _, entry in CALLBACKS.items() for key in entry.facts.keys]
    assert len(keys) == len(set(keys))


@EVERY
def test_a_callback_can_be_switched_off(name: str) -> None:
    callback = CALLBACKS.get(name).item.off("some_name")
    assert not callback.is_on
    assert callback.name == "some_name"
    assert isinstance(callback.plan, MEASUREMENTS.get(name).facts.plan)


@EVERY
def test_its_plan_keeps_the_contract(name: str) -> None:
    plan = PLANS[name]
    assert isinstance(plan, Plan)
    assert plan.revision >= 1
    components = plan.components_of(snapshot().loss.module)
    jobs = plan.jobs(components, data="d")
    assert [component for component, _ in groupby(jobs, key=lambda job: job.component)] == components
    assert plan.cost(jobs) >= len(jobs) > 0
    assert len({job.key(run="r", step=0) for job in jobs}) == len(jobs)


@EVERY
def test_its_rows_are_of_its_quantities_and_every_job_has_one(name: str) -> None:
    plan = PLANS[name]
    rows = alone(plan).rows
    assert {row.quantity for row in rows} <= set(MEASUREMENTS.get(name).facts.quantities)
    owned = {row.key for row in rows if plan.owns(row.quantity, row.loss)}
    failed = measure(plan_that_fails(plan), snapshot(), on_error="skip").rows
    assert owned == {row.key for row in failed}


class Fails:
    """A plan whose components cannot be measured, with the jobs of another one."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.kind = plan.kind

    def __getattr__(self, name: str) -> object:
        return getattr(self._plan, name)

    def cost(self, jobs: object) -> int:
        raise SettingError("it cannot be measured.")


def plan_that_fails(plan: Plan) -> Plan:
    return Fails(plan)  # pyright: ignore[reportReturnType]


def test_a_kind_with_facts_missing_is_refused() -> None:
    with pytest.raises(SettingError) as caught:
        MEASUREMENTS.register("half", summary="told by half", quantities=("llc",))
    assert str(caught.value) == (
        "the kind of measurement 'half' does not say plan; register it with all of: plan, quantities."
    )
