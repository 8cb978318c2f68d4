"""Jobs: every value that a plan asks for, with the columns that its row will have; and how settings are named."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from llc_lightning.components.component import Component
from llc_lightning.llc.settings import Resolution
from llc_lightning.results.schema import KEY, RAW, settings_hash
from llc_lightning.runtime.batches import Batch
from llc_lightning.runtime.digest import tensor_digest
from llc_lightning.runtime.kinds import level_of


@dataclass(frozen=True)
class Job:
    """The LLC of a component at a resolution, or the effect of ablating it by a method."""

    quantity: str
    """``llc`` or ``ablation_effect``."""
    component: Component
    settings: str
    """Names how it is measured and on which examples: the ``settings`` of its row."""
    method: str = ""
    """How it is ablated."""
    resolution: Resolution | None = None
    """Where its LLC is meant."""
    loss: str = "train"
    """The loss whose LLC or effect it is."""
    revision: int = 1
    """Of what measures it."""
    moved: str = ""
    """Which weights the chains of an LLC move, in the words of the table; '' for those of the component."""

    @property
    def columns(self) -> dict[str, Any]:
        """The columns of its row that are known before it is measured; they make the row unique within a step."""
        address = self.component.address
        named: dict[str, Any] = {
            "quantity": self.quantity,
            "component": "" if level_of(self.component.kind) == "model" else address,
            "kind": self.component.kind,
            "method": self.method,
            "loss": self.loss,
            "settings": self.settings,
            "revision": self.revision,
        }
        if self.resolution is None:
            return named
        return named | {
            "params_moved": self.moved or address,
            "n_beta": self.resolution.n_beta,
            "gamma": self.resolution.gamma,
        }

    def key(self, *, run: str, step: int) -> tuple[str | int, ...]:
        """Returns the key that its row has in the table of a run, of the weights that are trained."""
        place = {"run": run, "step": step, "params_moved": "", "weights": RAW, **self.columns}
        return tuple(place[name] for name in KEY)


def data_digest(data: Batch, n: int | None = None) -> str:
    """Returns 16 hexadecimal digits that name examples: the BLAKE2b digest of their names, types, shapes and bytes.

    Args:
        data: The examples.
        n: How many of them count, from the first on; None for all.

    Example:
        >>> import torch
        >>> data_digest(torch.arange(3)) == data_digest(torch.arange(3)) != data_digest(torch.arange(3.0))
        True
    """
    if isinstance(data, Tensor):
        named = {"": data}
    elif isinstance(data, Mapping):
        named = dict(sorted(data.items()))
    else:
        named = {str(i): tensor for i, tensor in enumerate(data)}
    return tensor_digest({name: tensor[:n] for name, tensor in named.items()})


def settings_name(
    always: Mapping[str, object],
    options: Mapping[str, object],
    *,
    baseline: Mapping[str, object],
    revision: int = 1,
) -> str:
    """Returns the name of how something is measured.

    An option enters where it differs from the baseline: its default on the day when it was added. The baseline is
    frozen: a new option joins it and leaves the names of old rows as they are, and a default that changes later does
    not change it. A revision enters above 1.

    Args:
        always: What enters whatever it is, such as the kind of measurement and the digest of the examples.
        options: What else changes a value, an error or a status.
        baseline: The options that are left out, each at this value.
        revision: Of what measures.

    Example:
        >>> settings_name({"n": 1}, {"new": 0}, baseline={"new": 0}) == settings_name({"n": 1}, {}, baseline={})
        True
        >>> settings_name({"n": 1}, {"new": 5}, baseline={"new": 0}) == settings_name({"n": 1}, {}, baseline={})
        False
    """
    unset = object()
    used = {name: value for name, value in options.items() if value != baseline.get(name, unset)}
    newer = {"revision": revision} if revision > 1 else {}
    return settings_hash({**always, **used, **newer})


def revision_of(*revisions: int) -> int:
    """Returns one revision for several parts that work together: it rises whenever one of theirs does.

    Example:
        >>> revision_of(1, 1), revision_of(1, 3, 2)
        (1, 4)
    """
    return 1 + sum(revision - 1 for revision in revisions)
