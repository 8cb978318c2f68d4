"""Patching, tracing, path patching and scrubbing on a circuit that is known."""

import math

import pytest
import torch
from torch import Tensor

from llc_lightning.ablation.patching import patching
from llc_lightning.ablation.path_patching import path_patching
from llc_lightning.ablation.scrubbing import Node, scrubbing
from llc_lightning.ablation.sweep import sweep
from llc_lightning.ablation.tracing import tracing
from llc_lightning.components.component import Component
from llc_lightning.components.listing import find_components
from llc_lightning.components.loss import loss_fn, snapshot_params
from llc_lightning.runtime.errors import DataError, SettingError
from tests.ablation.induction import BLOCK, LENGTH, OUT, PREV, TOK, Induction, sequences

Z = "blocks.{}.attn.hook_z[{}]"
NET = Induction()
LOSS, PARAMS = loss_fn(NET), snapshot_params(NET)
HEADS = [Z.format(layer, head) for layer in (0, 1) for head in range(4)]


def part(address: str) -> Component:
    return find_components(NET, address)[0]


def test_the_net_does_induction() -> None:
    tokens = sequences(32)
    answers = NET(tokens)[:, 1 + BLOCK : -1].argmax(-1)
    assert torch.equal(answers, tokens[:, 2 + BLOCK :])
    assert NET.per_example_loss(tokens).mean() < 1e-3


def test_ablations_find_the_circuit_and_not_the_decoy() -> None:
    assert [one.address for one in find_components(NET, "*.hook_z[*]")] == HEADS
    tokens = sequences(64)
    found = sweep(
        LOSS, PARAMS, tokens, find_components(NET, "*.hook_z[*]"), ["zero", "mean", "resample"], seed=0, metrics="kl"
    )
    effect = {(one.component, one.method, one.loss): one.value for one in found[2:]}
    for head in HEADS:
        if head not in (HEADS[1], HEADS[6]):
            assert [effect[head, method, "train"] for method in ("zero", "mean", "resample")] == [0.0] * 3
    clean = found[0].value
    assert effect[HEADS[6], "zero", "train"] == pytest.approx(math.log(16) - clean, abs=1e-5)
    # Without 0.1 head 1.2 attends to all positions alike: logits are 12 times the shares of the tokens so far.
    assert effect[HEADS[1], "zero", "train"] == pytest.approx(_uniform_loss(tokens) - clean, abs=1e-4)
    assert effect[HEADS[1], "resample", "train"] > 5
    assert effect[HEADS[6], "resample", "train"] > 5
    assert effect[HEADS[6], "zero", "metric:kl"] > 0.1
    assert effect[HEADS[4], "zero", "metric:kl"] == 0


def _uniform_loss(tokens: Tensor) -> float:
    shares = torch.nn.functional.one_hot(tokens, 16).float().cumsum(1) / torch.arange(1, LENGTH + 1)[:, None]
    logits = 12 * shares[:, 1 + BLOCK : -1]
    return float(torch.nn.functional.cross_entropy(logits.mT, tokens[:, 2 + BLOCK :]))


def test_patching_in_both_directions() -> None:
    clean, donor = sequences(16), sequences(16, seed=1)
    parts = [part(address) for address in HEADS]
    broken = patching(LOSS, PARAMS, clean, donor, parts)
    assert broken.shape == (8, 16)
    assert [bool(one.abs().max() > 1) for one in broken] == [address in (HEADS[1], HEADS[6]) for address in HEADS]
    whole = patching(LOSS, PARAMS, clean, donor, [part("hook_embed")])
    with torch.no_grad():
        swapped = NET(donor)[:, 1 + BLOCK : -1]
        expected = torch.nn.functional.cross_entropy(swapped.mT, clean[:, 2 + BLOCK :], reduction="none").mean(-1)
    torch.testing.assert_close(whole[0], expected - NET.per_example_loss(clean).detach())
    restored = patching(LOSS, PARAMS, clean, donor, [part(HEADS[6])], noising=False)
    assert restored.min() > 1  # the clean answer is a wrong one for the donor's tokens


def test_a_window_of_one_is_the_patching_of_single_layers() -> None:
    clean, corrupted = sequences(16), sequences(16, seed=1)
    layers = [part(f"blocks.{layer}.hook_attn_out") for layer in (0, 1)]
    single = tracing(LOSS, PARAMS, clean, corrupted, layers)
    assert torch.equal(single, patching(LOSS, PARAMS, clean, corrupted, layers, noising=False))
    both = tracing(LOSS, PARAMS, clean, corrupted, layers, window=3)
    assert torch.equal(both[0], both[1])
    joined = part("blocks.0.hook_attn_out+blocks.1.hook_attn_out")
    assert torch.equal(both[0], patching(LOSS, PARAMS, clean, corrupted, [joined], noising=False)[0])
    last = [part(f"blocks.{layer}.hook_attn_out@-2") for layer in (0, 1)]
    assert (tracing(LOSS, PARAMS, clean, corrupted, last)[0] != 0).any()


@torch.no_grad()
def test_a_path_is_the_additive_edge() -> None:
    clean, donor = sequences(16), sequences(16, seed=1)
    frozen = [part(f"blocks.{layer}.attn.hook_z") for layer in (0, 1)]
    edge = path_patching(
        LOSS, PARAMS, clean, donor, sender=part(HEADS[1]), receivers=[part("blocks.1.attn.hook_k[2]")], frozen=frozen
    )
    # What 1.2 reads as its key is a sum: the donor's message takes the place of the clean one.
    z = {
        name: LOSS.activations(PARAMS, batch, ["blocks.0.attn.hook_z", "blocks.1.hook_resid_pre"])
        for name, batch in (("clean", clean), ("donor", donor))
    }
    written = PARAMS["blocks.0.attn.W_O"][1]
    message = (z["donor"]["blocks.0.attn.hook_z"][:, :, 1] - z["clean"]["blocks.0.attn.hook_z"][:, :, 1]) @ written
    read = z["clean"]["blocks.1.hook_resid_pre"] + message
    key = read[..., PREV] * 10
    query = z["clean"]["blocks.1.hook_resid_pre"][..., TOK] * 10
    score = (query @ key.mT / math.sqrt(24)).masked_fill(~torch.ones(LENGTH, LENGTH, dtype=torch.bool).tril(), -1e9)
    logits = 12 * score.softmax(-1) @ z["clean"]["blocks.1.hook_resid_pre"][..., TOK]
    expected = torch.nn.functional.cross_entropy(
        logits[:, 1 + BLOCK : -1].mT, clean[:, 2 + BLOCK :], reduction="none"
    ).mean(-1) - NET.per_example_loss(clean)
    torch.testing.assert_close(edge, expected, atol=1e-5, rtol=1e-5)
    assert edge.abs().max() > 1
    nothing = path_patching(
        LOSS, PARAMS, clean, donor, sender=part(HEADS[1]), receivers=[part("blocks.1.attn.hook_v[2]")], frozen=frozen
    )
    assert nothing.abs().max() == 0
    assert OUT.start == 56


def test_scrubbing_tells_right_from_wrong() -> None:
    tokens = sequences(80, kinds=8)
    kind = torch.arange(80) % 8
    order = lambda batch: (batch[:, 1:4] * torch.tensor([1, 20, 400])).sum(-1)  # noqa: E731
    first = lambda batch: batch[:, 0]  # noqa: E731
    assert len(order(tokens).unique()) == len(kind.unique())
    others = [part(address) for address in HEADS if address not in (HEADS[1], HEADS[6])]
    below = Node(part(HEADS[1]), order)
    right = scrubbing(LOSS, PARAMS, tokens, [Node(part(HEADS[6]), order, (below,))], others)
    assert right.recovered >= 0.99
    assert right.random > 5
    wrong_feature = scrubbing(
        LOSS, PARAMS, tokens, [Node(part(HEADS[6]), first, (Node(part(HEADS[1]), first),))], others
    )
    wrong_head = scrubbing(
        LOSS, PARAMS, tokens, [Node(part(HEADS[4]), order, (below,))], [*others[:3], part(HEADS[5]), part(HEADS[6])]
    )
    deaf = scrubbing(LOSS, PARAMS, tokens, [Node(part(HEADS[6]), order, (Node(part(HEADS[1]), first),))], others)
    for wrong in (wrong_feature, deaf):
        assert wrong.recovered <= 0.2
    assert wrong_head.scrubbed > 5
    few = scrubbing(LOSS, PARAMS, tokens, [Node(part(HEADS[6]), order, (below,))], others, pool=16, draws=1)
    assert few.recovered >= 0.99


def test_bad_input() -> None:
    clean = sequences(4)
    with pytest.raises(DataError, match=r"^there are 3 donors for 4 examples; give one for each\.$"):
        patching(LOSS, PARAMS, clean, sequences(3), [part(HEADS[0])])
    with pytest.raises(SettingError, match=r"^window is 2; give an odd number of layers, such as 1 or 5\.$"):
        tracing(LOSS, PARAMS, clean, clean, [part(HEADS[0])], window=2)
    with pytest.raises(SettingError, match="needs receivers other than the sender; give some"):
        path_patching(LOSS, PARAMS, clean, clean, sender=part(HEADS[0]), receivers=[], frozen=[])
    with pytest.raises(SettingError, match="draws is 0 and pool None for 4 examples"):
        scrubbing(LOSS, PARAMS, clean, [], [], draws=0)
    with pytest.raises(DataError, match="the feature of"):
        scrubbing(LOSS, PARAMS, clean, [Node(part(HEADS[0]), lambda batch: batch)], [])
