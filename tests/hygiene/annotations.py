"""Checks shapes and types at every call of the package: what the plugin of jaxtyping puts around its functions."""

import inspect
import re
from collections import Counter
from collections.abc import Callable
from functools import partial, wraps
from typing import Any, get_type_hints

import jaxtyping
import pytest
from beartype import BeartypeConf, beartype

SHAPES = re.compile(r"(Float|Int|UInt|Bool|Num|Shaped)\d*\[")
CHECKED_CALLS = 200
"""Of every function in every test; a chain of thousands of steps shows in these what it shows in all."""
check_shapes = jaxtyping.jaxtyped
check_types = beartype(conf=BeartypeConf(violation_type=jaxtyping.TypeCheckError))
calls_so_far: Counter[Callable[..., Any]] = Counter()


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
    """Returns the checked function, made when it is first called, and the plain one from some call of a test on."""
    checked: list[Callable[..., Any]] = []

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        calls_so_far[function] += 1
        if calls_so_far[function] > CHECKED_CALLS:
            return function(*args, **kwargs)
        if not checked:
            shapes = has_shapes(function)
            checked.append(check_shapes(function, typechecker=typechecker) if shapes else check_types(function))
        return checked[0](*args, **kwargs)

    return call


def has_shapes(function: Callable[..., Any]) -> bool:
    """Says whether an annotation has a shape, also one that a name such as Draws stands for."""
    try:
        return bool(SHAPES.search(str(get_type_hints(function))))
    except (NameError, TypeError):  # for static checkers alone: not imported, or pandas' Series[bool]
        return True


@pytest.fixture(autouse=True)
def _checks_begin_anew() -> None:
    calls_so_far.clear()


jaxtyping.jaxtyped = check  # what jaxtyping's hook puts around every function of the package
