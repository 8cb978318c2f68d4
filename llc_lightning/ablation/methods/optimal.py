"""Optimal ablation: the constant under which the network does best without the component."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Int
from torch import Tensor

from llc_lightning.ablation.engine.base import METHODS, Activations, checked_positions
from llc_lightning.ablation.engine.blocks import fold_of, fold_orders
from llc_lightning.ablation.engine.constants import UNDECIDED, Found, Search, Values
from llc_lightning.ablation.engine.effect import Effect, warm_key
from llc_lightning.ablation.engine.replacing import Fitted, Fitting, Replacing, Source
from llc_lightning.runtime.errors import SettingError
from llc_lightning.runtime.status import REASONS

_MOST = 2048
"""So many examples of a fold at most are fitted on."""
_SINGLES = 8
"""Sets of up to so many units also start from the constants that their units have alone."""
REASONS.register(
    "not-converged",
    summary="the search for the best constant ended before its end",
    sentence="the search for the best constant ran out of steps, or its two best descents ended apart, with more to "
    "gain than a hundredth of what it gained over the mean and half a standard error; give it more steps, as in "
    "optimal(steps=1000), or take the effect as an upper bound.",
    order=170,
)(None)


@METHODS.register(
    "optimal", summary="replaces the activation by the constant that hurts least", source="Li and Janson 2024, "
    "arXiv:2409.09951", also=("oa", "constant"), constant=True, needs_reference=True,
    needs_partner=False, whole=False, draws=1, revision=5,
)  # fmt: skip
@dataclass(frozen=True)
class Optimal(Fitted):
    """Replaces the activation by ``a* = argmin_a E[L(h <- a)]``, so that the effect counts what the component tells.

    Any other constant, and any activation of another example, also misleads the rest of the network: its effect is
    larger. L is the loss, or a metric that is the better the smaller it is (:attr:`Metric.minimised`), each with
    constants of its own; other metrics are measured under those of the loss, and ``fitted_to`` says so.

    The effect is cross-fitted: the examples are parted at random into two folds, and each is measured under the
    constants that are best on the other (2048 examples of it at most). So all examples count, as with the other
    methods, and the effect is free of the bias of a minimum told by the examples that chose it. Where a
    constant is not better than zero or the mean by more than noise would be, it is the better of these. How they are
    searched for is told by :class:`~llc_lightning.ablation.engine.constants.Search`. A warm start is a search of its
    own and counts where it gains a hundredth more: ``start`` is ``warm`` there, and all else is as without it.

    The details of an effect, each the larger of the folds: ``left``, by how much the loss would still fall, or
    by how much the second best descent ended above the best where these are minima apart (beyond a hundredth of
    ``gain`` and half a standard error the status is ``not-converged``); ``steps``; ``drift``, the distance
    of the constant from the mean over the size of the mean; ``drift_sd``, the same in standard deviations of the
    activation. ``gain``, the smaller of the folds, is how much better than the mean it is where it was fitted;
    ``start`` tells where the search began in each, ``fit_examples`` on how many.
    """

    positions: str = "own"
    """``own``: a constant for each position (pixel); ``pooled``: one for all of them, which is an edit of the
    weights."""
    losses: str = "train"
    """``train``: the constant that is best for the training loss, measured on all tasks; ``each``: another constant
    for each task, best for it."""
    steps: int = 300
    """Steps of a descent, at most."""
    rate: float = 0.3
    """The first step that is tried, in standard deviations of the activation; later ones follow the curvature."""
    keep: str = ""
    """Positions that keep their activation, such as ``0`` for the first token or ``0+-1`` for the first and last."""

    def __post_init__(self) -> None:
        """Checks the settings."""
        super().__post_init__()
        checked_positions(self.positions)
        if self.losses not in ("train", "each"):
            raise SettingError(f"losses is {self.losses!r}; use 'train' or 'each'.")
        if self.steps < 0 or not (self.rate > 0 and math.isfinite(self.rate)):
            raise SettingError(
                f"steps is {self.steps} and rate {self.rate}; give whole steps from 0 and a positive rate."
            )
        try:
            _ = self.kept
        except ValueError:
            raise SettingError(f"keep is {self.keep!r}; give positions such as '0', or several as in '0+-1'.") from None

    @property
    def kept(self) -> tuple[int, ...]:
        """The positions that keep their activation."""
        return tuple(int(one) for one in self.keep.split("+")) if self.keep else ()

    def fit(self, fitting: Fitting) -> list[Source]:
        """Returns the constants of all components, for all losses or for some, and how examples take them."""
        group = replace(fitting.group, kept=self.kept)
        examples = group.examples
        names, orders = examples.names, fold_orders(examples.blocks.n, seed=group.seed)
        metrics = {len(names) - len(examples.metrics) + j: one for j, one in enumerate(examples.metrics)}
        columns = [0, *(range(1, len(names) - len(metrics)) if self.losses == "each" else ())]
        columns += [column for column, metric in metrics.items() if metric.minimised]
        folds = [_Fold(self, group, fitting.seen, order[:_MOST], number) for number, order in enumerate(orders)]
        sources: list[Source] = []
        for column in columns:
            losses = (column,) if column else tuple(set(range(len(names))) - set(columns) | {0})
            found = [fold.best(column) for fold in folds]
            constants = tuple(torch.cat(one, dim=1) for one in zip(*(each.values for each in found), strict=True))
            sources.append(
                Source(
                    self,
                    constants=constants,
                    losses=losses,
                    details=_details(found, names[column], [len(order[:_MOST]) for order in orders]),
                    folds=fold_of(examples.blocks.n, seed=group.seed),
                    kept=self.kept,
                )
            )
        return sources

    def reasons(self, effect: Effect, seen: Sequence[Activations]) -> Sequence[str]:
        """Returns that the search did not come to its end, where it left something of note."""
        left, gain = float(effect.details["left"]), float(effect.details["gain"])
        error = effect.stderr if math.isfinite(effect.stderr) else 0.0
        return ["not-converged"] if left > max(UNDECIDED * gain, error / 2) else []


class _Fold:
    """The searches on one fold's examples."""

    def __init__(
        self,
        method: Optimal,
        group: Replacing,
        seen: Sequence[Activations],
        rows: Int[Tensor, "example"],
        number: int,
    ) -> None:
        self._method, self._group, self._rows, self._number = method, group, rows, number
        self._means = [one.mean() for one in seen]
        self._seen = [one.filled().of(rows) for one in seen]
        self._train: Values | None = None

    def best(self, column: int) -> Found:
        """Returns the best constants for a loss; those for the training loss are among the starts of the others."""
        search = self._search(self._group, self._seen, self._means, column)
        known: dict[str, Values] = {}
        if column and self._train is not None:
            known["train"] = self._train
        alone = self._alone(column)
        if alone is not None:
            known["alone"] = alone
        pooled = self._method.positions == "pooled"
        found, warm = search.best(known, pooled=pooled), self._warm(search, column)
        if warm:
            found = found.or_better(search.best(warm, pooled=pooled, alone=True), by=UNDECIDED)
        if column == 0:
            self._train = found.values
        return found

    def _search(self, group: Replacing, seen: Sequence[Activations], mean: Sequence[Tensor], column: int) -> Search:
        steps, rate = self._method.steps, self._method.rate
        return Search(group, seen, self._rows, column, mean=mean, steps=steps, rate=rate)

    def _warm(self, search: Search, column: int) -> dict[str, Values]:
        """Returns the constants of an earlier fit, where there are any, and the mean where there are none."""
        loss = self._group.examples.names[column]
        keys = [warm_key(one.address, self._method.name, loss) for one in self._group.components]
        warm = [self._group.warm.get(key) for key in keys]
        if all(constants is None for constants in warm):
            return {}
        return {
            "warm": tuple(
                torch.stack(
                    [mean[i] if one is None else one[at][self._number][None].to(mean) for i, one in enumerate(warm)]
                )
                for at, mean in enumerate(search.means)
            )
        }

    def _alone(self, column: int) -> Values | None:
        """Returns the constants that the parts of a component have alone; None for components without small parts."""
        places, pooled = self._group.places, self._method.positions == "pooled"
        if len(places) != 1:
            parts = [
                self._search(self._group.alone(at), [one], [self._means[at]], column)
                for at, one in enumerate(self._seen)
            ]
            return tuple(value for part in parts for value in part.best({}, pooled=pooled).values)
        units = places[0].units
        if units is None or not 1 < units.shape[1] <= _SINGLES:
            return None
        search = self._search(self._group.singles(), self._seen, self._means, column)
        (singles,) = search.best({}, pooled=pooled).values
        axis = singles.ndim + places[0].unit_axis
        by_component = singles.reshape(*units.shape, *singles.shape[1:])
        return (torch.cat([by_component[:, unit] for unit in range(units.shape[1])], dim=axis),)


def _details(found: Sequence[Found], loss: str, sizes: Sequence[int]) -> tuple[Mapping[str, float | str], ...]:
    """Returns for every component what is worth knowing of its constants in all folds."""
    return tuple(
        {
            "start": ", ".join(dict.fromkeys(one.starts[i] for one in found)),
            "fitted_to": loss,
            "fit_examples": min(sizes),
            "left": min(max(one.left[i] for one in found), torch.finfo(torch.float64).max),
            "gain": min(one.gains[i] for one in found),
            "steps": max(one.steps[i] for one in found),
            "drift": max(one.drift[i][0] for one in found),
            "drift_sd": max(one.drift[i][1] for one in found),
        }
        for i in range(len(found[0].starts))
    )
