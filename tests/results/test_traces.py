"""Traces come back as xarray, with the dimensions that ArviZ knows, and equal traces give equal files."""

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from arviz_stats.base import array_stats

from llc_lightning.results.traces import Trace, estimates, list_traces, read_trace, write_trace
from llc_lightning.runtime.errors import SettingError, StoreError

REMEDY = "delete it and measure that step again (analyze.py measure)"


def make_trace(component: str = "", *, chains: int = 4, draws: int = 50, seed: int = 0, n_beta: float = 100.0) -> Trace:
    loss = torch.randn(chains, draws, generator=torch.Generator().manual_seed(seed))
    return Trace(component, n_beta, 10.0, excess=loss - 0.5, loss=loss, settings="ab", status="not-mixed")


@pytest.fixture
def traces() -> list[Trace]:
    return [
        make_trace("net.hook_hidden[7]", seed=1),
        make_trace("", chains=8, draws=20, seed=2, n_beta=1e4),
        make_trace("net.hook_hidden[12]", seed=3),
    ]


def test_there_and_back_again(tmp_path: Path, traces: list[Trace]) -> None:
    path = write_trace(tmp_path, "step=00000500-llc", traces, run="cis/version_0", step=500, sampler="sgld")
    assert path == tmp_path / "traces" / "step=00000500-llc.zarr.zip"
    tree = read_trace(path)
    assert tree.attrs == {"run": "cis/version_0", "step": 500, "sampler": "sgld"}
    assert list(tree.children) == ["posterior", "posterior_2"]
    assert dict(tree["posterior"].sizes) == {"estimate": 2, "chain": 4, "draw": 50}
    assert dict(tree["posterior_2"].sizes) == {"estimate": 1, "chain": 8, "draw": 20}
    back = sorted(estimates(tree), key=lambda estimate: estimate["component"].item())
    for estimate, trace in zip(back, sorted(traces, key=lambda trace: trace.component), strict=True):
        assert estimate["loss"].dims == ("chain", "draw")
        assert np.array_equal(estimate["loss"].values, trace.loss.numpy())
        assert np.array_equal(estimate["excess"].values, trace.excess.numpy())
        for name in ("component", "n_beta", "gamma", "replicate", "settings", "status"):
            assert estimate[name].item() == getattr(trace, name)


def test_zeros_and_nans_survive(tmp_path: Path) -> None:
    loss = torch.zeros(2, 3, dtype=torch.float64)
    loss[1, 2] = float("nan")
    trace = Trace("", 0.0, 0.0, excess=loss, loss=loss + 1)
    (back,) = estimates(read_trace(write_trace(tmp_path, "p", [trace], run="r", step=0)))
    assert back["excess"].dtype == np.float64
    assert np.array_equal(back["excess"].values, loss.numpy(), equal_nan=True)
    assert back["n_beta"].item() == 0.0
    assert back["replicate"].item() == 0
    assert back["replicate"].dtype == np.int64
    assert back["chain"].values.tolist() == [0, 1]


def test_arviz_judges_what_was_read(tmp_path: Path, traces: list[Trace]) -> None:
    tree = read_trace(write_trace(tmp_path, "p", traces, run="r", step=0))
    loss = tree["posterior"]["loss"]
    assert isinstance(loss, xr.DataArray)
    axes = {"chain_axis": loss.get_axis_num("chain"), "draw_axis": loss.get_axis_num("draw")}
    rhat, ess = array_stats.rhat(loss.values, **axes), array_stats.ess(loss.values, **axes)
    assert rhat.shape == ess.shape == (loss.sizes["estimate"],)
    assert np.all(np.abs(rhat - 1) < 0.1)
    assert np.all((ess > 50) & (ess < 1000))
    frozen = [
        Trace(
            "",
            1.0,
            1.0,
            excess=torch.ones(4, 1) * torch.arange(4.0)[:, None] + torch.rand(4, 30) / 99,
            loss=torch.ones(4, 30),
        )
    ]
    stuck = read_trace(write_trace(tmp_path, "q", frozen, run="r", step=0))["posterior"]["excess"]
    assert array_stats.rhat(stuck.values, chain_axis=1, draw_axis=2).item() > 2


def test_equal_traces_give_equal_bytes(tmp_path: Path, traces: list[Trace], monkeypatch: pytest.MonkeyPatch) -> None:
    one = write_trace(tmp_path, "p", traces, run="r", step=0)
    monkeypatch.setattr("time.time", lambda: 1e9)
    other = write_trace(tmp_path, "q", traces, run="r", step=0)
    assert one.read_bytes() == other.read_bytes()


def test_read_from_text_and_listed_by_part(tmp_path: Path, traces: list[Trace]) -> None:
    path = write_trace(tmp_path, "p", traces, run="r", step=0)
    assert list_traces(tmp_path) == {"p": path}
    assert read_trace(str(path)).attrs["run"] == "r"


def test_damage_is_found(tmp_path: Path, traces: list[Trace]) -> None:
    path = write_trace(tmp_path, "p", traces, run="r", step=0)
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    with pytest.raises(StoreError) as caught:
        read_trace(path)
    assert str(caught.value) == f"{path} is damaged: its SHA-256 is not the one in manifest.jsonl; {REMEDY}."


def test_something_else_is_refused(tmp_path: Path) -> None:
    from llc_lightning.results.files import publish

    path = publish(tmp_path, "traces/p.zarr.zip", lambda path: path.write_text("text"))
    with pytest.raises(StoreError) as caught:
        read_trace(path)
    assert str(caught.value) == f"{path} is no file of traces: File is not a zip file; {REMEDY}."


def test_nothing_to_write(tmp_path: Path) -> None:
    with pytest.raises(SettingError) as caught:
        write_trace(tmp_path, "p", [], run="r", step=0)
    assert str(caught.value) == "the part 'p' has no trace; give at least one, or do not write it."


def test_a_trace_without_draws_is_refused() -> None:
    with pytest.raises(SettingError) as caught:
        Trace("", 1.0, 1.0, excess=torch.zeros(4, 0), loss=torch.zeros(4, 0))
    assert str(caught.value) == (
        "a trace has excess losses of shape (4, 0) and losses of shape (4, 0); give both the same shape "
        "(chains, draws), neither 0."
    )
