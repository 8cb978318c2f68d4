"""Which methods are meant, and what a method must say about itself."""

from dataclasses import dataclass

import pytest

from llc_lightning.ablation.engine.base import METHODS, entry_of, resolve_methods
from llc_lightning.ablation.methods.mean import Mean
from llc_lightning.ablation.methods.noise import Noise
from llc_lightning.ablation.methods.resample import Resample
from llc_lightning.ablation.methods.zero import Zero
from llc_lightning.runtime.errors import SettingError

NAMES = f"{', '.join(METHODS.names())}."
SORTED = f"{', '.join(sorted(METHODS))}."


def test_a_name_stands_for_the_defaults() -> None:
    assert resolve_methods("resample") == (Resample(draws=4),)
    assert resolve_methods(["mean", Noise(scale=0.5)]) == (Mean(), Noise(scale=0.5, draws=4))


def test_a_method_knows_its_name() -> None:
    assert [method.name for method in (Zero(), Mean(), Resample(), Noise())] == ["zero", "mean", "resample", "noise"]
    assert entry_of(Mean()) is METHODS.get("mean")


@pytest.mark.parametrize(("scale", "name"), [
    (1.0, "noise"), (2.0, "noise(scale=2)"), (0.5, "noise(scale=0.5)"), (1e-05, "noise(scale=1e-05)"),
    (0.1234567, "noise(scale=0.1234567)"), (0.1234568, "noise(scale=0.1234568)"), (1 / 3, f"noise(scale={1 / 3!r})"),
])  # fmt: skip
def test_options_that_differ_have_names_that_differ(scale: float, name: str) -> None:
    assert Noise(scale=scale).name == name
    assert resolve_methods(name) == (Noise(scale=scale),)


def test_an_unregistered_method() -> None:
    @dataclass(frozen=True)
    class Mine(Zero):
        pass

    with pytest.raises(SettingError) as error:
        resolve_methods(Mine())
    assert str(error.value) == "the ablation method Mine is not registered; put @METHODS.register(...) on its class."


@pytest.mark.parametrize(
    ("methods", "sentence"),
    [
        ("zeor", "unknown ablation method 'zeor'; did you mean 'zero'? Use one of: " + SORTED),
        ([], "no ablation method is given; use one or more of: " + NAMES),
        (["noise", Noise()], "the ablation method 'noise' is given twice; give each once."),
    ],
)
def test_bad_methods(methods: str | list[str], sentence: str) -> None:
    with pytest.raises(SettingError) as error:
        resolve_methods(methods)
    assert str(error.value) == sentence


@pytest.mark.parametrize("make", [Resample, Noise])
def test_at_least_one_draw(make: type[Resample | Noise]) -> None:
    with pytest.raises(SettingError) as error:
        make(draws=0)
    assert str(error.value) == "draws is 0; an ablation method needs at least 1 draw."
