"""A small net with tasks, a snapshot of it, short plans, and processes played by threads."""

import functools
import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from llc_lightning.components.loss import TaskQuantity
from llc_lightning.llc.settings import ChainSettings
from llc_lightning.measure.ablated_llc.plan import AblatedLLCPlan
from llc_lightning.measure.ablation.plan import AblationPlan
from llc_lightning.measure.circuit.plan import CircuitPlan
from llc_lightning.measure.llc.plan import LLCPlan
from llc_lightning.measure.measurements import Outcome, measure
from llc_lightning.measure.posterior.plan import PosteriorPlan
from llc_lightning.measure.snapshot import Snapshot
from llc_lightning.runtime.workers import Workers
from tests.components.nets import Declared, regression

CHAINS = ChainSettings(chains=2, draws=6, burn_in=2, batch_size=8, step_size=1e-4)
LLC = LLCPlan(
    components=("all", "hook_out", "hook_two[*]"),
    n_beta=(10.0, 100.0),
    gamma=5.0,
    settings=CHAINS,
)
MOVED = ["all", "hook_out", "hook_two[0]", "hook_two[1]", "hook_two[2]"]
ABLATION = AblationPlan(components=("neurons", "layers"), methods=("zero", "resample"))
ABLATED_LLC = AblatedLLCPlan(
    components=("hook_two[*]",),
    methods=("zero", "resample"),
    n_beta=(10.0,),
    gamma=5.0,
    settings=CHAINS,
    budget=20,
    closure=True,
    complement=True,
)
POSTERIOR = PosteriorPlan(
    components=("hook_two[*]",),
    n_beta=10.0,
    gamma=5.0,
    settings=CHAINS,
    watched=16,
    look_every=2,
    methods=("zero", "resample"),
)
CIRCUIT = CircuitPlan(components=("* -> W_mid[*]",), donor="mean")
ABLATED = [
    *(f"hook_one[{i}]" for i in range(5)),
    *(f"hook_two[{i}]" for i in range(3)),
    "hook_one",
    "hook_two",
    "hook_out",
]


class Narrowing(nn.Module):
    """A weight at the end of a valley of growing curvature is needed for the other to stay at its beginning."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(1, 3, bias=False, dtype=torch.float64)
        self.read = nn.Identity()
        with torch.no_grad():
            self.one.weight.copy_(torch.tensor([[3.0], [0.0], [-3.0]]))

    def per_example_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        along, across, kept = self.read(self.one(batch[0])).unbind(-1)
        return (along + kept).square() / 200 + torch.exp(-4 * along) * across.square() / 2 + 0 * batch[1]

    @classmethod
    def snapshot(cls) -> Snapshot:
        """Returns it with 8 examples, that all tell the same."""
        data = (torch.ones(8, 1, dtype=torch.float64), torch.zeros(8, dtype=torch.float64))
        return Snapshot.of(cls(), data, run="valley/version_0", seed=0, step=1, epoch=0)


class Net(Declared):
    """Two outputs, two tasks, with quantities of its own; as a user would write it."""

    task_names = ("circuit:0", "circuit:1")
    trivial_loss = 2.0

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.uniform_(-0.7, 0.7, generator=generator)
        self.register_buffer("shift", torch.tensor(0.25))

    def per_example_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        return (self(batch[0]) + self.shift - batch[1]).square().mean(-1)

    def per_task_loss(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return (self(batch[0]) + self.shift - batch[1]).square(), batch[1] > 0

    def task_quantities(self, batch: tuple[Tensor, Tensor]) -> list[TaskQuantity]:
        n = len(batch[0])
        return [
            TaskQuantity("sign_accuracy", 0.5, 0.1, n, loss="circuit:0"),
            TaskQuantity("circuits_solved", float("nan"), float("nan"), n),
        ]


def snapshot(net: torch.nn.Module | None = None, *, step: int = 30, n: int = 64, **changes: Any) -> Snapshot:
    """Returns a snapshot of a net on ``n`` examples."""
    place = {"run": "net/version_0", "seed": 3, "step": step, "epoch": 1, **changes}
    x, y = regression(64)
    return Snapshot.of(net or Net(), (x[:n], y[:n]), **place)


@functools.cache
def alone(plan: LLCPlan | AblationPlan | AblatedLLCPlan | PosteriorPlan | CircuitPlan) -> Outcome:
    """Returns what one process measures at the snapshot; do not change it."""
    return measure(plan, snapshot())


class Played(Workers):
    """One of several processes, played by a thread; only one of them runs at a time."""

    def join(self, stage: "Stage") -> "Played":
        object.__setattr__(self, "stage", stage)
        return self

    def meet(self, *, failed: bool = False) -> None:
        """Threads meet when they gather."""

    def gather(self, obj: Any) -> list[Any]:
        stage: Stage = vars(self)["stage"]
        return stage.gather(self.rank, obj)

    def bring(self, mine: Tensor) -> list[Tensor]:
        everything = self.gather(mine)
        return everything[1:] if self.is_zero else []


class Stage:
    """Where threads play processes."""

    def __init__(self, n: int) -> None:
        self.n = n
        self._turn = threading.Lock()
        self._all = threading.Barrier(n, timeout=120)
        self._given: list[Any] = [None] * n
        self.gathered = 0

    def gather(self, rank: int, obj: Any) -> list[Any]:
        self._given[rank] = obj
        self._turn.release()
        self._all.wait()
        found = list(self._given)
        if self._all.wait() == 0:
            self.gathered += 1
        self._turn.acquire()
        return found

    def play(self, act: Callable[[Workers], Any]) -> list[Any]:
        """Returns what every process returned or raised, in the order of their ranks."""
        outcomes: list[Any] = [None] * self.n

        def process(rank: int) -> None:
            with self._turn:
                try:
                    outcomes[rank] = act(Played(rank, self.n).join(self))
                except Exception as error:
                    outcomes[rank] = error

        threads = [threading.Thread(target=process, args=(rank,)) for rank in range(self.n)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return outcomes
