"""Planted pairs that single ablations hide or make up."""

from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from llc_lightning.ablation.engine.sweep import sweep
from llc_lightning.analysis.co_ablation import interactions, unmatched
from llc_lightning.analysis.method_agreement import adjusted_p, method_agreement
from llc_lightning.cli.ablate import interaction_table
from llc_lightning.components.listing import find_components
from llc_lightning.components.loss import loss_fn, snapshot_params
from llc_lightning.results.schema import COMMON, encode_details
from tests.analysis.synthetic import frame


class Planted(nn.Module):
    """Units 0 and 1 each suffice, 2 and 3 cancel, 4 is needed alone, 5 does nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.hook_units = nn.Linear(2, 6, bias=False)
        with torch.no_grad():
            self.hook_units.weight.copy_(torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 1], [0, 1], [1, 0]]))

    def per_example_loss(self, batch: Tensor) -> Tensor:
        h = self.hook_units(batch)
        y = 1 - (1 - h[:, 0] - h[:, 1]).relu() + 5 * (h[:, 2] - h[:, 3]) + h[:, 4]
        return (y - batch.sum(-1)).square()


def rows(methods: list[str]) -> pd.DataFrame:
    module = Planted()
    data = torch.stack([(torch.arange(600) % 2).float(), torch.randn(600)], dim=1)
    parts = find_components(module, ["hook_units[*]", "pairs:hook_units[*]"])
    found = sweep(loss_fn(module), snapshot_params(module), data, parts, methods, seed=0)
    kept = ("quantity", "component", "kind", "method", "loss", "value", "stderr", "status")
    told = [(asdict(one), one.n) for one in found]
    return frame([{name: one[name] for name in kept} | {"n_examples": n} for one, n in told])


def test_redundant_and_cancelling_pairs_are_found() -> None:
    found = {one.component: one for one in interactions(rows(["zero"]))}
    assert len(found) == 15
    redundant, cancelling = found["hook_units[0]+hook_units[1]"], found["hook_units[2]+hook_units[3]"]
    assert redundant.alone == (0.0, 0.0)
    assert abs(redundant.together - 0.5) < 1e-6
    assert redundant.verdict == "redundant"
    assert redundant.given == (redundant.together, redundant.together)
    assert np.isnan(redundant.ratio)
    assert abs(cancelling.given[0] + cancelling.alone[1]) < 1e-6
    assert min(cancelling.alone) > 10
    assert abs(cancelling.together) < 1e-6
    assert cancelling.verdict == "cancelling"
    assert found["hook_units[4]+hook_units[5]"].verdict == "additive"
    assert {one.verdict for name, one in found.items() if "[5]" in name} == {"additive"}


def test_disagreements_between_methods_are_listed() -> None:
    table = rows(["zero", "mean", "resample"])
    units = table.loc[table["kind"] == "output"]
    found = method_agreement(units)
    assert found is not None
    assert set(found.correlations) == {("mean", "resample"), ("mean", "zero"), ("resample", "zero")}
    assert found.effects.shape == (6, 3)
    # Replaced by 1/2 a redundant unit still suffices; donors of the wrong sort make it say too much.
    assert found.components[0] == "hook_units[0]"
    assert all(one.clear[0] != one.clear[1] or abs(one.ranks[0] - one.ranks[1]) >= 0.5 for one in found.disagreements)
    assert method_agreement(units.loc[units["method"] == "zero"]) is None


def test_p_values_are_adjusted_over_components() -> None:
    effects = frame([{"value": value, "stderr": 1.0, "details": "{}"} for value in (0.0, 3.0, 5.0)])
    p = adjusted_p(effects)
    assert p[0] == 1
    assert 0.002 < p[1] < 0.006
    assert p[2] < 1e-5
    assert adjusted_p(frame([{"value": 9.0, "stderr": 1.0, "details": '{"p":0.5}'}]))[0] == 0.5


def effect(component: str, method: str, value: float, n: int, settings: str = "a", kind: str = "head") -> Any:
    row = {"quantity": "ablation_effect", "component": component, "kind": kind, "method": method, "value": value}
    return row | {"stderr": 0.01, "n_examples": n, "settings": settings}


def test_a_pair_is_compared_with_members_on_its_own_examples_alone() -> None:
    pair = effect("z[0]+z[1]", "zero", 5.0, 32, kind="pair")
    live = [effect(f"z[{unit}]", "zero", 1.0, 4096, "live") for unit in range(2)]
    assert interactions(frame([*live, pair])) == []
    assert unmatched(frame([*live, pair])) == ["z[0]+z[1]"]
    half = [effect("z[0]", "zero", 2.0, 32), *live]
    assert interactions(frame([*half, pair])) == []
    other = [effect(f"z[{unit}]", "zero", 9.0, 32, "other data") for unit in range(2)]
    (found,) = interactions(frame([pair, *half, effect("z[1]", "zero", 2.5, 32), *other]))
    assert found.alone == (2.0, 2.5)
    assert unmatched(frame([pair, *half, effect("z[1]", "zero", 2.5, 32)])) == []


def test_a_pair_measured_twice_is_taken_with_the_most_examples() -> None:
    rows = [
        effect(component, "zero", value, n, kind="pair" if "+" in component else "head")
        for n, values in ((4096, (3.0, 1.0, 1.0)), (32, (9.0, 2.0, 2.0)))
        for component, value in zip(("z[0]+z[1]", "z[0]", "z[1]"), values, strict=True)
    ]
    (found,) = interactions(frame(rows))
    assert found.surplus == 1.0


def test_methods_are_compared_on_the_same_examples_alone() -> None:
    few = [effect(f"z[{unit}]", "mean", 9.0 - unit, 32, "few") for unit in range(4)]
    many = [effect(f"z[{unit}]", method, unit, 64) for unit in range(4) for method in ("zero", "mean", "resample")]
    fitted = [effect(f"z[{unit}]", "optimal(steps=5)", unit, 16) for unit in range(4)]
    strange = [effect(f"z[{unit}]", "noise", unit, 64, "other data") for unit in range(4)]
    found = method_agreement(frame([*many, *few, *fitted, *strange]))
    assert found is not None
    assert found.methods == ("mean", "optimal(steps=5)", "resample", "zero")
    assert found.correlations["mean", "zero"].rho == pytest.approx(1)
    assert found.examples == {"mean": 64, "optimal(steps=5)": 16, "resample": 64, "zero": 64}
    assert found.left_out == ("noise",)
    assert "optimal(steps=5) on 16 of the 64 examples" in found.told
    assert "other examples or settings: noise." in found.told
    assert method_agreement(frame([*few, *many[:1]])) is None


def test_methods_at_different_revisions_are_compared() -> None:
    rows = [
        effect(f"z[{unit}]", method, unit, 64, f"{method} at revision {revision}") | {"revision": revision}
        for unit in range(4)
        for method, revision in (("zero", 3), ("mean", 4))
    ]
    assert method_agreement(frame(rows)) is None
    told = encode_details({COMMON: "those of both"})
    found = method_agreement(frame([row | {"details": told} for row in rows]))
    assert found is not None
    assert (found.methods, found.left_out) == (("mean", "zero"), ())


def test_a_component_that_is_there_twice_counts_once() -> None:
    rows = [effect(f"z[{unit}]", method, unit, 64) for unit in range(4) for method in ("zero", "mean")]
    once, twice = method_agreement(frame(rows)), method_agreement(frame([*rows, *[rows[2]] * 40]))
    assert once is not None
    assert twice is not None
    np.testing.assert_array_equal(once.effects, twice.effects)
    assert once.disagreements == twice.disagreements


@pytest.mark.parametrize(
    ("together", "alone", "verdict"),
    [
        (2.01, (1.0, 1.0), "additive"),
        (5.0, (1.0, 1.0), "redundant"),
        (4.0, (5.0, -3.0), "amplifying"),
        (0.2, (1.0, 1.0), "cancelling"),
        (3.5, (5.0, 3.0), "overlapping"),
    ],
)
def test_verdicts_say_additive_within_two_standard_errors_alone(
    together: float, alone: tuple[float, float], verdict: str
) -> None:
    rows = [effect("z[0]+z[1]", "zero", together, 64, kind="pair")]
    rows += [effect(f"z[{unit}]", "zero", value, 64) for unit, value in enumerate(alone)]
    (found,) = interactions(frame(rows))
    assert found.verdict == verdict
    assert found.given == (together - alone[1], together - alone[0])
    assert found.ratio == together / sum(alone)
    (doubted,) = interactions(frame([row | {"stderr": 2.0} for row in rows]))
    assert np.isnan(doubted.ratio) == (sum(alone) < 4 * 3**0.5)
    (unknown,) = interactions(frame([row | {"stderr": np.nan} for row in rows]))
    assert unknown.verdict == "unclear"
    table = interaction_table(frame(rows))
    assert table is not None
    assert "one standard error" in table.note
    assert verdict in table.note
