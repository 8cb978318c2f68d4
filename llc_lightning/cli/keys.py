"""The measuring callbacks as top-level keys of a configuration; a key without ``when`` is switched off."""

from typing import Any

from jsonargparse.typing import class_from_function

from llc_lightning.callbacks.ablation import AblationCallback
from llc_lightning.callbacks.llc import LLCCallback
from llc_lightning.callbacks.snapshots import SnapshotCallback
from llc_lightning.cli.parser import Parser
from llc_lightning.runtime.cadence import Cadence
from llc_lightning.runtime.errors import LLCLightningError, SettingError


def add_keys(parser: Parser) -> None:
    """Adds the keys ``snapshots``, ``llc``, ``llc_units`` and ``ablation``, whose values merge key by key."""
    untyped: Any = parser
    for key, make in {"snapshots": snapshots, "llc": llc, "llc_units": llc_units, "ablation": ablation}.items():
        # As add_lightning_class_args does it, without what no file can say, and without the name, which is the key.
        untyped.add_class_arguments(
            class_from_function(make), key, skip={"data", "name"}, fail_untyped=False, sub_configs=True
        )
        parser.callback_keys.append(key)


def snapshots(when: Cadence | None = None) -> SnapshotCallback:
    """Keeps the weights.

    Args:
        when: The cadence, such as ``{class_path: Every, init_args: {steps: 100}}``; null keeps none.
    """
    return SnapshotCallback(when)


def llc(
    when: Cadence | None = None,
    n_beta: float | list[float] | None = None,
    gamma: float | None = None,
    name: str = "llc",
    **options: Any,
) -> LLCCallback:
    """Estimates local learning coefficients.

    Args:
        when: The cadence, such as ``{class_path: Every, init_args: {steps: 100}}``; null measures nothing.
        n_beta: Inverse temperature times the number of examples; a list gives a ladder. Needed with ``when``.
        gamma: Strength of the localisation. Needed with ``when``.
        name: Names the callback's files.
        **options: The rest of LLCCallback's arguments.

    Raises:
        SettingError: If a value is missing or not allowed.
    """
    if when is None:
        return LLCCallback(None, n_beta=1.0, gamma=1.0, name=name)
    if n_beta is None or gamma is None:
        missing = "n_beta" if n_beta is None else "gamma"
        raise SettingError(f"{name}.{missing} is not given; an LLC means nothing without n_beta and gamma.")
    try:
        return LLCCallback(when, n_beta=n_beta, gamma=gamma, name=name, **options)
    except LLCLightningError as error:
        raise SettingError(f"{name}: {error}") from error


def llc_units(
    when: Cadence | None = None,
    n_beta: float | list[float] | None = None,
    gamma: float | None = None,
    **options: Any,
) -> LLCCallback:
    """Estimates local learning coefficients at other settings than ``llc``, such as those of single neurons.

    Args:
        when: The cadence, such as ``{class_path: Every, init_args: {steps: 100}}``; null measures nothing.
        n_beta: Inverse temperature times the number of examples; a list gives a ladder. Needed with ``when``.
        gamma: Strength of the localisation. Needed with ``when``.
        **options: The rest of LLCCallback's arguments.

    Raises:
        SettingError: If a value is missing or not allowed.
    """
    return llc(when, n_beta, gamma, name="llc_units", **options)


def ablation(
    when: Cadence | None = None,
    methods: str | list[str] = "zero",
    components: str | list[str] = "neurons",
    **options: Any,
) -> AblationCallback:
    """Measures ablation effects.

    Args:
        when: The cadence, such as ``{class_path: Every, init_args: {steps: 100}}``; null measures nothing.
        methods: Names of ablation methods; one or several.
        components: What to ablate; one or several.
        **options: The rest of AblationCallback's arguments.

    Raises:
        SettingError: If a value is not allowed.
    """
    try:
        return AblationCallback(when, methods=methods, components=components, **options)
    except LLCLightningError as error:
        raise SettingError(f"ablation: {error}") from error
