"""At what sizes tasks are tested: a new one by being registered."""

from itertools import count

from llc_lightning.data.tasks import TASKS


def size_of(task: str, circuits: int) -> tuple[int, int]:
    """Returns the smallest size with so many circuits, and half of the neurons that these take apart."""
    kind = TASKS.get(task).item
    made = next(one for one in map(kind, count(kind.smallest_size)) if one.n_circuits >= circuits)
    return made.size, made.n_circuits * made.relus_per_circuit // 2
