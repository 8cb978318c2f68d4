"""Causal scrubbing on a circuit that is known: the right hypothesis explains the loss, wrong ones do not."""

import math

import pytest
import torch
from torch import Tensor, nn

from llc_lightning.ablation.procedures.scrubbing import Feature, Node, scrubbing
from llc_lightning.components.component import Component
from llc_lightning.components.listing import find_components
from llc_lightning.components.loss import loss_fn, snapshot_params
from llc_lightning.data.sequences.base import NO_TARGET, Sequences
from llc_lightning.models.hand_built import TASK, hand_built_induction
from llc_lightning.runtime.batches import Batch
from llc_lightning.runtime.errors import DataError, SettingError
from llc_lightning.runtime.seeding import generator

NET = hand_built_induction()
LOSS, PARAMS = loss_fn(NET), snapshot_params(NET)
HEADS = [f"net.blocks.{layer}.attn.hook_z[{head}]" for layer in (0, 1) for head in range(4)]
PREVIOUS, DECOY, INDUCTION = HEADS[1], HEADS[4], HEADS[6]
ASKED = 15
"""The position whose prediction is the loss; its token came first at position 4, and its answer at 5."""
BLOCK = range(1, 12)


def part(address: str) -> Component:
    return find_components(NET, address)[0]


def asked(n: int) -> Sequences:
    tokens, targets = TASK.sample(n, generator(0, "test"))
    alone = torch.full_like(targets, NO_TARGET)
    alone[:, ASKED] = targets[:, ASKED]
    return tokens, alone


def token(at: int) -> Feature:
    """The token at a position."""
    return lambda batch: batch[0][:, at]


def answer(batch: Sequences) -> Tensor:
    """The token that is asked for."""
    return batch[1][:, ASKED]


def hypothesis(head: str, feature: Feature | None, heard: int) -> list[Node]:
    """Says that a head tells a feature, and hears from 0.1, at each place of the block, the token ``heard`` ahead."""
    below = tuple(Node(part(f"{PREVIOUS}@{at}"), token(at + heard)) for at in BLOCK)
    return [Node(part(f"{head}@{ASKED}"), feature, below)]


def others(*named: str) -> list[Component]:
    """The heads that a hypothesis does not name."""
    return [part(address) for address in HEADS if address not in named]


def test_the_right_hypothesis_recovers_the_loss() -> None:
    right = scrubbing(LOSS, PARAMS, asked(120), hypothesis(INDUCTION, answer, -1), others(PREVIOUS, INDUCTION), draws=1)
    assert right.recovered >= 0.99
    assert right.random > 5
    assert right.status == "ok"


@pytest.mark.parametrize(
    ("head", "feature", "heard", "n"),
    # The first explains a little, so that its bound takes more examples to see.
    [
        (INDUCTION, answer, +1, 400),
        (INDUCTION, token(3), -1, 120),
        (INDUCTION, None, -1, 120),
        (DECOY, answer, -1, 120),
    ],
    ids=["0.1 tells the token ahead", "1.2 tells another token", "1.2 tells anything", "the decoy tells the answer"],
)
def test_wrong_hypotheses_do_not(head: str, feature: Feature | None, heard: int, n: int) -> None:
    found = scrubbing(LOSS, PARAMS, asked(n), hypothesis(head, feature, heard), others(PREVIOUS, head), draws=1)
    assert found.recovered <= 0.2


def test_a_small_pool_will_do_where_it_has_examples_that_agree() -> None:
    data = asked(120)
    few = scrubbing(
        LOSS, PARAMS, data, hypothesis(INDUCTION, answer, -1), others(PREVIOUS, INDUCTION), pool=60, draws=1
    )
    assert few.recovered >= 0.99


def test_where_random_inputs_change_nothing_there_is_nothing_to_explain() -> None:
    found = scrubbing(LOSS, PARAMS, asked(40), [Node(part(DECOY), answer)], [], draws=1)
    assert found.model == found.random
    assert math.isnan(found.recovered)
    assert found.status == "no-gap"


class Heard(nn.Module):
    """``top`` hears ``one`` and ignores ``other``."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other, self.top = nn.Linear(2, 4), nn.Linear(2, 4), nn.Linear(8, 4)
        with torch.no_grad():
            self.top.weight[:, 4:] = 0

    def per_example_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, y = batch
        return (self.top(torch.cat((self.one(x), self.other(x)), -1)).relu().sum(-1) - y).square()


@pytest.mark.parametrize(("named", "low", "high"), [((), 0.99, 1.0), (("one",), -0.5, 0.5), (("other",), 0.99, 1.0)])
def test_what_is_unimportant_is_random_wherever_it_is_heard(named: tuple[str, ...], low: float, high: float) -> None:
    torch.manual_seed(0)
    net, x = Heard(), torch.randn(400, 2)
    y = torch.zeros(400)
    with torch.no_grad():
        y = net.per_example_loss((x, y)).sqrt()

    def told(batch: Batch) -> Tensor:
        return (batch[1] * 1000).long()

    tree = [Node("top", told, () if "other" in named else (Node("other"),))]
    found = scrubbing(loss_fn(net), snapshot_params(net), (x, y), tree, list(named), draws=1)
    assert low <= found.recovered <= high


def test_bad_input() -> None:
    data = asked(4)
    with pytest.raises(SettingError, match="draws is 0 and pool None for 4 examples"):
        scrubbing(LOSS, PARAMS, data, [], [], draws=0)
    with pytest.raises(DataError, match="the feature of"):
        scrubbing(LOSS, PARAMS, data, [Node(part(HEADS[0]), lambda batch: batch[0])], [])
