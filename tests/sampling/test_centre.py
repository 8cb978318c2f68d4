"""The loss and its gradient at the centre."""

import pytest
import torch
from torch import Tensor

from llc_lightning.runtime.errors import SettingError
from llc_lightning.sampling.centre import Centres, centre_of


def loss(params: dict[str, Tensor], batch: Tensor) -> Tensor:
    return (params["used"] * batch - 1).square()


def test_the_gradient_is_that_of_the_mean_loss() -> None:
    params = {"used": torch.tensor(2.0), "unused": torch.ones(3)}
    centre = centre_of(loss, params, torch.tensor([1.0, 3.0]), ["used"])
    assert centre.losses.tolist() == [1.0, 25.0]
    assert centre.gradient["used"].item() == (2 * 1 * 1 + 2 * 5 * 3) / 2


def test_a_centre_holds_weights_of_its_own_without_a_graph() -> None:
    params = {"used": torch.tensor(2.0, requires_grad=True)}
    with torch.inference_mode():
        inferred = {"used": torch.tensor(2.0)}
    for some in (params, inferred):
        centre = centre_of(loss, some, torch.tensor([1.0, 3.0]), ["used"])
        assert not centre.params["used"].requires_grad
        assert not centre.params["used"].is_inference()
        assert centre.params["used"].data_ptr() != some["used"].data_ptr()


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


def test_a_parameter_whose_gradient_is_cut_off_is_noticed_beside_others() -> None:
    def cut(params: dict[str, Tensor], batch: Tensor) -> Tensor:
        return loss(params, batch) + params["cut"].detach()

    params = {"used": torch.tensor(2.0), "unused": torch.ones(3), "cut": torch.tensor(1.0)}
    assert centre_of(cut, params, torch.tensor([1.0, 3.0]), ["used", "unused"]).gradient["used"].item() == 16
    with pytest.raises(SettingError, match="no gradient; cut must enter"):
        centre_of(cut, params, torch.tensor([1.0, 3.0]), params)


def test_a_parameter_whose_gradient_cannot_be_had_fails_nothing_else() -> None:
    params = {"used": torch.tensor(2.0), "whole": torch.tensor([1, 2])}  # integers have no gradient
    data, centres = torch.tensor([1.0, 3.0]), Centres()
    centres.expect(params)
    assert centres.of("train", loss, params, data, ["used"]).gradient["used"].item() == 16
    with pytest.raises(RuntimeError, match="floating point"):
        centres.of("train", loss, params, data, ["whole"])
    assert centres.of("train", loss, params, data, ["used"]).gradient["used"].item() == 16


def test_of_many_losses_the_first_and_the_last_are_kept_with_the_same_weights() -> None:
    params, data, centres = {"used": torch.tensor(2.0)}, torch.tensor([1.0, 3.0]), Centres()
    found = {name: centres.of(name, loss, params, data, ["used"]) for name in ("train", "a", "b")}
    assert len({id(each.params["used"]) for each in found.values()}) == 1
    again = {name: centres.of(name, loss, params, data, ["used"]) is each for name, each in found.items()}
    assert again == {"train": True, "a": False, "b": False}
    assert centres.of("b", loss, params, data, ["used"]) is centres.of("b", loss, params, data, ["used"])
