"""Each reason against an estimate has one diagnostic, which gives it beyond its limits and not within."""

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from llc_lightning.llc import diagnostics as room
from llc_lightning.llc.diagnostics.base import Evidence, diagnostics, reasons_against
from llc_lightning.llc.draws import Mixing, error_of, mcse_of
from llc_lightning.llc.estimator import estimate_llc
from llc_lightning.llc.estimators import Estimate, KeptDraws
from llc_lightning.llc.facts import Bias, Geometry, Motion, Run
from llc_lightning.llc.settings import ChainSettings, Resolution
from llc_lightning.runtime import status
from tests.llc.changed import changed

NOISE = np.random.default_rng(0).standard_normal((8, 100))
NAN, INF = math.nan, math.inf


def kept(draws: np.ndarray, **more: object) -> dict[str, object]:
    return {"kept": KeptDraws(draws, 10.0, minibatch=False, **more)}


def gradient_check(risen: torch.Tensor, sloped: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"gradient_check": torch.stack([risen, sloped], -1)}


def value(value: float, stderr: float = 0.1, **more: object) -> dict[str, object]:
    return {"estimates": {"mean": Estimate(value, stderr)}, **more}


def fallen(by: float) -> dict[str, object]:
    """Returns draws of mean 10 and what was higher before, without noise."""
    return kept(np.full((8, 100), 10.0), before=np.full((8, 50), 10.0 + by))


def noisy_fall(errors: float, **more: object) -> dict[str, object]:
    spread = np.arange(8.0)[:, None] - 3.5
    error = float(spread.std(ddof=1)) / math.sqrt(8)
    return kept(np.full((8, 100), 10.0), before=10 + errors * error + spread * np.ones((8, 50)), **more)


def cold(gap: float = 5.0, *, blind: bool = True) -> dict[str, object]:
    """Returns what a virial with M = 1 lacks, and whether there is no curvature."""
    return {"blind": blind, "plain": np.full((8, 25), 40 - 2 * gap), "dimension": 40}


CALM = Evidence(
    at=Resolution(10.0, 1.0),
    run=Run.unknown(ChainSettings(), seed=0, replicate=0),
    geometry=replace(Geometry.unknown(), dimension=40, model_norm=1.0, curvature=1.0),
    bias=Bias(correction=0.0, predicted_bias=0.0, unsettled=0.0, noise_bias=0.0, noise_bias_stderr=0.0),
    mixing=Mixing(rhat=1.0, rhat_nested=1.0, ess=800.0, ess_tail=800.0, mcse=0.1),
    motion=Motion(healthy_chains=8, per_chain=(10.0,) * 8, distance=0.1, temperature=1.0, acceptance=1.0, box_hits=0.0),
    losses=torch.ones(4),
    whole=False,
    trivial_loss=None,
    observed=gradient_check(torch.ones(8, 5), torch.ones(8, 5)),
    **kept(10 + NOISE),
    **value(10.0),
)  # fmt: skip


def above(limit: float) -> float:
    return math.nextafter(limit, INF)


def below(limit: float) -> float:
    return math.nextafter(limit, -INF)


def halves(change: float) -> dict[str, object]:
    """Draws whose halves differ by so much, without an error."""
    return kept(10 + change * (np.arange(100) >= 50) * np.ones((8, 1)))


def noisy_halves(errors: float) -> dict[str, object]:
    """Draws whose halves differ by so many errors, which are more than 5 % of the value."""
    draws = 1 + 3 * NOISE
    first, last = draws[:, :50], draws[:, 50:]
    changes = last.mean(1) - first.mean(1)
    error = max(math.hypot(mcse_of(first), mcse_of(last)), changes.std(ddof=1) / math.sqrt(8))
    return kept(draws + (errors * error - changes.mean()) * (np.arange(100) >= 50))


def gap(size: float, **more: object) -> dict[str, object]:
    """Draws of which the Stein estimate is so much larger than the mean, without an error."""
    return kept(10 + NOISE, virial=np.full((8, 100), 20 - 2 * size), trace=20.0, **more)


def plain(size: float) -> dict[str, object]:
    """Draws whose virial of M = 1 lacks so much, halved, without an error."""
    return kept(10 + NOISE, plain=np.full((8, 100), 20 - 2 * size), dimension=20)


def noisy_gap(errors: float) -> dict[str, object]:
    """Draws of which the Stein estimate is larger by so many errors, which are more than 5 % of the value."""
    noise = 20 * NOISE
    return kept(10 + NOISE, virial=20 + noise - noise.mean() - 2 * errors * error_of(noise / 2), trace=20.0)


def variance(value: float) -> dict[str, object]:
    return {"estimates": {"mean": Estimate(10.0, 0.1), "variance": Estimate(value, 1.0)}}


def rise(errors: float) -> dict[str, object]:
    """A rise of the loss by so many errors, where the gradient says that there is none."""
    noise = torch.from_numpy(100 * NOISE)
    risen = noise - noise.mean() + errors * noise.std() / math.sqrt(800)
    return {"observed": gradient_check(risen, torch.zeros(8, 100))}


def sloped(slope: float) -> dict[str, object]:
    return {"observed": gradient_check(torch.ones(8, 5), torch.full((8, 5), slope))}


ULP = torch.finfo(torch.float32).eps
# Facts that do not give a reason, and facts that do: on both sides of each limit.
CASES: dict[str, list[tuple[dict[str, object], dict[str, object]]]] = {
    "nan-loss": [({}, {"losses": torch.tensor([1.0, INF])}), ({}, {"losses": torch.tensor([1.0, NAN])})],
    "frozen": [({"moved": True}, {"moved": False})],
    "all-diverged": [({"healthy_chains": 1}, {"healthy_chains": 0})],
    "diverged": [({"healthy_chains": 8}, {"healthy_chains": 7})],
    "single-chain": [({"healthy_chains": 2}, {"healthy_chains": 1})],
    "not-local": [
        ({"distance": 0.5}, {"distance": above(0.5)}),
        ({"distance": 0.5, "model_norm": 0.0}, {"distance": 0.5, "model_norm": below(1.0)}),
        ({"trivial_loss": 10.0, "whole": True}, {"trivial_loss": below(10.0), "whole": True}),
        ({"trivial_loss": 1.0, "whole": False}, {"trivial_loss": 1.0, "whole": True}),
    ],
    "not-a-minimum": [
        ({"correction": 2.0}, {"correction": above(2.0)}),
        ({"correction": 2.0, **value(-10.0, 10.0)}, {"correction": above(2.0), **value(-10.0, 10.0)}),
        ({"correction": 0.0}, {"correction": NAN}),
        (value(-3.0, 1.0), value(below(-3.0), 1.0)),
        (value(-3.1, NAN), value(-3.1, 1.0)),
        (value(-1e-6, 1e-9), value(below(-1e-6), 1e-9)),
    ],
    "drifting": [
        (halves(0.51), halves(0.52)),
        (halves(-0.48), halves(-0.49)),
        (noisy_halves(3.99), noisy_halves(4.01)),
        (kept(np.arange(7.0) * np.ones((8, 1))), kept(np.arange(8.0) * np.ones((8, 1)))),
        (fallen(0.49), fallen(0.51)),
        (fallen(-5.0), fallen(5.0)),
        (noisy_fall(2.49), noisy_fall(2.51)),
        (noisy_fall(0.99, **cold()), noisy_fall(1.01, **cold())),
        (noisy_fall(2.0, **cold(1.0)), noisy_fall(2.0, **cold(1.01))),  # of half of 40 weights
        (noisy_fall(2.0, **cold(blind=False)), noisy_fall(2.0, **cold())),
    ],
    "not-mixed": [
        ({"ess": 12.1}, {"ess": 12.0}),  # 800 draws after 200 steps: (1 + 800 / ess) / 600 (2 / 3)^2 is 5 %
        ({"ess": 30.8, "unsettled": 0.03}, {"ess": 30.7, "unsettled": 0.03}),
        ({"ess": 12.1, "unsettled": 0.5}, {"ess": 12.0, "unsettled": 0.5}),
        ({"ess": 12.0, **value(10.0, 1.06)}, {"ess": 12.0, **value(10.0, 1.05)}),
        ({"ess": 800.0, "mcse": 0.28}, {"ess": 800.0, "mcse": 0.3}),
        ({"ess": 100.0}, {"ess": NAN}),
        ({"unsettled": NAN}, {"unsettled": NAN, "ess": 12.0}),
        ({"rhat": below(1.2)}, {"rhat": 1.2}),
        ({"healthy_chains": 32, "rhat": 2.0}, {"healthy_chains": 31, "rhat": 2.0}),
        ({"healthy_chains": 31, "rhat_nested": 1.05}, {"healthy_chains": 32, "rhat_nested": 1.05}),
        ({"healthy_chains": 31, "ess": below(100.0)}, {"healthy_chains": 32, "ess": below(100.0)}),
        ({"ess": NAN, **kept(NOISE[:, :12])}, {"ess": NAN, **kept(NOISE[:, :13])}),
    ],
    "too-few-draws": [
        (kept(NOISE.reshape(-1)[:100].reshape(10, 10)), kept(NOISE.reshape(-1)[:99].reshape(9, 11))),
        (kept(NOISE.reshape(-1, 4)), kept(NOISE[:, :99].reshape(-1, 3))),
    ],
    "estimators-disagree": [
        (gap(0.5), gap(0.51)),
        (noisy_gap(2.99), noisy_gap(3.01)),
        (gap(5.0) | kept(10 + NOISE), gap(5.0)),
        (gap(5.0, cold=Estimate(5.0, 0.0)), gap(5.0, cold=Estimate(1.0, 0.0))),
        (gap(5.0, cold=Estimate(0.0, 1.7)), gap(5.0, cold=Estimate(0.0, 1.6))),
        (variance(33.0), variance(above(33.0))),
    ],
    "not-settled": [
        ({"unsettled": 0.05}, {"unsettled": above(0.05)}),
        ({"unsettled": NAN}, {"unsettled": 1.0}),
        ({"unsettled": 0.5, **value(10.0, 20.0)}, {"unsettled": 0.5, **value(10.0, 19.9)}),
        ({"unsettled": 0.5, **value(10.0, 20.0)}, {"unsettled": 0.5, **value(10.0, NAN)}),
    ],
    "step-bias": [
        (gap(-0.476), gap(-0.477)),
        (noisy_gap(-2.99), noisy_gap(-3.01)),
        (gap(0.0), gap(0.0, cold=Estimate(2.0, 0.0))),
        ({"predicted_bias": 0.476}, {"predicted_bias": 0.477}),
        ({"predicted_bias": NAN}, {"predicted_bias": 5.0}),
        ({"predicted_bias": 0.3, "noise_bias": 0.17}, {"predicted_bias": 0.3, "noise_bias": 0.18}),
        ({"predicted_bias": 0.2, "noise_bias": 0.4}, {"predicted_bias": 0.4, "noise_bias": 0.2}),
        (plain(-0.476), plain(-0.477)),
        (plain(5.0), plain(-5.0)),
    ],
    "batch-noise": [
        ({"noise_bias": 0.476}, {"noise_bias": 0.477}),
        ({"noise_bias": 1.0, **value(10.0, 1.0)}, {"noise_bias": above(1.0), **value(10.0, 1.0)}),
        ({"noise_bias": 3.0, "noise_bias_stderr": 1.0}, {"noise_bias": above(3.0), "noise_bias_stderr": 1.0}),
        ({"noise_bias": NAN, "noise_bias_stderr": NAN}, {"noise_bias": 3.0}),
        ({"noise_bias": 0.3, "predicted_bias": 0.17}, {"noise_bias": 0.3, "predicted_bias": 0.18}),
        ({"noise_bias": 0.2, "predicted_bias": 0.4}, {"noise_bias": 0.4, "predicted_bias": 0.2}),
        ({"noise_bias": 0.4, "predicted_bias": NAN}, {"noise_bias": 0.5, "predicted_bias": NAN}),
    ],
    "unstable-step": [
        ({"step_times_curvature": 4.0}, {"step_times_curvature": above(4.0)}),
        ({"step_times_curvature": NAN}, {"step_times_curvature": INF}),
    ],
    "wrong-gradient": [
        (sloped(0.778), sloped(0.777)),
        (rise(3.99), rise(4.01)),
        ({"observed": {}}, sloped(0.0)),
    ],
    "rounding": [
        (value(40 * ULP), value(below(40 * ULP))),
        ({"curvature": 0.0, **value(0.0)}, {"curvature": above(0.0), **value(0.0)}),
    ],
    "box-hits": [({"box_hits": 0.001}, {"box_hits": above(0.001)})],
    "saturated": [
        (value(18.0), value(above(18.0))),
        (value(19.0, whole=True), value(19.0, whole=False)),
    ],
}  # fmt: skip


def test_each_reason_of_an_estimate_has_one_diagnostic_and_is_provoked() -> None:
    assert set(diagnostics()) == set(CASES)
    texts = [path.read_text(encoding="utf-8") for path in Path(room.__file__).parent.glob("*.py")]
    told = [name for text in texts for name in re.findall(r'REASONS\.register\(\s*"([\w-]+)"', text)]
    assert sorted(told) == sorted(CASES)


@pytest.mark.parametrize("reason", CASES)
def test_a_reason_is_given_beyond_its_limits_alone(reason: str) -> None:
    says = diagnostics()[reason].item
    assert not says(CALM)
    for within, beyond in CASES[reason]:
        assert not says(changed(CALM, **within)), within
        assert says(changed(CALM, **beyond)), beyond


def test_nothing_speaks_against_what_is_calm() -> None:
    assert reasons_against(CALM) == []


def test_where_there_is_no_value_nothing_else_is_said() -> None:
    flagged = changed(CALM, box_hits=1.0, step_times_curvature=5.0)
    assert set(reasons_against(flagged)) == {"box-hits", "unstable-step"}
    assert reasons_against(changed(flagged, moved=False)) == ["frozen"]
    assert reasons_against(changed(flagged, healthy_chains=0)) == ["all-diverged"]
    assert reasons_against(changed(flagged, healthy_chains=0, moved=False)) == ["frozen"]


def test_without_chains_only_the_loss_is_judged() -> None:
    start = Evidence(
        at=CALM.at, run=CALM.run, geometry=CALM.geometry, losses=torch.tensor([NAN]), whole=True, trivial_loss=1.0
    )
    assert reasons_against(start) == ["nan-loss"]


def test_a_diagnostic_from_outside_speaks_in_a_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status.REASONS, "_known", {**status.REASONS._entries})

    @status.REASONS.register("cold", summary="a temperature below 1", sentence="the chains are cold; warm them.")
    def cold(evidence: Evidence) -> bool:
        return evidence.motion.temperature < 1

    assert reasons_against(changed(CALM, temperature=0.5)) == ["cold"]
    slow = {"step_size": 1e-4, "burn_in": 0, "chains": 2, "draws": 60}
    record = estimate_llc(lambda p, b: 5 * p["w"].square() + 0 * b, {"w": torch.zeros(1)}, torch.zeros(1), n_beta=10.0,
                          gamma=1.0, **slow)  # fmt: skip
    assert record.temperature < 1
    assert "cold" in record.status.split("+")
