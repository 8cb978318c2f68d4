"""What the heads of a transformer attend to, as scores between 0 and 1."""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from llc_lightning.components.loss import TaskQuantity
from llc_lightning.models.transformer_net import Transformer
from llc_lightning.runtime.batches import chunks

SCORES = ("previous_token", "duplicate_token", "induction")
"""What is scored: attention to the token before; to earlier tokens that are the same as the present one; and to the
tokens that followed those (Olsson et al. 2022, arXiv:2209.11895)."""
_BLOCK = 256


def attention_scores(
    pattern: Float[Tensor, "example head query key"], tokens: Int64[Tensor, "example query"]
) -> Float[Tensor, "score example head"]:
    """Returns the scores of every head on every example, in the order of :data:`SCORES`.

    A score is the attention to all keys of its kind together, averaged over the queries that have any; NaN for an
    example without such a query.

    Example:
        The second ``a`` of ``a b a`` attends to ``b``, which followed the first:

        >>> pattern = torch.tensor([[[[1.0, 0, 0], [1, 0, 0], [0, 1, 0]]]])
        >>> attention_scores(pattern, torch.tensor([[5, 6, 5]])).flatten().tolist()
        [1.0, 0.0, 1.0]
    """
    n = tokens.shape[1]
    place = torch.arange(n, device=tokens.device)
    earlier = place[None] < place[:, None]
    same = (tokens[:, :, None] == tokens[:, None]) & earlier
    after = torch.zeros_like(same)
    after[:, :, 1:] = same[:, :, :-1]
    before = (place[None] == place[:, None] - 1).expand_as(same)
    return torch.stack([_mean_attention(pattern, keys) for keys in (before, same, after & earlier)])


def head_scores(net: Transformer, tokens: Int64[Tensor, "example query"]) -> Float[Tensor, "layer score example head"]:
    """Returns the scores of all heads of a net on examples; NaN as :func:`attention_scores` says."""
    points = [f"blocks.{layer}.attn.hook_pattern" for layer in range(net.shape.n_layers)]
    untyped: Any = net
    found: list[Tensor] = []
    with torch.no_grad():
        for rows in chunks(len(tokens), _BLOCK):
            _, cache = untyped.run_with_cache(tokens[rows], names_filter=points)
            found.append(torch.stack([attention_scores(cache[point], tokens[rows]) for point in points]))
    return torch.cat(found, dim=2)


def score_quantities(net: Transformer, tokens: Int64[Tensor, "example query"], *, prefix: str) -> list[TaskQuantity]:
    """Returns the mean score of every head over the examples that have it, with its standard error.

    Args:
        net: The net.
        tokens: The examples.
        prefix: Path of the net in the module that is measured, such as ``net``.
    """
    rows: list[TaskQuantity] = []
    for layer, by_score in enumerate(head_scores(net, tokens)):
        for name, scores in zip(SCORES, by_score, strict=True):
            known = scores[~scores.isnan().any(dim=1)]
            n = len(known)
            if n < 2:
                continue
            for head, (mean, spread) in enumerate(zip(known.mean(dim=0), known.std(dim=0), strict=True)):
                address = f"{prefix}.blocks.{layer}.attn.hook_z[{head}]"
                rows.append(
                    TaskQuantity(
                        "attention_score", float(mean), float(spread) / n**0.5, n,
                        method=name, component=address, kind="head",
                    )
                )  # fmt: skip
    return rows


def _mean_attention(
    pattern: Float[Tensor, "example head query key"], keys: Bool[Tensor, "example query key"]
) -> Float[Tensor, "example head"]:
    queries = keys.any(dim=-1)
    attention = (pattern * keys[:, None]).sum(dim=-1)
    return (attention * queries[:, None]).sum(dim=-1) / queries.sum(dim=-1)[:, None]
