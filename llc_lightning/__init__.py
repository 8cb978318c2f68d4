"""Measures how complex each part of a network is and how much the network needs it, while it trains.

The names below are the public face of the package. Each is imported when it is first used, so that
``import llc_lightning`` needs torch alone.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from llc_lightning.ablation.effects import ablation_effects
    from llc_lightning.callbacks.ablated_llc import AblatedLLCCallback
    from llc_lightning.callbacks.ablation import AblationCallback
    from llc_lightning.callbacks.budget import BudgetCallback
    from llc_lightning.callbacks.circuit import CircuitCallback
    from llc_lightning.callbacks.llc import LLCCallback
    from llc_lightning.callbacks.posterior import PosteriorCallback
    from llc_lightning.callbacks.resume import ExactResume
    from llc_lightning.callbacks.snapshots import SnapshotCallback
    from llc_lightning.components.listing import find_components
    from llc_lightning.components.loss import loss_fn, snapshot_params
    from llc_lightning.huggingface import HuggingFaceCallback
    from llc_lightning.llc.calibrate.calibration import calibrate
    from llc_lightning.llc.estimator import estimate_llc, estimate_parts
    from llc_lightning.llc.record import LLCRecord
    from llc_lightning.llc.settings import ChainSettings, Part, Resolution, Restriction
    from llc_lightning.measure.offline import measure_snapshots
    from llc_lightning.results.run import Run
    from llc_lightning.results.traces import read_trace
    from llc_lightning.runtime.cadence import AnyOf, AtEnd, AtStart, AtSteps, Every, LogSpaced

__all__ = [
    "AblatedLLCCallback",
    "AblationCallback",
    "AnyOf",
    "AtEnd",
    "AtStart",
    "AtSteps",
    "BudgetCallback",
    "ChainSettings",
    "CircuitCallback",
    "Every",
    "ExactResume",
    "HuggingFaceCallback",
    "LLCCallback",
    "LLCRecord",
    "LogSpaced",
    "Part",
    "PosteriorCallback",
    "Resolution",
    "Restriction",
    "Run",
    "SnapshotCallback",
    "ablation_effects",
    "calibrate",
    "estimate_llc",
    "estimate_parts",
    "find_components",
    "loss_fn",
    "measure_snapshots",
    "read_trace",
    "snapshot_params",
]

_HOMES = {
    "AblatedLLCCallback": "callbacks.ablated_llc",
    "AblationCallback": "callbacks.ablation",
    "AnyOf": "runtime.cadence",
    "AtEnd": "runtime.cadence",
    "AtStart": "runtime.cadence",
    "AtSteps": "runtime.cadence",
    "BudgetCallback": "callbacks.budget",
    "ChainSettings": "llc.settings",
    "CircuitCallback": "callbacks.circuit",
    "Every": "runtime.cadence",
    "ExactResume": "callbacks.resume",
    "HuggingFaceCallback": "huggingface",
    "LLCCallback": "callbacks.llc",
    "LLCRecord": "llc.record",
    "LogSpaced": "runtime.cadence",
    "Part": "llc.settings",
    "PosteriorCallback": "callbacks.posterior",
    "Resolution": "llc.settings",
    "Restriction": "llc.settings",
    "Run": "results.run",
    "SnapshotCallback": "callbacks.snapshots",
    "ablation_effects": "ablation.effects",
    "calibrate": "llc.calibrate.calibration",
    "estimate_llc": "llc.estimator",
    "estimate_parts": "llc.estimator",
    "find_components": "components.listing",
    "loss_fn": "components.loss",
    "measure_snapshots": "measure.offline",
    "read_trace": "results.traces",
    "snapshot_params": "components.loss",
}


def __getattr__(name: str) -> object:
    """Imports a public name from its home when it is first asked for (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'llc_lightning' has no attribute {name!r}; it has {', '.join(__all__)}")
    item = getattr(import_module(f"llc_lightning.{_HOMES[name]}"), name)
    globals()[name] = item
    return item


def __dir__() -> list[str]:
    """Lists the public names, imported or not."""
    return [*__all__, "__version__"]
