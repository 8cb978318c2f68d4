"""Strategies that keep the whole weights on every process are measured; others are refused before the training."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest
from lightning.pytorch.strategies import DDPStrategy, DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy

from llc_lightning.callbacks.strategies import check_strategy
from llc_lightning.results.run import Run
from llc_lightning.runtime.errors import SettingError
from tests.processes import run

SCRIPT = str(Path(__file__).with_name("strategies_script.py"))


def trained(kind: type[Any]) -> Any:
    """Returns a trainer that has nothing but a strategy."""
    one: Any = object.__new__(L.Trainer)
    one._accelerator_connector = SimpleNamespace(strategy=object.__new__(kind))
    return one


@pytest.mark.parametrize("kind", [FSDPStrategy, ModelParallelStrategy, DeepSpeedStrategy])
def test_split_weights_are_refused_with_the_alternative(kind: type[Any]) -> None:
    with pytest.raises(SettingError) as caught:
        check_strategy(trained(kind), "llc")
    assert str(caught.value) == (
        f"llc needs the whole weights on every process, and {kind.__name__} splits them; train with a ddp strategy, or "
        "without this callback (when=None) and measure offline: load a consolidated checkpoint into the module, and "
        "call estimate_llc and ablation_effects."
    )


def test_whole_weights_are_not() -> None:
    check_strategy(trained(DDPStrategy), "llc")


def test_processes_that_are_forked_measure_together(tmp_path: Path) -> None:
    done = run(SCRIPT, str(tmp_path), "ddp_fork", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    measured = Run.open(tmp_path / "llc_lightning")
    assert set(measured.timings()["processes"].dropna()) == {2}
    assert {"llc", "ablation_effect"} <= set(measured.measurements()["quantity"])
