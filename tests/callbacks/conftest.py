"""What every test of the callbacks gets."""

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _no_seed_left() -> Iterator[None]:
    """Forgets the seed that ``seed_everything`` keeps in the environment."""
    yield
    for name in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
        os.environ.pop(name, None)
