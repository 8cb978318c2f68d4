"""What a known answer offers, and the table of all of them."""

from dataclasses import MISSING, Field, field
from typing import Any, ClassVar, NoReturn, Protocol, runtime_checkable

from llc_lightning.exact.coefficient import LearningCoefficient
from llc_lightning.runtime.errors import SettingError
from llc_lightning.runtime.registry import NoFacts, Registry

MEAN = "n_beta E[L - L(w*)]"
"""The value of an estimate of the mean."""


@runtime_checkable
class KnownAnswer(Protocol):
    """A frozen dataclass whose fields are the parameters of a loss, each with its help, and what is known about it."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    quantity: ClassVar[str]
    """What :meth:`value` returns; '' where no value is known."""

    def coefficient(self) -> LearningCoefficient:
        """Returns the learning coefficient of the loss at its minimum."""
        ...

    def value(self, *, n_beta: float, gamma: float) -> float:
        """Returns the value at finite ``n_beta``, or raises a SettingError where none is known."""
        ...


KNOWN: Registry[type[KnownAnswer], NoFacts] = Registry("known answer", NoFacts)
"""All known answers by name."""


def asked(text: str, *, default: Any = MISSING) -> Any:
    """Returns a dataclass field with the help that the command line shows."""
    return field(default=default, metadata={"help": text})


def not_known(name: str) -> NoReturn:
    """Says that only the learning coefficient is known.

    Raises:
        SettingError: Always.
    """
    raise SettingError(f"no value of {name} at finite n_beta is known; ask without n_beta and gamma.")
