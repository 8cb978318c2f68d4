"""Task selectivity from rows: its value, its error in both kinds of layout, and what has none."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from llc_lightning.analysis.selectivity import groups, selectivity, task_pair
from llc_lightning.report.panels.tasks import unit_selectivity
from llc_lightning.report.sections import find
from tests.analysis.synthetic import frame


def effect(unit: str, loss: str, value: float, stderr: float = 0.01, n: int = 100, **more: Any) -> dict[str, Any]:
    row = {"quantity": "ablation_effect", "component": unit, "kind": "neuron", "method": "mean", "loss": loss}
    return {**row, "value": value, "stderr": stderr, "n_examples": n, "step": 5, **more}


def unit(name: str, a: float, b: float, **more: Any) -> list[dict[str, Any]]:
    return [
        effect(name, "task:mnist", a, **more),
        effect(name, "task:fashion", b, **more),
        effect(name, "train", (a + b) / 2, n=200, **more),
    ]


def test_it_is_the_difference_of_the_effects_over_their_sum_with_mnist_at_one() -> None:
    rows = frame([*unit("net.h[0]", 0.3, 0.1), *unit("net.h[10]", 0.0, 0.2), *unit("net.h[2]", 0.2, 0.0)])
    assert task_pair(rows) == ("task:mnist", "task:fashion")
    found = selectivity(rows)
    assert found["component"].tolist() == ["net.h[0]", "net.h[2]", "net.h[10]"]
    assert found["value"].tolist() == pytest.approx([0.5, 1.0, -1.0])
    assert found["effect"].tolist() == pytest.approx([0.4, 0.2, 0.2])
    assert selectivity(rows, tasks=("task:fashion", "task:mnist"))["value"].tolist() == pytest.approx([-0.5, -1, 1])


def test_negative_effects_count_as_zero_and_two_of_them_have_no_selectivity() -> None:
    found = selectivity(frame([*unit("net.h[0]", 0.3, -0.1), *unit("net.h[1]", -0.1, -0.2), *unit("net.h[2]", 0, 0)]))
    assert found["value"].tolist()[0] == 1.0
    assert np.isnan(found["value"].to_numpy()[1:]).all()
    assert found["clear"].tolist() == [True, False, False]


@pytest.mark.parametrize("together", [False, True])
def test_the_error_is_the_spread_over_repeated_samples(together: bool) -> None:
    rng, n = np.random.default_rng(0), 400
    rows: list[dict[str, Any]] = []
    for sample in range(300):
        noise = rng.standard_normal((2, n)) + (1.5 * rng.standard_normal(n) if together else 0)
        a, b = 1.5 + noise[0], 0.8 + noise[1]
        each = {"task:mnist": a, "task:fashion": b, "train": (a + b) / 2 if together else np.concatenate((a, b))}
        for loss, v in each.items():
            rows.append(effect(f"net.h[{sample}]", loss, v.mean(), v.std(ddof=1) / len(v) ** 0.5, len(v)))
    found = selectivity(frame(rows))
    assert len(found) == 300
    assert found["stderr"].mean() == pytest.approx(found["value"].std(), rel=0.12)


def test_rows_that_are_not_ok_or_of_other_methods_do_not_enter() -> None:
    rows = frame(
        [
            *unit("net.h[0]", 0.3, 0.1),
            *unit("net.h[0]", 0.1, 0.3, method="zero"),
            *unit("net.h[1]", np.nan, np.nan, status="nan-loss"),
        ]
    )
    assert selectivity(rows)["value"].tolist() == pytest.approx([0.5])
    assert selectivity(rows, methods=["zero"])["value"].tolist() == pytest.approx([-0.5])


def test_of_two_settings_the_one_with_more_examples_is_taken() -> None:
    few = [effect("net.h[0]", loss, 0.2, n=10, settings="few") for loss in ("task:mnist", "task:fashion")]
    assert selectivity(frame([*few, *unit("net.h[0]", 0.3, 0.1)]))["value"].tolist() == pytest.approx([0.5])


def test_units_are_counted_by_layer_and_layers_left_out() -> None:
    rows = [
        *unit("net.h.0[0]", 0.3, 0.01),
        *unit("net.h.0[1]", 0.01, 0.3),
        *unit("net.h.0[2]", 0.3, 0.3),
        *unit("net.h.0[3]", 0.001, 0.0),
        *unit("net.h.1[0]", 0.3, 0.0),
        *unit("net.h.1", 0.3, 0.0, kind="layer"),
    ]
    lower, upper = groups(selectivity(frame(rows)))
    assert (lower.point, lower.units, lower.clear, lower.first, lower.second) == ("net.h.0", 4, 3, 1, 1)
    assert lower.selective == pytest.approx(2 / 3)
    assert lower.stderr == pytest.approx((4 / 7 * 3 / 7 / 7) ** 0.5)
    assert (upper.units, upper.first, upper.selective) == (1, 1, 1.0)


def test_a_table_without_two_tasks_has_none() -> None:
    for rows in (frame([]), frame([effect("net.h[0]", "task:mnist", 0.3), effect("net.h[0]", "circuit:01", 0.3)])):
        assert isinstance(selectivity(rows), pd.DataFrame)
        assert len(selectivity(rows)) == 0
        assert groups(selectivity(rows)) == []


def test_pairs_and_parts_of_sequences_are_no_units_of_a_layer() -> None:
    others = {"net.h[0]+net.h[1]": "pair", "net.h[0]@1": "position", "net.h{a.npy}": "direction", "net.h[0,1]": "set"}
    rows = [*unit("net.h[0]", 0.3, 0.1), *unit("net.h[1]", 0.0, 0.2), *unit("net.h", 0.3, 0.3, kind="residual")]
    for name, kind in others.items():
        rows += unit(name, 0.3, 0.0, kind=kind)
    found = selectivity(frame(rows))
    assert len(found) == 7
    assert [(one.point, one.units, one.kind) for one in groups(found)] == [("net.h", 2, "neuron")]
    panel = unit_selectivity(find(frame(rows), run="images/version_0"))
    assert panel is not None
    assert [len(one.x) for one in panel.series] == [2]
