"""Synthetic runs, on disk and as findings, made once per session."""

from pathlib import Path

import pytest

from llc_lightning.report.sections import Findings, find
from llc_lightning.report.source import Source
from llc_lightning.results.run import Run
from tests.analysis.synthetic import SyntheticRun

SMALL = {"units": 12, "circuits": 12}


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run that computes in superposition."""
    return Run.open(SyntheticRun(**SMALL).write(tmp_path_factory.mktemp("runs") / "checkpoints" / "cis" / "version_0"))


@pytest.fixture(scope="session")
def control_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Its control, which was trained but not sampled."""
    folder = tmp_path_factory.mktemp("runs") / "checkpoints" / "cis_mse" / "version_0"
    return Run.open(SyntheticRun(loss_power=2, llc=False, **SMALL).write(folder))


@pytest.fixture(scope="session")
def young_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that has just begun: no learning coefficient is ok yet."""
    folder = tmp_path_factory.mktemp("runs") / "checkpoints" / "cis" / "version_1"
    return Run.open(SyntheticRun(steps=(0, 30, 42), **SMALL).write(folder))


@pytest.fixture(scope="session")
def source(run: Run) -> Source:
    """All that is said about the finished run."""
    return Source.of(run)


@pytest.fixture(scope="session")
def found(source: Source) -> Findings:
    """What was found about the finished run."""
    return source.found


@pytest.fixture(scope="session")
def control(control_run: Run) -> Source:
    """All that is said about the control."""
    return Source.of(control_run)


@pytest.fixture(scope="session")
def young(young_run: Run) -> Source:
    """All that is said about the run that has just begun."""
    return Source.of(young_run)


@pytest.fixture(scope="session")
def plain_net() -> Findings:
    """What is found about a net without circuits: losses alone."""
    table = SyntheticRun(**SMALL).table()
    return find(table.loc[table["quantity"] == "loss"], run="plain/version_0")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A file in a folder that is not there yet."""
    return tmp_path / "new" / "page.html"
