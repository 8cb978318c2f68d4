"""The picture of a circuit: where parts stand, what edges look like, and what cannot be drawn."""

import re

import pytest

from llc_lightning.report.graph import Drawing, Frame, Line, part_of
from llc_lightning.runtime.errors import SettingError

EDGES = (
    Line("net.hook_embed", "net.blocks.0.attn.hook_v[1]", 2.0, 0.1),
    Line("net.blocks.0.attn.hook_z[1]", "net.blocks.1.attn.hook_k[2]", 1.0, share=0.5),
    Line("net.blocks.1.attn.hook_z[2]", "net.blocks.1.hook_resid_post", -0.5, status="no-gap"),
)


def test_parts_have_the_names_that_people_use() -> None:
    named = {
        "net.hook_embed+net.hook_pos_embed": "token and position",
        "net.hook_pos_embed": "position",
        "net.blocks.0.mlp.hook_pre": "MLP 0",
        "net.blocks.0.mlp.hook_post[3]": "neuron 0[3]",
        "net.blocks.1.hook_resid_post": "output",
        "model.transformer.h.1.attn.c_attn:q[1]": "head 1.1",
        "model.model.layers.0.self_attn.o_proj:input[3]": "head 0.3",
        "model.transformer.ln_f:input": "output",
    }
    assert {one: part_of(one) for one in named} == named


def test_parts_stand_behind_what_they_hear_and_stay_where_they_are() -> None:
    drawn = Drawing((Frame("step 0", EDGES[:1]), Frame("step 9", EDGES)))
    x = {name: place[0] for name, place in drawn.places.items()}
    assert x["token"] < x["head 0.1"] < x["head 1.2"] < x["output"]
    boxes = [re.findall(r'<rect x="([^"]+)" y="([^"]+)"', drawn.svg(frame)) for frame in drawn.frames]
    assert boxes[0] == boxes[1]
    assert len(boxes[0]) == 4


def test_width_colour_opacity_and_dashes_tell_of_an_edge() -> None:
    picture = Drawing((Frame("step 0", EDGES),)).svg(Frame("step 0", EDGES))
    paths = re.findall(r'<path .*?stroke="(.*?)" stroke-width="(.*?)" stroke-opacity="(.*?)"(.*?)>', picture)
    by_width = {wide: (color, opacity, dash != "") for color, wide, opacity, dash in paths}
    assert by_width["7.00"] == ("#1b2a41", "0.90", False)
    assert by_width["4.00"] == ("#1b2a41", "0.55", False)
    assert by_width["2.50"] == ("#c0392b", "0.90", True)
    assert "net.hook_embed -&gt; net.blocks.0.attn.hook_v[1]: 2 ± 0.1, ok<" in picture
    assert "hook_k[2]: 1, ok, in 50% of circuits<" in picture


def test_the_page_has_a_slider_where_there_are_several_pictures() -> None:
    one, two = (Drawing(tuple(Frame(f"step {at}", EDGES) for at in range(n))).page("<a>") for n in (1, 2))
    assert "<input" not in one
    assert '<input type="range" min="0" max="1" value="0">' in two
    assert "&lt;a&gt;" in two
    assert "http" not in two.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")


def test_nothing_and_too_much_are_refused_and_500_edges_drawn() -> None:
    with pytest.raises(SettingError, match="there is no edge to draw"):
        Drawing((Frame("step 0", ()),))
    many = tuple(Line(f"net.blocks.0.attn.hook_z[{at}]", "net.blocks.1.hook_resid_post", 1.0) for at in range(1001))
    with pytest.raises(SettingError, match="a picture of 1001 edges cannot be read; take up to 1000"):
        Drawing((Frame("step 0", many),))
    assert Drawing((Frame("step 0", many[:500]),)).svg(Frame("step 0", many[:500])).count("<path") == 500


def test_what_passes_over_a_column_goes_between_its_boxes() -> None:
    first = [Line("net.hook_embed", f"net.blocks.0.attn.hook_v[{head}]", 1.0) for head in range(3)]
    second = [Line(f"net.blocks.0.attn.hook_z[{head}]", f"net.blocks.1.attn.hook_k[{head}]", 1.0) for head in range(3)]
    over = [Line("net.hook_embed", f"net.blocks.1.attn.hook_q[{head}]", 1.0) for head in range(3)]
    drawn = Drawing((Frame("step 0", (*first, *second, *over)),))
    column = {place for name, place in drawn.places.items() if name.startswith("head 0.")}
    ((x, _), *_) = column
    for one in over:
        path = re.findall(r'd="(.*?)"', drawn._curve(one))[0]
        ends = re.fullmatch(r"M.* (\S+) (\S+) L(\S+) (\S+) C.*", path)
        assert ends is not None
        left, y, right, again = map(float, ends.groups())
        assert (left, right, y) == (x - 46, x + 46, again)  # straight from one side of the column to the other
        assert min(abs(y - up) for _, up in column) > 13
