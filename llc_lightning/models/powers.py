"""Powers of absolute errors."""

from jaxtyping import Float
from torch import Tensor


def power_of(error: Float[Tensor, "*shape"], power: float) -> Float[Tensor, "*shape"]:
    """Returns ``|error|^power``; 2 and 4 by products, whose derivatives are several times faster than those of ``pow``.

    Example:
        >>> import torch
        >>> power_of(torch.tensor([-2.0, 3.0]), 4.0)
        tensor([16., 81.])
    """
    if power in (2, 4):
        square = error * error
        return square if power == 2 else square * square
    return error.abs().pow(power)
