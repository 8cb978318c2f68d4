"""``train.py fit``: LightningCLI with the measuring callbacks as keys of their own, and runs in numbered folders."""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional, TypeVar, cast

import lightning as L
import yaml
from jsonargparse import Namespace
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.cli import ArgsType, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import Logger, TensorBoardLogger

from llc_lightning.callbacks.budget import BudgetCallback
from llc_lightning.callbacks.folder import LAST, run_folder, writes
from llc_lightning.callbacks.last import LastCheckpoint
from llc_lightning.callbacks.resume import ExactResume, read_checkpoint
from llc_lightning.callbacks.stop import StopAtSignal
from llc_lightning.cli.finished import check_continues
from llc_lightning.cli.keys import add_keys
from llc_lightning.cli.outcome import Stopwatch, outcome
from llc_lightning.cli.parser import Parser
from llc_lightning.cli.versions import checked_experiment, claim_version, newest_version, requeued_version
from llc_lightning.report.hparams import settings_and_ends
from llc_lightning.results.files import publish
from llc_lightning.results.run import CONFIG, RUNS, Run
from llc_lightning.runtime.errors import LLCLightningError, SettingError, SnapshotError
from llc_lightning.runtime.workers import Workers

T = TypeVar("T")
_LARGEST_SEED = 2**32 - 1  # numpy's, which Lightning seeds as well


class SaveConfig(SaveConfigCallback):
    """Writes the complete configuration into the run folder; one from which the same run can be started again."""

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Writes it, on rank 0."""
        text = complete(self.parser, self.config)
        folder = run_folder(trainer)
        Workers.of(trainer).on_zero(
            lambda: publish(folder, CONFIG, lambda path: path.write_text(text, encoding="utf-8"))
        )


def complete(parser: Any, config: Any) -> str:
    """Returns the complete configuration as YAML, from which the same run can be started again."""
    whole = config.clone()
    whole["ckpt_path"] = None
    return parser.dump(whole, skip_none=False, skip_link_targets=False)


class FitCLI(LightningCLI):
    """Parses, trains, measures, and says what was written.

    Args:
        argv: The arguments, with the subcommand ``fit``.
        quiet: Whether to leave out what Lightning tells beside warnings.

    Raises:
        SnapshotError: If the checkpoint to continue from is missing, damaged, or of another model.
        StoreError: If the run folder cannot be made.
    """

    def __init__(self, argv: Sequence[str], *, quiet: bool = True) -> None:
        if quiet:
            # Lightning 2.6 on torch 2.13
            warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated")
            for name in ("lightning.pytorch", "lightning.fabric"):
                logging.getLogger(name).setLevel(logging.WARNING)
        self._argv = list(argv)
        self._ckpt_path: str | None = None
        self._version: int | None = None
        self._goes_on_at: int | None = None
        super().__init__(  # pyright: ignore[reportUnknownMemberType]
            save_config_callback=SaveConfig,
            trainer_defaults={
                "default_root_dir": RUNS,
                "enable_model_summary": False,
                "callbacks": [ExactResume(), Stopwatch(), StopAtSignal()],
            },
            parser_class=Parser,
            parser_kwargs={"allow_abbrev": False, "fit": {"allow_abbrev": False}},
            auto_configure_optimizers=False,
        )

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Returns the one subcommand, with the arguments of ``Trainer.fit`` that are no keys."""
        return {"fit": {"model", "train_dataloaders", "val_dataloaders", "datamodule", "weights_only"}}

    def setup_parser(
        self, add_subcommands: bool, main_kwargs: dict[str, Any], subparser_kwargs: dict[str, Any]
    ) -> None:
        """Makes the parser, and tells it which keys there are."""
        super().setup_parser(add_subcommands, main_kwargs, subparser_kwargs)
        fit: Any = self._parser("fit")
        for parser in (self.parser, fit):
            if isinstance(parser, Parser):
                parser.known_keys = sorted(fit.get_defaults(skip_validation=True).keys())

    def add_default_arguments_to_parser(self, parser: Any) -> None:
        """Adds the seed, which must be a number, since so much follows from it."""
        parser.add_argument(
            "--seed_everything", type=int, default=0, help="Seed of the weights, the data and every measurement."
        )

    def add_arguments_to_parser(self, parser: Any) -> None:
        """Adds the keys beside Lightning's."""
        parser.add_argument(
            "--budget",
            type=Optional[float],  # noqa: UP045 - jsonargparse shows it as what a user may give
            default=None,
            help="Seconds of measuring for each second of training beside it, such as 0.1; 0 measures nothing, null "
            "sets no limit. What does not fit is left out, and measured afterwards by analyze.py measure.",
        )
        parser.add_argument(
            "--experiment", type=str, default="default", help="Name of the folder below trainer.default_root_dir."
        )
        parser.add_lightning_class_args(LastCheckpoint, "last")
        add_keys(parser)
        # One seed for everything; ignored where a class has no argument of that name.
        parser.link_arguments("seed_everything", "model.init_args.seed")
        parser.link_arguments("seed_everything", "data.init_args.seed")

    def parse_arguments(self, parser: Any, args: ArgsType) -> None:
        """Parses, and keeps the checkpoint from Lightning, which would let it overrule the model's arguments."""
        self.config = parser.parse_args(self._argv)
        seed = self.config["fit"]["seed_everything"]
        if not 0 <= seed <= _LARGEST_SEED:
            parser.error(f"seed_everything is {seed}; give a whole number from 0 to {_LARGEST_SEED}.")
        for group in ("trainer", "last", *self._parser("fit").callback_keys):
            if not isinstance(self.config["fit"][group], Namespace):
                parser.error(f"{group} is {self.config['fit'][group]}; give keys below it, such as those of --help")
        self._ckpt_path, self.config["fit"]["ckpt_path"] = self.config["fit"]["ckpt_path"], None

    def before_instantiate_classes(self) -> None:
        """Finds the checkpoint to continue from, and checks that it is of the configured model."""
        config = self.config["fit"]
        try:
            experiment = Path(config["trainer"]["default_root_dir"], checked_experiment(config["experiment"]))
        except SettingError as error:
            self.parser.error(str(error))
        parser = self._parser("fit")
        complete_config: dict[str, Any] = yaml.safe_load(complete(parser, config))
        self._version = requeued_version(experiment, complete_config)
        if self._ckpt_path is None and self._version is None:
            refuse_foreign(Path(config["trainer"]["default_root_dir"]))
            return
        if self._version is None and self._ckpt_path == "last":
            self._version = newest_version(experiment)
        path = Path(str(self._ckpt_path))
        if self._version is not None:
            path = experiment / f"version_{self._version}" / LAST
            if rank() == 0:
                print(f"continuing {path.parent}")
        checkpoint = read_checkpoint(path)
        check_same_model(path, checkpoint, complete_config["model"])
        if self._version is not None:
            self._goes_on_at = int(checkpoint["global_step"])
            keys = ("seed_everything", "model", "data", *parser.callback_keys)
            check_continues(path.parent, checkpoint, complete_config, keys)
        config["ckpt_path"] = str(path)

    def instantiate_classes(self) -> None:
        """Makes model, data, callbacks and trainer; a setting that is not allowed is a fault of the command."""
        try:
            super().instantiate_classes()
        except Exception as error:
            refused = _refused(error)
            if refused is None:
                raise
            if isinstance(refused, SettingError):
                self.parser.error(str(refused))
            raise refused from error

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        """Makes the trainer with a logger in the run folder, before those that the configuration names."""
        config, budget = self._get(self.config_init, "trainer"), self._get(self.config_init, "budget")
        if budget is not None:
            kwargs["callbacks"] = [*_listed(config["callbacks"], L.Callback), BudgetCallback(budget)]
        if config["fast_dev_run"]:
            return super().instantiate_trainer(**kwargs)
        root, experiment = config["default_root_dir"], self._get(self.config_init, "experiment")
        if self._version is None and rank() == 0:
            self._version = claim_version(Path(root, experiment))
        # The other ranks are told the folder by rank 0, and never write.
        # What an interrupted session logged after the checkpoint is logged again, and counts once.
        later: dict[str, Any] = {} if self._goes_on_at is None else {"purge_step": self._goes_on_at + 1}
        own = TensorBoardLogger(root, name=experiment, version=self._version, default_hp_metric=False, **later)
        return super().instantiate_trainer(logger=[own, *_listed(config["logger"], Logger)], **kwargs)

    def fit(self, **arguments: Any) -> None:
        """Trains; a checkpoint can hold nothing but plain values and tensors."""
        trainer: Any = self.trainer
        trainer.fit(**arguments, weights_only=True if arguments["ckpt_path"] else None)

    def after_fit(self) -> None:
        """Says what was written and what to type next."""
        folder = run_folder(self.trainer)
        if self.trainer.is_global_zero and writes(self.trainer):
            print(outcome(folder, self.trainer))
            log_settings(folder, self.trainer)


def log_settings(folder: Path, trainer: L.Trainer) -> None:
    """Tells TensorBoard the run's settings beside what it reached."""
    settings, reached = settings_and_ends(Run(folder))
    for logger in trainer.loggers if reached else ():
        if isinstance(logger, TensorBoardLogger):
            logger.log_hyperparams(settings, reached)
            logger.finalize("success")


def rank() -> int:
    """Returns the number of this process, which launchers tell before the trainer knows."""
    return int(cast("Any", rank_zero_only).rank)


def refuse_foreign(root: Path) -> None:
    """Raises if Lightning would go on, under SLURM, with what some job has left for all that share a folder.

    Args:
        root: The folder of all experiments.

    Raises:
        SnapshotError: If there is such a file; earlier versions of this package left them.
    """
    left = sorted(root.glob("hpc_ckpt_*.ckpt")) if SLURMEnvironment.detect() else []
    if left:
        raise SnapshotError(
            f"{left[0]} was left by an earlier job, and Lightning would continue it whatever this run is; move it "
            "away, or continue it by --ckpt_path."
        )


def check_same_model(path: Path, checkpoint: dict[str, Any], model: Any) -> None:
    """Raises unless a checkpoint was written by a model with the configured class and arguments.

    Args:
        path: The checkpoint's path.
        checkpoint: Its content.
        model: The configured ``class_path`` and ``init_args``, as a configuration file has them, and as checkpoints do.

    Raises:
        SnapshotError: If it was not; the message names the first difference.
    """
    saved: dict[str, Any] = dict(checkpoint.get("hyper_parameters", {}))
    given: dict[str, Any] = {"class_path": model["class_path"], **(model.get("init_args") or {})}
    before: dict[str, Any] = {"class_path": saved.get("_class_path", given["class_path"]), **saved}
    for name, value in given.items():
        if name in before and _in_lists(before[name]) != value:
            raise SnapshotError(
                f"{path} is of a model with {name}={before[name]!r}, but the configuration says {name}={value!r}; give "
                "the same, or start a new run without --ckpt_path."
            )


def _in_lists(value: Any) -> Any:
    """Returns a value with lists for tuples, which a script's checkpoint can hold and a configuration file cannot."""
    if isinstance(value, dict):
        return {key: _in_lists(one) for key, one in cast("dict[Any, Any]", value).items()}
    return [_in_lists(one) for one in cast("list[Any]", value)] if isinstance(value, list | tuple) else value


def _listed(given: Any, kind: type[T]) -> list[T]:
    """Returns one or several of a kind as a list, and an empty one for anything else."""
    if isinstance(given, kind):
        return [given]
    return list(cast("list[T]", given)) if isinstance(given, list) else []


def _refused(error: BaseException | None) -> LLCLightningError | None:
    """Returns why something could not be made, which jsonargparse hides behind errors of its own."""
    while error is not None:
        if isinstance(error, LLCLightningError):
            return error
        error = error.__cause__
    return None
