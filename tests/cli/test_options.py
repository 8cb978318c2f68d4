"""The parser of analyze.py."""

import pytest

from llc_lightning.cli.analyze import parser


def said(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    with pytest.raises(SystemExit) as stop:
        parser().parse_args(argv)
    assert stop.value.code == 2
    told = capsys.readouterr()
    assert told.out == ""
    (line,) = told.err.splitlines()
    return line


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        ([], "error: COMMAND is missing; `llc-lightning analyze --help` says what to give."),
        (["summry", "x"], "error: unknown COMMAND 'summry'; did you mean summary? Use one of: summary, trajectories, "),
        (["summary"], "error: RUN is missing; `llc-lightning analyze summary --help` says what to give."),
        (["summary", "x", "--jso"], "error: unknown option '--jso'; did you mean --json"),
        (["report", "x", "--contro=y"], "error: unknown option '--contro'; did you mean --control"),
        (["summary", "x", "y"], "error: 'y' is one argument too many; `llc-lightning analyze summary --help`"),
        (["summary", "x", "--level", "95"], "error: --level is 95; give a probability between 0 and 1, such as 0.95."),
        (["summary", "x", "--level", "nan"], "error: --level is nan; give a probability between 0 and 1"),
        (["summary", "x", "--level", "much"], "error: --level is much; give a probability"),
        (["summary", "x", "--level"], "error: --level expected one argument."),
        (["measure", "x", "--steps", "-1"], "error: --steps is -1; give whole numbers from 0 up."),
        (["measure", "x", "--steps", "1e3"], "error: --steps is 1e3; give whole numbers"),
        (
            ["trajectories", "x", "--out", "a.txt"],
            "error: --out is a.txt; give a file that ends in .csv, .parquet,",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(
    capsys: pytest.CaptureFixture[str], argv: list[str], sentence: str
) -> None:
    assert said(capsys, *argv).startswith(sentence)


def test_options_are_never_abbreviated(capsys: pytest.CaptureFixture[str]) -> None:
    for whole in ("--json", "--debug", "--level=0.9", "--out=x"):
        parser().parse_args(["summary", "x", whole])
        name, _, value = whole.partition("=")
        said(capsys, "summary", "x", name[:-1] + (f"={value}" if value else ""))


def test_lists_are_read_whole() -> None:
    found = parser().parse_args(["measure", "x", "--steps", "0", "3000", "--only", "llc", "ablation"])
    assert (found.steps, found.only) == ([0, 3000], ["llc", "ablation"])


@pytest.mark.parametrize("command", ["summary", "trajectories", "report", "measure"])
def test_every_command_has_json_out_debug_and_help(capsys: pytest.CaptureFixture[str], command: str) -> None:
    with pytest.raises(SystemExit) as stop:
        parser().parse_args([command, "--help"])
    assert stop.value.code == 0
    told = capsys.readouterr().out
    assert all(option in told for option in ("--json", "--out", "--debug", "RUN"))
