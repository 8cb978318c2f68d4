"""The arithmetic of the linear datamodelling score, where the truth is known."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call, jacrev

from benchmarks import influence
from benchmarks.influence import Classical, bayesian, interval, main, scores, scores_of
from benchmarks.influence_nets import NETS, Classifier, Problem, initial, trained
from llc_lightning.llc.settings import ChainSettings

RIDGE = 0.1


def fitted(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The weights of ridge regression, mean squared error / 2 + RIDGE / 2 |w|^2."""
    return np.linalg.solve(x.T @ x / len(x) + RIDGE * np.eye(x.shape[1]), x.T @ y / len(x))


def test_exact_influence_foretells_a_linear_model_and_no_influence_does_not() -> None:
    rng = np.random.default_rng(0)
    x, asked = rng.normal(size=(2000, 5)), rng.normal(size=(20, 5))
    truth = rng.normal(size=5)
    y, wanted = x @ truth + rng.normal(size=2000), asked @ truth + rng.normal(size=20)
    subsets = np.stack([rng.permutation(2000)[:1000] for _ in range(40)])
    found = np.stack([np.square(asked @ fitted(x[some], y[some]) - wanted) / 2 for some in subsets])
    w = fitted(x, y)
    slopes, of_queries = x * (x @ w - y)[:, None], asked * (asked @ w - wanted)[:, None]
    effects = -slopes @ np.linalg.solve(x.T @ x / 2000 + RIDGE * np.eye(5), of_queries.T)
    assert scores(effects, subsets, found).mean() > 0.98
    assert scores(-effects, subsets, found).mean() < -0.98
    assert abs(scores(rng.permutation(effects), subsets, found).mean()) < 0.2
    assert scores_of(found, found) == pytest.approx(np.ones(20))


def test_the_interval_is_that_of_a_mean() -> None:
    values = np.random.default_rng(1).normal(2.0, 1.0, size=400)
    low, high = interval(values)
    assert low < values.mean() < high
    assert (high - low) / 2 == pytest.approx(1.96 * values.std() / 20, rel=0.05)


@pytest.fixture
def problem(monkeypatch: pytest.MonkeyPatch) -> Problem:
    def tiny() -> Classifier:
        return Classifier(nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), 0.1)

    monkeypatch.setitem(NETS, "tiny", tiny)
    stream = torch.Generator().manual_seed(0)
    x, queries = (torch.randn(n, 1, 2, 2, generator=stream) for n in (48, 8))
    label, asked = ((each[:, 0, 0, 0] > 0).long() + (each[:, 0, 1, 1] > 0) for each in (x, queries))
    return Problem("tiny", (x, label), (queries, asked))


def test_curvatures_are_those_of_autograd_and_one_in_a_linear_net(problem: Problem) -> None:
    weights = {name: each[0] for name, each in initial(problem, (0,)).items()}
    classical, module = Classical(problem, weights), problem.module().double()

    def loss(point: torch.Tensor) -> torch.Tensor:
        state = {"net.1.weight": point[:12].view(3, 4), "net.1.bias": point[12:]}
        logits = functional_call(module, state, (problem.train[0].double(),))
        return nn.functional.cross_entropy(logits, problem.train[1])

    wanted = jacrev(jacrev(loss))(classical.point)
    torch.testing.assert_close(classical.hessian(), wanted)
    torch.testing.assert_close(classical.gauss_newton(), wanted)


def test_cold_bayesian_influence_is_the_classical_one(problem: Problem) -> None:
    stacked = trained(problem, initial(problem, (0,)), torch.arange(48)[None])
    weights = {name: each[0] for name, each in stacked.items()}
    found = bayesian(problem, weights, gamma=0.1, settings=ChainSettings(draws=1000))
    classical = Classical(problem, weights)
    exact = classical.found(classical.hessian, damping=0.1).effects / (influence.COLD * 48)
    assert found.status == "ok"
    assert np.corrcoef(found.effects.ravel(), exact.ravel())[0, 1] > 0.99
    assert (found.effects * exact).sum() / np.square(exact).sum() == pytest.approx(1, abs=0.05)


def test_too_few_subsets_and_other_nets_are_told_in_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--subsets", "3"])
    assert "--subsets is 3; give at least 4, for a rank correlation." in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["mlp"])
    assert "perceptron" in capsys.readouterr().err
