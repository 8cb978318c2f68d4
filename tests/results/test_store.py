"""The table: idempotent parts, verified reading, readable neighbours of damaged parts."""

import re
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llc_lightning.results import files
from llc_lightning.results.schema import COLUMNS, arrow_schema, to_table
from llc_lightning.results.store import Store, part_name
from llc_lightning.runtime.errors import SettingError, StoreError
from tests.results.conftest import MakeRow

REMEDY = "delete it and measure that step again (analyze.py measure)"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "run=a")


def foreign(store: Store, part: str, table: pa.Table) -> Path:
    """Publishes a table that the store did not make."""
    return files.publish(store.run, f"measurements/{part}.parquet", lambda path: pq.write_table(table, path))


def test_what_was_written_is_read_sorted_by_key(store: Store, make_row: MakeRow) -> None:
    store.write(part_name(20, "llc"), [make_row(step=20, value=2.0), make_row(step=20, component="b", value=3.0)])
    store.write(part_name(3, "llc"), [make_row(step=3, value=1.0)])
    frame = store.read()
    assert tuple(frame.columns) == COLUMNS
    assert frame[["step", "component", "value"]].to_numpy().tolist() == [[3, "", 1.0], [20, "", 2.0], [20, "b", 3.0]]
    assert list(store.parts()) == ["step=00000003-llc", "step=00000020-llc"]


def test_one_part_is_read_alone(store: Store, make_row: MakeRow) -> None:
    store.write("a", [make_row(step=20, value=2.0)])
    path = store.write("b", [make_row(step=3, value=1.0)])
    assert store.read_part("b")[["step", "value"]].to_numpy().tolist() == [[3, 1.0]]
    with pytest.raises(StoreError, match=r"there is no file .*measurements/c\.parquet"):
        store.read_part("c")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StoreError, match=r"b\.parquet is damaged"):
        store.read_part("b")


def test_an_empty_store_has_the_columns(store: Store) -> None:
    frame = store.read()
    assert tuple(frame.columns) == COLUMNS
    assert len(frame) == 0
    assert frame["value"].dtype == float
    assert frame["step"].dtype == "int64"


def test_an_empty_part_may_be_written(store: Store) -> None:
    store.write("step=00000001-llc", [])
    assert len(store.read()) == 0


def test_equal_rows_give_equal_bytes(store: Store, make_row: MakeRow, tmp_path: Path) -> None:
    rows = [make_row(step=step, component=str(c), value=float(step * c)) for step in range(20) for c in range(20)]
    one = store.write("p", rows)
    other = Store(tmp_path / "elsewhere").write("q", rows[::-1])
    assert one.read_bytes() == other.read_bytes()


def test_measuring_again_overwrites_and_changes_nothing(store: Store, make_row: MakeRow) -> None:
    rows = [make_row(component=str(c)) for c in range(5)]
    store.write("p", rows)
    before = {path: path.read_bytes() for path in store.run.rglob("*") if path.is_file()}
    store.write("p", rows)
    assert {path: path.read_bytes() for path in store.run.rglob("*") if path.is_file()} == before
    assert len(store.read()) == 5


def test_a_part_is_replaced_whole(store: Store, make_row: MakeRow) -> None:
    store.write("p", [make_row(component="a"), make_row(component="b")])
    store.write("p", [make_row(component="b", value=9.0)])
    assert store.read()[["component", "value"]].to_numpy().tolist() == [["b", 9.0]]


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_of_equal_keys_the_one_written_last_counts(store: Store, make_row: MakeRow, order: tuple[str, str]) -> None:
    for value, part in enumerate(order):
        store.write(part, [make_row(value=float(value))])
    assert store.read()["value"].tolist() == [1.0]


def test_two_rows_with_one_key_in_a_part_are_refused(store: Store, make_row: MakeRow) -> None:
    with pytest.raises(SettingError, match=r"^two rows have the same key"):
        store.write("p", [make_row(), make_row()])
    assert not store.run.exists()


def test_a_part_cannot_leave_the_folder(store: Store, make_row: MakeRow) -> None:
    with pytest.raises(SettingError, match=r"^the part '\.\./x' cannot name a file"):
        store.write("../x", [make_row()])


def test_a_flipped_bit_is_found_and_the_others_stay_readable(store: Store, make_row: MakeRow) -> None:
    store.write("good", [make_row(step=1)])
    path = store.write("bad", [make_row(step=2)])
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    message = f"{path} is damaged: its SHA-256 is not the one in manifest.jsonl; {REMEDY}."
    with pytest.raises(StoreError) as caught:
        store.read()
    assert str(caught.value) == message
    with pytest.warns(UserWarning, match=f"^{re.escape(f'left out: {message}')}$"):
        frame = store.read(skip_corrupt=True)
    assert frame["step"].tolist() == [1]


def test_pages_carry_checksums_of_their_own(store: Store, make_row: MakeRow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llc_lightning.results.store.verify", lambda *args, **kwargs: None)
    path = store.write("p", [make_row(component=f"net.hook[{i}]") for i in range(50)])
    whole, frame = path.read_bytes(), store.read()
    outcomes = [outcome_of_a_flipped_bit(store, path, whole, at) for at in range(4, 400, 40)]
    told = [outcome for outcome in outcomes if isinstance(outcome, str)]
    assert len(told) >= 5
    assert all(re.fullmatch(f"{re.escape(str(path))} is damaged: .*; {re.escape(REMEDY)}\\.", text) for text in told)
    assert all(frame.equals(outcome) for outcome in outcomes if isinstance(outcome, pd.DataFrame))


def outcome_of_a_flipped_bit(store: Store, path: Path, whole: bytes, at: int) -> pd.DataFrame | str:
    """Returns what is read, or the message of the error."""
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    try:
        return store.read()
    except StoreError as error:
        return str(error)


def test_an_unlisted_part_is_not_trusted(store: Store, make_row: MakeRow) -> None:
    path = store.write("p", [make_row()])
    (store.run / files.MANIFEST).unlink()
    with pytest.raises(StoreError) as caught:
        store.read()
    assert str(caught.value) == (
        f"{path} is not listed in the manifest.jsonl of its run, so it cannot be verified; {REMEDY}."
    )


def test_a_newer_schema_is_refused(store: Store, make_row: MakeRow) -> None:
    table = to_table([make_row()]).replace_schema_metadata({"llc_lightning_schema": "4"})
    path = foreign(store, "p", table)
    with pytest.raises(StoreError) as caught:
        store.read()
    assert str(caught.value) == (
        f"{path} has schema version 4, and this llc_lightning reads versions up to 3; update llc_lightning."
    )


def test_another_table_is_refused(store: Store) -> None:
    path = foreign(store, "p", pa.table({"a": [1]}))
    with pytest.raises(StoreError) as caught:
        store.read()
    assert str(caught.value) == (f"{path} is no table of measurements (missing: {', '.join(COLUMNS)}); {REMEDY}.")


def test_further_columns_are_kept(store: Store, make_row: MakeRow) -> None:
    table = to_table([make_row(step=1)]).append_column("more", pa.array(["nats"]))
    foreign(store, "p", table)
    store.write("q", [make_row(step=2)])
    frame = store.read()
    assert tuple(frame.columns) == (*COLUMNS, "more")
    assert frame["more"].iloc[0] == "nats"
    assert pd.isna(frame["more"].iloc[1])


def test_a_disk_that_is_full(store: Store, make_row: MakeRow, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno
    import os

    store.write("p", [make_row(step=1)])

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(files, "_flush", full)
        with pytest.raises(StoreError) as caught:
            store.write("q", [make_row(step=2)])
    path = store.run / "measurements" / "q.parquet"
    assert str(caught.value) == (
        f"cannot write {path}: the disk is full; free some space and measure again, what was written before is "
        "complete."
    )
    assert store.read()["step"].tolist() == [1]
    assert list(store.parts()) == ["p"]


def test_scraps_of_a_killed_process_are_not_read(store: Store, make_row: MakeRow) -> None:
    store.write("p", [make_row()])
    (store.run / "measurements" / ".q.parquet.123.tmp").write_bytes(b"half")
    assert len(store.read()) == 1


def test_no_time_or_machine_is_in_the_file(store: Store, make_row: MakeRow) -> None:
    metadata = pq.ParquetFile(store.write("p", [make_row()])).metadata.metadata
    assert metadata is not None
    assert set(metadata) == {b"llc_lightning_schema", b"ARROW:schema"}
    assert arrow_schema().metadata == {b"llc_lightning_schema": b"3"}
