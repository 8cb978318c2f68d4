"""Modules as users have them, one setting each: what is measured of it, and what is left out for which reason.

The table of docs/bridges.md is made of them.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune, rnn
from torch.utils.checkpoint import checkpoint

N = 6
"""Examples of each setting."""


class Measured(L.LightningModule):
    """Trains with the mean of its losses; what a setting adds is the net."""

    sparse = False

    def per_example_loss(self, batch: Any) -> Tensor:
        x, y = batch
        return (self(x).flatten(1).mean(1) - y).square()

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.per_example_loss(batch).mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return torch.optim.SGD(trained, lr=0.05)


@dataclass(frozen=True)
class Setting:
    """A kind of module, made small."""

    name: str
    make: Callable[[], L.LightningModule]
    batch: Callable[[], Any]
    ablate: tuple[str, ...] = ("layers",)
    """What its ablation callback measures."""
    llc: tuple[str, ...] = ("layers",)
    """What its LLC callback measures; nothing where no chain can be run."""
    left_out: Mapping[str, str] = field(default_factory=dict[str, str])
    """What the words leave out, with a part of the reason."""
    trainer: Mapping[str, Any] = field(default_factory=dict[str, Any])
    dtype: str = "float32"
    """The type of its weights while it trains."""
    through: Callable[[L.LightningModule], Any] = lambda module: module
    """What the trainer is given of the module."""


SETTINGS: dict[str, Setting] = {}


def setting(name: str, batch: Callable[[], Any], **known: Any) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    """Enters what makes a module, under a name of the documentation."""

    def enter(make: Callable[[], Any]) -> Callable[[], Any]:
        SETTINGS[name] = Setting(name, make, batch, **known)
        return make

    return enter


def vectors() -> tuple[Tensor, Tensor]:
    return torch.randn(N, 4), torch.randn(N)


def sequences() -> tuple[Tensor, Tensor]:
    return torch.randn(N, 2, 4), torch.randn(N)


def pictures() -> tuple[Tensor, Tensor]:
    return torch.randn(N, 2, 4, 4), torch.randn(N)


def words() -> tuple[Tensor, Tensor]:
    return torch.randint(0, 7, (N, 3)), torch.randn(N)


class Chain(Measured):
    """Modules one after the other."""

    def __init__(self, *parts: nn.Module) -> None:
        super().__init__()
        self.net = nn.Sequential(*parts)

    def forward(self, x: Tensor) -> Any:
        return self.net(x)


def small() -> list[nn.Module]:
    return [nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1)]


# Attention


class Attending(Measured):
    def __init__(self, *, batch_first: bool) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(4, 2, batch_first=batch_first)
        self.out = nn.Linear(4, 1)
        self.first = batch_first

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.first else x.transpose(0, 1)
        heard = self.attn(x, x, x, need_weights=False)[0]
        return self.out(heard if self.first else heard.transpose(0, 1))


@setting("`nn.MultiheadAttention`", sequences, ablate=("layers", "heads"), llc=("attn", "heads"))
def attention() -> Measured:
    return Attending(batch_first=True)


@setting("`nn.MultiheadAttention`, positions first", sequences, ablate=("layers", "heads"), llc=("attn",))
def attention_positions_first() -> Measured:
    return Attending(batch_first=False)


class Encoder(Measured):
    def __init__(self, **settings: Any) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(4, 2, 6, dropout=0.0, **settings)
        self.enc, self.out = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.enc(x))


@setting("`nn.TransformerEncoder`", sequences, ablate=("layers", "heads", "neurons"), llc=("heads",))
def encoder() -> Measured:
    return Encoder(batch_first=True)


class Patches(nn.Module):
    """A block of a vision transformer, as torchvision writes it."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.self_attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        normal = self.ln_1(x)
        x = x + self.self_attention(normal, normal, normal, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class ViT(Measured):
    """A vision transformer, as torchvision builds it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_proj = nn.Conv2d(2, 4, 2, stride=2)
        self.class_token = nn.Parameter(torch.randn(1, 1, 4))
        self.encoder = nn.ModuleDict({"layers": nn.Sequential(Patches(4, 2, 6)), "ln": nn.LayerNorm(4)})
        self.heads = nn.Sequential(nn.Linear(4, 1))

    def forward(self, x: Tensor) -> Tensor:
        patches = self.conv_proj(x).flatten(2).mT
        tokens = torch.cat([self.class_token.expand(len(x), -1, -1), patches], 1)
        return self.heads(self.encoder["ln"](self.encoder["layers"](tokens))[:, 0])


setting("a vision transformer of torchvision", pictures, ablate=("layers", "heads", "neurons"), llc=("encoder.ln",))(
    ViT
)


class Transformers(Measured):
    """A model of the library transformers."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def per_example_loss(self, batch: Any) -> Tensor:
        tokens, _ = batch
        logits = self.model(input_ids=tokens).logits
        return F.cross_entropy(logits[:, :-1].mT, tokens[:, 1:], reduction="none").mean(-1)


@setting(
    "BERT of transformers",
    words,
    ablate=("layers", "heads", "neurons"),
    llc=("heads",),
    left_out={"model.bert.embeddings.position_embeddings": "of shape (1, 3, 4)"},
)
def bert() -> Measured:
    from transformers import BertConfig, BertForMaskedLM

    sizes = {"hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 6}
    config = BertConfig(vocab_size=7, max_position_embeddings=4, attn_implementation="eager", **sizes)
    return Transformers(BertForMaskedLM(config).eval())


@setting(
    "OPT of transformers",
    words,
    ablate=("layers", "heads"),
    llc=("heads",),
    left_out={
        "model.model.decoder.layers.0.fc1": "of shape (9, 6), does not count the 3 examples",
        "model.model.decoder.layers.0.fc2": "of shape (9, 4), does not count the 3 examples",
        "model.model.decoder.layers.0.final_layer_norm": "of shape (9, 4), does not count the 3 examples",
    },
)
def opt() -> Measured:
    from transformers import OPTConfig, OPTForCausalLM

    sizes = {"hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 2, "ffn_dim": 6, "word_embed_proj_dim": 4}
    config = OPTConfig(vocab_size=7, max_position_embeddings=4, dropout=0.0, attn_implementation="eager", **sizes)
    return Transformers(OPTForCausalLM(config).eval())


@setting("Llama of transformers, grouped queries", words, ablate=("layers", "heads"), llc=("heads",))
def llama() -> Measured:
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 6}
    config = LlamaConfig(vocab_size=7, num_key_value_heads=2, attn_implementation="eager", **sizes)
    return Transformers(LlamaForCausalLM(config).eval())


# Recurrent layers


class Recurrent(Measured):
    def __init__(self, layer: nn.RNNBase, *, state: bool = False) -> None:
        super().__init__()
        self.rnn = layer
        width = (layer.proj_size or layer.hidden_size) * (2 if layer.bidirectional else 1)
        self.out, self.state = nn.Linear(width, 1), state

    def forward(self, x: Tensor) -> Tensor:
        sequence, state = self.rnn(x if self.rnn.batch_first else x.transpose(0, 1))
        if self.state:
            return self.out(state[-1])
        return self.out(sequence if self.rnn.batch_first else sequence.transpose(0, 1))


@setting("`nn.GRU`, read by its final state", sequences, ablate=("layers", "rnn[*]"), llc=("rnn",))
def gru() -> Measured:
    return Recurrent(nn.GRU(4, 3, batch_first=True), state=True)


@setting("`nn.LSTM`, positions first", sequences, ablate=("layers", "rnn[*]"), llc=("rnn",))
def lstm() -> Measured:
    return Recurrent(nn.LSTM(4, 3))


@setting("`nn.LSTM` with a projection", sequences, ablate=("layers", "rnn[*]"), llc=("rnn[1]",))
def lstm_projected() -> Measured:
    return Recurrent(nn.LSTM(4, 3, proj_size=2, batch_first=True))


@setting("`nn.RNN`, both directions, two layers", sequences, ablate=("layers", "rnn[*]"), llc=("rnn",))
def rnn_two() -> Measured:
    return Recurrent(nn.RNN(4, 3, num_layers=2, bidirectional=True, batch_first=True))


class Cell(Measured):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.out = nn.GRUCell(4, 3), nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(len(x), 3)
        for position in range(2):
            state = self.cell(x[:, position], state)
        return self.out(state)


setting("`nn.GRUCell`, called for each position", sequences, ablate=("layers", "cell:call1[0]"))(Cell)


class Packed(Measured):
    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.out = nn.GRU(4, 3, batch_first=True), nn.Linear(3, 1)

    def per_example_loss(self, batch: Any) -> Tensor:
        x, lengths, y = batch
        packed = rnn.pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        return (self.out(self.rnn(packed)[1][-1])[:, 0] - y).square()


setting(
    "packed sequences",
    lambda: (torch.randn(N, 3, 4), torch.tensor([3, 1, 2, 3, 2, 1]), torch.randn(N)),
    left_out={"rnn": "PackedSequence"},
)(Packed)


# Layers with weights of their own


@setting("`nn.Embedding`, `nn.LayerNorm`", words, ablate=("layers", "net.0[*]", "net.1[2]"), llc=("layers", "net.0[1]"))
def embedded() -> Measured:
    return Chain(nn.Embedding(7, 4), nn.LayerNorm(4), nn.Linear(4, 1))


@setting("`nn.EmbeddingBag`, `nn.RMSNorm`", words, ablate=("layers", "net.0[1]"))
def bag() -> Measured:
    return Chain(nn.EmbeddingBag(7, 4), nn.RMSNorm(4), nn.Linear(4, 1))


@setting("sparse embeddings", words)
def sparse() -> Measured:
    return Chain(nn.Embedding(7, 3, sparse=True), nn.Linear(3, 1))


@setting(
    "convolutions with batch, group and instance norms",
    pictures,
    ablate=("layers", "channels", "net.2[*]", "net.5[1]", "net.0[1]"),
    llc=("net.1[*]", "net.2[2]"),
)
def convolved() -> Measured:
    up = nn.ConvTranspose2d(4, 2, 2, stride=2)
    norms = nn.BatchNorm2d(4), nn.GroupNorm(2, 4), nn.InstanceNorm2d(2, affine=True)
    first, second = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 1)
    return Chain(norms[2], first, norms[0], nn.ReLU(), second, norms[1], up, nn.Tanh())


@setting("`nn.Conv1d`, `nn.BatchNorm1d`", sequences, ablate=("layers", "channels", "net.1[1]"))
def signals() -> Measured:
    return Chain(nn.Conv1d(2, 2, 2), nn.BatchNorm1d(2), nn.Tanh(), nn.ConvTranspose1d(2, 2, 2))


# Weights that are computed


@setting("weight norm", vectors, ablate=("layers", "neurons"), llc=("neurons",))
def weight_normed() -> Measured:
    return Chain(parametrizations.weight_norm(nn.Linear(4, 3)), nn.ReLU(), nn.Linear(3, 1))


@setting("spectral norm", vectors, ablate=("layers", "neurons"), llc=("layers",))
def spectral_normed() -> Measured:
    return Chain(parametrizations.spectral_norm(nn.Linear(4, 3)), nn.ReLU(), nn.Linear(3, 1))


class Symmetric(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.triu() + x.triu(1).T


@setting("any other parametrisation", vectors, ablate=("layers", "neurons"))
def parametrised() -> Measured:
    layer = nn.Linear(4, 4)
    parametrize.register_parametrization(layer, "weight", Symmetric())
    return Chain(layer, nn.ReLU(), nn.Linear(4, 1))


@setting("pruned layers", vectors, ablate=("layers", "neurons"), llc=("layers", "neurons"))
def pruned() -> Measured:
    net = Chain(*small())
    prune.random_unstructured(net.net[0], "weight", amount=4)
    return net


# Which submodules the loss calls


class WithCritic(Chain):
    def __init__(self) -> None:
        super().__init__(*small())
        self.critic = nn.Linear(4, 2)


@setting("a submodule that the loss does not use", vectors, left_out={"critic": "the loss does not"})
def unused() -> Measured:
    return WithCritic()


class Twice(Measured):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.out = nn.Linear(4, 4), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.up(self.up(x).relu()))


setting("a submodule that the loss calls twice", vectors, ablate=("layers", "neurons"))(Twice)


# How it is run


class Checkpointed(Chain):
    def __init__(self, *, reentrant: bool) -> None:
        super().__init__(*small())
        self.reentrant = reentrant

    def forward(self, x: Tensor) -> Any:
        return self.net[2](checkpoint(self.net[:2], x, use_reentrant=self.reentrant))


@setting("gradient checkpointing", vectors)
def checkpointed() -> Measured:
    return Checkpointed(reentrant=False)


@setting("gradient checkpointing, reentrant", vectors)
def checkpointed_again() -> Measured:
    # Reentrant checkpoints train what their input requires.
    return Checkpointed(reentrant=True)


@setting("`torch.compile` of the module", vectors, through=lambda module: torch.compile(module, backend="aot_eager"))
def compiled() -> Measured:
    return Chain(*small())


@setting("`torch.compile` of a part", vectors)
def compiled_part() -> Measured:
    net = Chain(*small())
    net.net = torch.compile(net.net, backend="aot_eager")  # pyright: ignore[reportAttributeAccessIssue]
    return net


@setting("`module.compile()` of a part", vectors)
def compiled_in_place() -> Measured:
    net = Chain(*small())
    net.net.compile(backend="aot_eager")
    return net


@setting("a scripted part", vectors, left_out={"net.0.0": "scripted"})
def scripted() -> Measured:
    return Chain(torch.jit.script(nn.Sequential(nn.Linear(4, 3), nn.ReLU())), nn.Linear(3, 1))


@setting("`LazyLinear` that has seen a batch", vectors, ablate=("layers", "neurons"), llc=("neurons",))
def lazy() -> Measured:
    net = Chain(nn.LazyLinear(3), nn.ReLU(), nn.LazyLinear(1))
    net(torch.zeros(1, 4))
    return net


# Types of numbers


@setting("precision `bf16-true`", vectors, llc=(), trainer={"precision": "bf16-true"}, dtype="bfloat16")
def halved() -> Measured:
    return Chain(*small())


@setting("precision `64-true`", vectors, trainer={"precision": "64-true"}, dtype="float64")
def doubled() -> Measured:
    return Chain(*small())


class Single(Chain):
    def per_example_loss(self, batch: Any) -> Tensor:
        return super().per_example_loss(tuple(value.float() for value in batch))


@setting("float64 data", lambda: tuple(value.double() for value in vectors()))
def double_data() -> Measured:
    return Single(*small())


class Phases(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.turn = nn.Parameter(torch.randn(4, dtype=torch.complex64))

    def forward(self, x: Tensor) -> Tensor:
        return (self.turn * x).real


@setting("complex parameters", vectors, left_out={"net.0": "its weights are torch.complex64"})
def phases() -> Measured:
    return Chain(Phases(), nn.Linear(4, 1))


# Batches

Pair = namedtuple("Pair", ["x", "y"])


class OfNames(Chain):
    def per_example_loss(self, batch: Any) -> Tensor:
        return (self(batch.x)[:, 0] - batch.y).square()


@setting("a named tuple as batch", lambda: Pair(*vectors()))
def named() -> Measured:
    return OfNames(*small())


@setting("a list as batch", lambda: list(vectors()))
def listed() -> Measured:
    return Chain(*small())


class OfTokens(Chain):
    def per_example_loss(self, batch: Any) -> Tensor:
        return self(batch.input_ids)[..., 0].mean(1).square() + 0 * batch["attention_mask"].sum(1)


def encoding() -> Any:
    from transformers import BatchEncoding

    return BatchEncoding({"input_ids": words()[0], "attention_mask": torch.ones(N, 3)})


@setting("a `BatchEncoding` as batch", encoding)
def encoded() -> Measured:
    return OfTokens(nn.Embedding(7, 3), nn.Linear(3, 1))


# What is trained


class LoRA(nn.Module):
    """A frozen map with a trained one of low rank beside it."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base.requires_grad_(requires_grad=False)
        self.down = nn.Parameter(torch.randn(1, base.in_features))
        self.up = nn.Parameter(torch.randn(base.out_features, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + x @ self.down.T @ self.up.T


@setting(
    "LoRA by hand", vectors, llc=("all", "layers"), left_out={"net.0.base": "the module does not train its weights"}
)
def lora() -> Measured:
    return Chain(LoRA(nn.Linear(4, 3)), nn.ReLU(), nn.Linear(3, 1))


@setting("a frozen base", vectors, llc=("all", "layers"), left_out={"net.0": "the module does not train its weights"})
def frozen() -> Measured:
    net = Chain(*small())
    net.net[0].requires_grad_(requires_grad=False)
    return net
