"""A revision that rises gives rows of its own, and takes none away."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llc_lightning.ablation.engine.base import METHODS
from llc_lightning.llc.estimators import ESTIMATORS
from llc_lightning.measure.keep import keep, part_of
from llc_lightning.measure.measurements import measure
from llc_lightning.results.store import Store
from llc_lightning.runtime.registry import Registry
from llc_lightning.runtime.status import REASONS
from llc_lightning.sampling.base import SAMPLERS
from tests.measure.small import ABLATION, LLC, alone, snapshot


def raised(monkeypatch: pytest.MonkeyPatch, table: Registry[Any, Any], name: str) -> None:
    entry = table.get(name)
    monkeypatch.setitem(table._entries, name, replace(entry, revision=entry.revision + 1))


def test_a_method_s_rows_alone_are_of_its_new_revision(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = alone(ABLATION)
    first = ABLATION.revision
    keep(tmp_path, part_of(30, "ablation", revision=first), before, step=30)
    raised(monkeypatch, METHODS, "zero")
    after = measure(ABLATION, snapshot())
    old, new = ({row.key: row for row in outcome.rows} for outcome in (before, after))
    changed = [row for row in after.rows if row.key not in old]
    assert {(row.method, row.revision) for row in changed} == {("zero", METHODS.get("zero").revision)}
    assert all(old[key] == row for key, row in new.items() if key in old)
    assert not {row.settings for row in changed} & {row.settings for row in before.rows if row.method == "zero"}

    keep(tmp_path, part_of(30, "ablation", revision=ABLATION.revision), after, step=30)
    assert sorted(Store(tmp_path).parts()) == [
        f"step=00000030-ablation-revision={first}",
        f"step=00000030-ablation-revision={first + 1}",
    ]
    table = Store(tmp_path).read()
    assert len(table) == len(before.rows) + len(changed)
    raised(monkeypatch, METHODS, "resample")
    assert part_of(30, "ablation", revision=ABLATION.revision).endswith(f"-revision={first + 2}"), (
        "and replaces neither of them"
    )


@pytest.mark.parametrize(("table", "name"), [(SAMPLERS, "lm"), (ESTIMATORS, "stein"), (REASONS, "not-mixed")])
def test_an_llc_is_revised_by_any_part_of_its_engine(
    monkeypatch: pytest.MonkeyPatch, table: Registry[Any, Any], name: str
) -> None:
    (old,) = LLC.jobs(LLC.components_of(snapshot().loss.module)[:1], data="d")[:1]
    raised(monkeypatch, table, name)
    (new,) = LLC.jobs(LLC.components_of(snapshot().loss.module)[:1], data="d")[:1]
    assert new.revision == old.revision + 1
    assert old.settings != new.settings


def test_another_sampler_s_revision_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    before = LLC.revision
    raised(monkeypatch, SAMPLERS, "mala")
    assert LLC.revision == before
