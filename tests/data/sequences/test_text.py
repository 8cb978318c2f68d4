"""Text: where it comes from, its windows, and what is said when it cannot be had."""

import math
import time
from pathlib import Path

import pytest
import torch

from llc_lightning.data.sequence_data import SequenceData
from llc_lightning.data.sequences.ngrams import ngram_losses
from llc_lightning.data.sequences.text import Text
from llc_lightning.runtime.errors import DataError, SettingError

WORDS = "the quick brown fox jumps over the lazy dog\n" * 40


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "words.txt"
    path.write_text(WORDS + "é", encoding="utf-8")
    return path


def test_tokens_are_the_characters_and_windows_lie_in_their_part(file: Path) -> None:
    task = Text(str(file), positions=8, validation_share=0.25)
    text = WORDS + "é"
    assert "".join(task.characters[token] for token in task.tokens.tolist()) == text
    assert (task.vocabulary, task.characters[0], task.characters[-1]) == (len(set(text)), "\n", "é")
    parts = {split: "".join(task.characters[i] for i in task.part(split).tolist()) for split in ("train", "validation")}
    assert parts["train"] + parts["validation"] == text
    for split, part in parts.items():
        inputs, targets = task.sample(50, torch.Generator().manual_seed(0), split)
        assert torch.equal(inputs[:, 1:], targets[:, :-1])
        for row, last in zip(inputs.tolist(), targets[:, -1].tolist(), strict=True):
            assert "".join(task.characters[i] for i in [*row, last]) in part


def test_the_standard_library_is_there_within_seconds_and_says_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    start = time.process_time()
    task = Text()
    assert time.process_time() - start < 5
    assert len(task.text) == 1_200_000
    assert task.vocabulary <= 96
    assert "def " in task.text
    SequenceData(task).setup("fit")
    said = capsys.readouterr().out
    assert said.startswith("data: 1200000 characters, ")
    assert "of the source of Python's standard library (sha256 " in said


def test_shakespeare_has_its_65_characters(data_folder: Path) -> None:
    task = Text(str(data_folder / "text" / "tinyshakespeare.txt"))
    assert (len(task.text), task.vocabulary) == (1_115_394, 65)
    losses = task.baselines(0)
    assert losses["unigram"] == pytest.approx(3.35, abs=0.02)
    assert losses["bigram"] == pytest.approx(2.48, abs=0.02)
    assert losses["trigram"] < losses["bigram"]


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("/nowhere/text.txt", "there is no file /nowhere/text.txt; give the path of a text file, or 'stdlib'"),
        ("missing.txt", "there is no file missing.txt"),
        (" ", "the source of the text is empty; give the path of a text file"),
        ("nobody/no-such-data-set", "cannot load the data set 'nobody/no-such-data-set' from the hub "),
    ],
)
def test_a_text_that_cannot_be_had_is_one_sentence_with_the_remedy(source: str, says: str) -> None:
    with pytest.raises(DataError, match=says) as caught:
        Text(source)
    assert "or 'stdlib', which needs none." in str(caught.value)
    assert "\n" not in str(caught.value)


def test_refuses_what_is_no_text_or_too_short(tmp_path: Path, file: Path) -> None:
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(DataError, match=r"cannot read .*bytes\.txt as text .*; give a text file in UTF-8"):
        Text(str(tmp_path / "bytes.txt"))
    with pytest.raises(DataError, match="has 1761 characters, too few for windows of 400"):
        Text(str(file), positions=400)
    with pytest.raises(SettingError, match=r"validation_share is 1\.0"):
        Text(str(file), validation_share=1.0)


def test_ngrams_are_the_smoothed_conditional_frequencies() -> None:
    counted, told = torch.randint(0, 3, (200,)), torch.randint(0, 3, (40,))
    losses = ngram_losses(counted, told, 3)
    rows, marks = counted.tolist(), told.tolist()
    for order, name in enumerate(("unigram", "bigram", "trigram"), start=1):
        grams = [tuple(rows[i : i + order]) for i in range(len(rows) - order + 1)]
        logs: list[float] = []
        for i in range(len(marks) - order + 1):
            gram = tuple(marks[i : i + order])
            alike = sum(other[:-1] == gram[:-1] for other in grams)
            logs.append(math.log((grams.count(gram) + 0.1) / (alike + 0.3)))
        assert losses[name] == pytest.approx(-sum(logs) / len(logs))
    assert set(ngram_losses(counted, told, 1000)) == {"unigram", "bigram"}
