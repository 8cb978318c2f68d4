"""Records and evidence with some of their facts written down."""

from dataclasses import fields, is_dataclass, replace
from typing import TypeVar

T = TypeVar("T")


def changed(thing: T, **facts: object) -> T:
    """Returns a record, or evidence, with some facts in place of its own, each in the group that has it."""
    own = {field.name: getattr(thing, field.name) for field in fields(thing)}
    ours = {name: value for name, value in facts.items() if name in own}
    for name in facts.keys() - ours.keys():
        ((group, held),) = (
            (group, held) for group, held in {**own, **ours}.items() if is_dataclass(held) and name in vars(held)
        )
        ours[group] = replace(held, **{name: facts[name]})
    return replace(thing, **ours)
