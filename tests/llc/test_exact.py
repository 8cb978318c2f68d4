"""The known answers go by their former name too."""

import llc_lightning.exact
import llc_lightning.llc.exact


def test_the_former_name_has_the_same_answers() -> None:
    known, former = llc_lightning.exact, llc_lightning.llc.exact
    assert former.__all__ == known.__all__
    assert all(getattr(former, name) is getattr(known, name) for name in known.__all__)
