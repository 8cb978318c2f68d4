"""Rows, keys, encodings and hashes of the measurement table."""

import json
import math

import numpy as np
import pyarrow as pa
import pytest

from llc_lightning.results.schema import (
    COLUMNS,
    KEY,
    SCHEMA_VERSION,
    Row,
    arrow_schema,
    decode_details,
    encode_details,
    settings_hash,
    to_table,
)
from llc_lightning.runtime.errors import SettingError
from tests.results.conftest import MakeRow

READERS_RELY_ON = (
    "run seed step epoch quantity value stderr unit status component kind method loss params_moved settings replicate "
    "chains draws rhat ess n_beta gamma step_size n_examples details revision weights schema_version"
)


def test_columns_are_those_that_readers_rely_on() -> None:
    assert " ".join(COLUMNS) == READERS_RELY_ON
    assert set(KEY) <= set(COLUMNS)
    assert tuple(arrow_schema().names) == COLUMNS


def test_nothing_is_null_by_default(make_row: MakeRow) -> None:
    row = make_row()
    assert (row.component, row.method, row.loss, row.settings, row.status) == ("", "", "train", "", "ok")
    assert (row.chains, row.draws, row.n_examples, row.details) == (0, 0, 0, "{}")
    assert all(math.isnan(value) for value in (row.stderr, row.rhat, row.ess, row.n_beta, row.gamma, row.step_size))
    assert row.schema_version == SCHEMA_VERSION
    assert not any(field.nullable for field in arrow_schema())


def test_key_picks_its_columns(make_row: MakeRow) -> None:
    row = make_row(component="net.hook_hidden[7]", method="zero", settings="ab")
    assert row.key == ("cis/version_0", 500, "llc", "net.hook_hidden[7]", "zero", "train", "all", "raw", 1, "ab")


def test_table_is_sorted_and_does_not_depend_on_the_order(make_row: MakeRow) -> None:
    rows = [make_row(step=step, component=component) for step in (3, 1, 2) for component in ("b", "a")]
    table = to_table(rows)
    assert table.to_pandas().equals(to_table(rows[::-1]).to_pandas())
    assert table["step"].to_pylist() == [1, 1, 2, 2, 3, 3]
    assert table["component"].to_pylist() == ["a", "b"] * 3
    assert to_table([]).schema.equals(table.schema, check_metadata=True)


def test_values_survive(make_row: MakeRow) -> None:
    row = make_row(value=float("nan"), status="frozen", component="é<b>", chains=8, rhat=1.01)
    (stored,) = to_table([row]).to_pylist()
    assert math.isnan(stored.pop("value"))
    assert {name: value for name, value in stored.items() if value == value} == {
        name: value for name, value in vars(row).items() if value == value
    }


def test_two_rows_with_one_key_are_refused(make_row: MakeRow) -> None:
    with pytest.raises(SettingError) as caught:
        to_table([make_row(value=1.0), make_row(step=3), make_row(value=2.0)])
    assert str(caught.value) == (
        "two rows have the same key (run='cis/version_0', step=500, quantity='llc', component='', method='', "
        "loss='train', params_moved='all', weights='raw', revision=1, settings=''); give the jobs different settings."
    )


@pytest.mark.parametrize(
    ("value", "status"),
    [
        (float("nan"), "ok"),
        (1.0, "frozen"),
        (1.0, "nan-loss+single-chain"),
        (float("inf"), "ok"),
        (-float("inf"), "error"),
    ],
)
def test_a_value_that_its_status_denies_is_refused(make_row: MakeRow, value: float, status: str) -> None:
    with pytest.raises(SettingError) as caught:
        make_row(value=value, status=status)
    assert str(caught.value) == (
        f"a row of llc at step 500 has value {value} and status '{status}'; the value must be NaN if the status is a "
        "failed one, and finite if it is not."
    )


def test_unknown_quantity_and_status(make_row: MakeRow) -> None:
    with pytest.raises(SettingError, match=r"^unknown quantity 'lcc'; did you mean 'llc'"):
        make_row(quantity="lcc")
    with pytest.raises(SettingError, match=r"^unknown status reason 'fine'\. Use one of \d+ names, among them: "):
        make_row(status="fine")


def test_details_are_strict_json_with_sorted_keys() -> None:
    record = {
        "b": (1.5, float("nan"), float("-inf")),
        "a": {"x": None, "y": True},
        "n": np.int64(3),
        "f": np.float32(0.5),
    }
    text = encode_details(record)
    assert text == '{"a":{"x":null,"y":true},"b":[1.5,null,null],"f":0.5,"n":3}'
    assert decode_details(text) == json.loads(text)


def test_details_keep_floats_as_floats() -> None:
    assert encode_details({"mean": 2.0}) == '{"mean":2.0}'


@pytest.mark.parametrize("text", ["", "[1]", "{'a': 1}"])
def test_details_that_are_no_object(text: str) -> None:
    with pytest.raises(SettingError) as caught:
        decode_details(text)
    assert str(caught.value) == f"the details {text!r} are not a JSON object; write them with encode_details."


def test_settings_hash_names_a_configuration() -> None:
    assert settings_hash({"n_beta": 1000.0, "methods": ["zero"]}) == "899f15be70ca7044"
    assert settings_hash({"a": 1, "b": [2.0, (3,)]}) == settings_hash({"b": (2, [3.0]), "a": 1.0})
    hashes = {settings_hash({"a": value}) for value in (1, 1.5, "1", True, None, [1], {"b": 1})}
    assert len(hashes) == 7
    assert all(len(digest) == 16 and int(digest, 16) >= 0 for digest in hashes)


def test_settings_hash_of_something_that_is_not_data() -> None:
    with pytest.raises(SettingError) as caught:
        settings_hash({"a": [{1, 2}]})
    assert str(caught.value) == (
        "cannot write {1, 2} of type set as JSON; give text, numbers, booleans, None, lists or dicts."
    )


def test_types_are_text_integers_and_floats() -> None:
    types = {field.name: field.type for field in arrow_schema()}
    assert set(types.values()) == {pa.string(), pa.int64(), pa.float64()}
    assert types["value"] == pa.float64()
    assert types["settings"] == pa.string()
    assert types["step"] == pa.int64()


def test_rows_cannot_be_changed(make_row: MakeRow) -> None:
    row: Row = make_row()
    with pytest.raises(AttributeError):
        row.value = 1.0  # pyright: ignore[reportAttributeAccessIssue]
