"""Causal scrubbing: does a hypothesis about who computes what explain the loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import nan
from typing import TYPE_CHECKING, TypeAlias, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from llc_lightning.ablation.engine.effect import Effect
from llc_lightning.ablation.engine.lanes import losses_of
from llc_lightning.ablation.engine.mask import Counting, Mask
from llc_lightning.ablation.engine.place import ablatable, in_common
from llc_lightning.ablation.metrics import Metric, resolve_metrics
from llc_lightning.ablation.procedures.normalised import NORMALISED
from llc_lightning.ablation.procedures.patching import activations, patch, patching_table, plain_examples
from llc_lightning.components.component import Component
from llc_lightning.components.listing import find_components
from llc_lightning.components.loss import Change, ModuleLoss
from llc_lightning.runtime.batches import Batch, Params, for_params, n_examples, take
from llc_lightning.runtime.errors import AddressError, DataError, SettingError
from llc_lightning.runtime.seeding import generator
from llc_lightning.runtime.status import OK, join

if TYPE_CHECKING:
    import pandas as pd

Feature: TypeAlias = Callable[[Batch], Int[Tensor, "example"]]
"""What a part is said to compute: examples with equal values may stand for each other there."""


@dataclass(frozen=True)
class Node:
    """A part of a hypothesis: what computes it, what it depends on, and through which parts of the network it hears it.

    The part computes on an example of its own, which agrees with its parent's in the feature. There the children say
    what they say on theirs, and what is unimportant or among ``inputs`` what it says on random examples. What the
    hypothesis does not mention stays: to test that the part hears its children alone, name everything else that it
    could hear.
    """

    component: str | Component
    """What computes the feature: a component, or its address."""
    feature: Feature | None = None
    """The feature; None says that the part matters, and not for what: it then hears random examples."""
    children: tuple[Node, ...] = ()
    """The parts that it hears, each on an example of its own that agrees in the child's feature."""
    inputs: tuple[str, ...] = field(default=())
    """Hook points that carry what the part is said not to hear: they come from a random example."""


@dataclass(frozen=True)
class Scrubbed:
    """The outcome of causal scrubbing: on the loss, in nats per example, and in a table on the metrics too."""

    recovered: float
    """``(scrubbed - random) / (model - random)``: 1 explains the loss, 0 explains nothing of it."""
    stderr: float
    """Standard error of ``recovered`` over examples and draws, model and random losses taken as known."""
    model: float
    scrubbed: float
    random: float
    """The losses of the network, under the hypothesis, and with every important part hearing random examples."""
    status: str = OK
    """``no-gap`` where model and random losses are not three standard errors apart: there is nothing to explain."""
    effects: tuple[Effect, ...] = field(default=(), compare=False, repr=False)
    """The losses of the network and the effects of scrubbing it, on the loss and on every metric."""

    @property
    def table(self) -> pd.DataFrame:
        """One tidy row for the loss and each metric, with the columns of ``patching``.

        ``value`` is the loss (metric) under the hypothesis minus that of the network, ``normalised`` what is recovered.
        """
        return patching_table(self.effects, "scrubbing")


def scrubbing(
    loss: ModuleLoss,
    params: Params,
    data: Batch,
    hypothesis: Sequence[Node],
    unimportant: str | Component | Sequence[str | Component],
    *,
    draws: int = 4,
    pool: int | None = None,
    metrics: str | Metric | Sequence[str | Metric] = (),
    mask: str = "",
    seed: int = 0,
) -> Scrubbed:
    """Returns how much of the loss a hypothesis recovers (Chan et al. 2022).

    The network is treeified: each occurrence of a part gets an example of its own, drawn among those that agree with
    its parent's example in the part's feature, and computes on that; what is unimportant computes everywhere on
    examples drawn from all. The loss is that of the reference examples.

    Args:
        loss: The module's loss.
        params: The weights.
        data: The examples: both references and pool.
        hypothesis: What the output is said to hear.
        unimportant: What the hypothesis does not name: it computes on random examples, one for all of them together.
        draws: How often to draw for each reference.
        pool: Draw from the first so many examples alone; None for all.
        metrics: What else to measure, as in ``ablation_effects``; on the outputs of the references.
        mask: Which positions count, as in ``ablation_effects``; where an example's does not, a run keeps its own.
        seed: The run's seed.

    Raises:
        SettingError: If ``draws`` or ``pool`` is not allowed, or something is both important and unimportant.
        AddressError: If there is nothing to scrub, or a component is unknown, several, or has no activation.
        DataError: If a feature does not give one whole number per example.
    """
    n, data = n_examples(data), for_params(data, params)
    if draws < 1 or not 1 <= (n if pool is None else pool) <= n:
        raise SettingError(f"draws is {draws} and pool {pool} for {n} examples; give at least 1 of each, at most all.")
    tree = [_resolved(node, loss.module) for node in hypothesis]
    strange = find_components(loss.listing, unimportant)
    ablatable([*(_component(node) for top in tree for node in _nodes(top)), *strange])
    _check_apart([_component(node) for top in tree for node in _nodes(top)], strange)
    features = {id(node): _feature(node, data, n) for top in tree for node in _nodes(top)}
    every = [_component(node) for top in tree for node in _nodes(top)] + strange
    members = [member for one in every for member in one.members]
    points = [member.point for member in members]
    model = plain_examples(loss, params, data, metrics, points=points, mask=mask).unablated
    reads = Mask.of(loss, params, mask)
    members += [Component(point, "layer", point) for top in tree for node in _nodes(top) for point in node.inputs]
    scrub = _Scrub(loss, params, data, features, strange, pool or n, Counting(reads, members))
    measured = _Measured(loss, params, data, resolve_metrics(metrics), reads)
    with torch.no_grad():
        scrubbed: list[Tensor] = []
        shuffled: list[Tensor] = []
        for draw in range(draws):
            stream = generator(seed, "scrubbing", draw)
            for held, losses in ((True, scrubbed), (False, shuffled)):
                edits = [edit for node in tree for edit in scrub.edits(node, torch.arange(n), stream, held=held)]
                edits += scrub.unimportant(torch.arange(n), stream)
                losses.append(measured(edits))
        plain = measured(())
    under, random = torch.stack(scrubbed).mean(0), torch.stack(shuffled).mean(0)
    outcomes = [_outcome(*columns) for columns in zip(plain.T, under.T, random.T, strict=True)]
    address = "+".join(_component(top).address for top in tree)
    effects = [
        replace(
            _effect(outcome, before, after),
            component=address,
            kind="hypothesis",
            method="scrubbing",
            draws=draws,
            loss=one.loss,
        )
        for one, outcome, before, after in zip(model, outcomes, plain.T, under.T, strict=True)
    ]
    return replace(outcomes[0], effects=(*model, *effects))


class _Measured:
    """The loss and the metrics of every example, under edits."""

    def __init__(
        self, loss: ModuleLoss, params: Params, data: Batch, metrics: Sequence[Metric], mask: Mask | None
    ) -> None:
        self.loss, self.params, self.data, self.metrics = loss, params, data, metrics
        self.real = None if mask is None else mask(data)
        with torch.no_grad():
            self.clean = losses_of(loss, params, data, False, metrics).outputs

    def __call__(self, edits: Sequence[Change]) -> Float[Tensor, "example loss"]:
        """Returns them in float64."""
        forward = losses_of(self.loss.with_edits(edits), self.params, self.data, False, self.metrics)
        pairs = zip(self.metrics, forward.outputs, self.clean, strict=True)
        measured = [metric(after, before, self.data, self.real) for metric, after, before in pairs]
        return torch.stack([forward.losses[0][:, 0], *measured], dim=-1).double()


def _outcome(
    plain: Float[Tensor, "example"], under: Float[Tensor, "example"], random: Float[Tensor, "example"]
) -> Scrubbed:
    """Returns what is recovered of one loss."""
    gap, noise = _mean_and_error(plain - random)
    scrubbed, error = _mean_and_error(under)
    recovered, error = ((scrubbed - float(random.mean())) / gap, error / abs(gap)) if gap else (nan, nan)
    # A standard error of one example is NaN, and nothing is above it.
    status = OK if abs(gap) > 3 * noise else "no-gap"
    return Scrubbed(recovered, error, float(plain.mean()), scrubbed, float(random.mean()), join([status]))


def _effect(outcome: Scrubbed, plain: Float[Tensor, "example"], under: Float[Tensor, "example"]) -> Effect:
    """Returns what scrubbing does to one loss."""
    value, error = _mean_and_error(under - plain)
    shares: dict[str, float | str] = dict(zip(NORMALISED, (outcome.recovered, outcome.stderr), strict=True))
    return Effect(
        "ablation_effect",
        vmapped=False,
        value=value,
        stderr=error,
        n=len(plain),
        status=outcome.status,
        per_example=under - plain,
        details=shares,
    )


def _mean_and_error(values: Float[Tensor, "example"]) -> tuple[float, float]:
    return float(values.mean()), float(values.std() / len(values) ** 0.5) if len(values) > 1 else nan


def _check_apart(important: Sequence[Component], strange: Sequence[Component]) -> None:
    """Checks that nothing is both in the hypothesis and unimportant, where one would hide the other.

    Raises:
        SettingError: If something is.
    """
    both = in_common(important, strange)
    if both:
        raise SettingError(
            f"{both[0].address!r} is in the hypothesis and overlaps {both[1].address!r}, which is to be unimportant; "
            "leave it out of one of them."
        )


class _Scrub:
    """The treeified network."""

    def __init__(
        self,
        loss: ModuleLoss,
        params: Params,
        data: Batch,
        features: dict[int, Tensor | None],
        strange: Sequence[Component],
        pool: int,
        counting: Counting,
    ) -> None:
        self.loss, self.params, self.data, self.counting = loss, params, data, counting
        self.features, self.strange, self.pool = features, strange, pool

    def edits(self, node: Node, references: Tensor, stream: torch.Generator, *, held: bool) -> list[Change]:
        """Returns what puts a part's output, on examples that stand for the references, into a run on these.

        Args:
            node: The part.
            references: The examples of the run that hears it.
            stream: Random numbers.
            held: Whether the examples agree with the references in the part's feature; otherwise they are any.
        """
        feature = self.features[id(node)] if held else None
        own = (
            self.strangers(len(references), stream) if feature is None else self._agreeing(feature, references, stream)
        )
        within = [edit for child in node.children for edit in self.edits(child, own, stream, held=held)]
        within += self.unimportant(own, stream)
        for point in node.inputs:
            within += self.taken([Component(point, "layer", point)], self.strangers(len(own), stream), own)
        points = [member.point for member in _component(node).members]
        there, here = take(self.data, own), take(self.data, references)
        values = activations(self.loss.with_edits(within), self.params, there, points)
        return patch(_component(node), values, self.counting(values, here, there))

    def strangers(self, n: int, stream: torch.Generator) -> Int[Tensor, "reference"]:
        """Returns any examples."""
        return torch.randint(self.pool, (n,), generator=stream)

    def unimportant(self, references: Tensor, stream: torch.Generator) -> list[Change]:
        """Returns what puts the outputs of all unimportant components, on the same random examples, into a run."""
        return self.taken(self.strange, self.strangers(len(references), stream), references)

    def taken(self, components: Sequence[Component], examples: Tensor, references: Tensor) -> list[Change]:
        """Returns what puts the outputs of components on other examples into a run on the references."""
        points = [member.point for component in components for member in component.members]
        if not points:
            return []
        there, here = take(self.data, examples), take(self.data, references)
        values = activations(self.loss, self.params, there, points)
        counting = self.counting(values, here, there)
        return [edit for component in components for edit in patch(component, values, counting)]

    def _agreeing(self, feature: Tensor, references: Tensor, stream: torch.Generator) -> Int[Tensor, "reference"]:
        """Returns for every reference an example of the pool with the same feature, itself where there is none."""
        wanted, there = feature[references], feature[: self.pool]
        order = torch.argsort(there, stable=True)
        ordered = there[order]
        first, stop = torch.searchsorted(ordered, wanted), torch.searchsorted(ordered, wanted, right=True)
        count = stop - first
        pick = (torch.rand(len(references), generator=stream) * count).long().clamp_max((count - 1).clamp_min(0))
        return torch.where(count > 0, order[(first + pick).clamp_max(len(order) - 1)], references)


def _resolved(node: Node, module: nn.Module) -> Node:
    """Returns a part of the hypothesis, and those below it, with components for addresses."""
    found = find_components(module, node.component)
    if len(found) != 1:
        raise AddressError(
            f"{node.component!r} names {len(found)} components; a node is one, such as 'net.hook[3]' or a set 'a+b'."
        )
    children = tuple(_resolved(child, module) for child in node.children)
    return replace(node, component=found[0], children=children)


def _component(node: Node) -> Component:
    return cast("Component", node.component)


def _nodes(top: Node) -> Iterator[Node]:
    yield top
    for child in top.children:
        yield from _nodes(child)


def _feature(node: Node, data: Batch, n: int) -> Float[Tensor, "example"] | Int[Tensor, "example"] | None:
    if node.feature is None:
        return None
    found = node.feature(data)
    if tuple(found.shape) != (n,) or found.is_floating_point():
        raise DataError(
            f"the feature of {_component(node).address!r} has shape {tuple(found.shape)} and type {found.dtype}; give "
            f"one whole number for each of the {n} examples."
        )
    return found.long()
