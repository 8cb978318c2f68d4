"""What a run says, in sentences that are derived from its numbers."""

from math import isfinite, isnan

from llc_lightning.analysis import table
from llc_lightning.analysis.agreement import Agreement
from llc_lightning.analysis.cis import Verdict
from llc_lightning.analysis.correlation import Correlation
from llc_lightning.analysis.curve import Curve, Residual
from llc_lightning.analysis.resolution import ladder, reconciled
from llc_lightning.analysis.revisions import told
from llc_lightning.analysis.timing import Timing
from llc_lightning.report.panels.headline import explained
from llc_lightning.report.panels.llc import full_llc
from llc_lightning.report.sections import Findings
from llc_lightning.runtime.kinds import called, plural

_CLEAR = 2.0
"""Standard errors by which the oddest unit must be off the curve to be worth a sentence."""


def headlines(found: Findings, *, time: Timing | None = None, verdict: bool = True) -> list[str]:
    """Returns the sentences at the top of the page, with those of the verdict or, where it stands beside, without.

    These are: what to change where nothing is ok; verdict, curve, agreement, full LLC, oddest unit, health, what is
    left out for its revision, time.
    """
    said = [
        *found.health.remedies(),
        *(verdict_sentences(found.verdict) if found.verdict and verdict else ()),
        curve_sentence(found.curve) if found.curve else "",
        agreement_sentence(found.agreement, level=found.level) if found.agreement else "",
        *full_llc_sentences(found),
        *(residual_sentence(one) for one in (found.curve.largest_residuals(1) if found.curve else ()) if _clear(one)),
        " ".join(found.health.sentences()),
        told(found.older),
        time.sentence() if time else "",
    ]
    return [sentence for sentence in said if sentence]


def verdict_sentences(verdict: Verdict) -> list[str]:
    """Says whether the net computes in superposition and what decides it; then what each loss says, one by one."""
    return [one for one in verdict.sentences() if "participation" not in one]


def full_llc_sentences(found: Findings) -> list[str]:
    """Says what the full LLC is at each n_beta, the largest first, and why they differ; figures say how it rose."""
    values = [f"{panel.title.partition('. ')[0]}." for panel in reversed(full_llc(found))]
    return [" ".join([*values, *_reconciled(found)])] if values else []


def _reconciled(found: Findings) -> list[str]:
    """Returns how the LLCs at the largest and the smallest n_beta go together, at the last step that has both."""
    several = [some for _, some in sorted(ladder(found.rows).items()) if len(some) > 1]
    return [reconciled(several[-1][0], several[-1][-1])] if several else []


def curve_sentence(curve: Curve) -> str:
    """Says how much the one curve explains beyond n_beta, and how much of the rest is sampling error."""
    kind, (low, high) = called(curve.kind), curve.span
    sampling = f", of which sampling alone makes {100 * curve.sampling_sd:.0f} %" if isfinite(curve.sampling_sd) else ""
    if curve.sampling_sd >= curve.residual_sd:
        sampling = ", no farther than sampling alone takes them"
    one_curve = (
        f"one curve of n_beta x {curve.method}-ablation effect, here from {_round(low)} to {_round(high)}, explains"
    )
    first = (
        f"The resolution n_beta at which the wrLLC of a {kind} is measured explains {100 * curve.r2_n_beta:.0f} % of "
        f"the spread of log wrLLC over {curve.n} points. Of the rest, the spread at one n_beta,"
        if len(set(table.numbers(curve.points, "n_beta").tolist())) > 1
        else f"Of the spread of log wrLLC over {curve.n} points"
    )
    return (
        f"{first} {one_curve} {explained(curve)}. Points lie {100 * curve.residual_sd:.0f} % off the curve{sampling}."
    )


def _round(value: float) -> str:
    """Writes two digits of a number.

    Example:
        >>> _round(1009.0), _round(0.7231)
        ('1000', '0.72')
    """
    return f"{float(f'{value:.2g}'):g}"


def agreement_sentence(one: Agreement, *, level: float) -> str:
    """Says how the ranks agree at the matched resolution, beside the replicates and the weight norm."""
    name = next(iter(one.methods), "")
    if not name:
        return f"At step {one.step} there is no ablation effect to compare the wrLLC of the {plural(one.kind)} with."
    where = (
        f"At step {one.step} and the matched resolution (n_beta {one.rung.n_beta:g}, median n_beta x effect "
        f"{one.rung.resolution:.1f})"
    )
    if one.methods[name].n < 3:
        few = f"too few {plural(one.kind)} have an ok wrLLC ({one.units})"
        return f"{where} {few} for a rank correlation with their effects."
    said = (
        f"{where} wrLLC and {name}-ablation effect of {one.units} {plural(one.kind)} have the rank "
        f"correlation {_with_interval(one.methods[name], level)}."
    )
    every = (
        (one.reliability, "replicates of wrLLC correlate with {:+.2f}"),
        (one.norm_methods.get(name), "the weight norm alone with {:+.2f}"),
        (one.partial.get(name), "with the norm held fixed {:+.2f} is left"),
    )
    beside = [text.format(each.rho) for each, text in every if each and each.defined]
    return f"{said} Beside it: {'; '.join(beside)}." if beside else said


def _with_interval(one: Correlation, level: float) -> str:
    if not one.defined:
        return f"undefined over {one.n} pairs"
    chance = "" if isnan(one.p) else f", p = {one.p:.2g}"
    return f"{one.rho:+.2f} ({100 * level:g} % interval {one.low:+.2f} to {one.high:+.2f}{chance})"


def _clear(one: Residual) -> bool:
    """Says whether a unit is off the curve by more than its error may be."""
    return abs(one.sigmas) >= _CLEAR


def residual_sentence(one: Residual) -> str:
    """Says what lies farthest off the curve, and what that may mean."""
    meaning = (
        "it constrains more than its effect says: redundant, or a bias in disguise"
        if one.ratio > 1
        else "it matters more than it constrains: important but simple"
    )
    return (
        f"Farthest off the curve is {one.component} at step {one.step} (n_beta {one.n_beta:g}): wrLLC "
        f"{table.Measured(one.llc, one.llc_stderr)} where the curve says {one.expected:.3g}, {one.ratio:.2f} times; "
        f"{meaning}."
    )
