"""Single tensors of the examples, such as labels, by name."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Int
from torch import Tensor

from llc_lightning.components.loss import ModuleLoss
from llc_lightning.runtime.batches import Batch, Params, n_examples
from llc_lightning.runtime.errors import DataError, SettingError, unknown


@runtime_checkable
class HasLabels(Protocol):
    """A module that knows labels of its examples."""

    def labels(self, batch: Any) -> dict[str, Tensor]:
        """Returns whole numbers [example] by name."""
        ...


@runtime_checkable
class HasCounterfactual(Protocol):
    """A module that knows how to make the counterfactual partners of examples."""

    def counterfactual(self, batch: Any) -> Any:
        """Returns examples of the same form, each the partner of the one in its place."""
        ...


def entry(batch: Batch, name: str) -> Tensor:
    """Returns an entry of the examples: a number names one of a tuple, a key one of a dict.

    Raises:
        SettingError: If there is none of this name.
    """
    named = _entries(batch)
    if name not in named:
        raise SettingError(unknown("entry of the examples", name, named))
    return named[name]


def labels_of(loss: ModuleLoss, params: Params, data: Batch, names: Iterable[str]) -> dict[str, Int[Tensor, "example"]]:
    """Returns labels by name, those that the module knows before the entries of the examples.

    Raises:
        SettingError: If there is none of a name.
        DataError: If labels are not whole numbers, one for each example.
    """
    wanted, n = list(dict.fromkeys(names)), n_examples(data)
    if not wanted:
        return {}
    known: Mapping[str, Tensor] = loss.asked("labels", params, data) if isinstance(loss.module, HasLabels) else {}
    named = {**_entries(data), **known}
    for name in wanted:
        if name not in named:
            raise SettingError(unknown("label", name, named))
    labelled = {name: named[name] for name in wanted}
    for name, labels in labelled.items():
        if tuple(labels.shape) != (n,) or labels.is_floating_point() or labels.is_complex():
            raise DataError(
                f"the label {name!r} has shape {tuple(labels.shape)} and type {labels.dtype}; give whole numbers, one "
                f"for each of the {n} examples."
            )
    return labelled


def _entries(batch: Batch) -> Mapping[str, Tensor]:
    """Returns the entries of the examples by name."""
    if isinstance(batch, Tensor):
        return {"0": batch}
    return batch if isinstance(batch, Mapping) else {str(i): tensor for i, tensor in enumerate(batch)}
