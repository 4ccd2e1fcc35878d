"""Understand other spellings of arguments."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])


def also_called(**names: str) -> Callable[[AnyFunction], AnyFunction]:
    """Let a function take some of its arguments under a second name.

    Args:
        names: For each second name that of the argument.

    Raises (when the function is called):
        TypeError: If an argument is given under both names.

    >>> @also_called(n="n_samples")
    ... def draw(n_samples=3):
    ...     return n_samples
    >>> draw(n=5)
    5
    """

    def decorate(function: AnyFunction) -> AnyFunction:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            for second, first in names.items():
                if second in kwargs:
                    if first in kwargs:
                        raise TypeError(f"`{first}` is given twice, also as `{second}`.")
                    kwargs[first] = kwargs.pop(second)
            return function(*args, **kwargs)

        return call  # type: ignore[return-value]

    return decorate
