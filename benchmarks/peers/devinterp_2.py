"""devinterp 2.0.1: ``sample`` and ``compute_llc``, otherwise with their defaults.

It samples language models alone. For any other network the "tokens" are an example's number and a 0, and the loss of
its one next token is that of the example.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from datasets import Dataset
from devinterp.slt.llc import compute_llc
from devinterp.slt.sampling import sample
from torch import Tensor, nn

from benchmarks.networks import Problem


def estimator(problem: Problem) -> Callable[..., float]:
    """Returns a function of the settings that estimates the LLC."""
    warnings.simplefilter("ignore")
    network = problem.network()
    is_language = hasattr(network, "per_token_loss")
    tokens = problem.data[0] if is_language else _numbers(len(problem.data[0]))
    examples = Dataset.from_dict({"input_ids": tokens.tolist()}).with_format("torch")

    def loss_of_number(network: nn.Module, ids: Tensor) -> Tensor:
        return network.per_example_loss([tensor[ids[:, 0]] for tensor in problem.data])[:, None]

    def loss_of_tokens(network: nn.Module, ids: Tensor) -> Tensor:
        return network.per_token_loss(ids)

    def estimate(
        *, n_beta: float, gamma: float, step_size: float, chains: int, draws: int, batch_size: int, seed: int
    ) -> float:
        with tempfile.TemporaryDirectory() as folder:
            samples = sample(
                network, examples, {}, lr=step_size, n_beta=n_beta, localization=gamma, num_chains=chains,
                num_draws=draws, batch_size=batch_size, init_seed=seed, output_path=Path(folder, "samples.zarr"),
                loss_fn=loss_of_tokens if is_language else loss_of_number,
            )  # fmt: skip
            return float(compute_llc(samples).llc_mean)

    return estimate


def _numbers(n: int) -> Tensor:
    return torch.stack([torch.arange(n), torch.zeros(n, dtype=torch.long)], dim=1)
