"""The settings of LLCCallback, and that its rows are those of the estimator."""

from pathlib import Path
from typing import Any

import pytest
import torch

from llc_lightning import LLCCallback, estimate_llc, loss_fn
from llc_lightning.llc.revision import llc_revision
from llc_lightning.llc.settings import ChainSettings
from llc_lightning.results.run import Run
from llc_lightning.runtime.cadence import AtEnd, AtSteps, Every
from llc_lightning.runtime.errors import SettingError
from llc_lightning.sampling.base import SAMPLERS
from tests.callbacks.plain import PlainModule, examples, fit, trainer

REVISED = f"-revision={llc_revision(ChainSettings())}"

SHORT: dict[str, Any] = {"chains": 2, "draws": 6, "burn_in": 2, "batch_size": 16, "step_size": 1e-5}


def test_one_or_several_components_and_resolutions() -> None:
    one = LLCCallback(AtEnd(), n_beta=100.0, gamma=1.0, components="all").plan
    several = LLCCallback(AtEnd(), n_beta=[100.0, 300.0], gamma=1.0, components=["all", "layers"]).plan
    assert (one.components, one.n_beta) == (("all",), (100.0,))
    assert (several.components, several.n_beta) == (("all", "layers"), (100.0, 300.0))


def test_a_resolution_has_no_default() -> None:
    with pytest.raises(TypeError, match="n_beta"):
        LLCCallback(AtEnd(), gamma=1.0)
    with pytest.raises(TypeError, match="gamma"):
        LLCCallback(AtEnd(), n_beta=1.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_beta": -1.0}, "n_beta is -1.0; it must be positive."),
        ({"n_beta": float("nan")}, "n_beta is nan; give a finite number."),
        ({"n_beta": []}, "n_beta is empty; give at least one."),
        ({"gamma": -1.0}, "gamma is -1.0; it must be at least 0."),
        ({"chains": 0}, "chains is 0; give an integer of at least 1."),
        ({"replicates": 0}, "replicates is 0; give an integer of at least 1."),
        (
            {"sampler": "sgdl"},
            f"unknown sampler 'sgdl'; did you mean 'sgld'? Use one of: {', '.join(sorted(SAMPLERS))}.",
        ),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError) as raised:
        LLCCallback(AtEnd(), **{"n_beta": 1.0, "gamma": 1.0, **settings})
    assert str(raised.value) == message


def test_rows_are_those_of_the_estimator(tmp_path: Path) -> None:
    callback = LLCCallback(AtSteps([4]), n_beta=100.0, gamma=100.0, data=examples(), **SHORT)
    module = fit(trainer(tmp_path, [callback], max_steps=4))
    rows = Run.open(tmp_path / "llc_lightning").measurements()
    row = rows.loc[rows["quantity"] == "llc"].iloc[0]
    params = {name: value.detach() for name, value in module.named_parameters()}
    record = estimate_llc(loss_fn(module), params, examples(), n_beta=100.0, gamma=100.0, seed=3, **SHORT)
    assert (row["value"], row["stderr"], row["status"]) == (record.value, record.stderr, record.status)
    assert (row["seed"], row["chains"], row["draws"], row["n_examples"]) == (3, 2, 6, 96)


def test_the_seed_can_be_given(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"n_beta": 100.0, "gamma": 100.0, "data": examples(), **SHORT}
    first = LLCCallback(AtSteps([0]), seed=1, name="first", **settings)
    second = LLCCallback(AtSteps([0]), seed=2, name="second", **settings)
    fit(trainer(tmp_path, [first, second], max_steps=1))
    store = Run.open(tmp_path / "llc_lightning").store
    values = []
    for part, seed in ((f"step=00000000-first{REVISED}", 1), (f"step=00000000-second{REVISED}", 2)):
        rows = store.read_part(part)
        assert set(rows["seed"]) == {seed}
        values.append(rows.loc[rows["quantity"] == "llc", "value"].item())
    assert values[0] != values[1]


def test_replicates_are_measured_once(tmp_path: Path) -> None:
    callback = LLCCallback(Every(steps=100), n_beta=100.0, gamma=100.0, data=examples(), replicates=2, **SHORT)
    module = fit(trainer(tmp_path, [callback], max_steps=2))
    assert set(Run.open(tmp_path / "llc_lightning").store.parts()) == {
        f"step=00000002-llc{REVISED}",
        f"step=00000002-llc-replicate=1{REVISED}",
    }
    assert callback.state_dict()["replicated"] == 2
    assert isinstance(module, PlainModule)
    assert torch.is_grad_enabled()
