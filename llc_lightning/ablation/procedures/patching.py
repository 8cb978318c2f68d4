"""Activation patching: what one run's activation does in another run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool
from torch import Tensor

from llc_lightning.ablation.effects import effects_table
from llc_lightning.ablation.engine.blocks import Blocks
from llc_lightning.ablation.engine.effect import Effect
from llc_lightning.ablation.engine.examples import Examples
from llc_lightning.ablation.engine.mask import Mask
from llc_lightning.ablation.engine.place import Place, ReplacementAt, ablatable
from llc_lightning.ablation.engine.sweep import sweep
from llc_lightning.ablation.methods.counterfactual import Counterfactual
from llc_lightning.ablation.metrics import Metric, resolve_metrics
from llc_lightning.ablation.procedures.normalised import NORMALISED, normalised
from llc_lightning.components.component import Component
from llc_lightning.components.listing import find_components
from llc_lightning.components.loss import Change, ModuleLoss
from llc_lightning.runtime.batches import Batch, Params, check_partners, for_params

if TYPE_CHECKING:
    import pandas as pd


def patching(
    loss: ModuleLoss,
    params: Params,
    clean: Batch,
    donor: Batch,
    components: str | Component | Sequence[str | Component],
    *,
    noising: bool = True,
    metrics: str | Metric | Sequence[str | Metric] = (),
    mask: str = "",
    chunk: int | None = None,
) -> pd.DataFrame:
    """Returns the effect of patching each component, in one direction or the other, as ``ablation_effects`` does.

    ``noising`` puts the donor's activation into the run on the clean examples and asks what that breaks, ``L(clean with
    donor) - L(clean)``; otherwise the clean activation goes into the run on the donors and asks what that restores,
    ``L(donor with clean) - L(donor)`` (Vig et al. 2020, arXiv:2004.12265; Heimersheim and Nanda 2024,
    arXiv:2404.15255). The loss is that of the examples that are run, with the targets that they have; metrics always
    compare with the outputs and read the answers of the clean examples.

    The columns are those of ``ablation_effects``, with ``normalised`` and ``normalised_stderr`` behind them: the effect
    as a share of what lies between the two runs, 0 for nothing and 1 for all of it, and its standard error. On the loss
    that is a share of ``L(donor) - L(clean)``, which says something where donors have the targets of the examples.

    Args:
        loss: The module's loss.
        params: The weights.
        clean: The examples.
        donor: As many examples, each the partner of the one in its place.
        components: What to patch: components, or what ``find_components`` understands.
        noising: The direction.
        metrics: What else to measure, as in ``ablation_effects``.
        mask: Which positions count, as in ``ablation_effects``; where a partner's does not, nothing is patched.
        chunk: Patches per forward pass; without it as many as fit.

    Raises:
        SettingError: If a metric or the mask is not allowed.
        AddressError: If a component is unknown or has no activation, or there is none.
        DataError: If there is not one donor of its form for each example.
    """
    patched = ablatable(find_components(loss.listing, components))
    check_partners(donor, clean, what="donors")
    found = patches(loss, params, clean, donor, patched, noising=noising, metrics=metrics, mask=mask, chunk=chunk)
    return patching_table(found, "patching" if noising else "patching(noising=false)")


def patching_table(effects: Sequence[Effect], method: str) -> pd.DataFrame:
    """Returns effects as a tidy table, under the name of what patched."""
    return effects_table([effect.changed(method=method) for effect in effects], details=NORMALISED)


def patches(
    loss: ModuleLoss,
    params: Params,
    clean: Batch,
    donor: Batch,
    components: Sequence[Component],
    *,
    noising: bool,
    metrics: str | Metric | Sequence[str | Metric] = (),
    given: dict[str, Tensor] | None = None,
    mask: str = "",
    chunk: int | None = None,
) -> list[Effect]:
    """Returns the losses of the run and the effects of patching it, with their values per example.

    Args:
        loss: The module's loss.
        params: The weights.
        clean: The examples.
        donor: Their partners.
        components: What to patch.
        noising: Whether the run is that on the clean examples.
        metrics: What else to measure.
        given: What to put in, by hook point, instead of the other run's activations.
        mask: Which positions count.
        chunk: Patches per forward pass.
    """
    runs, givers = (clean, donor) if noising else (donor, clean)
    points = [member.point for component in components for member in component.members]
    other = plain_examples(loss, params, givers, metrics, answers=clean, points=points, mask=mask)
    effects = sweep(
        loss,
        params,
        runs,
        components,
        Counterfactual(),
        seed=0,
        metrics=metrics,
        counterfactual=other,
        given=given,
        answers=None if noising else clean,
        mask=mask,
        per_example=True,
        chunk=chunk,
    )
    here = [one for one in effects if one.quantity == "loss"]
    pairs = [(a.loss, a.per_example, b.per_example) for a, b in zip(here, other.unablated, strict=True)]
    return normalised(effects, {name: b - a for name, a, b in pairs if a is not None and b is not None})


def plain_examples(
    loss: ModuleLoss,
    params: Params,
    data: Batch,
    metrics: str | Metric | Sequence[str | Metric] = (),
    *,
    answers: Batch | None = None,
    points: Sequence[str] = (),
    mask: str = "",
) -> Examples:
    """Returns what is known of examples without ablation: losses and metrics of each, after the checks of a sweep.

    Args:
        loss: The module's loss.
        params: The weights.
        data: The examples.
        metrics: What else to measure.
        answers: The examples whose outputs and entries the metrics compare with, where they are others.
        points: Hook points whose activations will be asked for; they must be of a form that can be replaced.
        mask: Which positions count.
    """
    measured, plain = resolve_metrics(metrics), loss.with_edits(())
    names = ("train", *(f"metric:{metric.name}" for metric in measured))
    with torch.no_grad():
        return Examples(
            plain,
            params,
            Blocks.of(for_params(data, params)),
            names,
            metrics=measured,
            answers=None if answers is None else for_params(answers, params),
            points=points,
            mask=Mask.of(plain, params, mask),
            keep=True,
            recorded=True,
        )


def patch(
    component: Component, values: dict[str, Tensor], counting: dict[str, Bool[Tensor, "..."] | None] | None = None
) -> list[Change]:
    """Returns the edits that put activations into a component.

    Args:
        component: Where.
        values: The activations by hook point, on all examples.
        counting: Which of them may be put in, by hook point, to broadcast; None for all.
    """
    edits: list[Change] = []
    for member in component.members:
        place = Place.of([member], values[member.point][0], few=False)
        aim = {name: tensor[0] for name, tensor in place.aims(torch.zeros(1, dtype=torch.int64)).items()}
        real = counting[member.point] if counting else None
        if real is not None:
            aim["where"] = aim["where"] & real
        edits.append(ReplacementAt(member.point, place.unit_axis, {**aim, "value": values[member.point]}))
    return edits


def activations(loss: ModuleLoss, params: Params, batch: Batch, points: Sequence[str]) -> dict[str, Tensor]:
    """Returns the activations at hook points, edits included, each asked for once."""
    return loss.activations(params, batch, list(dict.fromkeys(points)))
