"""A plausible measurement table of a CIS run, drawn from known laws: what the analysis must find is planted here."""

import json
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch.utils.tensorboard import SummaryWriter

from llc_lightning.results.provenance import write_provenance
from llc_lightning.results.schema import Row
from llc_lightning.results.store import Store, part_name
from llc_lightning.results.timings import write_timing

STEPS = (0, *(round(step) for step in np.geomspace(30, 3000, 15)))
RUNGS = (100.0, 300.0, 1000.0)
METHODS = {"zero": 1.0, "mean": 0.8, "resample": 1.35, "noise": 0.55}
COLUMNS = [
    *("run", "seed", "step", "epoch", "quantity", "value", "stderr", "status", "component", "kind", "method", "loss"),
    *("params_moved", "settings", "replicate", "unit", "chains", "draws", "rhat", "ess", "n_beta", "gamma"),
    *("step_size", "n_examples", "details", "revision", "weights", "schema_version"),
]
BLANK: dict[str, Any] = {
    **{"run": "cis/version_0", "seed": 0, "step": 0, "epoch": 0, "quantity": "", "value": np.nan, "stderr": np.nan},
    **{"status": "ok", "component": "", "kind": "", "method": "", "loss": "train", "params_moved": "", "settings": ""},
    **{"replicate": 0, "unit": "", "chains": 0, "draws": 0, "rhat": np.nan, "ess": np.nan, "n_beta": np.nan},
    **{"gamma": np.nan, "step_size": np.nan, "n_examples": 0, "details": "{}", "revision": 1, "weights": "raw"},
    **{"schema_version": 1},
}


def frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Returns rows given by the columns that matter as a full table."""
    return pd.DataFrame([{**BLANK, **row} for row in rows], columns=COLUMNS)


def planted_curve(resolution: np.ndarray) -> np.ndarray:
    """Returns the wrLLC planted at a resolution n_beta x effect: 2.3 at the foot, 49 at the top, half-way at 25."""
    return 2.3 + (49.0 - 2.3) / (1 + (25.0 / resolution) ** 1.3)


@dataclass(frozen=True)
class SyntheticRun:
    """One run; ``loss_power`` 4 computes in superposition, 2 does not."""

    loss_power: int = 4
    units: int = 32
    circuits: int = 32
    steps: tuple[int, ...] = STEPS
    scatter: float = 0.08
    """SD of log wrLLC around the planted curve."""
    odd_one: int | None = 8
    """A neuron whose wrLLC is three times what its effect says, until step 200."""
    llc: bool = True
    seed: int = 0

    def table(self) -> pd.DataFrame:
        """Returns the measurement table."""
        rows: list[dict[str, Any]] = []
        for step in self.steps:
            rows += self._model(step)
            if self.llc:
                rows += self._full(step) + self._restricted(step, replicate=0)
            rows += self._ablations(step)
        if self.llc and self.steps:
            rows += self._restricted(self.steps[-1], replicate=1)
        return frame(rows)

    def write(self, folder: Path) -> Path:
        """Writes a run folder with measurements, timings, provenance, configuration and events, and returns it."""
        store = Store(folder)
        table = self.table()
        for step in self.steps:
            at_step = table.loc[table["step"] == step]
            rows = [Row(**{str(name): value for name, value in row.items()}) for row in at_step.to_dict("records")]
            for name, quantity in (("llc", "llc"), ("rest", "")):
                some = [row for row in rows if (row.quantity == "llc") == bool(quantity)]
                if some:
                    store.write(part_name(step, name), some)
                    write_timing(folder, part_name(step, name), seconds=3.0, host="somewhere", step=step)
        seeds = {"seed_everything": self.seed}
        write_provenance(folder, {"llc_lightning": "0.1.0", "schema_version": 1, "seeds": seeds, "git": None})
        (folder / "config.yaml").write_text(f"model:\n  loss_power: {self.loss_power}\nllc:\n  n_beta: 10000\n")
        self._write_events(folder)
        return folder

    def _write_events(self, folder: Path) -> None:
        rng = np.random.default_rng(self.seed)
        with SummaryWriter(str(folder)) as writer:
            for step in range(0, max(self.steps, default=0), 10):
                loss = self._loss(step) * np.exp(0.08 * rng.standard_normal())
                writer.add_scalar("train/loss", loss, step, walltime=time.time() + step / 20)

    def progress(self, step: int) -> float:
        """How far training is, from 0 to 1."""
        return 1 / (1 + (250 / max(step, 1)) ** 1.2)

    @cached_property
    def importance(self) -> np.ndarray:
        """Relative need of each neuron, around 1."""
        return np.exp(0.3 * np.random.default_rng(self.seed).standard_normal(self.units))

    def effects(self, step: int) -> np.ndarray:
        """The true zero-ablation effect of each neuron."""
        top = 0.037 if self.loss_power == 4 else 0.091
        return top * (0.12 + 0.88 * self.progress(step)) * self.importance ** (0.5 + 0.5 * self.progress(step))

    def effect_matrix(self, step: int) -> np.ndarray:
        """The mean-ablation effect of each neuron on each circuit."""
        rng = np.random.default_rng(self.seed + 1)
        shared = 12 - 5 * self.progress(step) if step > 30 else 8
        logits = rng.standard_normal((self.units, self.circuits)) * (6 / shared)
        weights = np.exp(1.9 * logits)
        return self.circuits * self.effects(step)[:, None] * 0.8 * weights / weights.sum(1, keepdims=True)

    def accuracy(self, step: int) -> np.ndarray:
        """Sign accuracy of each circuit."""
        rng = np.random.default_rng(self.seed + 2)
        good = 0.99 + 0.008 * rng.random(self.circuits)
        poor = 0.55 + 0.2 * rng.random(self.circuits)
        final = good if self.loss_power == 4 else np.where(np.arange(self.circuits) < 0.65 * self.circuits, good, poor)
        return 0.5 + (final - 0.5) / (1 + (70 / max(step, 1)) ** 3)

    def _loss(self, step: int, power: int = 0) -> float:
        """The loss in error^power; that which was trained on by default."""
        final = {(4, 4): 0.141, (2, 2): 0.527, (4, 2): 0.756, (2, 4): 0.364}[self.loss_power, power or self.loss_power]
        return final + (1.3 - final) / (1 + (max(step, 1) / 60) ** 1.8)

    def _model(self, step: int) -> list[dict[str, Any]]:
        base = {"step": step, "epoch": step // 100, "n_examples": 16384, "settings": "model"}
        accuracy = self.accuracy(step)
        one = {"quantity": "sign_accuracy", "stderr": 0.002}
        baselines = {"zero": 1.0, "affine": 0.999, "dedicated": 0.5, "dedicated_net": 0.502}
        own, other = self.loss_power, 6 - self.loss_power
        measures = {"train": (self._loss(step), own), f"power:{other}": (self._loss(step, other), other)}
        return [
            *(
                {**base, "quantity": "loss", "loss": loss, "value": value, "stderr": 0.004, "kind": "all"}
                | {"unit": f"error^{power} / q"}
                for loss, (value, power) in measures.items()
            ),
            {**base, "quantity": "loss", "value": self._loss(step) + 1e-4, "stderr": 0.0014, "kind": "all"}
            | {"n_examples": 131072, "settings": "llc", "unit": f"error^{own} / q"},
            {**base, **one, "value": accuracy.mean(), "stderr": 0.001},
            {**base, **one, "value": 0.75, "stderr": 0.001, "method": "dedicated"},
            *({**base, **one, "loss": f"circuit:{i:02d}", "value": value} for i, value in enumerate(accuracy)),
            {**base, "quantity": "circuits_solved", "value": float((accuracy > 0.95).sum()), "stderr": 0.4},
            {**base, "quantity": "circuits_solved", "method": "dedicated", "value": self.units / 2, "stderr": 0.0},
            *(
                {**base, "quantity": "baseline_loss", "method": method, "loss": loss, "value": value, "stderr": 0.002}
                | {"unit": f"error^{power} / q"}
                for method, value in baselines.items()
                for loss, (_, power) in measures.items()
            ),
        ]

    def _full(self, step: int) -> list[dict[str, Any]]:
        delta = 6000 / (1 + (step / 18) ** 1.6)
        flat = 275.0 + 250 / (1 + (max(step, 1) / 40) ** 1.2)
        status = "not-a-minimum+drifting" if step < 60 else "not-a-minimum" if step < 700 else "ok"
        base = {"step": step, "epoch": step // 100, "kind": "all", "params_moved": "all", "settings": "full"}
        base |= {"n_beta": 1e4, "gamma": 1000.0, "chains": 4, "draws": 150, "n_examples": 131072, "step_size": 1e-4}
        record = json.dumps({"dimension": 3136, "replicate": 0, "per_chain": [flat - delta] * 4})
        raw = {"quantity": "llc", "value": flat - delta, "stderr": 4.0 + delta / 50, "status": status, "rhat": 1.01}
        return [
            {**base, **raw, "ess": 420.0, "details": record},
            {**base, "quantity": "llc_correction", "value": delta, "stderr": 0.0, "chains": 0, "draws": 0},
        ]

    def _restricted(self, step: int, *, replicate: int) -> list[dict[str, Any]]:
        rng = np.random.default_rng([self.seed, step, replicate, 3])
        true_rng = np.random.default_rng([self.seed, step, 4])
        status = "ok" if step >= 150 else "not-a-minimum" if step else "not-a-minimum+not-mixed"
        rows: list[dict[str, Any]] = []
        addresses = [(f"net.hook_hidden[{unit}]", "neuron", self.effects(step)[unit], 97) for unit in range(self.units)]
        addresses += [("net.hook_hidden", "layer", 0.6, 2080), ("net.hook_out", "layer", 1.1, 1056)]
        for unit, (address, kind, effect, dimension) in enumerate(addresses):
            off = self.scatter * true_rng.standard_normal()
            if unit == self.odd_one and step < 200:
                off += np.log(3.0)
            for n_beta in RUNGS:
                value = planted_curve(np.asarray(n_beta * effect)) * np.exp(off) * (1.0 if kind == "neuron" else 8.0)
                error = 0.03 * value + 0.05
                base = {"step": step, "epoch": step // 100, "component": address, "kind": kind, "params_moved": address}
                base |= {"n_beta": n_beta, "gamma": 10.0, "n_examples": 131072, "settings": f"{n_beta:g}-{replicate}"}
                base |= {"replicate": replicate}
                record = json.dumps({"dimension": dimension, "replicate": replicate})
                measured = {"value": value + error * rng.standard_normal(), "stderr": error, "status": status}
                if unit == 3 and n_beta == 1000 and step == 30:
                    measured = {"value": np.nan, "stderr": np.nan, "status": "all-diverged"}
                chains = {"chains": 4, "draws": 150, "rhat": 1.01, "ess": 380.0, "step_size": 3e-3, "details": record}
                rows.append({**base, **measured, **chains, "quantity": "llc"})
                if replicate == 0:
                    delta = 4.0 * n_beta / 1000 / (1 + (step / 60) ** 2)
                    rows.append({**base, "quantity": "llc_correction", "value": delta, "stderr": 0.0, "status": "ok"})
            if replicate == 0:
                norm = 1.0 + 0.6 * np.sqrt(effect / 0.037) + 0.1 * true_rng.standard_normal()
                size = {"step": step, "epoch": step // 100, "component": address, "kind": kind, "params_moved": address}
                rows.append({**size, "quantity": "weight_norm", "value": norm, "stderr": 0.0, "settings": "norm"})
                rows.append({**size, "quantity": "grad_norm", "value": 0.01 * norm, "stderr": 0.0, "settings": "norm"})
        return rows

    def _ablations(self, step: int) -> list[dict[str, Any]]:
        rng = np.random.default_rng([self.seed, step, 5])
        matrix = self.effect_matrix(step)
        rows: list[dict[str, Any]] = []
        for method, factor in METHODS.items():
            base = {"step": step, "epoch": step // 100, "quantity": "ablation_effect", "method": method}
            base |= {"n_examples": 16384, "settings": "ablation", "details": json.dumps({"draws": 4})}
            base |= {"unit": f"error^{self.loss_power} / q"}
            for unit in range(self.units):
                address = {"component": f"net.hook_hidden[{unit}]", "kind": "neuron"}
                true = factor * self.effects(step)[unit]
                error = 0.02 * true
                value = {"value": true + error * rng.standard_normal(), "stderr": error}
                rows.append({**base, **address, **value})
                rows += [
                    {**base, **address, "loss": f"circuit:{i:02d}", "value": effect, "stderr": 0.1 * effect}
                    | {"unit": f"error^{self.loss_power}"}
                    for i, effect in enumerate(factor / 0.8 * matrix[unit])
                ]
            for layer, effect in (("net.hook_hidden", 0.6), ("net.hook_out", 1.1)):
                value = {"value": factor * effect, "stderr": 0.01}
                rows.append({**base, **value, "component": layer, "kind": "layer"})
        return rows
