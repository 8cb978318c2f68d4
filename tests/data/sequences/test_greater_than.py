"""Greater-than: later years alone, each as likely, and the best loss is exact."""

import math

import pytest
import torch

from llc_lightning.data.sequences.greater_than import GreaterThan
from llc_lightning.runtime.errors import SettingError


def test_every_later_year_is_as_likely() -> None:
    task = GreaterThan(years=6)
    inputs, targets = task.sample(30_000, torch.Generator().manual_seed(0))
    labels = task.labels((inputs, targets))
    assert all(torch.equal(labels[name], inputs[:, at]) for at, name in enumerate(("noun", "century", "start")))
    assert torch.equal(inputs[:, 1], inputs[:, 4])
    for start in range(5):
        ends = targets[labels["start"] == start, -1]
        shares = torch.bincount(ends, minlength=6).double() / len(ends)
        assert float(shares[: start + 1].sum()) == 0.0
        assert shares[start + 1 :].tolist() == pytest.approx([1 / (5 - start)] * (5 - start), abs=0.03)


def test_the_best_loss_and_mass_are_those_of_the_truth() -> None:
    task = GreaterThan(years=6)
    batch = task.sample(4000, torch.Generator().manual_seed(0))
    later = torch.arange(task.vocabulary) > batch[0][:, 2:3]
    later[:, 6:] = False
    outputs = torch.where(later, 0.0, -100.0)[:, None].expand(-1, 5, -1)
    assert task.metrics(outputs, batch)["probability_mass"].tolist() == pytest.approx([1.0] * 4000)
    loss = torch.nn.functional.cross_entropy(outputs[:, -1], batch[1][:, -1]).item()
    shares = torch.bincount(batch[1][:, -1])[1:].double() / 4000
    entropy = float(-(shares * shares.log()).sum())
    found = task.baselines(0)
    assert found == {
        "uniform": math.log(6),
        "frequency": pytest.approx(entropy, abs=0.03),
        "best": pytest.approx(loss, abs=0.03),
    }
    assert found["uniform"] > found[task.trivial] > found["best"]


def test_refuses_settings() -> None:
    with pytest.raises(SettingError, match="years is 1; give an integer of at least 2"):
        GreaterThan(years=1)
