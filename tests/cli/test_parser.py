"""What a parser says, in one sentence."""

from pathlib import Path

import pytest

from llc_lightning.cli.files import faulty_file
from llc_lightning.cli.parser import sentence

KEYS = ["llc.gamma", "llc.when", "trainer.max_steps"]


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (
            "unrecognized arguments: --trainer.max_step=3 4",
            "unknown key 'trainer.max_step'; did you mean 'trainer.max_steps'? `fit --help` lists all keys.",
        ),
        ("unrecognized arguments: 4 5", "'4 5' is not understood here."),
        ("Subcommand 'fit' does not accept option 'x.y'", "unknown key 'x.y'; `fit --help` lists all keys."),
        (
            "Parser key \"llc.gamma\":\n  Expected a <class 'float'>. Got value: abc",
            "llc.gamma is abc; give a finite number.",
        ),
        (
            'Parser key "llc.gamma":\n  Does not validate against any of the Union subtypes\n  Subtypes: '
            "[<class 'float'>, <class 'NoneType'>]\n  Errors:\n    - Expected a <class 'float'>\n  Given value: abc",
            "llc.gamma is abc; give a finite number or null.",
        ),
        (
            "Parser key \"model\":\n  Problem with given class_path 'a.b.Net':\n    Option 'widht' is not accepted",
            "unknown key 'model.init_args.widht'; Net has no such argument.",
        ),
        (
            'Parser key "model":\n  Problem with given class_path \'a.b.Net\':\n    Parser key "width":\n      '
            "Expected a <class 'int'>. Got value: x",
            "model.init_args.width is x; give a whole number.",
        ),
        ("Parser key \"config\": File does not exist: 'a.yaml'", "config: File does not exist: 'a.yaml'."),
        ("something\n  else", "something else."),
    ],
)
def test_messages_become_sentences(message: str, said: str) -> None:
    assert sentence(message, KEYS) == said


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a: 1\nb: {c: 1, d: [{e: 1}]}\n", None),
        ("a: 1\na: 2\n", "gives the key 'a' twice; give it once."),
        ("b: {c: [{d: 1, d: 2}]}\n", "gives the key 'b.c.d' twice; give it once."),
        ("# nothing\n", "is empty; give at least one key."),
        ("a: [1\n", "is not YAML: line 2: "),
        ("data: {init_args: {seed: 1}}\n", "gives data.init_args.seed, which follows seed_everything; "),
        ("seed_everything: 1\ndata: {init_args: {seed: 1}}\n", None),
        ("model: Net\ndata: null\n", None),
    ],
)
def test_faults_of_files(tmp_path: Path, text: str, fault: str | None) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    found = faulty_file(path)
    assert found is None if fault is None else found is not None and found.startswith(f"{path} {fault}")


def test_a_missing_file_is_left_to_the_parser(tmp_path: Path) -> None:
    assert faulty_file(tmp_path / "none.yaml") is None
