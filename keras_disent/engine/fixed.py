"""Refuse changes that would be dropped without a word."""

from __future__ import annotations

import inspect
from typing import Any


class Fixed:
    """An object whose constructor's arguments cannot be set again.

    A step that is traced, and a variable that is made, hold what they were made with: an attribute
    that is set later would be shown and stored, and change nothing. What is alive is a descriptor
    of the class (`schedules.Weight`, a property).

    Raises (when an attribute is set that an argument of the constructor has set):
        AttributeError: names it, and says what to do.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        # On PyTorch layers are kept among a module's modules.
        is_set = name in self.__dict__ or name in self.__dict__.get("_modules", ())
        if is_set and name in _arguments(type(self)):
            raise AttributeError(
                f"`{name}` of {type(self).__name__} is fixed when it is made: a change would not "
                f"reach what is traced and stored. {self._instead(name)}"
            )
        super().__setattr__(name, value)

    def _instead(self, name: str) -> str:
        """Return what to do instead of setting an attribute."""
        return f"Make a new one with another `{name}`."


def _arguments(cls: type) -> frozenset[str]:
    """Return the arguments of the constructors of a class and of those above it."""
    if "_fixed" not in vars(cls):
        own = [c for c in cls.__mro__ if issubclass(c, Fixed) and c is not Fixed]
        names = {name for c in own for name in inspect.signature(c.__init__).parameters}
        live = {name for name in names if hasattr(getattr(cls, name, None), "__set__")}
        type.__setattr__(cls, "_fixed", frozenset(names - live - {"self", "args", "kwargs"}))
    return vars(cls)["_fixed"]
