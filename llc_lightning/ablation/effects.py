"""The public table of ablation effects."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from typing import TYPE_CHECKING, Any

from torch import nn

from llc_lightning.ablation.engine.base import Method, resolve_methods
from llc_lightning.ablation.engine.effect import Effect, Effects
from llc_lightning.ablation.engine.replacing import by_side
from llc_lightning.ablation.engine.sweep import sweep
from llc_lightning.ablation.metrics import Metric
from llc_lightning.ablation.significance import check_resamples, with_statistics
from llc_lightning.components.component import Component
from llc_lightning.components.loss import loss_fn, snapshot_params
from llc_lightning.components.measurable import find_measurable
from llc_lightning.runtime.batches import Batch, n_examples

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    *("component", "kind", "method", "loss", "value", "stderr", "status"),
    *("unablated", "draws", "n_examples", "fitted_to", "vmapped"),
)
_READ = ("component", "kind", "method", "loss", "value", "stderr", "status", "draws", "n", "vmapped", "details")
"""The fields of an effect that the columns are read from."""
_NUMBERS = {"value": float, "stderr": float, "unablated": float, "draws": int, "n_examples": int, "vmapped": bool}
"""The columns of numbers, with their types."""


def ablation_effects(
    module: nn.Module,
    batch: Batch,
    components: str | Component | Sequence[str | Component] = "neurons",
    methods: str | Method | Sequence[str | Method] = ("zero",),
    *,
    metrics: str | Metric | Sequence[str | Metric] = (),
    counterfactual: Batch | None = None,
    mask: str = "",
    resamples: int = 0,
    seed: int = 0,
    chunk: int | None = None,
) -> pd.DataFrame:
    """Returns the effect of ablating parts of a module, one tidy row per component, method and loss.

    ``value`` is the rise of the loss, mean over the examples, ``stderr`` its standard error over examples and
    ``unablated`` the loss without ablation. ``loss`` is ``train``, the name of a task where the module has tasks, or
    ``metric:NAME``. All methods are measured on the same examples; of a fitted one ``fitted_to`` names the loss that
    its constants are best for. With
    ``resamples`` the columns ``low``, ``high`` (bootstrap-t interval), ``p`` (of the same resamples, with a tail beyond
    them) and ``p_adjusted`` (over the components of a method) follow. The module is not touched.

    Args:
        module: Any module with ``per_example_loss(batch) -> Float[Tensor, "example"]``.
        batch: The examples: a tensor, tuple or dict of tensors with a leading example axis.
        components: What to ablate: addresses, globs, or words such as ``neurons`` and ``layers``.
        methods: How: names, with options as in ``noise(scale=0.5)``, or objects such as ``Noise(scale=0.5)``.
        metrics: What else to measure, such as ``kl`` or ``accuracy(target=1)``.
        counterfactual: The examples' partners, for the method ``counterfactual``.
        mask: Which positions count: an entry of the examples that is true there, such as ``attention_mask`` or ``1``,
            or ``NAME!=NUMBER``, such as ``labels!=-100``; by default what the module's ``mask(batch)`` says, where it
            has one, else all positions. The others enter no mean, donor, constant or metric.
        resamples: Number of resamples of intervals and p-values; 0 leaves both out, else at least 99.
        seed: Keys donors and noise.
        chunk: Ablations per forward pass; without it as many as fit. It changes no value.

    Raises:
        LLCLightningError: If an argument names nothing or cannot be used; the message says what to change.

    Example:
        >>> import torch
        >>> class Net(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.layer = nn.Linear(2, 1, bias=False)
        ...         nn.init.ones_(self.layer.weight)
        ...
        ...     def per_example_loss(self, batch):
        ...         return self.layer(batch)[:, 0].square()
        >>> table = ablation_effects(Net(), torch.tensor([[1.0, 1.0], [1.0, 0.0]]), "logits", ["zero", "mean"])
        >>> table[["component", "method", "value", "unablated"]].to_dict("split")["data"]
        [['layer[0]', 'zero', -2.5, 2.5], ['layer[0]', 'mean', -0.25, 2.5]]
    """
    check_resamples(resamples)
    n_examples(batch)
    loss, chosen = loss_fn(module), resolve_methods(methods)
    replacing, editing = by_side(chosen)
    effects = sweep(
        loss,
        snapshot_params(module),
        batch,
        find_measurable(module, components, batch, activation=bool(replacing), weights=bool(editing), loss=loss),
        chosen,
        seed=seed,
        tasks=bool(loss.task_names),
        metrics=metrics,
        counterfactual=counterfactual,
        mask=mask,
        per_example=resamples > 0,
        chunk=chunk,
    )
    if resamples:
        effects = with_statistics(effects, resamples=resamples, seed=seed)
    return effects_table(effects, details=("low", "high", "p", "p_adjusted") if resamples else ())


def effects_table(effects: Sequence[Effect], *, details: Sequence[str] = ()) -> pd.DataFrame:
    """Returns what a sweep found as one tidy row per component, method and loss.

    Args:
        effects: The unablated losses and the effects.
        details: The details that become columns too.
    """
    import numpy as np
    import pandas as pd

    def column(name: str) -> list[Any]:
        return effects.column(name) if isinstance(effects, Effects) else [getattr(effect, name) for effect in effects]

    quantities = column("quantity")
    told = {name: column(name) for name in _READ}
    losses = zip(quantities, told["loss"], told["value"], strict=True)
    unablated = {loss: value for quantity, loss, value in losses if quantity == "loss"}
    ablated = [quantity == "ablation_effect" for quantity in quantities]
    told = {name: list(compress(values, ablated)) for name, values in told.items()}
    told["unablated"] = [unablated[loss] for loss in told["loss"]]
    told["n_examples"] = told.pop("n")
    told["fitted_to"] = [known.get("fitted_to", "") for known in told["details"]]
    told |= {name: [known.get(name) for known in told["details"]] for name in details}
    # What pandas need not look at number by number.
    arrays = {name: np.array(told[name], dtype) for name, dtype in _NUMBERS.items()}
    return pd.DataFrame({name: arrays.get(name, told[name]) for name in (*COLUMNS, *details)})
