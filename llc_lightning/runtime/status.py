"""What can be wrong with a measured value, in words that tell the user what to change.

A status is ``ok`` or the reasons against the value, in one fixed order joined by ``+``. A failed value is NaN; a
flagged one is kept but is drawn hollow and enters no aggregate.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from llc_lightning.runtime.errors import SettingError, unknown

OK = "ok"


@dataclass(frozen=True)
class Reason:
    """One reason against a value."""

    name: str
    failed: bool
    """Whether the value is NaN (failed) or kept (flagged)."""
    sentence: str
    """What it means and what to change."""
    given_by: tuple[Literal["llc", "ablation", "measure"], ...] = ("llc",)
    """The rooms that judge it: each reason of ``llc`` has a diagnostic of its name."""


REASONS: list[Reason] = [
    Reason(
        "nan-loss",
        True,
        "the loss at the measured weights is not finite; look at the training run and the data.",
        given_by=("llc", "ablation", "measure"),
    ),
    Reason(
        "no-examples",
        True,
        "no example counts for this loss; measure on data that has some.",
        given_by=("ablation",),
    ),
    Reason(
        "frozen",
        True,
        "a chain never moved; raise the step size (with mala, lower it), use float64, or move parameters that the loss "
        "depends on.",
    ),
    Reason("all-diverged", True, "every chain diverged; lower the step size or raise gamma."),
    Reason(
        "error",
        True,
        "the measurement raised an exception, kept in details; mend it and measure again.",
        given_by=("measure",),
    ),
    Reason(
        "diverged",
        False,
        "some chains diverged and the value is the mean of the others; lower the step size or raise gamma.",
    ),
    Reason(
        "not-local",
        False,
        "the chains left the neighbourhood of the weights, the value is not about them; raise gamma or lower n_beta.",
    ),
    Reason(
        "not-a-minimum",
        False,
        "the weights are not near a minimum of the loss at this resolution; read the value with its llc_correction, "
        "train longer, or raise gamma.",
    ),
    Reason("drifting", False, "the loss along the chains has not settled; raise burn_in, or use a preconditioner."),
    Reason(
        "not-mixed",
        False,
        "the chains disagree or their draws are too correlated (R-hat or ESS); raise draws, chains or the step size, "
        "or use a preconditioner.",
    ),
    Reason(
        "not-settled",
        False,
        "slow directions that count have not settled, so that the value is too low; raise burn_in and draws, raise "
        "gamma, or use a preconditioner.",
    ),
    Reason(
        "step-bias",
        False,
        "the step size heats the chains and raises the value by more than 5 %; lower step_fraction or the step size, "
        "or use another sampler (lm, mala).",
    ),
    Reason(
        "estimators-disagree",
        False,
        "two estimators that agree in equilibrium contradict each other; raise burn_in and draws, or use another "
        "sampler (lm, mala).",
    ),
    Reason(
        "batch-noise",
        False,
        "the noise of minibatches heats the chains and raises the value by more than 5 %; raise batch_size, or lower "
        "the step size.",
    ),
    Reason(
        "unstable-step",
        False,
        "where the chains are, the step size is beyond the limit of stability; lower it, or let it be auto.",
    ),
    Reason(
        "wrong-gradient",
        False,
        "along the chains the loss changes otherwise than its gradient says; compute it with differentiable operations "
        "of all moved weights, without detach(), round() or argmax().",
    ),
    Reason(
        "rounding",
        False,
        "the loss at w* is so large that rounding hides how it changes; use float64, subtract a constant from the "
        "loss, or lower n_beta.",
    ),
    Reason("box-hits", False, "the box held the chains back, the value is about the box; widen it or raise gamma."),
    Reason("too-few-draws", False, "there are too few draws to judge the chains; raise draws."),
    Reason(
        "saturated",
        False,
        "the value is close to half the number of moved weights and hardly depends on the loss; lower n_beta or raise "
        "gamma.",
    ),
    Reason(
        "no-gap",
        False,
        "the loss is within three standard errors of that with random inputs, so that a hypothesis has nothing to "
        "explain; scrub parts that matter, or take more examples.",
        given_by=("ablation",),
    ),
    Reason("one-example", False, "one example gives no standard error; measure on more.", given_by=("ablation",)),
    Reason("single-chain", False, "one chain gives no standard error and no R-hat; use at least 2 chains."),
]
"""All reasons in the fixed order of a status."""

_BY_NAME = {reason.name: reason for reason in REASONS}


def add_reason(reason: Reason, *, before: str) -> None:
    """Enters a reason from outside of the package, before another one in the order of a status.

    Raises:
        SettingError: If the name is taken, or the other reason is unknown.
    """
    if reason.name in _BY_NAME:
        raise SettingError(f"the status reason {reason.name!r} is there already; choose another name.")
    if before not in _BY_NAME:
        raise SettingError(unknown("status reason", before, _BY_NAME))
    REASONS.insert(REASONS.index(_BY_NAME[before]), reason)
    _BY_NAME[reason.name] = reason


def join(reasons: Iterable[str]) -> str:
    """Returns the status that holds these reasons: each once, in the fixed order, or ``ok`` for none.

    Raises:
        SettingError: If a reason is unknown.

    Example:
        >>> join(["single-chain", "not-local"])
        'not-local+single-chain'
    """
    given = set(reasons) - {OK}
    for name in sorted(given - set(_BY_NAME)):
        raise SettingError(unknown("status reason", name, _BY_NAME))
    return "+".join(reason.name for reason in REASONS if reason.name in given) or OK


def split(status: str) -> tuple[Reason, ...]:
    """Returns the reasons that a status holds, none for ``ok``.

    Raises:
        SettingError: If a reason is unknown, or the reasons are not in the fixed order.
    """
    names = () if status == OK else tuple(status.split("+"))
    if join(names) != status:
        raise SettingError(f"the status {status!r} is not in the fixed order; write {join(names)!r}.")
    return tuple(_BY_NAME[name] for name in names)


def is_ok(status: str) -> bool:
    """Says whether nothing speaks against the value."""
    return not split(status)


def is_failed(status: str) -> bool:
    """Says whether there is no value at all."""
    return any(reason.failed for reason in split(status))


def explain(status: str) -> tuple[str, ...]:
    """Returns one sentence for each reason: its name, what it means and what to change."""
    return tuple(f"{reason.name}: {reason.sentence}" for reason in split(status))
