"""The known answers under their former name; they live in :mod:`llc_lightning.exact`."""

from llc_lightning.exact import *  # noqa: F403
from llc_lightning.exact import __all__ as __all__
