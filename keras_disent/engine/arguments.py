"""Arguments of constructors: reject those without effect, and changes that come too late."""

from __future__ import annotations

import difflib
import inspect
from typing import Any

import keras

OF_EVERY_MODEL = ("name", "dtype", "trainable")  # Keras's arguments of a constructor that act here


class FrozenArguments:
    """Make the constructor arguments of an object read-only.

    A traced training step, and a variable, keep the values that they were created with. An
    attribute that is set later would be shown and stored, and change nothing. Descriptors of the
    class (`schedules.Weight`, a property) stay settable.

    Raises (when an attribute is set again that a constructor argument has set):
        AttributeError: Names the attribute, and says what to do.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        # On PyTorch layers are stored among a module's modules.
        is_set = name in self.__dict__ or name in self.__dict__.get("_modules", ())
        if is_set and name in _arguments(type(self)):
            raise AttributeError(
                f"`{name}` of {type(self).__name__} is fixed by the constructor: a change would "
                f"not reach what is traced and stored. {self._remedy(name)}"
            )
        super().__setattr__(name, value)

    def _remedy(self, name: str) -> str:
        """Return what to do instead of setting an attribute."""
        return f"Create a new one with another `{name}`."


def _arguments(cls: type) -> frozenset[str]:
    """Return the constructor arguments of a class and of its bases."""
    if "_frozen_arguments" not in vars(cls):
        bases = [
            c for c in cls.__mro__ if issubclass(c, FrozenArguments) and c is not FrozenArguments
        ]
        names = {name for c in bases for name in inspect.signature(c.__init__).parameters}
        settable = {name for name in names if hasattr(getattr(cls, name, None), "__set__")}
        frozen = frozenset(names - settable - {"self", "args", "kwargs"})
        type.__setattr__(cls, "_frozen_arguments", frozen)
    return vars(cls)["_frozen_arguments"]


def check_arguments(cls: type, rest: dict[str, Any]) -> None:
    """Raise a TypeError for arguments of a constructor that nothing would look at.

    Keras's layers take some, such as `input_shape`, that have no effect on a model.
    """
    unknown = [name for name in rest if name not in OF_EVERY_MODEL]
    if unknown:
        bases = cls.__mro__[: cls.__mro__.index(keras.Model)]
        constructors = [vars(c)["__init__"] for c in bases if "__init__" in vars(c)]
        names = [n for init in constructors for n in inspect.signature(init).parameters]
        arguments = [n for n in dict.fromkeys(names) if n not in ("self", "args", "kwargs")]
        close = difflib.get_close_matches(unknown[0], arguments, 1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise TypeError(
            f"{cls.__name__} takes the arguments {', '.join([*arguments, *OF_EVERY_MODEL])}. Got "
            f"{', '.join(map(repr, unknown))}.{hint}"
        )
