"""What is estimated, and at which resolution."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from llc_lightning.runtime.checks import check_positive
from llc_lightning.runtime.errors import SettingError

_LARGEST = 3e38


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
        for name, value in (("n_beta", self.n_beta), ("gamma", self.gamma)):
            if value > _LARGEST:
                raise SettingError(f"{name} is {value!r}; give at most {_LARGEST:g}, what single precision can hold.")


@dataclass(frozen=True)
class Restriction:
    """Of what one estimate is: the weights it moves, as masks by parameter name, or None for everything."""

    moved: Mapping[str, Tensor] | None


Part = Restriction
"""Its former name."""
