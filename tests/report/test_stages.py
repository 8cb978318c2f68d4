"""The figure of stages."""

import pandas as pd

from llc_lightning.analysis.stages import Stage
from llc_lightning.report.panels.stages import staged


def test_stages_too_close_for_two_labels_share_one() -> None:
    steps = [10, 100, 1000, 10_000]
    loss = pd.DataFrame({"step": steps, "value": [4.0, 3.0, 1.0, 0.1]})
    stages = [Stage(name, "train/loss", 1.0, step - 1, step) for name, step in [("a", 100), ("b", 103), ("c", 1000)]]
    panel = staged({"train/loss": loss}, stages, {100: True, 1000: False})
    assert panel is not None
    assert [span.label for span in panel.spans] == ["a, b", "c"]
    assert [(span.left, span.right) for span in panel.spans] == [(100.0, 1000.0), (1000.0, 10_000.0)]
