"""What a task for computation in superposition is: many small circuits of which few are active at a time.

A net with fewer neurons than its circuits need can still compute all of them by sharing neurons between circuits:
computation in superposition (CIS; Hänni et al. 2024, arXiv:2408.05451). A loss says something about that only beside
the losses of nets that share nothing, so every task also says what those reach.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import torch
from jaxtyping import Bool, Float, Int64, Num
from torch import Tensor

from llc_lightning.runtime.errors import SettingError, at_least
from llc_lightning.runtime.registry import NoFacts, Registry

Inputs: TypeAlias = Num[Tensor, "example input"]
Outputs: TypeAlias = Float[Tensor, "example output"]
Targets: TypeAlias = Num[Tensor, "example output"]
Examples: TypeAlias = tuple[Inputs, Targets]
"""A batch: inputs and targets. Which circuits are active follows from them."""


@dataclass(frozen=True)
class CISTask(ABC):
    """A distribution of examples ``(x, y)`` for a number of circuits, and its exact baselines.

    The outputs of a circuit stand side by side: those of circuit ``t`` begin at ``t outputs_per_circuit``.

    Losses are the mean of ``|output - y|^power`` over outputs, divided by the constant ``q``, so that tasks of
    different sparsity can be compared.

    Raises:
        SettingError: If ``size`` is too small, or ``active`` is not above 0 and at most the number of circuits.
    """

    size: int
    """How large the task is: its number of circuits, where it does not say otherwise (uprod: inputs)."""
    active: float = 1.0
    """How many circuits are active in an example on average (z)."""

    accuracy: ClassVar[str] = "sign_accuracy"
    """The quantity that :meth:`is_correct` measures."""
    chance: ClassVar[float] = 0.0
    """How often a guess that does not look at the input is right."""
    relus_per_circuit: ClassVar[int]
    """Neurons that a net without sharing spends on one circuit, counted generously."""
    outputs_per_circuit: ClassVar[int] = 1
    smallest_size: ClassVar[int] = 1

    def __post_init__(self) -> None:
        at_least(self.smallest_size, **{"the task's size": self.size})
        if not 0 < self.active <= self.n_circuits:
            raise SettingError(
                f"active is {self.active}; the number of circuits that are active on average must be above 0 and at "
                f"most {self.n_circuits}, the number of the task's circuits."
            )

    @property
    @abstractmethod
    def n_inputs(self) -> int:
        """The number of inputs."""

    @property
    def n_circuits(self) -> int:
        """The number of circuits."""
        return self.size

    @property
    def n_outputs(self) -> int:
        """The number of outputs."""
        return self.n_circuits * self.outputs_per_circuit

    @property
    def q(self) -> float:
        """The probability that a circuit is active, by which losses are divided."""
        return self.active / self.n_circuits

    @property
    def names(self) -> tuple[str, ...]:
        """The circuits' names, as the measurements call them in the column ``loss``: ``circuit:07``."""
        digits = max(2, len(str(self.n_circuits - 1)))
        return tuple(f"circuit:{circuit:0{digits}d}" for circuit in range(self.n_circuits))

    @abstractmethod
    def sample(self, n: int, generator: torch.Generator) -> Examples:
        """Draws ``n`` examples, in the smallest type that holds them exactly."""

    @abstractmethod
    def is_active(self, x: Inputs, y: Targets) -> Bool[Tensor, "example circuit"]:
        """Returns where a circuit is active; only there its own loss and accuracy are counted."""

    @abstractmethod
    def is_correct(self, outputs: Outputs, y: Targets) -> Bool[Tensor, "example circuit"]:
        """Returns where the outputs solve a circuit, whatever the loss says."""

    @abstractmethod
    def trivial_loss(self, power: float) -> float:
        """Returns the expected loss of always answering 0, over all examples.

        Where all circuits are alike (all tasks but circ), it is also that of one circuit where it is active.
        """

    def per_circuit(self, losses: Float[Tensor, "example output"]) -> Float[Tensor, "example circuit"]:
        """Returns the means of the losses over the outputs of each circuit."""
        if self.outputs_per_circuit == 1:
            return losses  # a mean of one takes as long as ten operations
        return losses.reshape(*losses.shape[:-1], self.n_circuits, self.outputs_per_circuit).mean(dim=-1)

    def dedicated_circuits(self, width: int) -> float:
        """Returns how many circuits ``width`` neurons can serve without sharing, parts of a circuit included."""
        return min(float(self.n_circuits), width / self.relus_per_circuit)

    def dedicated_loss(self, power: float, width: int) -> float:
        """Returns the expected loss of ``width`` neurons that share nothing.

        Circuits that are served have no error, and the others the answer 0:
        ``(1 - dedicated_circuits / n_circuits) trivial_loss``.
        """
        return (1 - self.dedicated_circuits(width) / self.n_circuits) * self.trivial_loss(power)

    @abstractmethod
    def dedicated_weights(self, width: int) -> dict[str, Float[Tensor, "..."]]:
        """Returns weights of a net whose ``width`` neurons share nothing and whose loss is :meth:`dedicated_loss`.

        They are ``W_in`` [neuron, input], ``W_out`` [output, neuron] and ``W_skip`` [output, input] of
        ``W_out relu(W_in x) + W_skip x``. The linear skip costs no neuron.
        """


class ProductTask(CISTask):
    """Circuits that answer the product of two inputs of -1, 0 and 1.

    One circuit takes 4 ReLUs, or 2 beside a free linear map: ``a b = relu(a + b) - relu(a - b) - b``.
    """

    chance: ClassVar[float] = 0.5
    relus_per_circuit: ClassVar[int] = 2

    @abstractmethod
    def pairs(self) -> Int64[Tensor, "2 circuit"]:
        """Returns the two inputs of every circuit."""

    def is_active(self, x: Inputs, y: Targets) -> Bool[Tensor, "example circuit"]:
        """Returns where both inputs of a pair are on."""
        return y != 0

    def is_correct(self, outputs: Outputs, y: Targets) -> Bool[Tensor, "example circuit"]:
        """Returns where the sign is right; 0 has none."""
        return outputs * y > 0

    def trivial_loss(self, power: float) -> float:
        """Returns 1: the targets of active circuits are 1 in absolute value."""
        return 1.0

    def dedicated_weights(self, width: int) -> dict[str, Float[Tensor, "..."]]:
        """Returns ``relu(a + b) - relu(a - b) - b`` for ``width // 2`` circuits; a neuron left over is 0."""
        circuit = torch.arange(min(width // 2, self.n_circuits))
        a, b = self.pairs()[:, circuit]
        first, second = 2 * circuit, 2 * circuit + 1
        w_in, w_out = torch.zeros(width, self.n_inputs), torch.zeros(self.n_outputs, width)
        skip = torch.zeros(self.n_outputs, self.n_inputs)
        w_in[first, a] = w_in[first, b] = w_in[second, a] = w_out[circuit, first] = 1.0
        w_in[second, b] = w_out[circuit, second] = skip[circuit, b] = -1.0
        return {"W_in": w_in, "W_out": w_out, "W_skip": skip}


class SparseTask(CISTask):
    """Circuits that answer a function of one number, 0 or with probability ``q`` uniform in [-1, 1]."""

    accuracy: ClassVar[str] = "accuracy"
    relus_per_circuit: ClassVar[int] = 1
    tolerance: ClassVar[float]
    """An error below it is correct."""

    @property
    def n_inputs(self) -> int:
        """The number of inputs, one for each circuit."""
        return self.size

    @abstractmethod
    def answer(self, x: Inputs) -> Targets:
        """Returns the targets."""

    def sample(self, n: int, generator: torch.Generator) -> Examples:
        """Draws ``n`` examples, as float32."""
        uniform = torch.rand(n, self.size, generator=generator)
        # Below q a number is on, and its place below q gives its value.
        x = torch.where(uniform < self.q, uniform * (2 / self.q) - 1, 0.0)
        return x, self.answer(x)

    def is_active(self, x: Inputs, y: Targets) -> Bool[Tensor, "example circuit"]:
        """Returns where a number is on, also where its target is 0."""
        return x != 0

    def is_correct(self, outputs: Outputs, y: Targets) -> Bool[Tensor, "example circuit"]:
        """Returns where the error is below :attr:`tolerance`."""
        return (outputs - y).abs() < self.tolerance


TASKS: Registry[type[CISTask], NoFacts] = Registry("task", NoFacts, rooms=("llc_lightning.data.tasks",))
"""Tasks by name."""


def make_task(name: str, *, size: int, active: float = 1.0) -> CISTask:
    """Returns the task called ``name``.

    Raises:
        SettingError: If there is none of that name, or a number is out of range.

    Example:
        >>> make_task("xor", size=32).q
        0.03125
    """
    return TASKS.get(name).item(size=size, active=active)
