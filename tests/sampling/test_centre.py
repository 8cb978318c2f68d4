"""The loss and its gradient at the centre."""

import torch
from torch import Tensor

from llc_lightning.sampling.centre import Centres, centre_of


def loss(params: dict[str, Tensor], batch: Tensor) -> Tensor:
    return (params["used"] * batch - 1).square()


def test_the_gradient_is_that_of_the_mean_loss() -> None:
    params = {"used": torch.tensor(2.0), "unused": torch.ones(3)}
    centre = centre_of(loss, params, torch.tensor([1.0, 3.0]), ["used"])
    assert centre.losses.tolist() == [1.0, 25.0]
    assert centre.gradient["used"].item() == (2 * 1 * 1 + 2 * 5 * 3) / 2


def test_a_parameter_that_the_loss_does_not_use_has_gradient_0() -> None:
    params = {"used": torch.tensor(2.0), "unused": torch.ones(3)}
    centre = centre_of(loss, params, torch.tensor([1.0, 3.0]), ["unused"])
    assert centre.gradient["unused"].tolist() == [0.0, 0.0, 0.0]


def test_a_centre_is_found_once_for_all_that_is_expected() -> None:
    params, passes = {"used": torch.tensor(2.0), "unused": torch.ones(3)}, list[int]()
    data = torch.tensor([1.0, 3.0])

    def counted(params: dict[str, Tensor], batch: Tensor) -> Tensor:
        passes.append(len(batch))
        return loss(params, batch)

    def look(centres: Centres, moved: str, name: str = "train") -> tuple[float, bool]:
        passes.clear()
        with torch.inference_mode():
            centre = centres.of(name, counted, params, data, [moved])
        return centre.gradient[moved].sum().item(), bool(passes)

    lazy, expecting = Centres(), Centres()
    expecting.expect(["used", "unused"])
    assert [look(lazy, name) for name in ("used", "unused", "used")] == [(16.0, True), (0.0, True), (16.0, False)]
    assert [look(expecting, name) for name in ("used", "unused")] == [(16.0, True), (0.0, False)]
    assert look(expecting, "used", name="another loss") == (16.0, True)
