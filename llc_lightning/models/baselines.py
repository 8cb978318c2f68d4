"""What nets that share no neuron reach on a task, in the loss of the trained net.

A trained net's loss says something only beside the best of them: always 0, an affine map, and equally many neurons that
each serve one circuit alone, as a formula and as a net wired by hand.
"""

from typing import cast

import torch
from jaxtyping import Bool, Float, Num
from torch import Tensor, nn

from llc_lightning.components.loss import TaskQuantity
from llc_lightning.data.tasks.base import CISTask, Examples, Inputs, Outputs, Targets
from llc_lightning.models.cis_net import CISNet, error_unit, power_of
from llc_lightning.runtime.batches import chunks

_BLOCK = 16_384


def affine_least_squares(x: Inputs, y: Targets) -> Float[Tensor, "output inputs_and_1"]:
    """Returns the affine map with the least squared error on the examples; the last column is its constant.

    It solves the normal equations in double precision by the pseudo-inverse, so that inputs that are never on get 0.

    Under another power than 2 it is in general not the best affine map. For xor it is, by symmetry. For relu with power
    4 (0.0125) an added constant lowers the loss further, to 0.0079 at q = 0.01.
    """
    n_terms = x.shape[1] + 1
    gram = torch.zeros(n_terms, n_terms, dtype=torch.float64, device=x.device)
    cross = torch.zeros(n_terms, y.shape[1], dtype=torch.float64, device=x.device)
    for rows in chunks(len(x), _BLOCK):
        terms = _with_one(x[rows].double())
        gram += terms.mT @ terms
        cross += terms.mT @ y[rows].double()
    inverse = cast("Tensor", torch.linalg.pinv(gram, hermitian=True))  # pyright: ignore[reportUnknownMemberType]
    return (inverse @ cross).mT.float()


def dedicated_net(task: CISTask, width: int) -> CISNet:
    """Returns a net wired by hand: ``width`` neurons that each serve one circuit alone, beside a free linear skip.

    Its expected loss is ``task.dedicated_loss`` for a width that is a multiple of the ReLUs per circuit.
    """
    weights = task.dedicated_weights(width)
    net = CISNet(task.n_inputs, width, task.n_outputs, skip=True)
    net.W_skip = nn.Parameter(weights["W_skip"])
    with torch.no_grad():
        for layer, name in ((net.W_in, "W_in"), (net.W_out, "W_out")):
            layer.weight.copy_(weights[name])
            layer.bias.zero_()
    return net


def baseline_quantities(task: CISTask, batch: Examples, *, width: int, power: float) -> list[TaskQuantity]:
    """Returns the losses of the baselines, how many circuits the dedicated neurons serve, and how often they are right.

    ``zero``, ``affine`` and ``dedicated_net`` are measured on the examples; ``dedicated`` is the formula, which has no
    error. A circuit that the dedicated net does not serve is guessed, where there is something to guess: its accuracy
    is at least ``task.chance``. The affine map is fitted to the same examples, which should be many times the number of
    inputs.

    Args:
        task: The task.
        batch: Inputs and targets.
        width: The number of neurons of the net to compare with.
        power: The exponent of the loss.
    """
    x, y = batch
    affine = affine_least_squares(x, y)
    net = dedicated_net(task, width).to(x.device)
    losses: dict[str, list[Tensor]] = {"zero": [], "affine": [], "dedicated_net": []}
    right: list[Tensor] = []
    with torch.no_grad():
        for rows in chunks(len(x), _BLOCK):
            inputs, targets = x[rows].float(), y[rows].float()
            outputs = {
                "zero": torch.zeros_like(targets),
                "affine": _with_one(inputs) @ affine.mT,
                "dedicated_net": net(inputs),
            }
            for method, output in outputs.items():
                losses[method].append(power_of(output - targets, power).mean(dim=-1).double() / task.q)
            right.append(task.is_correct(outputs["dedicated_net"], targets))
    n = len(x)
    measured = {method: torch.cat(blocks) for method, blocks in losses.items()}
    return [
        *(
            TaskQuantity("baseline_loss", float(loss.mean()), float(loss.std()) / n**0.5, n, method=method)
            for method, loss in measured.items()
        ),
        TaskQuantity("baseline_loss", task.dedicated_loss(power, width), 0.0, n, method="dedicated"),
        TaskQuantity("circuits_solved", task.dedicated_circuits(width), 0.0, n, method="dedicated"),
        *_dedicated_accuracy(task, torch.cat(right), task.is_active(x, y)),
    ]


def loss_unit(power: float) -> str:
    """Returns what a loss is counted in: a power of the error for every active circuit."""
    return f"{error_unit(power)} / q"


def loss_quantity(task: CISTask, outputs: Outputs, y: Targets, *, power: float, name: str) -> TaskQuantity:
    """Returns the loss of outputs under some power of the error, as the quantity ``loss`` of the given name."""
    losses = power_of(outputs - y, power).mean(dim=-1).double() / task.q
    n = len(y)
    return TaskQuantity("loss", float(losses.mean()), float(losses.std()) / n**0.5, n, loss=name, unit=loss_unit(power))


def _dedicated_accuracy(
    task: CISTask, correct: Bool[Tensor, "example circuit"], active: Bool[Tensor, "example circuit"]
) -> list[TaskQuantity]:
    """Returns the mean accuracy over circuits of the dedicated net; none where no circuit is active."""
    counts = active.sum(dim=0).double()
    known = counts > 0
    if not known.any():
        return []
    accuracy = ((correct & active).sum(dim=0).double()[known] / counts[known]).clamp(min=task.chance)
    errors = (accuracy * (1 - accuracy) / counts[known]).sqrt()
    mean_error = float(errors.square().sum().sqrt()) / len(errors)
    return [TaskQuantity(task.accuracy, float(accuracy.mean()), mean_error, len(active), method="dedicated")]


def _with_one(x: Num[Tensor, "example input"]) -> Num[Tensor, "example inputs_and_1"]:
    return torch.cat((x, torch.ones_like(x[:, :1])), dim=1)
