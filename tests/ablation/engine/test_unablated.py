"""What is kept of a module's unablated run holds for other numbers, and for nothing else."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llc_lightning.ablation import patching
from llc_lightning.ablation.engine.sweep import sweep
from llc_lightning.ablation.engine.unablated import Unablated
from llc_lightning.components.listing import find_components
from llc_lightning.components.loss import loss_fn, snapshot_params
from llc_lightning.runtime.errors import SettingError


class Net(nn.Module):
    """Branches on numbers that it reads, and knows several forms of batches."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.read = nn.Linear(4, 6), nn.Linear(6, 1)

    def per_example_loss(self, batch: dict[str, Tensor]) -> Tensor:
        h = self.layer(batch["x"].float())
        h = h.relu() if float(batch["x"].abs().max()) < 10 else h.tanh()
        y = self.read(h)[..., 0]
        y = y.mean(1) if y.ndim > 1 else y
        return y.square() * batch.get("weight", torch.ones(()))


def _by_hooks(module: nn.Module, batch: dict[str, Tensor], donor: dict[str, Tensor]) -> float:
    seen: list[Tensor] = []

    def put(_: nn.Module, inputs: object, output: Tensor) -> Tensor:
        seen.append(output)
        return torch.cat([output[..., :2], seen[0][..., 2:3], output[..., 3:]], -1) if len(seen) > 1 else output

    with torch.no_grad():
        clean = module.per_example_loss(batch)
        handle = module.layer.register_forward_hook(put)
        module.per_example_loss(donor)
        patched = module.per_example_loss(batch)
        handle.remove()
    return float((patched - clean).mean())


def _batch(stream: torch.Generator, *shape: int, scale: float = 1.0, **more: Tensor) -> dict[str, Tensor]:
    return {"x": scale * torch.randn(*shape, 4, generator=stream), **more}


FORMS: dict[str, Callable[[torch.Generator], dict[str, Tensor]]] = {
    "plain": lambda stream: _batch(stream, 8),
    "another branch": lambda stream: _batch(stream, 8, scale=30.0),
    "another number": lambda stream: _batch(stream, 5),
    "another shape": lambda stream: _batch(stream, 8, 3),
    "another type": lambda stream: {"x": torch.randn(8, 4, dtype=torch.float64, generator=stream)},
    "another entry": lambda stream: _batch(stream, 8, weight=torch.rand(8, generator=stream)),
}


def test_one_loss_serves_all_forms_and_weights() -> None:
    module, stream = Net(), torch.Generator().manual_seed(0)
    loss = loss_fn(module)
    for _ in range(3):
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=stream))
        for form in FORMS.values():
            clean, donor = form(stream), form(stream)
            found = patching(loss, snapshot_params(module), clean, donor, "layer[2]")
            assert found["value"].tolist() == pytest.approx([_by_hooks(module, clean, donor)], abs=1e-6)


class Counting(nn.Module):
    calls = 0

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def per_example_loss(self, batch: Tensor) -> Tensor:
        Counting.calls += 1
        return self.layer(batch).square().mean(-1)


def test_a_second_call_runs_no_python_of_the_module() -> None:
    module, stream = Counting(), torch.Generator().manual_seed(0)
    loss, params = loss_fn(module), snapshot_params(module)
    batches = [torch.randn(8, 4, generator=stream) for _ in range(4)]
    patching(loss, params, *batches[:2], "layer[2]")
    Counting.calls = 0
    found = patching(loss, params, *batches[2:], "layer[2]")
    assert Counting.calls == 0
    again = patching(loss_fn(module), params, *batches[2:], "layer[2]")
    assert found.equals(again)


def test_replays_have_the_bits_of_the_run_itself() -> None:
    module, stream = Padded(), torch.Generator().manual_seed(0)
    loss, params = loss_fn(module), snapshot_params(module)
    run = Unablated(loss, params, with_tasks=False, metrics=(), recorded=True)
    with torch.no_grad():
        for _ in range(3):
            tokens = torch.randint(5, (8, 6), generator=stream)
            batch = {"tokens": tokens, "real": (torch.rand(8, 6, generator=stream) < 0.7).long()}
            batch["real"][:, :2] = 1
            losses, caught = loss.watched(params, batch, ["mix"])
            found = run(batch, ["mix"])
            assert torch.equal(found.losses[0][:, 0], losses)
            assert torch.equal(found.caught["mix"], caught["mix"])


class Padded(nn.Module):
    """Reads its mask twice, and writes over nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.mix, self.read = nn.Embedding(5, 6), nn.Linear(6, 6), nn.Linear(6, 5)

    def per_example_loss(self, batch: dict[str, Tensor]) -> Tensor:
        x, real = self.embed(batch["tokens"]), batch["real"].bool()
        heard = torch.zeros(len(x), 1, 6).masked_fill(~batch["real"].bool()[:, None], -1e9).softmax(-1)
        logits = self.read(x + self.mix(heard @ x))
        losses = F.cross_entropy(logits[:, :-1].movedim(-1, 1), batch["tokens"][:, 1:], reduction="none")
        counts = real[:, 1:].float()
        return (losses * counts).sum(-1) / counts.sum(-1)


class Coupled(nn.Module):
    """Its loss of an example depends on the others in the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def per_example_loss(self, batch: Tensor) -> Tensor:
        out = self.layer(batch)
        return (out - out.mean(0)).square().mean(-1)


def test_what_was_refused_once_is_refused_again() -> None:
    loss, batch = loss_fn(Coupled()), torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    params = snapshot_params(loss.module)
    for _ in range(3):
        with pytest.raises(SettingError, match=r"the loss of example \d is"):
            sweep(loss, params, batch, find_components(loss.module, "layer[1]"), ["zero"], seed=0)
