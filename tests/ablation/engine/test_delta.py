"""However a module uses an ablated activation, the effect is that of a plain forward hook."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llc_lightning import ablation_effects

X = torch.randn(100, 4, generator=torch.Generator().manual_seed(0))
Y = torch.randint(0, 3, (100,), generator=torch.Generator().manual_seed(1))

Use = Callable[[Tensor, nn.Linear], Tensor]
USES: dict[str, Use] = {
    "a linear layer": lambda h, b: b(h),
    "transposed": lambda h, b: (b.weight @ h.T).T + b.bias,
    "transposed matrices": lambda h, b: (b.weight @ h.mT).mT + b.bias,
    "its data": lambda h, b: b(h.data),
    "its real part": lambda h, b: b(h.real),
    "changed in place": lambda h, b: [h.relu_(), b(h)][1],
    "multiplied in place": lambda h, b: [h.mul_(2), b(h)][1],
    "written to": lambda h, b: [h.__setitem__((slice(None), 1), 0.5), b(h)][1],
    "written to through a view": lambda h, b: [h[:, 0].mul_(3), b(h)][1],
    "a function in place": lambda h, b: [F.leaky_relu(h, 0.1, True), b(h)][1],
    "by keyword": lambda h, b: F.linear(input=h, weight=b.weight),
    "a product by keyword": lambda h, b: torch.matmul(h, other=b.weight.T),
    "another shape by keyword": lambda h, b: b(torch.reshape(h, shape=(-1, 5))),
    "viewed as its type": lambda h, b: b(h.view(torch.float32)),
    "two uses": lambda h, b: b(h) + h[:, :3],
}


class Net(nn.Module):
    """Two linear layers, between which the hidden activation is used in one way or another."""

    def __init__(self, use: Use) -> None:
        super().__init__()
        self.one, self.two, self.use = nn.Linear(4, 5), nn.Linear(5, 3), use
        stream = torch.Generator().manual_seed(2)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=stream))

    def per_example_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        return F.cross_entropy(self.use(self.one(batch[0]), self.two), batch[1], reduction="none")


@pytest.mark.parametrize("use", USES)
def test_every_use_of_an_ablated_activation_sees_it(use: str) -> None:
    net = Net(USES[use])
    with torch.no_grad():
        clean = net.per_example_loss((X, Y)).mean()
        hook = net.one.register_forward_hook(lambda module, given, h: h.where(torch.arange(5) != 0, 0.0))
        expected = (net.per_example_loss((X, Y)).mean() - clean).item()
        hook.remove()
    (row,) = ablation_effects(net, (X, Y), "one[0]", "zero").itertuples()
    assert abs(expected) > 1e-4
    assert row.value == pytest.approx(expected, abs=1e-6)
