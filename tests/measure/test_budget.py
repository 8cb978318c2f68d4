"""What is left out first, and last."""

import pytest
import torch

from llc_lightning.components.component import Component
from llc_lightning.components.listing import find_components
from llc_lightning.measure import budget
from llc_lightning.measure.ablation.plan import AblationPlan
from llc_lightning.measure.budget import Account, Costs, Detail, Kept, Purse, decide, details, screened
from llc_lightning.measure.circuit.plan import CircuitPlan
from llc_lightning.measure.llc.plan import LLCPlan
from tests.circuits.nets import net
from tests.measure.small import CHAINS, snapshot

SOME = [Component(f"net.hook[{number}]", "neuron", "net.hook", (number,)) for number in range(10)]
STEPS = CHAINS.steps


def accounts() -> dict[str, Account]:
    """A ladder of 3 rungs over 10 neurons, a second for each value; 2 methods, a tenth of one for each."""
    llc = LLCPlan(components=("neurons",), n_beta=(100.0, 10.0, 30.0), gamma=1.0, settings=CHAINS)
    ablation = AblationPlan(components=("neurons",), methods=("mean", "zero"))
    return {
        "llc": Account(llc, SOME, Costs(0.0, 1 / STEPS)),
        "ablation": Account(ablation, SOME, Costs(0.0, 0.1), essential=True),
    }


def kept(name: str, whole: float, *, spent: float = 0.0, last: bool = False) -> Kept | None:
    return decide(name, accounts(), Purse(whole, spent, dict.fromkeys(accounts(), 1), last=last))


@pytest.mark.parametrize(
    ("whole", "llc", "ablation"),
    [
        (32.0, Kept(3, 1, 10), Kept(1, 2, 10)),
        (31.0, Kept(2, 1, 10), Kept(1, 2, 10)),
        (12.0, Kept(1, 1, 10), Kept(1, 2, 10)),
        (11.0, Kept(1, 1, 10), Kept(1, 1, 10)),
        (10.0, Kept(1, 1, 7), Kept(1, 1, 7)),
        (2.5, Kept(1, 1, 1), Kept(1, 1, 1)),
        (1.6, None, Kept(1, 1, 5)),
    ],
)
def test_rungs_go_first_then_methods_then_components_then_moments(
    whole: float, llc: Kept | None, ablation: Kept
) -> None:
    assert kept("llc", whole) == llc
    assert kept("ablation", whole) == ablation


def test_the_zero_effects_of_the_last_moment_go_last() -> None:
    assert kept("ablation", 1.5, last=True) == Kept(1, 1, 10)
    assert kept("ablation", 1.5, spent=1.4, last=True) == Kept(1, 1, 10)
    assert kept("ablation", 0.9, last=True) == Kept(1, 1, 7)


def test_of_many_moments_those_are_measured_for_which_enough_has_been_saved() -> None:
    some = accounts()
    done: list[int] = []
    spent = 0.0
    for moment in range(1, 11):
        to_come = {"llc": 11 - moment, "ablation": 0}
        got = decide("llc", some, Purse(3.5, spent, to_come, passed=moment / 10, last=moment == 10))
        if got:
            done.append(moment)
            spent += some["llc"].seconds(got)
            some["llc"].done += 1
    assert done == [3, 6, 9]
    assert spent == 3.0


def test_one_that_can_never_be_paid_for_does_not_hold_up_the_others() -> None:
    some = accounts() | {"dear": Account(accounts()["llc"].plan, SOME, Costs(1000.0, 0.0))}
    to_come = dict.fromkeys(some, 1)
    assert decide("dear", some, Purse(32.0, 0.0, to_come)) is None
    assert decide("llc", some, Purse(32.0, 0.0, to_come)) == Kept(3, 1, 10)


def test_last_effects_that_can_never_be_paid_for_hold_up_no_others() -> None:
    llc, ablation = accounts().values()
    dear = Account(ablation.plan, SOME, Costs(1.0, 4.0), essential=True)  # 41 s for zero, 5 s for one of it
    to_come = {"llc": 1, "dear": 1}
    assert decide("llc", {"llc": llc, "dear": dear}, Purse(35.0, 0.0, to_come)) == Kept(1, 1, 5)
    dear = Account(ablation.plan, SOME, Costs(1000.0, 0.0), essential=True)
    assert decide("llc", {"llc": llc, "dear": dear}, Purse(35.0, 0.0, to_come)) == Kept(3, 1, 10)


def test_costs_are_learnt() -> None:
    costs = Costs(1.0, 0.5)
    assert costs.of(4) == 3.0
    costs.see(4, 2.0)
    costs.see(8, 6.0)
    costs.see(4, 3.0)
    assert [costs.of(units) for units in (0, 4, 6, 8, 10)] == [1.25, 2.5, 4.25, 6.0, 7.75]
    costs.see(8, -4.0)  # never less for more
    assert costs.of(8) == 2.5


def test_looks_at_nothing_tell_what_is_spent_whatever_is_measured() -> None:
    costs = Costs(1.0, 0.5)
    costs.see(0, 2.0)
    costs.see(0, 4.0)
    assert (costs.of(0), costs.of(4)) == (3.0, 5.0)
    costs.see(4, 4.0)
    assert [costs.of(units) for units in (0, 2, 4)] == [3.0, 3.5, 4.0]


def test_what_the_first_measurement_takes_besides_is_no_cost_of_later_ones() -> None:
    costs = Costs(1.0, 0.5, first=3.0)
    assert costs.of(4) == 3.0
    costs.see(0, 1.0)  # a look at nothing records nothing
    assert costs.first == 3.0
    costs.see(4, 6.5)
    assert (costs.first, costs.of(4)) == (0.0, 3.5)
    costs.see(4, 3.5)
    assert costs.of(4) == 3.5
    cheap = Costs(1.0, 0.5, first=3.0)
    cheap.see(4, 3.2)  # not free from now on
    assert cheap.of(4) == 3.0


def test_what_is_paid_at_the_first_moment_alone_leaves_room_for_all_moments() -> None:
    plan, spent, got = accounts()["llc"].plan, 0.0, list[Kept | None]()
    account = Account(plan, SOME, Costs(0.0, 1 / STEPS, first=20.0))  # 10 s a rung
    for moment in range(1, 6):
        to_come = {"llc": 6 - moment}
        kept = decide("llc", {"llc": account}, Purse(70.5, spent, to_come, moment / 5, moment == 5))
        got.append(kept)
        assert kept
        spent += (seconds := account.seconds(kept))
        account.costs.see(account.units(kept), seconds)
        account.done += 1
    assert got == [Kept(1, 1, 10)] * 5  # charged at every moment it would leave room for a few components alone
    assert spent == pytest.approx(70.0)
    assert account.seconds(Kept(1, 1, 10), 0) == 0.0


def test_one_component_of_a_plan_without_room_for_its_searches_is_an_edge() -> None:
    plan = CircuitPlan(search="acdc", resamples=2)
    account = Account(plan, plan.components_of(net("layer")[0]), Costs(0.0, 1.0))
    assert [account.units(Kept(1, 1, number)) for number in (1, 2)] == [1, 2]
    assert account.units(Kept(1, 1, len(account.components))) == len(account.components) - 2
    assert decide("circuit", {"circuit": account}, Purse(1.5, 0.0, {"circuit": 1})) == Kept(1, 1, 1)


def test_plans_are_narrowed_to_what_their_rows_do_not_depend_on() -> None:
    llc, ablation = (account.plan for account in accounts().values())
    assert [job.resolution.n_beta for job in llc.narrowed(2, 1).jobs(SOME[:1], data="") if job.resolution] == [10, 30]
    assert [job.method for job in ablation.narrowed(1, 1).jobs(SOME[:1], data="")] == ["zero"]
    for plan in (llc, ablation):
        whole = {job.columns["settings"] for job in plan.jobs(SOME, data="x")}
        assert {job.columns["settings"] for job in plan.narrowed(1, 1).jobs(SOME, data="x")} <= whole


def test_components_are_screened_by_their_attribution() -> None:
    at = snapshot()
    some = find_components(at.loss.module, ("hook_two[*]", "all"))
    with torch.no_grad():
        at.params["W_mid.bias"][1] += 10.0  # it fires
        at.params["W_out.weight"][:, [0, 2]] *= 1e-3
    assert screened(at, some, len(some)) == [component.address for component in some]
    chosen = screened(at, some, 2)
    assert chosen[0] == next(one.address for one in some if not one.point)
    assert chosen[1] == "hook_two[1]"


def test_components_of_a_model_without_a_gradient_are_taken_as_they_are_listed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(*given: object, **more: object) -> None:
        raise RuntimeError("no backward")

    monkeypatch.setattr(budget, "attribution", refused)
    some = find_components((at := snapshot()).loss.module, ("hook_two[*]",))
    assert screened(at, some, 2) == [component.address for component in some[:2]]


def test_details_come_in_the_order_in_which_they_are_left_out() -> None:
    every = list(details(3, 2))
    assert every[:4] == [Detail(3, 2), Detail(2, 2), Detail(1, 2), Detail(1, 1)]
    assert [one.components for one in every[3:]] == sorted((one.components for one in every[3:]), reverse=True)


def test_to_choose_components_costs_seconds_where_not_all_are_measured() -> None:
    account = Account(accounts()["ablation"].plan, SOME, Costs(0.0, 0.1), screening=2.0)
    assert account.seconds(Kept(1, 1, 10)) == pytest.approx(1.0)
    assert account.seconds(Kept(1, 1, 5)) == pytest.approx(2.5)
    # Half of the components cost more than all of them: what is left is nothing or all.
    assert decide("ablation", {"ablation": account}, Purse(1.5, 0.0, {"ablation": 1})) is None
    assert decide("ablation", {"ablation": account}, Purse(2.2, 0.0, {"ablation": 1})) == Kept(1, 2, 10)
