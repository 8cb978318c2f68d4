"""A sweep over settings of a training with Optuna, measured like any run: `python docs/recipes/sweep.py --help`.

    pip install 'llc_lightning[sweep]'
    python docs/recipes/sweep.py --config smoke/cis --trials 8 --out checkpoints/sweep

Optuna chooses the settings and stops trials that lag behind (its own callback for Lightning). The study is a file: a
sweep that was stopped, even killed, goes on by the same command. Change `settings` for a module of your own.
"""

import argparse
from pathlib import Path
from typing import Any, ClassVar

import optuna
import pandas as pd
from optuna.trial import Trial, TrialState
from optuna_integration import PyTorchLightningPruningCallback

from llc_lightning import Run
from llc_lightning.analysis import table
from llc_lightning.cli.main import main as llc_lightning


def settings(trial: Trial) -> dict[str, Any]:
    """Returns what a trial changes in the configuration."""
    return {
        "model.init_args.width": trial.suggest_int("width", 4, 12),
        "model.init_args.learning_rate": trial.suggest_float("learning_rate", 1e-3, 1e-2, log=True),
    }


class StopIfBehind(PyTorchLightningPruningCallback):
    """Ends a trial whose validation loss is worse than the median of the others; a configuration can name it."""

    trial: ClassVar[Trial]

    def __init__(self, monitor: str = "val/loss") -> None:
        super().__init__(self.trial, monitor)


def objective(trial: Trial, config: str, out: Path) -> float:
    """Trains one trial into its own folder, and returns the loss that it ends with."""
    StopIfBehind.trial = trial
    changed = [word for key, value in settings(trial).items() for word in (f"--{key}", str(value))]
    where = ["--experiment", f"trial_{trial.number}", "--trainer.default_root_dir", str(out)]
    quiet = ["--trainer.enable_progress_bar", "false", "--trainer.callbacks+", f"{__name__}.StopIfBehind"]
    if llc_lightning(["train", "fit", "-c", config, *where, *changed, *quiet]) != 0:
        raise RuntimeError(f"trial {trial.number} failed")
    return ends(Run.open(out / f"trial_{trial.number}" / "version_0"))["loss"]


def ends(run: Run) -> dict[str, Any]:
    """Returns what a run ends with: its loss, its LLC, and the component that it misses most."""
    rows = run.measurements()
    last = table.select(rows, step=int(rows["step"].max()))
    loss = table.select(last, quantity="loss", component="", loss="train")
    llc = table.full_llc(last)
    effects = table.select(last, quantity="ablation_effect", method="zero", loss="train").sort_values("value")
    return {
        "loss": float(loss["value"].iloc[-1]),
        **({"llc": str(table.measured(llc)), "llc_status": str(llc["status"].iloc[-1])} if len(llc) else {}),
        **(
            {"largest_effect": str(table.measured(effects)), "of": effects["component"].iloc[-1]}
            if len(effects)
            else {}
        ),
    }


def overview(study: optuna.Study, out: Path) -> pd.DataFrame:
    """Returns all trials in one table, and writes it as trials.csv."""
    records: list[dict[str, Any]] = []
    for trial in study.get_trials(deepcopy=False):
        folder = out / f"trial_{trial.number}" / "version_0"
        reached = ends(Run.open(folder)) if trial.state == TrialState.COMPLETE else {}
        records.append({"trial": trial.number, "state": trial.state.name.lower(), **trial.params, **reached})
    made = pd.DataFrame(records)
    made.to_csv(out / "trials.csv", index=False)
    return made


def main() -> None:
    """Sweeps until so many trials have ended, then shows them all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="smoke/cis", help="file or name of a configuration (default: smoke/cis)")
    parser.add_argument("--trials", type=int, default=8, help="trials in all (default: 8)")
    parser.add_argument("--out", type=Path, default=Path("checkpoints/sweep"), help="(default: checkpoints/sweep)")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    storage = f"sqlite:///{given.out / 'study.db'}"
    study = optuna.create_study(study_name="sweep", storage=storage, load_if_exists=True)
    study.sampler = optuna.samplers.TPESampler(seed=len(study.trials))  # or a sweep that goes on would repeat itself
    for trial in study.get_trials(states=(TrialState.RUNNING,)):  # cut off when the sweep was killed
        study.tell(trial.number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params)
    ended = (TrialState.COMPLETE, TrialState.PRUNED)
    while len(study.get_trials(deepcopy=False, states=ended)) < given.trials:
        study.optimize(lambda trial: objective(trial, given.config, given.out), n_trials=1)
    print(overview(study, given.out).to_string(index=False))
    numbers = sorted(trial.number for trial in study.get_trials(deepcopy=False, states=ended))
    runs = " ".join(str(given.out / f"trial_{number}" / "version_0") for number in numbers)
    print(f"wrote {given.out / 'trials.csv'}, next: llc-lightning analyze compare {runs} --out {given.out / 'figures'}")


if __name__ == "__main__":
    main()
