"""Digests that name tensors."""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor


def tensor_digest(named: Mapping[str, Tensor]) -> str:
    """Returns 16 hexadecimal digits: the BLAKE2b digest of the names, types, shapes and bytes of tensors, in order.

    Example:
        >>> tensor_digest({"w": torch.zeros(2)}) == tensor_digest({"w": torch.zeros(2)}) != tensor_digest({})
        True
    """
    digest = hashlib.blake2b(digest_size=8)
    for name, tensor in named.items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        plain = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
        digest.update(plain.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
