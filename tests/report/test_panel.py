"""What figures show, before anything draws it."""

import numpy as np
import pytest

from llc_lightning.report.panel import Axis, Note, Panel, Rule, Series, nice_ticks, step_axis


def panel(*series: Series, log: bool = False, rules: tuple[Rule, ...] = ()) -> Panel:
    return Panel("name", "title", Axis("x"), Axis("y", log=log), series, rules)


def points(y: list[float], **more: object) -> Series:
    values = np.array(y)
    return Series("points", np.arange(len(y), dtype=float), values, "#000000", **more)


def test_points_that_are_not_ok_move_no_limit_and_are_counted() -> None:
    one = points([1.0, 2.0, 3.0, 500.0], ok=np.array([True, True, True, False]))
    shown = panel(one)
    assert shown.y_limits == pytest.approx((0.88, 3.12))
    assert shown.x_limits[1] < 3
    assert shown.outside == 1
    assert shown.remark == "1 point lies beyond the frame."
    assert one.hollow.tolist() == [False, False, False, True]


def test_intervals_and_reference_lines_are_inside() -> None:
    one = points([1.0, 2.0], low=np.array([0.0, 1.0]), high=np.array([2.0, 4.0]))
    low, high = panel(one, rules=(Rule(10.0, "ten"),)).y_limits
    assert low < 0
    assert high > 10


def test_series_that_do_not_frame_are_ignored() -> None:
    assert panel(points([1.0, 2.0]), points([-50.0, 50.0], framing=False)).y_limits == pytest.approx((0.94, 2.06))


def test_log_limits_leave_out_what_is_not_positive() -> None:
    low, high = panel(points([-1.0, 0.0, 1.0, 100.0]), log=True).y_limits
    assert 0.5 < low < 1
    assert 100 < high < 200


@pytest.mark.parametrize(("log", "expected"), [(False, (0.0, 1.0)), (True, (0.1, 10.0))])
def test_nothing_to_show_has_limits_all_the_same(log: bool, expected: tuple[float, float]) -> None:
    assert panel(points([np.nan]), log=log).y_limits == expected


def test_one_value_has_room_around_it() -> None:
    low, high = panel(points([5.0, 5.0])).y_limits
    assert low < 5 < high


def test_steps_lie_on_a_log_axis_with_zero_at_its_left_end() -> None:
    axis = step_axis([0, 30, 300, 3000])
    assert axis.log
    assert axis.ticks is not None
    assert [text for _, text in axis.ticks] == ["0", "30", "100", "300", "1000", "3000"]
    placed = axis.place([0.0, 30.0, 3000.0])
    assert placed[1:].tolist() == [30, 3000]
    assert axis.ticks[0][0] == placed[0] < 30
    assert axis.limits is not None
    assert axis.limits[0] < placed[0]
    assert axis.limits[1] > 3000


@pytest.mark.parametrize("steps", [[], [0], [100, 200, 300], [0, 500]])
def test_a_short_range_of_steps_is_linear(steps: list[int]) -> None:
    axis = step_axis(steps)
    assert not axis.log
    assert axis.place([0.0, 5.0]).tolist() == [0, 5]


def test_ticks_are_round_and_enough() -> None:
    assert nice_ticks(1.0, 1000.0) == [1, 10, 100, 1000]
    assert nice_ticks(0.9, 60.0) == [1, 3, 10, 30]
    assert nice_ticks(150.0, 3000.0) == [200, 500, 1000, 2000]
    assert nice_ticks(0.07, 0.6) == pytest.approx([0.1, 0.2, 0.5])


def test_labels_stand_where_a_rising_cloud_leaves_room() -> None:
    shown = panel(points([1.0, 2.0]), log=False)
    at = {
        name: shown.x_limits[0] + share * (shown.x_limits[1] - shown.x_limits[0])
        for name, share in {"left": 0.1, "middle": 0.5, "right": 0.9}.items()
    }
    sides = {
        name: [shown.stands_right(Note(x, 1.0, "", above=above)) for above in (True, False)] for name, x in at.items()
    }
    assert sides == {"left": [True, True], "middle": [False, True], "right": [False, False]}


def test_where_too_few_points_are_ok_the_others_are_framed() -> None:
    one = points([1.0, 2.0, 30.0], ok=np.array([True, False, False]))
    shown = panel(one)
    assert shown.y_limits[1] > 30
    assert shown.remark == "Too few points are ok to set the axes, so the others do."
