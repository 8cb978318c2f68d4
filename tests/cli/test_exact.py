"""The command analyze.py exact."""

import json
from pathlib import Path

import pytest

from llc_lightning.cli.analyze import main
from llc_lightning.exact import KNOWN, reduced_rank_value

REDUCED_RANK = ("reduced-rank", "--inputs", "3", "--hidden", "2", "--outputs", "3", "--rank")
# Every known answer with parameters, and its learning coefficient.
QUADRATIC = ("--curvature", "1", "0.5", "0")
CASES = {
    "quadratic": (QUADRATIC, 1.0),
    "quadratic-variance": (QUADRATIC, 1.0),
    "quadratic-sgld": ((*QUADRATIC, "--step_size", "0.01", "--preconditioner", "1", "2", "1", "--draws", "9"), 1.0),
    "quadratic-lm": ((*QUADRATIC, "--step_size", "0.01", "--gradient_noise", "3"), 1.0),
    "displaced": ((*QUADRATIC, "--minimum", "0.1", "-0.2", "0"), 1.0),
    "displaced-delta": ((*QUADRATIC, "--minimum", "0.1", "-0.2", "0"), 1.0),
    "displaced-variance": ((*QUADRATIC, "--minimum", "0.1", "-0.2", "0"), 1.0),
    "displaced-slope": ((*QUADRATIC, "--minimum", "0.1", "-0.2", "0", "--other_n_beta", "50"), 1.0),
    "regular": (("--dimension", "5"), 2.5),
    "normal-crossing": (("--powers", "1", "2"), 0.25),
    "reduced-rank": ((*REDUCED_RANK[1:], "0"), 2.5),
    "deep-linear": (("--widths", "6", "4", "5", "--rank", "2"), 12.0),
    "superposition": (("--columns", "6", "--sides", "5", "--dead", "positive"), 8.5),
    "linear-unit": (("--inputs", "4", "--outputs", "3", "--strength", "0.5"), 3.0),
}


def called(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    assert main(["exact", *map(str, argv)]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    return told.out


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str]:
    try:
        code = main(["exact", *argv])
    except SystemExit as stop:
        code = stop.code
    told = capsys.readouterr()
    assert told.out == ""
    (line,) = told.err.splitlines()
    return code, line


def test_alone_it_lists_everything_that_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    told = called(capsys)
    assert all(f"\n{name} " in told for name in KNOWN)
    assert told.endswith("\nnext: llc-lightning analyze exact reduced-rank --help\n")
    listed = json.loads(called(capsys, "--json"))["known"]
    assert [one["name"] for one in listed] == list(KNOWN)
    assert all(one["source"] and one["summary"] and one["parameters"] for one in listed)


def test_a_known_answer_with_its_source(capsys: pytest.CaptureFixture[str]) -> None:
    told = called(capsys, *REDUCED_RANK, 0, "--n_beta", 100, "--gamma", 1).splitlines()
    assert told[0].startswith("reduced-rank: 1/2 |B A - M|^2")
    for line in (
        "inputs                3",
        "rank                  0",
        "learning coefficient  2.5 = 5/2",
        "multiplicity          1",
        "half the dimension    6",
        "n_beta E[L - L(w*)]   2.2974375 at n_beta 100, gamma 1",
    ):
        assert line in told
    assert told[-1].startswith("source                Aoyagi and Watanabe 2005")
    assert len(told) == len(called(capsys, *REDUCED_RANK, 0).splitlines()) + 1


@pytest.mark.parametrize("name", KNOWN)
def test_every_known_answer_as_json(capsys: pytest.CaptureFixture[str], name: str) -> None:
    given, coefficient = CASES[name]
    found = json.loads(called(capsys, name, *given, "--json"))
    assert found["learning_coefficient"] == coefficient
    assert found["source"] == KNOWN.get(name).source
    assert "value" not in found
    if KNOWN.get(name).item.quantity:
        found = json.loads(called(capsys, "--json", name, *given, "--n_beta", "30", "--gamma", "2"))
        assert found["quantity"] == KNOWN.get(name).item.quantity
        assert (found["n_beta"], found["gamma"]) == (30, 2)
        assert isinstance(found["value"], float)
    else:
        assert refused(capsys, name, *given, "--n_beta", "30", "--gamma", "2")[0] == 1


def test_the_value_is_that_of_the_function(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(called(capsys, *REDUCED_RANK, 0, "--n_beta", 50, "--gamma", 2, "--json"))
    assert found["value"] == reduced_rank_value(3, 2, 3, n_beta=50.0, gamma=2.0)
    assert found["parameters"] == {"inputs": 3, "hidden": 2, "outputs": 3, "rank": 0}
    assert (found["fraction"], found["multiplicity"], found["half_dimension"]) == ("5/2", 1, 6)


def test_to_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "new" / "known.txt"
    assert called(capsys, *REDUCED_RANK, 0, "--out", path) == f"wrote {path}\n"
    assert path.read_text(encoding="utf-8") == called(capsys, *REDUCED_RANK, 0)
    assert json.loads(called(capsys, *REDUCED_RANK, 0, "--json", "--out", path)) == {"written": [str(path)]}
    assert json.loads(path.read_text(encoding="utf-8"))["learning_coefficient"] == 2.5
    assert refused(capsys, "--out", str(path / "below"))[1].endswith("choose another place with --out.")


@pytest.mark.parametrize(
    ("argv", "code", "sentence"),
    [
        (["reduced-rnk"], 2, "unknown NAME 'reduced-rnk'; did you mean reduced-rank? Use one of: quadratic, "),
        (REDUCED_RANK[:3], 2, "--hidden, --outputs, --rank are missing; `llc-lightning analyze exact"),
        ([*REDUCED_RANK, "0", "--width", "3"], 2, "unknown option '--width'; `llc-lightning analyze exact reduced-"),
        ([*REDUCED_RANK, "0.5"], 2, "--rank is 0.5; give whole numbers, such as 3."),
        ([*REDUCED_RANK, "0", "--n_beta", "many"], 2, "--n_beta is many; give numbers, such as 0.5."),
        (["superposition", "--columns", "6", "--sides", "5", "--dead", "no"], 2, "unknown --dead 'no'. Use one of: ne"),
        ([*REDUCED_RANK, "3"], 1, "rank is 3; it can be at most the smallest width, 2."),
        ([*REDUCED_RANK, "0", "--n_beta", "9"], 1, "--n_beta is given without --gamma; give both, for the finite"),
        ([*REDUCED_RANK, "0", "--gamma", "9"], 1, "--gamma is given without --n_beta; give both, for the finite"),
        ([*REDUCED_RANK, "0", "--n_beta", "-9", "--gamma", "1"], 1, "n_beta is -9.0; it must be positive."),
        ([*REDUCED_RANK, "0", "--n_beta", "nan", "--gamma", "1"], 1, "n_beta is nan; give a finite number."),
        ([*REDUCED_RANK, "1", "--n_beta", "9", "--gamma", "1"], 1, "rank is 1; the value of reduced-rank at finite n_"),
        (["quadratic", "--curvature", "1e300", "--n_beta", "1e300", "--gamma", "1"], 1, "the numbers are too large or"),
        (["displaced", "--curvature", "1", "--minimum", "1", "2", "--n_beta", "1", "--gamma", "1"], 1, "minimum has 2"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_sentence(
    capsys: pytest.CaptureFixture[str], argv: list[str], code: int, sentence: str
) -> None:
    found, line = refused(capsys, *argv)
    assert found == code
    assert line.startswith(f"error: {sentence}")


def test_help_names_every_known_answer_and_the_meaning_of_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["exact", "--help"])
    told = capsys.readouterr().out
    assert all(name in told for name in KNOWN)
    with pytest.raises(SystemExit):
        main(["exact", "normal-crossing", "--help"])
    told = capsys.readouterr().out
    assert "--powers X [X ...]" in told
    assert "power k of each weight" in told
    assert f"Source: {KNOWN.get('normal-crossing').source}" in told
