"""kronfluence 1.0.1, EK-FAC: ``python -m benchmarks.peers.kronfluence_1 PROBLEM SCORES``.

PROBLEM is a file of torch.save with ``net``, ``state``, ``train``, ``queries`` and ``dampings``; SCORES gets, for each
of these, ``scores`` [query, example], the products of gradients by the inverse curvature, and the CPU ``seconds``,
those of the factors included. Imports torch and the peer alone.
"""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from typing import Any

import torch
from kronfluence.analyzer import Analyzer, prepare_model
from kronfluence.arguments import FactorArguments, ScoreArguments
from kronfluence.task import Task
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from benchmarks.influence_nets import NETS


class Classification(Task):
    """Cross-entropy, of labels drawn from the model where the Fisher information is asked for."""

    def compute_train_loss(self, batch: Any, model: nn.Module, sample: bool = False) -> Tensor:
        """Returns the sum of the losses."""
        x, label = batch
        logits = model(x)
        if sample:
            label = torch.multinomial(logits.detach().softmax(-1), 1)[:, 0]
        return F.cross_entropy(logits, label, reduction="sum")

    def compute_measurement(self, batch: Any, model: nn.Module) -> Tensor:
        """Returns the same of queries."""
        return self.compute_train_loss(batch, model)


def main(problem: str, scores: str) -> None:
    """Writes the scores of a problem."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    given = torch.load(problem)
    module = NETS[given["net"]]()
    module.load_state_dict(given["state"])
    train, queries = TensorDataset(*given["train"]), TensorDataset(*given["queries"])
    task = Classification()
    found: dict[float | None, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        started = time.process_time()
        model = prepare_model(module.eval(), task)
        analyzer = Analyzer("influence", model, task, cpu=True, output_dir=folder, disable_tqdm=True)
        analyzer.fit_all_factors("ekfac", train, per_device_batch_size=128, factor_args=FactorArguments("ekfac"))
        factors = time.process_time() - started
        for number, damping in enumerate(given["dampings"]):
            started = time.process_time()
            analyzer.compute_pairwise_scores(
                f"scores{number}", "ekfac", queries, train, per_device_query_batch_size=128,
                per_device_train_batch_size=128, score_args=ScoreArguments(damping_factor=damping),
            )  # fmt: skip
            pairs = analyzer.load_pairwise_scores(f"scores{number}")["all_modules"]
            found[damping] = {"scores": pairs, "seconds": factors + time.process_time() - started}
    torch.save(found, scores)


if __name__ == "__main__":
    main(*sys.argv[1:])
