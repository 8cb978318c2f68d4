"""What sharing a measurement costs: CPU time of two processes against one, and bytes that processes send each other.

python -m benchmarks processes                 every kind of measurement
python -m benchmarks processes llc ablation --net cis --rounds 1
"""

from __future__ import annotations

import argparse
import gc
import os
import pickle
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn

from llc_lightning.data.cis import CISData
from llc_lightning.llc.covariance import Jackknifed
from llc_lightning.llc.facts import ChainLosses
from llc_lightning.llc.settings import ChainSettings
from llc_lightning.measure.ablated_llc.plan import AblatedLLCPlan
from llc_lightning.measure.ablation.plan import AblationPlan
from llc_lightning.measure.keep import keep
from llc_lightning.measure.llc.plan import LLCPlan
from llc_lightning.measure.llc.rows import Estimated
from llc_lightning.measure.measurements import Outcome, Plan, measure, measurement_of
from llc_lightning.measure.posterior.plan import PosteriorPlan
from llc_lightning.measure.posterior.rows import Sampled
from llc_lightning.measure.snapshot import Snapshot
from llc_lightning.models.cis import CISModel
from llc_lightning.models.image import ImageModel
from llc_lightning.results.schema import to_table
from llc_lightning.runtime.batches import Batch, take
from llc_lightning.runtime.workers import Workers, leave_peers, packed, unpacked

Given = tuple[nn.Module, Batch]


def cis() -> Given:
    """Returns the net of the demo, with 32 circuits and 32 neurons, and as many examples."""
    data = CISData(task="xor", size=32, active=1.0, analysis_size=131072)
    data.setup("fit")
    return CISModel(task="xor", size=32, active=1.0, width=32, loss_power=4.0), data.analysis_set()


def images() -> Given:
    """Returns the net of ``configs/mnist_fashion.yaml``, on noise with two sets of labels."""
    net = ImageModel(layout="mix20", width=64, depth=2)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(10000, *net.image_shape, generator=generator)
    labels = torch.full((len(x), 2), -1)
    labels[torch.arange(len(x)), torch.arange(len(x)) % 2] = x.flatten(1)[:, :10].argmax(1)
    return net, (x, labels)


NETS: Mapping[str, Callable[[], Given]] = {"cis": cis, "images": images}
CHAINS = ChainSettings(chains=4, draws=60, burn_in=40, batch_size=64, preconditioner="hutchinson")
CIS = replace(CHAINS, draws=120, burn_in=150, preconditioner="none", curvature_examples=4096, step_fraction=0.4)
IMAGES = replace(CHAINS, curvature_examples=2048, step_fraction=0.4)
LAYERS = replace(IMAGES, draws=100, burn_in=60, batch_size=256)


def plans(net: str) -> dict[str, Plan]:
    """Returns what is measured of a net: as in its configuration, and likewise what that does not measure."""
    chains, gamma = (CIS, 10.0) if net == "cis" else (IMAGES, 100.0)
    units: dict[str, Any] = {"components": ("neurons",), "gamma": gamma, "settings": chains}
    if net == "cis":
        layers = LLCPlan(components=("all", "layers"), n_beta=(1000.0, 3000.0, 10000.0), gamma=1000.0, settings=LAYERS)
        effects = AblationPlan(
            components=("neurons", "layers"), methods=("zero", "mean", "resample", "noise"), examples=16384
        )
    else:
        layers = LLCPlan(components=("all", "layers"), n_beta=(300.0,), gamma=1000.0, settings=LAYERS)
        effects = AblationPlan(components=("neurons", "layers"), methods=("zero", "mean", "resample"), examples=4096)
    some = tuple(f"net.hook_hidden{'' if net == 'cis' else '.0'}[{unit}]" for unit in range(8))
    return {
        "llc": LLCPlan(n_beta=(100.0, 300.0, 1000.0) if net == "cis" else (100.0, 300.0), **units),
        "llc of layers": layers,
        "ablation": effects,
        "ablated_llc": AblatedLLCPlan(
            **units | {"components": some}, methods=("zero", "mean"), n_beta=(300.0,), examples=4096, budget=30
        ),
        "posterior": PosteriorPlan(n_beta=300.0, watched=256, **units),
    }


KINDS = tuple(plans("cis"))


def main(arguments: list[str]) -> int:
    """Prints the table in Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks processes")
    parser.add_argument("kinds", nargs="*", choices=[*KINDS, []], metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--net", choices=NETS, default="images")
    given = parser.parse_args(arguments)
    head = ("kind", "components", "rows, kB", "sent for rows, kB", "ratio", "draws and arrays kept, kB",
            "sent in all, kB", "one process, CPU s", "two processes, CPU s", "efficiency",
            "share of the slower one")  # fmt: skip
    print(f"\n## Two processes, {given.net}\n| {' | '.join(head)} |\n|{'---|' * len(head)}", flush=True)
    for kind in given.kinds or KINDS:
        print(f"| {' | '.join(line(kind, given.net, given.rounds))} |", flush=True)
    return 0


def line(kind: str, net: str, rounds: int) -> tuple[str, ...]:
    """Returns a line of the table."""
    context = get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        both = [context.Process(target=process, args=(rank, kind, net, rounds, folder)) for rank in range(2)]
        for one in both:
            one.start()
        for one in both:
            one.join()
        told: list[dict[str, Any]] = [torch.load(Path(folder, f"{rank}.pt")) for rank in range(2)]
    rows, kept, components = told[0]["rows"], told[0]["kept"], told[0]["components"]
    sent, for_draws = (sum(each[name] for each in told) for name in ("sent", "draws"))
    shared = [sum(pair) for pair in zip(*(each["shared"] for each in told), strict=True)]
    alone = [sum(pair) / 2 for pair in zip(*(each["alone"] for each in told), strict=True)]
    efficiency = median(one / two for one, two in zip(alone, shared, strict=True))
    slower = median(max(pair) / sum(pair) for pair in zip(*(each["shared"] for each in told), strict=True))
    numbers = (rows, sent - for_draws)
    return (
        *(kind, str(components), *(f"{number / 1024:.1f}" for number in numbers)),
        *(f"{(sent - for_draws) / rows:.2f}", f"{kept / 1024:.1f}", f"{sent / 1024:.1f}"),
        *(f"{median(alone):.2f}", f"{median(shared):.2f}", f"{efficiency:.3f}", f"{slower:.2f}"),
    )


def process(rank: int, kind: str, net: str, rounds: int, folder: str) -> None:
    """Measures in turns with the other process and alone; each once before, uncounted."""
    warnings.filterwarnings("ignore")
    torch.manual_seed(0)
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    from torch import distributed

    distributed.init_process_group("gloo", init_method=f"file://{folder}/met", rank=rank, world_size=2)
    both, sent = Workers.of(SimpleNamespace(global_rank=rank, world_size=2)), Sent()
    plan, snapshot = plans(net)[kind], trained(*NETS[net]())
    memories = [measurement_of(plan).memory() for _ in range(2)]
    told: dict[str, Any] = {"shared": [], "alone": []}
    for number in range(rounds + 1):
        with sent.counted():
            seconds, outcome = cpu(lambda: measure(plan, snapshot, workers=both, memory=memories[0]))
        both.barrier()
        told["shared"] += [seconds] * (number > 0)
        # Both at the same time, as they share a core's caches where they share the work.
        seconds, _ = cpu(lambda: measure(plan, snapshot, memory=memories[1]))
        both.barrier()
        told["alone"] += [seconds] * (number > 0)
    told |= {"sent": sent.bytes / (rounds + 1), "draws": sent.draws / (rounds + 1)}
    if rank == 0:
        told |= {**sizes(outcome, folder), "components": len({row.component for row in outcome.rows} - {""})}
    torch.save(told, Path(folder, f"{rank}.pt"))
    leave_peers()
    distributed.destroy_process_group()


def trained(net: nn.Module, examples: Batch) -> Snapshot:
    """Returns the snapshot of a net after some steps, the same in every process."""
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for number in range(100):
        loss: Any = net.per_example_loss
        optimizer.zero_grad()
        loss(take(examples, slice(256 * (number % 32), 256 * (number % 32 + 1)))).mean().backward()
        optimizer.step()
    return Snapshot.of(net, examples, run="shared/version_0", seed=0, step=100, epoch=0)


def cpu(do: Callable[[], Outcome]) -> tuple[float, Outcome]:
    """Returns the CPU seconds that this process needs, and what comes of it."""
    gc.collect()
    gc.disable()  # as timeit does: whose turn it is to be interrupted is chance
    began = time.process_time()
    outcome = do()
    seconds = time.process_time() - began
    gc.enable()
    return seconds, outcome


def sizes(outcome: Outcome, folder: str) -> dict[str, int]:
    """Returns the bytes that a measurement is: of its rows, in memory as a table, and of what else is kept of it."""
    written = keep(Path(folder, "run"), "part", outcome, step=100)
    return {
        "rows": to_table(outcome.rows).nbytes,
        "kept": sum(path.stat().st_size for path in written if path.suffix != ".parquet"),
    }


class Sent:
    """Counts the bytes that this process gives to others."""

    def __init__(self) -> None:
        self.bytes = 0
        self._results: list[torch.Tensor] = []

    @property
    def draws(self) -> int:
        """Those among them that become draws and arrays."""
        packs = [(each, packed([without_draws(one) for one in unpacked(each)])) for each in self._results]
        return sum(len(each) - len(without) for each, without in packs)

    @contextmanager
    def counted(self) -> Any:
        """Counts what is sent meanwhile."""
        from torch import distributed

        untyped: Any = distributed
        names = ("all_gather_object", "all_reduce", "broadcast", "send")
        before = {name: getattr(untyped, name) for name in names}

        def all_gather_object(gathered: Any, obj: Any, **how: Any) -> None:
            self.bytes += len(pickle.dumps(obj)) + 8  # the size goes first
            before["all_gather_object"](gathered, obj, **how)

        def of_tensor(name: str) -> Callable[..., None]:
            def send(tensor: torch.Tensor, **how: Any) -> None:
                self.bytes += tensor.nbytes
                if name == "send":
                    self._results.append(tensor)
                before[name](tensor, **how)

            return send

        replaced = {name: of_tensor(name) for name in names[1:]} | {"all_gather_object": all_gather_object}
        for name, function in replaced.items():
            setattr(untyped, name, function)
        try:
            yield
        finally:
            for name, function in before.items():
                setattr(untyped, name, function)


def without_draws(dealt: Any) -> Any:
    """Returns what rows are made of, of what was measured of a component."""
    address, result = dealt
    if isinstance(result, Estimated):
        unknown = ChainLosses.unknown(0)
        result = replace(result, records=tuple(replace(record, chains=unknown) for record in result.records))
    if isinstance(result, Sampled):
        none = Jackknifed(*(np.zeros(0, np.float32) for _ in range(2)))
        told = result.responses and replace(result.responses, gain=none, susceptibility=none, kernel=None)
        result = replace(result, responses=told, structure=None, draws=None)
    return address, result
