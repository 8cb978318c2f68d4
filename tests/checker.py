"""The checker of annotations that jaxtyping puts around the functions of the package while tests run."""

from typing import Any

from beartype import beartype


def checked(function: Any) -> Any:
    """Returns the function with its annotations checked, unless it is made anew in every call: that takes 2 ms each."""
    return function if "<locals>" in function.__qualname__ else beartype(function)
