"""The chains and re-optimisations behind the LLC under ablation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from llc_lightning.ablation.engine.base import Method
from llc_lightning.components.component import Component
from llc_lightning.llc.draws import error_of
from llc_lightning.llc.estimator import estimate_parts, moved_by_default
from llc_lightning.llc.facts import ChainLosses
from llc_lightning.llc.record import LLCRecord
from llc_lightning.llc.recover import Recovery, recover
from llc_lightning.llc.settings import ChainSettings, Resolution, Restriction
from llc_lightning.measure.ablated_llc.losses import FreeConstant, Held, ablated
from llc_lightning.measure.ablated_llc.plan import AblatedLLCPlan
from llc_lightning.measure.snapshot import Snapshot
from llc_lightning.runtime.batches import Batch, LossFn, Params
from llc_lightning.runtime.progress import Advance
from llc_lightning.runtime.status import is_failed, join, split

_LEFT = 0.1
"""What a re-optimisation may still gain, in errors of the value that it serves."""

_SAME = 0.1
"""Nats by which ``n_beta`` times the loss may differ at least that one minimum is reached with."""

_ERRORS = 2
"""How many of its errors a closure may be off."""


@dataclass(frozen=True)
class Told:
    """One value with what belongs to it."""

    quantity: str
    value: float
    stderr: float
    status: str
    record: LLCRecord | None = None
    """The estimate that it is, without draws."""
    details: tuple[tuple[str, float | int], ...] = ()


@dataclass(frozen=True)
class Control:
    """The whole model, re-optimised as ablated ones are: what every difference is taken against."""

    recovery: Recovery
    pulled: Recovery
    record: LLCRecord
    apart: float
    """By how much ``n_beta`` times its loss differs where the re-optimisation began at slightly other weights, beyond
    rounding."""

    @property
    def values(self) -> list[Told]:
        """What is told of it."""
        return [_llc("llc_ablated", self.record, self.doubts), *_gaps(self.recovery, self.pulled, self.record)]

    @property
    def doubts(self) -> set[str]:
        """The reasons against its re-optimisation."""
        several = {"several-minima"} if self.apart > max(_SAME, _allowed(self.record)) else set[str]()
        return _unfinished(self.recovery, self.record) | several


@dataclass(frozen=True)
class Laboratory:
    """Runs what a plan asks for at one resolution of a snapshot."""

    plan: AblatedLLCPlan
    snapshot: Snapshot
    data: Batch
    at: Resolution
    replicate: int
    advance: Advance
    """Told of every step of chains."""

    def control(self) -> Control:
        """Returns the whole model's own."""
        loss = self.snapshot.loss
        free, pulled = self._recovered(loss, self.data)
        nudged = _nudged(self.snapshot.params, self._moved(self.snapshot.params), self.snapshot.seed)
        again = self._recovery(loss, nudged, self.data, gamma=0.0)
        record = self._chains(loss, free.params, self.data, self.plan.settings)
        return Control(free, pulled, record, self.at.n_beta * _apart(free, again))

    def under(self, component: Component, method: Method, control: Control) -> list[Told]:
        """Returns what is measured of the model without a component."""
        snapshot, at = self.snapshot, self.at
        loss, rows = ablated(
            snapshot.loss, snapshot.params, self.data, component, method, seed=snapshot.seed, mask=self.plan.mask
        )
        free, pulled = self._recovered(loss, rows)
        record = self._paired(loss, free.params, rows, control)
        left = _unfinished(free, record) | control.doubts
        shift = _difference("llc_shift", record, control.record, left)
        told = [_llc("llc_ablated", record, _unfinished(free, record)), shift, *_gaps(free, pulled, record)]
        if self.plan.closure:
            # They start at the posterior's mode, since the way there from trained weights would count as excess.
            start = self._paired(loss, snapshot.params, rows, control, start=pulled.params)
            # That the trained weights are no minimum of the ablated loss is what the gap makes up for.
            about = replace(start, status=join({reason.name for reason in split(start.status)} - {"not-a-minimum"}))
            unfinished = _unfinished(free, record) | _unfinished(pulled, record)
            closing = _difference("recovery_closure", about, record, unfinished)
            unrecovered = _llc("llc_unrecovered", about, _unfinished(pulled, start))
            told += [unrecovered, _closed(closing, at.n_beta * pulled.gap)]
        return told + (self.jointly(loss, rows, control) if self.plan.joint else [])

    def jointly(self, loss: Held, rows: Batch, control: Control) -> list[Told]:
        """Returns what is measured of an ablated model whose constant moves with the weights."""
        free, params = FreeConstant.of(loss, self.snapshot.params)
        recovery = self._recovery(free, params, rows, gamma=0.0)
        record = self._paired(free, recovery.params, rows, control)
        left = _unfinished(recovery, record)
        shift = _difference("joint_shift", record, control.record, left | control.doubts)
        return [_llc("llc_joint", record, left), shift, _gap("recovery_gap_joint", recovery, record)]

    def complement(self, component: Component, control: Control) -> list[Told]:
        """Returns what is measured of the whole model while a component's weights are held, around the same minimum."""
        centre = control.recovery.params
        record = self._paired(Held.of(self.snapshot.loss, centre, component), centre, self.data, control)
        doubts = control.doubts
        return [_llc("llc_complement", record, doubts), _difference("complement_shift", record, control.record, doubts)]

    def _recovered(self, loss: LossFn, data: Batch) -> tuple[Recovery, Recovery]:
        """Returns the minimum of the loss, and that with the pull of the localisation."""
        free, pulled = (self._recovery(loss, self.snapshot.params, data, gamma=gamma) for gamma in (0.0, self.at.gamma))
        return free, pulled

    def _recovery(self, loss: LossFn, params: Params, data: Batch, *, gamma: float) -> Recovery:
        n_beta, budget = self.at.n_beta, self.plan.budget
        return recover(loss, params, data, n_beta=n_beta, gamma=gamma, moved=self._moved(params), budget=budget)

    def _paired(
        self, loss: LossFn, params: Params, data: Batch, control: Control, *, start: Params | None = None
    ) -> LLCRecord:
        """Returns the estimate by chains with the step of the control, where it is small enough for them too."""
        settings = self.plan.settings
        if settings.step_size != "auto" or not control.record.step_size > 0:
            return self._chains(loss, params, data, settings, start=start)
        paired = replace(settings, step_size=control.record.step_size)
        record = self._chains(loss, params, data, paired, start=start)
        too_large = record.healthy_chains < settings.chains or "unstable-step" in record.status.split("+")
        return self._chains(loss, params, data, settings, start=start) if too_large else record

    def _chains(
        self, loss: LossFn, params: Params, data: Batch, settings: ChainSettings, *, start: Params | None = None
    ) -> LLCRecord:
        whole, own = [Restriction(self._moved(params))], [self.at]
        seed, replicate = self.snapshot.seed, self.replicate
        return estimate_parts(
            loss, params, data, whole, own, settings,
            seed=seed, replicate=replicate, start=start, done=lambda n: self.advance(n),
        )[0][0]  # fmt: skip

    def _moved(self, params: Params) -> dict[str, Tensor] | None:
        """Returns masks of what is trained, and of constants that stand among the weights."""
        trained = moved_by_default(self.snapshot.loss, self.snapshot.params)
        more = {
            name: torch.ones_like(value, dtype=torch.bool)
            for name, value in params.items()
            if name not in self.snapshot.params
        }
        return trained if trained is None else trained | more


def _llc(quantity: str, record: LLCRecord, more: Iterable[str]) -> Told:
    status = join([*record.status.split("+"), *more])
    light = replace(record, status=status, chains=ChainLosses.unknown(0), observed={})
    return Told(quantity, record.value, record.stderr, status, light)


def _gaps(free: Recovery, pulled: Recovery, record: LLCRecord) -> list[Told]:
    return [_gap("recovery_gap", pulled, record), _gap("recovery_gap_plain", free, record)]


def _gap(quantity: str, one: Recovery, record: LLCRecord) -> Told:
    status = join(_unfinished(one, record)) if math.isfinite(one.gap) else "nan-loss"
    details = (("left", one.left), ("iterations", one.iterations), ("n_beta_gap", record.n_beta * one.gap))
    return Told(quantity, one.gap, one.gap_stderr, status, details=details)


def _closed(difference: Told, made_good: float) -> Told:
    """Returns by how much A1 misses A3 - n_beta R, given A1 - A3."""
    value = difference.value + made_good
    missed = {"not-closed"} if abs(value) > _ERRORS * difference.stderr else set[str]()
    return replace(difference, value=value, status=join({*difference.status.split("+"), *missed}))


def _unfinished(recovery: Recovery, record: LLCRecord) -> set[str]:
    """Returns the reason against a re-optimisation that stopped while it still gained."""
    return set() if abs(recovery.left) <= _allowed(record) else {"not-recovered"}


def _allowed(record: LLCRecord) -> float:
    """Returns by how much ``n_beta`` times the loss of a minimum may be off, in nats."""
    return _LEFT * record.stderr if math.isfinite(record.stderr) else 0.0


def _nudged(params: Params, moved: Mapping[str, Tensor] | None, seed: int) -> Params:
    """Returns weights of which those that move differ in their last digits, up or down at random."""
    random = torch.Generator().manual_seed(seed)
    nudged = dict(params)
    for name, value in params.items():
        if value.is_floating_point() and (moved is None or name in moved):
            signs = 2 * torch.randint(2, value.shape, generator=random).to(value) - 1
            nudged[name] = value * (1 + torch.finfo(value.dtype).eps * signs)
    return nudged


def _apart(one: Recovery, other: Recovery) -> float:
    """Returns by how much the mean losses of two minima differ, beyond the last digit that numbers have.

    Infinite where the other alone is no number: by the last digits it ended nowhere.
    """
    losses = one.losses.double()
    if losses.isfinite().all() and not other.losses.isfinite().all():
        return math.inf
    numbers = (one.losses, *one.params.values())
    digit = max(torch.finfo(some.dtype).eps for some in numbers if some.is_floating_point())
    return max((other.losses.double() - losses).mean().abs().item() - digit * losses.abs().mean().item(), 0.0)


def _difference(quantity: str, record: LLCRecord, other: LLCRecord, more: Iterable[str]) -> Told:
    """Returns the difference of two estimates by the same random numbers, its error from the paired draws."""
    status = join({reason.name for one in (record, other) for reason in split(one.status)} | set(more))
    if is_failed(status):
        return Told(quantity, math.nan, math.nan, status)
    kept = slice(record.settings.burn_in, None)
    alive = [
        i for i, pair in enumerate(zip(record.per_chain, other.per_chain, strict=True)) if all(map(math.isfinite, pair))
    ]
    draws = record.n_beta * (record.excess - other.excess)[alive, kept].double().cpu().numpy()
    apart = math.hypot(record.stderr, other.stderr)
    value = float(draws.mean()) if len(alive) else math.nan
    return Told(quantity, value, error_of(np.ascontiguousarray(draws)), status, details=(("stderr_unpaired", apart),))
