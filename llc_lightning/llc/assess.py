"""From the chains of one lane to its record: evidence, estimates, the reasons against them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from llc_lightning.llc.diagnostics.base import Evidence, reasons_against
from llc_lightning.llc.draws import Draws, Mixing, error_of, mixing_of
from llc_lightning.llc.estimators import ESTIMATORS, Estimate, KeptDraws, stein_gap
from llc_lightning.llc.facts import Bias, ChainLosses, Geometry, Motion, Run
from llc_lightning.llc.record import LLCRecord
from llc_lightning.llc.settings import ChainSettings, Resolution
from llc_lightning.runtime.status import is_failed, join
from llc_lightning.sampling.centre import Centre, norm
from llc_lightning.sampling.chains import Chains
from llc_lightning.sampling.observables.base import apart
from llc_lightning.sampling.slices import Moved
from llc_lightning.sampling.step_size import exploded


@dataclass(frozen=True)
class Assessor:
    """Makes the records of one lane."""

    centre: Centre
    lane: Moved
    settings: ChainSettings
    seed: int
    replicate: int
    whole: bool
    trivial_loss: float | None
    tasks: tuple[str, ...]
    observe: tuple[str, ...]
    """Names of what the caller asked to see."""

    def record(
        self,
        at: Resolution,
        chains: Chains,
        *,
        bias: Bias,
        cold: Estimate,
        curvature: float,
        expected_distance: float,
        step_size: float,
        step_times_curvature: float,
        vmapped: bool,
        elsewhere: bool = False,
    ) -> LLCRecord:
        """Returns the record of the lane's chains, whose lane axis is 1.

        Args:
            at: The resolution.
            chains: What they left behind.
            bias: What is known of the value's bias.
            cold: What half the virial is predicted to lack.
            curvature: The largest absolute eigenvalue of the Hessian at w*.
            expected_distance: In the quadratic approximation at w*.
            step_size: That of the chains.
            step_times_curvature: The step size times the curvature where the chains end; NaN where it cannot matter.
            vmapped: Whether the loss ran for all chains at once.
            elsewhere: Whether the chains started elsewhere than at w*.
        """
        healthy = ~exploded(chains, torch.tensor([at.n_beta]), self.lane.layout.dimension)[0]
        observed = {name: seen[0, healthy] for name, seen in chains.observed.items()}
        kept = replace(self._kept(at, chains, observed, healthy), cold=cold)
        kept = kept if elsewhere else replace(kept, before=self._before(at, chains, healthy))
        some, moved = bool(healthy.any()), _moved(chains.observed["squared_distance"][0], elsewhere=elsewhere)
        evidence = Evidence(
            at=at,
            run=self._run(step_size, vmapped),
            geometry=self._geometry(curvature, expected_distance),
            bias=bias,
            mixing=mixing_of(kept.scaled) if some and moved else Mixing.unknown(),
            motion=self._motion(at, chains, observed, kept, healthy),
            losses=self.centre.losses,
            whole=self.whole,
            trivial_loss=self.trivial_loss,
            moved=moved,
            begun=at.n_beta * _started(chains, healthy) if some and elsewhere else 0.0,
            step_times_curvature=step_times_curvature,
            kept=kept,
            observed=observed,
            estimates=_estimates(kept) if some else {},
            tasks=self._task_estimates(at, observed) if some else {},
        )
        for_the_caller = {name: chains.observed[name][0] for name in self.observe}
        return replace(_record(evidence, ChainLosses(chains.excess[0], chains.baseline)), observed=for_the_caller)

    def failed(self, at: Resolution) -> LLCRecord:
        """Returns the record of an estimate whose loss at w* is not finite."""
        evidence = Evidence(
            at=at,
            run=Run.unknown(self.settings, seed=self.seed, replicate=self.replicate),
            geometry=self._known_geometry,
            losses=self.centre.losses,
            whole=self.whole,
            trivial_loss=self.trivial_loss,
        )
        return _record(evidence, ChainLosses.unknown(self.settings.chains))

    def _run(self, step_size: float, vmapped: bool) -> Run:
        settings = self.settings
        return Run(
            settings=settings,
            seed=self.seed,
            replicate=self.replicate,
            step_size=step_size,
            evaluations=settings.chains * settings.steps * (settings.batch_size or len(self.centre.losses)),
            vmapped=vmapped,
        )

    @cached_property
    def _known_geometry(self) -> Geometry:
        """What needs no loss."""
        params = self.centre.params
        return replace(
            Geometry.unknown(),
            weights_digest=self.centre.digest,
            dimension=self.lane.layout.dimension,
            weight_norm=norm(self.lane.read(params)),
            model_norm=self.centre.weight_norm,
            n_examples=len(self.centre.losses),
        )

    def _geometry(self, curvature: float, expected_distance: float) -> Geometry:
        return replace(self._geometry_at_centre, curvature=curvature, expected_distance=expected_distance)

    @cached_property
    def _geometry_at_centre(self) -> Geometry:
        """What every rung shares."""
        variance = self.lane.read(self.centre.gradient_variance)
        return replace(
            self._known_geometry,
            loss=self.centre.loss,
            loss_stderr=self.centre.loss_stderr,
            gradient_norm=norm(self.lane.read(self.centre.gradient)),
            gradient_noise=math.sqrt(sum(value.double().sum().item() for value in variance.values())),
        )

    def _motion(
        self, at: Resolution, chains: Chains, observed: Mapping[str, Tensor], kept: KeptDraws, healthy: Tensor
    ) -> Motion:
        scaled = at.n_beta * chains.excess[0, :, self.settings.burn_in :].double()
        hits, accepted = chains.box_hits, chains.acceptance
        return Motion(
            healthy_chains=int(healthy.sum()),
            per_chain=tuple(float(mean) for mean in scaled.mean(1).where(healthy, math.nan)),
            distance=observed["squared_distance"].double().mean().sqrt().item(),  # NaN without a chain
            temperature=_temperature(kept),
            acceptance=math.nan if accepted is None else accepted[0].double().mean().item(),
            box_hits=0.0 if hits is None else hits[0].double().mean().item(),
        )

    def _kept(self, at: Resolution, chains: Chains, observed: Mapping[str, Tensor], healthy: Tensor) -> KeptDraws:
        def draws(values: Tensor, factor: float = 1.0) -> Draws:
            return (factor * values.double()).cpu().numpy()

        kept, linear = slice(self.settings.burn_in, None), chains.first_order
        virial, trace, _ = apart(observed["virial"])
        pair, watched = observed.get("loss_pair"), observed.get("example_losses")
        first, second = (None, None) if pair is None else (draws(loss, at.n_beta) for loss in apart(pair))
        return KeptDraws(
            draws(chains.excess[0, healthy, kept], at.n_beta),
            at.n_beta,
            self.settings.batch_size is not None,
            first_order=None if linear is None else draws(linear[0, healthy, kept], at.n_beta),
            virial=draws(virial),
            plain=draws(apart(observed["plain_virial"])[0]),
            dimension=self.lane.layout.dimension,
            blind=bool(apart(chains.observed["virial"])[2].all()),
            trace=draws(trace[:, :1]),
            watched=None if watched is None else draws(watched),
            pair=None if first is None or second is None else (first, second),
        )

    def _before(self, at: Resolution, chains: Chains, healthy: Tensor) -> Draws:
        """Returns the scaled losses of the last three quarters of burn-in."""
        burn_in = self.settings.burn_in
        return (at.n_beta * chains.excess[0, healthy, burn_in // 4 : burn_in].double()).cpu().numpy()

    def _task_estimates(self, at: Resolution, observed: Mapping[str, Tensor]) -> dict[str, Estimate]:
        if "task_losses" not in observed:
            return {}
        scaled = (at.n_beta * observed["task_losses"].double()).cpu().numpy()
        return {
            name: Estimate(float(scaled[..., task].mean()), error_of(np.ascontiguousarray(scaled[..., task])))
            for task, name in enumerate(self.tasks)
        }


def _record(evidence: Evidence, chains: ChainLosses) -> LLCRecord:
    """Returns the record, with the reasons that the evidence gives against its value."""
    status = join(reasons_against(evidence))
    own = Estimate(math.nan, math.nan) if is_failed(status) else evidence.value
    return LLCRecord(
        value=own.value,
        stderr=own.stderr,
        status=status,
        at=evidence.at,
        run=evidence.run,
        geometry=evidence.geometry,
        bias=evidence.bias,
        mixing=evidence.mixing,
        motion=evidence.motion,
        estimates=evidence.estimates,
        tasks=evidence.tasks,
        chains=chains,
    )


def _estimates(kept: KeptDraws) -> dict[str, Estimate]:
    given = {name: entry.item(kept) for name, entry in ESTIMATORS.items()}
    return {name: estimate for name, estimate in given.items() if estimate is not None}


def _temperature(kept: KeptDraws) -> float:
    if kept.virial is None or stein_gap(kept) is None:
        return math.nan
    return float(kept.virial.mean() / np.mean(kept.trace))


def _moved(squared_distance: Float[Tensor, "chain draw"], *, elsewhere: bool) -> bool:
    """Says whether any chain ever left where it started: w*, or elsewhere."""
    start = squared_distance[:, :1] if elsewhere else torch.zeros_like(squared_distance[:, :1])
    return bool(squared_distance.ne(start).any())


def _started(chains: Chains, healthy: Bool[Tensor, "chain"]) -> float:
    """Returns the excess loss of the first step of the chains, which is told before they move."""
    return chains.excess[0, healthy, 0].double().mean().item()
