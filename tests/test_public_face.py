"""The names in ``llc_lightning`` itself: few, stable, and imported when they are first used."""

import ast
from importlib import import_module
from pathlib import Path

import pytest

import llc_lightning

ALIASES = {"Part": "Restriction"}


@pytest.mark.parametrize("name", llc_lightning.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    item = getattr(llc_lightning, name)
    assert item.__name__ == ALIASES.get(name, name)
    assert (item.__doc__ or "").strip()


def test_a_former_name_is_the_same_thing() -> None:
    for former, name in ALIASES.items():
        assert getattr(llc_lightning, former) is getattr(llc_lightning, name)


def test_type_checkers_see_the_names_that_users_get() -> None:
    tree = ast.parse(Path(llc_lightning.__file__).read_text(encoding="utf-8"))
    declared = {
        alias.name: node.module
        for branch in tree.body
        if isinstance(branch, ast.If)
        for node in branch.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert set(declared) == set(llc_lightning.__all__)
    for name, home in declared.items():
        assert getattr(llc_lightning, name) is getattr(import_module(str(home)), name)


def test_names_are_listed_before_they_are_imported() -> None:
    assert set(llc_lightning.__all__) <= set(dir(llc_lightning))


def test_an_unknown_name_is_an_attribute_error_that_lists_the_known_ones() -> None:
    with pytest.raises(
        AttributeError,
        match=f"module 'llc_lightning' has no attribute 'LLC'; it has {', '.join(llc_lightning.__all__)}",
    ):
        llc_lightning.LLC  # noqa: B018 - the access is the test
