"""Colours that mean the same in every figure."""

from llc_lightning.ablation import METHODS
from llc_lightning.report import palette


def test_every_method_has_one_colour_whatever_stands_beside_it() -> None:
    known = [*METHODS.names(), "resample(label=class)", "attribution (zero)", "attribution (mean)"]
    assert sorted(known) == sorted(palette.METHODS)
    assert len({*palette.METHODS.values(), *palette.OTHERS}) == len(palette.METHODS) + len(palette.OTHERS)
    for name in known:
        assert palette.of_method(name, [name]) == palette.of_method(name, ["another", "a third", *known])


def test_methods_with_settings_of_their_own_are_told_apart() -> None:
    names = palette.ordered({"quantise(bits=4)", "quantise(bits=2)", "zero"})
    assert len({palette.of_method(name, names) for name in names}) == 3
