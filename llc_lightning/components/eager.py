"""What torch computes in one piece for speed, computed step by step in copies: hooks and derivatives reach it then."""

import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import chain
from types import FunctionType, MethodType, SimpleNamespace
from typing import Any, cast

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
            inner = getattr(value, _ORIGINAL, None)
            if isinstance(inner, MethodType) and inner.__self__ is live:
                vars(part)[name] = MethodType(inner.__func__, part)


def eagerly(module: nn.Module) -> Callable[[], AbstractContextManager[Any]]:
    """Returns what to run a module in, so that torch neither compiles it nor runs whole layers as one kernel."""
    fused = any(isinstance(part, nn.MultiheadAttention) for part in module.modules())
    compiled = "torch._dynamo" in sys.modules and any(map(_is_compiled, _functions(module)))
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


def _functions(module: nn.Module) -> Iterator[object]:
    """Yields what a module may call: its submodules' attributes, methods, and the functions beside their classes."""
    classes = {owner for part in module.modules() for owner in type(part).__mro__}
    homes = [vars(sys.modules[name]) for name in {owner.__module__ for owner in classes} if name in sys.modules]
    ours = [home for home in homes if not str(home.get("__name__", "")).startswith("torch.")]
    yield from chain(*(vars(part).values() for part in module.modules()), *(vars(owner).values() for owner in classes))
    yield from chain(*(list(home.values()) for home in ours))


def _is_compiled(value: object) -> bool:
    if isinstance(value, FunctionType):
        return _ORIGINAL in vars(value)
    return type(value).__name__ == "OptimizedModule" or (
        isinstance(value, dict) and any(type(one).__name__ == "OptimizedModule" for one in cast("Any", value).values())
    )


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
