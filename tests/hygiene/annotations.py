"""Checks shapes and types at every call of the package: what the plugin of jaxtyping puts around its functions."""

import inspect
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable
from functools import partial, wraps
from typing import Any, get_type_hints

import jaxtyping
import pytest
from beartype import BeartypeConf, beartype

SHAPES = re.compile(r"(Float|Int|UInt|Bool|Num|Shaped)\d*\[")
CHECKED_CALLS = 200
"""Of every function in every test; a chain of thousands of steps shows in these what it shows in all."""
SIMPLE = {int, float, bool, type(None)}
check_shapes = jaxtyping.jaxtyped
check_types = beartype(conf=BeartypeConf(violation_type=jaxtyping.TypeCheckError))
calls_so_far: Counter[Callable[..., Any]] = Counter()
forms_so_far: defaultdict[Callable[..., Any], set[Hashable]] = defaultdict(set)
"""Of the arguments of right calls."""
looking: list[Callable[..., Any]] = []
"""Whose arguments are looked at: a tensor of a class of ours answers by functions of ours, which would look again."""


def check(function: Any = None, *, typechecker: Any) -> Any:
    """Checks shapes where an annotation has some, and types alone elsewhere, which is faster.

    Functions that are made anew in every call are left out: to prepare the check takes milliseconds each time.
    """
    if function is None:
        return partial(check, typechecker=typechecker)
    if inspect.isfunction(function) and "<locals>" in function.__qualname__:
        return function
    if not inspect.isfunction(function):
        return check_shapes(function, typechecker=typechecker)
    return often_called(function, typechecker)


def often_called(function: Callable[..., Any], typechecker: Any) -> Callable[..., Any]:
    """Returns the function with the check before it: not twice for one form of arguments, nor for ever, in one test."""
    checked: list[Callable[..., Any]] = []

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        calls_so_far[function] += 1
        if looking or calls_so_far[function] > CHECKED_CALLS:
            return function(*args, **kwargs)
        looking.append(function)
        try:
            key = form((args, kwargs))
        finally:
            looking.pop()
        if key in (forms := forms_so_far[function]):
            return function(*args, **kwargs)
        if not checked:  # to prepare the check takes milliseconds, and many functions are never called
            shapes = has_shapes(function)
            checked.append(check_shapes(function, typechecker=typechecker) if shapes else check_types(function))
        result = checked[0](*args, **kwargs)
        forms.add(key)
        return result

    return call


def form(value: Any) -> Hashable:
    """Returns what a check can see of an argument: types and shapes of all that it holds, and what a string says."""
    kind = type(value)
    if kind in SIMPLE:
        return kind
    if kind is str:
        return value
    if isinstance(value, dict):
        return kind, *value, *map(form, value.values())
    if isinstance(value, (list, tuple, set, frozenset)):
        return kind, *map(form, value)
    # Without torch and numpy, which not every process needs; sizes that tracing leaves open have no hash.
    return (kind, getattr(value, "dtype", None), str(value.shape)) if hasattr(value, "shape") else kind


def has_shapes(function: Callable[..., Any]) -> bool:
    """Says whether an annotation has a shape, also one that a name such as Draws stands for."""
    try:
        return bool(SHAPES.search(str(get_type_hints(function))))
    except (NameError, TypeError):  # for static checkers alone: not imported, or pandas' Series[bool]
        return True


@pytest.fixture(autouse=True)
def _checks_begin_anew() -> None:
    calls_so_far.clear()
    forms_so_far.clear()


jaxtyping.jaxtyped = check  # what jaxtyping's hook puts around every function of the package
