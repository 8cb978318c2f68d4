"""Estimates of the local learning coefficient: one, or all components of a model at several resolutions."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, overload

import torch
from torch import Tensor

from llc_lightning.components.loss import ModuleLoss, TaskLoss
from llc_lightning.llc.inputs import check_inputs, check_start, check_types, is_ladder, rungs
from llc_lightning.llc.lane_batch import LaneBatch
from llc_lightning.llc.record import LLCRecord
from llc_lightning.llc.settings import ChainSettings, Resolution, Restriction
from llc_lightning.llc.slopes import with_slopes
from llc_lightning.llc.tasks import Tasks, tasks_of_masks
from llc_lightning.runtime.batches import Batch, LossFn, Params, n_examples, plain, without_graph
from llc_lightning.runtime.errors import SettingError
from llc_lightning.sampling.centre import Centre, centre_at
from llc_lightning.sampling.kept import kept_graphs
from llc_lightning.sampling.observables.base import Observable, asked_for
from llc_lightning.sampling.slices import Layout, moved_entries


@overload
def estimate_llc(
    loss_fn: LossFn, params: Params, data: Batch, *, n_beta: float, gamma: float, sampler: str = ...,
    step_size: float | Literal["auto"] = ..., chains: int = ..., draws: int = ..., burn_in: int = ...,
    batch_size: int | None = ..., moved: Mapping[str, Tensor] | None = ..., seed: int = ..., preconditioner: str = ...,
    step_fraction: float | None = ..., replicate: int = ..., trivial_loss: float | None = ...,
    curvature_examples: int | Literal["auto"] = ..., estimator: str = ..., box: float | None = ...,
    watched_examples: int = ..., tasks: Mapping[str, Tensor] | None = ...,
    observe: Sequence[Observable | str] = ...,
) -> LLCRecord: ...  # fmt: skip
@overload
def estimate_llc(
    loss_fn: LossFn, params: Params, data: Batch, *, n_beta: Sequence[float], gamma: float, sampler: str = ...,
    step_size: float | Literal["auto"] = ..., chains: int = ..., draws: int = ..., burn_in: int = ...,
    batch_size: int | None = ..., moved: Mapping[str, Tensor] | None = ..., seed: int = ..., preconditioner: str = ...,
    step_fraction: float | None = ..., replicate: int = ..., trivial_loss: float | None = ...,
    curvature_examples: int | Literal["auto"] = ..., estimator: str = ..., box: float | None = ...,
    watched_examples: int = ..., tasks: Mapping[str, Tensor] | None = ...,
    observe: Sequence[Observable | str] = ...,
) -> list[LLCRecord]: ...  # fmt: skip
def estimate_llc(
    loss_fn: LossFn,
    params: Params,
    data: Batch,
    *,
    n_beta: float | Sequence[float],
    gamma: float,
    sampler: str = "lm",
    step_size: float | Literal["auto"] = "auto",
    chains: int = 8,
    draws: int = 500,
    burn_in: int = 200,
    batch_size: int | None = None,
    moved: Mapping[str, Tensor] | None = None,
    seed: int = 0,
    preconditioner: str = "none",
    step_fraction: float | None = None,
    replicate: int = 0,
    trivial_loss: float | None = None,
    curvature_examples: int | Literal["auto"] = "auto",
    estimator: str = "mean",
    box: float | None = None,
    watched_examples: int = 0,
    tasks: Mapping[str, Tensor] | None = None,
    observe: Sequence[Observable | str] = (),
) -> LLCRecord | list[LLCRecord]:
    """Returns the local learning coefficient of a loss at ``params``, or one for each ``n_beta`` of a ladder.

    ``n_beta E[L(w) - L(w*)]`` over ``p(w) ~ exp(-n_beta L(w) - gamma/2 |w - w*|^2)`` (Lau et al. 2023,
    arXiv:2308.12108; restricted to some weights: Wang et al. 2024, arXiv:2410.02984). Deviations: the loss of w* on the
    same minibatch is subtracted draw by draw, burn-in is never averaged in, and the status says when not to trust the
    value.

    Args:
        loss_fn: The loss per example as a function of parameters and batch.
        params: w*, by name; not changed.
        data: Examples, a tensor, tuple or dict with a leading example axis.
        n_beta: Inverse temperature times sample size; a sequence gives a list of records. No default: the value means
            nothing without it.
        gamma: Strength of the localisation.
        sampler: Name of a registered sampler.
        step_size: SGLD's ``eps``, or ``auto``.
        chains: Number of chains, each with its own noise and minibatches.
        draws: Kept draws per chain.
        burn_in: Steps before the first kept draw.
        batch_size: Examples per step, drawn with replacement; all of them where there are no more, or for None.
        moved: Masks by parameter name (absent: frozen); None moves everything: of a module, what it trains.
        seed: Keys all random streams.
        preconditioner: ``none`` or ``hutchinson``.
        step_fraction: What ``auto`` takes of the inverse largest curvature; None for the sampler's own.
        replicate: Another number gives a disjoint set of streams, for the same number of chains.
        trivial_loss: Loss of the trivial predictor, to judge whether the chains stayed local.
        curvature_examples: Examples that the Hessian is measured on, or ``auto``.
        estimator: Which of the estimators is the value: one that may be, such as ``mean``.
        box: The largest distance of any weight from w*; None for no limit.
        watched_examples: How many examples, drawn at random, have their losses recorded one by one, for the
            functional variance.
        tasks: Subsets of the examples by name, bool [example]; the records tell ``n_beta E[L_task(w) - L_task(w*)]`` of
            each, over the same draws.
        observe: What to look at along the chains, beside what the diagnostics do: observables, or names of registered
            ones. ``record.observed`` has what each saw, [chain, draw, ...].

    Raises:
        SettingError: If a setting is out of range, or ``moved``, ``tasks`` or ``observe`` do not fit.
        DataError: If the data is empty or its tensors disagree.

    Example:
        >>> import torch
        >>> def quadratic(params, batch):
        ...     return 0.5 * params["w"].square().sum() + 0.0 * batch
        >>> record = estimate_llc(quadratic, {"w": torch.zeros(4)}, torch.zeros(1), n_beta=1.0, gamma=1.0, draws=200)
        >>> 0.7 < record.value < 1.5 and record.status
        'ok'
    """
    settings = ChainSettings(
        sampler=sampler, step_size=step_size, step_fraction=step_fraction, preconditioner=preconditioner, chains=chains,
        draws=draws, burn_in=burn_in, batch_size=batch_size, curvature_examples=curvature_examples, estimator=estimator,
        box=box, watched_examples=watched_examples,
    )  # fmt: skip
    records = estimate_parts(
        loss_fn, params, data, [Restriction(moved)], [Resolution(rung, gamma) for rung in rungs(n_beta)],
        settings, seed=seed, replicate=replicate, trivial_loss=trivial_loss,
        tasks=tasks_of_masks(loss_fn, data, tasks) if tasks else None, observe=observe,
    )[0]  # fmt: skip
    return with_slopes(records) if is_ladder(n_beta) else records[0]


def estimate_parts(
    loss_fn: LossFn,
    params: Params,
    data: Batch,
    parts: Sequence[Restriction],
    resolutions: Sequence[Resolution],
    settings: ChainSettings,
    *,
    seed: int = 0,
    replicate: int = 0,
    trivial_loss: float | None = None,
    centre: Centre | None = None,
    tasks: Tasks | None = None,
    observe: Sequence[Observable | str] = (),
    start: Params | None = None,
    done: Callable[[int], object] | None = None,
) -> list[list[LLCRecord]]:
    """Returns the estimates of several parts at several resolutions: a list for each part, in the order of the latter.

    Parts of one layout (all neurons of a layer) run as lanes of one batch; each has the bits that it has alone.

    Args:
        loss_fn: The loss per example.
        params: w*.
        data: The examples.
        parts: What to move.
        resolutions: The ladder.
        settings: How to run the chains.
        seed: Keys all random streams.
        replicate: Another number gives a disjoint set of streams.
        trivial_loss: Loss of the trivial predictor.
        centre: What is known at w*, where the caller has it already.
        tasks: Losses to record beside the one that is sampled.
        observe: What to look at along the chains: observables, or names of registered ones.
        start: Where the chains start, while w* remains what they are pulled to and compared with; None for w*. The
            posterior's mode, where w* is no minimum: chains then need not find the way there.
        done: Called with the number of lanes after every step of their chains, for a progress bar; the total is
            ``len(parts) * len(resolutions) * (burn_in + draws)``.

    Raises:
        SettingError: If there is nothing to estimate, something is of a wrong type, or a mask does not fit.
    """
    if not parts or not resolutions:
        raise SettingError("there is nothing to estimate; give at least one part and one n_beta.")
    check_types(parts, resolutions, settings, tasks)
    observables = asked_for(observe, settings.draws)
    data = plain(data)
    settings = settings.on(n_examples(data))
    for part in parts:
        check_inputs(loss_fn, params, moved=part.moved, seed=seed, replicate=replicate, trivial_loss=trivial_loss)
    # The caller's grad mode must not reach the gradients; tensors made in inference mode cannot leave it.
    with torch.inference_mode(False), torch.enable_grad():
        params = without_graph(params) if centre is None else centre.params
        if start is not None:
            check_start(start, params)
            start = without_graph(start)
        everything = moved_by_default(loss_fn, params)
        lanes = [moved_entries(params, everything if part.moved is None else part.moved) for part in parts]
        full = sum(params[name].numel() for name in (params if everything is None else everything))
        names = {form.parameter for lane in lanes for form in lane.layout.forms}
        centre = centre or centre_at(loss_fn, params, data, names)
        records: list[list[LLCRecord]] = [[] for _ in parts]
        graphs = kept_graphs(loss_fn, params, data)
        for chosen in lane_batches([lane.layout for lane in lanes]):
            whole = [lanes[i].layout.dimension == full for i in chosen]
            lane_batch = LaneBatch(
                loss_fn, data, [lanes[i] for i in chosen], whole, centre, settings,
                seed=seed, replicate=replicate, trivial_loss=trivial_loss, tasks=tasks, observe=observables,
                graphs=graphs, start=start, done=done,
            )  # fmt: skip
            for at in resolutions:
                for i, record in zip(chosen, lane_batch.records(at), strict=True):
                    records[i].append(record)
        return records


def moved_by_default(loss_fn: LossFn, params: Params) -> dict[str, Tensor] | None:
    """Returns masks of what "everything" means: the parameters that a module trains; None for all there are.

    Of what a plain function is given, it is all that has a gradient: no whole numbers.
    """
    if isinstance(loss_fn, ModuleLoss | TaskLoss):
        own = loss_fn.module.named_parameters(remove_duplicate=False)
        names = {name for name, parameter in own if parameter.requires_grad}
    else:
        names = {name for name, tensor in params.items() if tensor.is_floating_point()}
        if len(names) == len(params):
            return None
    every = torch.ones((), dtype=torch.bool)
    return {name: every.to(tensor.device).expand_as(tensor) for name, tensor in params.items() if name in names}


def lane_batches(layouts: Sequence[Layout]) -> Iterator[list[int]]:
    """Yields the indices of lanes that run together: those that share a sliced layout; whole tensors run alone."""
    groups: dict[object, list[int]] = {}
    for i, layout in enumerate(layouts):
        groups.setdefault(layout if layout.sliced else i, []).append(i)
    for group in groups.values():
        width = layouts[group[0]].lanes_per_batch
        for start in range(0, len(group), width):
            yield group[start : start + width]
