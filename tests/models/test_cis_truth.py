"""What is known of neurons from their weights alone."""

import torch

from llc_lightning.data.tasks import make_task
from llc_lightning.models.baselines import dedicated_net
from llc_lightning.models.cis import CISModel
from llc_lightning.models.cis_truth import neuron_roles


def test_every_neuron_that_is_wired_by_hand_has_its_circuit_and_those_left_over_are_dead() -> None:
    for name in ("xor", "circ", "abs"):
        task = make_task(name, size=6)
        each = task.relus_per_circuit
        roles = neuron_roles(dedicated_net(task, 3 * each + each - 1), task)
        served = [name for name in task.names[:3] for _ in range(each)]
        assert list(roles.values()) == [*served, *["dead"] * (each - 1)]


def test_shared_neurons_have_no_role() -> None:
    model = CISModel(size=4, width=6)
    assert neuron_roles(model.net, model.task) == {}
    with torch.no_grad():
        model.net.W_out.weight[:, 1] = 0.0
        model.net.W_in.weight[2] = 0.0
        model.net.W_in.bias[2] = -0.1
        model.net.W_in.weight[3] = 0.0
        model.net.W_in.bias[3] = 0.1
        model.net.W_out.weight[:3, 4] = 0.0
    assert neuron_roles(model.net, model.task) == {1: "dead", 2: "dead", 4: "circuit:03"}
