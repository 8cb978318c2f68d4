"""Known answers: learning coefficients, and exact values of ``n_beta E[L(w) - L(w*)]`` at finite ``n_beta``.

They are what estimates are tested against. The learning coefficient is only the limit of large ``n_beta``: where its
multiplicity is 2, the exact value at an ``n_beta`` of 1000 is still 22 % below it. ``KNOWN`` lists all of them by name,
and ``analyze.py exact`` prints them.
"""

from llc_lightning.exact import catalogue_quadratic, catalogue_singular
from llc_lightning.exact.base import KNOWN, KnownAnswer, LearningCoefficient, regular_coefficient
from llc_lightning.exact.crossings import normal_crossing_coefficient, normal_crossing_value
from llc_lightning.exact.deep_linear import deep_linear_coefficient
from llc_lightning.exact.displaced import displaced_slope, displaced_value, displaced_variance
from llc_lightning.exact.quadratic import (
    quadratic_coefficient,
    quadratic_lm_value,
    quadratic_sgld_value,
    quadratic_value,
    quadratic_variance,
)
from llc_lightning.exact.reduced_rank import reduced_rank_coefficient, reduced_rank_value
from llc_lightning.exact.superposition import superposition_coefficient
from llc_lightning.exact.unit import unit_coefficient, unit_value

__all__ = [
    "KNOWN",
    "KnownAnswer",
    "LearningCoefficient",
    "catalogue_quadratic",
    "catalogue_singular",
    "deep_linear_coefficient",
    "displaced_slope",
    "displaced_value",
    "displaced_variance",
    "normal_crossing_coefficient",
    "normal_crossing_value",
    "quadratic_coefficient",
    "quadratic_lm_value",
    "quadratic_sgld_value",
    "quadratic_value",
    "quadratic_variance",
    "reduced_rank_coefficient",
    "reduced_rank_value",
    "regular_coefficient",
    "superposition_coefficient",
    "unit_coefficient",
    "unit_value",
]
