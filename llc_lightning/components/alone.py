"""Whether the loss of an example depends on the weights and that example alone."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.runtime.batches import Batch, LossFn, Params, chunks, n_examples, take
from llc_lightning.runtime.errors import SettingError

_CHECKED = 64
_ROUNDING = 1e-3


def check_alone(loss: LossFn, params: Params, data: Batch) -> None:
    """Checks that examples have the same losses beside others, in another order of calls.

    Losses are subtracted from those of other batches, and batches are filled up: a loss that looks at other examples,
    draws random numbers or writes to its batch would be a wrong number that nobody sees. The data themselves are never
    shown to the loss here.

    Raises:
        DataError: If the data are no examples, or none.
        SettingError: If the loss is not one number for each example, or has another value in another batch.
    """
    some = min(n_examples(data), _CHECKED)
    with torch.no_grad():
        batch = take(data, torch.arange(some))
        found: Any = loss(params, batch)
        if not isinstance(found, Tensor) or not found.is_floating_point():
            what = f"a tensor of {found.dtype}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
            raise SettingError(
                f"the loss function returned {what} for {some} examples; it must return a tensor of one float per "
                "example."
            )
        if tuple(found.shape) != (some,):
            raise SettingError(
                f"the loss function returned shape {tuple(found.shape)} for {some} examples; it must return one loss "
                f"per example, shape ({some},)."
            )
        apart = [loss(params, take(batch, part)) for part in chunks(some, max(1, some // 2))]
    check_equal(found, torch.cat(apart), params)


def check_equal(together: Float[Tensor, "example"], apart: Float[Tensor, "example"], params: Params) -> None:
    """Checks that examples have the same losses in two batches; where some are not finite there is nothing to compare.

    Args:
        together: In one batch.
        apart: In another.
        params: The weights; their precision is that of the losses.

    Raises:
        SettingError: If they differ by more than rounding.
    """
    together, apart = together.double(), apart.double()
    if not bool(together.isfinite().all() and apart.isfinite().all()):
        return
    away = (together - apart).abs()
    eps = _precision(params)
    if bool((away > max(_ROUNDING, 8 * eps) * (together.abs() + together.abs().mean()) + 8 * eps).any()):
        worst = int(away.argmax())
        raise SettingError(
            f"the loss of example {worst} is {together[worst]:.6g} in one batch and {apart[worst]:.6g} in another; it "
            "must depend on the weights and that example alone: use running statistics instead of those of the batch, "
            "no random numbers, and do not write to the batch."
        )


def _precision(params: Params) -> float:
    """Returns the distance of 1 to the next larger number in the coarsest type of weight.

    It is also the floor of what losses may differ by: a net that fits its data without error has losses of rounding.
    """
    return max([torch.finfo(value.dtype).eps for value in params.values() if value.is_floating_point()], default=0.0)
