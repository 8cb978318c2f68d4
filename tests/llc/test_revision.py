"""A revision rises with whatever makes an estimate."""

from dataclasses import replace

import pytest

from llc_lightning.llc.estimators import ESTIMATORS
from llc_lightning.llc.revision import llc_revision
from llc_lightning.llc.settings import ChainSettings
from llc_lightning.runtime.registry import Registry
from llc_lightning.runtime.status import REASONS
from llc_lightning.sampling.base import SAMPLERS
from llc_lightning.sampling.observables.base import OBSERVABLES


def revise(monkeypatch: pytest.MonkeyPatch, table: Registry, name: str, revision: int) -> None:
    monkeypatch.setitem(table._entries, name, replace(table.get(name), revision=revision))


def test_a_revision_counts_every_change_of_what_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    lm, sgld = ChainSettings(sampler="lm"), ChainSettings(sampler="sgld")
    before = llc_revision(lm), llc_revision(sgld)
    revise(monkeypatch, SAMPLERS, "sgld", SAMPLERS.get("sgld").revision + 2)
    assert (llc_revision(lm), llc_revision(sgld)) == (before[0], before[1] + 2)
    revise(monkeypatch, ESTIMATORS, "stein", ESTIMATORS.get("stein").revision + 1)
    revise(monkeypatch, REASONS, "drifting", REASONS.get("drifting").revision + 1)
    assert (llc_revision(lm), llc_revision(sgld)) == (before[0] + 2, before[1] + 4)
    revise(monkeypatch, OBSERVABLES, "gradient_check", OBSERVABLES.get("gradient_check").revision + 1)
    assert llc_revision(lm) == before[0] + 3


@pytest.mark.parametrize(("table", "leaver"), [(REASONS, "saturated"), (ESTIMATORS, "stein")])
def test_an_estimator_or_a_diagnostic_that_joins_or_leaves_counts_by_itself(
    monkeypatch: pytest.MonkeyPatch, table: Registry, leaver: str
) -> None:
    before = llc_revision(ChainSettings())
    monkeypatch.setattr(table, "_known", dict(table._entries))
    table._known["ours"] = table.get(leaver)
    assert llc_revision(ChainSettings()) == before + 1
    del table._known[leaver]
    assert llc_revision(ChainSettings()) == before + 2
    REASONS.register("told", summary="of ablations", sentence="Told.")(None)
    assert llc_revision(ChainSettings()) == before + 2, "a reason that no diagnostic gives changes no estimate"
    REASONS._known.pop("told")
