"""Configurations by path or by name, from any folder."""

from pathlib import Path

import pytest

from llc_lightning.cli.files import files_of, folder, found, names, with_files
from llc_lightning.runtime.errors import SettingError


def test_names_are_the_files() -> None:
    assert {"cis", "smoke/cis", "overlays/at_end"} < set(names())
    assert all((folder() / f"{name}.yaml").is_file() for name in names())


@pytest.mark.parametrize("given", ["smoke/cis", "smoke/cis.yaml", "configs/smoke/cis", "configs/smoke/cis.yaml"])
def test_a_name_is_found_from_any_folder(given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert found(given) == folder() / "smoke" / "cis.yaml"


def test_a_file_of_ones_own_comes_before_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cis").write_text("experiment: mine\n")
    assert found("cis") == Path("cis")
    assert with_files(["fit", "-c", "cis", "--config=smoke/cis", "--x", "-1"]) == [
        *("fit", "-c", "cis", f"--config={folder() / 'smoke' / 'cis.yaml'}", "--x", "-1"),
    ]
    assert files_of(["fit", "-c", "cis", "--config=b"]) == [Path("cis"), Path("b")]


def test_what_is_not_there_is_told_with_the_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        SettingError, match=r"^unknown configuration 'smoke/cos'; did you mean 'smoke/cis'.*a YAML file"
    ):
        with_files(["fit", "-c", "smoke/cos"])
