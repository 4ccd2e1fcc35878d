"""Commands that share options: what Typer reads of a function that was made of others."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any


def signed(
    function: Callable[..., Any],
    parameters: Mapping[str, inspect.Parameter],
    hints: Mapping[str, Any],
) -> Callable[..., Any]:
    """Give a function of keyword arguments the signature that Typer reads, and return it.

    Args:
        function: The function.
        parameters: Its parameters by name, in their order.
        hints: Their types.
    """
    function.__annotations__ = {name: hints[name] for name in parameters}
    function.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
            for name, parameter in parameters.items()
        ]
    )
    return function
