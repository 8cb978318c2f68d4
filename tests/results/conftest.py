"""Rows to store."""

from collections.abc import Callable

import pytest

from llc_lightning.results.schema import Row

MakeRow = Callable[..., Row]


@pytest.fixture
def make_row() -> MakeRow:
    """Returns a maker of valid rows, any field changed by name."""

    def make(**changes: object) -> Row:
        fields: dict[str, object] = {
            "run": "cis/version_0",
            "seed": 0,
            "step": 500,
            "epoch": 1,
            "quantity": "llc",
            "value": 7.5,
            "params_moved": "all",
            "kind": "all",
        }
        return Row(**{**fields, **changes})  # pyright: ignore[reportArgumentType]

    return make
