"""Edges of models of the library transformers against frozen forward passes, through torch's own hooks."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llc_lightning.circuits.edge import Edge
from llc_lightning.circuits.exact import edge_effects
from llc_lightning.circuits.graph import Graph
from llc_lightning.components.loss import Edit, loss_fn, snapshot_params

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
SIZE = 4
"""Features of a head."""


class Language(nn.Module):
    """Gives a language model a loss per example."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def per_example_loss(self, tokens: Tensor) -> Tensor:
        logits = self.model(input_ids=tokens, use_cache=False).logits
        return F.cross_entropy(logits[:, :-1].transpose(1, 2), tokens[:, 1:], reduction="none").mean(1)


def gpt2() -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes = {"vocab_size": 7, "n_positions": 6, "n_embd": 8, "n_layer": 2, "n_head": 2, "n_inner": 12}
    ends = {"bos_token_id": 0, "eos_token_id": 0}
    return GPT2LMHeadModel(GPT2Config(**sizes, **ends, attn_implementation="eager"))


def llama() -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"vocab_size": 7, "hidden_size": 16, "intermediate_size": 12, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 6}
    return LlamaForCausalLM(LlamaConfig(**sizes, **heads, attn_implementation="eager"))


EDGES = {
    gpt2: [
        ("model.transformer.drop", "model.transformer.h.1.attn.c_attn:q[1]"),
        ("model.transformer.h.0.attn.c_proj:input[1]", "model.transformer.h.1.attn.c_attn:v[0]"),
        ("model.transformer.h.0.mlp", "model.transformer.h.1.mlp:input"),
        ("model.transformer.h.1.attn.c_proj:input[0]", "model.transformer.ln_f:input"),
    ],
    llama: [
        ("model.model.embed_tokens", "model.model.layers.1.self_attn.k_proj[1]"),
        ("model.model.layers.0.self_attn.o_proj:input[3]", "model.model.layers.1.self_attn.v_proj[0]"),
        ("model.model.layers.0.self_attn.o_proj:input[0]", "model.model.layers.1.mlp:input"),
        ("model.model.layers.0.mlp", "model.model.norm:input"),
    ],
}
UNITS = {"q[1]": [4, 5, 6, 7], "v[0]": [16, 17, 18, 19], "k_proj[1]": [4, 5, 6, 7], "v_proj[0]": [0, 1, 2, 3]}


@pytest.mark.parametrize("make", [gpt2, llama])
def test_edges_have_the_effects_of_frozen_forward_passes(make: Any) -> None:
    torch.manual_seed(0)
    module = Language(make().eval())
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    tokens = torch.randint(7, (8, 6))
    graph, loss, params = Graph.of(module), loss_fn(module), snapshot_params(module)
    edges = [Edge(*sides) for sides in EDGES[make]]
    assert {str(one) for one in edges} <= {str(one) for one in graph.edges}
    found = edge_effects(loss, params, tokens, graph, edges, "zero", seed=0, per_example=True)
    points = list(dict.fromkeys(part.point for one in graph.senders.values() for part in one.component.members))
    clean, everything = loss.activations(params, tokens, points), torch.ones(1, dtype=torch.bool)
    for edge, effect in zip(edges, found[1:], strict=True):
        sender, reader = graph.sender(edge).component, graph.reader(edge).component
        said = {point: values.clone() for point, values in clean.items()}
        said[sender.point][..., slice(None) if sender.units is None else list(sender.units)] = 0
        frozen = loss.with_edits([Edit(point, everything, values) for point, values in said.items()])
        heard = frozen.activations(params, tokens, [reader.point])[reader.point]
        own = loss.activations(params, tokens, [reader.point])[reader.point].clone()
        units = UNITS.get(edge.reader.split(".")[-1].split(":")[-1])
        own[..., slice(None) if units is None else units] = heard[..., slice(None) if units is None else units]
        expected = loss.with_edits([Edit(reader.point, everything, own)])(params, tokens) - loss(params, tokens)
        assert expected.abs().max() > 1e-4
        assert torch.allclose(effect.per_example.float(), expected.detach(), atol=1e-5), str(edge)
