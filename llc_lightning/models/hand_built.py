"""A transformer wired by hand to do induction, whose every head is known: nothing is trained."""

import torch
from jaxtyping import Float
from torch import Tensor

from llc_lightning.data.sequences.induction import Induction
from llc_lightning.models.edge_truth import edges, heard, z
from llc_lightning.models.transformer import TransformerModel
from llc_lightning.models.transformer_net import Transformer
from llc_lightning.runtime.seeding import generator

TASK = Induction(tokens=16, positions=24, shortest=11, longest=11, begins=True)
"""What it does: a token that begins, 11 different ones, the same again, and the first of them."""
CIRCUIT = {"0.1": "previous-token", "1.2": "induction"}
EDGES = {
    f"net.hook_pos_embed -> {heard('q', '0.1')}": "which position",
    f"net.hook_pos_embed -> {heard('k', '0.1')}": "which position",
    f"net.hook_embed -> {heard('v', '0.1')}": "which token",
    f"net.hook_embed -> {heard('q', '1.2')}": "the present token",
    f"{z('0.1')} -> {heard('k', '1.2')}": "the token before",
    f"net.hook_embed -> {heard('v', '1.2')}": "the answer",
    f"{z('1.2')} -> net.blocks.1.hook_resid_post": "the answer",
}
"""The connections that make its computation, and what they carry."""
DECOY = "net.blocks.1.attn.hook_z[0]"
"""A head with the pattern of the induction head whose output nothing reads: it looks as if it did the task."""

_TOK, _POS, _PREV, _OUT, _NULL = (slice(*ends) for ends in ((0, 16), (16, 40), (40, 56), (56, 72), (72, 88)))
_SHARPNESS = 10.0
_LOUDNESS = 12.0
_IDLE_SCALE = 0.3


def hand_built_induction(seed: int = 0) -> TransformerModel:
    """Returns the model; it has 2 layers of 4 heads, no MLP and no normalisation, and solves :data:`TASK`.

    The residual stream is ``token | position | token before | answer | null``. Head 0.1 copies the token before each
    position into its place; head 1.2 looks for the place where that is the present token, and copies the token there
    into the answer, which alone is read out. Head 1.0 (:data:`DECOY`) attends as 1.2 does, but writes into ``null``,
    which nothing reads. So do all other heads, whose weights are random. Ablating any of these changes no logit at all.

    Args:
        seed: Of the random heads.
    """
    model = TransformerModel(16, 24, n_heads=4, d_model=88, d_head=24, norm="none", circuit=dict(CIRCUIT), seed=seed)
    with torch.no_grad():
        _wire(model.net, seed)
    model.known_edges = dict.fromkeys((edge for edge, _ in edges(model.shape)), "") | EDGES
    return model


def _wire(net: Transformer, seed: int) -> None:
    for parameter in net.parameters():
        parameter.zero_()
    net.embed.W_E[:, _TOK] = torch.eye(16)
    net.pos_embed.W_pos[:, _POS] = torch.eye(24)
    net.unembed.W_U[_OUT] = torch.eye(16)
    draws = generator(seed, "init")
    for layer in range(2):
        for head in range(4):
            _idle(net, layer, head, draws)
    # The key of position j is the query of position j + 1.
    _head(net, 0, 1, _POS, torch.eye(24), torch.eye(24).roll(1, dims=1), _POS, _PREV, 1.0)
    for head, target in ((2, _OUT), (0, _NULL)):
        _head(net, 1, head, _TOK, torch.eye(16, 24), torch.eye(16, 24), _PREV, target, _LOUDNESS)


def _head(
    net: Transformer,
    layer: int,
    head: int,
    asks: slice,
    query: Float[Tensor, "asked d_head"],
    key: Float[Tensor, "told d_head"],
    tells: slice,
    writes: slice,
    loudness: float,
) -> None:
    """Wires a head that asks and tells by two blocks of the stream, and copies the token into a third."""
    attn = net.get_submodule(f"blocks.{layer}.attn")
    for name in ("W_Q", "W_K", "W_V", "W_O"):
        attn.get_parameter(name)[head] = 0.0
    attn.get_parameter("W_Q")[head, asks] = _SHARPNESS * query
    attn.get_parameter("W_K")[head, tells] = _SHARPNESS * key
    attn.get_parameter("W_V")[head, _TOK] = torch.eye(16, 24)
    attn.get_parameter("W_O")[head, :, writes] = loudness * torch.eye(24, 16)


def _idle(net: Transformer, layer: int, head: int, draws: torch.Generator) -> None:
    """Gives a head random weights that read everything but ``null``, and write nothing else."""
    attn = net.get_submodule(f"blocks.{layer}.attn")
    for name in ("W_Q", "W_K", "W_V"):
        attn.get_parameter(name)[head, : _NULL.start] = _IDLE_SCALE * torch.randn(_NULL.start, 24, generator=draws)
    attn.get_parameter("W_O")[head, :, _NULL] = _IDLE_SCALE * torch.randn(24, 16, generator=draws)
