"""AtP*: attribution that looks through saturated attention, and does not let estimates cancel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.circuits.base import SCORES
from llc_lightning.circuits.gradients import ChangeAt, Gradient, Subject
from llc_lightning.circuits.wiring.base import Reader
from llc_lightning.components.loss import Change
from llc_lightning.components.ports import replaced


@SCORES.register(
    "atp_star", summary="size of the first-order effect, with attention patterns computed anew and gradients dropped "
    "layer by layer", source="Kramar et al. 2024, arXiv:2403.00745", also=("atp*", "atpstar"),
    estimates=False, at_clean=True,
)  # fmt: skip
@dataclass(frozen=True)
class AtPStar(Gradient):
    """As ``eap``, with the two corrections of AtP*, for nodes there and for edges here.

    QK fix: of an edge into a query or a key the attention pattern is computed with the donor, and what counts is
    ``(pattern' - pattern) . dL/d pattern``. GradDrop: for each layer the gradient is taken without what passes through
    that layer, and the score is ``sum_l |estimate_l| / (L - 1)``, mean over the examples, so that an indirect effect
    cannot cancel a direct one; of edges into the output, which no layer takes away, ``/ L``. A net of one layer has no
    GradDrop, and readers that name no attention, as those of the library transformers, no QK fix. It has no sign.
    """

    graddrop: bool = True
    qk_fix: bool = True

    def of_block(self, subject: Subject, block: int) -> Float[Tensor, "edge row"]:
        """Returns the sizes of the estimates, mean over draws."""
        layers = subject.graph.wiring.layers if self.graddrop else ()
        drops: list[list[Change]] = [[]]
        if len(layers) > 1:
            drops = [[ChangeAt(point, _dropped) for point in points] for points in layers]
        patterns = self._patterns(subject, block) if self.qk_fix else {}
        total = torch.stack([self._estimates(subject, block, drop, patterns).abs() for drop in drops]).sum(0)
        last = subject.graph.edges[-1].reader  # behind all layers: no drop takes its edges away
        left = [max(len(drops) - (edge.reader != last), 1) for edge in subject.graph.edges]
        return total / torch.tensor(left, device=total.device)[:, None]

    def _estimates(
        self, subject: Subject, block: int, drop: Sequence[Change], patterns: dict[int, Tensor]
    ) -> Float[Tensor, "edge row"]:
        """Returns the first-order effects, some of them through attention patterns, mean over draws."""
        slopes, draws = subject.slopes(block, drop), range(subject.donor.draws)
        found = torch.stack([subject.products(block, draw, slopes) for draw in draws]).mean(0)
        if patterns:
            points = list(dict.fromkeys(f"{reader.attention}.hook_pattern" for reader in self._deciding(subject)))
            gradients, _ = subject.gradients(block, points, drop)
            for number, difference in patterns.items():
                reader = subject.graph.reader(subject.graph.edges[number])
                gradient = gradients[f"{reader.attention}.hook_pattern"][:, reader.unit]
                found[number] = (difference * gradient).flatten(1).sum(1)
        return found

    @staticmethod
    def _deciding(subject: Subject) -> list[Reader]:
        return [reader for reader in subject.graph.readers.values() if reader.attention]

    def _patterns(self, subject: Subject, block: int) -> dict[int, Float[Tensor, "row query key"]]:
        """Returns what donors add to the pattern that a reader decides, by the edge's number, mean over draws."""
        found: dict[int, Tensor] = {}
        for reader in self._deciding(subject):
            edges = [at for at, edge in enumerate(subject.graph.edges) if edge.reader == reader.component.address]
            senders = [subject.graph.edges[at].sender for at in edges]
            with torch.no_grad():
                every = [self._changed(subject, block, draw, reader, senders) for draw in range(subject.donor.draws)]
            found.update(zip(edges, torch.stack(every).mean(0), strict=True))
        return found

    @staticmethod
    def _changed(
        subject: Subject, block: int, draw: int, reader: Reader, senders: Sequence[str]
    ) -> Float[Tensor, "sender row query key"]:
        """Returns what a donor adds to a head's pattern, when its query or key hears it from one sender."""
        streams, size = subject.streams, subject.examples.blocks.size
        own = streams.of(subject.examples.blocks.batches[block])[reader.stream]
        shift = torch.stack([torch.zeros_like(own), *(subject.shift(sender, block, draw) for sender in senders)])
        units = torch.full((len(shift),), reader.unit)
        heard = streams.read(reader, own + shift, units).flatten(0, 1)
        caught: list[Tensor] = []

        def put(activation: Tensor) -> Tensor:
            changed = activation.clone()
            changed[:, :, reader.unit] = heard
            return changed

        def catch(pattern: Tensor) -> Tensor:
            caught.append(pattern[:, reader.unit])
            return pattern

        module, normal = streams.loss.module, streams.normalised(reader, own.expand_as(shift)).flatten(0, 1)
        with replaced(module, reader.component.point, put), replaced(module, f"{reader.attention}.hook_pattern", catch):
            streams.called(reader.attention, normal)
        patterns = caught[0].view(len(shift), size, *caught[0].shape[1:])
        return patterns[1:] - patterns[0]


def _dropped(activation: Tensor) -> Tensor:
    return activation.detach()
