"""A number and its standard error, and how they are written."""

from dataclasses import dataclass
from math import floor, isfinite, log10

_UNSEEN = 1e-5
"""An error so much smaller than its value is not written."""


@dataclass(frozen=True)
class Measured:
    """A number with its standard error, NaN where there is none."""

    value: float
    stderr: float

    def __str__(self) -> str:
        """Writes the error to one digit, two where it starts with a 1, and the value to as many decimals.

        Example:
            >>> print(Measured(0.14113, 0.0014), Measured(265.91, 4.2), Measured(16.0, 0.0), Measured(31234.0, 1234.0))
            0.1411 ± 0.0014 266 ± 4 16 31200 ± 1200
        """
        if not isfinite(self.value):
            return "no value"
        if not isfinite(self.stderr) or self.stderr <= 0:
            return f"{self.value:.4g}"
        if self.stderr < _UNSEEN * abs(self.value):
            return f"{self.value:.6g}"
        exponent = floor(log10(self.stderr))
        place = exponent - (1 if self.stderr / 10.0**exponent < 1.95 else 0)
        value, error = round(self.value, -place), round(self.stderr, -place)
        return f"{value:.{max(-place, 0)}f} ± {error:.{max(-place, 0)}f}"
