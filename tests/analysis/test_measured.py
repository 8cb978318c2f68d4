"""Writing numbers with errors."""

import math

import pytest

from llc_lightning.analysis.measured import Measured


@pytest.mark.parametrize(
    ("value", "stderr", "written"),
    [
        (0.14113, 0.0014, "0.1411 ± 0.0014"),
        (265.91, 4.2, "266 ± 4"),
        (-5477.95, 124.0, "-5480 ± 120"),
        (8.1, 0.2, "8.1 ± 0.2"),
        (8.1, 0.199, "8.1 ± 0.2"),
        (1.0, 0.0951, "1.00 ± 0.10"),
        (2e-7, 3e-8, "0.00000020 ± 0.00000003"),
        (16.0, 0.0, "16"),
        (32.0, 1e-4, "32"),
        (0.123456789, 1e-9, "0.123457"),
        (0.123456, math.nan, "0.1235"),
        (math.nan, 1.0, "no value"),
    ],
)
def test_the_error_says_how_many_digits_the_value_has(value: float, stderr: float, written: str) -> None:
    assert str(Measured(value, stderr)) == written
