"""Gradients at the sums that readers read, and the estimates that follow from them."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.ablation.engine.base import Shared, entry_of
from llc_lightning.ablation.engine.blocks import Blocks
from llc_lightning.ablation.engine.effect import Effect, Summary
from llc_lightning.ablation.engine.examples import Examples
from llc_lightning.ablation.engine.lanes import losses_of
from llc_lightning.ablation.engine.mask import Mask
from llc_lightning.ablation.engine.place import Place
from llc_lightning.circuits.base import Question, Score, check_whole, facts_of
from llc_lightning.circuits.edge import Edge
from llc_lightning.circuits.exact import KIND, check_sums, points_of
from llc_lightning.circuits.exchange import Exchanges
from llc_lightning.circuits.streams import Streams
from llc_lightning.circuits.wiring.base import Reader
from llc_lightning.components.component import Component
from llc_lightning.components.loss import Change
from llc_lightning.components.ports import replaced
from llc_lightning.runtime.allocator import keep_freed_memory
from llc_lightning.runtime.batches import check_partners, for_params, n_weights, take
from llc_lightning.runtime.errors import SettingError
from llc_lightning.runtime.signals import stop_if_asked
from llc_lightning.runtime.status import join

Slopes: TypeAlias = Mapping[str, Float[Tensor, "row *position d_model"]]
"""The gradients of the examples' losses at the sums that each reader reads, by the reader's address."""

_CPU_NUMBERS, _GPU_NUMBERS = 1 << 23, 1 << 28
"""Numbers of gradients at readers' sums that one run may hold."""
_COMPLETE = 0.05
"""Largest share by which the edges that leave the inputs may miss what exchanging the inputs does."""
_CHANGED = 0.10
"""Largest change of the scores, relative to their sizes, when the steps are doubled."""


@dataclass(frozen=True)
class ChangeAt:
    """A change with its hook point."""

    point: str
    change: Callable[[Tensor], Tensor]

    def __call__(self, activation: Tensor) -> Tensor:
        """Returns what takes the activation's place."""
        return self.change(activation)


class Subject:
    """A network on some examples, whose edges are scored from gradients.

    Args:
        question: The network, examples and donor.
        block: Examples of one forward pass, a power of two; without it as many as fit.

    Raises:
        SettingError: If the donor fits its values or edits weights.
    """

    def __init__(self, question: Question, block: int | None = None) -> None:
        if not isinstance(question.donor, Shared) or entry_of(question.donor).facts.whole:
            raise SettingError(
                f"gradients tell what given values do, and {question.donor.name!r} fits them, edits weights or mixes "
                "units; take zero, mean, resample or counterfactual, or exact effects."
            )
        self.question, self.donor, self.graph = question, question.donor, question.graph
        loss, params, edges = question.loss, question.params, question.graph.edges
        keep_freed_memory(n_weights(params))
        if question.counterfactual is not None:
            check_partners(question.counterfactual, question.data, what="counterfactual partners")
        metrics = () if question.metric is None else (question.metric,)
        with torch.no_grad():
            self.examples = Examples(
                loss,
                params,
                Blocks.of(for_params(question.data, params), block),
                ("train", *(f"metric:{one.name}" for one in metrics)),
                metrics=metrics,
                points=points_of(self.graph, edges),
                partners=None if question.counterfactual is None else for_params(question.counterfactual, params),
                mask=Mask.of(loss, params, question.mask),
                keep=True,
                recorded=True,
            )
            check_sums(self.graph, edges, self.examples)
        self.streams = Streams(loss, params, points_of(self.graph, edges))
        if self.examples.caught(0):
            self.streams.know(self.examples.blocks.batches[0], self.examples.caught(0))
        self.exchanges = Exchanges(self.examples, self.streams, question.seed)
        self.inputs = [edge.sender for edge in edges if edge.reader == edges[0].reader]
        """The senders that hear nothing."""

    @cached_property
    def readers(self) -> dict[str, list[Reader]]:
        """The readers by hook point."""
        by_point: dict[str, list[Reader]] = {}
        for reader in self.graph.readers.values():
            by_point.setdefault(reader.component.point, []).append(reader)
        return by_point

    def losses(
        self, block: int, edits: Sequence[Change], points: Sequence[str] = (), copies: int = 1
    ) -> tuple[Float[Tensor, "row"], Mapping[str, Tensor]]:
        """Returns the losses of an edited run, or its metric, and the activations at some points.

        Args:
            block: Which examples.
            edits: What is changed.
            points: Whose activations are returned.
            copies: How many times the examples stand beside each other in the run.
        """
        examples = self.examples
        batch, clean, real = examples.blocks.batches[block], examples.clean[block], examples.real(block)
        if copies > 1:
            rows = torch.arange(examples.blocks.size).repeat(copies)
            batch, clean = take(batch, rows), tuple(one[rows.to(one.device)] for one in clean)
            real = None if real is None else real[rows.to(real.device)]
        metrics = examples.metrics
        forward = losses_of(examples.loss.with_edits(edits), examples.params, batch, False, metrics, points)
        if not metrics:
            return forward.losses[0][:, 0], forward.caught
        return metrics[0](forward.outputs[0], clean[0], batch, real), forward.caught

    def gradients(
        self,
        block: int,
        points: Sequence[str],
        edits: Sequence[Change] = (),
        watched: Sequence[str] = (),
        copies: int = 1,
    ) -> tuple[dict[str, Tensor], Mapping[str, Tensor]]:
        """Returns the gradients of the examples' losses at hook points of an edited run, and some activations.

        Raises:
            SettingError: If the loss or metric has no gradient.
        """
        opened: dict[str, list[Tensor]] = {point: [] for point in points}

        def opening(point: str, activation: Tensor) -> Tensor:
            opened[point].append(torch.zeros_like(activation, requires_grad=True))
            return activation + opened[point][-1]

        with torch.enable_grad():
            ends = [ChangeAt(point, partial(opening, point)) for point in points]
            # An edit at a reader sees what was opened.
            losses, known = self.losses(block, [*ends, *edits], watched, copies)
            if not losses.requires_grad:
                raise SettingError(
                    f"{self.question.name!r} has no gradient at the readers, which this score follows; take exact "
                    "effects."
                )
            flat = [one for some in opened.values() for one in some]
            found = iter(torch.autograd.grad(losses.sum(), flat, materialize_grads=True))
        return {point: torch.stack([next(found) for _ in some]).sum(0) for point, some in opened.items()}, known

    def slopes(self, block: int, edits: Sequence[Change] = (), reading: Sequence[Change] = ()) -> Slopes:
        """Returns the gradients at the sums that readers read, each reader's own, in an edited run.

        Args:
            block: Which examples.
            edits: What is changed in the run.
            reading: What is changed when a reader's norm is passed on the way back.
        """
        found, known = self.gradients(block, list(self.readers), edits, self._streams)
        slopes: dict[str, Tensor] = {}
        for first, readers in self._alike:
            onwards = torch.cat([self._to_norm(found[point], some) for point, some in readers.items()])
            back = self._through_norm(first, known[first.stream], onwards, reading)
            slopes.update(zip((one.component.address for some in readers.values() for one in some), back, strict=True))
        return slopes

    def attributions(
        self, block: int, draw: int, edits: Sequence[Change], copies: int = 1
    ) -> Float[Tensor, "edge row"]:
        """Returns ``(donor - own) . gradient`` of every edge and example, the gradients being those of an edited run.

        It is what :meth:`products` makes of :meth:`slopes`. Norms are passed from whichever side has fewer: forward by
        what senders would say, or back by what readers ask for.

        Args:
            block: Which examples.
            draw: Of the donor.
            edits: What is changed in the run.
            copies: How many times the examples stand beside each other in the run; the mean over them is returned.
        """
        found, known = self.gradients(block, list(self.readers), edits, self._streams, copies)
        every: dict[Edge, Tensor] = {}
        for first, readers in self._alike:
            names = [reader.component.address for some in readers.values() for reader in some]
            senders = [edge.sender for edge in self.graph.edges if edge.reader == names[0]]
            said = torch.stack([self.shift(sender, block, draw) for sender in senders])
            said = said.repeat(1, copies, *(1,) * (said.ndim - 2))
            asked = torch.cat([self._to_norm(found[point], some) for point, some in readers.items()])
            if len(said) <= len(asked):
                said = self._past_norm(first, known[first.stream], said)
            else:
                asked = self._through_norm(first, known[first.stream], asked, ())
            both = said.flatten(2).transpose(0, 1) @ asked.flatten(2).permute(1, 2, 0)
            mean = both.view(copies, -1, *both.shape[1:]).mean(0)
            for i, sender in enumerate(senders):
                every.update((Edge(sender, name), mean[:, i, j]) for j, name in enumerate(names))
        return torch.stack([every[edge] for edge in self.graph.edges])

    @cached_property
    def _streams(self) -> list[str]:
        return list(dict.fromkeys(reader.stream for reader in self.graph.readers.values()))

    @cached_property
    def _alike(self) -> list[tuple[Reader, dict[str, list[Reader]]]]:
        """The readers of every normalised sum, by hook point, with the first of them in front."""
        found: dict[tuple[str, str], dict[str, list[Reader]]] = {}
        for point, readers in self.readers.items():
            found.setdefault((readers[0].stream, readers[0].norm), {})[point] = readers
        return [(next(iter(some.values()))[0], some) for some in found.values()]

    def _to_norm(
        self, gradient: Float[Tensor, "row ..."], readers: Sequence[Reader]
    ) -> Float[Tensor, "reader row *position d_model"]:
        """Returns the gradients at the normalised sum of each of the readers at one hook point."""
        onwards = self.place([reader.component for reader in readers]).compact(gradient, slice(None))
        reads = readers[0].reads
        if reads is None:
            return onwards
        stream = self.examples.first[readers[0].stream]
        matrix = self.streams.matrix(reads, torch.tensor([reader.unit for reader in readers]))
        back = onwards.reshape(len(readers), -1, matrix.shape[-1]) @ matrix.transpose(-1, -2)
        return back.view(len(readers), len(gradient), *stream.shape)

    def _through_norm(
        self, reader: Reader, stream: Tensor, onwards: Tensor, reading: Sequence[Change]
    ) -> Float[Tensor, "reader row *position d_model"]:
        """Returns the gradients at the sum, given those at what its norm makes of it."""
        if not reader.norm:
            return onwards
        with torch.enable_grad(), ExitStack() as hooks:
            for one in reading:
                hooks.enter_context(replaced(self.examples.loss.module, one.point, one))
            stream = stream.detach().requires_grad_(True)
            normalised = self.streams.normalised(reader, stream[None])[0]
            return torch.autograd.grad(normalised, stream, onwards, is_grads_batched=True)[0]

    def _past_norm(
        self, reader: Reader, stream: Tensor, said: Float[Tensor, "sender row *position d_model"]
    ) -> Float[Tensor, "sender row *position d_model"]:
        """Returns what small changes of the sum become behind its norm."""
        if not reader.norm:
            return said

        def normalised(sums: Tensor) -> Tensor:
            return self.streams.normalised(reader, sums[None])[0]

        def past(one: Tensor) -> Tensor:
            return torch.func.jvp(normalised, (stream.detach(),), (one,))[1]

        with warnings.catch_warnings():
            # torch compiles what it knows of derivatives at the first call, by what it advises against.
            warnings.filterwarnings("ignore", message=r".torch\.jit\.script. is deprecated")
            return torch.vmap(past)(said)

    def place(self, parts: Sequence[Component]) -> Place:
        """Returns where units of one hook point are."""
        return Place.of(parts, self.examples.first[parts[0].point], few=True)

    def shift(self, sender: str, block: int, draw: int) -> Float[Tensor, "row *position d_model"]:
        """Returns what a donor adds to the sums that hear a sender."""
        found = self.exchanges(self.graph.senders[sender], self.donor, block)[draw]
        return found.expand(self.examples.blocks.size, *found.shape[1:])

    def products(self, block: int, draw: int, slopes: Slopes) -> Float[Tensor, "edge row"]:
        """Returns ``(donor - own) . gradient`` of every edge and example."""
        return torch.stack(
            [
                (self.shift(edge.sender, block, draw) * slopes[edge.reader]).flatten(1).sum(1)
                for edge in self.graph.edges
            ]
        )

    def towards(self, block: int, draw: int, share: float | Sequence[float], points: Sequence[str]) -> list[Change]:
        """Returns the edits that move whole hook points by a share of the way to the donor, copies by their own."""
        return [ChangeAt(point, partial(_moved, self._way(point, block, draw), share)) for point in points]

    @cached_property
    def input_points(self) -> list[str]:
        """The hook points of the senders that hear nothing."""
        parts = [part for name in self.inputs for part in self.graph.senders[name].component.members]
        return list(dict.fromkeys(part.point for part in parts))

    def _way(self, point: str, block: int, draw: int) -> Tensor:
        rows, axis = self.examples.blocks.rows[block], -1
        seen = self.examples.seen(point, axis, [self.donor])
        values = next(self.donor.values(seen, [rows], seed=self.question.seed))[draw]
        way = values - self.streams.of(self.examples.blocks.batches[block])[point]
        real = self.examples.counting(point, axis)
        return way if real is None else torch.where(real[rows.to(real.device)], way, 0)

    @cached_property
    def copies(self) -> int:
        """Runs on a block that are worth being one, side by side."""
        like = self.examples.first[next(iter(self.graph.readers.values())).stream]
        most = max(sum(map(len, readers.values())) for _, readers in self._alike)
        numbers = _CPU_NUMBERS if like.device.type == "cpu" else _GPU_NUMBERS
        return max(1, numbers // (self.examples.blocks.size * like.numel() * most))

    def total(self, block: int) -> Float[Tensor, "row"]:
        """Returns what exchanging all senders that hear nothing does, mean over draws."""
        plain = next(one for one in self.examples.unablated if one.loss == self.question.name).per_example
        if plain is None:
            raise RuntimeError("the losses of the examples were not kept")
        rows = self.examples.blocks.rows[block]
        with torch.no_grad():
            moved = [
                self.losses(block, self.towards(block, draw, 1.0, self.input_points))[0]
                for draw in range(self.donor.draws)
            ]
        return torch.stack(moved).mean(0) - plain[rows].to(moved[0])


def _moved(way: Tensor, share: float | Sequence[float], activation: Tensor) -> Tensor:
    if isinstance(share, int | float):
        return activation + share * way
    return activation + torch.cat([one * way for one in share])


@dataclass(frozen=True)
class Gradient(Score):
    """A score from gradients: one file each, which says how an example's scores follow from its subject.

    Standard errors are over examples, with donors and means taken as they are; those of exact effects count these too.
    """

    @abstractmethod
    def of_block(self, subject: Subject, block: int) -> Float[Tensor, "edge row"]:
        """Returns the scores of all edges of the graph on a block of examples, mean over draws."""
        ...

    def finer(self) -> Gradient | None:
        """Returns the same score with its steps doubled; None for one without steps, or whose check is off."""
        return None

    def scores(self, question: Question, edges: Sequence[Edge]) -> list[Effect]:
        """Returns the scores of edges, in their order, with what is to be said against all of them."""
        check_whole(self, edges)
        subject = Subject(question)
        every = self._by_block(subject)
        reasons = self._reasons(subject, every)
        at = {str(edge): number for number, edge in enumerate(question.graph.edges)}
        numbers = torch.tensor([at[str(edge)] for edge in edges])
        summary = Summary((question.name,), n=subject.examples.blocks.n, keep=True)
        for block, values in enumerate(every):
            counted = subject.examples.counted[block][-1:]
            summary.add([counted[0].pack(values[numbers][..., None])], counted)
        name, draws = f"{self.name}:{question.donor.name}", question.donor.draws
        series = [Effect("edge_score", str(edge), KIND, name, draws=draws, vmapped=False) for edge in edges]
        found = [effect for outcome in summary.effects(series, doubted=True) for effect in outcome.effects]
        return [replace(one, status=join([*one.status.split("+"), *reasons])) for one in found]

    def _by_block(self, subject: Subject) -> list[Float[Tensor, "edge row"]]:
        found: list[Tensor] = []
        for block in range(len(subject.examples.blocks)):
            stop_if_asked()
            found.append(self.of_block(subject, block).detach())
        return found

    def _reasons(self, subject: Subject, every: Sequence[Tensor]) -> list[str]:
        """Returns what the sum of the scores, and steps that are doubled, say against them."""
        real = [subject.examples.blocks.real(block) for block in range(len(every))]
        mean = torch.cat([values[:, mask] for values, mask in zip(every, real, strict=True)], dim=1).double().mean(1)
        reasons: list[str] = []
        if facts_of(self).estimates:
            leaving = [edge.sender in subject.inputs for edge in subject.graph.edges]
            total = torch.cat([subject.total(block)[mask] for block, mask in enumerate(real)]).double().mean()
            if not abs(float(mean[torch.tensor(leaving)].sum() - total)) <= _COMPLETE * abs(float(total)):
                reasons.append("incomplete")
        finer = self.finer()
        if finer is not None:
            twice = finer._by_block(subject)
            other = (
                torch.cat([values[:, mask] for values, mask in zip(twice, real, strict=True)], dim=1).double().mean(1)
            )
            if not float((other - mean).abs().sum()) <= _CHANGED * float(other.abs().sum()):
                reasons.append("too-few-steps")
        return reasons
