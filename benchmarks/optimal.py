"""Whether anything beats the constants of ``optimal``: ``python -m benchmarks optimal [NET ...] [STEPS]``.

Three restarts each of a long Adam and of L-BFGS search for the constant of every component on the same examples, one
component at a time, with an objective of their own. What is found is compared example by example where it was fitted,
and on the examples that it is scored on; zero, mean and resample are as well. On the loss, and on ``metric:kl``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby

import torch
from scipy import stats
from torch import Tensor, nn

from benchmarks.optimal_nets import NETS, Net, net
from llc_lightning.ablation.engine.blocks import fold_of, fold_orders
from llc_lightning.ablation.engine.effect import Effect
from llc_lightning.ablation.engine.sweep import sweep
from llc_lightning.components.component import Component
from llc_lightning.components.loss import loss_fn, snapshot_params
from llc_lightning.runtime.batches import take

PLAIN = ("zero", "mean", "resample")
STEPS = 1000
_RESTARTS = 3
_SHARE, _ERRORS = 0.01, 2.0
"""What another search may gain: the larger of a share of the gap to the mean and paired standard errors."""


@dataclass(frozen=True)
class Verdict:
    """On one component: by how much others are better than ``optimal``, and by how much they may be."""

    effect: Effect
    fitted: tuple[float, float]
    """By another search, on the examples of the fit, in the fold where it is most beyond what it may."""
    scored: tuple[float, float]
    """By that search on the examples that are scored."""
    plain: dict[str, float]
    """By plain methods, on all examples: in paired standard errors."""
    plain_fitted: float
    """By the best plain method, on the examples of the fit; above 0 it is better."""


class Objective:
    """The losses of examples with one component replaced by a constant, by a forward hook.

    Args:
        given: The net.
        point: The hook point.
        kl: Whether the loss is the divergence from the unablated answer, mean over positions.
    """

    def __init__(self, given: Net, point: str, *, kl: bool) -> None:
        self._module, self._point, self._kl = given.module, point, kl

    def __call__(self, rows: Tensor, values: Tensor, where: Tensor, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Returns the losses of some rows; values [row or 1, *unit] replace the activation at some of its entries."""
        some = take(batch, rows)

        def replaced(_module: nn.Module, _inputs: object, activation: Tensor) -> Tensor:
            return torch.where(where, values, activation)

        handle = self._module.get_submodule(self._point).register_forward_hook(replaced)
        try:
            ablated = self._module.logits(some) if self._kl else self._module.per_example_loss(some)
        finally:
            handle.remove()
        if not self._kl:
            return ablated
        before, after = self._module.logits(some).log_softmax(-1), ablated.log_softmax(-1)
        divergence = (before.exp() * (before - after)).sum(-1)
        return divergence.flatten(1).mean(1) if divergence.ndim > 1 else divergence

    def means(self, rows: Tensor, values: Tensor, where: Tensor, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Returns the mean losses of lanes, each with values [lane, *unit] and entries of its own."""
        alone = partial(self._mean, rows, batch)
        return torch.vmap(alone)(values, where)

    def _mean(self, rows: Tensor, batch: tuple[Tensor, Tensor], values: Tensor, where: Tensor) -> Tensor:
        return self(rows, values[None], where, batch).mean()


Mean = Callable[[Tensor, Tensor], Tensor]
"""Of values [lane, *unit] and where they go: the mean losses of the lanes."""


def adam(loss: Mean, start: Tensor, scale: Tensor, where: Tensor, *, steps: int) -> tuple[Tensor, Tensor]:
    """Returns the best values that Adam comes to, and their losses; the rate falls along half a cosine."""
    moved = torch.zeros_like(start).requires_grad_(True)
    optimizer = torch.optim.Adam([moved], 0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    best, least = start.clone(), torch.full((len(start),), torch.inf)
    for _ in range(steps):
        optimizer.zero_grad()
        losses = loss(start + scale * moved, where)
        losses.sum().backward()
        lower = losses.detach() < least
        least = torch.where(lower, losses.detach(), least)
        best[lower] = (start + scale * moved).detach()[lower]
        optimizer.step()
        schedule.step()
    return best, least


def lbfgs(loss: Mean, start: Tensor, scale: Tensor, where: Tensor, *, steps: int) -> tuple[Tensor, Tensor]:
    """Returns the values that L-BFGS with a strong Wolfe line search comes to, lane by lane, and their losses."""
    found: list[Tensor] = []
    for lane in range(len(start)):
        moved = torch.zeros_like(start[lane : lane + 1]).requires_grad_(True)
        optimizer = torch.optim.LBFGS([moved], max_iter=steps, line_search_fn="strong_wolfe", tolerance_change=1e-12)

        def closure(lane: int = lane, moved: Tensor = moved, zero: Callable[[], None] = optimizer.zero_grad) -> Tensor:
            zero()
            value = loss(start[lane : lane + 1] + scale * moved, where[lane : lane + 1]).sum()
            value.backward()
            return value

        optimizer.step(closure)
        found.append((start[lane : lane + 1] + scale * moved).detach())
    values = torch.cat(found)
    with torch.no_grad():
        return values, loss(values, where).nan_to_num(torch.inf)


def verdicts(given: Net, *, kl: bool, steps: int) -> Iterator[Verdict]:
    """Yields what others find beside ``optimal`` on every component."""
    metrics = ["kl"] if kl else []
    found = sweep(
        loss_fn(given.module), snapshot_params(given.module), given.batch, given.components, [*PLAIN, "optimal"],
        seed=0, metrics=metrics, per_example=True,
    )  # fmt: skip
    loss = "metric:kl" if kl else "train"
    effects = {(one.component, one.method): one for one in found if one.loss == loss}
    for point, parts in groupby(given.components, key=lambda part: part.point):
        yield from _at_point(given, point, list(parts), effects, kl=kl, steps=steps)


def _at_point(
    given: Net, point: str, parts: list[Component], effects: dict[tuple[str, str], Effect], *, kl: bool, steps: int
) -> Iterator[Verdict]:
    objective = Objective(given, point, kl=kl)
    n = len(given.batch[0])
    whole = loss_fn(given.module).activations(snapshot_params(given.module), given.batch, [point])[point].detach()
    where = torch.stack([_entries(part, whole[0]) for part in parts])
    folds: list[list[tuple[Tensor, ...]]] = []
    for fold, fit in enumerate(fold_orders(n, seed=0)):
        others = _searched(objective, whole[fit], fit, where, given.batch, steps)
        score = (fold_of(n, seed=0) == fold).nonzero()[:, 0]
        folds.append(
            [
                _beside(
                    objective, given, whole, fit, score, where[i], _constant(effects, part, fold, whole[0]), others[i]
                )
                for i, part in enumerate(parts)
            ]
        )
    for i, part in enumerate(parts):
        yield _judged(part, effects, [fold[i] for fold in folds], fold_orders(n, seed=0))


def _entries(part: Component, one: Tensor) -> Tensor:
    """Returns which entries of one activation are the component's."""
    where = torch.zeros_like(one, dtype=torch.bool)
    units = torch.arange(one.shape[part.unit_axis]) if part.units is None else torch.tensor(part.units)
    return where.index_fill(one.ndim + part.unit_axis, units, value=True)


def _constant(effects: dict[tuple[str, str], Effect], part: Component, fold: int, one: Tensor) -> Tensor:
    """Returns the constant of ``optimal`` with the shape of the activation."""
    constant, axis = effects[part.address, "optimal"].constants[0][fold], one.ndim + part.unit_axis
    if constant.shape == one.shape:
        return constant
    return torch.zeros_like(one).index_copy(axis, torch.tensor(part.units), constant)


def _searched(
    objective: Objective, activation: Tensor, rows: Tensor, where: Tensor, batch: tuple[Tensor, Tensor], steps: int
) -> Tensor:
    """Returns for every component the best of all restarts of both searches."""
    mean, spread = activation.mean(0), activation.std(0) + 0.1 * activation.square().mean().sqrt()
    stream = torch.Generator().manual_seed(0)
    away = torch.randn(_RESTARTS, *mean.shape, generator=stream)
    away[0] = 0  # the first begins at the mean
    starts = (mean + spread * away).repeat_interleave(len(where), 0)
    lanes = where.repeat(_RESTARTS, *(1,) * mean.ndim)

    def loss(values: Tensor, entries: Tensor) -> Tensor:
        return objective.means(rows, values, entries, batch)

    ends = [search(loss, starts, spread, lanes, steps=steps) for search in (adam, lbfgs)]
    values, losses = (torch.cat(each).unflatten(0, (-1, len(where))) for each in zip(*ends, strict=True))
    return values[losses.argmin(0), torch.arange(len(where))]


@torch.no_grad()
def _beside(
    objective: Objective,
    given: Net,
    whole: Tensor,
    fit: Tensor,
    score: Tensor,
    where: Tensor,
    mine: Tensor,
    other: Tensor,
) -> tuple[Tensor, ...]:
    """Returns losses: where it was fitted of mine, the other, the mean and zero, and on scored examples of the two."""
    values = [mine, other, whole.double().mean(0).to(mine), torch.zeros_like(mine)]
    fitted = [objective(fit, one[None], where, given.batch).double() for one in values]
    return (*fitted, *(objective(score, one[None], where, given.batch).double() for one in values[:2]))


def _judged(
    part: Component, effects: dict[tuple[str, str], Effect], folds: Sequence[tuple[Tensor, ...]], fits: Sequence[Tensor]
) -> Verdict:
    effect = effects[part.address, "optimal"]
    assert effect.per_example is not None
    fitted: list[tuple[float, float]] = []
    plain_fitted: list[float] = []
    for (mine, other, mean, zero, _, _), fit in zip(folds, fits, strict=True):
        gap = float((mean - mine).mean())
        fitted.append(_excess(mine - other, gap))
        clean = effects[part.address, "zero"].per_example
        resample = effects[part.address, "resample"].per_example
        assert clean is not None
        assert resample is not None
        # The loss under donors, by its difference to that under zero.
        donors = (resample - clean)[fit].double().mean() + zero.mean()
        plain_fitted += [float(mine.mean() - one) for one in (mean.mean(), zero.mean(), donors)]
    gap = sum(float((mean - mine).sum()) for mine, _, mean, *_ in folds) / effect.n
    scored = _excess(torch.cat([mine - other for *_, mine, other in folds]), gap)
    plain: dict[str, float] = {}
    for method in PLAIN:
        values = effects[part.address, method].per_example
        assert values is not None
        plain[method] = _in_errors((effect.per_example - values).double())
    return Verdict(effect, max(fitted, key=lambda one: one[0] - one[1]), scored, plain, max(plain_fitted))


def _excess(difference: Tensor, gap: float) -> tuple[float, float]:
    """Returns a mean difference, and what it may be."""
    return float(difference.mean()), max(_SHARE * abs(gap), _ERRORS * float(difference.std() / len(difference) ** 0.5))


def _in_errors(difference: Tensor) -> float:
    error = float(difference.std() / len(difference) ** 0.5)
    return float(difference.mean()) / error if error else 0.0


def beyond(sizes: Sequence[float], *, errors: float = _ERRORS) -> list[bool]:
    """Says of which differences in standard errors plain methods are better, by more than some errors would be alone.

    One-sided, over all together by the step-down of Holm (1979, Scandinavian Journal of Statistics 6).
    """
    level, tests = float(stats.norm.sf(errors)), sorted(range(len(sizes)), key=lambda i: -sizes[i])
    found = [False] * len(sizes)
    for rank, i in enumerate(tests):
        if float(stats.norm.sf(sizes[i])) * (len(sizes) - rank) > level:
            break
        found[i] = True
    return found


def main(arguments: list[str]) -> int:
    """Prints the tables of the nets that are named, or of all, and what is beyond its limit."""
    steps = next((int(one) for one in arguments if one.isdigit()), STEPS)
    names = [one for one in arguments if one in NETS] or list(NETS)
    for kl in (False, True):
        told: list[Verdict] = []
        print(
            f"\n{'metric:kl' if kl else 'loss'}: how much better than optimal others are. Other searches in shares of"
        )
        print("what they may be (1 is the limit), plain methods in paired errors where scored, in nats on the fit")
        print(f"{'':34} {'effect':>9} {'search: fit':>11} {'scored':>7} {'plain: scored':>13} {'fit':>9}")
        for name in names:
            given = net(name)
            if kl and not hasattr(given.module, "logits"):
                continue
            for one in verdicts(given, kl=kl, steps=steps):
                told.append(one)
                print(_line(name, one), flush=True)
        _summarise(told)
    return 0


def _line(name: str, one: Verdict) -> str:
    fitted, scored = (excess / limit if limit else excess for excess, limit in (one.fitted, one.scored))
    effect = one.effect
    return (
        f"{f'{name} {effect.component}'[-34:]:34} {effect.value:9.2e} {fitted:11.2f} {scored:7.2f} "
        f"{max(one.plain.values()):13.2f} {one.plain_fitted:9.1e} {effect.status} from {effect.details['start']}"
    )


def _summarise(told: Sequence[Verdict]) -> None:
    fitted, scored = (
        [one for one in told if excess(one)[0] > excess(one)[1]] for excess in (lambda v: v.fitted, lambda v: v.scored)
    )
    sizes = [size for one in told for size in one.plain.values()]
    print(
        f"{len(told)} components: another search is better on the fit of {len(fitted)}, on scored examples of "
        f"{len(scored)}; a plain method on scored examples of {sum(beyond(sizes))} (Holm), on the fit of "
        f"{sum(one.plain_fitted > 1e-6 for one in told)}"
    )
