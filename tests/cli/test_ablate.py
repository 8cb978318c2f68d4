"""``analyze.py ablate``: any methods on the snapshots of a run."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from llc_lightning.cli.ablate import Ablated, effect_table, interaction_table
from llc_lightning.cli.analyze import main as analyze
from llc_lightning.cli.offline import model_and_examples, restored
from llc_lightning.cli.train import main as train
from llc_lightning.components.listing import find_components
from llc_lightning.results.run import Run
from llc_lightning.runtime.batches import take
from llc_lightning.runtime.status import is_failed
from tests.ablation.edited_copies import METHODS, edited_copies
from tests.analysis.synthetic import frame

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
SMOKE = Path(__file__).parents[2] / "configs" / "smoke" / "cis.yaml"
UNITS = [f"net.hook_hidden[{unit}]" for unit in range(6)]
NAMES = ["zero", "optimal(steps=5)", "noise(scale=0.5)"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a short run."""
    root = tmp_path_factory.mktemp("runs") / "checkpoints"
    short = [
        *(
            "--trainer.max_steps",
            "6",
            "--trainer.enable_progress_bar",
            "false",
            "--trainer.default_root_dir",
            str(root),
        ),
        *("--data.init_args.batches_per_epoch", "5", "--data.init_args.analysis_size", "4096"),
        *("--llc.when", "null", "--llc_units.when", "null", "--ablation.methods", "[zero]"),
        *("--ablation.examples", "64"),
    ]
    assert train(["fit", "-c", str(SMOKE), *short]) == 0
    return root / "smoke_cis" / "version_0"


def told(capsys: pytest.CaptureFixture[str], *argv: object, code: int = 0) -> str:
    capsys.readouterr()
    assert analyze(["ablate", *map(str, argv)]) == code
    out, err = capsys.readouterr()
    return out if code == 0 else err


def test_methods_on_units_sets_and_metrics(capsys: pytest.CaptureFixture[str], run: Path, tmp_path: Path) -> None:
    out, figures = tmp_path / "checkpoints" / "ablated" / "version_0", tmp_path / "figures"
    some = ["--components", *UNITS, "+".join(UNITS[:2]), "--examples", 4096, "--metrics", "kl(output=net.hook_out)"]
    said = told(capsys, run, *some, "--methods", *NAMES, "--out", out, "--figures", figures)
    for part in ("~ zero", "Rank correlations between methods", f"wrote {out}/measurements/", "next: "):
        assert part in said
    assert {path.name for path in figures.iterdir()} == {"component-by-method.png", "agreement-of-methods.png"}
    rows = Run.open(out).measurements()
    effects = rows[rows["quantity"] == "ablation_effect"]
    assert set(effects["method"]) == set(NAMES)
    assert set(effects["step"]) == {max(Run.open(run).snapshots)}
    assert set(effects["component"]) == {*UNITS, "+".join(UNITS[:2])}
    assert "metric:kl(output=net.hook_out)" in set(effects["loss"])
    (unit,) = effects[(effects["component"] == UNITS[0]) & (effects["loss"] == "train")].query("method == 'zero'").index
    details = json.loads(effects.loc[unit, "details"])
    assert details["low"] <= effects.loc[unit, "value"] <= details["high"]
    assert 0 < details["p"] <= 1


def test_weights_of_units_layers_and_the_whole_net(
    capsys: pytest.CaptureFixture[str], run: Path, tmp_path: Path
) -> None:
    out, figures, parts = tmp_path / "checkpoints" / "ablated" / "version_0", tmp_path / "figures", [*UNITS, "all"]
    some = ["--components", *parts, "--examples", 4096, "--out", out, "--figures", figures]
    said = told(capsys, run, *some, "--methods", *METHODS)
    assert "Rank correlations between methods" in said
    assert {path.name for path in figures.iterdir()} == {"component-by-method.png", "agreement-of-methods.png"}
    rows = Run.open(out).measurements()
    effects = rows[(rows["quantity"] == "ablation_effect") & (rows["loss"] == "train")]
    assert not any(map(is_failed, effects["status"]))
    snapshot, (module, _) = restored(run), model_and_examples(run)
    module.load_state_dict(snapshot.params, strict=False)
    batch = take(snapshot.data, slice(4096))
    for component in find_components(module, parts):
        for method in METHODS:
            copies = edited_copies(module, component, method, seed=snapshot.seed)
            with torch.no_grad():
                losses = [one.per_example_loss(batch) - module.per_example_loss(batch) for one in copies]
            rise = torch.stack(losses).mean()
            row = effects[(effects["component"] == component.address) & (effects["method"] == method)]
            assert list(row["value"]) == pytest.approx([float(rise)], abs=1e-6), (component, method)


def test_a_wrong_method_is_named(capsys: pytest.CaptureFixture[str], run: Path) -> None:
    assert "did you mean 'zero'?" in told(capsys, run, "--methods", "zeor", code=1)
    assert "unknown option of 'noise' 'scal'" in told(capsys, run, "--methods", "noise(scal=1)", code=1)


def test_members_of_pairs_are_measured_on_the_same_examples(
    capsys: pytest.CaptureFixture[str], run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "checkpoints" / "ablated" / "version_0"
    said = told(
        capsys, run, "--components", "pairs:net.hook_out[*]", "--methods", "zero", "--examples", 4096, "--out", out
    )
    rows = Run.open(out).measurements()
    effects = rows[(rows["quantity"] == "ablation_effect") & (rows["loss"] == "train")]
    members = effects[effects["kind"] != "pair"]
    assert set(members["component"]) == {one for name in effects["component"] for one in name.split("+")}
    assert "Pairs that single ablations hide or make up" in said
    assert "Left out" not in said


def test_pairs_without_members_have_no_number() -> None:
    pair = {"quantity": "ablation_effect", "component": "z[0]+z[1]", "kind": "pair", "method": "zero", "value": 1.0}
    members = [pair | {"component": f"z[{i}]", "kind": "head", "n_examples": 4096} for i in range(2)]
    table = interaction_table(frame([pair | {"n_examples": 32}, *members]))
    assert table is not None
    assert table.rows == ()
    assert "not measured on the same examples: 1 pairs" in table.note


def test_the_largest_effects_are_shown_and_json_gets_all(
    capsys: pytest.CaptureFixture[str], run: Path, tmp_path: Path
) -> None:
    out, figures = tmp_path / "checkpoints" / "ablated" / "version_0", tmp_path / "figures"
    some = [run, "--methods", "zero", "--examples", 4096, "--out", out, "--figures", figures]
    said = told(capsys, *some)
    assert "Effects of ablating, the largest first" in said
    assert "component-by-method.png is not drawn: it takes two methods" in said
    assert "agreement-of-methods.png is not drawn" in said
    assert list(figures.iterdir()) == []
    found = json.loads(told(capsys, *some, "--json"))
    rows = Run.open(out).measurements()
    rows = rows[rows["quantity"] == "ablation_effect"]
    assert len(found["effects"]) == len(rows) > 20
    assert f"{len(rows) - 20} more: --json gives all." in said
    assert len(found["notes"]) == 2
    train = [one for one in found["effects"] if one["loss"] == "train"]
    assert found["effects"][: len(train)] == train
    sizes = [abs(one["value"]) for one in train]
    assert sizes == sorted(sizes, reverse=True)
    shown = [line for line in said.splitlines() if line.startswith("net.")]
    assert len(shown) == 20
    assert shown[0].startswith(train[0]["component"])
    assert "4096" in shown[0]
    assert "ok" in shown[0]


def test_only_what_the_call_asked_for_is_shown(capsys: pytest.CaptureFixture[str], run: Path, tmp_path: Path) -> None:
    out = tmp_path / "checkpoints" / "ablated" / "version_0"
    some = [run, "--components", *UNITS[:3], "--out", out, "--json"]
    told(capsys, *some, "--methods", "zero", "mean", "--examples", 64)
    found = json.loads(told(capsys, *some[:3], *some[5:], "--methods", "zero", "--examples", 32))["effects"]
    assert {(one["component"], one["method"], one["n_examples"]) for one in found if one["loss"] == "train"} == {
        (UNITS[0], "zero", 32)
    }


def test_failed_effects_come_last_and_have_no_value() -> None:
    one = {"quantity": "ablation_effect", "component": "a", "method": "zero", "stderr": 0.1, "n_examples": 5}
    rows = frame([one | {"value": 1.0}, one | {"value": np.nan, "status": "nan-loss", "stderr": np.nan}])
    table = effect_table(rows)
    assert table is not None
    assert table.rows[1] == ("a", "zero", "train", "no value", "5", "nan-loss")
    assert Ablated([], rows, [], []).records()[1]["value"] is None
    assert effect_table(rows.iloc[:0]) is None


def test_a_folder_for_figures_that_cannot_be_made_is_said_before_measuring(
    capsys: pytest.CaptureFixture[str], run: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    out = tmp_path / "checkpoints" / "ablated" / "version_0"
    said = told(capsys, run, "--methods", "zero", "--out", out, "--figures", tmp_path / "file" / "figures", code=1)
    assert "choose another place with --figures" in said
    assert not out.exists()


def test_components_are_listed_with_what_is_known(capsys: pytest.CaptureFixture[str], run: Path) -> None:
    capsys.readouterr()
    assert analyze(["components", str(run), "--json"]) == 0
    found = {one["component"]: one for one in json.loads(capsys.readouterr().out)["components"]}
    assert list(found) == ["all", "net.hook_hidden", "net.hook_out"]
    assert found["all"]["no ablation, since"] == "it has no activation"
    assert (found["net.hook_hidden"]["calls"], found["net.hook_hidden"]["no LLC, since"]) == ("1", "")
    assert analyze(["components", str(run), "--components", "net.hook_hidden[1]"]) == 0
    told = capsys.readouterr().out
    assert "net.hook_hidden[1]" in told
    assert "Units are addressed as net.hook_hidden[0], net.hook_hidden[0,1] or net.hook_hidden[*]." in " ".join(
        told.split()
    )
