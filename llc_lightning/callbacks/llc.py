"""Measures local learning coefficients while a network trains."""

from collections.abc import Sequence
from typing import Literal, cast

from llc_lightning.callbacks.base import CALLBACKS, MeasurementCallback, OnError
from llc_lightning.callbacks.cadenced import At
from llc_lightning.llc.settings import ChainSettings
from llc_lightning.measure.llc.plan import LLCPlan
from llc_lightning.report.charts import Charts, rung_charts
from llc_lightning.runtime.batches import Batch
from llc_lightning.runtime.cadence import Cadence
from llc_lightning.runtime.kinds import KINDS, at_level


@CALLBACKS.register(
    "llc",
    summary="estimates local learning coefficients",
    keys=("llc", "llc_units"),
    place=1,
    needs="an LLC means nothing without n_beta and gamma",
)
class LLCCallback(MeasurementCallback):
    """Estimates the local learning coefficient (LLC) of the whole model and of its components.

    It samples the localised tempered posterior ``exp(-n_beta L(w) - gamma/2 |w - w*|^2)`` around the current weights
    and takes ``n_beta E[L(w) - L(w*)]`` (Lau et al. 2023, arXiv:2308.12108; restricted to the weights of a component:
    Wang et al. 2024, arXiv:2410.02984). ``n_beta`` and ``gamma`` have no default: the number means nothing without
    the pair. ``llc_lightning.calibrate`` finds them, and the other settings, at one checkpoint:
    ``LLCCallback(when, **calibrate(...).choice.options)`` measures every snapshot with them; the step size alone
    follows the curvature of each.

    Args:
        when: The cadence, such as ``Every(steps=100)``; None switches the callback off.
        n_beta: Inverse temperature times the number of examples; several give a ladder of resolutions.
        gamma: Strength of the localisation.
        components: ``all`` for the whole model, ``layers``, ``neurons``, ``heads``, ``channels``, ``parameters``,
            addresses such as ``net.hook_hidden[7]``, globs; one or several.
        chains: Chains, each with its own noise and minibatches.
        draws: Kept draws per chain.
        burn_in: Steps before the first kept draw.
        batch_size: Examples per step; None takes all of them.
        sampler: The sampler's name; ``lm`` has no bias of the step size where the loss is quadratic.
        step_size: The sampler's step size, or ``auto``.
        step_fraction: What ``auto`` takes of the inverse largest curvature; null for the sampler's own.
        preconditioner: ``none``, or ``hutchinson``: a constant diagonal that settles badly conditioned nets sooner and
            leaves the target unchanged.
        curvature_examples: Examples that the Hessian is measured on, for step sizes and the correction Delta; ``auto``
            keeps that a tenth or so of the work.
        estimator: Which estimate is the value, ``mean`` or another that may be; the others are in the details.
        box: The largest distance of any weight from w*; None for no limit.
        watched_examples: How many examples, drawn at random, have their losses recorded one by one, for the
            functional variance.
        losses: What to sample: the training loss (``train``) or tasks of the module, each on the examples that count
            for it; one or several.
        tasks: Whether to record the loss of every task of the module along the chains of the training loss.
        replicates: Disjoint sets of random numbers to measure the final weights with, when training ends; their
            agreement is the reliability of the estimates.
        data: Examples to measure on; by default the datamodule's ``analysis_set()``.
        on_error: ``raise`` stops the training on all ranks with one message; ``skip`` writes rows with status
            ``error`` and trains on.
        share: Whether the ranks share the work; otherwise each does all of it.
        at: Measure after training batches (``batch``), or only after validations (``validation``).
        traces: Whether to keep every draw of every chain.
        seed: Keys all random numbers; by default the seed of Lightning's ``seed_everything``, else 0.
        name: Names the callback's files; callbacks of one trainer need different names.

    Raises:
        SettingError: If a value is not allowed.
    """

    def __init__(
        self,
        when: Cadence | None,
        *,
        n_beta: float | Sequence[float],
        gamma: float,
        components: str | Sequence[str] = "all",
        chains: int = 8,
        draws: int = 500,
        burn_in: int = 200,
        batch_size: int | None = None,
        sampler: str = "lm",
        step_size: float | Literal["auto"] = "auto",
        step_fraction: float | None = None,
        preconditioner: str = "none",
        curvature_examples: int | Literal["auto"] = "auto",
        estimator: str = "mean",
        box: float | None = None,
        watched_examples: int = 0,
        losses: str | Sequence[str] = "train",
        tasks: bool = False,
        replicates: int = 1,
        data: Batch | None = None,
        on_error: OnError = "raise",
        share: bool = True,
        at: At = "batch",
        traces: bool = True,
        seed: int | None = None,
        name: str = "llc",
    ) -> None:
        plan = LLCPlan(
            components=(components,) if isinstance(components, str) else tuple(components),
            n_beta=(float(n_beta),) if isinstance(n_beta, int | float) else tuple(float(rung) for rung in n_beta),
            gamma=gamma,
            settings=ChainSettings(
                sampler=sampler,
                step_size=step_size,
                step_fraction=step_fraction,
                preconditioner=preconditioner,
                chains=chains,
                draws=draws,
                burn_in=burn_in,
                batch_size=batch_size,
                curvature_examples=curvature_examples,
                estimator=estimator,
                box=box,
                watched_examples=watched_examples,
            ),
            losses=(losses,) if isinstance(losses, str) else tuple(losses),
            tasks=tasks,
        )
        super().__init__(
            when, plan, name=name, data=data, on_error=on_error, share=share, at=at, seed=seed, traces=traces,
            replicates=replicates,
        )  # fmt: skip

    @classmethod
    def off(cls, name: str) -> "LLCCallback":
        """Returns the callback switched off."""
        return cls(None, n_beta=1.0, gamma=1.0, name=name)

    def charts(self) -> Charts:
        """Returns a chart for every rung at which units are measured, and one of layers."""
        plan = cast("LLCPlan", self.plan)
        units = [one for one in plan.components if _names_units(one)]
        layers = set(plan.components) - {*units, "all", "parameters"}
        return rung_charts(plan.n_beta, units=bool(units), layers=bool(layers))


def _names_units(spec: str) -> bool:
    """Says whether an entry names units of hook points: by a word of theirs, or in brackets."""
    words = {KINDS.get(kind).facts.word for kind in at_level("units")} - {""}
    return "[" in spec or spec.removesuffix(":in").removesuffix(":out").removeprefix("pairs:") in words
