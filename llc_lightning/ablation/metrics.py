"""What an ablation may change besides the loss: metrics per example, from the outputs with and without it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
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

    minimised: ClassVar[bool] = False
    """Whether less is better: what is fitted is then fitted to it, else to the loss."""

    @property
    def name(self) -> str:
        """How it is written."""
        return spell(next(name for name, entry in METRICS.items() if entry.item is type(self)), self)

    def check(self, outputs: Float[Tensor, "example *output"], batch: Batch) -> None:  # noqa: B027 - nothing to check
        """Checks outputs and examples by their numbers, which cannot be looked at under vmap and while tracing.

        Raises:
            DataError: If the metric would mean nothing.
        """

    @abstractmethod
    def __call__(
        self, outputs: Float[Tensor, "example *output"], clean: Float[Tensor, "example *output"], batch: Batch
    ) -> Float[Tensor, "example"]:
        """Returns the metric of every example.

        Args:
            outputs: With the ablation.
            clean: Without.
            batch: The examples.
        """
        ...


METRICS: Registry[type[Metric], NoFacts] = Registry("metric", NoFacts)
"""All metrics by name."""


@METRICS.register("kl", summary="KL divergence of the unablated from the ablated answer, mean over positions")
@dataclass(frozen=True)
class KL(Metric):
    """``KL(p || p_ablated)`` of the softmax over the last axis, in nats, mean over positions (Li and Janson 2024)."""

    minimised: ClassVar[bool] = True
    last: bool = False
    """Whether the last position alone counts."""

    def __call__(self, outputs: Tensor, clean: Tensor, batch: Batch) -> Float[Tensor, "example"]:
        """Returns the divergence of every example."""
        if outputs.shape[-1] == 1:
            raise DataError("'kl' compares the probabilities of classes, and the outputs have one; use another metric.")
        before, after = clean.log_softmax(-1), outputs.log_softmax(-1)
        share = before.exp()
        # A class that is impossible without the ablation adds nothing, whatever it is with it.
        return _over_positions((share * (before - after)).where(share != 0, 0.0).sum(-1), last=self.last)


@METRICS.register("accuracy", summary="share of the answers that are the target, mean over positions")
@dataclass(frozen=True)
class Accuracy(Metric):
    """Whether the largest output is the target's, mean over the positions that have a target: one from 0 on."""

    target: str = "1"
    """The entry of the examples that holds the targets: a number for a tuple, a key for a dict."""
    shift: int = 0
    """How many positions ahead the target of a position stands: 1 for the next token."""

    def __post_init__(self) -> None:
        """Checks the settings."""
        at_least(0, shift=self.shift)

    def __call__(self, outputs: Tensor, clean: Tensor, batch: Batch) -> Float[Tensor, "example"]:
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
        has_target = (target >= 0).reshape(len(target), -1)
        right = (answer == target).to(outputs.dtype).where(~unknown, nan).reshape(has_target.shape)
        return right.where(has_target, 0.0).sum(-1) / has_target.sum(-1)

    def check(self, outputs: Tensor, batch: Batch) -> None:
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
        without = (target[:, self.shift :] if self.shift else target).reshape(len(target), -1).amax(-1) < 0
        if bool(without.any()):
            raise DataError(
                f"the targets {self.target!r} of 'accuracy' are below 0, which is none, for {int(without.sum())} of "
                f"{len(target)} examples; measure it on examples that have some."
            )


@METRICS.register("logit_difference", summary="logit of the right minus that of the wrong answer, at the last position")
@dataclass(frozen=True)
class LogitDifference(Metric):
    """``logit[right] - logit[wrong]`` at the last position (Wang et al. 2022, arXiv:2211.00593)."""

    right: str = "1"
    """The entry of the examples that holds the right answers."""
    wrong: str = "2"
    """The entry of the examples that holds the wrong answers."""

    def __call__(self, outputs: Tensor, clean: Tensor, batch: Batch) -> Float[Tensor, "example"]:
        """Returns the difference of every example."""
        last = outputs.flatten(1, -2)[:, -1] if outputs.ndim > 2 else outputs
        right, wrong = (last.gather(-1, self._answers(batch, name)[:, None])[:, 0] for name in (self.right, self.wrong))
        return right - wrong

    def check(self, outputs: Tensor, batch: Batch) -> None:
        """Checks that the answers are classes."""
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

    def __call__(self, outputs: Tensor, clean: Tensor, batch: Batch) -> Float[Tensor, "example"]:
        """Returns what the function returns."""
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


def _over_positions(values: Float[Tensor, "example *position"], *, last: bool = False) -> Float[Tensor, "example"]:
    if values.ndim == 1:
        return values
    flat = values.flatten(1)
    return flat[:, -1] if last else flat.mean(-1)
