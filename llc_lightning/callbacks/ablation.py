"""Measures ablation effects while a network trains."""

from collections.abc import Sequence
from typing import cast

from llc_lightning.callbacks.base import CALLBACKS, MeasurementCallback, OnError
from llc_lightning.callbacks.cadenced import At
from llc_lightning.measure.ablation.plan import AblationPlan
from llc_lightning.report.charts import Charts, method_charts
from llc_lightning.runtime.batches import Batch
from llc_lightning.runtime.cadence import Cadence


@CALLBACKS.register("ablation", summary="measures ablation effects", keys=("ablation",), place=2)
class AblationCallback(MeasurementCallback):
    """Measures by how much the loss rises when the activation of a component is replaced, or its weights are edited.

    Args:
        when: The cadence, such as ``Every(steps=100)``; None switches the callback off.
        methods: Ablation methods, such as ``zero``, ``mean``, ``resample``, ``optimal``, with options as in
            ``noise(scale=0.5)``; one or several.
        components: ``layers``, ``neurons``, addresses such as ``net.hook_hidden[7]``, globs, ``pairs:neurons``; one or
            several.
        attribution: Methods whose effects are also estimated from gradients, such as ``zero`` and ``mean``: a few
            passes for all components, in rows ``attribution``; one or several.
        metrics: What else to measure besides the loss, such as ``kl(output=net.hook_out)``; one or several.
        mask: Which positions count, where some are padded: an entry of the examples that is true there, such as
            ``attention_mask`` or ``1``, or ``NAME!=NUMBER``, such as ``labels!=-100``; by default what the module's
            ``mask(batch)`` says, else all.
        resamples: Resamples of the bootstrap intervals and sign-flip p-values in the rows' details; 0 for none.
        warm_start: Whether fitted methods also start from the constants of the measurement before, which saves steps;
            the rows then depend on it, and have other ``settings``.
        examples: Use at most so many of the examples, from the first on; None for all.
        tasks: Whether also to measure the effect on every task (circuit) and the model's own quantities, where it
            has any.
        data: Examples to measure on; by default the datamodule's ``analysis_set()``.
        on_error: ``raise`` stops the training on all ranks with one message; ``skip`` writes rows with status
            ``error`` and trains on.
        share: Whether the ranks share the work; otherwise each does all of it.
        at: Measure after training batches (``batch``), or only after validations (``validation``).
        seed: Keys all random numbers, and names the rows' ``settings``; by default the seed of Lightning's
            ``seed_everything``, else 0.
        name: Names the callback's files; callbacks of one trainer need different names.

    Raises:
        SettingError: If a value is not allowed.
    """

    def __init__(
        self,
        when: Cadence | None,
        *,
        methods: str | Sequence[str] = "zero",
        components: str | Sequence[str] = "layers",
        attribution: str | Sequence[str] = (),
        metrics: str | Sequence[str] = (),
        mask: str = "",
        resamples: int = 0,
        warm_start: bool = False,
        examples: int | None = 16384,
        tasks: bool = True,
        data: Batch | None = None,
        on_error: OnError = "raise",
        share: bool = True,
        at: At = "batch",
        seed: int | None = None,
        name: str = "ablation",
    ) -> None:
        plan = AblationPlan(
            components=(components,) if isinstance(components, str) else tuple(components),
            methods=(methods,) if isinstance(methods, str) else tuple(methods),
            attribution=(attribution,) if isinstance(attribution, str) else tuple(attribution),
            metrics=(metrics,) if isinstance(metrics, str) else tuple(metrics),
            mask=mask,
            resamples=resamples,
            warm_start=warm_start,
            examples=examples,
            tasks=tasks,
            seed=seed,
        )
        super().__init__(when, plan, name=name, data=data, on_error=on_error, share=share, at=at, seed=seed)
        self.essential = "zero" in plan.methods

    def charts(self) -> Charts:
        """Returns a chart for every method."""
        return method_charts(cast("AblationPlan", self.plan).methods)
