"""The regular and singular models among the known answers."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from llc_lightning.exact.base import KNOWN, KnownAnswer, LearningCoefficient, asked, regular_coefficient
from llc_lightning.exact.crossings import normal_crossing_coefficient, normal_crossing_value
from llc_lightning.exact.deep_linear import deep_linear_coefficient
from llc_lightning.exact.reduced_rank import reduced_rank_coefficient, reduced_rank_value
from llc_lightning.exact.superposition import superposition_coefficient
from llc_lightning.exact.unit import unit_coefficient, unit_value
from llc_lightning.runtime.errors import SettingError


@KNOWN.register(
    "regular",
    summary="any loss whose Hessian has full rank at its minimum",
    source="Schwarz 1978, Annals of Statistics 6; Watanabe 2009, Algebraic Geometry and Statistical Learning Theory",
)
@dataclass(frozen=True)
class Regular(KnownAnswer):
    """See :func:`regular_coefficient`."""

    quantity: ClassVar[str] = ""
    dimension: int = asked("number of weights")

    def coefficient(self) -> LearningCoefficient:
        """Returns half the dimension."""
        return regular_coefficient(self.dimension)

    def value(self, *, n_beta: float, gamma: float) -> float:
        """Raises a SettingError: it depends on the curvatures."""
        raise SettingError("the value at finite n_beta depends on the curvatures; give them to quadratic.")


@KNOWN.register(
    "normal-crossing",
    summary="prod w_i^(2 k_i) at 0",
    source="Watanabe 2009, Algebraic Geometry and Statistical Learning Theory",
)
@dataclass(frozen=True)
class NormalCrossing(KnownAnswer):
    """See :func:`normal_crossing_coefficient` and :func:`normal_crossing_value`."""

    powers: tuple[int, ...] = asked("power k of each weight")

    def coefficient(self) -> LearningCoefficient:
        """Returns the smallest 1 / (2 k)."""
        return normal_crossing_coefficient(self.powers)

    def value(self, *, n_beta: float, gamma: float) -> float:
        """Returns the mean."""
        return normal_crossing_value(self.powers, n_beta=n_beta, gamma=gamma)


@KNOWN.register(
    "reduced-rank",
    summary="1/2 |B A - M|^2: a linear network of two layers; at finite n_beta for rank 0, at A = B = 0",
    source="Aoyagi and Watanabe 2005, Neural Networks 18; at finite n_beta: de Bruijn 1955, J. Indian Math. Soc. 19",
)
@dataclass(frozen=True)
class ReducedRank(KnownAnswer):
    """See :func:`reduced_rank_coefficient` and :func:`reduced_rank_value`."""

    inputs: int = asked("width of the input")
    hidden: int = asked("width between the two maps")
    outputs: int = asked("width of the output")
    rank: int = asked("rank of the true map M")

    def coefficient(self) -> LearningCoefficient:
        """Returns the coefficient of 2005."""
        return reduced_rank_coefficient(self.inputs, self.hidden, self.outputs, rank=self.rank)

    def value(self, *, n_beta: float, gamma: float) -> float:
        """Returns the mean.

        Raises:
            SettingError: If the rank is not 0.
        """
        if self.rank:
            raise SettingError(f"rank is {self.rank}; the value of reduced-rank at finite n_beta is known for rank 0.")
        return reduced_rank_value(self.inputs, self.hidden, self.outputs, n_beta=n_beta, gamma=gamma)


@KNOWN.register(
    "deep-linear",
    summary="1/2 |W_L ... W_1 - M|^2: a linear network of any depth",
    source="Aoyagi 2024, Neural Networks 172",
)
@dataclass(frozen=True)
class DeepLinear(KnownAnswer):
    """See :func:`deep_linear_coefficient`."""

    quantity: ClassVar[str] = ""
    widths: tuple[int, ...] = asked("widths from the input to the output")
    rank: int = asked("rank of the true map M")

    def coefficient(self) -> LearningCoefficient:
        """Returns the coefficient of 2024."""
        return deep_linear_coefficient(self.widths, rank=self.rank)


@KNOWN.register(
    "superposition",
    summary="|x - ReLU(W^T W x + b)|^2 with two rows in W and one active feature, at a regular polygon",
    source="Chen, Lau, Mendel, Wei and Murfet 2023, arXiv 2310.06301",
)
@dataclass(frozen=True)
class Superposition(KnownAnswer):
    """See :func:`superposition_coefficient`."""

    quantity: ClassVar[str] = ""
    columns: int = asked("columns of W: the number of features")
    sides: int = asked("sides of the polygon, 5 to 8")
    dead: Literal["negative", "positive"] = asked(
        "sign of the biases of the other columns (default: negative)", default="negative"
    )

    def coefficient(self) -> LearningCoefficient:
        """Returns half the rank of the Hessian."""
        return superposition_coefficient(self.columns, self.sides, dead=self.dead)


@KNOWN.register(
    "linear-unit",
    summary="1/2 |b a^T - b* a*^T|^2: one hidden unit of a linear network alone, used or dead",
    source="a Gaussian integral; the dead unit: Aoyagi and Watanabe 2005, Neural Networks 18",
)
@dataclass(frozen=True)
class LinearUnit(KnownAnswer):
    """See :func:`unit_coefficient` and :func:`unit_value`."""

    inputs: int = asked("length of a")
    outputs: int = asked("length of b")
    strength: float = asked("norm of b* a*^T, 0 for a dead unit; ablating the unit costs half its square")

    def coefficient(self) -> LearningCoefficient:
        """Returns the coefficient of the used or of the dead unit."""
        return unit_coefficient(self.inputs, self.outputs, strength=self.strength)

    def value(self, *, n_beta: float, gamma: float) -> float:
        """Returns the mean."""
        return unit_value(self.inputs, self.outputs, strength=self.strength, n_beta=n_beta, gamma=gamma)
