"""What is known of a transformer's connections when its true heads are."""

from collections.abc import Iterator, Mapping

from llc_lightning.models.transformer_shape import TransformerShape

FALSE = ""
"""The role of an edge that must not matter."""


def edges_by_heads(shape: TransformerShape, circuit: Mapping[str, str]) -> dict[str, str]:
    """Returns which edges are known to matter, and which not to, where only the heads of a circuit may.

    An edge that touches another head has no role. A head has one edge, into the queries, keys or values, to the only
    head of the circuit in the layer behind that has any; and the only one in the last has one to the output. Which of
    the three it is nobody told, so the address of such an edge has ``?`` for it. All others are open and left out.

    Args:
        shape: The net's.
        circuit: The roles of the heads that may matter, by ``layer.head``.
    """
    known = {edge: FALSE for edge, heads in edges(shape) if not heads <= circuit.keys()}
    layers: dict[int, list[str]] = {}
    for head in sorted(circuit):
        layers.setdefault(int(head.split(".")[0]), []).append(head)
    steps = sorted(layers)
    for layer, behind in zip(steps, [*steps[1:], None], strict=True):
        for head in layers[layer]:
            if behind is None and len(layers[layer]) == 1:
                known[f"{z(head)} -> {output(shape)}"] = circuit[head]
            elif behind is not None and len(layers[behind]) == 1:
                known[f"{z(head)} -> {heard('?', layers[behind][0])}"] = circuit[head]
    return known


def edges(shape: TransformerShape) -> Iterator[tuple[str, set[str]]]:
    """Yields every edge between embeddings, heads, MLPs and the output, and the heads that it touches."""
    senders: list[tuple[str, set[str]]] = [("net.hook_embed", set())]
    if shape.positions == "learned":
        senders.append(("net.hook_pos_embed", set()))
    for layer in range(shape.n_layers):
        heads = [f"{layer}.{head}" for head in range(shape.n_heads)]
        for reader, own in [(heard(kind, head), {head}) for kind in "qkv" for head in heads]:
            yield from ((f"{sender} -> {reader}", touched | own) for sender, touched in senders)
        senders += [(z(head), {head}) for head in heads]
        if shape.d_mlp is not None:
            mlp = f"net.blocks.{layer}"
            yield from ((f"{sender} -> {mlp}.mlp.hook_pre", touched) for sender, touched in senders)
            senders.append((f"{mlp}.hook_mlp_out", set()))
    yield from ((f"{sender} -> {output(shape)}", touched) for sender, touched in senders)


def z(head: str) -> str:
    """Returns the address of what a head says.

    Example:
        >>> z("1.2")
        'net.blocks.1.attn.hook_z[2]'
    """
    layer, number = head.split(".")
    return f"net.blocks.{layer}.attn.hook_z[{number}]"


def heard(kind: str, head: str) -> str:
    """Returns the address of a head's queries, keys or values.

    Example:
        >>> heard("k", "1.2")
        'net.blocks.1.attn.hook_k[2]'
    """
    layer, number = head.split(".")
    return f"net.blocks.{layer}.attn.hook_{kind}[{number}]"


def output(shape: TransformerShape) -> str:
    """Returns the address of what the logits are read from."""
    return f"net.blocks.{shape.n_layers - 1}.hook_resid_post"
