"""Patching, tracing, paths and scrubbing on padded examples, with metrics, against one example at a time."""

from collections.abc import Callable

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llc_lightning.ablation.effects import COLUMNS
from llc_lightning.ablation.procedures.patching import patching
from llc_lightning.ablation.procedures.path_patching import path_patching
from llc_lightning.ablation.procedures.scrubbing import Node, scrubbing
from llc_lightning.ablation.procedures.tracing import tracing
from llc_lightning.components.component import Component
from llc_lightning.components.loss import ModuleLoss, loss_fn, snapshot_params
from llc_lightning.runtime.batches import Params
from llc_lightning.runtime.errors import DataError
from tests.ablation.nets import hooked, replaced
from tests.ablation.padded import LENGTHS, PAD, Padded, examples, parts, unpadded

METRICS = ("kl", "kl(last=true)", "accuracy(target=tokens,shift=1)", "logit_difference(right=right,wrong=wrong)")
HEAD, NEURON = Component("hook_z[1]", "head", "hook_z", (1,), -2), Component("up[2]", "neuron", "up", (2,))
Runs = tuple[ModuleLoss, Params, dict[str, Tensor], dict[str, Tensor]]


def runs(*, left: bool = False, fill: int | None = PAD) -> Runs:
    net = Padded()
    return loss_fn(net), snapshot_params(net), *(examples(left=left, fill=fill, partner=one) for one in (False, True))


def patched(loss: ModuleLoss, params: Params, clean: dict[str, Tensor], donor: dict[str, Tensor]) -> pd.DataFrame:
    return patching(loss, params, clean, donor, parts(), metrics=METRICS, mask="real")


def restored(loss: ModuleLoss, params: Params, clean: dict[str, Tensor], donor: dict[str, Tensor]) -> pd.DataFrame:
    return patching(loss, params, clean, donor, parts(), metrics=METRICS, mask="real", noising=False)


def traced(loss: ModuleLoss, params: Params, clean: dict[str, Tensor], donor: dict[str, Tensor]) -> pd.DataFrame:
    layers = [Component(point, "layer", point) for point in ("embed", "hook_z", "hook_resid", "hook_hidden")]
    return tracing(loss, params, clean, donor, layers, window=3, metrics=METRICS, mask="real")


def path(loss: ModuleLoss, params: Params, clean: dict[str, Tensor], donor: dict[str, Tensor]) -> pd.DataFrame:
    return path_patching(
        loss, params, clean, donor, sender=HEAD, receivers=NEURON, frozen=[], metrics=METRICS, mask="real"
    )


def scrubbed(loss: ModuleLoss, params: Params, clean: dict[str, Tensor], donor: dict[str, Tensor]) -> pd.DataFrame:
    tree = [Node(NEURON, lambda batch: batch["right"], (Node(HEAD, lambda batch: batch["wrong"]),), ("hook_resid",))]
    return scrubbing(loss, params, clean, tree, ["hook_pattern"], draws=2, metrics=METRICS, mask="real").table


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("call", [patched, restored, traced, path, scrubbed])
def test_what_fills_padding_changes_no_bit(call: Callable[..., pd.DataFrame], left: bool) -> None:
    one, other = (call(*runs(left=left, fill=fill)) for fill in (PAD, None))
    pd.testing.assert_frame_equal(one, other, check_exact=True)
    assert tuple(one.columns) == (*COLUMNS, "normalised", "normalised_stderr")
    assert one["loss"].unique().tolist() == ["train", *(f"metric:{name}" for name in METRICS)]
    assert one["value"].notna().all()
    assert (one["value"] != 0).mean() >= 0.8


def numbers(net: Padded, one: dict[str, Tensor], clean: Tensor, told: dict[str, Tensor]) -> list[float]:
    """The loss of an example without padding, and its metrics against a clean run's outputs and answers."""
    logits = net.logits(one)[0]
    kl = F.kl_div(logits.log_softmax(-1), clean.log_softmax(-1), log_target=True, reduction="none").sum(-1)
    right = (logits[:-1].argmax(-1) == told["tokens"][0, 1:]).double().mean()
    gap = logits[-1, told["right"][0]] - logits[-1, told["wrong"][0]]
    return [float(each) for each in (net.per_example_loss(one)[0], kl.mean(), kl[-1], right, gap)]


@torch.no_grad()
@pytest.mark.parametrize("noising", [True, False])
def test_values_are_those_of_one_example_at_a_time(noising: bool) -> None:
    loss, params, clean, donor = runs()
    net = Padded().eval()
    rows: list[list[list[float]]] = []
    for i in range(len(LENGTHS)):
        mine, other = unpadded(clean, i), unpadded(donor, i)
        run, giver = (mine, other) if noising else (other, mine)
        seen: list[Tensor] = []
        with hooked(net, "hook_z", lambda h: (seen.append(h), h)[1]):  # noqa: B023
            net.logits(giver)
        answers = net.logits(mine)[0]
        with hooked(net, "hook_z", replaced(HEAD, seen[0])):
            patched = numbers(net, run, answers, mine)
        rows.append([patched, *(numbers(net, one, answers, mine) for one in (run, giver))])
    after, before, there = torch.tensor(rows, dtype=torch.float64).unbind(1)
    found = patching(loss, params, clean, donor, [HEAD], noising=noising, metrics=METRICS, mask="real")
    assert found["value"].tolist() == pytest.approx((after - before).mean(0).tolist(), abs=1e-6)
    assert found["stderr"].tolist() == pytest.approx(((after - before).std(0) / len(LENGTHS) ** 0.5).tolist(), abs=1e-6)
    assert found["unablated"].tolist() == pytest.approx(before.mean(0).tolist(), abs=1e-6)
    gap = there - before
    apart = gap.mean(0).abs() > 3 * gap.std(0) / len(LENGTHS) ** 0.5
    assert found["normalised"].notna().tolist() == apart.tolist()
    share = ((after - before).mean(0) / gap.mean(0))[apart]
    assert found["normalised"].dropna().tolist() == pytest.approx(share.tolist(), abs=1e-5)
    assert bool(apart.any())


def test_where_a_partner_has_no_position_nothing_is_patched() -> None:
    loss, params, clean, donor = runs()
    donor = {**donor, "real": donor["real"].clone()}
    donor["real"][0, 4:] = False
    everything = Component("hook_resid", "layer", "hook_resid")
    ahead = Component("hook_resid@0,1,2,3", "positions", "hook_resid", positions=(0, 1, 2, 3))
    whole, part = (
        patching(loss, params, *({n: v[:1] for n, v in run.items()} for run in (clean, donor)), [one], mask="real")
        for one in (everything, ahead)
    )
    assert whole["value"].tolist() == part["value"].tolist()


class Turned(nn.Module):
    """A net whose activations have their positions first."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.gru, self.read = nn.Embedding(5, 4), nn.Linear(4, 4), nn.Linear(4, 5)
        self.hook = nn.Identity()

    def per_example_loss(self, batch: Tensor) -> Tensor:
        h = self.hook(self.gru(self.embed(batch.T)))
        return F.cross_entropy(self.read(h)[-1], batch[:, 0], reduction="none")


def test_activations_with_positions_first_are_refused() -> None:
    net, data = Turned(), torch.randint(0, 5, (6, 6), generator=torch.Generator().manual_seed(0))
    loss, params, hook, read = loss_fn(net), snapshot_params(net), Component("hook", "layer", "hook"), "read"
    told = r"the activation at '.*' has shape \(6, .*, 4\) .* on a batch of"
    with pytest.raises(DataError, match=told):
        patching(loss, params, data, data.flip(0), [hook])
    with pytest.raises(DataError, match=told):
        tracing(loss, params, data, data.flip(0), [hook])
    with pytest.raises(DataError, match=told):
        path_patching(loss, params, data, data.flip(0), sender=hook, receivers=read, frozen=[])
    with pytest.raises(DataError, match=told):
        scrubbing(loss, params, data, [Node(hook)], [])
