"""Components that are directions in the space of a hook point's units."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from llc_lightning.components.component import Component
from llc_lightning.runtime.errors import AddressError, SettingError


def direction(address: str, point: str, vectors: Tensor | str | Path) -> Component:
    """Returns the component that is the span of some vectors at a hook point, on the last axis of its activation.

    Every method then replaces the coordinates within the span alone: with the projection P onto it, the
    activation h becomes ``h + P (value - h)``. Zero ablation projects the directions out; resampling exchanges them, as
    in distributed interchange interventions (Geiger et al. 2023, arXiv:2303.02536).

    Args:
        address: Its name in tables.
        point: The hook point.
        vectors: One direction [unit] or several [direction, unit], of any length; or a ``.npy`` file that holds them.

    Raises:
        AddressError: If the file cannot be read.
        SettingError: If the vectors are not finite, or linearly dependent.
    """
    if not isinstance(vectors, Tensor):
        import numpy as np

        try:
            vectors = torch.from_numpy(np.load(vectors, allow_pickle=False))  # pyright: ignore[reportUnknownMemberType]
        except (OSError, ValueError) as error:
            raise AddressError(
                f"{address!r} names the directions in {str(vectors)!r}, which cannot be read ({error}); give a .npy "
                "file."
            ) from None
    linalg: Any = torch.linalg  # its functions carry no types
    rows = vectors.detach().double()
    rows = rows[None] if rows.ndim == 1 else rows
    if rows.ndim != 2 or not rows.isfinite().all() or int(linalg.matrix_rank(rows)) < len(rows):
        raise SettingError(
            f"the directions of {address!r} have shape {tuple(vectors.shape)}; give finite, linearly independent "
            "vectors of shape [unit] or [direction, unit]."
        )
    basis: Tensor = linalg.qr(rows.T)[0].T.contiguous()
    return Component(address, "direction", point, basis=basis)
