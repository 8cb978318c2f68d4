"""Progress that nobody sees."""

import pytest

from llc_lightning.runtime.progress import NoProgress, Progress


def test_nothing_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    progress: Progress = NoProgress()
    with progress.task("chains", total=4) as advance:
        advance()
        advance(3, note="done")
    assert capsys.readouterr() == ("", "")


def test_errors_come_through() -> None:
    with pytest.raises(KeyError), NoProgress().task("chains", total=1):
        raise KeyError("inside")
