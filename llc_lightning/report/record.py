"""What was found about a run as plain values, for JSON."""

from dataclasses import asdict
from typing import Any, cast

from llc_lightning.report.source import Source
from llc_lightning.results.schema import plain


def record(source: Source) -> dict[str, Any]:
    """Returns everything that the summary of a run rests on; None stands for what is not known.

    Keys: ``run``, ``steps``, ``level`` (probability of the intervals), ``rows`` (ok, flagged, failed), ``sentences``,
    ``verdict``, ``curve``, ``agreement``, ``health``, ``older`` (revisions that are left out), ``time``.
    """
    found, curve, verdict = source.found, source.found.curve, source.found.verdict
    judged = verdict and {
        **asdict(verdict),
        "superposition": verdict.superposition,
        "losses": [
            asdict(one) | {"ratio": asdict(one.ratio), "best_baseline": one.best_baseline} for one in verdict.losses
        ],
        "solves_more": verdict.solves_more,
        "more_accurate": verdict.more_accurate,
    }
    shares = ("r2", "r2_n_beta", "within", "within_last", "last_step")
    names = ("kind", "method", "gamma", "n", *shares, "residual_sd", "sampling_sd", "span")
    fitted = curve and {
        **{name: getattr(curve, name) for name in names},
        "largest_residuals": [asdict(one) for one in curve.largest_residuals()],
    }
    values = {
        "run": found.run,
        "steps": found.steps,
        "level": found.level,
        "rows": {"ok": found.health.ok, "flagged": found.health.flagged, "failed": found.health.failed},
        "sentences": source.said,
        "verdict": judged,
        "curve": fitted,
        "agreement": found.agreement and asdict(found.agreement),
        "health": {
            "counts": [asdict(count) for count in found.health.counts],
            "troubles": [asdict(trouble) for trouble in found.health.troubles],
        },
        "older": [asdict(one) for one in found.older],
        "time": {**asdict(source.time), "seconds": source.time.seconds, "share": source.time.share},
    }
    return cast("dict[str, Any]", plain(values))
