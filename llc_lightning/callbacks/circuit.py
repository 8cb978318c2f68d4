"""Measures the connections of a network, and the circuits that they make, while it trains."""

from collections.abc import Sequence

from llc_lightning.callbacks.base import CALLBACKS, MeasurementCallback, OnError
from llc_lightning.callbacks.cadenced import At
from llc_lightning.measure.circuit.plan import CircuitPlan
from llc_lightning.runtime.batches import Batch
from llc_lightning.runtime.cadence import Cadence


@CALLBACKS.register(
    "circuit", summary="measures connections and the circuits that they make", keys=("circuit",), place=5
)
class CircuitCallback(MeasurementCallback):
    """Measures what each part of a network says to each other part, and finds the circuit that does its work.

    An edge leads from a sender (an embedding, a head, an MLP) to a reader (the query, key or value of a head, the input
    of an MLP, the output). ``analyze.py edges RUN`` tells when each enters and leaves, and draws them.

    Args:
        when: The cadence, such as ``Every(steps=100)``; None switches the callback off.
        edges: Which edges, such as ``net.hook_embed -> *``; one or several, ``*`` for all.
        score: How an edge is scored, such as ``exact`` or ``eap_ig(steps=10)``.
        donor: What takes a sender's place, such as ``resample``, ``mean`` or ``zero``.
        metric: What is measured instead of the loss, such as ``kl(output=net.unembed.hook_out)``.
        search: How a circuit is found, such as ``acdc(threshold=0.05)`` or ``ugs``; '' for none.
        resamples: Circuits to find on examples drawn anew, for the share of them that hold an edge; 0 for none.
        examples: Use at most so many of the examples, from the first on; None for all.
        mask: Which positions count, where some are padded: an entry of the examples that is true there, such as
            ``attention_mask`` or ``1``, or ``NAME!=NUMBER``, such as ``labels!=-100``; by default what the module's
            ``mask(batch)`` says, else all.
        joined: Whether the embeddings of token and position are one sender.
        neurons: Whether the neurons of MLPs are senders and readers of their own.
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
        edges: str | Sequence[str] = "*",
        score: str = "exact",
        donor: str = "resample",
        metric: str = "",
        search: str = "",
        resamples: int = 0,
        examples: int | None = 256,
        mask: str = "",
        joined: bool = False,
        neurons: bool = False,
        data: Batch | None = None,
        on_error: OnError = "raise",
        share: bool = True,
        at: At = "batch",
        seed: int | None = None,
        name: str = "circuit",
    ) -> None:
        plan = CircuitPlan(
            components=(edges,) if isinstance(edges, str) else tuple(edges),
            score=score,
            donor=donor,
            metric=metric,
            search=search,
            resamples=resamples,
            examples=examples,
            mask=mask,
            joined=joined,
            neurons=neurons,
            seed=seed,
        )
        super().__init__(when, plan, name=name, data=data, on_error=on_error, share=share, at=at, seed=seed)
