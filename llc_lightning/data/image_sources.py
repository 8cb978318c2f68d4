"""Where the images of two tasks are taken from: a folder, the Hugging Face hub, or drawn here."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from llc_lightning.data.drawn import drawn_tasks
from llc_lightning.data.hub import load_dataset
from llc_lightning.data.idx import read_official
from llc_lightning.data.image_sets import CLASSES, SIZE, ImagePair, ImageSet, ImageTask
from llc_lightning.runtime.errors import DataError, SettingError, one_line, unknown

SOURCES = ("auto", "folder", "hub", "embedded")
VARIABLE = "LLC_LIGHTNING_DATA"
"""The environment variable that names the folder of data sets."""
HUB = ("ylecun/mnist", "zalando-datasets/fashion_mnist")
"""The data sets on the Hugging Face hub."""

_FOLDERS = {"mnist": "mnist", "fashion": "fashion_mnist"}


def load_images(source: str = "auto", *, folder: str | None = None, hub: Sequence[str] = HUB) -> ImagePair:
    """Returns the images of MNIST and Fashion-MNIST, or of two drawn tasks that stand in for them.

    Args:
        source: ``folder``: the official idx files. ``hub``: by the library ``datasets``, which keeps them in its cache.
            ``embedded``: two drawn tasks, see :mod:`llc_lightning.data.drawn`. ``auto``: the first of the three that
            there is. A folder that is named but incomplete or damaged is an error, never passed over.
        folder: The folder with the folders ``mnist`` and ``fashion_mnist``; by default the one that the environment
            variable LLC_LIGHTNING_DATA names.
        hub: Names on the hub, of MNIST and of Fashion-MNIST.

    Raises:
        SettingError: If the source is unknown, or there are not two names.
        DataError: If the images cannot be had from there.
    """
    if source not in SOURCES:
        raise SettingError(unknown("source of images", source, SOURCES))
    if source == "folder":
        return from_folder(folder)
    if source == "hub":
        return from_hub(hub)
    if source == "embedded":
        return embedded()
    if folder is not None or _is_meant(os.environ.get(VARIABLE, "")):
        return from_folder(folder)
    try:
        return from_hub(hub)
    except DataError as error:
        reason = one_line(error).partition(";")[0]
        return embedded(f", since {VARIABLE} names no folder with the official files and {reason}")


def from_folder(folder: str | None = None) -> ImagePair:
    """Returns the images in the official idx files of a folder, each checked against its sha256.

    Raises:
        DataError: If the folder is not named or not there, or a file is missing, truncated or altered.
    """
    given = folder or os.environ.get(VARIABLE, "")
    wanted = "the folders mnist and fashion_mnist with the four official files each"
    if not given:
        raise DataError(f"no folder of images is named; set folder or {VARIABLE} to one that holds {wanted}.")
    named = Path(given).expanduser()
    for name in ("", *_FOLDERS.values()):
        if not Path(named, name).is_dir():
            raise DataError(f"there is no folder {Path(named, name)}; name one that holds {wanted}.")
    first, second = (_official(task, Path(named, name), name) for task, name in _FOLDERS.items())
    return ImagePair((first, second), "folder", f"MNIST and Fashion-MNIST from {named}, official by their sha256")


def from_hub(names: Sequence[str] = HUB) -> ImagePair:
    """Returns the images of two data sets of the Hugging Face hub, with the splits ``train`` and ``test``.

    Raises:
        SettingError: If there are not two names.
        DataError: If the hub cannot be reached, or has no such images under a name.
    """
    if len(names) != len(_FOLDERS):
        raise SettingError(f"hub has {len(names)} names; give two, such as {' and '.join(HUB)}.")
    first, second = (_downloaded(task, name) for task, name in zip(_FOLDERS, names, strict=True))
    return ImagePair((first, second), "hub", f"{names[0]} and {names[1]} from the Hugging Face hub")


def embedded(why: str = "") -> ImagePair:
    """Returns two drawn tasks, which need no file and no network.

    Args:
        why: Why they are taken, as the end of a sentence.
    """
    first, second = drawn_tasks()
    told = f"two drawn tasks, {first.name} and {second.name}, not MNIST and Fashion-MNIST{why}"
    return ImagePair((first, second), "embedded", told)


def _is_meant(named: str) -> bool:
    """Says whether images are to be had from a folder: not from one that is there and holds other data alone."""
    return bool(named) and (not Path(named).is_dir() or any(Path(named, name).is_dir() for name in _FOLDERS.values()))


def _official(task: str, folder: Path, name: str) -> ImageTask:
    read = read_official(folder, name)
    train, test = (ImageSet(read[f"{part} images"], read[f"{part} labels"].long()) for part in ("train", "test"))
    return ImageTask(task, train, test)


def _downloaded(task: str, name: str) -> ImageTask:
    try:
        found = load_dataset(name, instead="take source folder or embedded")
        train, test = (_image_set(found[part]) for part in ("train", "test"))
    except DataError:
        raise
    except Exception as error:  # the hub and what lies there fail in many ways
        raise DataError(
            f"the Hugging Face hub gives no images with labels under {name!r} ({one_line(error)}); give names such as "
            f"{' and '.join(HUB)}, or take source folder or embedded."
        ) from error
    return ImageTask(task, train, test)


def _image_set(split: Any) -> ImageSet:
    columns = split.with_format("numpy")
    images, labels = torch.as_tensor(columns["image"][:]), torch.as_tensor(columns["label"][:])
    if images.shape[1:] != (SIZE, SIZE) or images.is_floating_point():
        raise ValueError(f"images of {tuple(images.shape[1:])} as {images.dtype}, not of ({SIZE}, {SIZE}) as integers")
    if labels.is_floating_point() or not bool(((labels >= 0) & (labels < CLASSES)).all()):
        raise ValueError(f"labels other than the numbers from 0 to {CLASSES - 1}")
    return ImageSet(images.to(torch.uint8), labels.long())
