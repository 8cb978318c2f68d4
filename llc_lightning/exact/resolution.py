"""The one number that ``n_beta`` and ``gamma`` make for a loss of the fourth order."""

import math

from llc_lightning.runtime.errors import SettingError, positive

_LOWEST, _HIGHEST = 1e-12, 1e15


def unit_localised(n_beta: float, gamma: float) -> float:
    """Returns ``n_beta / gamma^2``: the inverse temperature of weights times ``sqrt(gamma)``, of unit localisation.

    Raises:
        SettingError: If one is not positive, or the grids of this package do not resolve the two together.
    """
    positive(n_beta=n_beta, gamma=gamma)
    log_scale = math.log(n_beta) - 2 * math.log(gamma)
    if not math.log(_LOWEST) <= log_scale <= math.log(_HIGHEST):
        raise SettingError(
            f"n_beta is {n_beta} and gamma {gamma}; the value is known where n_beta / gamma^2 is between {_LOWEST:g} "
            f"and {_HIGHEST:g}."
        )
    return math.exp(log_scale)
