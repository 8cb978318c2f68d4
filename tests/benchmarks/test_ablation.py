"""The hook loop of the benchmark does what the public call does, literally."""

import pytest

from benchmarks.hook_loop import HookLoop
from llc_lightning import ablation_effects
from llc_lightning.data.cis import CISData
from llc_lightning.models.cis import CISModel


@pytest.mark.parametrize("n", [300, 1024])
def test_effects_and_errors_on_every_circuit_are_those_of_the_loop(n: int) -> None:
    # Circuits count in a few examples each, and are told by few others that gave to these.
    module, data = CISModel(width=6).eval(), CISData().analysis_set(n)
    table = ablation_effects(module, data, "neurons", ["zero", "mean", "resample(draws=1)"])
    literal = HookLoop(module, data)()
    told = table["value"].tolist() + table["stderr"].tolist()
    assert told == pytest.approx(literal, rel=1e-6, abs=1e-6)
