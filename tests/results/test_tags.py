"""Names of values in TensorBoard, and charts of them."""

import pytest

from llc_lightning.results.tags import address_tag, charts_of, rung_tag


@pytest.mark.parametrize(
    ("address", "tag"),
    [("net.hook[3,5]", "net.hook.3-5"), ("a.b", "a.b"), ("weird name*", "weird_name_")],
)
def test_addresses_become_tags(address: str, tag: str) -> None:
    assert address_tag(address) == tag


def test_rungs_become_tags() -> None:
    assert [rung_tag(n_beta) for n_beta in (0.5, 300.0, 1e4, 1e15)] == [
        "n_beta_0.5",
        "n_beta_300",
        "n_beta_10000",
        "n_beta_1e15",
    ]


def test_quantities_have_charts_that_show_them_alone() -> None:
    assert charts_of(["a.b"]) == {"Other quantities": {"a.b": ["Multiline", [r"^a\.b/"]]}}
