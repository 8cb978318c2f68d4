"""Figures of what draws know of single examples, on the page of a run that holds them."""

from pathlib import Path

import numpy as np
import xarray as xr

from llc_lightning.measure.keep import keep
from llc_lightning.report.html import page
from llc_lightning.report.panels.posterior import kernel, response
from llc_lightning.report.source import Source
from llc_lightning.results.run import Run
from tests.measure.small import POSTERIOR, alone


def arrays(tasks: list[int], related: np.ndarray, status: str = "ok") -> xr.Dataset:
    n = len(tasks)
    return xr.Dataset(
        {
            "kernel": (("example", "other"), related),
            "counts": (("example", "task"), np.eye(2, dtype=bool)[tasks]),
            "susceptibility": (("component", "example"), np.array([[1.0] * n, [2.0, -4.0] * (n // 2), [0.0] * n])),
        },
        coords={
            "example": [10 * one for one in range(n)],
            "task": ["task:a", "task:b"],
            "component": ["", "hook[1]", "hook[2]"],
            "status": ("component", [status, "ok", "ok"]),
        },
        attrs={"step": 30, "n_beta": 10.0, "gamma": 5.0},
    )


def test_examples_stand_by_task_and_negative_correlations_are_0() -> None:
    tasks = [0, 1, 0, 1]
    alike = np.equal.outer(tasks, tasks)
    shown = kernel(arrays(tasks, np.where(alike, 0.5, -0.5) + 0.5 * np.eye(4)))
    assert shown is not None
    assert shown.rows == ("a #0", "a #20", "b #10", "b #30")
    np.testing.assert_array_equal(shown.values, np.kron(np.eye(2), [[1.0, 0.5], [0.5, 1.0]]))
    assert "the nearest neighbour has the same task for 100% (33% by chance)" in shown.title
    assert "Not to be trusted" not in shown.caption


def test_responses_are_on_the_scale_of_their_component_and_flagged_chains_are_told() -> None:
    shown = response(arrays([0, 1, 0, 1], np.eye(4), "drifting"))
    assert shown is not None
    assert len(shown.rows) == 2
    np.testing.assert_array_equal(shown.values, [[0.5, 0.5, 1.0, 1.0], [np.nan] * 4])
    assert "Not to be trusted yet: the chains of the whole model are drifting." in shown.caption


def test_of_many_examples_it_is_told_which_are_drawn() -> None:
    mixed = arrays([0, 1] * 40, np.eye(80))
    alone = mixed.assign(counts=mixed["counts"] & False)
    for shown, order in (
        (kernel(mixed), ", those with one task first."),
        (kernel(alone), "64 of 80 watched examples."),
    ):
        assert shown is not None
        assert shown.caption.endswith(order)


def test_where_all_chains_failed_nothing_is_drawn() -> None:
    failed = arrays([0, 1], np.eye(2)).drop_vars("kernel")
    assert kernel(failed) is None
    assert response(failed) is None


def test_they_are_on_the_page_of_a_run(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints" / "net" / "version_0"
    folder.mkdir(parents=True)
    keep(folder, "step=00000030-posterior", alone(POSTERIOR), step=30)
    source = Source.of(Run.open(folder))
    assert [one.name for one in source.sections["Examples"]] == ["loss-kernel", "responses"]
    assert "Which examples move together at step 30" in page(source)
