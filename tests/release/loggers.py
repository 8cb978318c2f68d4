"""One training with all loggers at once, offline, by the real packages: equal curves, at the right steps, none lost.

`make release-check` runs it; it needs the extra `loggers`.
"""

import csv
import json
import os
import re
import struct
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

Curves = dict[str, dict[int, float]]
MEASURED = ("llc", "flagged", "ablation", "analysis", "health")


class Net(L.LightningModule):
    """A small net that logs its loss."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(3, 4), nn.Linear(4, 1)

    def per_example_loss(self, batch: Any) -> torch.Tensor:
        """Returns the squared error of each example."""
        x, y = batch
        return (self.down(self.up(x).tanh())[:, 0] - y).square()

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        """Trains on the mean."""
        loss = self.per_example_loss(batch).mean()
        self.log("train/loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Returns plain descent."""
        return torch.optim.SGD(self.parameters(), lr=0.05)


def loggers(folder: Path) -> dict[str, Any]:
    """Returns one logger of each kind, none of which uses the network."""
    from lightning.pytorch.loggers import CSVLogger, MLFlowLogger, TensorBoardLogger, WandbLogger

    from llc_lightning.loggers import TrackioLogger

    return {
        "tensorboard": TensorBoardLogger(folder, name="tb", version=0),
        "csv": CSVLogger(folder, name="csv", version=0),
        "wandb": WandbLogger(save_dir=folder, offline=True, project="p"),
        "mlflow": MLFlowLogger("p", tracking_uri=f"sqlite:///{folder}/mlflow.db"),
        "trackio": TrackioLogger("p", name="run"),
    }


def train(folder: Path, every: list[Any]) -> None:
    """Trains for six steps and measures at three, which are no multiples of the steps at which the loss is logged."""
    from llc_lightning import AblationCallback, AtSteps, LLCCallback

    torch.manual_seed(0)
    x = torch.randn(64, 3)
    y = x.prod(dim=1)
    when = AtSteps([0, 1, 5])
    short: dict[str, Any] = {"chains": 2, "draws": 8, "burn_in": 4, "step_size": 1e-4, "gamma": 10.0}
    measuring = [
        LLCCallback(when, n_beta=[10.0, 30.0], components=["all", "layers"], data=(x, y), **short),
        AblationCallback(when, methods=["zero", "noise(scale=0.5)"], components="layers", data=(x, y)),
    ]
    trainer = L.Trainer(
        max_steps=6, log_every_n_steps=2, logger=every, callbacks=measuring, accelerator="cpu",
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False, default_root_dir=folder,
    )  # fmt: skip
    trainer.fit(Net(), DataLoader(TensorDataset(x, y), batch_size=16))


def of_tensorboard(folder: Path) -> Curves:
    """Reads the event files."""
    from llc_lightning.report.events import read_events

    metrics = read_events(folder / "tb" / "version_0").metrics
    return {tag: {int(s): float(v) for s, v in curve.itertuples(index=False)} for tag, curve in metrics.items()}


def of_csv(folder: Path) -> Curves:
    """Reads metrics.csv."""
    found: Curves = defaultdict(dict)
    with (folder / "csv" / "version_0" / "metrics.csv").open() as file:
        for row in csv.DictReader(file):
            for tag, text in row.items():
                if text and tag != "step":
                    found[tag][int(row["step"])] = float(text)
    return found


def of_wandb(folder: Path) -> Curves:
    """Reads the file of the offline run."""
    import wandb
    from wandb.proto import wandb_internal_pb2

    wandb.finish()  # as at the end of a script
    wandb.teardown()  # waits for the process that writes

    (path,) = folder.glob("wandb/offline-run-*/*.wandb")
    found: Curves = defaultdict(dict)
    for data in records(path.read_bytes()):
        record: Any = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        items = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        for tag, value in items.items():
            if "trainer/global_step" in items and not tag.startswith("_"):
                found[tag][int(items["trainer/global_step"])] = float(value)
    return found


def records(content: bytes) -> Iterator[bytes]:
    """Yields the records of a log as LevelDB writes it: blocks of 32 KiB, 7 bytes before each part of a record."""
    block, head, at, joined = 32768, 7, 7, b""
    while at + head <= len(content):
        if block - at % block < head:
            at += block - at % block
            continue
        size, kind = struct.unpack_from("<HB", content, at + 4)
        joined += content[at + head : at + head + size]
        at += head + size
        if kind in (1, 4):  # a whole record, or the last part of one
            yield joined
            joined = b""


def of_mlflow(folder: Path) -> Curves:
    """Reads the database."""
    import mlflow

    client: Any = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("p").experiment_id])
    return {
        tag: {point.step: point.value for point in client.get_metric_history(run.info.run_id, tag)}
        for tag in run.data.metrics
    }


def of_trackio(folder: Path) -> Curves:
    """Reads the database."""
    from trackio.sqlite_storage import SQLiteStorage

    found: Curves = defaultdict(dict)
    for row in SQLiteStorage.get_logs("p", "run"):
        for tag, value in row.items():
            if tag not in ("step", "timestamp"):
                found[tag][int(row["step"])] = float(value)
    return found


def same(ours: Curves, theirs: Curves, *, rename: Any = lambda tag: tag) -> list[str]:
    """Returns which measured curves differ, in steps or, beyond 32-bit floats, in values."""
    wrong: list[str] = []
    for tag, curve in ours.items():
        if tag.startswith((*MEASURED, "train/loss")):
            other = theirs.get(rename(tag), {})
            close = all(
                abs(other[step] - value) <= 1e-6 * max(1e-6, abs(value))
                for step, value in curve.items()
                if step in other
            )
            if other.keys() != curve.keys() or not close:
                wrong.append(f"{tag}: {curve} against {other}")
    return wrong


def main() -> None:
    """Trains, reads what each logger kept, and compares it with TensorBoard's."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        os.environ |= {"TRACKIO_DIR": str(folder / "trackio"), "WANDB_MODE": "offline", "HF_HUB_OFFLINE": "1"}
        os.chdir(folder)
        train(folder, list(loggers(folder).values()))
        ours = of_tensorboard(folder)
        measured = [tag for tag in ours if tag.startswith(MEASURED)]
        assert {step for tag in measured for step in ours[tag]} == {0, 1, 5}, ours
        for name, read in {"csv": of_csv, "wandb": of_wandb, "mlflow": of_mlflow, "trackio": of_trackio}.items():
            # MLflow allows fewer characters in a name; Lightning leaves the others out, and says so.
            rename = (lambda tag: re.sub("[^a-zA-Z0-9_/. -]+", "", tag)) if name == "mlflow" else (lambda tag: tag)
            wrong = same(ours, read(folder), rename=rename)
            print(f"{name:8} {len(measured) + 1} curves, {len(wrong)} differ from TensorBoard's")
            for one in wrong[:5]:
                print("   ", one)
            if wrong:
                raise SystemExit(1)


if __name__ == "__main__":
    main()
