"""The settings of AblationCallback."""

from pathlib import Path
from typing import Any

import pytest

from llc_lightning import AblationCallback
from llc_lightning.results.run import Run
from llc_lightning.runtime.cadence import AtEnd, AtSteps
from llc_lightning.runtime.errors import SettingError
from tests.callbacks.plain import examples, fit, trainer


def test_one_or_several_methods_and_components() -> None:
    one = AblationCallback(AtEnd(), methods="zero", components="neurons").plan
    several = AblationCallback(AtEnd(), methods=["zero", "mean"], components=["neurons", "layers"]).plan
    assert (one.methods, one.components) == (("zero",), ("neurons",))
    assert (several.methods, several.components) == (("zero", "mean"), ("neurons", "layers"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"methods": "zeor"}, r"unknown ablation method 'zeor'; did you mean 'zero'\? .*"),
        ({"methods": ["zero", "zero"]}, r"methods has 'zero' twice; give each once\."),
        ({"components": []}, r"components is empty; give at least one\."),
        ({"examples": 0}, r"examples is 0; give an integer of at least 1\."),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        AblationCallback(AtEnd(), **{"methods": "zero", "components": "neurons", **settings})


@pytest.mark.parametrize(("asked", "used"), [(40, 40), (16384, 96), (None, 96)])
def test_it_uses_the_first_examples_at_most_all(tmp_path: Path, asked: int | None, used: int) -> None:
    callback = AblationCallback(AtSteps([1]), methods="zero", components="conv", data=examples(), examples=asked)
    fit(trainer(tmp_path, [callback], max_steps=1))
    assert set(Run.open(tmp_path / "llc_lightning").measurements()["n_examples"]) == {used}
