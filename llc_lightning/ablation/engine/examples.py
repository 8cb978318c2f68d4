"""The examples of a sweep in blocks, with all that is known about them without ablating anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from llc_lightning.ablation.engine.base import Activations, Method, entry_of
from llc_lightning.ablation.engine.blocks import Blocks
from llc_lightning.ablation.engine.effect import Effect, Outcome, Summary
from llc_lightning.ablation.engine.entries import HasCounterfactual, labels_of
from llc_lightning.ablation.engine.lanes import ForwardPass, losses_of
from llc_lightning.ablation.engine.mask import Mask, position_axes, spread
from llc_lightning.ablation.engine.moments import Counted
from llc_lightning.ablation.engine.unablated import Unablated
from llc_lightning.ablation.metrics import Metric
from llc_lightning.components.alone import check_equal
from llc_lightning.components.loss import ModuleLoss
from llc_lightning.runtime.batches import Batch, Params, check_partners, n_examples, take, to_device
from llc_lightning.runtime.errors import DataError, LLCLightningError

_TOLD = 1024
"""Up to so many examples are run at once so that an error speaks of them."""
_FEW = 3
"""So many examples are run alone as well."""
_PADDED = 16
"""So many padded examples show along which axes positions lie."""
KEPT = 1 << 24
"""Numbers of activations that are kept from the unablated pass; more are computed again, point by point."""


class Examples:
    """Examples, their unablated losses, and the activations and labels that methods ask for.

    The unablated losses come from a pass of their own, so that they do not depend on what is ablated beside them.

    Args:
        loss: The module's loss.
        params: The weights.
        blocks: The examples.
        names: The losses: ``train``, the tasks, then the metrics.
        metrics: What is measured besides the losses.
        points: The hook points that will be asked for.
        partners: The counterfactual partners, if they are given, or what is known of them already.
        given: The partners' activations by hook point, if these themselves are given.
        answers: The examples whose outputs and entries the metrics compare with, where they are others.
        mask: Says which positions count; None where all do.
        keep: Whether to keep the losses of every example.
        recorded: Whether to tell what the unablated run does (``run``).
    """

    def __init__(
        self,
        loss: ModuleLoss,
        params: Params,
        blocks: Blocks,
        names: Sequence[str],
        *,
        metrics: Sequence[Metric] = (),
        points: Sequence[str] = (),
        partners: Batch | Examples | None = None,
        given: Mapping[str, Tensor] | None = None,
        answers: Batch | None = None,
        mask: Mask | None = None,
        keep: bool = False,
        recorded: bool = False,
    ) -> None:
        self.loss, self.params, self.blocks, self.mask = loss, params, blocks, mask
        self.counted: list[tuple[Counted, ...]] = []
        """For every block which rows count for the loss, for each task and for the metrics, where there are any."""
        self.clean: list[tuple[Tensor, ...]] = []
        """For every block the unablated outputs that the metrics look at."""
        self.first: dict[str, Tensor] = {}
        """The activations of the first example, by hook point."""
        self.names, self.metrics = tuple(names), tuple(metrics)
        self.with_tasks = len(names) > 1 + len(metrics)
        self._forward = Unablated(loss, params, with_tasks=self.with_tasks, metrics=metrics, recorded=recorded)
        self._partners, self._given = partners, given
        self._partner_values: dict[str, Tensor] = {}
        self._answers = None if answers is None else Blocks.of(answers, blocks.size)
        if mask is not None:
            mask(blocks.data)  # what is wrong is said in the user's numbers
        self._real = [] if mask is None else [mask(batch) for batch in blocks.batches]
        self._axes: dict[tuple[str, int], tuple[int, ...]] = {}
        self._kept: dict[str, list[Tensor]] = {}
        self._latest: tuple[str, Tensor] | None = None
        self._labels: dict[str, Tensor] = {}
        self._broken: list[Tensor] = []
        try:
            self.outcome = self._pass(points, keep=keep)
            """The unablated losses, as of an ablation of nothing."""
            for point, values in (given or {}).items():
                _checked(values, point, blocks.n)
        except LLCLightningError:
            # The user's own examples, without those that fill the block, say it in the user's numbers.
            if blocks.n != blocks.size and blocks.n <= _TOLD:
                whole = None if answers is None else take(answers, torch.arange(blocks.n))
                self._observed(take(blocks.data, torch.arange(blocks.n)), list(dict.fromkeys(points)), whole)
            raise

    @property
    def unablated(self) -> list[Effect]:
        """The unablated losses."""
        return self.outcome.effects

    @property
    def run(self) -> str:
        """Tells the unablated run from what other modules do; '' where it cannot be recorded."""
        return self._forward.run

    def answers(self, block: int) -> Batch | None:
        """Returns the examples of a block whose entries the metrics read, where they are others."""
        return None if self._answers is None else self._answers.batches[block]

    def _observed(
        self, batch: Batch, points: Sequence[str], answers: Batch | None
    ) -> tuple[ForwardPass, tuple[Tensor, ...]]:
        """Returns a forward pass without ablation, and its losses with the metrics, all of shapes that can be used."""
        forward = self._forward(batch, points)
        for point in points:
            _checked(forward.caught[point], point, n_examples(batch))
        if not self.metrics:
            return forward, forward.losses
        clean, told = forward.outputs, batch
        if answers is not None:
            clean, told = losses_of(self.loss, self.params, answers, False, self.metrics).outputs, answers
        real = None if self.mask is None else self.mask(told)
        measured: list[Tensor] = []
        for metric, outputs, before in zip(self.metrics, forward.outputs, clean, strict=True):
            metric.check(outputs, told, real)
            measured.append(metric(outputs, before, told, real))
        return forward._replace(outputs=clean), (*forward.losses, torch.stack(measured, dim=-1))

    def _check_few(self, points: Sequence[str], together: Float[Tensor, "row"]) -> None:
        """Checks some examples alone, in a batch so small that no other axis has their number by chance.

        Their activations must have an axis of examples. Their losses must be those that they had in their block, which
        is filled up and used again: no other examples, no chance, and no write to the batch may decide them.
        """
        few = take(self.blocks.batches[0], slice(0, min(self.blocks.n, _FEW)))
        losses, caught = self.loss.watched(self.params, few, points)
        for point, values in caught.items():
            _checked(values, point, n_examples(few))
        check_equal(together[: len(losses)], losses, self.params)

    def _pass(self, points: Sequence[str], *, keep: bool) -> Outcome:
        summary = Summary(self.names, n=self.blocks.n, keep=keep, metrics=len(self.metrics))
        kept = list(dict.fromkeys(points))
        for block in range(len(self.blocks)):
            forward, losses = self._observed(self.blocks.batches[block], kept, self.answers(block))
            self._keep(block, forward.caught, kept)
            if block == 0:
                if self._forward.is_new(self.blocks.batches[0], kept):
                    self._check_few(kept, losses[0][:, 0])
                    self._forward.is_right(self.blocks.batches[0], kept)
                numbers = self.blocks.n * sum(self.first[point].numel() for point in kept)
                kept = [] if numbers > KEPT else kept
            self.clean.append(forward.outputs)
            real = self.blocks.real(block).to(losses[0].device)[:, None]
            self._broken.append(self._not_finite(losses[: 1 + self.with_tasks], forward.counted))
            masks = [real] if forward.counted is None else [real, real & forward.counted]
            masks += [real.expand(-1, len(self.metrics))] if self.metrics else []
            self.counted.append(tuple(Counted.of(mask) for mask in masks))
            packed = [count.pack(values[None]) for count, values in zip(self.counted[-1], losses, strict=True)]
            summary.add(packed, self.counted[-1])
        if not kept:
            self._kept = {}
        return next(summary.effects([Effect("loss")]))

    def _not_finite(self, losses: Sequence[Tensor], counted: Tensor | None) -> Bool[Tensor, "row"]:
        """Says which examples have a loss that is no number, on a task where they count for it."""
        wrong = ~losses[0][:, 0].isfinite()
        if counted is None:
            return wrong
        return wrong | (counted & ~losses[1].isfinite()).any(-1)

    @property
    def broken(self) -> Bool[Tensor, "example"]:
        """Which examples have an unablated loss that is no number."""
        return torch.cat(self._broken)[: self.blocks.n].cpu()

    def _keep(self, block: int, caught: Mapping[str, Tensor], points: Sequence[str]) -> None:
        for point in points:
            values = caught[point].detach()
            if block == 0:
                self.first[point] = values[0]
            self._kept.setdefault(point, []).append(values[: self.blocks.n - block * self.blocks.size])

    @property
    def keeps_activations(self) -> bool:
        """Whether the activations of the unablated pass are kept, since they are not too many."""
        return bool(self._kept)

    def activations(self, point: str) -> Tensor:
        """Returns the activations of all examples."""
        if point in self._kept:
            return torch.cat(self._kept[point])
        if self._latest is None or self._latest[0] != point:
            self._latest = (point, self._computed([point], self.blocks)[point])
        return self._latest[1]

    def caught(self, block: int) -> dict[str, Tensor]:
        """Returns the activations of a block that were kept from the unablated pass; none where they are too many."""
        if len(self.blocks) == 1 and self.blocks.n == self.blocks.size:
            return {point: pieces[0] for point, pieces in self._kept.items()}
        return {point: self.activations(point)[self.blocks.rows[block]] for point in self._kept}

    def _computed(self, points: Sequence[str], blocks: Blocks) -> dict[str, Tensor]:
        """Returns the activations of all examples of some blocks, in a forward pass for each."""
        with torch.no_grad():
            pieces = [self._forward.activations(batch, points) for batch in blocks.batches]
        return {point: torch.cat([piece[point] for piece in pieces])[: blocks.n] for point in points}

    def position_axes(self, point: str, unit_axis: int) -> tuple[int, ...]:
        """Returns the axes of the activations at a hook point along which masked positions lie, counted from the end.

        Raises:
            DataError: If the activation has positions, but other ones than the mask.
        """
        if not self._real:
            return ()
        if (point, unit_axis) not in self._axes:
            values, real = self._some(point)
            self._axes[point, unit_axis] = position_axes(values, unit_axis, real, point)
        return self._axes[point, unit_axis]

    def _some(self, point: str) -> tuple[Tensor, Bool[Tensor, "some position"]]:
        """Returns the activations of some examples, padded ones if there are such, and which positions count."""
        real = torch.cat(self._real)[: self.blocks.n]
        padded = (~real.all(1)).nonzero().flatten()[:_PADDED]
        rows = padded if len(padded) else torch.arange(1, device=real.device)
        batch = take(self.blocks.data, rows)
        return self.loss.activations(self.params, batch, [point])[point], real[rows]

    def real(self, block: int) -> Bool[Tensor, "row position"] | None:
        """Returns which positions of a block count; None where all do."""
        return self._real[block] if self._real else None

    def counting(self, point: str, unit_axis: int) -> Bool[Tensor, "example *entry"] | None:
        """Returns which activations at a hook point count, to broadcast; None where all do."""
        return self._counting(self._real, point, unit_axis)

    def _counting(self, real: Sequence[Tensor], point: str, unit_axis: int) -> Bool[Tensor, "example *entry"] | None:
        axes = self.position_axes(point, unit_axis)
        return spread(torch.cat(list(real))[: self.blocks.n], axes, self.first[point].ndim) if axes else None

    def labels(self, names: Sequence[str]) -> dict[str, Int[Tensor, "example"]]:
        """Returns labels by name."""
        missing = [name for name in names if name not in self._labels]
        self._labels |= labels_of(self.loss, self.params, self.blocks.data, missing)
        return {name: self._labels[name] for name in names}

    def partner(self, point: str) -> Tensor | None:
        """Returns the activations on the counterfactual partners; None where nobody tells these.

        Raises:
            DataError: If there is not one partner of its form for each example.
        """
        partners = self._partners
        if self._given is not None:
            return self._given[point]
        if isinstance(partners, Examples):
            return partners.activations(point)
        if partners is None and isinstance(self.loss.module, HasCounterfactual):
            partners = self.loss.asked("counterfactual", self.params, self.blocks.data)
        if partners is None:
            return None
        check_partners(partners, self.blocks.data, what="counterfactual partners")
        self._partners = to_device(partners, self.first[point].device)
        if point not in self._partner_values:
            blocks = Blocks.of(self._partners, self.blocks.size)
            self._partner_values = self._computed([*self._kept] if point in self._kept else [point], blocks)
        return self._partner_values[point]

    def _partner_real(self, point: str, unit_axis: int) -> Bool[Tensor, "example *entry"] | None:
        """Returns which activations of the partners count."""
        if self.mask is None or self._partners is None or self._given is not None:
            return None
        partners = self._partners.blocks.data if isinstance(self._partners, Examples) else self._partners
        return self._counting([self.mask(partners)], point, unit_axis)

    def seen(self, point: str, unit_axis: int, methods: Sequence[Method]) -> Activations:
        """Returns what methods may look at, of the activations no more than they need."""
        facts = [entry_of(method).facts for method in methods]
        whole = any(one.needs_reference for one in facts)
        activation = self.activations(point) if whole else self.first[point][None]
        labels = self.labels([name for method in methods for name in method.label_names])
        partner = self.partner(point) if any(one.needs_partner for one in facts) else None
        real = self.counting(point, unit_axis)
        partner_real = None if partner is None else self._partner_real(point, unit_axis)
        return Activations(
            activation, unit_axis, labels, partner, real if whole or real is None else real[:1], partner_real
        )


def _checked(values: Tensor, point: str, rows: int) -> None:
    if values.ndim < 2 or len(values) != rows or not values.is_floating_point():
        raise DataError(
            f"the activation at {point!r} has shape {tuple(values.shape)} and type {values.dtype} on a batch of "
            f"{rows}; an ablation needs floating point numbers of shape [example, ..., unit]."
        )
