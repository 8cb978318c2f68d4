"""Registries: names, frozen metadata, errors."""

from collections.abc import Callable
from dataclasses import FrozenInstanceError

import pytest

from llc_lightning.runtime.errors import SettingError
from llc_lightning.runtime.registry import Registry


@pytest.fixture
def methods() -> Registry[Callable[[float], float]]:
    registry: Registry[Callable[[float], float]] = Registry("ablation method")

    @registry.register("zero", summary="replaces by 0", source="folklore", constant=True)
    def zero(value: float) -> float:
        return 0.0

    @registry.register("keep", summary="keeps")
    def keep(value: float) -> float:
        return value

    return registry


def test_entry_holds_the_thing_and_its_metadata(methods: Registry[Callable[[float], float]]) -> None:
    entry = methods.get("zero")
    assert entry.item(3.0) == 0.0
    assert (entry.name, entry.summary, entry.source, dict(entry.metadata)) == (
        "zero",
        "replaces by 0",
        "folklore",
        {"constant": True},
    )


def test_names_keep_their_order(methods: Registry[Callable[[float], float]]) -> None:
    assert methods.names() == ("zero", "keep") == tuple(methods)
    assert [name for name, _ in methods.items()] == ["zero", "keep"]
    assert "zero" in methods
    assert "mean" not in methods
    assert len(methods) == 2


def test_metadata_cannot_be_changed(methods: Registry[Callable[[float], float]]) -> None:
    entry = methods.get("zero")
    with pytest.raises(FrozenInstanceError):
        entry.summary = "other"  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(TypeError):
        entry.metadata["constant"] = False  # pyright: ignore[reportIndexIssue]


def test_a_name_is_taken_once(methods: Registry[Callable[[float], float]]) -> None:
    with pytest.raises(SettingError) as caught:
        methods.register("zero", summary="again")
    assert str(caught.value) == "the ablation method 'zero' is registered already; choose another name."


def test_an_empty_name_is_refused(methods: Registry[Callable[[float], float]]) -> None:
    with pytest.raises(SettingError) as caught:
        methods.register("", summary="nameless")
    assert str(caught.value) == "the ablation method has an empty name; give it one."


def test_unknown_names_tell_the_nearest(methods: Registry[Callable[[float], float]]) -> None:
    with pytest.raises(SettingError) as caught:
        methods.get("zeroo")
    assert str(caught.value) == "unknown ablation method 'zeroo'; did you mean 'zero'? Use one of: keep, zero."
