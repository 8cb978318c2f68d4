"""A diagnostic with a reason of its own, as a contributor would write it: an estimate far below zero."""

from llc_lightning.llc.diagnostics.base import DIAGNOSTICS, Evidence
from llc_lightning.runtime.status import Reason, add_reason

add_reason(Reason("tiny", False, "the value is below a thousandth; raise n_beta."), before="too-few-draws")


@DIAGNOSTICS.register("tiny", summary="the value is below a thousandth")
def tiny(evidence: Evidence) -> bool:
    return abs(evidence.value.value) < 1e-3
