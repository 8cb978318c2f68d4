"""Attention scores: by literal counting, and on heads whose attention is known."""

import math

import pytest
import torch

from llc_lightning.models.hand_built import DECOY, TASK, hand_built_induction
from llc_lightning.models.head_scores import SCORES, attention_scores, head_scores, score_quantities


def literal(pattern: torch.Tensor, tokens: list[int], kind: str) -> float:
    """The score of one head on one example, in loops."""
    shares: list[float] = []
    for t, token in enumerate(tokens):
        same = [j for j in range(t) if tokens[j] == token]
        keys = {
            "previous_token": [t - 1] if t else [],
            "duplicate_token": same,
            "induction": [j + 1 for j in same if j + 1 < t],
        }[kind]
        if keys:
            shares.append(sum(pattern[t, j].item() for j in keys))
    return sum(shares) / len(shares) if shares else math.nan


def test_scores_are_those_of_literal_counting() -> None:
    tokens = torch.randint(0, 4, (6, 9))
    tokens[0] = torch.arange(9)
    pattern = torch.rand(6, 3, 9, 9).tril()
    pattern = pattern / pattern.sum(-1, keepdim=True)
    found = attention_scores(pattern, tokens)
    for place, kind in enumerate(SCORES):
        for row in range(6):
            for head in range(3):
                expected = literal(pattern[row, head], tokens[row].tolist(), kind)
                assert found[place, row, head].item() == pytest.approx(expected, abs=1e-6, nan_ok=True)
    assert bool(found[1:, 0].isnan().all())


def test_hand_built_heads_have_the_scores_of_their_roles() -> None:
    tokens, _ = TASK.sample(50, torch.Generator().manual_seed(0))
    model = hand_built_induction()
    rows = {(row.component, row.method): row for row in score_quantities(model.net, tokens, prefix="net")}
    assert len(rows) == 24
    assert rows["net.blocks.0.attn.hook_z[1]", "previous_token"].value == pytest.approx(1.0, abs=1e-3)
    for address in ("net.blocks.1.attn.hook_z[2]", DECOY):
        assert rows[address, "induction"].value == pytest.approx(1.0, abs=1e-3)
        assert rows[address, "duplicate_token"].value < 0.01
        assert (rows[address, "induction"].kind, rows[address, "induction"].n) == ("head", 50)
    others = [row.value for (address, _), row in rows.items() if "[3]" in address]
    assert max(others) < 0.6


def test_examples_are_scored_alike_in_blocks_and_alone() -> None:
    tokens, _ = TASK.sample(300, torch.Generator().manual_seed(0))
    net = hand_built_induction().net
    scores = head_scores(net, tokens)
    assert scores.shape == (2, 3, 300, 4)
    assert torch.allclose(scores[:, :, 270:271], head_scores(net, tokens[270:271]), atol=1e-6)


def test_a_score_that_no_example_has_is_left_out() -> None:
    net = hand_built_induction().net
    rows = score_quantities(net, torch.arange(16).expand(5, -1), prefix="net")
    assert {row.method for row in rows} == {"previous_token"}
