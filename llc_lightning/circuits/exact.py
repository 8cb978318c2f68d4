"""Exact effects of edges: what the loss does when one reader alone hears another sender."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from llc_lightning.ablation.engine.base import Method, Shared, WeightMethod, entry_of, resolve_methods
from llc_lightning.ablation.engine.blocks import Blocks
from llc_lightning.ablation.engine.effect import Effect
from llc_lightning.ablation.engine.examples import Examples
from llc_lightning.ablation.engine.mask import Mask, check_mask, warn_of_padding
from llc_lightning.ablation.engine.place import Kind, Place, kind_of
from llc_lightning.ablation.engine.replacing import at_places
from llc_lightning.ablation.engine.sweep import Found, Measurement
from llc_lightning.ablation.metrics import Metric, resolve_metrics
from llc_lightning.circuits.edge import Edge
from llc_lightning.circuits.exchange import Exchanges, Hearing, holds
from llc_lightning.circuits.graph import Graph
from llc_lightning.circuits.replacing import Behind, FittedEdges, SharedEdges
from llc_lightning.circuits.streams import Streams
from llc_lightning.circuits.wiring.base import Reader, Sender
from llc_lightning.components.component import Component
from llc_lightning.components.loss import ModuleLoss
from llc_lightning.runtime.allocator import keep_freed_memory
from llc_lightning.runtime.batches import Batch, Params, check_partners, for_params, n_examples, n_weights, take
from llc_lightning.runtime.errors import AddressError, SettingError
from llc_lightning.runtime.status import join

_FEW = 8
"""Examples on which sums are checked."""
_APART = 1e-3
"""The share of a sum that may come from elsewhere: rounding."""
KIND, UNREACHABLE = "edge", "unreachable"


def edge_effects(
    loss: ModuleLoss,
    params: Params,
    data: Batch,
    graph: Graph,
    edges: str | Edge | Sequence[str | Edge] = "*",
    donors: str | Method | Sequence[str | Method] = "resample",
    *,
    seed: int,
    metrics: str | Metric | Sequence[str | Metric] = (),
    counterfactual: Batch | None = None,
    mask: str = "",
    per_example: bool = False,
    chunk: int | None = None,
) -> list[Effect]:
    """Returns the unablated losses, then the effect of every edge under every donor on every loss, in this order.

    An edge's effect is that of path patching along it alone (Goldowsky-Dill et al. 2023, arXiv:2304.05969): its reader
    is computed from ``sum + donor - own`` in the place of its sum, before its normalisation, and all that lies behind
    from there on; every other reader hears what it heard. Errors, statuses and the donors themselves are those of
    :func:`~llc_lightning.ablation.engine.sweep.sweep`, an edge's component is its text. An edge that says the same
    under the donor on every example is ``unreachable``.

    Args:
        loss: The module's loss.
        params: The weights.
        data: The examples.
        graph: The edges that there are.
        edges: Which are measured, as :meth:`Graph.select` takes them.
        donors: Ablation methods, by name and options or as objects, that replace activations.
        seed: The run's seed.
        metrics: What else to measure, as in ``ablation_effects``.
        counterfactual: The examples' partners, for the donor ``counterfactual``.
        mask: Which positions count, as in ``ablation_effects``.
        per_example: Whether to keep the values of every example.
        chunk: Edges per forward pass; without it as many as fit.

    Raises:
        SettingError: If a donor edits weights or mixes units, or a metric is not allowed.
        AddressError: If an edge is none of the graph's, or the sums are not those of its senders.
        DataError: If the data cannot be used.
    """
    keep_freed_memory(n_weights(params))
    chosen, measured, some = _donors(donors), resolve_metrics(metrics), graph.select(edges)
    check_mask(mask)
    n_examples(data)
    if counterfactual is not None:
        check_partners(counterfactual, data, what="counterfactual partners")
    plain = loss.with_edits(())
    reads = Mask.of(plain, params, mask)
    if reads is None:
        warn_of_padding(data)
    with torch.no_grad():
        examples = Examples(
            plain,
            params,
            Blocks.of(for_params(data, params)),
            ("train", *(f"metric:{metric.name}" for metric in measured)),
            metrics=measured,
            points=points_of(graph, some),
            partners=None if counterfactual is None else for_params(counterfactual, params),
            mask=reads,
            keep=per_example,
            recorded=True,
        )
        check_sums(graph, some, examples)
        connections = Connections.of(graph, some, examples, seed=seed)
        effects = connections.effects(Measurement(examples, per_example, chunk, seed), chosen)
    return examples.unablated + effects


def points_of(graph: Graph, edges: Sequence[Edge]) -> list[str]:
    """Returns the hook points of edges: where senders write, of the sums, and where readers hear."""
    senders = [member.point for edge in edges for member in graph.sender(edge).component.members]
    readers = [graph.reader(edge) for edge in edges]
    heard = [point for reader in readers for point in (reader.component.point, reader.stream)]
    heads = [point for one in readers if one.head is not None for point in (*one.head.points, one.head.output.point)]
    return list(dict.fromkeys([*senders, *heard, *heads]))


def check_sums(graph: Graph, edges: Sequence[Edge], examples: Examples) -> None:
    """Checks on some examples that the sums that edges lead into are those of all of their senders.

    Of one example alone what comes from elsewhere must be the same at all positions.

    Raises:
        AddressError: If something else adds to one of them that is not the same on all examples, or there is but one
            example, without positions to compare.
    """
    if not graph.wiring.whole:
        return
    readers = {graph.reader(edge).stream: edge.reader for edge in edges}
    into = {stream: [one for one in graph.edges if one.reader == name] for stream, name in readers.items()}
    points = list(dict.fromkeys(point for some in into.values() for point in points_of(graph, some)))
    streams, caught = Streams(examples.loss, examples.params, points), examples.caught(0)
    few = min(_FEW, examples.blocks.n)  # a block may hold the last example again
    if all(point in caught for point in points):
        known = {point: caught[point][:few] for point in points}
    else:
        known = streams.of(take(examples.blocks.data, slice(0, few)))
    said: dict[str, Tensor] = {}
    for stream, some in into.items():
        for edge in some:
            if edge.sender not in said:
                said[edge.sender] = streams.said(graph.sender(edge), known)
        rest = known[stream] - torch.stack([said[edge.sender] for edge in some]).sum(0)
        rest = rest.flatten(0, -2) if len(rest) == 1 else rest
        if len(rest) == 1:
            raise AddressError(
                f"one example of one position cannot tell whether what is known to write to {stream!r} adds up to it; "
                "give at least two examples."
            )
        apart = float((rest - rest.mean(0)).abs().max() / known[stream].abs().max().clamp_min(1e-30))
        if apart > _APART:
            raise AddressError(
                f"what is known to write to {stream!r} does not add up to it: {apart:.1%} of it comes from elsewhere, "
                "so that its edges have no exact effects; ablate components instead."
            )


def _donors(donors: str | Method | Sequence[str | Method]) -> tuple[Method, ...]:
    """Returns the methods that are meant.

    Raises:
        SettingError: If one of them edits weights or mixes units, or there is none.
    """
    chosen = resolve_methods(donors)
    for method in chosen:
        if isinstance(method, WeightMethod) or entry_of(method).facts.whole:
            raise SettingError(
                f"{method.name!r} is no donor of an edge, which hears another activation of its sender; use one of "
                "zero, mean, resample, counterfactual, noise, optimal."
            )
    return chosen


@dataclass(frozen=True)
class Connections:
    """Edges of a graph on some examples."""

    graph: Graph
    edges: Sequence[Edge]
    examples: Examples
    streams: Streams
    exchanges: Exchanges
    by_head: bool
    """Whether heads are functions of their own query, key and value."""

    @classmethod
    def of(cls, graph: Graph, edges: Sequence[Edge], examples: Examples, *, seed: int) -> Connections:
        """Returns edges with the sums of the unablated run, and what donors do to them."""
        streams = Streams(examples.loss, examples.params, points_of(graph, edges))
        if examples.caught(0):
            streams.know(examples.blocks.batches[0], examples.caught(0))
        by_head = holds([graph.reader(edge) for edge in edges], streams.of(examples.blocks.batches[0]))
        return cls(graph, edges, examples, streams, Exchanges(examples, streams, seed), by_head)

    def effects(self, measurement: Measurement, donors: Sequence[Method]) -> list[Effect]:
        """Returns the effects, edge by edge and donor by donor."""
        found: Found = {}
        shared = [donor for donor in donors if isinstance(donor, Shared)]
        fitted = [donor for donor in donors if donor not in shared]
        for some in self._together(with_senders=False) if shared else ():
            found |= measurement.effects(self._of_shared(some, measurement, shared))
        for some in self._together(with_senders=True) if fitted else ():
            found |= measurement.effects(self._of_fitted(some, measurement, fitted))
        return [
            self._judged(effect, self.graph.sender(edge), donor)
            for edge in self.edges
            for donor in donors
            for outcome in found[str(edge), donor.name]
            for effect in outcome.effects
        ]

    def _together(self, *, with_senders: bool) -> list[list[Edge]]:
        """Returns the edges in groups that share forward passes: into units of one hook point, also from such."""
        kinds: dict[tuple[Kind, ...], list[Edge]] = {}
        for edge in self.edges:
            parts = [self._given(self.graph.reader(edge))]
            parts += self.graph.sender(edge).component.members if with_senders else ()
            kinds.setdefault(tuple(map(self._kind, parts)), []).append(edge)
        return list(kinds.values())

    def _kind(self, part: Component) -> Kind:
        return kind_of(part, self.examples.first[part.point], few=True)

    def _of_shared(self, edges: Sequence[Edge], measurement: Measurement, donors: Sequence[Shared]) -> SharedEdges:
        senders, hearing = [self.graph.sender(one) for one in edges], self._hearing(edges)
        at = at_places([hearing.place], self.examples)
        starts = tuple(dict.fromkeys([*(reader.stream for reader in hearing.readers), hearing.place.point]))
        lanes = measurement.lanes(Behind(at.points, at.positions, starts))
        components = [_as_component(edge, sender) for edge, sender in zip(edges, senders, strict=True)]
        return SharedEdges(
            lanes, donors, components, senders, hearing, self.exchanges, self.examples, measurement.chunk, starts
        )

    def _of_fitted(self, edges: Sequence[Edge], measurement: Measurement, donors: Sequence[Method]) -> FittedEdges:
        senders, hearing = [self.graph.sender(one) for one in edges], self._hearing(edges)
        components = [_as_component(edge, sender) for edge, sender in zip(edges, senders, strict=True)]
        members = zip(*(one.members for one in components), strict=True)
        return FittedEdges(
            measurement.lanes(at_places([hearing.place], self.examples)),
            donors,
            components,
            tuple(map(self._place, members)),
            self.examples,
            measurement.chunk,
            measurement.seed,
            {},
            senders=senders,
            hearing=hearing,
        )

    def _hearing(self, edges: Sequence[Edge]) -> Hearing:
        readers = [self.graph.reader(one) for one in edges]
        return Hearing(readers, self._place([self._given(one) for one in readers]), self.streams, self.by_head)

    def _given(self, reader: Reader) -> Component:
        """Returns what is put into a run for a reader."""
        return reader.head.output if self.by_head and reader.head is not None else reader.component

    def _place(self, parts: Sequence[Component]) -> Place:
        return Place.of(parts, self.examples.first[parts[0].point], few=True)

    def _judged(self, effect: Effect, sender: Sender, donor: Method) -> Effect:
        """Returns an effect with what is to be said of its edge."""
        if effect.value != 0 or effect.stderr > 0:
            return effect
        if isinstance(donor, Shared):
            moves = self.exchanges.moves(sender, donor)
        else:
            moves = any(map(self._changes, sender.component.members, effect.constants))
        return effect if moves else replace(effect, status=join([*effect.status.split("+"), UNREACHABLE]))

    def _changes(self, part: Component, constants: Tensor) -> bool:
        """Says whether constants differ from what a sender says on any example."""
        own = self.examples.activations(part.point)
        said = self._place([part]).compact(own, slice(None))[0]
        return bool((constants[:, None] != said).any())


def _as_component(edge: Edge, sender: Sender) -> Component:
    """Returns an edge as what the engine measures: its sender, under its own name."""
    return replace(sender.component, address=str(edge), kind=KIND, weights=())
