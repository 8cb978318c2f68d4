"""The program: its doors, whatever it is called by and wherever."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from torch import distributed

from llc_lightning import __version__
from llc_lightning.cli.main import DOORS, main
from llc_lightning.runtime.doors import call

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("arguments", "code", "out", "err"),
    [
        ([], 2, "llc-lightning init", ""),
        (["--help"], 0, "llc-lightning init", ""),
        (["--version"], 0, f"{__version__}\n", ""),
        (["trai"], 2, "", "error: unknown command 'trai'; did you mean 'train'? Use one of: "),
        (["train", "--help"], 0, "llc-lightning train fit -c cis ", ""),
    ],
)
def test_what_it_says(capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, out: str, err: str) -> None:
    assert main(arguments) == code
    said = capsys.readouterr()
    assert out in said.out
    assert said.err.startswith(err)
    assert bool(said.err) == bool(err)


def test_a_checkout_is_called_by_its_files_and_an_installed_package_by_its_program(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "argv", [str(ROOT / "train.py")])
    assert call("analyze", "report", "a b") == f"python {ROOT / 'analyze.py'} report 'a b'"
    (tmp_path / "train.py").touch()
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "train.py")])  # a script of one's own
    assert call("analyze", "report", "a b") == "llc-lightning analyze report 'a b'"


@pytest.mark.parametrize("door", ["train", "analyze"])
def test_each_file_of_a_checkout_is_one_door(door: str) -> None:
    done = subprocess.run(
        [sys.executable, f"{door}.py", "--help"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert f"    python {door}.py " in done.stdout
    assert door in DOORS


@pytest.mark.parametrize("door", ["train", "analyze"])
def test_no_door_leaves_a_group_of_processes_behind(door: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def alone(_: list[str]) -> int:
        distributed.init_process_group("gloo", f"file://{tmp_path / 'group'}", rank=0, world_size=1)
        raise SystemExit(3)

    monkeypatch.setattr(import_module(f"llc_lightning.cli.{door}"), "main", alone)
    with pytest.raises(SystemExit, match="3"):
        main([door, "anything"])
    assert not distributed.is_initialized()
