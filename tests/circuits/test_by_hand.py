"""Masked runs of attention alone, without the module, are those with it."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from llc_lightning.circuits.base import Question
from llc_lightning.circuits.by_hand import ByHand, Signals
from llc_lightning.circuits.constants import Constants
from llc_lightning.circuits.gradients import Subject
from llc_lightning.circuits.graph import Graph
from llc_lightning.circuits.masked import MaskedRuns
from llc_lightning.circuits.wiring.base import Reader
from llc_lightning.components.loss import loss_fn, snapshot_params
from llc_lightning.models.transformer import TransformerModel
from tests.circuits.nets import SMALL, net, question


def of_heads(metric: str = "", norm: str = "layer") -> Question:
    """Returns what is asked of a transformer of attention alone, with three layers."""
    model, batch = TransformerModel(**SMALL, n_layers=3, norm=norm, seed=5), net("layer")[1]
    with torch.no_grad():
        stream = torch.Generator().manual_seed(0)
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=stream))
    return Question.of(
        loss_fn(model), snapshot_params(model), batch, Graph.of(model), "resample(draws=2)", metric, seed=0
    )


@pytest.mark.parametrize("metric", ["", "kl"])
def test_losses_are_those_of_the_module_under_every_mask(metric: str) -> None:
    by_hand, by_module = (MaskedRuns(Subject(of_heads(metric), block=8)) for _ in range(2))
    assert by_hand.by_hand.holds
    by_module.by_hand.holds = False
    stream = torch.Generator().manual_seed(1)
    count = len(by_hand.edges)
    masks = (torch.rand(9, count, generator=stream) < torch.linspace(0.5, 1, 9)[:, None]).float()
    shares, given = torch.rand(2, 3, count, generator=stream)
    with torch.no_grad():
        assert torch.allclose(by_hand(masks), by_module(masks), atol=1e-5)
        assert torch.allclose(by_hand(shares, given=given), by_module(shares, given=given), atol=1e-5)
        # What was read of donors is kept, and serves other masks with the same shares.
        assert torch.allclose(by_hand(masks[[8, 0, 0, 3, 5]]), by_module(masks[[8, 0, 0, 3, 5]]), atol=1e-5)


def test_what_donors_alone_are_heard_to_say_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    given = Signals._given

    def counted(self: Signals, reader: Reader, rows: Sequence[Sequence[float]]) -> Tensor:
        made.append(len(rows))
        return given(self, reader, rows)

    monkeypatch.setattr(Signals, "_given", counted)
    runs = MaskedRuns(Subject(of_heads(), block=16))
    mask = runs.mask(runs.edges[::2])[None]
    with torch.no_grad():
        first = runs(mask)
        once = sum(made)
        assert once
        assert torch.equal(runs(mask), first)
        assert sum(made) == once
        runs(1 - mask)
        assert sum(made) > once


def in_place(_: nn.Module, given: tuple[Tensor, ...]) -> None:
    given[0][..., 0].add_(5)


def test_a_module_that_writes_in_place_leaves_what_is_kept() -> None:
    asked = of_heads()
    handle = asked.loss.module.net.ln_final.register_forward_pre_hook(in_place)
    try:
        runs = MaskedRuns(Subject(asked))
        mask = runs.mask([])[None]
        with torch.no_grad():
            found = [runs(mask) for _ in range(3)]
    finally:
        handle.remove()
    assert torch.equal(found[1], found[0])
    assert torch.equal(found[2], found[0])


@pytest.mark.parametrize("at", ["net.hook_pos_embed", "net.blocks.1.attn.hook_z[0]"])
@pytest.mark.parametrize("large", [torch.inf, 1e30])
def test_lanes_keep_to_themselves_where_a_donor_overflows(at: str, large: float) -> None:
    runs = MaskedRuns(Subject(of_heads(norm="none")))
    values = Constants.means(runs.subject).values
    constants = Constants({name: tuple(one + large * (name == at) if name == at else one for one in some)
                           for name, some in values.items()})  # fmt: skip
    silent = [edge for edge in runs.edges if edge.sender != at]
    some = [edge for edge in silent if "hook_v" not in edge.reader]
    spared = [edge for edge in runs.edges if edge.sender == at]
    masks = torch.stack([runs.mask(silent), runs.mask([*some, *spared]), runs.mask(spared)])
    with torch.no_grad():
        together = runs(masks, constants=constants)
        alone = torch.cat([runs(mask[None], constants=constants) for mask in masks])
    assert torch.isfinite(together[1:]).all()
    assert torch.allclose(together, alone, atol=1e-5, equal_nan=True)


def test_double_shares_stay_double() -> None:
    asked = of_heads()
    model = asked.loss.module.double()
    asked = replace(asked, loss=loss_fn(model), params=snapshot_params(model))
    by_hand, by_module = (MaskedRuns(Subject(asked)) for _ in range(2))
    by_module.by_hand.holds = False
    shares, given = torch.rand(2, 3, len(by_hand.edges), generator=torch.Generator().manual_seed(1), dtype=torch.double)
    with torch.no_grad():
        assert torch.allclose(by_hand(shares, given=given), by_module(shares, given=given), rtol=0, atol=1e-12)


def test_only_transformers_of_attention_alone_are_run_by_hand() -> None:
    assert ByHand(Subject(question("hand_built"))).holds
    assert not ByHand(Subject(question("layer"))).holds
    assert not ByHand(Subject(question("rotary"))).holds
