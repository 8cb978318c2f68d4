"""What a diagnostic is, and the table of all of them."""

from collections.abc import Callable
from typing import TypeAlias

from llc_lightning.llc.evidence import Evidence
from llc_lightning.runtime.registry import NoFacts, Registry
from llc_lightning.runtime.status import is_failed

Diagnostic: TypeAlias = Callable[[Evidence], bool]

DIAGNOSTICS: Registry[Diagnostic, NoFacts] = Registry("diagnostic", NoFacts)
"""All diagnostics by the name of their reason; each says whether the evidence gives it, and no where it cannot know."""


def reasons_against(evidence: Evidence) -> list[str]:
    """Returns the names of the reasons that the evidence gives.

    Where one says that there is no value, only such ones: the others are about the value.
    """
    failed = [name for name, entry in DIAGNOSTICS.items() if is_failed(name) and entry.item(evidence)]
    flagged = (name for name, entry in DIAGNOSTICS.items() if not is_failed(name) and entry.item(evidence))
    return failed or list(flagged)
