"""What a function did, done again in two parts, of which the second writes over what nothing needs any more."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from llc_lightning.runtime.replay import OtherNumbersError, Replay
from llc_lightning.runtime.tape import RecordingError, record, told_apart


def forward(fixed: dict[str, Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    weight = fixed["weight"].exp()  # depends on what is fixed alone
    hidden = nn.functional.gelu(x @ weight + fixed["bias"])
    return (hidden - 1).square().mean(-1), hidden


FIXED, X = {"weight": torch.randn(4, 3), "bias": torch.randn(3)}, torch.randn(5, 4)


def test_recording_gives_what_the_function_does_and_the_replay_its_bits_for_other_numbers() -> None:
    found, tape = record(forward, FIXED, X)
    assert all(torch.equal(one, other) for one, other in zip(found, forward(FIXED, X), strict=True))
    replay = Replay(tape, 2)
    for fixed in (FIXED, {name: torch.randn_like(value) for name, value in FIXED.items()}):
        prepared = replay.prepare(list(fixed.values()))
        for x in (X, torch.randn(5, 4)):
            for grad in (False, True):
                with torch.set_grad_enabled(grad):
                    found = replay(prepared, [x])
                assert all(torch.equal(one, other) for one, other in zip(found, forward(fixed, x), strict=True))


def test_gradients_flow_through_the_second_part() -> None:
    replay = Replay(record(forward, FIXED, X)[1], 2)
    x, own = X.clone().requires_grad_(), X.clone().requires_grad_()
    replay(replay.prepare(list(FIXED.values())), [x])[0].sum().backward()
    forward(FIXED, own)[0].sum().backward()
    torch.testing.assert_close(x.grad, own.grad)


CASES: dict[str, tuple[Any, list[str]]] = {
    "a chain": (lambda x, y: ((x @ y).relu() * 2).exp(), ["relu_", "mul_", "exp_"]),
    "the second of a sum": (lambda x, y: x + x @ y, ["add_"]),
    "a square": (lambda x, y: (x - y) * (x - y), ["mul_"]),
    "through a view": (lambda x, y: (x @ y).view(9).sigmoid(), ["sigmoid_"]),
    "an argument": (lambda x, y: x.relu() + y.view(9).view(3, 3).neg(), ["add_"]),
    "needed later": (lambda x, y: [h := x @ y, h.relu()][1] + h, ["add_"]),
    "needed through a view": (lambda x, y: [h := x @ y, h.relu()][1] + h.view(9).view(3, 3), ["add_"]),
    "a result of its own": (lambda x, y: [h := x @ y, h.relu()], []),
    "expanded": (lambda x, y: (x @ y).sum(0).expand(3, 3).relu(), []),
    "turned": (lambda x, y: [h := x @ y, h + h.mT][1], []),
    "another type": (lambda x, y: ((x @ y) > 0).double() * 2.0, ["mul_"]),
    "made twice, needed later": (lambda x, y: [h := x @ y, (x @ y).view(9).relu()][1].view(3, 3) + h, ["add_"]),
    "made twice, a result": (lambda x, y: [x @ y, (x @ y).view(9).relu()], []),
    "twice": (lambda x, y: (x @ y).exp() + (x @ y).exp(), ["exp_", "add_"]),
}


@pytest.mark.parametrize("case", CASES)
def test_only_what_nothing_needs_is_written_over(case: str) -> None:
    function, written = CASES[case]
    x, y = torch.randn(3, 3), torch.randn(3, 3)
    kept = x.clone(), y.clone()
    replay = Replay(record(function, x, y)[1], 0)
    with torch.no_grad():
        found, expected = replay(replay.prepare([]), [x, y]), function(x, y)
    pairs = zip(found, expected, strict=True) if isinstance(expected, list) else [(found[0], expected)]
    assert all(torch.equal(one, other) for one, other in pairs)
    names = [line.operation.overloadpacket.__name__ for line in replay._reused._lines]
    assert [name for name in names if name.endswith("_")] == written
    assert torch.equal(x, kept[0])
    assert torch.equal(y, kept[1])


REFUSED: dict[str, Any] = {
    "writes": lambda x: x.clone().add_(1),
    "draws": lambda x: x + torch.rand(3),
    "drops": lambda x: nn.functional.dropout(x),
    "a selection": lambda x: x[x > 0],
    "numbers of its own": lambda x: torch.tensor(x.tolist()),
    "numpy": lambda x: torch.from_numpy(x.numpy()),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_done_again_is_not_recorded(case: str) -> None:
    with pytest.raises((RecordingError, RuntimeError, TypeError)):
        record(REFUSED[case], torch.tensor([1.0, -1.0, 2.0]))


def test_numbers_that_are_read_must_be_the_same_again() -> None:
    def branches(fixed: Tensor, x: Tensor) -> Tensor:
        return x * 2 if bool(fixed.sum() > 0) else x

    replay = Replay(record(branches, torch.ones(3), X)[1], 1)
    (doubled,) = replay(replay.prepare([torch.ones(3) * 5]), [X])
    assert torch.equal(doubled, 2 * X)
    with pytest.raises(OtherNumbersError, match=r"^the function read True when it was recorded, not False\.$"):
        replay.prepare([-torch.ones(3)])
    with pytest.raises(RecordingError, match="depend on the varying arguments"):
        Replay(record(branches, torch.ones(3), X)[1], 0)


def test_numbers_that_nothing_can_change_may_be_read() -> None:
    tape = record(lambda x: x[: int(torch.arange(3).sum())], X)[1]
    assert not tape.reads


def test_the_digest_tells_functions_apart_and_not_their_tensors() -> None:
    held = torch.randn(4)
    functions: list[Any] = [
        *(lambda x: x * 2, lambda x: x * 2.0, lambda x: x * -0.0, lambda x: x * 0.0, lambda x: x + held),
        *(lambda x: x + (held + 1), lambda x: [h := told_apart(x), h + x][1], lambda x: [h := told_apart(x), x + h][1]),
        *(lambda x: x.relu() if bool(x.sum() > -99) else x, lambda x: (x, x), lambda x: x),
    ]
    digests = [record(function, X)[1].digest() for function in functions]
    assert len(set(digests)) == len(digests)
    assert [record(function, X + 1)[1].digest() for function in functions] == digests
    assert record(functions[0], X.T.contiguous().T)[1].digest() != digests[0]
    assert record(functions[0], X.double())[1].digest() != digests[0]
