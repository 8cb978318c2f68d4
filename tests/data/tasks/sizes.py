"""How large tasks are, and how many neurons they are given, where tests take each of them."""

from llc_lightning.data.tasks import TASKS, CISTask

_SEVERAL = {"xor": (32, 32), "uprod": (12, 32), "circ": (12, 32)}
"""Size and width of tasks whose circuits take several neurons each; every other task has half as many as circuits."""


def settings(otherwise: int) -> dict[str, tuple[int, int]]:
    """Returns the size and the width of every registered task; ``otherwise`` is the size where none is told here."""
    return {task: _SEVERAL.get(task, (otherwise, otherwise // 2)) for task in TASKS}


def smallest(task: str, circuits: int) -> CISTask:
    """Returns the smallest task with so many circuits."""
    kind = TASKS.get(task).item
    size = kind.smallest_size
    while (made := kind(size)).n_circuits < circuits:
        size += 1
    return made
