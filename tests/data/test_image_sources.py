"""Where the images come from: the order of places, and one sentence for each that has none."""

import importlib
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from llc_lightning.data import hub as hub_module
from llc_lightning.data.image_sources import HUB, VARIABLE, from_folder, from_hub, load_images
from llc_lightning.runtime.errors import DataError, SettingError


@pytest.fixture(autouse=True)
def _no_folder_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


class Split:
    """What ``datasets`` gives for a split, as far as it is used."""

    def with_format(self, kind: str) -> dict[str, np.ndarray]:
        assert kind == "numpy"
        return {"image": np.full((3, 28, 28), 7, dtype=np.uint8), "label": np.array([2, 0, 1])}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A hub that answers; the names that were asked for."""
    asked: list[str] = []

    def load_dataset(name: str) -> dict[str, Split]:
        asked.append(name)
        if name == "nobody/nothing":
            raise FileNotFoundError("Dataset 'nobody/nothing' doesn't exist on the Hub or cannot be accessed.")
        return {"train": Split(), "test": Split()}

    found = SimpleNamespace(config=SimpleNamespace(HF_HUB_OFFLINE=True), load_dataset=load_dataset)
    monkeypatch.setattr(hub_module, "import_module", lambda name: found)
    return asked


def test_nothing_at_all_gives_the_drawn_tasks_and_says_so_and_why() -> None:
    found = load_images("auto")
    assert found.origin == "embedded"
    assert [task.name for task in found.tasks] == ["segments", "gratings"]
    assert found.told.startswith("two drawn tasks, segments and gratings, not MNIST and Fashion-MNIST, since ")
    assert "LLC_LIGHTNING_DATA names no folder" in found.told
    assert "the Hugging Face hub gives no images with labels under 'ylecun/mnist'" in found.told


def test_a_folder_comes_first_and_the_variable_names_it(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(data_folder))
    found = load_images("auto")
    assert (found.origin, [task.name for task in found.tasks]) == ("folder", ["mnist", "fashion"])
    assert [len(task.train) for task in found.tasks] == [60_000, 60_000]
    assert str(data_folder) in found.told


def test_a_variable_that_names_a_folder_of_other_data_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hub: list[str]
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert load_images("auto").origin == "hub"


def test_the_hub_comes_second(hub: list[str]) -> None:
    found = load_images("auto")
    assert found.origin == "hub"
    assert hub == list(HUB)
    assert [task.name for task in found.tasks] == ["mnist", "fashion"]
    assert found.tasks[0].train.images.shape == (3, 28, 28)
    assert found.tasks[1].test.labels.tolist() == [2, 0, 1]


@pytest.mark.parametrize("source", ["auto", "folder"])
def test_a_named_folder_that_is_missing_is_an_error(source: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no folder .*/none; name one that holds the folders mnist and fash"):
        load_images(source, folder=str(tmp_path / "none"))


def test_a_folder_without_one_of_the_sets_or_one_of_the_files_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "mnist").mkdir()
    with pytest.raises(DataError, match=r"there is no folder .*/fashion_mnist; name one"):
        from_folder(str(tmp_path))
    (tmp_path / "fashion_mnist").mkdir()
    with pytest.raises(DataError, match=r"there is no file .*/mnist/train-images-idx3-ubyte\.gz"):
        load_images("auto", folder=str(tmp_path))


def test_no_folder_at_all_is_an_error_that_names_both_ways_to_give_one() -> None:
    with pytest.raises(DataError, match="no folder of images is named; set folder or LLC_LIGHTNING_DATA to one"):
        load_images("folder")


def test_an_unknown_source_is_refused() -> None:
    with pytest.raises(SettingError, match="unknown source of images 'hbu'; did you mean 'hub'"):
        load_images("hbu")


def test_a_name_that_the_hub_does_not_have_is_told_with_names_that_it_has(hub: list[str]) -> None:
    with pytest.raises(DataError, match=r"under 'nobody/nothing' \(.*doesn't exist.*\); give names such as ylecun/mn"):
        from_hub(["ylecun/mnist", "nobody/nothing"])
    with pytest.raises(SettingError, match="hub has 1 names; give two"):
        from_hub(["ylecun/mnist"])


def test_a_hub_out_of_reach_is_told_at_once_and_with_the_remedies(monkeypatch: pytest.MonkeyPatch) -> None:
    config: Any = importlib.import_module("datasets").config
    monkeypatch.setattr(config, "HF_HUB_OFFLINE", False)
    with pytest.raises(DataError, match=r"the Hugging Face hub cannot be reached \(.*network.*\); connect to it, set"):
        from_hub()


def test_a_hub_that_answers_with_an_error_is_within_reach(monkeypatch: pytest.MonkeyPatch, hub: list[str]) -> None:
    def refuse(request: urllib.request.Request, timeout: float) -> None:
        raise urllib.error.HTTPError(request.full_url, 405, "no HEAD", None, None)

    config = SimpleNamespace(HF_HUB_OFFLINE=False, HF_ENDPOINT="https://example.org")
    found = hub_module.import_module("datasets")
    monkeypatch.setattr(found, "config", config)
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    assert from_hub().origin == "hub"


def test_an_address_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    config: Any = importlib.import_module("datasets").config
    monkeypatch.setattr(config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(config, "HF_ENDPOINT", "no address")
    with pytest.raises(DataError, match=r"cannot be reached \(no address: .*unknown url type"):
        from_hub()


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"image": np.zeros((3, 32, 32), dtype=np.uint8)}, r"images of \(32, 32\) as torch.uint8, not of \(28, 28\)"),
        ({"image": np.zeros((3, 28, 28, 3), dtype=np.uint8)}, r"images of \(28, 28, 3\)"),
        ({"image": np.zeros((3, 28, 28), dtype=np.float32)}, r"images of \(28, 28\) as torch.float32"),
        ({"label": np.array([2, 0, 10])}, "labels other than the numbers from 0 to 9"),
    ],
)
def test_other_images_of_the_hub_are_refused(
    hub: list[str], monkeypatch: pytest.MonkeyPatch, columns: dict[str, np.ndarray], told: str
) -> None:
    good = Split().with_format("numpy")
    monkeypatch.setattr(Split, "with_format", lambda self, kind: good | columns)
    with pytest.raises(DataError, match=rf"gives no images with labels under 'ylecun/mnist' \({told}"):
        from_hub()
