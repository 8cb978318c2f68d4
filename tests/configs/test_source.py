"""The files of ``configs/`` are those that ``make configs`` writes, and every key of every file has its comment."""

import re
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from configs.source.__main__ import FOLDER, files, text_of
from configs.source.experiments import EXPERIMENTS, Experiment
from configs.source.families import CIS, Because
from llc_lightning.data.sequence_data import SequenceData

ROOT = FOLDER.parent
CONFIGS = sorted(FOLDER.rglob("*.yaml"))
OF_EXPERIMENTS = [path for path in CONFIGS if path.parent.name != "overlays"]
# Groups below one heading explain themselves.
GROUPS = {"class_path:", "init_args:"}


@pytest.fixture(scope="module")
def written() -> dict[Path, str]:
    return files()


def test_the_files_are_those_of_the_table(written: dict[Path, str]) -> None:
    assert written.keys() == set(OF_EXPERIMENTS)
    assert len(written) == 2 * len(EXPERIMENTS)


def test_every_configuration_has_a_smoke_variant() -> None:
    assert {path.name for path in FOLDER.glob("*.yaml")} == {path.name for path in FOLDER.glob("smoke/*.yaml")}


def test_the_files_are_up_to_date(written: dict[Path, str]) -> None:
    stale = [str(path.relative_to(ROOT)) for path, text in written.items() if path.read_text(encoding="utf-8") != text]
    assert not stale, "run `make configs`"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_key_of_every_configuration_has_a_comment(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    keys = [(number, line.strip()) for number, line in enumerate(lines) if re.match(r"\s*\w+:", line)]
    assert keys
    bare = [key for number, key in keys if not re.match(r"\s*# \S", lines[number - 1])]
    groups = GROUPS | ({"trainer:", "init_args:"} if path.parent.name == "overlays" else set())
    assert not [key for key in bare if f"{key.split(':')[0]}:" not in groups]
    classes = [number for number, key in keys if key.startswith("class_path:")]
    assert not [
        lines[number]
        for number in classes
        if not any(re.match(r"\s*# \S", lines[before]) for before in (number - 1, number - 2))
    ], "a class has a comment, or the key that it is given to"


def made(told: Any) -> Any:
    """Returns what a group of a configuration makes: an object of its class, made of objects."""
    if isinstance(told, list):
        return tuple(map(made, told))  # YAML has no tuples
    if not isinstance(told, dict) or "class_path" not in told:
        return told
    module, _, name = told["class_path"].rpartition(".")
    arguments = {key: made(value) for key, value in told.get("init_args", {}).items()}
    return getattr(import_module(module), name)(**arguments)


@pytest.mark.parametrize("group", ["model", "data"])
@pytest.mark.parametrize("path", OF_EXPERIMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_model_and_data_set_can_be_made(path: Path, group: str) -> None:
    assert made(yaml.safe_load(path.read_text(encoding="utf-8"))[group])


@pytest.mark.parametrize("path", OF_EXPERIMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_two_processes_have_something_to_validate_on(path: Path) -> None:
    data = made(yaml.safe_load(path.read_text(encoding="utf-8"))["data"])
    if isinstance(data, SequenceData):  # of whole batches, and each process takes some; the others have many
        data.trainer = SimpleNamespace(global_rank=1, world_size=2)
        assert len(data.val_dataloader())


def test_an_entry_is_all_that_an_experiment_needs() -> None:
    entry = Experiment(CIS, "Ours.", both={"model.width": Because(7, "it is odd")}, smoke={"llc.draws": 3})
    full, smoke = (text_of("ours", entry, smoke=small) for small in (False, True))
    assert full.startswith("# Ours. `python train.py fit -c configs/ours.yaml --print_config`")
    assert "    # The number of hidden neurons. Here: it is odd.\n    width: 7\n" in smoke
    told = yaml.safe_load(smoke)
    assert told["experiment"] == "smoke_ours"
    assert told["llc"]["draws"] == 3
    assert yaml.safe_load(full)["llc"]["draws"] == 100


@pytest.mark.parametrize("key", ["net.width", "model.widht"])
def test_a_key_that_does_not_exist_is_refused(key: str) -> None:
    with pytest.raises((KeyError, ValueError), match=key):
        text_of("ours", Experiment(CIS, "Ours.", both={key: 7}), smoke=True)
