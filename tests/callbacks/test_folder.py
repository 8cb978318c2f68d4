"""Where runs are kept."""

from pathlib import Path

import lightning as L
import pytest
from lightning.pytorch.loggers import CSVLogger

from llc_lightning.callbacks.folder import open_folder, run_folder, run_seed
from llc_lightning.results.provenance import read_provenance
from llc_lightning.runtime.errors import MeasurementError
from tests.callbacks.plain import trainer


def test_the_folder_is_the_loggers_or_below_the_default(tmp_path: Path) -> None:
    logger = CSVLogger(str(tmp_path), name="mine", version=4)
    assert run_folder(trainer(tmp_path, [], logger=logger)) == tmp_path / "mine" / "version_4"
    assert run_folder(trainer(tmp_path, [])) == tmp_path / "llc_lightning"


def test_the_seed_is_that_of_seed_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    assert run_seed() == 0
    L.seed_everything(5, verbose=False)
    assert run_seed() == 5


def test_opening_notes_the_provenance(tmp_path: Path) -> None:
    folder = open_folder(trainer(tmp_path, []), seed=5)
    record = read_provenance(folder)[0]
    assert record["seeds"] == {"run": 5}
    assert record["device"] == "cpu"


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "llc_lightning").write_text("in the way")
    with pytest.raises(MeasurementError, match="llc_lightning"):
        open_folder(trainer(tmp_path, []), seed=0)
