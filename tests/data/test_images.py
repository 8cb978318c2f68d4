"""Two image tasks in one net: what an example is in each layout, and an order that follows from seed and epoch."""

import types
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from llc_lightning.data import images as module
from llc_lightning.data.image_sets import ImagePair, ImageSet, ImageTask
from llc_lightning.data.images import MNISTFashionData, brightness
from llc_lightning.data.layouts import LAYOUTS
from llc_lightning.data.order import EpochLoader
from llc_lightning.runtime.errors import DataError, SettingError

N, N_TEST = 60, 20
SMALL: dict[str, Any] = {"source": "embedded", "batch_size": 8, "analysis_size": 40}


def numbered(n: int, first: int) -> ImageSet:
    """Images that are told apart by their brightness, every entry of image ``i`` being ``first + i``."""
    images = (torch.arange(n) + first).to(torch.uint8)[:, None, None].expand(n, 28, 28).clone()
    return ImageSet(images, torch.arange(n) % 10)


@pytest.fixture(autouse=True)
def pair(monkeypatch: pytest.MonkeyPatch) -> ImagePair:
    """Small sets in the place of real ones: MNIST has brightness 0 to 79, Fashion-MNIST 100 to 179."""
    tasks = (
        ImageTask("mnist", numbered(N, 0), numbered(N_TEST, N)),
        ImageTask("fashion", numbered(N, 100), numbered(N_TEST, 100 + N)),
    )
    made = ImagePair(tasks, "embedded", "numbered images")
    monkeypatch.setattr(module, "load_images", lambda *_, **__: made)
    return made


def data(layout: str = "mix20", *, rank: int = 0, world_size: int = 1, **settings: Any) -> MNISTFashionData:
    made = MNISTFashionData(layout, **{**SMALL, **settings})
    if world_size > 1:
        made.trainer = types.SimpleNamespace(global_rank=rank, world_size=world_size)
    return made


def epoch(loader: EpochLoader, number: int = 0) -> list[tuple[torch.Tensor, torch.Tensor]]:
    loader.sampler.set_epoch(number)
    return list(loader)


def joined(batches: list[tuple[torch.Tensor, torch.Tensor]]) -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = zip(*batches, strict=True)
    return torch.cat(images), torch.cat(labels)


def identities(layout: str, batches: list[tuple[torch.Tensor, torch.Tensor]]) -> list[int]:
    """Returns the brightness of every image of a layout whose examples tell it."""
    images, _ = joined(batches)
    pixels = images[:, 0, [0, -1]] if layout == "concat" else images[:, 0, :1]
    return (255 * pixels).round().long().flatten().tolist()


class TestLayouts:
    def test_mix20_gives_one_image_and_twenty_classes(self) -> None:
        images, labels = data().analysis_set()
        assert images.shape == (40, 28, 28)
        assert images.dtype == torch.float32
        numbers = (255 * images[:, 0, 0]).round().long()
        assert ((labels[:, 0] == -1) == (numbers >= 100)).all()
        assert ((labels[:, 1] == -1) == (numbers < 100)).all()
        assert torch.equal(labels.amax(dim=1), torch.where(numbers < 100, numbers % 10, 10 + numbers % 10))

    def test_share10_gives_both_tasks_the_same_ten_classes(self) -> None:
        mixed, shared = data().analysis_set(), data("share10").analysis_set()
        assert torch.equal(mixed[0], shared[0])
        assert torch.equal(shared[1].amax(dim=1), mixed[1].amax(dim=1) % 10)

    def test_super_gives_the_mean_of_two_images_and_concat_both_side_by_side(self) -> None:
        (mean, labels), (beside, same) = data("super").analysis_set(), data("concat").analysis_set()
        assert (mean.shape, beside.shape) == ((40, 28, 28), (40, 28, 56))
        assert torch.equal(labels, same)
        assert torch.allclose(mean, (beside[:, :, :28] + beside[:, :, 28:]) / 2)
        assert torch.equal(labels, (255 * beside[:, 0, [0, -1]]).round().long() % 100 % 10)

    def test_mini_halves_rows_and_columns(self) -> None:
        assert data(mini=True).analysis_set()[0].shape == (40, 14, 14)
        assert data("concat", mini=True).analysis_set()[0].shape == (40, 14, 28)
        image = torch.randint(256, (3, 28, 28)).to(torch.uint8)
        small = brightness(image, mini=True)
        assert small[1, 2, 3].item() == pytest.approx(image[1, 4:6, 6:8].double().mean().item() / 255, abs=1e-6)

    def test_an_unknown_layout_is_refused(self) -> None:
        with pytest.raises(SettingError, match="unknown layout 'mix10'; did you mean 'mix20'"):
            data("mix10")


@pytest.mark.parametrize("layout", LAYOUTS)
class TestOrder:
    def test_batches_are_a_function_of_seed_and_epoch(self, layout: str) -> None:
        first, again = epoch(data(layout).train_dataloader(), 1), epoch(data(layout).train_dataloader(), 1)
        assert all(torch.equal(a, b) for a, b in zip(joined(first), joined(again), strict=True))
        for other in (epoch(data(layout).train_dataloader(), 0), epoch(data(layout, seed=1).train_dataloader(), 1)):
            assert not torch.equal(joined(first)[0], joined(other)[0])

    def test_two_shards_see_every_image_once_and_give_the_classes_of_one_process(self, layout: str) -> None:
        alone = epoch(data(layout).train_dataloader(), 2)
        shards = [epoch(data(layout, rank=rank, world_size=2).train_dataloader(), 2) for rank in (0, 1)]
        both = shards[0] + shards[1]
        counts = [(joined(one)[1] + 1).flatten().bincount(minlength=21).tolist() for one in (alone, both)]
        assert counts[0] == counts[1]
        assert len(joined(shards[0])[0]) == len(joined(shards[1])[0])
        if layout != "super":
            assert sorted(identities(layout, both)) == [*range(N), *range(100, 100 + N)]
        # A step of two processes takes what one process takes with twice the batch size.
        large = epoch(data(layout, batch_size=16).train_dataloader(), 2)
        steps = [torch.cat(step) for step in zip(*([labels for _, labels in shard] for shard in shards), strict=True)]
        for one, (_, two) in zip(steps, large, strict=True):
            assert sorted(one.tolist()) == sorted(two.tolist())

    def test_workers_give_the_same_batches(self, layout: str) -> None:
        loader = data(layout).train_dataloader()
        loader.sampler.set_epoch(1)
        own = list(loader)
        for workers in (0, 2):
            torch_loader = DataLoader(
                Numbered(loader.source), batch_size=8, sampler=loader.sampler, num_workers=workers, collate_fn=joined
            )
            theirs = list(torch_loader)
            assert len(own) == len(theirs)
            assert all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(own, theirs, strict=True))

    def test_validation_is_on_test_images_and_the_same_in_every_epoch(self, layout: str) -> None:
        loader = data(layout).val_dataloader()
        assert isinstance(loader, EpochLoader)
        first, second = joined(epoch(loader, 0)), joined(epoch(loader, 1))
        assert torch.equal(first[0], second[0])
        if layout != "super":
            assert sorted(identities(layout, [first])) == [*range(N, N + N_TEST), *range(100 + N, 100 + N + N_TEST)]

    def test_an_epoch_goes_on_where_it_was_left(self, layout: str) -> None:
        whole = epoch(data(layout).train_dataloader(), 1)
        left, resumed = data(layout).train_dataloader(), data(layout).train_dataloader()
        left.sampler.set_epoch(1)
        batches = iter(left)
        for _ in range(3):
            next(batches)
        resumed.load_state_dict(left.state_dict())
        assert all(torch.equal(a[0], b[0]) for a, b in zip(whole[3:], epoch(resumed, 1), strict=True))

    def test_nothing_is_drawn_from_the_global_generator(self, layout: str) -> None:
        before = torch.get_rng_state()
        made = data(layout)
        epoch(made.train_dataloader())
        made.analysis_set()
        assert torch.equal(before, torch.get_rng_state())


class Numbered(torch.utils.data.Dataset):
    """The examples of a source as single items, as a ``DataLoader`` wants them."""

    def __init__(self, source: Any) -> None:
        self.source = source

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.source.batch(torch.tensor([number]))


class TestAnalysisSet:
    def test_it_is_of_training_images_half_of_each_task_and_a_function_of_the_seed(self) -> None:
        images, labels = data().analysis_set()
        numbers = (255 * images[:, 0, 0]).round().long()
        assert len(numbers.unique()) == 40
        assert ((numbers < N) | ((numbers >= 100) & (numbers < 100 + N))).all()
        assert (labels[0::2, 1] == -1).all()
        assert (labels[1::2, 0] == -1).all()
        made = data()
        assert torch.equal(made.analysis_set(6)[0], images[:6])
        assert not torch.equal(data(seed=1).analysis_set()[0], images)
        assert len(data(analysis_size=7).analysis_set()[0]) == 7

    @pytest.mark.parametrize(("layout", "most"), [("mix20", 120), ("super", 60)])
    def test_it_cannot_hold_more_than_there_is(self, layout: str, most: int) -> None:
        assert len(data(layout, analysis_size=most).analysis_set()[0]) == most
        with pytest.raises(DataError, match=f"analysis_size is {most + 1}, but .* for {most} examples; give at most"):
            data(layout, analysis_size=most + 1).analysis_set()
        with pytest.raises(DataError, match="41 examples were asked of an analysis set of 40"):
            data(layout).analysis_set(41)


class TestSettings:
    def test_fewer_images_can_be_taken(self) -> None:
        made = data(train_size=10, validation_size=5, analysis_size=20)
        assert sorted(identities("mix20", epoch(made.train_dataloader()))) == [*range(10), *range(100, 110)]
        assert len(joined(epoch(made.val_dataloader()))[0]) == 10
        assert data(validation_size=0).val_dataloader() == []
        with pytest.raises(DataError, match="61 images of a task were asked for, but there are 60"):
            data(train_size=61).train_dataloader()

    @pytest.mark.parametrize(
        "settings", [{"batch_size": 0}, {"train_size": 0}, {"validation_size": -1}, {"analysis_size": 0}]
    )
    def test_refuses_numbers_out_of_range(self, settings: dict[str, int]) -> None:
        with pytest.raises(SettingError, match=next(iter(settings))):
            data(**settings)

    def test_the_choice_is_printed_once_and_kept_for_the_provenance_and_the_checkpoint(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        made = data()
        made.setup("fit")
        made.analysis_set()
        assert capsys.readouterr().out == "images: numbered images\n"
        assert made.provenance() == {"images": "embedded", "tasks": ["mnist", "fashion"], "from": "numbered images"}
        assert made.hparams["source"] == "embedded"
        made.load_state_dict(made.state_dict())
        with pytest.raises(DataError, match="trained on images from 'folder', but now they are from 'embedded'"):
            made.load_state_dict({"images": "folder"})


def test_real_images_have_the_official_class_counts_in_every_layout(
    data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    made = MNISTFashionData(source="folder", folder=str(data_folder), batch_size=1000)
    _, labels = joined(epoch(made.val_dataloader()))
    mnist = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert labels[labels[:, 0] >= 0, 0].bincount().tolist() == mnist
    assert labels[labels[:, 1] >= 0, 1].bincount().tolist() == [0] * 10 + [1000] * 10
    assert made.provenance()["images"] == "folder"
