"""The LLC over step sizes and inverse temperatures around a choice, to look at."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

from torch import Tensor

from llc_lightning.llc.calibrate.search import Calibration
from llc_lightning.llc.estimator import estimate_parts
from llc_lightning.llc.local import some_examples
from llc_lightning.llc.record import LLCRecord
from llc_lightning.llc.settings import ChainSettings, Resolution, Restriction
from llc_lightning.runtime.batches import Batch, LossFn, Params
from llc_lightning.runtime.status import is_ok

STEP_FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
N_BETA_FACTORS = (0.03, 0.1, 0.3, 1.0, 3.0)
_EXAMPLES = 512
_FLAT = 0.1
_FEWEST_DRAWS = 50


@dataclass(frozen=True)
class Sweep:
    """Estimates around a choice, which is in both lists.

    ``acceptances`` are the shares of the step's proposals that MALA accepts, on a fixed batch of at most 512 examples,
    one for each record of ``over_steps``.
    """

    over_steps: tuple[LLCRecord, ...]
    acceptances: tuple[float, ...]
    over_n_beta: tuple[LLCRecord, ...]

    @property
    def plateaus(self) -> list[tuple[float, float]]:
        """Neighbouring n_betas with an ok status between which ``|d ln LLC / d ln n_beta|`` is below 0.1."""
        flat: list[tuple[float, float]] = []
        for lower, upper in pairwise(self.over_n_beta):
            if is_ok(lower.status) and is_ok(upper.status) and lower.value > 0 and upper.value > 0:
                slope = math.log(upper.value / lower.value) / math.log(upper.n_beta / lower.n_beta)
                if abs(slope) < _FLAT:
                    flat.append((lower.n_beta, upper.n_beta))
        return flat

    @property
    def sentence(self) -> str:
        """Says where the LLC hardly depends on n_beta, or that it does so nowhere."""
        good = [record for record in self.over_n_beta if is_ok(record.status) and record.value > 0]
        if self.plateaus:
            where = ", ".join(f"{low:.4g} to {high:.4g}" for low, high in _joined(self.plateaus))
            return f"plateau: |d ln LLC / d ln n_beta| is below {_FLAT} from n_beta {where}; quote a value from there"
        if len(good) < 2:
            return (
                f"no plateau can be seen: of {len(self.over_n_beta)} n_betas {len(good)} gave an ok value; what is "
                "wrong with the others stands in the figure"
            )
        low, high = good[0], good[-1]
        return (
            f"no plateau: from n_beta {low.n_beta:.4g} to {high.n_beta:.4g} the LLC goes from {low.value:.4g} to "
            f"{high.value:.4g}, nowhere with |d ln LLC / d ln n_beta| below {_FLAT}; it is a dimension at this n_beta "
            "and gamma alone, so quote it with both and compare it at equal ones"
        )


def sweep(
    loss_fn: LossFn,
    params: Params,
    data: Batch,
    calibration: Calibration,
    *,
    moved: Mapping[str, Tensor] | None = None,
    seed: int = 0,
    done: Callable[[int, str], object] | None = None,
) -> Sweep:
    """Returns the LLC over the step size and over n_beta, each a factor of the calibrated one.

    It takes at most the budget of the calibration, with shorter chains where the calibrated ones are too long for it.

    Args:
        loss_fn: The loss per example.
        params: w*.
        data: The examples.
        calibration: Of the same loss, weights and data.
        moved: Masks by parameter name; None moves everything.
        seed: Keys all random streams.
        done: Called after every estimate with its steps and a note on what it is.
    """
    at, settings = calibration.choice.resolution, _settings(calibration)
    restriction = Restriction(moved)

    def estimate(examples: Batch, where: Resolution, how: ChainSettings, note: str) -> LLCRecord:
        record = estimate_parts(loss_fn, params, examples, [restriction], [where], how, seed=seed)[0][0]
        if done is not None:
            done(how.chains * how.steps, note)
        return record

    steps = [_at_step(settings, calibration.record.step_size, factor) for factor in STEP_FACTORS]
    some = some_examples(data, _EXAMPLES, seed)
    adjusted = [
        replace(how, sampler="mala", batch_size=None, burn_in=10, draws=40, preconditioner="none", estimator="mean")
        for how in steps
    ]
    return Sweep(
        tuple(estimate(data, at, how, "step sizes") for how in steps),
        tuple(estimate(some, at, how, "acceptance").acceptance for how in adjusted),
        tuple(
            estimate(data, Resolution(factor * at.n_beta, at.gamma), settings, "inverse temperatures")
            for factor in N_BETA_FACTORS
        ),
    )


def _joined(stretches: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Returns stretches with those that touch made one."""
    joined: list[tuple[float, float]] = []
    for low, high in stretches:
        low = joined.pop()[0] if joined and joined[-1][1] == low else low
        joined.append((low, high))
    return joined


def sweep_steps(calibration: Calibration) -> int:
    """Returns how many steps of all chains a sweep takes."""
    return _steps(_settings(calibration))


def _settings(calibration: Calibration) -> ChainSettings:
    """Returns the calibrated settings, halved in length until a sweep takes no more than the calibration's budget."""
    settings = calibration.choice.settings
    while _steps(settings) > calibration.budget and settings.draws > _FEWEST_DRAWS:
        settings = replace(settings, burn_in=settings.burn_in // 2, draws=settings.draws // 2)
    return settings


def _steps(settings: ChainSettings) -> int:
    over_steps = sum(_at_step(settings, 1.0, factor).steps for factor in STEP_FACTORS)
    return settings.chains * (over_steps + settings.steps * len(N_BETA_FACTORS) + 50 * len(STEP_FACTORS))


def _at_step(settings: ChainSettings, chosen: float, factor: float) -> ChainSettings:
    """Returns the settings at a factor of the chosen step size; a smaller one goes as far, in more steps."""
    longer = max(1, round(1 / factor))
    return replace(
        settings, step_size=factor * chosen, burn_in=longer * settings.burn_in, draws=longer * settings.draws
    )
