"""Text, character by character."""

import hashlib
import sysconfig
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from llc_lightning.data.hub import load_dataset
from llc_lightning.data.sequences.base import Sequences, SequenceTask, Split
from llc_lightning.data.sequences.ngrams import ngram_losses
from llc_lightning.runtime.errors import DataError, SettingError, at_least, one_line

STDLIB = "stdlib"
"""The source that is always there: the text of Python's own standard library."""
_STDLIB_CHARACTERS = 1_200_000
_PLAIN = frozenset(map(chr, range(32, 127))) | {"\n"}


@dataclass(frozen=True)
class Text(SequenceTask):
    """Windows of a text; at every character the next one is asked for.

    The last part of the text is validated on, and windows begin anywhere in the rest. The tokens are the characters
    that occur, in the order of their code points.

    Raises:
        SettingError: If a number is out of range.
        DataError: If the text is missing, cannot be read, or is too short.
    """

    trivial = "unigram"

    source: str = STDLIB
    """``stdlib``: the source text of Python's standard library, which needs no download (1.2 million characters, which
    ones depends on Python's version); or the path of a text file in UTF-8; or the name of a data set on the Hugging
    Face hub, with a column ``text``."""
    positions: int = 64
    """The length of a window."""
    validation_share: float = 0.1
    """The share of the text that is validated on."""

    def __post_init__(self) -> None:
        at_least(1, positions=self.positions)
        if not 0 < self.validation_share < 1:
            raise SettingError(f"validation_share is {self.validation_share}; give a number between 0 and 1.")
        shortest = min(len(self.part("train")), len(self.part("validation")))
        if shortest < self.positions + 2:
            raise DataError(
                f"the text of {self.source!r} has {len(self.text)} characters, too few for windows of {self.positions} "
                "in both of its parts; give a longer text, or lower positions."
            )

    @cached_property
    def text(self) -> str:
        """The whole text."""
        return read_text(self.source)

    @cached_property
    def characters(self) -> str:
        """The characters that occur; token ``i`` is the character at place ``i``."""
        return "".join(sorted(set(self.text)))

    @property
    def length(self) -> int:
        """The number of positions."""
        return self.positions

    @property
    def vocabulary(self) -> int:
        """The number of different characters."""
        return len(self.characters)

    @property
    def described(self) -> str:
        """Says what the text is."""
        where = "the source of Python's standard library" if self.source == STDLIB else self.source
        digest = hashlib.sha256(self.text.encode()).hexdigest()[:16]
        return f"{len(self.text)} characters, {self.vocabulary} different, of {where} (sha256 {digest})"

    @cached_property
    def tokens(self) -> Int64[Tensor, "character"]:
        """The whole text as tokens."""
        codes = np.frombuffer(self.text.encode("utf-32-le"), dtype=np.uint32)
        known = np.frombuffer(self.characters.encode("utf-32-le"), dtype=np.uint32)
        return torch.from_numpy(np.searchsorted(known, codes).astype(np.int64))  # pyright: ignore[reportUnknownMemberType]

    def part(self, split: Split) -> Int64[Tensor, "character"]:
        """Returns the text of a split."""
        n = len(self.tokens)
        last = round(n * self.validation_share)
        return self.tokens[: n - last] if split == "train" else self.tokens[n - last :]

    def sample(self, n: int, generator: torch.Generator, split: Split = "train") -> Sequences:
        """Draws ``n`` windows of a split."""
        part = self.part(split)
        start = torch.randint(len(part) - self.positions, (n, 1), generator=generator)
        windows = part[start + torch.arange(self.positions + 1)]
        return windows[:, :-1].contiguous(), windows[:, 1:].contiguous()

    def baselines(self, seed: int) -> dict[str, float]:
        """Returns the losses, on the validated part, of guessing by counts of the rest: uni-, bi- and trigrams."""
        return ngram_losses(self.part("train"), self.part("validation"), self.vocabulary)


def read_text(source: str) -> str:
    """Returns the text that a source names; :class:`Text` says which sources there are.

    Raises:
        DataError: If it cannot be had.
    """
    if source == STDLIB:
        return _standard_library()
    if not source.strip():
        raise DataError(
            f"the source of the text is empty; give the path of a text file, the name of a data set, "
            f"or {STDLIB!r}, which needs none."
        )
    path = Path(source).expanduser()
    if path.is_file():
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"cannot read {source} as text ({one_line(error)}); give a text file in UTF-8.") from error
    if path.suffix or source.startswith((".", "/", "~")):
        raise DataError(f"there is no file {source}; give the path of a text file, or {STDLIB!r}, which needs none.")
    return _from_hub(source)


def _standard_library() -> str:
    texts: list[str] = []
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        text = path.read_text(encoding="utf-8", errors="replace").expandtabs(4)
        texts.append("".join(filter(_PLAIN.__contains__, text)))
        if sum(map(len, texts)) >= _STDLIB_CHARACTERS:
            break
    return "".join(texts)[:_STDLIB_CHARACTERS]


def _from_hub(name: str) -> str:
    try:
        rows = load_dataset(name, instead=f"give the path of a text file, or {STDLIB!r}", split="train")
        return "\n".join(map(str, rows["text"]))
    except DataError:
        raise
    except Exception as error:  # the hub, the network and the data set raise what they like
        raise DataError(
            f"cannot load the data set {name!r} from the hub ({one_line(error)[:200]}); check its name, that it has a "
            f"column 'text', and the network, or give the path of a text file, or {STDLIB!r}, which needs none."
        ) from error
