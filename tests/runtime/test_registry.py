"""Registries: names, frozen facts, revisions, errors."""

import sys
from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass
from pathlib import Path

import pytest

from llc_lightning.runtime.errors import SettingError
from llc_lightning.runtime.registry import NoFacts, Registry, register_all


@dataclass(frozen=True)
class Facts:
    """What the methods here say of themselves."""

    constant: bool
    draws: int = 1


Methods = Registry[Callable[[float], float], Facts]


@pytest.fixture
def methods() -> Methods:
    registry: Methods = Registry("ablation method", Facts)

    @registry.register("zero", summary="replaces by 0", source="folklore", constant=True)
    def zero(value: float) -> float:
        return 0.0

    @registry.register("keep", summary="keeps", constant=False)
    def keep(value: float) -> float:
        return value

    return registry


def test_entry_holds_the_thing_and_its_facts(methods: Methods) -> None:
    entry = methods.get("zero")
    assert entry.item(3.0) == 0.0
    assert (entry.name, entry.summary, entry.source, entry.revision) == ("zero", "replaces by 0", "folklore", 1)
    assert entry.facts == Facts(constant=True)


def test_names_keep_their_order(methods: Methods) -> None:
    assert methods.names() == ("zero", "keep") == tuple(methods)
    assert [name for name, _ in methods.items()] == ["zero", "keep"]
    assert "zero" in methods
    assert "mean" not in methods
    assert len(methods) == 2


def test_facts_cannot_be_changed(methods: Methods) -> None:
    entry = methods.get("zero")
    with pytest.raises(FrozenInstanceError):
        entry.summary = "other"  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(FrozenInstanceError):
        entry.facts.constant = False  # pyright: ignore[reportAttributeAccessIssue]


def test_a_name_is_taken_once(methods: Methods) -> None:
    with pytest.raises(SettingError) as caught:
        methods.register("zero", summary="again", constant=True)
    assert str(caught.value) == "the ablation method 'zero' is registered already; choose another name."


def test_an_empty_name_is_refused(methods: Methods) -> None:
    with pytest.raises(SettingError) as caught:
        methods.register("", summary="nameless")
    assert str(caught.value) == "the ablation method has an empty name; give it one."


def test_a_revision_that_enters_rows_is_kept() -> None:
    registry: Registry[str, NoFacts] = Registry("sampler", NoFacts, revised=True)
    registry.register("sgld", summary="steps", revision=2)("sgld")
    assert registry.get("sgld").revision == 2


def test_what_two_entries_may_not_share_names_its_holder() -> None:
    registry: Registry[str, Facts] = Registry("ablation method", Facts, apart=("draws",))
    registry.register("zero", summary="replaces by 0", constant=True, draws=3)("zero")
    with pytest.raises(SettingError) as caught:
        registry.register("mean", summary="replaces by the mean", constant=True, draws=3)
    assert str(caught.value) == "the ablation method 'mean' has draws 3, which 'zero' has already; choose another."
    registry.register("mean", summary="replaces by the mean", constant=True, draws=4)


def test_unknown_names_tell_the_nearest(methods: Methods) -> None:
    with pytest.raises(SettingError) as caught:
        methods.get("zeroo")
    assert str(caught.value) == "unknown ablation method 'zeroo'; did you mean 'zero'? Use one of: keep, zero."


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "the ablation method 'mean' does not say constant; register it with all of: constant."),
        ({"constant": True, "drews": 2}, "unknown fact of the ablation method 'mean' 'drews'; did you mean 'draws'? "
         "Use one of: constant, draws."),
        ({"constant": True, "revision": 0}, "the ablation method 'mean' has revision 0; give a whole number, at least "
         "1."),
        ({"constant": True, "revision": 2}, "the ablation method 'mean' has revision 2, which no row would say; leave "
         "it out, and raise that of the plan, method, sampler, estimator, diagnostic or observable whose rows change."),
        ({"constant": True, "revision": True}, "the ablation method 'mean' has revision True; give a whole number, at "
         "least 1."),
    ],
)  # fmt: skip
def test_what_is_missing_is_refused_with_a_sentence(methods: Methods, given: dict[str, object], said: str) -> None:
    with pytest.raises(SettingError) as caught:
        methods.register("mean", summary="replaces by the mean", **given)  # pyright: ignore[reportArgumentType]
    assert str(caught.value) == said
    assert "mean" not in methods


def test_a_room_is_imported_file_by_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = tmp_path / "some_room"
    room.mkdir()
    (room / "__init__.py").write_text("")
    (room / "b.py").write_text("import some_room.a\n")
    (room / "a.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    register_all("some_room")
    assert {"some_room.a", "some_room.b"} <= set(sys.modules)
    for name in ("some_room", "some_room.a", "some_room.b"):
        del sys.modules[name]


def test_a_registry_of_a_room_imports_it_at_the_first_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = tmp_path / "late_room"
    room.mkdir()
    (room / "__init__.py").write_text("")
    (room / "one.py").write_text("import sys\n\nsys.modules['late_things'].register('one', summary='first')(1)\n")
    monkeypatch.syspath_prepend(tmp_path)
    things: Registry[int, NoFacts] = Registry("thing", NoFacts, rooms=("late_room",))
    monkeypatch.setitem(sys.modules, "late_things", things)  # pyright: ignore[reportArgumentType]
    assert "late_room" not in sys.modules
    assert things.names() == ("one",)
    assert things.get("one").item == 1
    for name in ("late_room", "late_room.one"):
        del sys.modules[name]


def test_rooms_are_imported_until_a_name_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rooms = ("first_room", "second_room")
    for room in rooms:
        (tmp_path / room).mkdir()
        (tmp_path / room / "__init__.py").write_text("")
        (tmp_path / room / "it.py").write_text(
            f"import sys\n\nsys.modules['roomy'].register({room!r}, summary='one')(1)\n"
        )
    monkeypatch.syspath_prepend(tmp_path)
    things: Registry[int, NoFacts] = Registry("thing", NoFacts, rooms=rooms)
    monkeypatch.setitem(sys.modules, "roomy", things)  # pyright: ignore[reportArgumentType]
    assert "first_room" in things
    assert "second_room" not in sys.modules
    assert things.get("second_room").item == 1
    assert things.names() == rooms
    for room in rooms:
        del sys.modules[room], sys.modules[f"{room}.it"]
