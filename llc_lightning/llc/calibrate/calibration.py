"""Chooses how to run chains at a checkpoint that nothing is known of, and says whether the choice can be trusted."""

from collections.abc import Callable, Mapping
from typing import Literal

from torch import Tensor

from llc_lightning.llc.calibrate.choices import Choice, first_batch, first_choice
from llc_lightning.llc.calibrate.search import Calibration, Free, Search
from llc_lightning.llc.estimator import estimate_parts
from llc_lightning.llc.inputs import check_inputs
from llc_lightning.llc.record import LLCRecord
from llc_lightning.llc.settings import Restriction
from llc_lightning.runtime.batches import Batch, LossFn, Params
from llc_lightning.runtime.errors import SettingError, at_least, not_negative, positive, unless_none


def calibrate(
    loss_fn: LossFn,
    params: Params,
    data: Batch,
    *,
    n_beta: float | None = None,
    gamma: float | None = None,
    sampler: str = "lm",
    preconditioner: str = "none",
    chains: int = 8,
    batch_size: int | Literal["auto"] | None = "auto",
    moved: Mapping[str, Tensor] | None = None,
    tolerance: float = 0.05,
    budget: int = 100_000,
    seed: int = 0,
    trivial_loss: float | None = None,
    done: Callable[[int, str], object] | None = None,
) -> Calibration:
    """Returns settings whose estimate mixes, stays local, and changes little at half the step or twice the length.

    n_beta and gamma are those of :func:`first_choice` where they are not given, the step size a fraction of the inverse
    largest curvature. Then, as the status of each trial asks: gamma is raised while chains leave the neighbourhood,
    n_beta is lowered (or gamma raised, if n_beta is given) while w* is too far from a minimum for it, batches grow (up
    to some hundreds of examples) while their noise heats the chains, the fraction is halved while they are too hot
    otherwise, and chains get longer while they have not mixed. What passes is repeated at half the step and at twice
    the length, each of which must be without fault itself.

    Args:
        loss_fn: The loss per example.
        params: w*.
        data: The examples.
        n_beta: Inverse temperature times sample size, kept as given.
        gamma: Localisation, kept as given.
        sampler: Name of the sampler.
        preconditioner: ``none`` or ``hutchinson``, which settles badly conditioned nets sooner.
        chains: Number of chains.
        batch_size: Examples per step, kept as given; all where there are fewer, or for None. ``auto`` starts with few.
            The budget does not count them.
        moved: Masks by parameter name; None moves everything.
        tolerance: By how much of itself the estimate may change.
        budget: Steps of all chains together, trials and checks included.
        seed: Keys all random streams.
        trivial_loss: Loss of the trivial predictor, to judge whether the chains stayed local.
        done: Called after every trial with its steps and a note on what is tried.

    Raises:
        SettingError: If a setting is out of range, or n_beta is missing for too few examples.
    """
    positive(tolerance=tolerance)
    at_least(1, budget=budget)
    at_least(2, chains=chains)
    chosen = batch_size == "auto"
    if batch_size == "auto":
        batch_size = first_batch(sampler)
    at_least(1, **unless_none(batch_size=batch_size))
    check_inputs(loss_fn, params, moved=moved, seed=seed, replicate=0, trivial_loss=trivial_loss)
    positive(**unless_none(n_beta=n_beta))
    not_negative(**unless_none(gamma=gamma))
    first = first_choice(
        loss_fn, params, data, n_beta=n_beta, gamma=gamma, sampler=sampler, preconditioner=preconditioner,
        chains=chains, batch_size=batch_size, moved=moved, budget=budget, seed=seed,
    )  # fmt: skip
    if first.cost > budget:
        raise SettingError(
            f"budget is {budget} steps, and the first trial alone takes {first.cost}; give more, or fewer chains."
        )
    parts = [Restriction(moved)]

    def estimate(choice: Choice) -> LLCRecord:
        return estimate_parts(
            loss_fn,
            params,
            data,
            parts,
            [choice.resolution],
            choice.settings,
            seed=seed,
            trivial_loss=trivial_loss,
        )[0][0]

    free = Free(n_beta is None, gamma is None, chosen)
    return Search(estimate, first, free, tolerance, budget, done).run()
