"""Answers requests for estimates inside a peer's environment: ``python -m benchmarks.peers.serve PEER PROBLEM``.

Every line of standard input is a JSON object of settings; every line of standard output is one with the ``value`` and
the CPU ``seconds`` of the call. What the peer prints goes to standard error. Imports torch and the peer alone.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time

import torch

from benchmarks.networks import Problem


def main(peer: str, path: str) -> None:
    """Answers until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    torch.set_num_threads(1)
    estimate = importlib.import_module(f"benchmarks.peers.{peer}").estimator(Problem.load(path))
    for line in sys.stdin:
        settings = json.loads(line)
        started = time.process_time()
        value = estimate(**settings)
        answer = {"value": value, "seconds": time.process_time() - started}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
