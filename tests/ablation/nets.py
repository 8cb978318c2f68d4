"""Small modules of every sort, examples for them, and the slow literal way to ablate."""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
import torch.nn.functional as F
from scipy import stats
from torch import Tensor, nn

from llc_lightning.ablation.engine.base import Activations, Shared
from llc_lightning.ablation.engine.blocks import Blocks
from llc_lightning.components.component import Component
from llc_lightning.components.hooks import INPUT, WeightAxes
from llc_lightning.runtime.batches import Batch


class Circuits(nn.Module):
    """A net with one hidden layer whose outputs are its tasks, each counted where its target is not 0."""

    task_names = ("circuit:0", "circuit:1", "circuit:2")

    def __init__(self, width: int = 5) -> None:
        super().__init__()
        self.W_in = nn.Linear(6, width)
        self.hook_hidden = nn.Identity()
        self.W_out = nn.Linear(width, 3)
        self.hook_out = nn.Identity()

    def weight_axes(self) -> dict[str, WeightAxes]:
        hidden = WeightAxes((("W_in.weight", 0),), (("W_in.bias", 0),), (("W_out.weight", 1),))
        return {
            "hook_hidden": hidden,
            "hook_out": WeightAxes((("W_out.weight", 0),), (("W_out.bias", 0),), unit="output"),
        }

    def forward(self, x: Tensor) -> Tensor:
        return self.hook_out(self.W_out(self.hook_hidden(self.W_in(x).relu())))

    def per_example_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        return (self(batch[0]) - batch[1]).square().square().mean(-1)

    def per_task_loss(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return (self(batch[0]) - batch[1]).square().square(), batch[1] != 0


class Images(nn.Module):
    """A convolutional net with SiLU, whose last bits depend on where in a vector a number stands."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)
        self.mix = nn.Conv2d(3, 5, 3)
        self.read = nn.Linear(5, 4)

    def per_example_loss(self, batch: dict[str, Tensor]) -> Tensor:
        h = F.silu(self.norm(self.conv(batch["image"])))
        h = F.silu(self.mix(h)).mean((-2, -1))
        return F.cross_entropy(self.read(h), batch["label"], reduction="none")


class Tokens(nn.Module):
    """One block of attention whose heads are units: activations [example, position, head, feature]."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 12)
        self.qkv = nn.Linear(12, 36)
        self.hook_z = nn.Identity()
        self.out = nn.Linear(12, 12)
        self.read = nn.Linear(12, 11)

    def per_example_loss(self, batch: Tensor) -> Tensor:
        x = self.embed(batch)
        q, k, v = self.qkv(x).unflatten(-1, (3, 3, 4)).unbind(-3)
        score = torch.einsum("eqhd,ekhd->ehqk", q, k) / 2
        seen = torch.ones(batch.shape[1], batch.shape[1], dtype=torch.bool, device=batch.device).tril()
        pattern = score.masked_fill(~seen, -1e9).softmax(-1)
        z = self.hook_z(torch.einsum("ehqk,ekhd->eqhd", pattern, v))
        logits = self.read(F.gelu(x + self.out(z.flatten(-2)), approximate="tanh"))
        return F.cross_entropy(logits[:, :-1].mT, batch[:, 1:], reduction="none").mean(-1)


class Smooth(nn.Module):
    """An elementwise function and nothing else: last bits depend on where in a vector a number stands."""

    def __init__(self) -> None:
        super().__init__()
        self.units = nn.Identity()

    def per_example_loss(self, batch: Tensor) -> Tensor:
        return F.softplus(self.units(batch))[:, 0]


class Branching(nn.Module):
    """A net whose control flow depends on its activations, which vmap refuses."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.last = nn.Linear(4, 1)

    def per_example_loss(self, batch: Tensor) -> Tensor:
        h = self.first(batch).relu()
        h = h * 2 if bool((h >= 0).all()) else h
        return self.last(h)[:, 0].square()


def circuits_data(n: int) -> tuple[Tensor, Tensor]:
    """Examples for ``Circuits``; two thirds of the targets are 0."""
    stream = torch.Generator().manual_seed(1)
    return torch.randn(n, 6, generator=stream), (torch.rand(n, 3, generator=stream) < 0.3).float()


def images_data(n: int) -> dict[str, Tensor]:
    """Examples for ``Images``."""
    stream = torch.Generator().manual_seed(2)
    return {
        "image": torch.randn(n, 2, 7, 7, generator=stream),
        "label": torch.randint(0, 4, (n,), generator=stream),
    }


def tokens_data(n: int) -> Tensor:
    """Examples for ``Tokens``."""
    return torch.randint(0, 11, (n, 7), generator=torch.Generator().manual_seed(3))


def heads() -> list[Component]:
    """The heads of ``Tokens`` and all of them, on the second axis from the end."""
    alone = [Component(f"hook_z[{i}]", "head", "hook_z", (i,), -2) for i in range(3)]
    return [
        *alone,
        Component("hook_z[0,2]", "set", "hook_z", (0, 2), -2),
        Component("hook_z", "layer", "hook_z", None, -2),
    ]


@contextmanager
def hooked(module: nn.Module, point: str, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Changes the activation at a hook point: a submodule's output, or its input for ``path:input``."""
    part = module.get_submodule(point.removesuffix(INPUT))
    if point.endswith(INPUT):
        handle = part.register_forward_pre_hook(lambda _, inputs: (change(inputs[0]), *inputs[1:]))
    else:
        handle = part.register_forward_hook(lambda _, inputs, output: change(output))
    try:
        yield
    finally:
        handle.remove()


def replaced(component: Component, values: Tensor) -> Callable[[Tensor], Tensor]:
    """Returns what writes ``values`` into a component's units, at its positions or along its directions."""

    def change(activation: Tensor) -> Tensor:
        if component.basis is not None:
            return activation + (values - activation) @ component.basis.T.float() @ component.basis.float()
        changed = activation.clone()
        width = activation.shape[component.unit_axis]
        for unit in range(width) if component.units is None else component.units:
            into, of = (each.select(component.unit_axis, unit) for each in (changed, values))
            if component.positions is None:
                into.copy_(of)
            for position in component.positions or ():
                into[:, position] = of[:, position]
        return changed

    return change


@torch.no_grad()
def literal_losses(
    module: nn.Module, data: Batch, component: Component, values: Callable[[Component, Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """Returns the losses without [example] and with [draw, example] ablation, by one hook and forward pass per draw.

    Args:
        module: The module.
        data: The examples.
        component: What is ablated.
        values: What takes the place of an activation of a part of the component; [draw, example or 1, *unit].
    """
    module = copy.deepcopy(module).eval()
    draws: list[Tensor] = []
    for part in component.members:
        seen: list[Tensor] = []
        with hooked(module, part.point, lambda activation: (seen.append(activation), activation)[1]):  # noqa: B023
            clean = module.per_example_loss(data)
        draws.append(values(part, seen[0]).expand(-1, *seen[0].shape))
    ablated: list[Tensor] = []
    for draw in zip(*draws, strict=True):
        with ExitStack() as hooks:
            for part, value in zip(component.members, draw, strict=True):
                hooks.enter_context(hooked(module, part.point, replaced(part, value)))
            ablated.append(module.per_example_loss(data))
    return clean, torch.stack(ablated)


def values_of_constants(component: Component, constants: Sequence[Tensor]) -> Callable[[Component, Tensor], Tensor]:
    """Returns what fitted constants are at each part of a component, for :func:`literal_losses`."""
    by_point = dict(zip((member.point for member in component.members), constants, strict=True))

    def values(member: Component, activation: Tensor) -> Tensor:
        constant, axis = by_point[member.point][None], activation.ndim + member.unit_axis
        if constant.shape[axis + 1] == activation.shape[axis]:
            return constant
        every = torch.zeros(*constant.shape[:2], *activation.shape[1:])
        return every.index_copy(axis + 1, torch.tensor(member.units), constant)

    return values


def values_of(
    method: Shared, data: Batch, *, seed: int, partners: Callable[[str], Tensor] | None = None
) -> Callable[[Component, Tensor], Tensor]:
    """Returns what a method's values are on all examples, for :func:`literal_losses`."""
    blocks = Blocks.of(data)

    def values(part: Component, activation: Tensor) -> Tensor:
        seen = Activations(activation, part.unit_axis, partner=partners(part.point) if partners else None)
        found = [some.expand(-1, blocks.size, *some.shape[2:]) for some in method.values(seen, blocks.rows, seed=seed)]
        return torch.cat(found, dim=1)[:, : blocks.n]

    return values


def literal_error(changes: Tensor, by_draw: Tensor, counts: Tensor | None = None) -> float:
    """Returns the standard error of the mean of changes [draw, example] under donors: over all pairs that share one."""
    draws, n = changes.shape
    counts = torch.ones(n, dtype=torch.bool) if counts is None else counts
    centred = ((changes - changes[:, counts].mean()) * counts).flatten()
    ends = torch.stack([torch.arange(n).repeat(draws), by_draw.flatten()])
    shared = (ends[:, None, :, None] == ends[None, :, None, :]).sum((0, 1)) > 0
    number = int(counts.sum())
    total = (centred[:, None] * centred[None] * shared).sum() / (number * draws) ** 2
    # An estimated mean takes from the sum what the pairs of each example have of its own error.
    return float((total * number / (number - 4 + 1 / draws)).sqrt())


def expected_status(difference: Tensor) -> str:
    """Returns what an effect says of itself by its values on the examples: whether they are too few for their skew."""
    skew = float(stats.skew(difference.double().numpy()))
    return "too-few-examples" if len(difference) < 16 or skew**2 / len(difference) > 1 / 15 else "ok"
