"""Addresses print back to what was parsed, and everything else is an AddressError."""

import random
import string

import pytest

from llc_lightning.components.address import Address
from llc_lightning.runtime.errors import AddressError


def random_point(draw: random.Random) -> str:
    names = ["".join(draw.choices(string.ascii_letters + string.digits + "_", k=draw.randint(1, 9))) for _ in range(4)]
    return ".".join(names[: draw.randint(1, 4)])


def test_printing_gives_back_what_was_parsed() -> None:
    draw = random.Random(0)  # noqa: S311
    for _ in range(500):
        units = draw.sample(range(10 ** draw.randint(1, 9)), k=draw.randint(1, 5))
        index = draw.choice([None, tuple(units)])
        address = Address(random_point(draw), index)
        assert Address.parse(str(address)) == address
        text = address.point + ("" if index is None else "[" + ",".join(str(unit) for unit in units) + "]")
        assert str(Address.parse(text)) == text


def test_positions_follow_point_or_units() -> None:
    for text, address in {
        "a.b@3": Address("a.b", None, (3,)),
        "a.b[2]@-1": Address("a.b", (2,), (-1,)),
        "a.b[2,4]@0,-2,7": Address("a.b", (2, 4), (0, -2, 7)),
    }.items():
        assert Address.parse(text) == address
        assert str(address) == text


@pytest.mark.parametrize("text", ["a@", "a@-0", "a@03", "a@1@2", "a@1[2]", "a@*", "@3", "a@1,", "a@ 1", "a+b", "a{b}"])
def test_positions_that_cannot_be_read(text: str) -> None:
    with pytest.raises(AddressError, match="cannot read the address"):
        Address.parse(text)


def test_a_position_that_comes_twice_is_an_error() -> None:
    with pytest.raises(AddressError) as raised:
        Address.parse("a@1,1")
    assert str(raised.value) == "the address 'a@1,1' names a position twice; name each once."


@pytest.mark.parametrize("point", ["net.hook", "0", "a b", "_module.x", "größe"])
def test_any_path_of_a_module_is_a_point(point: str) -> None:
    assert Address.parse(point) == Address(point)
    assert Address.parse(f"{point}[0]") == Address(point, (0,))


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "[",
            "]",
            "[3]",
            "net[",
            "net]",
            "net[]",
            "net[3",
            "net3]",
            "net[3]]",
            "net[[3]",
            "net[3][4]",
            "net[3].x",
        ),
        *("net[-1]", "net[+1]", "net[1.0]", "net[1e3]", "net[a]", "net[*]", "net.*", "net?", "net[0:3]", "net[:]"),
        *("net[3, 5]", "net[ 3]", "net[3,]", "net[,3]", "net[3,,5]", "net[03]", "net[00]", "net[1_0]", "net[٣]"),
        *("net[9999999999]", "net[" + "9" * 5000 + "]"),
    ],
)
def test_what_cannot_be_read_is_told_with_an_example(text: str) -> None:
    with pytest.raises(AddressError) as raised:
        Address.parse(text)
    assert str(raised.value) == (
        f"cannot read the address {text!r}; write a hook point such as 'net.hook_hidden', or units of it such as "
        "'net.hook_hidden[7]' or 'net.hook_hidden[3,5]': whole numbers from 0, without spaces or leading zeros; "
        "positions "
        "of a sequence follow as in 'blocks.0.hook_resid_post@3' or '@-1'."
    )


@pytest.mark.parametrize("text", ["net[3,3]", "net[0,1,0]"])
def test_a_unit_that_comes_twice_is_an_error(text: str) -> None:
    with pytest.raises(AddressError) as raised:
        Address.parse(text)
    assert str(raised.value) == f"the address {text!r} names a unit twice; name each once."


def test_any_text_is_an_address_or_an_address_error() -> None:
    draw = random.Random(1)  # noqa: S311
    alphabet = string.printable + "[[[[]]]],,,,....0123456789**??--::" + "٣é\u200b\U0001f600\x00"
    read = 0
    for _ in range(5000):
        text = "".join(draw.choices(alphabet, k=draw.randint(0, 12)))
        try:
            address = Address.parse(text)
        except AddressError:
            continue
        read += 1
        assert str(address) == text
    assert 100 < read < 4900


@pytest.mark.parametrize(("point", "index"), [("", None), ("a[3]", None), ("a*", None), ("a", ()), ("a", (-1,))])
def test_a_value_that_could_not_be_read_back_cannot_be_made(point: str, index: tuple[int, ...] | None) -> None:
    with pytest.raises(AddressError, match="cannot read the address"):
        Address(point, index)
