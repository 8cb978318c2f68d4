"""The commands of analyze.py: one file each, found by their names, which end in one way."""

import json
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from llc_lightning.cli import commands as room
from llc_lightning.cli.analyze import main
from llc_lightning.cli.console import analyze, end

COMMAND = """
import sys

DOES = "Say a word."

def add_options(one):
    one.add_argument("word")
    one.add_argument("--debug", action="store_true")

def run(options):
    sys.stdout.write(options.word)
"""


def test_every_file_is_a_command_and_says_what_it_does() -> None:
    files = {path.stem for path in Path(room.__path__[0]).glob("*.py")} - {"__init__"}
    found = room.commands()
    assert set(found) == files
    assert list(found)[: len(room.FIRST)] == list(room.FIRST)
    assert all(command.DOES.endswith(".") for command in found.values())


def test_a_new_command_is_one_new_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "shout.py").write_text(COMMAND)
    monkeypatch.setattr(room, "__path__", [*room.__path__, str(tmp_path)])
    assert main(["shout", "hello"]) == 0
    assert capsys.readouterr().out == "hello"
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "Say a word." in capsys.readouterr().out
    monkeypatch.delitem(sys.modules, f"{room.__name__}.shout")


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ([], "nothing to do: all of it was there already"),
        (["a", "b"], "wrote a, b"),
        (["a", "b", "c", "d", "e"], "wrote a, b, c, and 2 more files"),
    ],
)
def test_a_command_ends_with_what_it_wrote_and_what_to_type_next(
    capsys: pytest.CaptureFixture[str], written: list[str], said: str
) -> None:
    then = analyze("report", Path("my runs/version_0"))
    end(Namespace(json=False), [Path(name) for name in written], then)
    assert capsys.readouterr().out == f"{said}\nnext: llc-lightning analyze report 'my runs/version_0'\n"
    end(Namespace(json=True), [Path(name) for name in written], then, more=1)
    assert json.loads(capsys.readouterr().out) == {"written": written, "more": 1, "next": then}
