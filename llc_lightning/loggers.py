"""A logger that Lightning lacks. All others are Lightning's own; each gets every value at the step it was measured."""

from argparse import Namespace
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only


class TrackioLogger(Logger):
    """Logs to trackio, which keeps runs in a local database, `TRACKIO_DIR`, and shows them with `trackio show`.

    Args:
        project: The project that runs are grouped in.
        name: The run's name; by default trackio makes one.
        **init: What ``trackio.init`` takes besides, such as ``space_id``.
    """

    def __init__(self, project: str = "llc_lightning", name: str | None = None, **init: Any) -> None:
        super().__init__()
        self._project, self._name = project, name
        self._init: dict[str, Any] = {"embed": False, **init}
        self._run: Any = None

    @property
    def experiment(self) -> Any:
        """The run of trackio; only rank 0 may ask for it."""
        if self._run is None:
            trackio: Any = import_module("trackio")
            self._run = trackio.init(project=self._project, name=self._name, **self._init)
            self._name = self._run.name
        return self._run

    @property
    def name(self) -> str:
        """The project."""
        return self._project

    @property
    def version(self) -> str | None:
        """The run's name, once it has begun."""
        return self._name

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Notes settings, which trackio must be told when the run begins; later ones are left out."""
        if self._run is None:
            told = vars(params) if isinstance(params, Namespace) else dict(params)
            self._init["config"] = {**self._init.get("config", {}), **told}

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Logs values of one step."""
        self.experiment.log(dict(metrics), step=step)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Writes out what is left."""
        if self._run is not None:
            self._run.finish()
            self._run = None
