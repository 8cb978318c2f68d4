"""What the documents say can be done: the commands, paths and names in them exist."""

import ast
import re
import shlex
from pathlib import Path

import pytest

import llc_lightning
import llc_lightning.ablation
import llc_lightning.circuits

ROOT = Path(__file__).parents[2]
DOCUMENTS = ["README.md", "CONTRIBUTING.md", *sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/**/*.md"))]
# Written by a run, by make or `llc-lightning init`, or a reader's own, so not in a checkout.
MADE = re.compile(
    r"checkpoints/|\.venv|\.peers|measurements/|traces/|posterior/|abandoned/|left_out/|timings/|snapshots/|report\.html"
    r"|^config\.yaml|^mine\.py|^my_model\.py"
)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
PUBLIC = {
    "llc_lightning": set(llc_lightning.__all__),
    "llc_lightning.ablation": set(llc_lightning.ablation.__all__),
    "llc_lightning.circuits": set(llc_lightning.circuits.__all__),
    "llc_lightning.models.bridge": {"from_transformer_lens", "to_transformer_lens"},
    "llc_lightning.models.hooked_weights": {"from_hooked_transformer"},
    "llc_lightning.models.transformer_net": {"Transformer"},
    "llc_lightning.models.transformer_shape": {"TransformerShape"},
}
PATH = re.compile(r"(?<![\w/.-])(?:[\w.-]+/)+[\w.-]*|(?<![\w/.-])[\w-]+\.(?:py|md|yaml|toml)\b")


def text_of(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def commands_of(document: str) -> list[str]:
    """Lists what a reader is told to type: lines of bash blocks and whole code spans that begin with a program."""
    text = text_of(document)
    lines = [line for language, block in FENCE.findall(text) if language == "bash" for line in block.splitlines()]
    spans = CODE.findall(FENCE.sub("", text))
    return [line for line in [*lines, *spans] if line.startswith(("make ", "python ", "bash "))]


def snippets() -> list[str]:
    return [
        block for document in DOCUMENTS for language, block in FENCE.findall(text_of(document)) if language == "python"
    ]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_that_is_named_exists(document: str) -> None:
    text = text_of(document)
    places = [*CODE.findall(FENCE.sub("", text)), *commands_of(document), *re.findall(r"\]\(([^)#]+)\)", text)]
    named = {path for place in places for path in PATH.findall(place) if not MADE.search(path) and "<" not in place}
    assert named, "the pattern for paths finds none"
    homes = [(ROOT / document).parent, ROOT, ROOT / "llc_lightning", ROOT / "configs"]
    assert not sorted(path for path in named if not any((home / path).exists() for home in homes))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_make_target_that_is_named_exists(document: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", text_of("Makefile"), re.MULTILINE))
    named = {command.split()[1] for command in commands_of(document) if command.startswith("make ")}
    assert named <= targets
    assert named or document != "README.md", "the pattern for targets finds none"


@pytest.mark.parametrize("command", sorted({line for document in DOCUMENTS for line in commands_of(document)}))
def test_every_command_can_be_read_by_a_shell(command: str) -> None:
    assert len(shlex.split(command, comments=True)) >= 2


@pytest.mark.parametrize("snippet", snippets())
def test_every_snippet_compiles_and_uses_public_names(snippet: str) -> None:
    tree = ast.parse(snippet)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("llc_lightning"):
            assert node.module in PUBLIC, "readers are shown the public face"
            assert {alias.name for alias in node.names} <= PUBLIC[node.module]


def test_pictures_are_there() -> None:
    homes = {document: (ROOT / document).parent for document in DOCUMENTS}
    pictures = [homes[one] / path for one in DOCUMENTS for path in re.findall(r"!\[[^]]*\]\(([^)]+)\)", text_of(one))]
    assert not [path for path in pictures if not path.is_file()]


def test_the_version_has_a_place_in_the_changelog() -> None:
    assert "## [Unreleased]" in text_of("CHANGELOG.md")
