"""``train.py``: what a user types, what it says, and what it leaves."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from llc_lightning.callbacks.llc import LLCCallback
from llc_lightning.cli.fit import FitCLI, check_same_model
from llc_lightning.cli.offline import FitsData
from llc_lightning.cli.train import main
from llc_lightning.models.direction_model import DirectionModel
from llc_lightning.results.run import Run
from llc_lightning.runtime.errors import SnapshotError
from tests.processes import Script

# What Lightning asks of jsonargparse is its own affair.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
ROOT = Path(__file__).parents[2]
SMOKE = str(ROOT / "configs" / "smoke" / "cis.yaml")
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))
# The smoke configuration, made as short as can be.
TINY = [
    *("fit", "-c", SMOKE, "--trainer.max_steps", "12", "--trainer.enable_progress_bar", "false"),
    *(
        "--trainer.log_every_n_steps",
        "5",
        "--data.init_args.batches_per_epoch",
        "5",
        "--llc.draws",
        "4",
        "--llc.burn_in",
        "2",
        "--llc.step_size",
        "1e-5",
    ),
    *("--llc.preconditioner", "none", "--llc_units.when", "null", "--ablation.methods", "[zero]"),
    *("--snapshots.when.init_args.first", "3", "--llc.when.init_args.first", "3"),
    *("--ablation.when.init_args.first", "3", "--ablation.examples", "512", "--data.init_args.analysis_size", "1024"),
    *("--data.init_args.validation_size", "1024"),
]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
    monkeypatch.undo()


def run(*arguments: str, debug: bool = False) -> subprocess.CompletedProcess[str]:
    """Runs the command as a user does."""
    script = Script(str(ROOT / "train.py"), *arguments, *(["--debug"] if debug else []), folder=Path.cwd())
    return script.finish()


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[str]]:
    """Returns the exit code and the lines on stderr of a command that fails."""
    code = main(arguments)
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    return code, err.splitlines()


def test_without_arguments_it_shows_help_and_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    shown = capsys.readouterr().out
    assert "    llc-lightning train fit -c smoke/cis" in shown
    assert "smoke/shakespeare.\n" in shown


CADENCES = "a cadence (Every, LogSpaced, AtSteps, AtStart, AtEnd, AnyOf)"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["--llc.gama", "3"],
            r"unknown key 'llc\.gama'; did you mean 'llc\.gamma' or .*\? `fit --help` lists all keys\.",
        ),
        (["--llc.gam", "3"], r"unknown key 'llc\.gam'; did you mean 'llc\.gamma' or .*"),
        (["--trainer.max_step=3"], r"unknown key 'trainer\.max_step'; did you mean 'trainer\.max_steps' or .*"),
        (["--llc.gamma", "abc"], r"llc\.gamma is abc; give a finite number or null\."),
        (["--llc.gamma", "-1"], r"llc: gamma is -1\.0; it must be at least 0\."),
        (["--llc.gamma", "nan"], r"llc\.gamma is nan; give a finite number or null\."),
        (["--llc.gamma", "inf"], r"llc\.gamma is inf; give a finite number or null\."),
        (["--llc.n_beta", "[1, x]"], r"llc\.n_beta is \[1\.0, 'x'\]; give a finite number, list\[float\] or null\."),
        (["--llc.n_beta", "null"], r"llc\.n_beta is not given; an LLC means nothing without n_beta and gamma\."),
        (["--llc.chains", "2.5"], r"llc\.chains is 2\.5; give a whole number\."),
        (["--llc.chains", "0"], r"llc: chains is 0; .*"),
        (["--llc.at", "epoch"], r"llc\.at is epoch; give 'batch' or 'validation'\."),
        (["--llc.sampler", "sgdl"], r"llc: unknown sampler 'sgdl'; did you mean 'sgld'\? Use one of: .*"),
        (["--ablation.methods", "[zeor]"], r"ablation: unknown ablation method 'zeor'; did you mean 'zero'\? .*"),
        (["--llc.when", "LogSpacd"], rf"llc\.when is LogSpacd; give {re.escape(CADENCES)} or null\."),
        (["--llc.when.init_args.m", "3"], r"unknown key 'llc\.when\.init_args\.m'; LogSpaced has no such argument\."),
        (["--llc.when.init_args.n", "0"], r"LogSpaced got n=0, first=10; both must be at least 1\."),
        (
            ["--model.init_args.widht", "3"],
            r"unknown key 'model\.init_args\.widht'; CISModel has no such argument\. Its arguments: active, .*\.",
        ),
        (["--model.init_args.width", "0"], r"width is 0; .*"),
        (["--model.class_path", "llc_lightning.models.cis.No"], r"model: No: module .* has no attribute 'No'\."),
        (["--model", "no"], r"model is no; give the import path of a class that fits there\."),
        (["--experiment", "../x"], r"experiment is '\.\./x'; use 1 to 100 letters, .*"),
        (["--seed_everything", "true"], r"seed_everything is True; give a whole number\."),
        (["--seed_everything", "-1"], r"seed_everything is -1; give a whole number from 0 to 4294967295\."),
        (["--seed_everything", "4294967296"], r"seed_everything is 4294967296; give a whole number from 0 to .*"),
        (["--last.every_n_steps", "0"], r"every_n_steps is 0; give an integer of at least 1\."),
    ],
)
def test_a_wrong_command_gets_one_sentence_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    code, lines = said(capsys, "fit", "-c", SMOKE, *arguments)
    assert code == 2
    assert len(lines) == 1
    assert re.fullmatch(f"error: {sentence}", lines[0])
    assert not Path("checkpoints").exists()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("llc: {gama: 3}", "unknown key 'llc.gama'; did you mean 'llc.gamma'"),
        ("llc: {gamma: 3, gamma: 4}", "wrong.yaml gives the key 'llc.gamma' twice; give it once."),
        ("llc: [", "wrong.yaml is not YAML: line 1: "),
        ("a: \0", "wrong.yaml is not YAML: unacceptable character"),
        ("", "wrong.yaml is empty; give at least one key."),
        ("model: {init_args: {seed: 3}}", "wrong.yaml gives model.init_args.seed, which follows seed_everything;"),
        ("trainer: 3", "trainer is 3; give keys below it, such as those of --help."),
        ("llc: {gamma: 1e-3x}", "llc.gamma is 1e-3x; give a finite number or null."),
        ("nothing: 3", "unknown key 'nothing'; `fit --help` lists all keys."),
    ],
)
def test_a_wrong_file_gets_one_sentence_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], text: str, sentence: str
) -> None:
    Path("wrong.yaml").write_text(text)
    code, lines = said(capsys, "fit", "-c", SMOKE, "-c", "wrong.yaml")
    assert code == 2
    assert len(lines) == 1
    assert lines[0].startswith(f"error: {sentence}")


def test_other_mistakes_get_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "fit", "-c", "missing.yaml")[0] == 2
    assert said(capsys, "fit") == (2, ["error: the following arguments are required: fit.model."])
    assert said(capsys, "fot")[0] == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--llc.components", "[netz.hook]"], "unknown component 'netz.hook'"),
        (["--ablation.components", "net.hook_hidden[9]"], "'net.hook_hidden[9]' names unit 9"),
        (["--data.init_args.size", "4"], "the model is made for"),
        (
            ["--ckpt_path", "last"],
            "there is no run in checkpoints/smoke_cis to continue; start one without --ckpt_path.",
        ),
        (["--ckpt_path", "no.ckpt"], "there is no checkpoint no.ckpt; give the path of a .ckpt file."),
        (["--ckpt_path", "https://example.org/a.ckpt"], "there is no checkpoint https:/example.org/a.ckpt;"),
        (["--trainer.default_root_dir", "/proc/none"], "cannot make a folder in /proc/none/smoke_cis: "),
        (["--trainer.accelerator", "gpu"], "No supported gpu backend found."),
    ],
)
def test_what_only_shows_when_it_is_tried_gets_one_sentence_and_exit_code_1(
    capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    code, lines = said(capsys, "fit", "-c", SMOKE, "--trainer.enable_progress_bar", "false", *arguments)
    assert code == 1
    assert len(lines) == 1
    assert lines[0].startswith(f"error: {sentence}")


@pytest.mark.parametrize(
    ("config", "arguments", "sentence"),
    [
        ("mnist_fashion", ["source", "folder", "folder", "none"], "there is no folder none; name one that holds the f"),
        ("mnist_fashion", ["source", "hubb"], "unknown source of images 'hubb'; did you mean 'hub'?"),
        ("mnist_fashion", ["source", "hub", "hub", "[a/b,c/d]"], "the Hugging Face hub gives no images with labels un"),
        ("shakespeare", ["task.init_args.source", "none.txt"], "there is no file none.txt; give the path of a text f"),
        ("shakespeare", ["task.init_args.source", "a/b"], "cannot load the data set 'a/b' from the hub ("),
        ("modular_mlp", ["task.init_args.modulus", "59"], "the data need d_vocab to be at least 60, but the model has"),
    ],
)
def test_data_that_cannot_be_had_or_read_get_one_sentence_and_exit_code_1(
    capsys: pytest.CaptureFixture[str], config: str, arguments: list[str], sentence: str
) -> None:
    words = [f"--data.init_args.{word}" if i % 2 == 0 else word for i, word in enumerate(arguments)]
    path = str(ROOT / "configs" / "smoke" / f"{config}.yaml")
    code, lines = said(capsys, "fit", "-c", path, "--trainer.enable_progress_bar", "false", *words)
    assert code == 1
    assert len(lines) == 1
    assert lines[0].startswith(f"error: {sentence}")


def test_debug_shows_where_it_happened() -> None:
    done = run("fit", "-c", SMOKE, "--ckpt_path", "no.ckpt", debug=True)
    assert done.returncode == 1
    assert "Traceback" in done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a tiny run has been made, by a command as a user types it."""
    folder = tmp_path_factory.mktemp("tiny")
    command = [sys.executable, str(ROOT / "train.py"), *TINY]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr
    (folder / "stdout").write_text(done.stdout)
    (folder / "stderr").write_text(done.stderr)
    return folder


def test_it_ends_with_what_was_written_and_what_to_type_next(folder: Path) -> None:
    lines = (folder / "stdout").read_text().splitlines()
    assert re.fullmatch(r"wrote checkpoints/smoke_cis/version_0: 4 snapshots, \d+ measured rows, 4 files .*", lines[0])
    assert re.fullmatch(r"rows: \d+ ok, \d+ flagged.*, 0 failed", lines[1])
    assert re.fullmatch(r"time: \d+ s, of which measuring \d+ s \(\d+%\)", lines[2])
    assert lines[3:] == [f"next: python {ROOT / 'analyze.py'} report checkpoints/smoke_cis/version_0"]
    assert (folder / "stderr").read_text() == ""


def test_a_run_leaves_what_the_readme_says(folder: Path) -> None:
    made = Run.open(folder / "checkpoints" / "smoke_cis" / "version_0")
    assert made.name == "smoke_cis/version_0"
    assert list(made.snapshots) == [0, 3, 6, 12]
    assert set(made.measurements()["step"]) == {0, 3, 6, 12}
    assert made.provenance[0]["seeds"] == {"run": 0}
    names = {re.sub(r"events.*", "events", path.name) for path in made.folder.iterdir()}
    wanted = {"config.yaml", "provenance.json", "manifest.jsonl", "last.ckpt", "events"}
    assert names >= wanted | {"snapshots", "measurements", "traces", "timings"}


def test_the_saved_configuration_is_complete_and_gives_the_same_run_again(folder: Path) -> None:
    config = folder / "checkpoints" / "smoke_cis" / "version_0" / "config.yaml"
    told = yaml.safe_load(config.read_text())
    assert told["model"]["init_args"]["learning_rate"] == 0.003
    assert told["model"]["init_args"]["seed"] == told["data"]["init_args"]["seed"] == told["seed_everything"] == 0
    assert told["llc"]["gamma"] == 100.0
    assert told["llc"]["when"]["init_args"]["first"] == 3
    done = run("fit", "-c", str(config))
    assert done.returncode == 0, done.stderr
    again = Run.open(Path("checkpoints", "smoke_cis", "version_0")).measurements()
    assert again.equals(Run.open(config.parent).measurements())


def test_a_second_run_gets_the_next_version_and_can_be_continued(folder: Path) -> None:
    shutil.copytree(folder / "checkpoints", "checkpoints")
    whole = run(*TINY, "--trainer.max_steps", "12", "--seed_everything", "1")
    assert whole.returncode == 0, whole.stderr
    experiment = Path("checkpoints", "smoke_cis")
    assert sorted(path.name for path in experiment.iterdir()) == ["version_0", "version_1"]
    assert set(Run.open(experiment / "version_1").measurements()["seed"]) == {1}
    refused = run(*TINY, "--ckpt_path", "last")
    assert refused.returncode == 1
    assert refused.stderr == (
        "error: checkpoints/smoke_cis/version_1/last.ckpt is of a model with seed=1, but the configuration says "
        "seed=0; give the same, or start a new run without --ckpt_path.\n"
    )
    before = (experiment / "version_1" / "config.yaml").read_text()
    ended = run(*TINY, "--seed_everything", "1", "--llc.gamma", "7", "--ckpt_path", "last")
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: checkpoints/smoke_cis/version_1 has ended, and its rows have llc.gamma=")
    assert "not 7.0; start a new run without --ckpt_path" in ended.stderr
    assert (experiment / "version_1" / "config.yaml").read_text() == before
    continued = run(*TINY, "--seed_everything", "1", "--trainer.max_steps", "15", "--ckpt_path", "last")
    assert continued.returncode == 0, continued.stderr
    assert continued.stdout.splitlines()[0] == "continuing checkpoints/smoke_cis/version_1"
    assert sorted(path.name for path in experiment.iterdir()) == ["version_0", "version_1"]
    assert max(Run.open(experiment / "version_1").measurements()["step"]) == 15
    assert yaml.safe_load((experiment / "version_1" / "config.yaml").read_text())["ckpt_path"] is None


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """Returns the configuration that a command would run."""
    assert main(["fit", *arguments, "--print_config"]) == 0
    return yaml.safe_load(capsys.readouterr().out)


def test_print_config_is_complete_and_can_be_given_back(capsys: pytest.CaptureFixture[str]) -> None:
    first = printed(capsys, "-c", SMOKE)
    assert {"seed_everything", "trainer", "model", "data", "experiment", "last", "ckpt_path"} < first.keys()
    assert {"snapshots", "llc", "llc_units", "ablation"} < first.keys()
    assert {"when", "n_beta", "gamma", "sampler", "step_size", "share", "on_error", "at"} < first["llc"].keys()
    assert not {"data", "name"} & first["llc"].keys()
    Path("all.yaml").write_text(yaml.safe_dump(first))
    assert printed(capsys, "-c", "all.yaml") == first


def test_a_second_file_and_the_command_line_change_single_keys(capsys: pytest.CaptureFixture[str]) -> None:
    Path("over.yaml").write_text("llc: {gamma: 7.0, when: {init_args: {n: 5}}}\n")
    first = printed(capsys, "-c", SMOKE)
    second = printed(capsys, "-c", SMOKE, "-c", "over.yaml", "--llc.chains", "3", "--ablation.when", "null")
    changed = {**first["llc"], "gamma": 7.0, "chains": 3}
    changed["when"] = {**changed["when"], "init_args": {**changed["when"]["init_args"], "n": 5}}
    assert second["llc"] == changed
    assert second["ablation"] == {**first["ablation"], "when": None}
    assert second["llc_units"] == first["llc_units"]


def test_a_model_of_ones_own_needs_no_callback_and_no_data(capsys: pytest.CaptureFixture[str]) -> None:
    Path("own.yaml").write_text("model: {class_path: lightning.pytorch.demos.boring_classes.BoringModel}\n")
    config = printed(capsys, "-c", "own.yaml")
    assert config["llc"]["when"] is None
    assert config["data"] is None


@pytest.fixture(scope="module")
def parser(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The parser of the command, which takes most of the time that it takes to read a configuration."""
    made: list[FitCLI] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("parser"))
        patch.setattr(FitCLI, "fit", lambda cli, **_: made.append(cli))
        patch.setattr(FitCLI, "after_fit", lambda _: None)
        assert main(["fit", "-c", SMOKE]) == 0
    return made[0].parser


@pytest.mark.parametrize("name", ["cis", "induction", "mnist_fashion_cnn", "modular_mlp"])
def test_every_kind_of_model_is_the_one_that_its_checkpoint_is_of(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[FitCLI] = []
    monkeypatch.setattr(FitCLI, "fit", lambda cli, **_: made.append(cli))
    monkeypatch.setattr(FitCLI, "after_fit", lambda _: None)
    configured = ["fit", "-c", str(ROOT / "configs" / "smoke" / f"{name}.yaml")]
    assert main(configured) == 0
    trainer: Any = made[0].trainer
    trainer.strategy.connect(made[0].model)
    trainer.save_checkpoint("before.ckpt", weights_only=True)
    assert main([*configured, "--ckpt_path", "before.ckpt"]) == 0
    assert main([*configured, "--ckpt_path", "before.ckpt", "--model.init_args.learning_rate", "7"]) == 1
    assert len(made) == 2


def test_a_checkpoint_of_a_script_may_hold_tuples_where_a_configuration_has_lists() -> None:
    path, configured = (
        Path("own.ckpt"),
        {"class_path": "mine.Net", "init_args": {"widths": [3, [5]], "more": {"at": [1]}}},
    )
    check_same_model(path, {"hyper_parameters": {"widths": (3, (5,)), "more": {"at": (1,)}}}, configured)
    with pytest.raises(SnapshotError, match="widths="):
        check_same_model(path, {"hyper_parameters": {"widths": (3, (4,))}}, configured)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_configuration_makes_a_model_that_fits_its_data(
    path: Path, parser: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LLC_LIGHTNING_DATA", raising=False)
    for size in ("TRAIN", "TEST"):
        monkeypatch.setattr(f"llc_lightning.data.drawn.{size}", 16)
    below = [] if "overlays" not in path.parts else ["-c", str(ROOT / "configs" / "cis_mse.yaml")]
    made = parser.instantiate_classes(parser.parse_args(["fit", *below, "-c", str(path)]))["fit"]
    assert made["experiment"] in {path.stem, f"smoke_{path.stem}", "cis_mse"}
    assert isinstance(made["llc"], LLCCallback)
    model, data = made["model"], made["data"]
    if isinstance(model, FitsData):
        model.fit_to(data)
    elif isinstance(model, DirectionModel):
        assert model.direction == data.direction
    else:
        assert model.task == data.task
