"""Measuring while a Hugging Face trainer trains: the rows of the Lightning callback, and training untouched."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

from llc_lightning import (
    AblationCallback,
    AtEnd,
    AtStart,
    AtSteps,
    HuggingFaceCallback,
    LLCCallback,
    Run,
    SnapshotCallback,
)
from llc_lightning.measure.snapshot import restore
from llc_lightning.results.snapshots import load_snapshot
from llc_lightning.runtime.errors import SettingError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
TOKENS = torch.randint(0, 11, (32, 6), generator=torch.Generator().manual_seed(0))
SHORT: dict[str, Any] = {"n_beta": 20.0, "gamma": 100.0, "chains": 2, "draws": 4, "burn_in": 2, "step_size": 1e-4}


class LanguageModel(L.LightningModule):
    """A model of transformers with the one method that measuring asks for; Lightning can train it too."""

    def __init__(self, model: GPT2LMHeadModel) -> None:
        super().__init__()
        self.model = model

    def per_example_loss(self, tokens: torch.Tensor) -> torch.Tensor:
        logits = self.model(input_ids=tokens, use_cache=False).logits
        return F.cross_entropy(logits[:, :-1].mT, tokens[:, 1:], reduction="none").mean(dim=-1)

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        return self.per_example_loss(batch[0]).mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)


def model() -> GPT2LMHeadModel:
    torch.manual_seed(0)
    dropout = {"embd_pdrop": 0.1, "attn_pdrop": 0.0, "resid_pdrop": 0.0}
    size = {"vocab_size": 11, "n_positions": 6, "n_embd": 8, "n_layer": 1, "n_head": 2}
    ends = {"bos_token_id": 0, "eos_token_id": 0}
    return GPT2LMHeadModel(GPT2Config(**size, **ends, **dropout, attn_implementation="eager"))


def callbacks(when: Any) -> list[Any]:
    heads = AblationCallback(when, methods=["zero", "resample"], components="heads", data=TOKENS)
    return [LLCCallback(when, components=["all"], data=TOKENS, **SHORT), heads]


def train(folder: Path, *measuring: Any, hold: GPT2LMHeadModel | None = None) -> GPT2LMHeadModel:
    """Trains for three steps with the Trainer of transformers."""
    net = model()
    made = [HuggingFaceCallback(list(measuring), LanguageModel(hold or net), TOKENS, seed=5)] if measuring else []
    quiet: dict[str, Any] = {"report_to": "none", "disable_tqdm": True, "save_strategy": "no", "use_cpu": True}
    arguments = TrainingArguments(
        output_dir=str(folder), max_steps=3, per_device_train_batch_size=8, logging_strategy="no", seed=0, **quiet
    )
    examples: Any = [{"input_ids": row, "labels": row} for row in TOKENS]
    Trainer(model=net, args=arguments, train_dataset=examples, callbacks=made).train()
    return net


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, GPT2LMHeadModel]:
    folder = tmp_path_factory.mktemp("hf")
    when = AtSteps([0, 2])
    return folder / "llc_lightning", train(folder, *callbacks(when), SnapshotCallback(AtEnd()))


def test_it_measures_and_keeps_what_is_due(trained: tuple[Path, GPT2LMHeadModel]) -> None:
    run = Run.open(trained[0])
    assert list(run.snapshots) == [0, 2, 3]
    rows = run.measurements()
    assert set(rows["step"]) == {0, 2}
    assert {"llc", "ablation_effect"} <= set(rows["quantity"])
    assert set(rows["seed"]) == {5}


def test_training_is_untouched(trained: tuple[Path, GPT2LMHeadModel], tmp_path: Path) -> None:
    plain = dict(train(tmp_path).named_parameters())
    assert all(torch.equal(one, plain[name]) for name, one in trained[1].named_parameters())


def test_the_rows_are_those_of_lightnings_callbacks_at_the_same_weights(
    trained: tuple[Path, GPT2LMHeadModel], tmp_path: Path
) -> None:
    run = Run.open(trained[0])
    module = LanguageModel(model())
    restore(module, load_snapshot(run.snapshots[2]))
    measuring = callbacks(AtStart())
    for one in measuring:
        one.own_seed = 5
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(TOKENS), batch_size=8)
    quiet: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = L.Trainer(
        max_steps=1,
        accelerator="cpu",
        callbacks=measuring,
        default_root_dir=tmp_path,
        enable_model_summary=False,
        **quiet,
    )
    trainer.fit(module, loader)
    theirs = Run.open(tmp_path / "llc_lightning").measurements()
    ours = run.measurements()
    ours = ours.loc[ours["step"] == 2].reset_index(drop=True)
    place = ["run", "step"]
    pd.testing.assert_frame_equal(ours.drop(columns=place), theirs.drop(columns=place), check_exact=True)


def test_what_it_will_cost_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = SimpleNamespace(sentence=lambda times: f"one measurement of {times} is dear", advice="")
    monkeypatch.setattr("llc_lightning.huggingface.cost_told", lambda *_: told)
    train(tmp_path, LLCCallback(AtSteps([0, 2]), components=["all"], data=TOKENS, **SHORT))
    assert capsys.readouterr().out.count("llc: one measurement of 2 is dear\n") == 1


def test_a_module_of_another_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="module does not hold the model that is trained"):
        train(tmp_path, *callbacks(AtEnd()), hold=model())
