"""The sweep against TransformerLens hooks one at a time, and against forward passes, in CPU time of one process.

``python -m benchmarks ablation`` prints all tables, ``python -m benchmarks ablation hooks`` one of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.goals import Goal, judged
from benchmarks.timing import cpu_seconds, ratio
from llc_lightning.ablation.engine.sweep import sweep
from llc_lightning.ablation.methods.optimal import Optimal
from llc_lightning.components.component import Component
from llc_lightning.components.listing import find_components
from llc_lightning.components.loss import loss_fn, snapshot_params
from llc_lightning.data.cis import CISData
from llc_lightning.models.cis import CISModel
from llc_lightning.runtime.allocator import keep_freed_memory
from llc_lightning.runtime.batches import Batch

LAYERS, HEADS, WIDTH, NEURONS, VOCABULARY, LENGTH = 2, 4, 64, 256, 64, 16
ROUNDS = 3
WARM = 12
"""Sweeps before those that are timed: repeated sweeps of one loss are traced into graphs."""


class Attention(nn.Module):
    """Causal attention whose heads are units of ``hook_z``."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.hook_z = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Returns what all heads add."""
        q, k, v = (one(x).unflatten(-1, (HEADS, -1)).transpose(1, 2) for one in (self.q, self.k, self.v))
        score = q @ k.mT * (WIDTH // HEADS) ** -0.5
        seen = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).tril()
        pattern = score.masked_fill(~seen, -torch.inf).softmax(-1)
        return self.o(self.hook_z((pattern @ v).transpose(1, 2)).flatten(2))


class Block(nn.Module):
    """Attention and an MLP, each behind a layer norm."""

    def __init__(self) -> None:
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attn = Attention()
        self.fc_in, self.fc_out = nn.Linear(WIDTH, NEURONS), nn.Linear(NEURONS, WIDTH)
        self.hook_post = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Returns the residual stream behind the block."""
        x = x + self.attn(self.ln1(x))
        return x + self.fc_out(self.hook_post(F.gelu(self.fc_in(self.ln2(x)))))


class Transformer(nn.Module):
    """The network of a TransformerLens bridge in plain torch, with the bridge's weights."""

    def __init__(self, bridge: Any) -> None:
        super().__init__()
        self.embed, self.pos = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(LENGTH, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.ln = nn.LayerNorm(WIDTH)
        self.unembed = nn.Linear(WIDTH, VOCABULARY, bias=False)
        theirs = [name.replace("._original_component", "") for name, _ in bridge.named_parameters()]
        names = {
            "tok_embed": "embed",
            "pos": "pos",
            "layers": "blocks",
            "mlp.": "",
            "ln_out": "ln",
            "head.": "unembed.",
        }
        with torch.no_grad():
            for name, parameter in zip(theirs, bridge.parameters(), strict=True):
                for their, our in names.items():
                    name = name.replace(their, our, 1) if name.startswith(their) or their == "mlp." else name
                self.get_parameter(name).copy_(parameter)

    def per_example_loss(self, tokens: Tensor) -> Tensor:
        """Returns the cross-entropy of the next token, mean over positions."""
        x = self.embed(tokens) + self.pos.weight[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        return next_token_loss(self.unembed(self.ln(x)), tokens)


class MLP(nn.Module):
    """A classifier of the size of MNIST and FashionMNIST together."""

    def __init__(self) -> None:
        super().__init__()
        one, two, three = (nn.Linear(a, b) for a, b in pairwise((784, 256, 256, 20)))
        self.one, self.hook_one, self.two, self.hook_two, self.three = one, nn.ReLU(), two, nn.ReLU(), three

    def per_example_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Returns the cross-entropy of every example."""
        hidden = self.hook_two(self.two(self.hook_one(self.one(batch[0]))))
        return F.cross_entropy(self.three(hidden), batch[1], reduction="none")


@dataclass(frozen=True)
class Case:
    """What is ablated, and what is promised in forward passes per ablation."""

    name: str
    module: nn.Module
    data: Batch
    parts: list[Component]
    goal: Goal
    """Forward passes for each ablation."""
    block: int
    methods: tuple[str, ...] = ("zero", "mean", "resample")


def next_token_loss(logits: Tensor, tokens: Tensor) -> Tensor:
    """Returns the cross-entropy of the next token, mean over positions."""
    return (
        F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten(), reduction="none")
        .view(len(tokens), -1)
        .mean(-1)
    )


def neurons_and_heads() -> list[Component]:
    """Returns all 512 neurons and 8 heads of the transformer."""
    neurons = [
        Component(f"blocks.{layer}.hook_post[{unit}]", "neuron", f"blocks.{layer}.hook_post", (unit,))
        for layer in range(LAYERS)
        for unit in range(NEURONS)
    ]
    heads = [
        Component(f"blocks.{layer}.attn.hook_z[{head}]", "head", f"blocks.{layer}.attn.hook_z", (head,), -2)
        for layer in range(LAYERS)
        for head in range(HEADS)
    ]
    return neurons + heads


def main(names: list[str]) -> int:
    """Prints the tables with these names, or all; returns 1 where a goal is missed.

    Raises:
        SystemExit: If there is no such table.
    """
    unknown = [name for name in names if name not in TABLES]
    if unknown:
        raise SystemExit(f"unknown table {unknown[0]!r}; use one of: {', '.join(TABLES)}.")
    keep_freed_memory()
    kept = [TABLES[name]() for name in names or TABLES]
    return 0 if all(kept) else 1


def _bridge() -> Any:
    from transformer_lens.config import TransformerBridgeConfig
    from transformer_lens.model_bridge import TransformerBridge

    return TransformerBridge.boot_native(
        TransformerBridgeConfig(
            n_layers=LAYERS, d_model=WIDTH, n_ctx=LENGTH, d_head=WIDTH // HEADS, n_heads=HEADS, d_mlp=NEURONS,
            d_vocab=VOCABULARY, act_fn="gelu", seed=0,
        )
    )  # fmt: skip


def _one_by_one(bridge: Any, tokens: Tensor, parts: list[Component]) -> Callable[[], list[float]]:
    def hook_of(part: Component) -> tuple[str, Callable[..., Tensor]]:
        unit = (part.units or (0,))[0]

        def zero(activation: Tensor, hook: object) -> Tensor:
            activation.select(part.unit_axis, unit).zero_()
            return activation

        path = part.point.replace("hook_post", "mlp.hook_post")
        return path, zero

    def run() -> list[float]:
        with torch.no_grad():
            clean = next_token_loss(bridge(tokens), tokens)
            found: list[float] = []
            for part in parts:
                logits = bridge.run_with_hooks(tokens, fwd_hooks=[hook_of(part)])
                found.append(float((next_token_loss(logits, tokens) - clean).mean()))
        return found

    return run


def hooks() -> bool:
    """Prints all ablations of a transformer against TransformerLens hooks; says whether the goals are kept."""
    bridge = _bridge()
    transformer = Transformer(bridge)
    print(f"\nall {len(neurons_and_heads())} ablations of a transformer, against TransformerLens hooks one at a time")
    print(f"{'examples':12}{'hooks, s':>10}{'ours, s':>10}{'ratio':>22}{'largest difference':>32}")
    return all([_against_hooks(bridge, transformer, n, goal) for n, goal in ((32, 6.0), (4, 15.0))])


def _against_hooks(bridge: Any, transformer: nn.Module, examples: int, least: float) -> bool:
    tokens = torch.randint(VOCABULARY, (examples, LENGTH), generator=torch.Generator().manual_seed(0))
    parts, loss, params = neurons_and_heads(), loss_fn(transformer), snapshot_params(transformer)

    def ours() -> list[float]:
        found = sweep(loss, params, tokens, parts, "zero", seed=0, block=examples)
        return [effect.value for effect in found[1:]]

    theirs = _one_by_one(bridge, tokens, parts)
    for _ in range(WARM):
        ours()
    apart = max(abs(a - b) for a, b in zip(theirs(), ours(), strict=True))
    seconds = cpu_seconds({"hooks": theirs, "ours": ours}, rounds=ROUNDS)
    over, fast = judged(ratio(seconds, "hooks", "ours"), Goal(least, at_least=True), ".1f")
    told, equal = judged(apart, Goal(1e-5), ".1e")
    times = [f"{median(seconds[name]):.3f}" for name in ("hooks", "ours")]
    print(f"{f'{examples} x {LENGTH}':12}{times[0]:>10}{times[1]:>10}{over:>22}{told:>32}")
    return fast and equal


def _cases() -> list[Case]:
    torch.manual_seed(0)
    transformer = Transformer(_bridge())
    images = (torch.randn(256, 784), torch.randint(20, (256,)))
    tokens = torch.randint(VOCABULARY, (32, LENGTH))
    parts = neurons_and_heads()
    mlp = [
        Component(f"hook_{layer}[{unit}]", "neuron", f"hook_{layer}", (unit,))
        for layer in ("one", "two")
        for unit in range(64)
    ]
    cis = CISModel()
    return [
        Case("MLP 784-256-256-20, 128 neurons", MLP(), images, mlp, Goal(0.06), 256),
        Case(
            "CIS 64-32-32, 32 neurons",
            cis,
            CISData().analysis_set(256),
            find_components(cis, "neurons"),
            Goal(0.2),
            256,
        ),
        Case("transformer, 512 neurons", transformer, tokens, parts[:512], Goal(0.35), 32),
        Case("transformer, 8 heads", transformer, tokens, parts[512:], Goal(0.65), 32),
    ]


def sweeps() -> bool:
    """Prints the cost of one ablation in forward passes; says whether the goals are kept."""
    print(f"\n{'zero, mean and 4 draws of resample':40}{'forward passes each':>26}{'first sweep, s':>16}")
    return all([_per_forward(case) for case in _cases()])


def _per_forward(case: Case) -> bool:
    loss, params = loss_fn(case.module), snapshot_params(case.module)

    def ours() -> None:
        sweep(loss, params, case.data, case.parts, case.methods, seed=0, block=case.block)

    started = time.process_time()
    ours()
    first = time.process_time() - started
    for _ in range(WARM):
        ours()
    ablations = len(case.parts) * sum({"resample": 4}.get(method, 1) for method in case.methods)
    seconds = cpu_seconds({"ours": ours, "forward": _forward(case)}, rounds=ROUNDS)
    told, kept = judged(ratio(seconds, "ours", "forward") / ablations, case.goal, ".3f")
    print(f"{case.name:40}{told:>26}{first:>16.2f}")
    return kept


def optimal() -> bool:
    """Prints the cost of a step of optimal ablation, in forward passes for each component."""
    print(f"\n{'optimal ablation':40}{'forward passes, a step':>26}")
    return all([_optimal_step(case) for case in _cases()[:2]])


def _optimal_step(case: Case) -> bool:
    loss, params = loss_fn(case.module), snapshot_params(case.module)

    def fitted(steps: int) -> Callable[[], None]:
        def run() -> None:
            sweep(loss, params, case.data, case.parts, Optimal(steps=steps), seed=0, block=case.block // 2)

        return run

    seconds = cpu_seconds({"more": fitted(60), "less": fitted(10), "forward": _forward(case)}, rounds=ROUNDS)
    # A step sees the half of the examples that is fitted on.
    step = (median(seconds["more"]) - median(seconds["less"])) / 50
    told, kept = judged(2 * step / median(seconds["forward"]) / len(case.parts), Goal(0.4), ".3f")
    print(f"{case.name:40}{told:>26}")
    return kept


def _forward(case: Case) -> Callable[[], object]:
    def run() -> object:
        with torch.no_grad():
            return case.module.per_example_loss(case.data)

    return run


TABLES = {"hooks": hooks, "sweeps": sweeps, "optimal": optimal}
"""What prints each table, and says whether its goals are kept."""
