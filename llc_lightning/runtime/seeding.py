"""Random streams keyed by labels, never by global state.

The labels are (run seed, kind of draw, chain or draw number) and never a step, component, method or rank: then the same
random numbers serve every step, component and method, and their differences have small errors.
"""

import hashlib
import json

import torch


def derive_seed(*labels: int | str) -> int:
    """Returns a 63-bit seed that is a pure function of the labels, equal on every machine and Python version.

    It is the BLAKE2b digest (Aumasson et al. 2013, RFC 7693) of the labels as JSON, so that ``1`` and ``"1"``, or
    ``("a", "b")`` and ``("ab",)``, are different labels.

    Example:
        >>> derive_seed(0, "noise", 3) == derive_seed(0, "noise", 3) != derive_seed(0, "noise", 4)
        True
    """
    text = json.dumps([label if isinstance(label, str) else int(label) for label in labels])
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator(*labels: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """Returns a fresh generator on ``device``, seeded by ``derive_seed(*labels)``; the global ones stay as they are."""
    return torch.Generator(device=device).manual_seed(derive_seed(*labels))
