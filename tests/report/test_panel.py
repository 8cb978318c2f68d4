"""What figures show, before anything draws it."""

import numpy as np
import pytest

from llc_lightning.report.panel import Axis, Note, Panel, Rule, Series, nice_ticks, placed, step_axis, thinned


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
    if len(set(steps)) > 1:
        assert axis.limits is not None, "also steps where nothing is ok are seen"
        assert axis.limits[0] < min(steps) < max(steps) < axis.limits[1]


def test_ticks_are_round_and_enough() -> None:
    assert nice_ticks(1.0, 1000.0) == [1, 10, 100, 1000]
    assert nice_ticks(0.9, 60.0) == [1, 3, 10, 30]
    assert nice_ticks(150.0, 3000.0) == [200, 500, 1000, 2000]
    assert nice_ticks(0.07, 0.6) == pytest.approx([0.1, 0.2, 0.5])


def test_labels_are_clear_of_each_other_and_of_the_lines_to_them() -> None:
    names = [f"net.hook_hidden[{at}] @ 3000" for at in range(5)]
    notes = [
        Note(x, y, name, above=above)
        for x, y, name, above in zip(
            [5.0, 5.1, 5.2, 4.9, 9.9], [5.0, 4.9, 5.2, 5.1, 5.0], names, [True, False, True, False, True], strict=True
        )
    ]
    for width, height in ((640.0, 300.0), (1000.0, 400.0)):
        places = placed(notes, Axis("x"), (0.0, 10.0), Axis("y"), (0.0, 10.0))
        boxes = []
        for note, place in zip(notes, places, strict=True):
            assert (place.up > 0) == note.above
            x, y, wide = note.x / 10 * width + place.right, note.y / 10 * height + place.up, 6.0 * len(note.text)
            boxes.append((x, x + wide, y - 6, y + 6) if place.right > 0 else (x - wide, x, y - 6, y + 6))
        assert all(0 <= left < right <= width for left, right, *_ in boxes)
        for at, (left, right, bottom, top) in enumerate(boxes):
            for other, (note, place) in enumerate(zip(notes, places, strict=True)):
                if other == at:
                    continue
                start = np.array([note.x / 10 * width, note.y / 10 * height])
                for along in np.linspace(0, 1, 30):
                    x, y = start + along * np.array([place.right, place.up])
                    assert not (left < x < right and bottom < y < top), f"the line to {other} crosses {at}"
                assert (
                    right < boxes[other][0]
                    or boxes[other][1] < left
                    or top < boxes[other][2]
                    or boxes[other][3] < bottom
                )


def test_labels_hide_as_few_points_as_can_be_had() -> None:
    note = Note(5.0, 5.0, "net.hook_hidden[3] @ 3000", above=True)
    axes = (Axis("x"), (0.0, 10.0), Axis("y"), (0.0, 10.0))
    (alone,) = placed([note], *axes)
    assert alone.right < 0 < alone.up
    left = np.stack(np.meshgrid(np.linspace(0, 5, 60), np.linspace(5, 10, 60)), -1).reshape(-1, 2)
    (beside,) = placed([note], *axes, crowd=(left[:, 0], left[:, 1]))
    assert beside.right > 0, "to the other side, and still above"
    assert beside.up > 0


def test_a_label_below_a_point_at_the_lower_edge_stands_above_it() -> None:
    (place,) = placed([Note(5.0, 0.2, "net.0[4] @ 51", above=False)], Axis("x"), (0.0, 10.0), Axis("y"), (0.0, 10.0))
    assert place.up > 0


def test_labels_are_thinned_until_they_have_room() -> None:
    steps = ["30", "42", "58", "80", "112", "155", "216", "300", "417", "579", "805", "1118", "1554", "2159", "3000"]
    assert thinned(steps, 200) == list(range(15))
    assert thinned(steps, 45) == list(range(0, 15, 2))
    assert thinned([], 10) == []


def test_where_too_few_points_are_ok_the_others_are_framed() -> None:
    one = points([1.0, 2.0, 30.0], ok=np.array([True, False, False]))
    shown = panel(one)
    assert shown.y_limits[1] > 30
    assert shown.remark == "Too few points are ok to set the axes, so the others do."
