"""The defaults of chains are one fact, though three signatures show them."""

import inspect
from collections.abc import Callable
from dataclasses import fields

import pytest

from llc_lightning import ChainSettings, LLCCallback, estimate_llc


@pytest.mark.parametrize("shown", [estimate_llc, LLCCallback])
def test_chains_have_the_same_defaults_everywhere(shown: Callable[..., object]) -> None:
    theirs = {name: one.default for name, one in inspect.signature(shown).parameters.items()}
    ours = {field.name: field.default for field in fields(ChainSettings)}
    assert {name: theirs.get(name, "missing") for name in ours} == ours
