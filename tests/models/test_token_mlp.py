"""The MLP over embedded tokens."""

from typing import Any

import pytest
import torch

from llc_lightning.ablation.effects import ablation_effects
from llc_lightning.components.listing import find_components
from llc_lightning.components.loss import loss_fn, snapshot_params
from llc_lightning.data.sequence_data import SequenceData
from llc_lightning.data.sequences.induction import Induction
from llc_lightning.data.sequences.modular import ModularAddition
from llc_lightning.models.fourier import strongest_share
from llc_lightning.models.token_mlp import TokenMLPModel
from llc_lightning.runtime.errors import DataError, SettingError

SMALL: dict[str, Any] = {"d_vocab": 6, "n_ctx": 3, "d_embed": 2, "width": 4}


@pytest.fixture
def data() -> SequenceData:
    return SequenceData(ModularAddition(modulus=5), analysis_size=6, validation_size=256)


def test_it_computes_what_its_formula_says_at_the_last_position_alone(data: SequenceData) -> None:
    model, (tokens, targets) = TokenMLPModel(**SMALL), data.analysis_set()
    net, outputs = model.net, model(tokens)
    assert not outputs[:, :2].any()
    for row in range(6):
        joined = torch.cat([net.W_E[token] for token in tokens[row]])
        hidden = (net.W_in.weight @ joined + net.W_in.bias).relu()
        logits = net.W_out.weight @ hidden + net.W_out.bias
        assert torch.allclose(outputs[row, 2], logits, atol=1e-6)
        loss = -logits.log_softmax(0)[targets[row, 2]]
        assert torch.allclose(model.per_example_loss((tokens, targets))[row], loss, atol=1e-6)


def test_layers_and_the_embedding_have_all_weights_and_a_neuron_moves_its_own(data: SequenceData) -> None:
    model = TokenMLPModel(**SMALL)
    params = snapshot_params(model)
    neuron = find_components(model, "neurons")[1]
    assert neuron.address == "net.hook_hidden[1]"
    assert {name: int(mask.sum()) for name, mask in neuron.moved(params).items()} == {
        "net.W_in.weight": 6, "net.W_in.bias": 1, "net.W_out.weight": 6,
    }  # fmt: skip
    assert torch.equal(loss_fn(model)(params, data.analysis_set()), model.per_example_loss(data.analysis_set()))


def test_fitted_to_numbers_of_a_cycle_it_tells_their_frequencies_and_its_trivial_loss(data: SequenceData) -> None:
    model = TokenMLPModel(**SMALL)
    assert [row.quantity for row in model.task_quantities(data.analysis_set())] == ["accuracy"]
    assert not hasattr(model, "trivial_loss")
    model.fit_to(data)
    _, share = model.task_quantities(data.analysis_set())
    assert (share.quantity, share.value) == ("fourier_share", strongest_share(model.net.W_E.detach()[:5]))
    assert model.trivial_loss == pytest.approx(torch.tensor(5.0).log().item())


def test_what_it_says_is_exchanged_within_an_answer_at_no_cost(data: SequenceData) -> None:
    model = TokenMLPModel(**SMALL)
    assert model.labels(data.analysis_set()) == {}
    model.fit_to(data)
    methods = ["resample(label=answer)", "resample(label=first)"]
    table = ablation_effects(model, data.task.sample(64, torch.Generator().manual_seed(0)), ["net.hook_out"], methods)
    by_answer, by_first = table["value"]
    assert by_answer == pytest.approx(0, abs=1e-6)
    assert by_first > 1e-3


def test_refuses_data_that_it_cannot_read(data: SequenceData) -> None:
    with pytest.raises(DataError, match="need d_vocab to be at least 6, but the model has 5; raise it"):
        TokenMLPModel(**{**SMALL, "d_vocab": 5}).fit_to(data)
    model = TokenMLPModel(**{**SMALL, "n_ctx": 4})
    with pytest.raises(DataError, match="the sequences have 3 positions, but the net reads 4; set n_ctx"):
        model(data.analysis_set()[0])
    many = SequenceData(Induction(tokens=6, positions=6, longest=4))
    with pytest.raises(DataError, match="predicted at other positions than the last"):
        TokenMLPModel(**{**SMALL, "n_ctx": 6}).fit_to(many)


@pytest.mark.parametrize("settings", [{"width": 0}, {"d_embed": 0}, {"learning_rate": 0.0}])
def test_refuses_numbers_out_of_range(settings: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match=next(iter(settings))):
        TokenMLPModel(**{**SMALL, **settings})
