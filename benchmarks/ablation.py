"""The public calls, at their defaults, against one hook and one forward pass for each ablation, in CPU time.

``python -m benchmarks ablation`` prints all tables, ``python -m benchmarks ablation hooks`` one of them. Of every call
the first is timed, which records what it does, and the later ones, which replay it. Beside them stands what the forward
passes of the ablations take in a later call, matrix products and one go over the numbers each, and how much faster it
would be if it did nothing else: no other way to prepare, to count errors or to write rows goes beyond that.
"""

from __future__ import annotations

import contextlib
import gc
import io
import time
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from statistics import median
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.goals import Goal, judged
from benchmarks.hook_loop import HookLoop, hooked
from benchmarks.timing import cpu_seconds, ratio
from llc_lightning import ablation_effects
from llc_lightning.ablation import patching
from llc_lightning.ablation.engine.lanes import Lanes
from llc_lightning.components.component import Component
from llc_lightning.components.listing import find_components
from llc_lightning.components.loss import ModuleLoss, loss_fn, snapshot_params
from llc_lightning.data.cis import CISData
from llc_lightning.models.cis import CISModel

LAYERS, HEADS, WIDTH, NEURONS, VOCABULARY, LENGTH = 2, 4, 64, 256, 64, 16
ROUNDS = 3


class LanguageModel(nn.Module):
    """Gives a language model, which stays as it is, a loss per example: the mean over predicted tokens."""

    def __init__(self, model: nn.Module, logits: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.model, self._logits = model, logits

    def per_example_loss(self, tokens: Tensor) -> Tensor:
        """Returns the cross-entropy of the next token, mean over positions."""
        return next_token_loss(self._logits(self.model, tokens), tokens)


def next_token_loss(logits: Tensor, tokens: Tensor) -> Tensor:
    """Returns the cross-entropy of the next token, mean over positions."""
    losses = F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten(), reduction="none")
    return losses.view(len(tokens), -1).mean(-1)


def main(names: list[str]) -> int:
    """Prints the tables with these names, or all; returns 1 where a goal is missed.

    Raises:
        SystemExit: If there is no such table.
    """
    unknown = [name for name in names if name not in TABLES]
    if unknown:
        raise SystemExit(f"unknown table {unknown[0]!r}; use one of: {', '.join(TABLES)}.")
    print(f"\n{'':30}{'one by one, s':>14}{'first call, s':>15}{'later, s':>10}{'first':>26}{'later':>26}", end="  ")
    print(f"{'apart':28}{'passes, s':>9}{'at most':>9}")
    kept = [TABLES[name]() for name in names or TABLES]
    return 0 if all(kept) else 1


def _compared(name: str, theirs: Callable[[], list[float]], ours: Callable[[], list[float]], least: float) -> bool:
    """Prints how much faster a call is, the first and the later ones; says whether the goals are kept."""
    slow = theirs()
    gc.collect()  # what earlier tables left is not the call's to clear away
    started = time.process_time()
    found = ours()
    first = time.process_time() - started
    apart = max(abs(a - b) for a, b in zip(slow, found, strict=True))
    seconds = cpu_seconds({"theirs": theirs, "ours": ours}, rounds=ROUNDS)
    loop, later = (median(seconds[which]) for which in ("theirs", "ours"))
    told = [
        judged(loop / first, Goal(least / 2, at_least=True), ".1f"),
        judged(ratio(seconds, "theirs", "ours"), Goal(least, at_least=True), ".1f"),
        judged(apart, Goal(1e-5), ".1e"),
    ]
    passes = _seconds_in_passes(ours)
    print(
        f"{name:30}{loop:>14.3f}{first:>15.3f}{later:>10.3f}{told[0][0]:>26}{told[1][0]:>26}  {told[2][0]:28}"
        f"{passes:>9.3f}{loop / passes:>9.1f}"
    )
    return all(kept for _, kept in told)


def _seconds_in_passes(call: Callable[[], object]) -> float:
    """Returns the CPU seconds that a call spends in the forward passes of its ablations, the least of some rounds."""
    run, spent = Lanes.__call__, [0.0] * ROUNDS
    for at in range(ROUNDS):

        def timed(*args: Any, at: int = at, **kwargs: Any) -> Any:
            started = time.process_time()
            found = run(*args, **kwargs)
            spent[at] += time.process_time() - started
            return found

        with mock.patch.object(Lanes, "__call__", timed):
            call()
    return min(spent)


def _tokens(examples: int, seed: int = 0) -> Tensor:
    return torch.randint(VOCABULARY, (examples, LENGTH), generator=torch.Generator().manual_seed(seed))


def _bridge() -> Any:
    configs: Any = import_module("transformer_lens.config")
    bridges: Any = import_module("transformer_lens.model_bridge")
    config = configs.TransformerBridgeConfig(
        n_layers=LAYERS, d_model=WIDTH, n_ctx=LENGTH, d_head=WIDTH // HEADS, n_heads=HEADS, d_mlp=NEURONS,
        d_vocab=VOCABULARY, act_fn="gelu", seed=0,
    )  # fmt: skip
    return bridges.TransformerBridge.boot_native(config).eval()


def hooks() -> bool:
    """Compares all heads and neurons of a TransformerLens bridge with its own hooks."""
    bridge = _bridge()
    module = LanguageModel(bridge, lambda model, tokens: model(tokens))
    units = [f"model.blocks.*.{name}.hook_in[*]" for name in ("mlp.out", "attn.o")]
    return all([_against_hooks(bridge, module, units, _tokens(n), least) for n, least in ((4, 12.0), (32, 5.0))])


def _against_hooks(bridge: Any, module: nn.Module, units: Sequence[str], tokens: Tensor, least: float) -> bool:
    parts = find_components(module, units)

    def theirs() -> list[float]:
        with torch.no_grad():
            clean = next_token_loss(bridge(tokens), tokens)
            found: list[float] = []
            for part in parts:

                def zero(activation: Tensor, hook: object, part: Component = part) -> Tensor:
                    units = part.units or (0,)
                    activation.flatten(2)[..., list(units)] = 0  # hooks show the features of heads apart
                    return activation

                point = part.point.removeprefix("model.")
                logits = bridge.run_with_hooks(tokens, fwd_hooks=[(point, zero)])
                found.append(float((next_token_loss(logits, tokens) - clean).mean()))
        return found

    def ours() -> list[float]:
        return ablation_effects(module, tokens, units, "zero")["value"].tolist()

    return _compared(f"bridge, {len(parts)} units, {len(tokens)} x {LENGTH}", theirs, ours, least)


def library() -> bool:
    """Compares the heads and neurons of two models of the library ``transformers`` with forward hooks."""
    transformers: Any = import_module("transformers")
    same = {"num_attention_heads": HEADS, "num_hidden_layers": LAYERS, "hidden_size": WIDTH, "vocab_size": VOCABULARY}
    sizes = {"n_embd": WIDTH, "n_layer": LAYERS, "n_head": HEADS, "n_inner": NEURONS, "n_positions": LENGTH}
    ends = {"vocab_size": VOCABULARY, "bos_token_id": 0, "eos_token_id": 0}
    gpt2 = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, **ends))
    llama = transformers.LlamaForCausalLM(transformers.LlamaConfig(**same, intermediate_size=NEURONS))
    blocks = {"GPT-2": (gpt2, "model.transformer.h", "mlp.act", "attn.c_proj:input")}
    blocks["Llama"] = (llama, "model.model.layers", "mlp.act_fn", "self_attn.o_proj:input")
    kept: list[bool] = []
    for name, (model, path, neurons, heads) in blocks.items():
        module = LanguageModel(model.eval(), lambda model, tokens: model(input_ids=tokens, use_cache=False).logits)
        units = [f"{path}.{layer}.{neurons}[{unit}]" for layer in range(LAYERS) for unit in range(NEURONS)]
        units += [f"{path}.{layer}.{heads}[{head}]" for layer in range(LAYERS) for head in range(HEADS)]
        kept.append(_against_forward_hooks(f"{name}, 520 units, 4 x {LENGTH}", module, _tokens(4), units, 4.0))
    return all(kept)


def _against_forward_hooks(name: str, module: Any, data: Any, units: Any, least: float) -> bool:
    parts = find_components(module, units)

    def theirs() -> list[float]:
        with torch.no_grad():
            clean = module.per_example_loss(data)
            return [
                float((hooked(module, part, 0.0, lambda: module.per_example_loss(data)) - clean).mean())
                for part in parts
            ]

    def ours() -> list[float]:
        return ablation_effects(module, data, units, "zero")["value"].tolist()

    return _compared(name, theirs, ours, least)


def cis() -> bool:
    """Compares the neurons of the net of computation in superposition, under three methods, with forward hooks.

    Both measure what the call measures by default: the loss and the loss of every circuit, each with its standard
    error, which counts that examples are donors of each other.
    """
    module, data = CISModel().eval(), CISData().analysis_set(1024)
    loop = HookLoop(module, data)

    def ours() -> list[float]:
        table = ablation_effects(module, data, "neurons", ["zero", "mean", "resample(draws=1)"])
        return table["value"].tolist() + table["stderr"].tolist()

    return _compared("CIS, 32 x 3 methods, 1024", loop, ours, 8.0)


def patches() -> bool:
    """Compares activation patching by position with the functions of TransformerLens."""
    bridge = _bridge()
    module = LanguageModel(bridge, lambda model, tokens: model(tokens))
    lens: Any = import_module("transformer_lens.patching")
    sweeps: dict[str, tuple[Any, str]] = {"residual": (lens.get_act_patch_resid_pre, "hook_in")}
    sweeps["heads"] = (lens.get_act_patch_attn_head_out_by_pos, "attn.o.hook_in")
    sweeps |= {
        name: (getattr(lens, f"get_act_patch_attn_head_{name}_by_pos"), f"attn.{name}.hook_out") for name in "qkv"
    }
    return all([_against_patching(bridge, module, name, *sweep) for name, sweep in sweeps.items()])


def _against_patching(bridge: Any, module: nn.Module, name: str, function: Any, point: str) -> bool:
    clean, donor = _tokens(4), _tokens(4, seed=1)
    of_unit = [""] if name == "residual" else [f"[{head}]" for head in range(HEADS)]
    spots = [(layer, position) for layer in range(LAYERS) for position in range(LENGTH)]
    parts = [f"model.blocks.{layer}.{point}{unit}@{position}" for layer, position in spots for unit in of_unit]

    def metric(logits: Tensor) -> Tensor:
        return next_token_loss(logits, clean).mean()

    def theirs() -> list[float]:
        with torch.no_grad(), contextlib.redirect_stderr(io.StringIO()):
            cache = bridge.run_with_cache(donor)[1]
            return (function(bridge, clean, cache, metric) - metric(bridge(clean))).flatten().tolist()

    @cache
    def made() -> tuple[ModuleLoss, dict[str, Tensor]]:
        return loss_fn(module), snapshot_params(module)  # once, in the first call, as one who patches on would

    def ours() -> list[float]:
        return patching(*made(), clean, donor, parts)["value"].tolist()

    return _compared(f"patching {name}, {len(parts)}", theirs, ours, 4.0)


TABLES = {"hooks": hooks, "library": library, "cis": cis, "patching": patches}
"""What prints each table, and says whether its goals are kept."""
