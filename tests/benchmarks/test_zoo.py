"""The zoo's table: what is in it, what it reads from a run, what it trains again, and what it says."""

import json
from dataclasses import replace
from math import isnan, nan
from pathlib import Path

import pytest

from benchmarks import zoo
from benchmarks.zoo import (
    DONE,
    ROOT,
    Trained,
    between_marks,
    command,
    main,
    missing_data,
    outcome_key,
    table_line,
    trained,
)
from benchmarks.zoo_rows import CIS, FOURTH, ZOO, Expected, Metric, Training, circuit_margin, logged, stored
from llc_lightning.analysis.cis import superposition_verdict
from llc_lightning.results.run import Run
from tests.analysis.synthetic import SyntheticRun

ONE = Metric("one", lambda run: 1.0)
NOTHING = Trained(Run(Path("nowhere")), 10.0)
SOME = Training("a", "cis", (Expected(ONE, high=1.0),))


def test_every_training_has_a_configuration_a_name_of_its_own_and_bounds() -> None:
    assert {training.config for training in ZOO} == {path.stem for path in (ROOT / "configs").glob("*.yaml")}
    assert len({training.name for training in ZOO}) == len(ZOO)
    bounds = [expected for training in ZOO for expected in training.expected]
    assert all(str(one) != ">= -inf" and one.low <= one.high for one in bounds)


def test_the_command_trains_one_seed_and_measures_nothing_but_what_is_asked_for() -> None:
    made = command(SOME, 7, Path("runs"))
    assert made[made.index("--seed_everything") + 1] == "7"
    assert made[made.index("--experiment") + 1] == "zoo_a"
    assert made[made.index("configs/cis.yaml") + 2] == "configs/overlays/no_measuring.yaml"
    assert "configs/overlays/no_measuring.yaml" not in command(replace(SOME, measured=("-c", "x.yaml")), 7, Path())


@pytest.mark.parametrize(
    ("bounds", "said", "kept"),
    [
        ({"high": 0.16}, "<= 0.16", [0.1, 0.16]),
        ({"low": 32}, ">= 32", [32, 33]),
        ({"low": 0.96, "high": 1.04}, "0.96 .. 1.04", [1.0]),
        ({"low": 0, "high": 0}, "0", [0.0]),
    ],
)
def test_expectations(bounds: dict[str, float], said: str, kept: list[float]) -> None:
    expected = Expected(ONE, **bounds)
    assert str(expected) == said
    assert all(expected.kept(value) for value in kept)
    assert not expected.kept(nan)
    assert not expected.kept(-0.01 if expected.low >= 0 else 0.17)


def test_a_line_holds_every_seed_and_a_single_miss_or_failure_shows() -> None:
    (expected,) = SOME.expected
    assert table_line(SOME, expected, [NOTHING, NOTHING]) == ("| a | one | <= 1 | 1 | 1 | 10 | kept |", True)
    told = "| a | one | <= 1 | 1 | no value | 10 | **missed** |"
    assert table_line(SOME, expected, [NOTHING, None]) == (told, False)
    assert not table_line(SOME, Expected(ONE, high=0.9), [NOTHING])[1]


def test_numbers_are_read_from_what_a_run_stored_and_logged(tmp_path: Path) -> None:
    run = Run(SyntheticRun(steps=(300, 3000)).write(tmp_path))
    verdict = superposition_verdict(run.measurements())
    assert verdict is not None
    most = verdict.loss.value + 1e-4  # on more examples than the baselines have
    assert stored("loss").of(run) == pytest.approx(most)
    assert stored("circuits_solved").of(run) == 32
    assert stored("circuits_solved", method="dedicated").of(run) == 16
    assert stored("sign_accuracy", loss="circuit:03").of(run) > 0.9
    assert (stored("loss") / stored("baseline_loss", method="dedicated")).of(run) == stored("loss").of(run) / 0.5
    assert (CIS.of(run), FOURTH.of(run)) == (1.0, verdict.loss_ratio.value)
    assert logged("train/loss").of(run) < 0.2 < 1 < logged("train/loss", max).of(run)
    assert isnan(logged("val/nothing").of(run))
    assert isnan(stored("llc_shift").of(run))
    names = [stored("loss").name, stored("baseline_loss", method="zero").name, logged("val/loss", min).name]
    assert names == ["loss", "baseline_loss (zero)", "min of val/loss"]


def test_the_margin_is_of_the_weakest_true_head_over_the_strongest_other(monkeypatch: pytest.MonkeyPatch) -> None:
    effects = {"0.0": 0.01, "0.1": 3.0, "1.0": -0.04, "1.1": 2.0}
    rows = SyntheticRun(steps=(5,)).table().iloc[: len(effects)].assign(
        step=5, quantity="ablation_effect", method="resample", loss="train", kind="head", value=list(effects.values()),
        component=[f"net.blocks.{name.replace('.', '.attn.hook_z[')}]" for name in effects],
    )  # fmt: skip
    monkeypatch.setattr(Run, "measurements", lambda self: rows)
    assert circuit_margin(("0.1", "1.1")).of(Run(Path())) == pytest.approx(50.0)


def test_a_training_is_done_again_when_what_decides_its_outcome_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = SyntheticRun(steps=(5,)).write(tmp_path / "zoo_a" / "version_0")
    (run / DONE).write_text(json.dumps({"key": outcome_key(SOME, 0), "seconds": 3.0}))
    monkeypatch.setattr(zoo.subprocess, "run", lambda *_, **__: pytest.fail("it was trained again"))
    assert trained(SOME, 0, tmp_path) == Trained(Run(run), 3.0)
    others = [outcome_key(SOME, 1), outcome_key(replace(SOME, config="cis_mse"), 0)]
    others.append(outcome_key(replace(SOME, overrides=("--model.init_args.width", "3")), 0))
    assert len({outcome_key(SOME, 0), *others}) == 4
    for other, again in ((replace(SOME, config="cis_mse"), False), (SOME, True)):
        with pytest.raises(pytest.fail.Exception, match="trained again"):
            trained(other, 0, tmp_path, again=again)


def test_what_lacks_its_data_is_left_out_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wants = replace(SOME, data=("text/some.txt",))
    assert missing_data(SOME) == ""
    monkeypatch.delenv("LLC_LIGHTNING_DATA", raising=False)
    assert missing_data(wants) == "set LLC_LIGHTNING_DATA to the folder of real data"
    monkeypatch.setenv("LLC_LIGHTNING_DATA", str(tmp_path))
    assert missing_data(wants) == f"{tmp_path} lacks text/some.txt"
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "some.txt").write_text("x")
    assert missing_data(wants) == ""


def test_an_unknown_training_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cis_xro"]) == 2
    assert "unknown training 'cis_xro'; did you mean 'cis_xor'" in capsys.readouterr().err


def test_the_table_stands_between_the_marks() -> None:
    text = "a\n<!-- zoo -->\nold\n<!-- /zoo -->\nb\n"
    once = between_marks(text, "| new |")
    assert once == "a\n<!-- zoo -->\n\n| new |\n\n<!-- /zoo -->\nb\n" == between_marks(once, "| new |")
    with pytest.raises(ValueError, match="lacks the marks"):
        between_marks("no marks", "| new |")
