"""What torch computes in one piece for speed, computed step by step in copies: hooks and derivatives reach it then."""

import sys
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import chain
from types import FunctionType, MethodType, SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_ORIGINAL = "_torchdynamo_orig_callable"
"""Where torch.compile keeps the function that it was given."""


def plain_parts(module: nn.Module, copied: nn.Module) -> None:
    """Changes a copy of a module so that it computes the same in steps that are seen.

    Attention of torch calls the submodule that projects its heads; embeddings have gradients that are not sparse, which
    torch.func refuses, and in bags second derivatives; and what torch.compile put into the module itself is the copy's,
    not the live module's.
    """
    for live, part in zip(module.modules(), copied.modules(), strict=True):
        if isinstance(part, nn.MultiheadAttention) and type(part).forward is nn.MultiheadAttention.forward:
            part.forward = MethodType(_attend, part)
        if isinstance(part, nn.Embedding | nn.EmbeddingBag):
            part.sparse = False
        if isinstance(part, nn.EmbeddingBag) and part.mode != "max" and part.padding_idx is None:
            part.forward = MethodType(_bag, part)
        for name, value in list(vars(live).items()):
            inner = getattr(value, _ORIGINAL, None) if callable(value) else None
            if isinstance(inner, MethodType) and inner.__self__ is live:
                vars(part)[name] = MethodType(inner.__func__, part)


def eagerly(module: nn.Module) -> Callable[[], AbstractContextManager[Any]]:
    """Returns what to run a module in, so that torch neither compiles it nor runs whole layers as one kernel."""
    fused = any(isinstance(part, nn.MultiheadAttention) for part in module.modules())
    compiled = "torch._dynamo" in sys.modules and _is_compiled(module)
    if not fused and not compiled:
        return nullcontext

    @contextmanager
    def context() -> Generator[None]:
        before = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            with torch.compiler.set_stance("force_eager") if compiled else nullcontext():
                yield
        finally:
            torch.backends.mha.set_fastpath_enabled(before)

    return context


def _is_compiled(module: nn.Module) -> bool:
    """Says whether torch.compile has been at what a module may call: its parts, its methods, functions beside them."""
    parts = list(module.modules())
    if any(type(part).__name__ == "OptimizedModule" for part in parts):
        return True
    classes = {owner for part in parts for owner in type(part).__mro__}
    homes = [vars(sys.modules[name]) for name in {owner.__module__ for owner in classes} if name in sys.modules]
    ours = [home for home in homes if not str(home.get("__name__", "")).startswith("torch.")]
    known = chain(
        *(list(vars(owner).values()) for owner in (*parts, *classes)), *(list(home.values()) for home in ours)
    )
    return any(_ORIGINAL in vars(value) for value in known if isinstance(value, FunctionType))


def _attend(self: Any, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
    """Stands for the forward pass of torch's attention: its heads are the input of the submodule ``out_proj``.

    torch projects them by the submodule's weights without calling it; here it projects them by the identity, exactly.
    """
    projection = self.out_proj
    identity = torch.eye(self.embed_dim, dtype=projection.weight.dtype, device=projection.weight.device)
    modules = self._modules
    modules["out_proj"] = SimpleNamespace(weight=identity, bias=None)
    try:
        heads, weights = nn.MultiheadAttention.forward(self, *args, **kwargs)
    finally:
        modules["out_proj"] = projection
    if self.batch_first or heads.ndim != 3:
        return projection(heads), weights
    return projection(heads.transpose(0, 1)).transpose(0, 1), weights


def _bag(
    self: nn.EmbeddingBag, input: Tensor, offsets: Tensor | None = None, per_sample_weights: Tensor | None = None
) -> Tensor:
    """Stands for the forward pass of a bag of embeddings, whose kernel cannot be differentiated twice."""
    if offsets is not None or per_sample_weights is not None or input.ndim != 2:
        return nn.EmbeddingBag.forward(self, input, offsets, per_sample_weights)
    found = F.embedding(input, self.weight)
    return found.mean(1) if self.mode == "mean" else found.sum(1)
