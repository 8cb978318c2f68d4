"""Synthetic measurement tables, drawn once per session."""

import pandas as pd
import pytest

from tests.analysis.synthetic import SyntheticRun


@pytest.fixture(scope="session")
def superposed() -> pd.DataFrame:
    """The table of a run that computes in superposition."""
    return SyntheticRun().table()


@pytest.fixture(scope="session")
def control() -> pd.DataFrame:
    """The table of the matched control."""
    return SyntheticRun(loss_power=2, llc=False).table()
