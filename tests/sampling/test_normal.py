"""Noise: the same numbers as torch draws, from compiled code and without it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from llc_lightning.sampling import normal
from llc_lightning.sampling.normal import NormalStreams, compiled

SIZES = (5, 3, 16, 17, 1, 700, 20_000, 7, 624, 40, 4096, 15)


def drawn(seeds: list[int], dtype: torch.dtype = torch.float32, rounds: int = 3) -> list[Tensor]:
    rows = [[torch.empty(size, dtype=dtype) for size in SIZES] for _ in seeds]
    streams = NormalStreams(seeds, rows)
    found: list[Tensor] = []
    for _ in range(rounds):
        streams.fill()
        found += [row.clone() for of_one in rows for row in of_one]
    return found


def literal(seeds: list[int], dtype: torch.dtype = torch.float32, rounds: int = 3) -> list[Tensor]:
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    return [
        torch.empty(size, dtype=dtype).normal_(generator=generator)
        for _ in range(rounds)
        for generator in generators
        for size in SIZES
    ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("seeds", [[0], [1], [2**62 + 12345], [7, 0, 2**63]])
def test_equals_torch_bit_by_bit(seeds: list[int], dtype: torch.dtype) -> None:
    for found, expected in zip(drawn(seeds, dtype), literal(seeds, dtype), strict=True):
        assert torch.equal(found, expected)


def test_compiled_code_is_in_use_where_there_is_a_compiler() -> None:
    assert sys.platform != "linux" or compiled() is not None


@pytest.mark.parametrize("broken", ["no compiler", "does not compile", "another number", "switched off"])
def test_falls_back_on_torch(broken: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    source = normal._SOURCE.read_text()
    if broken == "no compiler":
        monkeypatch.setenv("PATH", str(tmp_path))
    elif broken == "does not compile":
        source = "this is not C"
    elif broken == "another number":
        source = source.replace("0x9908b0dfu", "0x9908b0deu")
    else:
        monkeypatch.setenv(normal.SWITCH, "0")
    changed = tmp_path / "normal.c"
    changed.write_text(source)
    monkeypatch.setattr(normal, "_SOURCE", changed)
    compiled.cache_clear()
    try:
        assert compiled() is None
        assert all(map(torch.equal, drawn([3, 4]), literal([3, 4])))
    finally:
        compiled.cache_clear()


def test_compiles_once_for_all_processes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if compiled() is None:
        pytest.skip("there is no C compiler")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    code = "from llc_lightning.sampling.normal import _built; print(_built().stat().st_mtime_ns)"
    made = [subprocess.check_output([sys.executable, "-c", code], text=True) for _ in range(2)]
    assert made[0] == made[1]
    assert [path.suffix for path in (tmp_path / "llc_lightning").iterdir()] == [".so"]
