"""Rules for when to measure, and the clock that asks them."""

from collections.abc import Callable, Iterator

import pytest
import torch

from llc_lightning.runtime.cadence import (
    AnyOf,
    AtEnd,
    AtStart,
    AtSteps,
    Cadence,
    Clock,
    Event,
    Every,
    LogSpaced,
    Moment,
)
from llc_lightning.runtime.errors import SettingError


def training(
    n_steps: int, *, accumulate: int = 1, steps_per_epoch: int = 10, validate_every: int | None = None, start: int = 0
) -> Iterator[Moment]:
    """Yields the moments of a training run as Lightning's hooks come, ``accumulate`` batches for each step."""

    def moment(step: int, event: Event) -> Moment:
        return Moment(step, max(step - 1, 0) // steps_per_epoch, event, n_steps)

    yield moment(start, "start")
    for step in range(start, n_steps):
        for _ in range(accumulate - 1):
            yield moment(step, "step")
        yield moment(step + 1, "step")
        if validate_every is not None and (step + 1) % validate_every == 0:
            yield moment(step + 1, "validation_end")
        if (step + 1) % steps_per_epoch == 0:
            yield moment(step + 1, "epoch_end")
    yield moment(n_steps, "end")


def fired(cadence: Cadence | Clock, moments: Iterator[Moment], *, listen: tuple[Event, ...] | None = None) -> list[int]:
    """Returns the steps at which a clock fires that hears the ``listen`` events only."""
    clock = cadence if isinstance(cadence, Clock) else Clock(cadence)
    return [m.step for m in moments if (listen is None or m.event in listen) and clock.fires(m)]


@pytest.mark.parametrize(
    ("cadence", "steps"),
    [
        (Every(steps=7), [7, 14, 21, 28]),
        (Every(steps=7, at_start=True, at_end=True), [0, 7, 14, 21, 28, 30]),
        (Every(steps=10, at_end=True), [10, 20, 30]),
        (Every(epochs=1), [10, 20, 30]),
        (Every(epochs=2, at_end=True), [20, 30]),
        (AtSteps([12, 3, 12, 99]), [3, 12]),
        (AtSteps([0, 5]), [0, 5]),
        (AtSteps([5], at_start=True, at_end=True), [0, 5, 30]),
        (AtStart(), [0]),
        (AtEnd(), [30]),
        (LogSpaced(4, first=2, last=16), [2, 4, 8, 16, 30]),
        (LogSpaced(3, first=10), [10, 17, 30]),
        (AnyOf([AtStart(), Every(steps=15), Every(epochs=2)]), [0, 15, 20, 30]),
        (AnyOf([AtSteps([3]), AtEnd()], at_start=True), [0, 3, 30]),
    ],
)
@pytest.mark.parametrize("accumulate", [1, 3])
def test_every_rule_fires_once_at_its_steps(cadence: Cadence, steps: list[int], accumulate: int) -> None:
    assert fired(cadence, training(30, accumulate=accumulate)) == steps


def test_log_spaced_steps_are_distinct_and_as_many_as_asked() -> None:
    for n in range(2, 60):
        for first, last in [(1, 100), (1, 3000), (30, 3000), (99, 160)]:
            steps = LogSpaced(n, first=first, last=last).named()
            assert len(steps) == min(n, last - first + 1)
            assert list(steps) == sorted(set(steps))
            assert (steps[0], steps[-1]) == (first, last)


def test_log_spaced_keeps_the_ratio_where_it_can() -> None:
    assert LogSpaced(15, first=30, last=3000).named() == (
        30, 42, 58, 80, 112, 155, 216, 300, 417, 579, 805, 1118, 1554, 2159, 3000,
    )  # fmt: skip


def test_log_spaced_in_a_run_that_is_too_short() -> None:
    assert LogSpaced(20).named(5) == (1, 2, 3, 4, 5)
    assert LogSpaced(5, first=30).named(10) == ()
    assert LogSpaced(1).named(10) == (10,)
    assert fired(LogSpaced(5, first=30, at_start=True), training(10)) == [0, 10]


def test_a_listener_to_validations_is_late_but_never_misses() -> None:
    heard: tuple[Event, ...] = ("start", "validation_end", "epoch_end", "end")
    assert fired(AtSteps([3, 5, 8, 17]), training(30, validate_every=4), listen=heard) == [4, 8, 20]
    assert fired(Every(steps=10), training(30, validate_every=4), listen=heard) == [12, 20, 30]


def test_an_optimizer_that_advances_by_two_is_caught() -> None:
    clock = Clock(Every(steps=5))
    moments = [Moment(0, 0, "start"), *(Moment(step, 0, "step") for step in range(2, 21, 2))]
    assert [m.step for m in moments if clock.fires(m)] == [6, 10, 16, 20]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Every(steps=7, at_start=True, at_end=True),
        lambda: LogSpaced(9, at_start=True),
        lambda: AtSteps([1, 13, 14, 29]),
        lambda: AnyOf([Every(steps=6), AtEnd()]),
    ],
)
@pytest.mark.parametrize("stop", range(0, 30, 1))
def test_a_resumed_run_fires_neither_twice_nor_never(make: Callable[[], Cadence], stop: int) -> None:
    whole = fired(make(), training(30, accumulate=2))
    first, second = Clock(make()), Clock(make())
    before = fired(first, (m for m in training(30, accumulate=2) if m.step <= stop))
    second.load_state_dict(first.state_dict())
    after = fired(second, training(30, accumulate=2, start=stop))
    assert before + after == whole


def test_a_checkpoint_saved_before_the_hook_is_made_up_for_at_the_start() -> None:
    clock = Clock(Every(steps=5))
    clock.load_state_dict({"seen": 9, "fired": 5})
    assert fired(clock, training(20, start=10)) == [10, 15, 20]


def test_a_clock_added_at_a_resume_does_not_make_up_for_the_past() -> None:
    assert fired(AtSteps([3, 12, 14]), training(20, start=12)) == [12, 14]
    assert fired(AtSteps([3, 14]), training(20, start=12)) == [14]
    assert fired(AtStart(), training(20, start=12)) == []


def test_a_second_run_from_scratch_is_measured_again() -> None:
    clock = Clock(Every(steps=10, at_start=True))
    assert fired(clock, training(20)) == fired(clock, training(20)) == [0, 10, 20]


def test_training_on_in_the_same_process_does_not_repeat_the_end() -> None:
    clock = Clock(AnyOf([Every(steps=20), AtEnd()]))
    assert fired(clock, training(30)) == [20, 30]
    assert fired(clock, training(50, start=30)) == [40, 50]


def test_state_can_be_loaded_with_weights_only(tmp_path_factory: pytest.TempPathFactory) -> None:
    clock = Clock(Every(steps=2))
    fired(clock, training(5))
    path = tmp_path_factory.mktemp("state") / "clock.pt"
    torch.save(clock.state_dict(), path)
    assert torch.load(path, weights_only=True) == {"seen": 5, "fired": 4}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Every(),
            "Every got steps=None and epochs=None; give exactly one of them, and combine rules with AnyOf.",
        ),
        (
            lambda: Every(steps=1, epochs=1),
            "Every got steps=1 and epochs=1; give exactly one of them, and combine rules with AnyOf.",
        ),
        (lambda: Every(steps=0), "Every got steps=0; it must be at least 1."),
        (lambda: Every(epochs=-1), "Every got epochs=-1; it must be at least 1."),
        (lambda: LogSpaced(0), "LogSpaced got n=0, first=1; both must be at least 1."),
        (lambda: LogSpaced(3, first=0), "LogSpaced got n=3, first=0; both must be at least 1."),
        (
            lambda: LogSpaced(3, first=5, last=4),
            "LogSpaced got first=5, last=4; last must not be smaller than first.",
        ),
        (lambda: AtSteps([]), "AtSteps got []; give at least one step, and none below 0."),
        (lambda: AtSteps([3, -1]), "AtSteps got [3, -1]; give at least one step, and none below 0."),
        (lambda: AnyOf([]), "AnyOf got no rule; give at least one cadence."),
        (
            lambda: Moment(-1, 0, "step"),
            "a moment has step=-1, epoch=0, max_steps=None; none may be negative (give max_steps=None where the end is "
            "not known).",
        ),
        (
            lambda: LogSpaced(3).due(Moment(1, 0, "step")),
            "LogSpaced(n=3) does not know where to end, since the training has no last step; give last=, or give the "
            "trainer max_steps or max_epochs.",
        ),
    ],
)
def test_bad_rules_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(SettingError) as caught:
        make()
    assert str(caught.value) == message
