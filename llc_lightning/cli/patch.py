"""The command ``analyze.py patch``: activation patching, causal tracing and path patching on a run's snapshot."""

from argparse import Namespace
from collections.abc import Sequence
from typing import cast

import numpy as np
import pandas as pd
from torch import Tensor

from llc_lightning.ablation.engine.entries import HasCounterfactual, entry
from llc_lightning.ablation.engine.influence import donors
from llc_lightning.ablation.procedures.patching import patching
from llc_lightning.ablation.procedures.path_patching import path_patching
from llc_lightning.ablation.procedures.tracing import tracing
from llc_lightning.analysis import table
from llc_lightning.cli.offline import restored
from llc_lightning.cli.own import Own
from llc_lightning.measure.snapshot import Snapshot
from llc_lightning.report.cells import Table
from llc_lightning.runtime.batches import Batch, n_examples, take
from llc_lightning.runtime.errors import SettingError, at_least

_MOST = 20


def patch_run(options: Namespace) -> pd.DataFrame:
    """Returns the table of ``patching``, ``tracing`` or ``path_patching`` on the examples of a run.

    Partners are those of the model's ``counterfactual(batch)``, else other examples, drawn as donors of ``resample``:
    they bring the inputs, and the targets stay, so that clean and corrupted runs are about the same answers.

    Args:
        options: ``run``, ``components``, ``inputs``, ``restore``, ``window``, ``sender``, ``receivers``, ``frozen``,
            ``metrics``, ``mask``, ``step``, ``examples``, ``module``, ``data``.

    Raises:
        LLCLightningError: If it cannot be measured.
    """
    _check(options)
    snapshot = restored(options.run, options.step, Own.of(options))
    clean = take(snapshot.data, slice(0, options.examples))
    donor = _partners(snapshot, clean, options.inputs, options.mask)
    runs = snapshot.loss, snapshot.params, clean, donor
    more = {"metrics": options.metrics, "mask": options.mask}
    if options.sender:
        return path_patching(*runs, sender=options.sender, receivers=options.receivers, frozen=options.frozen, **more)
    if options.window is not None:
        return tracing(*runs, options.components, window=options.window, **more)
    return patching(*runs, options.components, noising=not options.restore, **more)


def patch_table(found: pd.DataFrame) -> Table:
    """Returns the largest effects of a table of patching."""
    size = np.abs(np.nan_to_num(table.numbers(found, "value")))
    chosen = found.iloc[np.argsort(-size, kind="stable")[:_MOST]]
    effect, share = (
        [str(table.Measured(float(value), float(error))) for value, error in zip(chosen[a], chosen[b], strict=True)]
        for a, b in (("value", "stderr"), ("normalised", "normalised_stderr"))
    )
    what, how = [table.texts(chosen, name) for name in ("component", "method", "loss")], table.texts(chosen, "status")
    more = f" {len(found) - _MOST} more: --out or --json gives all." if len(found) > _MOST else ""
    return Table(
        "patches",
        "Effects of patching, the largest first",
        ("component", "method", "loss or metric", "effect", "share", "status"),
        tuple(zip(*what, effect, share, how, strict=True)),
        "Effect: what patching adds to the loss or metric of the run, ± its standard error over examples. Share: of "
        f"what lies between the two runs; no value where these are less than three standard errors apart.{more}",
    )


def _check(options: Namespace) -> None:
    """Checks that the options go together."""
    at_least(1, examples=options.examples)
    path = bool(options.receivers or options.frozen)
    if path and not options.sender:
        raise SettingError("--receivers and --frozen belong to a path; give its --sender too.")
    if options.sender and (options.restore or options.window is not None):
        raise SettingError("--sender patches a path, and --restore and --window restore; give one of them.")


def _partners(snapshot: Snapshot, clean: Batch, inputs: Sequence[str] | None, mask: str) -> Batch:
    """Returns a partner of every example."""
    if inputs is None and isinstance(snapshot.loss.module, HasCounterfactual):
        return snapshot.loss.asked("counterfactual", snapshot.params, clean)
    other = take(clean, donors(n_examples(clean), seed=snapshot.seed, draw=0))
    if isinstance(clean, Tensor):
        return other
    names = list(clean) if isinstance(clean, dict) else [str(at) for at in range(len(clean))]
    brought = set(names[:1] if inputs is None else inputs) | ({mask.partition("!=")[0].strip()} if mask else set[str]())
    for name in brought:
        entry(clean, name)
    mixed = {name: entry(other if name in brought else clean, name) for name in names}
    return mixed if isinstance(clean, dict) else cast("Batch", tuple(mixed.values()))
