"""The constants of a whole circuit: what they add, and that a fit is never worse than what is plain."""

from dataclasses import replace

import pytest
import torch

from llc_lightning.circuits.constants import Constants
from llc_lightning.circuits.fitted_constants import fit_constants
from llc_lightning.circuits.gradients import Subject
from llc_lightning.circuits.masked import MaskedRuns
from llc_lightning.components.loss import Edit
from llc_lightning.runtime.errors import SettingError
from tests.circuits.nets import N, net, question


def test_with_no_edge_a_network_hears_constants_alone() -> None:
    asked, (_, batch) = question("layer"), net("layer")
    runs = MaskedRuns(Subject(asked))
    means = Constants.means(runs.subject)
    points = {part.point for one in asked.graph.senders.values() for part in one.component.members}
    known = asked.loss.activations(asked.params, batch, sorted(points))
    everything = torch.ones(1, dtype=torch.bool)
    edits = [Edit(point, everything, one.flatten(0, 1).mean(0).expand_as(one)) for point, one in known.items()]
    expected = asked.loss.with_edits(edits)(asked.params, batch)
    with torch.no_grad():
        (found,) = runs(runs.mask([])[None], constants=means)
        (whole,) = runs(runs.mask(runs.edges)[None], constants=means)
    assert torch.allclose(found, expected.detach(), atol=1e-5)
    assert torch.allclose(whole, asked.loss(asked.params, batch).detach(), atol=1e-5)


def test_fitted_constants_are_never_worse_where_no_search_looked() -> None:
    asked = question("layer")
    runs = MaskedRuns(Subject(asked, block=4))
    edges = runs.edges[::3]
    fitted = fit_constants(runs, edges, steps=20)
    assert fitted.loss == min(fitted.of.values()) <= min(fitted.of["zero"], fitted.of["mean"])
    with torch.no_grad():
        again = runs(runs.mask(edges)[None], constants=fitted.constants, blocks=[1]).mean()
    assert fitted.loss == pytest.approx(float(again), abs=1e-6)
    wild = fit_constants(runs, edges, steps=20, rate=100.0)  # a descent that fails is not taken
    assert wild.loss <= min(wild.of["zero"], wild.of["mean"])
    with pytest.raises(SettingError, match="there is one block"):
        fit_constants(MaskedRuns(Subject(asked)), edges)


def test_the_whole_network_has_nothing_to_fit_and_a_loss_that_is_no_number_is_told() -> None:
    runs = MaskedRuns(Subject(question("layer"), block=4))
    whole = fit_constants(runs, runs.edges, steps=2)
    assert whole.of["zero"] == whole.of["mean"] == whole.loss
    runs.subject.losses = lambda block, edits, points=(): (torch.full((4,), torch.nan), {})
    with pytest.raises(SettingError, match="no finite number with zero, nor with the means"):
        fit_constants(runs, runs.edges, steps=2)
    with pytest.raises(SettingError, match="'accuracy' is not known to be the better"):
        fit_constants(MaskedRuns(Subject(question("layer", metric="accuracy"), block=4)), runs.edges)


def test_what_fills_positions_enters_no_mean_and_is_not_ablated() -> None:
    asked, (_, batch) = replace(question("layer"), mask="0!=3"), net("layer")
    runs, counts = MaskedRuns(Subject(asked)), batch[0] != 3
    assert not counts.all()
    means, points = Constants.means(runs.subject), ["net.hook_embed", "net.blocks.0.attn.hook_z"]
    said = asked.loss.activations(asked.params, batch, points)
    assert torch.allclose(means.values["net.hook_embed"][0], said[points[0]][counts].mean(0), atol=1e-6)
    head = said[points[1]][:, :, 1][counts].mean(0)
    assert torch.allclose(means.values["net.blocks.0.attn.hook_z[1]"][0], head, atol=1e-6)
    shifts = torch.stack(means.shifts(runs.subject, 0))[:, :N]
    assert not shifts[:, ~counts].any()
    assert shifts[:, counts].any(-1).any(1).all()
