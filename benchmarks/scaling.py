"""What measuring costs as a function of components, examples, weights and steps, beside the law that it should follow.

    python -m benchmarks scaling                     each doubled three times, in CPU seconds
    python -m benchmarks scaling components steps    some of them
    python -m benchmarks scaling gpt2                a transformer of GPT-2-small's shape, within a stated memory

A law says by which power of the size the seconds grow at most; a constant part makes it less.
"""

from __future__ import annotations

import argparse
import math
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from llc_lightning.llc.settings import ChainSettings
from llc_lightning.measure.ablation.plan import AblationPlan
from llc_lightning.measure.llc.plan import LLCPlan
from llc_lightning.measure.measurements import Plan, components_at, measure
from llc_lightning.measure.snapshot import Snapshot
from llc_lightning.models.image import ImageModel
from llc_lightning.models.transformer import TransformerModel
from llc_lightning.models.transformer_parts import Embed

_SIZES = (1, 2, 4, 8)
_ROUNDS = 3
_SLACK = 0.2
"""By how much the power of a law may be missed."""
_UNIT = "net.hook_hidden.0[{}]"
CHAINS = ChainSettings(chains=4, draws=40, burn_in=20, batch_size=64, preconditioner="none", curvature_examples=256)
GPT2_CHAINS = {"chains": 2, "draws": 10, "burn_in": 2, "batch_size": 2, "curvature_examples": 2}
"""Settings of the chains of GPT-2-small's shape: few, since each step takes a second."""
_COPIES, _COPIES_PER_CHAIN = 7, 8
"""Copies of all weights that tensors hold at most: these once, and these for each chain."""
_BESIDE_GB = 1.0
"""What the process needs besides: Python, torch, and what a gradient keeps of a few short sequences."""
_MINUTES = 30.0
_POSITIONS, _SEQUENCES, _TOKENS = 1024, 8, 16


@dataclass(frozen=True)
class Law:
    """Something that is doubled, what is measured at each size, and by which power its seconds grow at most."""

    what: str
    measured: str
    power: float
    case: Callable[[int], tuple[Plan, Snapshot]]


def images(*, width: int = 64, examples: int = 1024) -> Snapshot:
    """Returns a net of two layers on noise with two sets of labels, untrained."""
    net = ImageModel(layout="mix20", width=width, depth=2)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(examples, *net.image_shape, generator=generator)
    labels = torch.full((len(x), 2), -1)
    labels[torch.arange(len(x)), torch.arange(len(x)) % 2] = x.flatten(1)[:, :10].argmax(1)
    return Snapshot.of(net, (x, labels), run="scaling", seed=0, step=0, epoch=0)


def llc(*components: str, **settings: int) -> LLCPlan:
    """Returns a plan of one rung."""
    chains = replace(CHAINS, **settings)
    return LLCPlan(components=components or ("all",), n_beta=(100.0,), gamma=100.0, settings=chains)


def effects(*components: str) -> AblationPlan:
    """Returns a plan of two methods."""
    return AblationPlan(components=components or ("neurons",), methods=("zero", "mean"), tasks=False, examples=None)


def units(number: int) -> list[str]:
    """Returns the addresses of so many neurons."""
    return [_UNIT.format(unit) for unit in range(number)]


LAWS = (
    Law("components", "effects of 8, ... neurons", 1, lambda size: (effects(*units(8 * size)), images())),
    Law("components", "LLC of 4, ... neurons", 1, lambda size: (llc(*units(4 * size)), images())),
    Law("examples", "effects on 1024, ...", 1, lambda size: (effects(*units(16)), images(examples=1024 * size))),
    Law("examples", "LLC on 1024, ...", 1, lambda size: (llc(), images(examples=1024 * size))),
    Law("weights", "effects, width 64, ...", 1, lambda size: (effects(*units(16)), images(width=64 * size))),
    Law("weights", "LLC, width 64, ...", 1, lambda size: (llc(), images(width=64 * size))),
    Law("steps", "LLC, 20 + 40 steps, ...", 1, lambda size: (llc(burn_in=20 * size, draws=40 * size), images())),
)
"""Weights are counted, not the width: from 64 to 512 they are 55, 118, 270 and 674 thousand."""


def main(arguments: list[str]) -> int:
    """Prints the tables; returns 1 where a law, the memory or the time is not kept."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks scaling")
    parser.add_argument("what", nargs="*", choices=[*dict.fromkeys(law.what for law in LAWS), "gpt2", []])
    given = parser.parse_args(arguments).what
    laws = [law for law in LAWS if not given or law.what in given]
    if laws:
        print("\n## CPU seconds of one measurement by its size; power: of the last doubling, law: at most")
        print(f"{'doubled':12}{'measured':28}{''.join(f'{size:8}x' for size in _SIZES)}{'power':>8}{'law':>6}")
    kept = all([_print(law) for law in laws])
    return int(not (kept and ("gpt2" not in given or gpt2())))


def _print(law: Law) -> bool:
    cases = [law.case(size) for size in _SIZES]
    seconds = [math.inf] * len(cases)
    for _ in range(_ROUNDS):
        for number, (plan, snapshot) in enumerate(cases):
            started = time.process_time()
            measure(plan, snapshot)
            seconds[number] = min(seconds[number], time.process_time() - started)
    sizes = [float(size) for size in _SIZES]
    if law.what == "weights":
        sizes = [float(sum(tensor.numel() for tensor in snapshot.params.values())) for _, snapshot in cases]
    power = math.log(seconds[-1] / seconds[-2]) / math.log(sizes[-1] / sizes[-2])
    kept = power <= law.power + _SLACK
    cells = "".join(f"{each:9.3f}" for each in seconds)
    print(f"{law.what:12}{law.measured:28}{cells}{power:8.2f}{law.power:6.1f}{'' if kept else '   missed'}", flush=True)
    return kept


class Tied(nn.Module):
    """The unembedding of GPT-2, which is its embedding transposed.

    Args:
        embed: The embedding.
    """

    def __init__(self, embed: Embed) -> None:
        super().__init__()
        self.W_E = embed.W_E

    def forward(self, x: Tensor) -> Tensor:
        """Returns the logits."""
        return x @ self.W_E.T


def stated_gb(weights: int, chains: int) -> float:
    """Returns the memory that so many weights are measured within, in GB."""
    return _BESIDE_GB + weights * 4 * (_COPIES + _COPIES_PER_CHAIN * chains) / 1e9


def gpt2(*, layers: int = 12, width: int = 768, heads: int = 12, tokens: int = 50257) -> bool:
    """Measures a transformer of this shape with random weights; says whether memory and time are kept.

    All heads' effects, wrLLC of the heads of one layer, and the LLC of the whole; the memory is the largest of the
    process up to there.
    """
    net = TransformerModel(
        tokens, _POSITIONS, n_layers=layers, n_heads=heads, d_model=width, d_mlp=4 * width, act="gelu", norm="layer"
    )
    net.net.add_module("unembed", Tied(net.net.embed))
    weights = sum(parameter.numel() for parameter in net.parameters())
    stated = stated_gb(weights, GPT2_CHAINS["chains"])
    print(f"\n## {layers} layers of width {width}, {heads} heads, {tokens:,} tokens: {weights / 1e6:.1f} M weights")
    print(f"{_SEQUENCES} sequences of {_TOKENS} random tokens; {GPT2_CHAINS}")
    print(f"stated: {_BESIDE_GB:.0f} GB + 4 bytes x weights x ({_COPIES} + {_COPIES_PER_CHAIN} x chains)", flush=True)
    generator = torch.Generator().manual_seed(0)
    text = torch.randint(tokens, (_SEQUENCES, _TOKENS + 1), generator=generator)
    snapshot = Snapshot.of(net, (text[:, :-1], text[:, 1:]), run="gpt2", seed=0, step=0, epoch=0)
    layer = [f"net.blocks.{layers // 2}.attn.hook_z[{head}]" for head in range(heads)]
    plans: dict[str, Plan] = {
        f"effects of {layers * heads} heads": AblationPlan(components=("heads",), methods=("zero",), examples=None),
        f"wrLLC of {heads} heads": llc(*layer, **GPT2_CHAINS),
        "LLC of the whole": llc(**GPT2_CHAINS),
    }
    started, begun, peak = time.monotonic(), time.process_time(), 0.0
    for what, plan in plans.items():
        before = time.process_time()
        rows = measure(plan, snapshot).rows
        seconds = time.process_time() - before
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
        number = len(components_at(plan, snapshot))
        print(f"{what:24}{number:4} components{len(rows):6} rows{seconds:9.1f} CPU s{peak:7.2f} GB at most", flush=True)
    minutes, of_cpu = (time.monotonic() - started) / 60, (time.process_time() - begun) / 60
    print(f"{minutes:.1f} minutes (goal {_MINUTES:.0f}), {of_cpu:.1f} of CPU; {peak:.1f} GB (stated {stated:.1f})")
    return peak <= stated and minutes <= _MINUTES
