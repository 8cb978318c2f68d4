"""What can be measured: every quantity with its unit and definition, a file for those that belong together.

Being a file here is enough for quantities to be known wherever stored rows are read, without what measures them.
"""

from llc_lightning.results.quantities.registry import QUANTITIES as QUANTITIES
from llc_lightning.results.quantities.registry import Quantity as Quantity
from llc_lightning.results.quantities.registry import register_quantity as register_quantity
from llc_lightning.results.quantities.registry import unit_of as unit_of
from llc_lightning.runtime.registry import register_all

register_all("llc_lightning.results.quantities")
