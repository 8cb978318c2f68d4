"""Where there is no GPU, what needs one says so."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import gpu

_ROOT = Path(__file__).parents[2]


def test_the_benchmark_prints_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main([]) == 0
    (line,) = capsys.readouterr().out.split("\n", 1)[1].splitlines()
    assert line.startswith("no GPU at hand: nothing is timed")


def test_tests_are_skipped() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-m", "gpu", "-p", "no:cacheprovider", "tests/gpu"]
    done = subprocess.run(
        command, cwd=_ROOT, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""}, text=True, capture_output=True, check=True
    )
    assert "no GPU at hand" in done.stdout
    assert " skipped" in done.stdout
    assert " passed" not in done.stdout
