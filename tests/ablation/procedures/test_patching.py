"""Ablation, patching, tracing and path patching on a circuit that is known, against closed values."""

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from llc_lightning.ablation.engine.effect import Effect
from llc_lightning.ablation.engine.influence import donors
from llc_lightning.ablation.engine.sweep import sweep
from llc_lightning.ablation.procedures.patching import patch, patches, patching
from llc_lightning.ablation.procedures.path_patching import path_patching, paths
from llc_lightning.ablation.procedures.tracing import tracing
from llc_lightning.components.component import Component
from llc_lightning.components.listing import find_components
from llc_lightning.components.loss import loss_fn, snapshot_params
from llc_lightning.data.sequences.base import Sequences
from llc_lightning.models.hand_built import TASK, hand_built_induction
from llc_lightning.models.position_losses import sequence_losses
from llc_lightning.models.transformer import TransformerModel
from llc_lightning.runtime.errors import DataError, SettingError
from llc_lightning.runtime.seeding import generator

NET = hand_built_induction()
LOSS, PARAMS = loss_fn(NET), snapshot_params(NET)
HEADS = [f"net.blocks.{layer}.attn.hook_z[{head}]" for layer in (0, 1) for head in range(4)]
PREVIOUS, DECOY, INDUCTION = HEADS[1], HEADS[4], HEADS[6]


def part(address: str) -> Component:
    return find_components(NET, address)[0]


def sequences(n: int, *, seed: int = 0) -> Sequences:
    return TASK.sample(n, generator(seed, "test"))


def of_donors(clean: Sequences, donor: Sequences) -> Sequences:
    """The donors' tokens with the clean targets."""
    return donor[0], clean[1]


def changes(effects: Sequence[Effect]) -> Tensor:
    """The values of effects, example by example."""
    kept = [one.per_example for one in effects if one.quantity == "ablation_effect"]
    return torch.stack([one for one in kept if one is not None])


def previous(tokens: Tensor) -> Tensor:
    """What head 0.1 writes: the token before each position, and the first one itself; [example, position, token]."""
    return F.one_hot(torch.cat([tokens[:, :1], tokens[:, :-1]], dim=1), 16).float()


def looked_up(tokens: Tensor, written: Tensor) -> Tensor:
    """What head 1.2 answers: the tokens where each position's token was written by head 0.1."""
    known = F.one_hot(tokens, 16).float()
    score = (100 / math.sqrt(24)) * known @ written.expand(len(tokens), -1, -1).mT
    hidden = torch.ones(score.shape[-2:], dtype=torch.bool).triu(1)
    return 12 * score.masked_fill(hidden, -torch.inf).softmax(-1) @ known


def test_ablations_match_the_closed_values_and_the_decoy_is_none() -> None:
    batch = tokens, targets = sequences(64)
    methods = ["zero", "mean", "resample"]
    found = sweep(
        LOSS, PARAMS, batch, find_components(NET, "heads"), methods, seed=0, metrics="kl(output=net.unembed.hook_out)"
    )
    effect = {(one.component, one.method, one.loss): one.value for one in found[2:]}
    for head in set(HEADS) - {PREVIOUS, INDUCTION}:
        assert [effect[head, method, "train"] for method in methods] == [0.0] * 3
    written, answers = previous(tokens), looked_up(tokens, previous(tokens))
    chosen = [donors(64, seed=0, draw=draw) for draw in range(4)]
    without: dict[tuple[str, str], list[Tensor]] = {
        (PREVIOUS, "zero"): [looked_up(tokens, 0 * written)],
        (PREVIOUS, "mean"): [looked_up(tokens, written.mean(0))],
        (PREVIOUS, "resample"): [looked_up(tokens, written[one]) for one in chosen],
        (INDUCTION, "zero"): [0 * answers],
        (INDUCTION, "mean"): [answers.mean(0).expand_as(answers)],
        (INDUCTION, "resample"): [answers[one] for one in chosen],
    }
    clean = sequence_losses(answers, targets).mean()
    assert found[0].value == pytest.approx(clean.item(), abs=1e-5)
    assert clean < 2e-4
    for (head, method), ablated in without.items():
        expected = torch.stack([sequence_losses(one, targets).mean() for one in ablated]).mean() - clean
        assert effect[head, method, "train"] == pytest.approx(expected.item(), abs=1e-4)
        assert effect[head, method, "train"] > (6 if method == "resample" else 2.5)
    assert effect[INDUCTION, "zero", "train"] == pytest.approx(math.log(16) - clean.item(), abs=1e-5)
    assert effect[INDUCTION, "zero", found[1].loss] > 0.1
    assert effect[DECOY, "zero", found[1].loss] == 0


def test_patching_in_both_directions() -> None:
    clean, donor = sequences(16), sequences(16, seed=1)
    corrupted = of_donors(clean, donor)
    heads = [part(address) for address in HEADS]
    broken = changes(patches(LOSS, PARAMS, clean, donor, heads, noising=True))
    assert broken.shape == (8, 16)
    table = patching(LOSS, PARAMS, clean, donor, HEADS)
    assert table["component"].tolist() == HEADS
    assert set(table["method"]) == {"patching"}
    assert table["value"].tolist() == pytest.approx(broken.double().mean(1).tolist(), abs=1e-6)
    assert table["stderr"].tolist() == pytest.approx((broken.double().std(1) / 4).tolist(), abs=1e-6)
    assert [bool(one.abs().max() > 1) for one in broken] == [one in (PREVIOUS, INDUCTION) for one in HEADS]
    # The answers of one run in the other: 1.2 alone is what is read out.
    mine, others = (looked_up(tokens, previous(tokens)) for tokens in (clean[0], donor[0]))
    swapped = sequence_losses(others, clean[1]) - sequence_losses(mine, clean[1])
    torch.testing.assert_close(broken[6], swapped, atol=1e-4, rtol=1e-4)
    restored = changes(patches(LOSS, PARAMS, clean, corrupted, [part(INDUCTION)], noising=False))
    torch.testing.assert_close(restored[0], -swapped, atol=1e-4, rtol=1e-4)


def test_a_window_of_one_is_the_patching_of_single_layers() -> None:
    clean = sequences(16)
    corrupted = of_donors(clean, sequences(16, seed=1))
    layers = [part(f"net.blocks.{layer}.hook_attn_out") for layer in (0, 1)]
    single = tracing(LOSS, PARAMS, clean, corrupted, layers)
    numbers = ["value", "stderr", "unablated", "normalised", "normalised_stderr"]
    assert single[numbers].equals(patching(LOSS, PARAMS, clean, corrupted, layers, noising=False)[numbers])
    both = tracing(LOSS, PARAMS, clean, corrupted, layers, window=3)
    assert both["value"][0] == both["value"][1]
    assert both["method"].tolist() == ["tracing(window=3)"] * 2
    assert both["component"].tolist() == [layer.address for layer in layers]
    joined = part("net.blocks.0.hook_attn_out+net.blocks.1.hook_attn_out")
    assert both["value"][0] == patching(LOSS, PARAMS, clean, corrupted, [joined], noising=False)["value"][0]
    assert both["normalised"][0] == pytest.approx(1, abs=1e-5)  # both layers of attention are all that was corrupted
    last = [part(f"net.blocks.{layer}.hook_attn_out@-1") for layer in (0, 1)]
    each = changes(patches(LOSS, PARAMS, clean, corrupted, last, noising=False))
    assert (each[1] < -0.5).any()  # the answer there
    assert tracing(LOSS, PARAMS, clean, corrupted, last)["value"][1] == pytest.approx(float(each[1].mean()), abs=1e-6)


@torch.no_grad()
def test_a_path_is_the_additive_edge() -> None:
    clean, donor = sequences(16), sequences(16, seed=1)
    frozen = [part(f"net.blocks.{layer}.attn.hook_z") for layer in (0, 1)]
    sender, attn = part(PREVIOUS), "net.blocks.1.attn"
    edge, none = (
        changes(
            paths(LOSS, PARAMS, clean, donor, sender=sender, receivers=[part(f"{attn}.hook_{point}[2]")], frozen=frozen)
        )[0]
        for point in ("k", "v")
    )
    assert none.abs().max() == 0  # the sender writes nothing that head 1.2 copies
    heard = looked_up(clean[0], previous(donor[0]))
    expected = sequence_losses(heard, clean[1]) - LOSS(PARAMS, clean)
    torch.testing.assert_close(edge, expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        edge, additive_edge(NET, clean, donor, sender, f"{attn}.hook_k", 2), atol=1e-5, rtol=1e-5
    )
    assert edge.abs().max() > 1


@torch.no_grad()
@pytest.mark.parametrize("live", [False, True])
def test_a_path_past_frozen_or_live_mlps(live: bool) -> None:
    net = TransformerModel(16, 24, d_model=16, d_mlp=12, norm="layer", act="gelu")
    for parameter in net.parameters():
        parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator(0, "test")))
    clean, donor = sequences(8), sequences(8, seed=1)
    blocks = "net.blocks.0.attn.hook_z", "net.blocks.1.attn.hook_z", *(() if live else ("net.blocks.0.hook_mlp_out",))
    sender, receiver = find_components(net, ["net.blocks.0.attn.hook_z[1]", "net.blocks.1.attn.hook_k[0]"])
    frozen = find_components(net, list(blocks))
    (edge,) = changes(
        paths(loss_fn(net), snapshot_params(net), clean, donor, sender=sender, receivers=[receiver], frozen=frozen)
    )
    expected = additive_edge(net, clean, donor, sender, receiver.point, 0, live=live)
    torch.testing.assert_close(edge, expected, atol=1e-5, rtol=1e-5)
    assert edge.abs().max() > 1e-3


def additive_edge(
    net: TransformerModel,
    clean: Sequences,
    donor: Sequences,
    sender: Component,
    point: str,
    head: int,
    *,
    live: bool = False,
) -> Tensor:
    """The effect of a message from a head of block 0 to the keys of a head of block 1: what is read is a sum."""
    loss, params = loss_fn(net), snapshot_params(net)
    first, second = (net.get_submodule(f"net.blocks.{layer}") for layer in (0, 1))
    names = [sender.point, "net.blocks.0.hook_attn_out", "net.blocks.0.hook_resid_pre", "net.blocks.1.hook_resid_pre"]
    mine, other = (loss.activations(params, batch, names) for batch in (clean, donor))
    (unit,) = sender.units or ()
    message = (other[sender.point] - mine[sender.point])[:, :, unit] @ params["net.blocks.0.attn.W_O"][unit]
    read = mine["net.blocks.1.hook_resid_pre"] + message
    if live:
        middle: Any = mine["net.blocks.0.hook_resid_pre"] + mine["net.blocks.0.hook_attn_out"]
        read = read + first.mlp(first.ln2(middle + message)) - first.mlp(first.ln2(middle))
    weight, bias = (params[f"net.blocks.1.attn.{name}"] for name in ("W_K", "b_K"))
    keys = second.ln1(read) @ weight[head] + bias[head]
    heard = torch.zeros(*keys.shape[:2], len(weight), keys.shape[-1])
    heard[:, :, head] = keys
    (receiver,) = find_components(net, f"{point}[{head}]")
    return loss.with_edits(patch(receiver, {point: heard}))(params, clean) - loss(params, clean)


def test_bad_input() -> None:
    clean = sequences(4)
    with pytest.raises(DataError, match=r"^there are 3 donors for 4 examples; give one for each\.$"):
        patching(LOSS, PARAMS, clean, sequences(3), [part(HEADS[0])])
    with pytest.raises(SettingError, match=r"^window is 2; give an odd number of layers, such as 1 or 5\.$"):
        tracing(LOSS, PARAMS, clean, clean, [part(HEADS[0])], window=2)
    with pytest.raises(SettingError, match="needs receivers other than the sender; give some"):
        path_patching(LOSS, PARAMS, clean, clean, sender=part(HEADS[0]), receivers=[], frozen=[])
    beside, ahead = "net.blocks.1.attn.hook_k[2]", "net.blocks.0.attn.hook_z[1]"
    for receiver in (beside, ahead):
        with pytest.raises(
            SettingError, match=r"does not lie behind the sender .*, so that it hears nothing of it; give"
        ):
            path_patching(
                LOSS, PARAMS, clean, clean, sender="net.blocks.1.attn.hook_z[0]", receivers=receiver, frozen=[]
            )
