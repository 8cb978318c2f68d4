"""What every registered kind of component promises, and that one file is enough for a new one."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from llc_lightning.analysis import table
from llc_lightning.components.component import Component
from llc_lightning.components.every_unit import units
from llc_lightning.components.hooks import WeightAxes
from llc_lightning.components.inventory import Listing
from llc_lightning.components.listing import find_components
from llc_lightning.components.names import known_point
from llc_lightning.report.events import Logged
from llc_lightning.report.sections import find, sections
from llc_lightning.runtime.errors import AddressError, SettingError
from llc_lightning.runtime.kinds import KINDS, HookName, KindFacts, at_level, level_of, plural
from tests.analysis.synthetic import SyntheticRun

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=KINDS.names())
def facts(request: pytest.FixtureRequest) -> KindFacts:
    """What each kind tells."""
    return KINDS.get(request.param).facts


def documented() -> list[str]:
    """The lines that the page of ablation must hold: a head and a row for each kind."""
    cells = {
        name: (", ".join(f"`{one}`" for one in entry.facts.written), f"`{name}`", entry.summary)
        for name, entry in KINDS.items()
    }
    places: list[Any] = ["model", "layers", "parts", "units", "joined"]
    order = sorted(cells, key=lambda name: (places.index(level_of(name)), KINDS.get(name).facts.order, name))
    return ["| written | kind | what it is |", "|---|---|---|", *(f"| {' | '.join(cells[name])} |" for name in order)]


def test_the_table_of_the_page_is_the_registry() -> None:
    page = (ROOT / "docs" / "ablation.md").read_text(encoding="utf-8")
    found = re.search(r"<!-- kinds -->\n(.*?)<!-- /kinds -->", page, re.DOTALL)
    assert found is not None
    assert found[1].splitlines() == documented()


def test_facts_are_complete(facts: KindFacts) -> None:
    assert facts.plural
    assert facts.written
    assert all(re.compile(hook.pattern) for hook in facts.hooks)
    assert facts.whole in KINDS
    assert not facts.word or facts.word in facts.written


def test_no_text_is_of_two_forms() -> None:
    written = [text for _, entry in KINDS.items() for text in entry.facts.written]
    for text in [*written, "pairs:a+b", "a{b.npy}+c", "a+b{c.npy}"]:
        assert len({(e.facts.word, e.facts.form) for _, e in KINDS.items() if e.facts.names(text)}) <= 1, text


def test_what_has_a_word_or_a_form_lists_components() -> None:
    assert all((entry.item is not None) == bool(entry.facts.word or entry.facts.form) for _, entry in KINDS.items())


def test_units_have_an_order() -> None:
    orders = [KINDS.get(name).facts.order for name in at_level("units")]
    assert len(set(orders)) == len(orders)


def named_kinds(path: Path) -> Iterator[str]:
    """Yields the comparisons of a file that ask for one kind of component by its name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            asked = any(ast.unparse(side).split(".")[-1] in ("kind", "unit") for side in sides)
            names = {leaf.value for side in sides for leaf in ast.walk(side) if isinstance(leaf, ast.Constant)}
            if asked and names & set(KINDS):
                yield f"{path.name}:{node.lineno} {ast.unparse(node)}"


def test_nobody_asks_for_a_kind_by_its_name(tmp_path: Path) -> None:
    rooms = ("ablation", "analysis", "callbacks", "cli", "components", "llc", "measure", "report", "results", "runtime")
    files = [path for room in rooms for path in (ROOT / "llc_lightning" / room).rglob("*.py")]
    assert [one for path in files for one in named_kinds(path)] == []
    (tmp_path / "a.py").write_text('if component.kind in ("all", "mine"):\n    pass\n')
    assert list(named_kinds(tmp_path / "a.py")) == ["a.py:1 component.kind in ('all', 'mine')"]


class Coded(nn.Module):
    """A net with a dictionary of five latents, of which the module says which weights make them."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.decode = nn.Linear(3, 5), nn.Linear(5, 3)
        self.hook_latent = nn.Identity()

    def weight_axes(self) -> dict[str, WeightAxes]:
        axes = (("encode.weight", 0),), (("encode.bias", 0),), (("decode.weight", 1),)
        return {"hook_latent": WeightAxes(*axes, unit="latent")}

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.hook_latent(self.encode(x)))


@pytest.fixture
def latents(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kind of component as a new file in components/kinds/ would register it."""
    assert len(KINDS)  # the files that are there come first
    monkeypatch.setattr(KINDS, "_known", dict(vars(KINDS)["_known"]))

    @KINDS.register(
        "latent",
        summary="a learned feature of a layer",
        plural="dictionary latents",
        level="units",
        written=("latents", "latent:7"),
        order=0,
        word="latents",
        form=r"latent:[0-9]+",
        size="d_sae",
        hooks=(HookName(r"hook_sae_acts_post", output=True),),
    )
    def latent(listing: Listing, text: str) -> list[Component]:
        every = units(listing, "latents")
        return every if text == "latents" else [every[int(text.partition(":")[2])]]


@pytest.mark.usefixtures("latents")
def test_a_new_kind_is_listed_and_addressed() -> None:
    net = Coded()
    found = find_components(net, "latents")
    assert [one.address for one in found] == [f"hook_latent[{latent}]" for latent in range(5)]
    assert {one.kind for one in found} == {"latent"}
    assert found[2].moved(dict(net.named_parameters()))["decode.weight"].sum(0).tolist() == [0, 0, 3, 0, 0]
    assert found[2].unit_mask(torch.zeros(5)).tolist() == [False, False, True, False, False]
    assert find_components(net, ["latent:3", "hook_latent[3]"]) == [found[3]]
    assert len(find_components(net, "pairs:latents")) == 10
    with pytest.raises(AddressError, match="'latents'"):
        find_components(net, "latent")


def test_a_kind_that_is_registered_later_is_known_by_names_that_were_read_before(
    request: pytest.FixtureRequest,
) -> None:
    point = "blocks.1.hook_resid_post.hook_sae_acts_post"
    assert not known_point(point).located
    request.getfixturevalue("latents")
    assert known_point(point).unit == "latent"


@pytest.mark.usefixtures("latents")
def test_a_new_kind_is_known_by_the_names_of_hook_points() -> None:
    known = known_point("blocks.0.hook_resid_post.hook_sae_acts_post")
    assert (known.unit, known.size, known.output) == ("latent", "d_sae", True)


@pytest.mark.usefixtures("latents")
def test_a_new_kind_is_in_tables_figures_and_pages() -> None:
    rows = SyntheticRun(units=6, circuits=6, steps=(0, 30, 3000)).table()
    neurons = rows["kind"] == "neuron"
    assert table.unit_kind(pd.concat([rows, rows[neurons].assign(kind="latent")])) == "latent"
    rows.loc[neurons, "kind"] = "latent"
    found = find(rows, run="dictionary")
    panels = [panel for some in sections(found, Logged({}, 0.0)).values() for panel in some]
    assert {"llc-of-dictionary-latents", "effects-of-dictionary-latents"} <= {panel.name for panel in panels}
    assert "Ablation effects of 6 dictionary latents over training" in " ".join(panel.title for panel in panels)
    assert "| `latents`, `latent:7` | `latent` | a learned feature of a layer |" in documented()


def test_a_kind_that_leaves_facts_out_is_refused() -> None:
    with pytest.raises(
        SettingError, match=r"^the kind of component 'latent' does not say level, written; register it "
    ):
        KINDS.register("latent", summary="a feature", plural="latents")


def test_a_kind_of_a_module_alone_is_taken_as_a_part() -> None:
    assert (level_of("feature"), plural("feature")) == ("parts", "features")
