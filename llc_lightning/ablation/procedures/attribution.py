"""Gradient attribution: what ablations would do, estimated from gradients at the activations instead of by ablating."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.ablation.effects import effects_table
from llc_lightning.ablation.engine.base import Method, Shared, check_components, entry_of, resolve_methods
from llc_lightning.ablation.engine.blocks import Blocks
from llc_lightning.ablation.engine.effect import Effect, Summary
from llc_lightning.ablation.engine.examples import Examples
from llc_lightning.ablation.engine.lanes import losses_of
from llc_lightning.ablation.engine.mask import Mask
from llc_lightning.ablation.engine.place import Place
from llc_lightning.ablation.engine.unread import check_read
from llc_lightning.ablation.metrics import Metric, resolve_metrics
from llc_lightning.components.component import Component
from llc_lightning.components.listing import find_components
from llc_lightning.components.loss import ModuleLoss
from llc_lightning.runtime.batches import Batch, Params, for_params
from llc_lightning.runtime.errors import SettingError, at_least
from llc_lightning.runtime.signals import stop_if_asked

if TYPE_CHECKING:
    import pandas as pd


def attribution(
    loss: ModuleLoss,
    params: Params,
    data: Batch,
    components: str | Component | Sequence[str | Component],
    methods: str | Method | Sequence[str | Method] = "zero",
    *,
    steps: int = 0,
    metrics: str | Metric | Sequence[str | Metric] = (),
    counterfactual: Batch | None = None,
    mask: str = "",
    seed: int = 0,
) -> pd.DataFrame:
    """Returns what ablations of components would do to first order, in the table of ``ablation_effects``.

    The estimate of an example is ``(value - activation) . gradient``, summed over what the component would replace,
    with the ablation method's value and the gradient of the example's loss (or metric) at the activation: one backward
    pass for all components (Nanda 2023, attribution patching; Syed et al. 2023, arXiv:2310.10348). A
    metric with its minimum at the unablated outputs, as ``kl`` has, has no gradient there: take ``steps``.

    With ``steps`` the gradient is the mean of those at ``activation + (k + 1/2) / steps (value - activation)``, k from
    0, all of the hook point on its way at once: integrated gradients (Sundararajan et al. 2017, arXiv:1703.01365; of
    nodes Marks et al. 2024, arXiv:2403.19647) by the midpoint rule. The estimates of all parts of a hook point then add
    up to the effect of ablating it whole, to ``O(steps^-2)`` where the network is smooth. Of a component at several
    hook points the estimate is the sum over these, in which a path from one to another counts with both.

    The methods' names are ``attribution(of=METHOD)``, with ``steps`` where it is given. ``stderr`` is that over
    examples, with donors and means taken as they are; it does not say how far the estimate is from the effect.

    Args:
        loss: The module's loss.
        params: The weights.
        data: The examples.
        components: What to estimate the ablation of; components, or what ``find_components`` understands.
        methods: The ablations that are estimated: ``zero``, ``mean``, ``resample``, ``counterfactual``, ``noise``, all
            whose values do not have to be fitted.
        steps: Gradients on the way from the activation to the value; 0 for the gradient at the activation alone.
        metrics: What else to estimate, as in ``ablation_effects``; ``accuracy`` has no gradient.
        counterfactual: The examples' partners, for the method ``counterfactual``.
        mask: Which positions count, as in ``ablation_effects``.
        seed: Keys donors and noise.

    Raises:
        SettingError: If a method edits weights or fits its values, ``steps`` is below 0, or a loss has no gradient.
        AddressError: If a component is unknown or has no activation, or there is none.
        DataError: If the data cannot be used.
    """
    found = find_components(loss.listing, components)
    return effects_table(
        attributed(
            loss, params, data, found, methods, steps=steps, metrics=metrics, counterfactual=counterfactual,
            mask=mask, seed=seed,
        )
    )  # fmt: skip


def attributed(
    loss: ModuleLoss,
    params: Params,
    data: Batch,
    components: Sequence[Component],
    methods: str | Method | Sequence[str | Method],
    *,
    steps: int = 0,
    metrics: str | Metric | Sequence[str | Metric] = (),
    counterfactual: Batch | None = None,
    mask: str = "",
    seed: int,
) -> list[Effect]:
    """Returns the unablated losses, then the estimates of every component, as :func:`attribution` has them in a table.

    Arguments and errors are those of :func:`attribution`.
    """
    at_least(0, steps=steps)
    chosen = check_attributed(methods)
    check_components(components, chosen)
    measured, plain = resolve_metrics(metrics), loss.with_edits(())
    names = ("train", *(f"metric:{metric.name}" for metric in measured))
    with torch.no_grad():
        examples = Examples(
            plain,
            params,
            Blocks.of(for_params(data, params)),
            names,
            metrics=measured,
            points=[member.point for component in components for member in component.members],
            partners=None if counterfactual is None else for_params(counterfactual, params),
            mask=Mask.of(plain, params, mask),
        )
        points = [member.point for component in components for member in component.members]
        check_read(plain, params, examples.blocks.batches[0], list(dict.fromkeys(points)))
        effects = [effect for method in chosen for effect in _estimated(examples, components, method, steps, seed)]
    order = {component.address: place for place, component in enumerate(components)}
    return [*examples.unablated, *sorted(effects, key=lambda effect: order[effect.component])]


def check_attributed(methods: str | Method | Sequence[str | Method]) -> list[Shared]:
    """Returns the methods that are meant, after checking that their values come from activations alone.

    Raises:
        SettingError: If one is unknown, edits weights or fits its values.
    """
    return [_given_values(method) for method in resolve_methods(methods)]


def _given_values(method: Method) -> Shared:
    if not isinstance(method, Shared):
        raise SettingError(
            f"attribution estimates from the values of a method, and {method.name!r} fits them or edits weights; use "
            "zero, mean, resample or counterfactual."
        )
    return method


def _estimated(
    examples: Examples, components: Sequence[Component], method: Shared, steps: int, seed: int
) -> Iterator[Effect]:
    """Yields the estimates of every component on every loss."""
    totals: list[dict[int, Tensor]] = [{} for _ in components]
    parts: dict[str, list[tuple[int, int, Component]]] = {}
    for i, component in enumerate(components):
        for k, member in enumerate(component.members):
            parts.setdefault(member.point, []).append((i, k, member))
    # At the activations themselves one gradient serves all hook points, but some methods look at all activations there.
    facts = entry_of(method).facts
    few = examples.keeps_activations or not (facts.needs_reference or facts.needs_partner)
    together = few and not steps
    for points in [list(parts)] if together else [[point] for point in parts]:
        members = {point: [member for *_, member in parts[point]] for point in points}
        for point, found in _Slopes(examples, method, steps, seed).along(members).items():
            for (i, k, _), values in zip(parts[point], found, strict=True):
                totals[i][k] = values
    summary = Summary(examples.names, n=examples.blocks.n, keep=False, metrics=len(examples.metrics))
    # In the order of its own members, whatever stands beside it.
    every = torch.stack([torch.stack([found[k] for k in sorted(found)]).sum(0) for found in totals])
    for block in range(len(examples.blocks)):
        rows = slice(block * examples.blocks.size, (block + 1) * examples.blocks.size)
        counted, groups = examples.counted[block], (every[:, rows, :1], every[:, rows, 1:])
        packed = [count.pack(values) for count, values in zip(counted, groups, strict=False)]
        summary.add(packed, counted)
    step = f",steps={steps}" if steps else ""
    plain = Effect("ablation_effect", method=f"attribution(of={method.name}{step})", draws=method.draws, vmapped=False)
    for outcome in summary.effects(plain.changed(component=one.address, kind=one.kind) for one in components):
        yield from outcome.effects


@dataclass(frozen=True)
class _Slopes:
    """Gradients at hook points, and how far a method's values are from the activations there."""

    examples: Examples
    method: Shared
    steps: int
    seed: int

    def along(self, members: Mapping[str, Sequence[Component]]) -> dict[str, Float[Tensor, "member row loss"]]:
        """Returns for the components at some hook points, for every example and loss, their part of the products.

        The mean over draws. With steps it is of one hook point.
        """
        examples = self.examples
        parts = {point: [_Part.of(member, examples.first[point]) for member in some] for point, some in members.items()}
        values = [
            self.method.values(
                examples.seen(point, some[0].unit_axis, [self.method]), examples.blocks.rows, seed=self.seed
            )
            for point, some in members.items()
        ]
        kept = {point: examples.activations(point) for point in members} if examples.keeps_activations else None
        pieces: dict[str, list[Tensor]] = {point: [] for point in members}
        for block in range(len(examples.blocks)):
            stop_if_asked()
            own = self._activations(block, list(members), kept)
            apart = {point: self._apart(block, next(each), own[point], some[0]) for (point, some), each in
                     zip(members.items(), values, strict=True)}  # fmt: skip
            for point, products in self._products(block, apart, parts):
                pieces[point].append(products)
        return {point: torch.cat(found, dim=1) for point, found in pieces.items()}

    def _products(
        self, block: int, apart: Mapping[str, Tensor], parts: Mapping[str, Sequence[_Part]]
    ) -> Iterator[tuple[str, Float[Tensor, "member row loss"]]]:
        """Yields what lies between activations and values times the gradients, mean over draws, of every hook point."""
        if self.steps:
            for point, draws in apart.items():
                each = [_products(one, self._on_the_way(block, point, one), parts[point]) for one in draws]
                yield point, torch.stack(each).mean(0)
            return
        # The gradient at the activation is the same for all draws.
        here = self._gradients(block, {point: torch.zeros_like(draws[0]) for point, draws in apart.items()})
        for point, draws in apart.items():
            yield point, _products(draws.mean(0), here[point], parts[point])

    def _activations(
        self, block: int, points: Sequence[str], kept: Mapping[str, Tensor] | None
    ) -> Mapping[str, Tensor]:
        """Returns the activations of a block, of all that are kept, where they are."""
        examples = self.examples
        if kept is not None:
            return {point: values[examples.blocks.rows[block]] for point, values in kept.items()}
        return examples.loss.activations(examples.params, examples.blocks.batches[block], points)

    def _apart(
        self, block: int, given: Float[Tensor, "draw row_or_1 *unit"], own: Tensor, member: Component
    ) -> Float[Tensor, "draw row *unit"]:
        """Returns what the values add to a block's activations; nothing where these do not count."""
        examples = self.examples
        real = examples.counting(member.point, member.unit_axis) if examples.mask else None
        if real is None:
            return given - own
        return torch.where(real[examples.blocks.rows[block].to(real.device)], given - own, 0)

    def _on_the_way(self, block: int, point: str, apart: Tensor) -> Float[Tensor, "loss row *unit"]:
        """Returns the mean gradient of every loss on the way from the activation to the value."""
        ways = [(k + 0.5) / self.steps for k in range(self.steps)]
        return torch.stack([self._gradients(block, {point: way * apart})[point] for way in ways]).mean(0)

    def _gradients(self, block: int, shifts: Mapping[str, Tensor]) -> dict[str, Float[Tensor, "loss row *unit"]]:
        """Returns the gradient of every loss in what is added to the activations at some hook points."""
        examples = self.examples
        batch, clean, real = examples.blocks.batches[block], examples.clean[block], examples.real(block)
        with torch.enable_grad():
            leaves = {point: shift.requires_grad_() for point, shift in shifts.items()}
            edited = examples.loss.with_edits([_Added(point, shift) for point, shift in leaves.items()])
            forward = losses_of(edited, examples.params, batch, False, examples.metrics)
            pairs = zip(examples.metrics, forward.outputs, clean, strict=True)
            losses = [forward.losses[0][:, 0], *(metric(after, before, batch, real) for metric, after, before in pairs)]
            found = [self._gradient(one, leaves, name) for one, name in zip(losses, examples.names, strict=True)]
        return {point: torch.stack(some) for point, some in zip(leaves, zip(*found, strict=True), strict=True)}

    def _gradient(self, losses: Tensor, leaves: Mapping[str, Tensor], name: str) -> tuple[Tensor, ...]:
        found: Sequence[Tensor | None] = [None] * len(leaves)
        if losses.requires_grad:
            found = torch.autograd.grad(losses.sum(), list(leaves.values()), retain_graph=True, allow_unused=True)
        for point, one in zip(leaves, found, strict=True):
            if one is None:
                raise SettingError(
                    f"{name!r} has no gradient at {point!r}, which attribution follows; leave it out, or ablate."
                )
        return cast("tuple[Tensor, ...]", tuple(found))


def _products(
    apart: Float[Tensor, "row *unit"], gradients: Float[Tensor, "loss row *unit"], parts: Sequence[_Part]
) -> Float[Tensor, "member row loss"]:
    """Returns what lies between activation and value times the gradient of each loss, of every component."""
    columns = [
        [part(apart, gradient, product) for part in parts]
        for gradient, product in zip(gradients, gradients * apart, strict=True)
    ]
    return torch.stack([torch.stack(column) for column in columns], dim=-1)


@dataclass(frozen=True)
class _Added:
    """What is added at a hook point."""

    point: str
    what: Tensor

    def __call__(self, activation: Tensor) -> Tensor:
        return activation + self.what


@dataclass(frozen=True)
class _Part:
    """What a component replaces at a hook point."""

    place: Place

    @classmethod
    def of(cls, member: Component, activation: Tensor) -> _Part:
        """Returns that of a component, by one example's activation."""
        return cls(Place.of([member], activation, few=True))

    def __call__(
        self, one: Float[Tensor, "row *unit"], other: Float[Tensor, "row *unit"], product: Float[Tensor, "row *unit"]
    ) -> Float[Tensor, "row"]:
        """Returns the scalar products of two tensors there, given their entries' products."""
        place = self.place
        if place.basis is not None:
            product = (one @ place.basis[0].T) * (other @ place.basis[0].T)
        elif place.units is not None:
            product = product.index_select(place.unit_axis, place.units[0])
        return torch.where(place.where[0], product, 0).flatten(1).double().sum(1)
