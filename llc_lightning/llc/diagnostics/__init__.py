"""What can speak against an estimate: one reason, one registered function of the evidence.

A file that is added here registers what it has. The words of a reason are in :mod:`llc_lightning.runtime.status`.
"""

from llc_lightning.runtime.registry import register_all

register_all(__name__)
