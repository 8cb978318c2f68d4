"""Measures what the posterior around the weights knows of single examples, while a network trains."""

from collections.abc import Sequence
from typing import Literal

from llc_lightning.callbacks.base import CALLBACKS, MeasurementCallback, OnError
from llc_lightning.callbacks.cadenced import At
from llc_lightning.llc.settings import ChainSettings
from llc_lightning.measure.posterior.plan import PosteriorPlan
from llc_lightning.runtime.batches import Batch
from llc_lightning.runtime.cadence import Cadence


@CALLBACKS.register(
    "posterior",
    summary="measures covariances of losses over the posterior",
    keys=("posterior",),
    place=4,
    needs="a posterior means nothing without n_beta and gamma",
)
class PosteriorCallback(MeasurementCallback):
    """Measures what the draws around the weights know of single examples: loss gains, loss kernel, susceptibilities.

    The chains are those of the LLC, of the whole model and of every component; along them the losses of some examples
    are watched one by one. Covariances, with errors from how chains differ, go to ``posterior/*.zarr.zip`` in the run
    folder (``analyze.py posterior RUN``), summaries to the table.

    Args:
        when: The cadence, such as ``Every(steps=100)``; None switches the callback off.
        n_beta: Inverse temperature times the number of examples.
        gamma: Strength of the localisation.
        components: Whose weights move, beside those of the whole model: ``layers``, ``neurons``, ``heads``, addresses,
            globs; one or several.
        watched: How many examples, drawn at random, are watched one by one.
        look_every: How many draws lie between looks at them; by default those of an LLC's closer looks, up to 25
            times, then at every tenth draw, which adds less than a tenth to the time. Covariances are noisy: 2 has
            errors about a third smaller, and adds a quarter.
        raw: Whether to keep the losses of the watched examples at every look: chains x looks x examples numbers for
            each component.
        methods: Ablation methods of activations, whose effects are measured along the whole model's chains as well;
            none by default.
        kernels: Whether to keep the loss kernel of every component, not of the whole model alone.
        on: A file of other examples to watch, as ``torch.save`` writes them; '' for some of those that chains sample.
        chains: Chains, each with its own noise and minibatches; the errors are those of their differences.
        draws: Kept draws per chain.
        burn_in: Steps before the first kept draw.
        batch_size: Examples per step; None takes all of them.
        sampler: The sampler's name.
        step_size: The sampler's step size, or ``auto``.
        step_fraction: What ``auto`` takes of the inverse largest curvature; null for the sampler's own.
        preconditioner: ``none`` or ``hutchinson``.
        curvature_examples: Examples that the Hessian is measured on, or ``auto``.
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
        n_beta: float,
        gamma: float,
        components: str | Sequence[str] = "layers",
        watched: int = 256,
        look_every: int | None = None,
        raw: bool = False,
        methods: str | Sequence[str] = (),
        kernels: bool = False,
        on: str = "",
        chains: int = 8,
        draws: int = 500,
        burn_in: int = 200,
        batch_size: int | None = None,
        sampler: str = "lm",
        step_size: float | Literal["auto"] = "auto",
        step_fraction: float | None = None,
        preconditioner: str = "none",
        curvature_examples: int | Literal["auto"] = "auto",
        replicates: int = 1,
        data: Batch | None = None,
        on_error: OnError = "raise",
        share: bool = True,
        at: At = "batch",
        seed: int | None = None,
        name: str = "posterior",
    ) -> None:
        plan = PosteriorPlan(
            components=(components,) if isinstance(components, str) else tuple(components),
            n_beta=float(n_beta),
            gamma=gamma,
            watched=watched,
            look_every=look_every,
            raw=raw,
            methods=(methods,) if isinstance(methods, str) else tuple(methods),
            kernels=kernels,
            on=on,
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
        )
        super().__init__(
            when, plan, name=name, data=data, on_error=on_error, share=share, at=at, seed=seed, replicates=replicates
        )

    @classmethod
    def off(cls, name: str) -> "PosteriorCallback":
        """Returns the callback switched off."""
        return cls(None, n_beta=1.0, gamma=1.0, name=name)
