"""What a contributor adds is one file: here it is one of this folder, and found wherever users look for it."""

import runpy
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

from configs.source import comments
from configs.source.__main__ import text_of
from configs.source.experiments import Experiment
from configs.source.families import CIS
from docs import tables
from llc_lightning import ablation_effects, estimate_llc, find_components, loss_fn
from llc_lightning.ablation.engine.base import METHODS
from llc_lightning.callbacks.base import CALLBACKS
from llc_lightning.cli.analyze import main as analyze
from llc_lightning.cli.train import main as train
from llc_lightning.measure.measurements import MEASUREMENTS, measure
from llc_lightning.results.quantities import QUANTITIES
from llc_lightning.results.run import Run
from llc_lightning.runtime.kinds import KINDS
from llc_lightning.runtime.status import REASONS, explain, join
from llc_lightning.sampling.base import SAMPLERS
from llc_lightning.sampling.observables.base import OBSERVABLES
from tests.measure.small import Net, Stage, snapshot

TABLES: list[Any] = [CALLBACKS, REASONS, KINDS, MEASUREMENTS, METHODS, OBSERVABLES, QUANTITIES, SAMPLERS]
HERE = {"spread", "tiny", "half", "sign_only", "reach", "weight_spread", "careful"}
ROOT = Path(__file__).parents[2]
SMOKE = ROOT / "configs" / "smoke" / "cis.yaml"
SHORT = [
    *("--trainer.max_steps", "4", "--trainer.enable_progress_bar", "false", "--trainer.log_every_n_steps", "2"),
    *("--data.init_args.batches_per_epoch", "4", "--data.init_args.analysis_size", "256"),
    *("--data.init_args.validation_size", "0", "--trainer.limit_val_batches", "0"),
    *("--llc_units.when", "null", "--llc.when", "null", "--ablation.when", "null"),
    *("--snapshots.when", "{class_path: llc_lightning.AtSteps, init_args: {steps: [2, 4]}}"),
    *("--spread.when", "{class_path: llc_lightning.AtSteps, init_args: {steps: [2, 4], at_start: true}}"),
    *("--spread.scale", "2"),
]


@pytest.fixture(scope="module", autouse=True)
def doors() -> Iterator[None]:
    """Registers what stands in this folder, and takes it out again."""
    before = [dict(table._entries) for table in TABLES]
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if not path.name.startswith("test_"):
            import_module(f"tests.doors.{path.stem}")
    yield
    for table, entries in zip(TABLES, before, strict=True):
        table._entries.clear()
        table._entries.update(entries)


@pytest.fixture(scope="module")
def run(doors: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that measured the third kind by its key in the configuration."""
    root = tmp_path_factory.mktemp("runs") / "checkpoints"
    assert train(["fit", "-c", str(SMOKE), *SHORT, "--trainer.default_root_dir", str(root)]) == 0
    return root / "smoke_cis" / "version_0"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_third_kind_is_measured_stored_and_shown(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = Run.open(run).measurements()
    assert set(rows["quantity"]) == {"weight_spread"}
    assert sorted(set(rows["step"])) == [0, 2, 4]
    assert (rows["value"] > 0).all()
    capsys.readouterr()
    assert analyze(["measure", str(run), "--only", "spread"]) == 0
    assert capsys.readouterr().out.startswith("nothing to do")
    assert analyze(["trajectories", str(run)]) == 0
    assert analyze(["summary", str(run)]) == 0
    assert capsys.readouterr().out.count("weight_spread") >= 2
    assert analyze(["report", str(run), "--static"]) == 0
    assert "weight_spread" in (run / "report.html").read_text()
    assert b"weight_spread" in b"".join(path.read_bytes() for path in run.glob("events.*"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_third_kind_is_measured_afterwards_to_the_byte(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "checkpoints" / "smoke_cis" / "version_0"
    assert analyze(["measure", str(run), "--again", "--out", str(out)]) == 0
    for part in ("step=00000002-spread", "step=00000004-spread"):
        name = f"measurements/{part}.parquet"
        assert (out / name).read_bytes() == (run / name).read_bytes()


def test_a_third_kind_gives_the_same_rows_on_any_number_of_processes() -> None:
    plan = MEASUREMENTS.get("spread").facts.plan(components=("neurons", "layers"))
    alone = measure(plan, snapshot()).rows
    assert len(alone) == 11
    first, *others = Stage(3).play(lambda workers: measure(plan, snapshot(), workers=workers))
    assert first.rows == alone
    assert all(other.rows == [] for other in others)


def test_a_third_kind_that_fails_has_rows_with_status_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MEASUREMENTS.get("spread").item, "measure", lambda *_, **__: 1 / 0)
    plan = MEASUREMENTS.get("spread").facts.plan(components=("layers",))
    rows = measure(plan, snapshot(), on_error="skip").rows
    assert {(row.quantity, row.status) for row in rows} == {("weight_spread", "error")}


def test_a_configuration_has_the_words_of_a_third_kind() -> None:
    comments.of_callbacks.cache_clear()
    text = text_of("ours", Experiment(CIS, "Ours.", both={"spread.scale": 2.0}), smoke=True)
    comments.of_callbacks.cache_clear()
    assert "# Measures how far the weights of components spread.\nspread:\n  # Of the values.\n  scale: 2.0\n" in text


def quadratic(params: dict[str, torch.Tensor], batch: torch.Tensor) -> torch.Tensor:
    return 0.5 * params["w"].square().sum() + 0.0 * batch


def estimate(**settings: Any) -> Any:
    given: dict[str, Any] = {"n_beta": 10.0, "gamma": 1.0, "chains": 4, "draws": 40, "burn_in": 10, **settings}
    return estimate_llc(quadratic, {"w": torch.zeros(3)}, torch.zeros(4), **given)


def test_an_observable_is_found_by_its_name() -> None:
    record = estimate(observe=["reach"], draws=25)
    reach = record.observed["reach"]
    assert reach.shape == (4, 25), "a look at every draw, where there are few"
    assert bool((reach > 0).all())
    assert torch.equal(record.excess, estimate(draws=25).excess), "it moves no chain"


def test_a_diagnostic_gives_its_reason() -> None:
    record = estimate(n_beta=1e-4)
    assert "tiny" in record.status
    assert any(sentence.startswith("tiny: the value is below") for sentence in explain(record.status))
    assert "tiny" not in estimate().status


def test_a_sampler_is_chosen_by_its_name() -> None:
    careful, half = estimate(sampler="careful", step_size=0.02), estimate(sampler="sgld", step_size=0.01)
    assert torch.equal(careful.excess, half.excess)


def test_a_kind_of_component_is_listed_measured_and_ablated() -> None:
    net = Net()
    found = find_components(net, "halves")
    assert [component.address for component in found] == ["hook_one[0,2,4]", "hook_two[0,2]", "hook_out[0]"]
    table = ablation_effects(net, snapshot().data, components="halves", methods=["zero"], seed=0)
    assert set(table["kind"]) >= {"half"}
    plan = MEASUREMENTS.get("llc").facts.plan(components=("halves",), n_beta=(10.0,), gamma=1.0)
    assert [component.kind for component in plan.components_of(net)] == ["half"] * 3


def test_an_ablation_of_weights_is_a_method_like_others() -> None:
    net = Net()
    loss, data = loss_fn(net), snapshot().data
    effects = ablation_effects(net, data, components="layers", methods=["sign_only"], seed=0)
    effects = effects[effects["loss"] == "train"]
    params = dict(net.named_parameters())
    for component, effect in zip(effects["component"], effects["value"], strict=True):
        (layer,) = find_components(net, component)
        edited = {
            name: torch.where(mask, value.sign(), value)
            for name, value in params.items()
            for mask in [layer.moved(params).get(name, torch.zeros_like(value, dtype=torch.bool))]
        }
        with torch.no_grad():
            wanted = (loss(edited, data) - loss(params, data)).mean().item()
        assert effect == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize(("n", "status"), [(24, "ok"), (5, "few-examples"), (1, "one-example+few-examples")])
def test_an_ablation_gives_a_reason_of_its_own(n: int, status: str) -> None:
    data = tuple(tensor[:n] for tensor in snapshot().data)
    table = ablation_effects(Net(), data, components="layers", methods=["zero", "sign_only"], seed=0)
    train = table[table["loss"] == "train"]
    own, other = (set(train.loc[train["method"] == method, "status"]) for method in ("sign_only", "zero"))
    assert {"+".join(name for name in one.split("+") if name != "too-few-examples") or "ok" for one in own} == {status}
    assert not any("few-examples" in one.split("+") for one in other)
    assert explain(join(["few-examples"])) == ("few-examples: few examples tell little of signs; measure on more.",)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.kind)
def test_what_is_here_is_in_every_table(table: Any) -> None:
    assert len(HERE & set(table.names())) == 1


@pytest.mark.parametrize(
    ("contract", "name"),
    [
        ("contracts/test_samplers", "careful"),
        ("known_answers/test_cases", "three scales, careful"),
        ("contracts/test_ablation_methods", "sign_only"),
        ("contracts/test_measurements", "spread"),
        ("contracts/test_component_kinds", "half"),
    ],
)
def test_contracts_ask_it_too(contract: str, name: str) -> None:
    module = runpy.run_path(str(ROOT / "tests" / f"{contract}.py"))
    asked = [mark.args for item in module.values() for mark in getattr(item, "pytestmark", [])]
    asked += [getattr(item, "_fixture_function_marker", item) for item in module.values()]
    assert name in repr(asked)


def test_the_pages_name_it_too() -> None:
    written = "".join(tables.written(page) for page in tables.TABLES)
    assert {name for name in HERE if f"`{name}`" in written} >= {"tiny", "reach", "weight_spread", "careful"}
