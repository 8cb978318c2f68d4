"""What searches by gradient learn from, and what they keep."""

import pytest
import torch

from llc_lightning.circuits.circuit import Circuit
from llc_lightning.circuits.constants import Constants
from llc_lightning.circuits.discovery.base import find_circuit
from llc_lightning.circuits.discovery.edge_pruning import EdgePruning
from llc_lightning.circuits.discovery.learned import Samples
from llc_lightning.circuits.discovery.ugs import UniformGradientSampling
from llc_lightning.circuits.evaluation.faithfulness import faithfulness
from llc_lightning.circuits.fitted_constants import halves
from llc_lightning.circuits.gradients import Subject
from llc_lightning.circuits.masked import MaskedRuns
from llc_lightning.runtime.errors import SettingError
from tests.circuits.nets import question


def test_the_slope_of_sampled_masks_weighs_losses_and_price_alike() -> None:
    method, stream = UniformGradientSampling(samples=4, price=0.5), torch.Generator().manual_seed(0)
    parameters = torch.tensor([-2.0, 0.0, 2.0])
    total, calls = torch.zeros(3), 4000
    for step in range(calls):
        masks = method.sample(parameters, stream)
        losses = -(masks * torch.tensor([1.0, 2.0, 3.0])).sum(1) + 2 * masks[:, 0] * masks[:, 1]
        total += method.slope(parameters, Samples(masks, losses), step)
    chance = parameters.double().sigmoid().requires_grad_(True)  # the mean of each share: losses are linear in it
    expected = -chance[0] - 2 * chance[1] - 3 * chance[2] + 2 * chance[0] * chance[1] + 0.5 * chance.sum()
    (slope,) = torch.autograd.grad(expected, chance)
    within = chance * (1 - chance)
    told = 1 - (1 - within) ** method.samples  # steps in which a sample tells of an edge
    assert (total / calls).tolist() == pytest.approx((told * slope * within).tolist(), rel=0.06)


def test_pruning_keeps_as_many_edges_as_were_asked_for() -> None:
    method = EdgePruning(edges=2)
    assert (method.chosen(torch.zeros(5)) > 0.5).sum() == 2
    assert (method.chosen(torch.tensor([-30.0, -40.0, -50.0])) > 0.5).tolist() == [True, True, False]


def test_learned_constants_are_judged_where_no_search_looked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llc_lightning.circuits.discovery.learned._BLOCK", 4)
    seen: set[int] = set()
    plain = MaskedRuns.__call__

    def watched(runs: MaskedRuns, masks: torch.Tensor, **how: object) -> torch.Tensor:
        if masks.requires_grad:
            seen.update(how["blocks"])  # pyright: ignore[reportArgumentType]
        return plain(runs, masks, **how)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(MaskedRuns, "__call__", watched)
    found = find_circuit(question("layer"), "ugs(steps=8,samples=1,constants=true)")
    assert seen == {0, 2}
    assert found.donor == found.faithfulness["donor"] == "constants"
    assert found.faithfulness["n"] == 4
    fitted = min(found.search[f"loss with {name} constants"] for name in ("zero", "mean", "fitted"))
    assert found.faithfulness["circuit"] == pytest.approx(fitted, abs=1e-6)
    loaded = Circuit.from_json(found.to_json())
    assert loaded == found
    runs = MaskedRuns(Subject(question("layer"), block=4))
    kept = Constants.of(loaded.constants, runs.subject)
    assert faithfulness(runs, loaded.edges, constants=kept, blocks=halves(runs)[1]).as_row() == found.faithfulness
    other = Subject(question("no_norm"))
    with pytest.raises(SettingError, match="of other names or sizes"):
        Constants.of({name: some[:0] for name, some in loaded.constants.items()}, other)


def test_too_few_examples_for_constants_are_told_before_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = MaskedRuns(Subject(question("layer")))
    monkeypatch.setattr(UniformGradientSampling, "sample", pytest.fail)
    with pytest.raises(SettingError, match="there is one block"):
        UniformGradientSampling(constants=True).find(runs)
