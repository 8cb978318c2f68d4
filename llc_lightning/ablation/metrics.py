"""What an ablation may change besides the loss: metrics per example, from the outputs with and without it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from llc_lightning.ablation.engine.entries import entry
from llc_lightning.ablation.engine.spelling import resolved, spell
from llc_lightning.components.loss import ModuleLoss
from llc_lightning.runtime.batches import Batch, Params
from llc_lightning.runtime.errors import DataError, SettingError, at_least
from llc_lightning.runtime.registry import NoFacts, Registry


@runtime_checkable
class HasLogits(Protocol):
    """A module that tells the logits that its loss is computed from."""

    def logits(self, batch: Any) -> Tensor:
        """Returns the logits [example, ..., class]."""
        ...


@dataclass(frozen=True)
class Metric(ABC):
    """A number per example; an effect on it is its value with the ablation minus that without.

    Options are written as those of methods: ``kl``, ``accuracy(target=1)``. In the results it is the loss
    ``metric:NAME``.
    """

    output: str = ""
    """The hook point whose activation the outputs are; '' for what the module's ``logits(batch)`` returns."""

    unit: ClassVar[str] = ""
    """What it is counted in; '' where that is not known."""
    minimised: ClassVar[bool] = False
    """Whether less is better: what is fitted is then fitted to it, else to the loss."""
    flat: ClassVar[bool] = False
    """Whether it has its minimum, and no gradient, at the unablated outputs."""

    @property
    def name(self) -> str:
        """How it is written."""
        return spell(next(name for name, entry in METRICS.items() if entry.item is type(self)), self)

    def check(  # noqa: B027 - nothing to check
        self,
        outputs: Float[Tensor, "example *output"],
        batch: Batch,
        real: Bool[Tensor, "example position"] | None = None,
    ) -> None:
        """Checks outputs and examples by their numbers, which cannot be looked at under vmap and while tracing.

        Raises:
            DataError: If the metric would mean nothing.
        """

    @abstractmethod
    def __call__(
        self,
        outputs: Float[Tensor, "example *output"],
        clean: Float[Tensor, "example *output"],
        batch: Batch,
        real: Bool[Tensor, "example position"] | None = None,
    ) -> Float[Tensor, "example"]:
        """Returns the metric of every example.

        Args:
            outputs: With the ablation.
            clean: Without.
            batch: The examples.
            real: Which positions count; None where all do.
        """
        ...


METRICS: Registry[type[Metric], NoFacts] = Registry("metric", NoFacts)
"""All metrics by name."""


@METRICS.register("kl", summary="KL divergence of the unablated from the ablated answer, mean over positions")
@dataclass(frozen=True)
class KL(Metric):
    """``KL(p || p_ablated)`` of the softmax over the last axis, in nats, mean over positions (Li and Janson 2024)."""

    unit: ClassVar[str] = "nats"
    minimised: ClassVar[bool] = True
    flat: ClassVar[bool] = True
    last: bool = False
    """Whether the last position that counts does so alone."""
    at: str = ""
    """The entry of the examples that holds the positions that count: a whole number for each example, or true and false
    for each position; '' for all."""

    def __call__(
        self, outputs: Tensor, clean: Tensor, batch: Batch, real: Tensor | None = None
    ) -> Float[Tensor, "example"]:
        """Returns the divergence of every example."""
        if outputs.shape[-1] == 1:
            raise DataError("'kl' compares the probabilities of classes, and the outputs have one; use another metric.")
        before, after = clean.log_softmax(-1), outputs.log_softmax(-1)
        share = before.exp()
        # A class that is impossible without the ablation adds nothing, whatever it is with it.
        values = (share * (before - after)).where(share != 0, 0.0).sum(-1)
        if values.ndim == 1:
            return values
        flat = values.flatten(1)
        counts = positions(self.name, flat, batch, real, at=self.at)
        if counts is None:
            return flat[:, -1] if self.last else flat.mean(-1)
        return _mean_where(flat, _last_of(counts) if self.last else counts)

    def check(self, outputs: Tensor, batch: Batch, real: Tensor | None = None) -> None:
        """Checks that the chosen positions are some that count."""
        check_positions(self.name, outputs, batch, real, at=self.at)


@METRICS.register("accuracy", summary="share of the answers that are the target, mean over positions")
@dataclass(frozen=True)
class Accuracy(Metric):
    """Whether the largest output is the target's, mean over the positions that have a target: one from 0 on."""

    unit: ClassVar[str] = "1"
    target: str = "1"
    """The entry of the examples that holds the targets: a number for a tuple, a key for a dict."""
    shift: int = 0
    """How many positions ahead the target of a position stands: 1 for the next token. Both must count."""
    last: bool = False
    """Whether the last position that counts and has a target does so alone."""
    at: str = ""
    """The entry of the examples that holds the positions that count, as of ``kl``."""

    def __post_init__(self) -> None:
        """Checks the settings."""
        at_least(0, shift=self.shift)

    def __call__(
        self, outputs: Tensor, clean: Tensor, batch: Batch, real: Tensor | None = None
    ) -> Float[Tensor, "example"]:
        """Returns the accuracy of every example."""
        target = entry(batch, self.target)
        answer, unknown = outputs.argmax(-1), outputs.isnan().any(-1)
        if self.shift:
            answer, target = answer[:, : -self.shift], target[:, self.shift :]
            unknown = unknown[:, : -self.shift]
        if answer.shape != target.shape:
            raise DataError(
                f"the targets {self.target!r} of 'accuracy' have shape {tuple(target.shape)} and the answers "
                f"{tuple(answer.shape)}; give one target for every answer."
            )
        has_target = self._has_target(outputs, target, batch, real)
        right = (answer == target).to(outputs.dtype).where(~unknown, nan).reshape(has_target.shape)
        return _mean_where(right, has_target)

    def _has_target(
        self, outputs: Tensor, target: Tensor, batch: Batch, real: Tensor | None
    ) -> Bool[Tensor, "example position"]:
        """Returns which answers count and have a target, as many positions ahead."""
        has_target = (target >= 0).reshape(len(target), -1)
        if outputs.ndim > 2:
            counts = positions(self.name, outputs[..., 0].flatten(1), batch, real, at=self.at)
            if counts is not None:
                has_target = has_target & counts[:, : counts.shape[1] - self.shift]
            if real is not None:
                has_target = has_target & real[:, self.shift :]
        return _last_of(has_target) if self.last else has_target

    def check(self, outputs: Tensor, batch: Batch, real: Tensor | None = None) -> None:
        """Checks that there are classes, and a target for every example."""
        target = entry(batch, self.target)
        if outputs.shape[-1] == 1:
            raise DataError("'accuracy' compares the outputs of classes, and there is one; use another metric.")
        if target.is_floating_point() or target.is_complex() or target.ndim < (2 if self.shift else 1):
            wanted = "[example, position]" if self.shift else "[example, ...]"
            raise DataError(
                f"the targets {self.target!r} of {self.name!r} have shape {tuple(target.shape)} and type "
                f"{target.dtype}; give whole numbers of shape {wanted}."
            )
        if self.shift and self.shift >= target.shape[1]:
            raise DataError(f"shift is {self.shift} for {target.shape[1]} positions; give less.")
        check_positions(self.name, outputs, batch, real, at=self.at)
        target = target[:, self.shift :] if self.shift else target
        if real is not None or self.at:
            without = ~self._has_target(outputs, target, batch, real).any(-1)
        else:
            without = target.reshape(len(target), -1).amax(-1) < 0
        if bool(without.any()):
            raise DataError(
                f"the targets {self.target!r} of 'accuracy' are below 0, which is none, for {int(without.sum())} of "
                f"{len(target)} examples; measure it on examples that have some."
            )


@METRICS.register("logit_difference", summary="logit of the right minus that of the wrong answer, at the last position")
@dataclass(frozen=True)
class LogitDifference(Metric):
    """``logit[right] - logit[wrong]`` at the last position that counts (Wang et al. 2022, arXiv:2211.00593)."""

    unit: ClassVar[str] = "logits"
    right: str = "1"
    """The entry of the examples that holds the right answers."""
    wrong: str = "2"
    """The entry of the examples that holds the wrong answers."""
    at: str = ""
    """The entry of the examples that holds the positions to read instead of the last, as of ``kl``; of several the mean
    counts."""

    def __call__(
        self, outputs: Tensor, clean: Tensor, batch: Batch, real: Tensor | None = None
    ) -> Float[Tensor, "example"]:
        """Returns the difference of every example."""
        flat = outputs.flatten(1, -2) if outputs.ndim > 2 else outputs[:, None]
        counts = positions(self.name, flat[..., 0], batch, real, at=self.at) if outputs.ndim > 2 else None
        if counts is not None:
            answers = [self._answers(batch, name)[:, None, None] for name in (self.right, self.wrong)]
            right, wrong = (flat.gather(-1, one.expand(-1, flat.shape[1], 1))[..., 0] for one in answers)
            return _mean_where(right - wrong, counts if self.at else _last_of(counts))
        last = flat[:, -1]
        right, wrong = (last.gather(-1, self._answers(batch, name)[:, None])[:, 0] for name in (self.right, self.wrong))
        return right - wrong

    def check(self, outputs: Tensor, batch: Batch, real: Tensor | None = None) -> None:
        """Checks that the answers are classes, and that the chosen positions are some that count."""
        check_positions(self.name, outputs, batch, real, at=self.at)
        for name in (self.right, self.wrong):
            answers = self._answers(batch, name)
            if not 0 <= int(answers.min()) <= int(answers.max()) < outputs.shape[-1]:
                raise DataError(
                    f"the answers {name!r} of 'logit_difference' go from {int(answers.min())} to {int(answers.max())}; "
                    f"give classes from 0 to {outputs.shape[-1] - 1}."
                )

    def _answers(self, batch: Batch, name: str) -> Int[Tensor, "example"]:
        answers = entry(batch, name)
        if answers.ndim != 1 or answers.is_floating_point() or answers.is_complex() or answers.dtype == torch.bool:
            raise DataError(
                f"the answers {name!r} of 'logit_difference' have shape {tuple(answers.shape)} and type "
                f"{answers.dtype}; give one whole number for each example."
            )
        return answers.long()


@METRICS.register("own", summary="a function of one's own of outputs, unablated outputs and examples")
@dataclass(frozen=True)
class Own(Metric):
    """A function of one's own; in Python alone.

    Example:
        >>> largest = Own(function=lambda outputs, clean, batch: outputs.amax(-1), title="largest")
        >>> largest.name
        'largest'
    """

    function: Callable[[Tensor, Tensor, Batch], Tensor] | None = None
    """Of outputs, unablated outputs and examples; returns one number per example. vmap must understand it."""
    title: str = "own"
    """Its name in the results."""

    @property
    def name(self) -> str:
        """Its title."""
        return self.title

    def __call__(
        self, outputs: Tensor, clean: Tensor, batch: Batch, real: Tensor | None = None
    ) -> Float[Tensor, "example"]:
        """Returns what the function returns; which positions count it must read from the examples by itself."""
        if self.function is None:
            raise SettingError("the metric 'own' has no function; make it in Python, as Own(function=..., title=...).")
        values = self.function(outputs, clean, batch)
        if values.shape != outputs.shape[:1]:
            raise DataError(
                f"the metric {self.title!r} returned shape {tuple(values.shape)} for {len(outputs)} examples; it must "
                "return one number for each."
            )
        return values


def resolve_metrics(metrics: object) -> tuple[Metric, ...]:
    """Returns the metrics that are meant: names with their options, or objects; none, one or several.

    Raises:
        SettingError: If a name or option is unknown, or two would share a name in the results.
    """
    return resolved(metrics, METRICS, base=Metric)


def outputs_of(
    loss: ModuleLoss, params: Params, batch: Batch, metrics: Sequence[Metric], caught: Mapping[str, Tensor]
) -> tuple[Tensor, ...]:
    """Returns the outputs that each metric looks at.

    Raises:
        SettingError: If a metric names no output and the module has no ``logits(batch)``.
        DataError: If the outputs do not begin with the axis of the examples.
    """
    each: list[Tensor] = []
    for metric in metrics:
        if not metric.output and not isinstance(loss.module, HasLogits):
            raise SettingError(
                f"the metric {metric.name!r} needs the module's outputs; give it the hook point that holds them, such "
                "as 'kl(output=net.hook_out)', or give the module a method logits(batch)."
            )
        outputs = caught[metric.output] if metric.output else loss.asked("logits", params, batch)
        if outputs.ndim < 2:
            raise DataError(
                f"the outputs for the metric {metric.name!r} have shape {tuple(outputs.shape)}; they must be "
                "[example, ..., class]."
            )
        each.append(outputs)
    return tuple(each)


def positions(
    metric: str,
    values: Float[Tensor, "example position"],
    batch: Batch,
    real: Bool[Tensor, "example position"] | None,
    *,
    at: str,
) -> Bool[Tensor, "example position"] | None:
    """Returns which of the positions of outputs count for a metric; None where all do.

    Args:
        metric: Its name, for messages.
        values: One number for every position of the outputs.
        batch: The examples.
        real: Which positions count by the mask; None where all do.
        at: The entry of the examples with the chosen positions; '' for all.

    Raises:
        SettingError: If the examples have no such entry.
        DataError: If mask or chosen positions do not have the form of the outputs.
    """
    n, size = values.shape
    if real is not None and real.shape[1] != size:
        raise DataError(
            f"the outputs for the metric {metric!r} have {size} positions and the mask {real.shape[1]}; give outputs "
            "and mask of the same positions."
        )
    if not at:
        return real
    chosen = entry(batch, at)
    if tuple(chosen.shape) == (n,) and not (chosen.is_floating_point() or chosen.dtype == torch.bool):
        # Of a position outside nothing counts, and check_positions says so.
        at_end = torch.where(chosen < 0, chosen + size, chosen)
        chosen = at_end[:, None] == torch.arange(size, device=chosen.device)
    if tuple(chosen.shape) != (n, size) or chosen.dtype != torch.bool:
        raise DataError(
            f"the positions {at!r} of {metric!r} have shape {tuple(chosen.shape)} and type {chosen.dtype}; give a "
            f"whole number for each of the {n} examples, or true and false of shape ({n}, {size})."
        )
    return chosen if real is None else chosen & real


def check_positions(metric: str, outputs: Tensor, batch: Batch, real: Tensor | None, *, at: str) -> None:
    """Checks that the chosen positions are some that count.

    Raises:
        SettingError: If the examples have no such entry.
        DataError: If outputs have no positions, or an example none that counts.
    """
    if not at:
        return
    if outputs.ndim < 3:
        raise DataError(
            f"{metric!r} chooses positions, and its outputs have shape {tuple(outputs.shape)} without any; leave out "
            "at."
        )
    counts = positions(metric, outputs[..., 0].flatten(1), batch, real, at=at)
    empty = torch.empty(0) if counts is None else (~counts.any(1)).nonzero().flatten()
    if len(empty):
        raise DataError(
            f"no position of example {int(empty[0])} that {at!r} names counts for {metric!r}; choose among its "
            f"{outputs[0, ..., 0].numel()} positions one that is not masked."
        )


def _mean_where(values: Float[Tensor, "example position"], counts: Tensor) -> Float[Tensor, "example"]:
    """Returns the mean over the positions that count."""
    return values.where(counts, 0.0).sum(-1) / counts.sum(-1)


def _last_of(counts: Bool[Tensor, "example position"]) -> Bool[Tensor, "example position"]:
    """Returns the last of the positions that count."""
    return counts & (counts.flip(1).cumsum(1).flip(1) == 1)
