"""Prints the values that ``linear_networks`` keeps: ``python -m benchmarks.truth.network_values``, or of some names."""

from __future__ import annotations

import sys

import torch

from benchmarks.truth.gibbs import sampled
from benchmarks.truth.linear_networks import NETWORKS

if __name__ == "__main__":
    torch.set_num_threads(1)
    print(f"{'network':32}{'value':>9}{'error':>9}{'R-hat':>9}{'distance / norm':>17}{'formula':>9}")
    for name in sys.argv[1:] or NETWORKS:
        network = NETWORKS[name]
        at = {"n_beta": network.n_beta, "gamma": network.gamma}
        found = sampled(network.weights(), **at, chains=128, sweeps=4000, burn_in=2000)
        norm = sum(weight.square().sum() for weight in network.weights()) ** 0.5
        print(
            f"{name:32}{found.value:9.4f}{found.error:9.4f}{found.rhat:9.4f}{found.distance / norm:17.2f}"
            f"{network.formula():9.4f}",
            flush=True,
        )
