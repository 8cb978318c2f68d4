"""Keys that are known without an import: exactly those of the parser."""

from pathlib import Path

import pytest

from llc_lightning.callbacks.last import LastCheckpoint
from llc_lightning.cli.keys import add_keys
from llc_lightning.cli.known import arguments, arguments_of, check_keys
from llc_lightning.cli.parser import Parser
from llc_lightning.runtime.errors import SettingError


def test_they_are_those_of_the_parser() -> None:
    import lightning as L

    parser = Parser()
    add_keys(parser)
    parser.add_lightning_class_args(LastCheckpoint, "last")
    parser.add_lightning_class_args(L.Trainer, "trainer")
    keys = {key for key in list(parser.get_defaults(skip_validation=True).keys()) if "." in key}
    assert {f"{group}.{name}" for group, names in arguments().items() for name in names} == keys


OWN = """raise SystemExit("it is read, not run")
class Net:
    def __init__(self, width, depth=2): ...
class Data:
    def __init__(self, *, size=3): ...
class Open(Net):
    def __init__(self, **more): ...
class Heir(Net): ...
"""


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--llc.gama", "3"], "unknown key 'llc.gama'; did you mean 'llc.gamma'"),
        (["--trainer.max_step=3"], "unknown key 'trainer.max_step'; did you mean 'trainer.max_steps'"),
        (["-c", "a.yaml"], "unknown key 'ablation.method'; did you mean 'ablation.methods'"),
        (["-c", "b.yaml"], "unknown key 'model.init_args.widht'; Net has no such argument. Its arguments: depth, "),
        (["--data=mine.Data", "--data.init_args.sizes", "3"], "unknown key 'data.init_args.sizes'; Data has no such "),
    ],
)
def test_an_unknown_one_is_told(
    words: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.yaml").write_text("model: {x: 1}\nablation: {when: null, method: [zero]}\n")
    Path("b.yaml").write_text("model: {class_path: mine.Net, init_args: {widht: 3}}\n")
    monkeypatch.syspath_prepend(tmp_path)
    Path("mine.py").write_text(OWN)
    with pytest.raises(SettingError) as caught:
        check_keys(["fit", *words])
    assert str(caught.value).startswith(sentence)


def test_a_list_may_be_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / "more.yaml").write_text("ablation: {methods+: [zero]}\nllc+: {n_beta: 3}\n")
    check_keys([f"--config={tmp_path / 'more.yaml'}", "--ablation.methods+", "zero"])


def test_what_it_cannot_know_is_left_to_the_parser() -> None:
    check_keys(
        ["fit", "--model.init_args.widht", "3", "--llc.when.init_args.m", "3", "--lcl.gamma", "--llc.components+"]
    )


def test_what_a_class_leaves_open_is_left_to_the_parser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "theirs.py").write_text(OWN)
    assert arguments_of("theirs.Net") == {"width", "depth"}
    for name in ("theirs.Open", "theirs.Heir", "theirs.None", "no_such.Net", "no.such.Net"):
        check_keys(["fit", "--model", name, "--model.init_args.widht", "3"])
    check_keys(["fit", "--model", "theirs.Net", "--model.class_path=theirs.Data", "--model.init_args.widht", "3"])
