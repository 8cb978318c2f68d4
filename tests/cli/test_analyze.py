"""The command analyze.py."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from llc_lightning.cli.analyze import main
from tests.analysis.synthetic import STEPS, SyntheticRun

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with four neurons."""
    folder = tmp_path_factory.mktemp("runs") / "checkpoints" / "cis" / "version_0"
    return SyntheticRun(units=4, circuits=4).write(folder)


@pytest.fixture(scope="module")
def young(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has just begun."""
    folder = tmp_path_factory.mktemp("runs") / "checkpoints" / "my run" / "version_0"
    return SyntheticRun(units=4, circuits=2, steps=(0, 30)).write(folder)


def called(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    assert main([str(one) for one in argv]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    return told.out


def refused(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    assert main([str(one) for one in argv]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    (line,) = told.err.splitlines()
    assert line.startswith("error: ")
    return line


def test_the_summary_says_it_all_and_what_to_type_next(capsys: pytest.CaptureFixture[str], run: Path) -> None:
    told = called(capsys, "summary", run)
    for part in (
        "At step 3000 the net",
        "The resolution n_beta at which",
        "wrLLC ~ its replicate",
        "not-a-minimum",
        "How trustworthy",
    ):
        assert part in told
    assert told.endswith(f"next: llc-lightning analyze report {run}\n")


def test_runs_stand_side_by_side(capsys: pytest.CaptureFixture[str], run: Path, young: Path, tmp_path: Path) -> None:
    told = called(capsys, "compare", run, young, "--out", tmp_path)
    assert "Where the runs end" in told
    assert "my run/version_0 - cis/version_0" in told
    written = [line.removeprefix("wrote ") for line in told.splitlines() if line.startswith("wrote ")]
    assert len(written) >= 4
    assert all(Path(path).stat().st_size > 1000 for path in written)
    assert refused(capsys, "compare", run, run).endswith("give two different runs or more.")


def test_the_summary_as_json(capsys: pytest.CaptureFixture[str], run: Path) -> None:
    found = json.loads(called(capsys, "summary", run, "--json"))
    assert found["run"] == "cis/version_0"
    assert found["steps"] == list(STEPS)
    assert found["verdict"]["superposition"] is True
    assert 0.9 < found["curve"]["r2"] <= 1
    assert found["agreement"]["rung"]["n_beta"] == 300
    assert found["rows"]["failed"] == 1
    assert found["time"]["share"] == pytest.approx(96 / 149.5, rel=0.01)


def test_the_summary_of_a_young_run(capsys: pytest.CaptureFixture[str], young: Path) -> None:
    told = called(capsys, "summary", young)
    assert "The full LLC is not ok at any step." in told
    assert told.endswith(f"next: llc-lightning analyze report '{young}'\n"), "a path with a space is quoted"
    found = json.loads(called(capsys, "summary", young, "--json"))
    assert found["curve"] is None
    assert found["agreement"] is None


def test_the_summary_to_a_file(capsys: pytest.CaptureFixture[str], run: Path, tmp_path: Path) -> None:
    told = called(capsys, "summary", run, "--out", tmp_path / "new" / "summary.txt")
    assert told == f"wrote {tmp_path / 'new' / 'summary.txt'}\nnext: llc-lightning analyze report {run}\n"
    assert "The resolution n_beta at which" in (tmp_path / "new" / "summary.txt").read_text(encoding="utf-8")
    told = called(capsys, "summary", run, "--json", "--out", tmp_path / "summary.json")
    assert json.loads(told)["written"] == [str(tmp_path / "summary.json")]
    assert json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))["run"] == "cis/version_0"


def test_trajectories_in_a_few_lines(capsys: pytest.CaptureFixture[str], run: Path) -> None:
    told = called(capsys, "trajectories", run, "--quantities", "llc", "--component", "net.hook_hidden[2]")
    assert "3 curves" in told
    assert told.count("net.hook_hidden[2]") == 3
    assert "10 of 16" in told
    assert "more curves" not in told
    assert "more curves: narrow with --component" in called(capsys, "trajectories", run)


def test_trajectories_as_json(capsys: pytest.CaptureFixture[str], run: Path) -> None:
    rows = json.loads(called(capsys, "trajectories", run, "--json", "--quantities", "loss"))
    assert [row["step"] for row in rows][::2] == list(STEPS)
    assert rows[0]["n_beta"] is None


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".json"])
def test_trajectories_to_files(capsys: pytest.CaptureFixture[str], run: Path, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"curves{suffix}"
    told = called(capsys, "trajectories", run, "--losses", "circuit:*", "--methods", "zero", "--out", path)
    assert f"wrote {path}" in told
    read = {".csv": pd.read_csv, ".parquet": pd.read_parquet, ".json": pd.read_json}[suffix]
    curves = read(path)
    assert len(curves) == 4 * 4 * len(STEPS)
    assert set(curves["loss"]) == {f"circuit:0{circuit}" for circuit in range(4)}


def test_the_report_of_a_young_run(capsys: pytest.CaptureFixture[str], young: Path, tmp_path: Path) -> None:
    told = called(capsys, "report", young, "--out", tmp_path / "page.html", "--control", young)
    said, written, end = told.partition(
        f"wrote {tmp_path / 'page.html'}\nnext: open {tmp_path / 'page.html'} in a browser"
    )
    said = " ".join(said.split())
    assert said.startswith("• No value of the full LLC is ok (2 measured); most often not-a-minimum (2):")
    assert "• At step 30 the net does not compute in superposition" in said
    assert "The control, my run/version_0: At step 30 the net does not" in said
    assert written
    assert end == f", or type: tensorboard --logdir '{young}'\n"
    called(capsys, "report", young)
    assert (young / "report.html").is_file()


@pytest.mark.parametrize("command", ["summary", "trajectories", "report"])
def test_a_folder_that_is_no_run_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str) -> None:
    assert "does not exist" in refused(capsys, command, tmp_path / "nothing")
    assert "is not a run" in refused(capsys, command, tmp_path)


def test_unknown_names_are_answered_with_the_nearest(capsys: pytest.CaptureFixture[str], run: Path) -> None:
    assert "unknown quantity 'lcl'; did you mean 'llc'?" in refused(capsys, "trajectories", run, "--quantities", "lcl")
    assert "unknown component" in refused(capsys, "trajectories", run, "--component", "net.hok[1]")


def test_a_damaged_table_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = SyntheticRun(units=2, circuits=2, steps=(0,)).write(tmp_path / "checkpoints" / "cis" / "version_0")
    part = folder / "measurements" / "step=00000000-llc.parquet"
    part.write_bytes(part.read_bytes()[:-20])
    told = called(capsys, "summary", folder)
    assert part.name in told.replace("\n", "")
    assert "measure that step again" in told


def test_debug_shows_the_traceback(run: Path) -> None:
    with pytest.raises(Exception, match="unknown quantity"):
        main(["trajectories", str(run), "--quantities", "lcl", "--debug"])


def test_measure_hands_on_what_was_asked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, run: Path
) -> None:
    asked: dict[str, object] = {}

    def measure_run(folder: Path, **options: object) -> list[Path]:
        asked.update(options, folder=folder)
        return [folder / "measurements" / f"{number}.parquet" for number in range(5)]

    stub = ModuleType("llc_lightning.cli.offline")
    stub.measure_run = measure_run
    monkeypatch.setitem(sys.modules, stub.__name__, stub)
    told = called(capsys, "measure", run, "--steps", "0", "30", "--only", "llc")
    assert (asked["folder"], asked["steps"], asked["only"], asked["again"]) == (run, [0, 30], ["llc"], False)
    assert "2.parquet, and 2 more files" in told
    assert told.endswith(f"next: llc-lightning analyze report {run}\n")


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['analyze.py', '--help']; import runpy\n"
        "try: runpy.run_path('analyze.py', run_name='__main__')\n"
        "except SystemExit as stop: assert stop.code == 0\n"
        "heavy = {'torch', 'pandas', 'numpy', 'lightning', 'rich'}\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")
    for command in ("summary", "trajectories", "report", "measure", "exact"):
        assert f"python analyze.py {command} " in done.stdout


def test_a_closed_pipe_is_no_error(run: Path) -> None:
    command = [sys.executable, "analyze.py", "trajectories", str(run), "--json"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(10).startswith(b"[{")
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_several_runs_are_reported_together(
    capsys: pytest.CaptureFixture[str], run: Path, young: Path, tmp_path: Path
) -> None:
    told = called(capsys, "report", run, young, "--out", tmp_path / "over.html", "--static")
    assert "Not measured: of no run is it known which components matter." in told
    assert "cis/version_0" in (tmp_path / "over.html").read_text(encoding="utf-8")


def test_of_one_training_made_twice_the_first_counts(
    capsys: pytest.CaptureFixture[str], run: Path, tmp_path: Path
) -> None:
    for name in ("version_0", "version_1"):
        shutil.copytree(run, tmp_path / "one" / name)
        (tmp_path / "one" / name / "config.yaml").write_text("seed_everything: 3\nexperiment: one\n")
    folders = [tmp_path / "one" / name for name in ("version_0", "version_1")]
    told = called(capsys, "report", *folders, "--out", tmp_path / "over.html", "--static")
    assert "one/version_1 is left out, since another run of one has the same seed, 3." in " ".join(told.split())
    assert "one/version_1 is left out" in (tmp_path / "over.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["RUN"], "give each run once"),
        (["YOUNG", "--control", "RUN"], "--control is for one run"),
        (["--export", "files"], "--export is for several runs"),
        (["nowhere"], "nowhere does not exist"),
    ],
)
def test_what_does_not_go_with_several_runs_is_one_sentence(
    capsys: pytest.CaptureFixture[str], run: Path, young: Path, more: list[str], said: str
) -> None:
    given = [{"RUN": str(run), "YOUNG": str(young)}.get(one, one) for one in more]
    assert said in refused(capsys, "report", run, *given)
