"""``llc-lightning init``: what it writes trains, is measured, and serves as a script of one's own."""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from llc_lightning.cli.init import FILES
from llc_lightning.cli.main import main
from llc_lightning.results.run import Run

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
TINY = [
    *("--trainer.max_steps", "3", "--trainer.enable_progress_bar", "false", "--trainer.accelerator", "cpu"),
    *("--trainer.log_every_n_steps", "1", "--snapshots.when", "AtEnd", "--llc.when", "AtEnd", "--ablation.when"),
    *("AtEnd", "--llc.draws", "4", "--llc.burn_in", "2", "--llc.chains", "2", "--llc.step_size", "1e-5"),
    *("--llc.components", "[all]", "--ablation.components", "[layers]", "--ablation.methods", "[zero]"),
]
OWN = ["--module", "my_model.py:MyModel", "--data", "my_model.py:MyData"]


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which a new user has typed the first two commands."""
    folder = tmp_path_factory.mktemp("begun")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))
        assert main(["init"]) == 0
        assert main(["train", "fit", "-c", FILES[0], *TINY]) == 0
        yield folder
    sys.modules.pop("my_model", None)


@pytest.fixture
def mine(begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where it stands beside a copy of the run that is as a script of one's own leaves it: without configuration."""
    shutil.copy(begun / "my_model.py", tmp_path)
    run = Path(shutil.copytree(begun / "checkpoints" / "my_run" / "version_0", tmp_path / "my_run" / "version_0"))
    (run / "config.yaml").unlink()
    monkeypatch.chdir(tmp_path)
    return run.relative_to(tmp_path)


def test_the_files_train_and_are_measured(begun: Path) -> None:
    rows = Run.open(begun / "checkpoints" / "my_run" / "version_0").measurements()
    assert {"llc", "ablation_effect"} <= set(rows["quantity"])
    assert {"up", "down"} <= set(rows["component"])


def test_nothing_is_written_over(begun: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init"]) == 1
    assert capsys.readouterr().err.startswith("error: config.yaml exists already; give another folder, such as")
    assert main(["init", str(tmp_path / "new")]) == 0
    told = capsys.readouterr().out
    assert told.endswith(f"next: cd {tmp_path / 'new'} && llc-lightning train fit -c config.yaml\n")


def test_a_run_of_ones_own_script_is_measured_with_what_makes_its_model_and_examples(
    mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = Run.open(mine).measurements()
    Path("more.yaml").write_text("ablation: {components: [layers], methods: [zero]}\n")
    assert main(["analyze", "measure", str(mine), *OWN, "--config", "more.yaml", "--again"]) == 0
    assert Run.open(mine).measurements().equals(before)
    assert main(["analyze", "ablate", str(mine), *OWN, "--components", "layers", "--methods", "mean"]) == 0
    capsys.readouterr()
    assert main(["analyze", "components", str(mine), *OWN, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["components"]
    assert {"up", "down"} <= {one["component"] for one in found}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "has no config.yaml, since a script of your own trained it; give --module FILE:FUNCTION and"),
        (["--module", "my_model.py:MyModel"], "has no config.yaml"),
        ([*OWN, "--data", "my_model"], "--data is my_model; give FILE:FUNCTION, such as"),
        ([*OWN, "--data", "none.py:f"], "--data: there is no file none.py; give FILE:FUNCTION."),
        ([*OWN, "--data", "my_model.py:MyDat"], "unknown function of my_model.py 'MyDat'; did you mean 'MyData'?"),
        ([*OWN, "--data", "broken.py:f"], "--data: broken.py cannot be imported: ZeroDivisionError: "),
        ([*OWN, "--data", "fails.py:f"], "--data: fails.py:f failed with KeyError: 'x'."),
        (OWN, "names nothing to measure; give llc or ablation settings and a cadence (when:) with --config."),
    ],
)
def test_what_is_missing_for_it_is_told(
    mine: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("broken.py").write_text("1 / 0\n")
    Path("fails.py").write_text("def f():\n    raise KeyError('x')\n")
    assert main(["analyze", "measure", str(mine), *words]) == 1
    assert said in capsys.readouterr().err
