"""Measures the local learning coefficient under ablation while a network trains."""

from collections.abc import Sequence
from typing import Literal

from llc_lightning.callbacks.base import CALLBACKS, MeasurementCallback, OnError
from llc_lightning.callbacks.cadenced import At
from llc_lightning.llc.settings import ChainSettings
from llc_lightning.measure.ablated_llc.plan import AblatedLLCPlan
from llc_lightning.runtime.batches import Batch
from llc_lightning.runtime.cadence import Cadence


@CALLBACKS.register(
    "ablated_llc",
    summary="estimates local learning coefficients under ablation",
    keys=("ablated_llc",),
    place=3,
    needs="an LLC means nothing without n_beta and gamma",
)
class AblatedLLCCallback(MeasurementCallback):
    """Estimates how the ablation of a component changes the local learning coefficient (LLC) of the model.

    Without the component the other weights are re-optimised by L-BFGS while its own stay, and the LLC of the ablated
    loss is estimated there (``llc_ablated``); ``llc_shift`` is its difference to that of the whole model, re-optimised
    in the same way, by the same random numbers. ``recovery_gap`` is the loss that the other weights make good near the
    trained ones.

    Args:
        when: The cadence, such as ``Every(steps=100)``; None switches the callback off.
        n_beta: Inverse temperature times the number of examples; several give a ladder of resolutions.
        gamma: Strength of the localisation.
        components: What to ablate: ``layers``, ``neurons``, ``heads``, addresses, globs; one or several.
        methods: Ablation methods of activations, such as ``zero``, ``mean``, ``optimal``, ``resample``; one or several.
        chains: Chains, each with its own noise and minibatches.
        draws: Kept draws per chain.
        burn_in: Steps before the first kept draw.
        batch_size: Examples per step; None takes all of them.
        sampler: The sampler's name.
        step_size: The sampler's step size, or ``auto``: that of the whole model, and one of its own where it is too
            large for an ablated one.
        step_fraction: What ``auto`` takes of the inverse largest curvature; null for the sampler's own.
        preconditioner: ``none`` or ``hutchinson``.
        curvature_examples: Examples that the Hessian is measured on, or ``auto``.
        budget: Iterations of a re-optimisation at most.
        closure: Whether to run chains of the ablated loss around the trained weights too, and tell whether the
            numbers close; a third more work.
        complement: Whether to estimate the LLC of the whole model with each component's weights held as well.
        joint: Whether to estimate the LLC of each ablated model with the ablation's constant as one more weight too.
        examples: Use at most so many of the examples, from the first on; None for all.
        mask: Which positions count, where some are padded: an entry of the examples, or ``NAME!=NUMBER``; by default
            what the module's ``mask(batch)`` says, else all.
        replicates: Disjoint sets of random numbers to measure the final weights with, when training ends.
        data: Examples to measure on; by default the datamodule's ``analysis_set()``.
        on_error: ``raise`` stops the training on all ranks with one message; ``skip`` writes rows with status
            ``error`` and trains on.
        share: Whether the ranks share the work; otherwise each does all of it.
        at: Measure after training batches (``batch``), or only after validations (``validation``).
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
        components: str | Sequence[str] = "neurons",
        methods: str | Sequence[str] = "zero",
        chains: int = 8,
        draws: int = 500,
        burn_in: int = 200,
        batch_size: int | None = None,
        sampler: str = "lm",
        step_size: float | Literal["auto"] = "auto",
        step_fraction: float | None = None,
        preconditioner: str = "none",
        curvature_examples: int | Literal["auto"] = "auto",
        budget: int = 500,
        closure: bool = False,
        complement: bool = False,
        joint: bool = False,
        examples: int | None = 16384,
        mask: str = "",
        replicates: int = 1,
        data: Batch | None = None,
        on_error: OnError = "raise",
        share: bool = True,
        at: At = "batch",
        seed: int | None = None,
        name: str = "ablated_llc",
    ) -> None:
        plan = AblatedLLCPlan(
            components=(components,) if isinstance(components, str) else tuple(components),
            methods=(methods,) if isinstance(methods, str) else tuple(methods),
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
            ),
            budget=budget,
            closure=closure,
            complement=complement,
            joint=joint,
            examples=examples,
            mask=mask,
        )
        super().__init__(
            when, plan, name=name, data=data, on_error=on_error, share=share, at=at, seed=seed, replicates=replicates
        )

    @classmethod
    def off(cls, name: str) -> "AblatedLLCCallback":
        """Returns the callback switched off."""
        return cls(None, n_beta=1.0, gamma=1.0, name=name)
