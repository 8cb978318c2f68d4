"""devinterp 1.3.2: ``estimate_learning_coeff_with_summary`` on a DataLoader, otherwise with its defaults."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import torch
from devinterp.slt.sampler import estimate_learning_coeff_with_summary
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.networks import Problem


def estimator(problem: Problem) -> Callable[..., float]:
    """Returns a function of the settings that estimates the LLC."""
    warnings.simplefilter("ignore")
    network, examples = problem.network(), TensorDataset(*problem.data)

    def estimate(
        *, n_beta: float, gamma: float, step_size: float, chains: int, draws: int, batch_size: int, seed: int
    ) -> float:
        torch.manual_seed(seed)  # its baseline and the order of its batches come from the global stream
        summary = estimate_learning_coeff_with_summary(
            network, DataLoader(examples, batch_size=batch_size, shuffle=True), evaluate=_mean_loss,
            optimizer_kwargs={"lr": step_size, "nbeta": n_beta, "localization": gamma},
            num_chains=chains, num_draws=draws, seed=seed, verbose=False,
        )  # fmt: skip
        return summary["llc/mean"]

    return estimate


def _mean_loss(network: nn.Module, batch: Sequence[Tensor]) -> Tensor:
    return network.per_example_loss(batch).mean()
