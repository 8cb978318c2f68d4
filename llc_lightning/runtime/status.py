"""What can be wrong with a measured value, in words that tell the user what to change.

A status is ``ok`` or the reasons against the value, in one fixed order joined by ``+``. A failed value is NaN; a
flagged one is kept but is drawn hollow and enters no aggregate.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from llc_lightning.runtime.errors import SettingError
from llc_lightning.runtime.registry import Entry, Registry

OK = "ok"


@dataclass(frozen=True)
class Reason:
    """What is told of a reason against a value."""

    sentence: str
    """What it means and what to change."""
    order: int = 1000
    """Its place in a status, behind all failed ones if it is flagged; of equal ones the alphabet decides."""
    failed: bool = False
    """Whether the value is NaN (failed) or kept (flagged)."""
    observes: tuple[str, ...] = ()
    """What a diagnostic needs to be seen along the chains: names of registered observables."""


Diagnostic: TypeAlias = Callable[[Any], bool]
"""Says whether the evidence of an estimate gives a reason, and no where it cannot know."""

REASONS: Registry[Diagnostic | None, Reason] = Registry(
    "status reason", Reason, rooms=("llc_lightning.llc.diagnostics", "llc_lightning.ablation.methods"), revised=True
)
"""All reasons. What is registered is the diagnostic that gives it to an LLC; None where other code gives it."""

REASONS.register(
    "no-examples",
    summary="an ablation has no example to be measured on",
    sentence="no example counts for this loss; measure on data that has some.",
    order=20,
    failed=True,
)(None)
REASONS.register(
    "error",
    summary="a measurement raised an exception",
    sentence="the measurement raised an exception, kept in details; mend it and measure again.",
    order=50,
    failed=True,
)(None)
REASONS.register(
    "no-gap",
    summary="scrubbing, or a circuit, has nothing to explain",
    sentence="the loss is within three standard errors of that with random inputs, or with all edges ablated, so that "
    "a hypothesis or a circuit has nothing to explain; take parts that matter, or more examples.",
    order=140,
)(None)
REASONS.register(
    "one-example",
    summary="an ablation is measured on one example",
    sentence="one example gives no standard error; measure on more.",
    order=150,
)(None)
REASONS.register(
    "too-few-examples",
    summary="an ablation's effects are so unequal that its normal error misleads",
    sentence="the effects on single examples are too few, or too skewed for so few: twice the standard error misses "
    "the truth more often than it says; take more examples, or read the interval.",
    order=160,
)(None)

REASONS.register(
    "unreachable",
    summary="an edge carries the same whatever its sender is replaced by",
    sentence="on no example does the donor change what the sender says, so that the edge was not tested; take a donor "
    "that changes it, such as zero.",
    order=165,
)(None)
REASONS.register(
    "incomplete",
    summary="estimates of edges do not add up",
    sentence="the estimates of the edges that leave the inputs miss what exchanging the inputs does by more than a "
    "twentieth, so that single ones may be wrong by any amount; take exact effects, or eap_ig with more steps.",
    order=166,
)(None)
REASONS.register(
    "too-few-steps",
    summary="estimates of edges depend on the steps of their integral",
    sentence="twice the steps change the estimates by more than a tenth; take more steps, as in eap_ig(steps=20), or "
    "exact effects.",
    order=167,
)(None)
REASONS.register(
    "not-recovered",
    summary="a re-optimisation ended before its end",
    sentence="the re-optimisation of the ablated or of the whole model still gained, in its last tenth, more than a "
    "tenth of the error times 1 / n_beta; give it a larger budget.",
    order=175,
)(None)
REASONS.register(
    "several-minima",
    summary="the re-optimised model is one of several, by chance",
    sentence="the re-optimisation of the whole model ends at another loss when it begins at weights that differ in "
    "their last digits: another machine or seed may end in another minimum, whose coefficient can differ by far more "
    "than the error; train to a minimum first, or compare what several seeds have in common.",
    order=177,
)(None)
REASONS.register(
    "not-closed",
    summary="the LLC before and after a re-optimisation do not differ by what it gained",
    sentence="A1 misses A3 - n_beta R by more than two errors: the ablated loss is curved otherwise at its minimum "
    "than near the trained weights, or by chance; raise n_beta and gamma together, train to a minimum, or take more "
    "chains.",
    order=176,
)(None)


def in_order(reasons: Iterable[str]) -> tuple[Entry[Diagnostic | None, Reason], ...]:
    """Returns reasons by their names: each once, in the fixed order, failed ones first.

    Raises:
        SettingError: If a reason is unknown.
    """
    entries = (REASONS.get(name) for name in set(reasons))
    return tuple(sorted(entries, key=lambda one: (not one.facts.failed, one.facts.order, one.name)))


def join(reasons: Iterable[str]) -> str:
    """Returns the status that holds these reasons: each once, in the fixed order, or ``ok`` for none.

    Raises:
        SettingError: If a reason is unknown.

    Example:
        >>> join(["single-chain", "not-local"])
        'not-local+single-chain'
    """
    return "+".join(reason.name for reason in in_order(set(reasons) - {OK})) or OK


def split(status: str) -> tuple[Entry[Diagnostic | None, Reason], ...]:
    """Returns the reasons that a status holds, none for ``ok``.

    Raises:
        SettingError: If a reason is unknown, or the reasons are not in the fixed order.
    """
    names = () if status == OK else tuple(status.split("+"))
    if join(names) != status:
        raise SettingError(f"the status {status!r} is not in the fixed order; write {join(names)!r}.")
    return in_order(names)


def is_ok(status: str) -> bool:
    """Says whether nothing speaks against the value."""
    return not split(status)


def is_failed(status: str) -> bool:
    """Says whether there is no value at all."""
    return any(reason.facts.failed for reason in split(status))


def explain(status: str) -> tuple[str, ...]:
    """Returns one sentence for each reason: its name, what it means and what to change."""
    return tuple(f"{reason.name}: {reason.facts.sentence}" for reason in split(status))
