"""What a caller observes along the chains of an estimate."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from llc_lightning.llc.estimator import estimate_llc, estimate_parts
from llc_lightning.llc.record import LLCRecord
from llc_lightning.llc.settings import ChainSettings, Part, Resolution
from llc_lightning.runtime.errors import SettingError
from llc_lightning.sampling.observables.base import Look, Stateless
from tests.known_answers.losses import noisy_quadratic

KNOWN = noisy_quadratic(0.5)
USUAL = {"n_beta": 100.0, "gamma": 5.0, "step_size": 0.004, "chains": 3, "draws": 60, "burn_in": 5}


class Positions(Stateless):
    """Where the chains are."""

    name, every = "positions", 1

    def look(self, look: Look) -> Tensor:
        return look.position["w"].clone()


class Gradients(Stateless):
    """By how much gradients on two minibatches differ, at draws of its own."""

    name, every = "gradients", 3

    def look(self, look: Look) -> Tensor:
        return (look.there.gradient["w"] - look.here.gradient["w"]).norm(dim=-1)


def estimate(**settings: Any) -> LLCRecord:
    torch.set_num_threads(1)
    return estimate_llc(KNOWN.loss, KNOWN.params, KNOWN.data, **{**USUAL, **settings})


@pytest.mark.parametrize("batch_size", [None, 16])
@pytest.mark.parametrize("sampler", ["lm", "sgld_cv", "mala"])
def test_nothing_else_changes_by_a_bit(sampler: str, batch_size: int | None) -> None:
    batch_size = None if sampler == "mala" else batch_size
    plain = estimate(sampler=sampler, batch_size=batch_size)
    seen = estimate(
        sampler=sampler, batch_size=batch_size, observe=[Positions(), Gradients(), "batch_noise", "loss_pair"]
    )
    assert torch.equal(plain.excess, seen.excess)
    assert repr(plain.facts()) == repr(seen.facts())
    assert plain.observed == {}
    assert seen.observed["positions"].shape == (3, 60, 20)
    assert seen.observed["gradients"].shape == (3, 20)
    assert bool(seen.observed["gradients"].gt(0).all()) == (batch_size is not None)
    assert seen.observed["loss_pair"].shape == (3, 20, 2)


def test_a_name_gives_what_the_diagnostics_see() -> None:
    record = estimate(observe=["squared_distance", Positions()])
    positions = record.observed["positions"][:, ::3]
    assert torch.allclose(record.observed["squared_distance"], positions.square().sum(-1))
    assert record.distance == pytest.approx(record.observed["squared_distance"].double().mean().sqrt().item())


def test_every_part_and_resolution_has_its_own() -> None:
    settings = ChainSettings(chains=2, draws=4, burn_in=1, step_size=0.004)
    masks = [{"w": torch.arange(20) == i} for i in range(3)]
    at = [Resolution(100.0, 5.0), Resolution(50.0, 5.0)]
    several = estimate_parts(
        KNOWN.loss, KNOWN.params, KNOWN.data, [Part(mask) for mask in masks], at, settings, observe=[Positions()]
    )
    alone = estimate_parts(KNOWN.loss, KNOWN.params, KNOWN.data, [Part(masks[1])], at, settings, observe=[Positions()])
    for together, single in zip(several[1], alone[0], strict=True):
        assert torch.equal(together.observed["positions"], single.observed["positions"])
        assert together.observed["positions"].shape == (2, 4, 1)
    assert not torch.equal(several[1][0].observed["positions"], several[1][1].observed["positions"])


def test_a_name_that_the_diagnostics_have_is_taken() -> None:
    @dataclasses.dataclass(frozen=True)
    class Another(Stateless):
        name: str = "virial"
        every: int = 1

        def look(self, look: Look) -> Tensor:
            return look.here.excess

    with pytest.raises(SettingError, match="two observables have the name 'virial'; give one of them another name"):
        estimate(observe=[Another()])


def test_nothing_is_seen_where_no_chain_runs() -> None:
    nowhere = {"w": torch.full_like(KNOWN.params["w"], torch.nan)}
    record = estimate_llc(KNOWN.loss, nowhere, KNOWN.data, **USUAL, observe=["squared_distance"])
    assert record.status == "nan-loss"
    assert record.observed == {}
