"""What is estimated, and at which resolution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from llc_lightning.llc.settings import check_positive


@dataclass(frozen=True)
class Resolution:
    """The inverse temperature times sample size, and the localisation strength, at which an LLC is meant."""

    n_beta: float
    gamma: float

    def __post_init__(self) -> None:
        """Checks the ranges.

        Raises:
            SettingError: If n_beta is not positive or gamma is negative.
        """
        check_positive("n_beta", self.n_beta)
        check_positive("gamma", self.gamma, zero=True)


@dataclass(frozen=True)
class Part:
    """What one estimate moves: masks by parameter name, or None for everything.

    ``whole`` says that this is the full model, for which the trivial predictor's loss bounds what local can mean.
    """

    moved: Mapping[str, Tensor] | None
    whole: bool = False
