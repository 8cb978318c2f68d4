"""What is known of the neurons of a CIS net from its weights alone."""

import torch

from llc_lightning.data.tasks.base import CISTask
from llc_lightning.models.cis_net import CISNet

DEAD = "dead"
"""The role of a neuron that cannot change any output."""


def neuron_roles(net: CISNet, task: CISTask) -> dict[int, str]:
    """Returns the neurons whose role the weights leave no doubt about: ``dead``, or the name of a circuit.

    A neuron that writes to the outputs of one circuit alone works for that circuit; one that writes nowhere, or that
    reads nothing and never fires, is dead. All others are left out: where neurons are shared, as in every trained net,
    there is no such truth.
    """
    with torch.no_grad():
        writes = task.per_circuit(net.W_out.weight.abs().mT) > 0
        reads = (net.W_in.weight != 0).any(dim=1) | (net.W_in.bias > 0)
    roles: dict[int, str] = {}
    for neuron in range(net.width):
        circuits = [circuit for circuit in range(task.n_circuits) if writes[neuron, circuit]]
        if not circuits or not reads[neuron]:
            roles[neuron] = DEAD
        elif len(circuits) == 1:
            roles[neuron] = task.names[circuits[0]]
    return roles
