"""Steps that the promises share: compile, train, compare, save and reload small models."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

Make = Callable[[], Any]


class Data:
    """Hold images, and labels if there are any, of which calls return slices."""

    def __init__(self, images: np.ndarray, labels: np.ndarray | None):
        if len(images) < 16:
            raise ValueError(f"`images` must be at least 16. Got {len(images)}.")
        self.images, self.labels = images, labels

    def __call__(self, rows: slice = slice(16)) -> tuple[Any, ...]:
        labels = () if self.labels is None else (self.labels[rows],)
        return (self.images[rows], *labels)


def compiled(model: Any, optimizer: Callable[[], Any] | None = None, **kwargs: Any) -> Any:
    """Compile a model with a new optimizer for each player, and return it.

    Args:
        model: Model to compile.
        optimizer: Function that returns an optimizer. Default: Adam(0.01).
    """
    new = optimizer or partial(keras.optimizers.Adam, 0.01)
    model.compile({player: new() for player in model.players}, **kwargs)
    return model


def fitted(model: Any, data: tuple[Any, ...], **kwargs: Any) -> dict[str, list[Any]]:
    """Train in batches of 8, and return the logs."""
    return model.fit(*data, **{"batch_size": 8, "verbose": 0, **kwargs}).history


def arrays(variables: Iterable[Any]) -> list[np.ndarray]:
    """Return the values of variables."""
    return [ops.convert_to_numpy(v) for v in variables]


def weights_of(model: Any) -> np.ndarray:
    """Return the trainable weights as one array."""
    return np.concatenate([a.ravel() for a in arrays(model.trainable_variables)])


def state(model: Any) -> list[np.ndarray]:
    """Return the state of training: weights, seeds, steps and the optimizers' state."""
    variables = [*model.trainable_variables, *model.non_trainable_variables]
    return arrays([*variables, *model.optimizer.variables])


def same(left: list[np.ndarray], right: list[np.ndarray], what: str) -> None:
    """Assert that two lists of arrays are bit-exact."""
    assert len(left) == len(right), f"{what}: {len(left)} arrays against {len(right)}."
    gaps = [
        float(np.abs(a.astype("float64") - b).max())
        for a, b in zip(left, right, strict=True)
        if not np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    ]
    assert not gaps, f"{what}: {len(gaps)} of {len(left)} arrays differ, by up to {max(gaps):.3g}."


def close(got: Any, expected: Any, what: str, rtol: float = 1e-4, atol: float = 1e-5) -> None:
    """Assert that numbers agree up to rounding."""
    got, expected = np.asarray(got), np.asarray(expected)
    fine = np.allclose(got, expected, rtol=rtol, atol=atol)
    assert fine, f"{what}: differ by up to {np.abs(got - expected).max():.3g}."


def refused(call: Callable[[], Any], words: str, what: str) -> str:
    """Assert that a call raises a ValueError with some words, and return its message."""
    try:
        call()
    except (ValueError, AttributeError) as error:
        assert words in str(error), f"The error of {what} does not mention {words!r}: {error}"
        return str(error)
    raise AssertionError(f"{what} is accepted without an error.")


def reloaded(model: Any) -> Any:
    """Save a model to a file, and load it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        return keras.saving.load_model(path)


def as_text(config: Any) -> str:
    """Return a configuration as text, which is the same for tuples and lists."""
    return json.dumps(config, sort_keys=True, indent=1)


@contextlib.contextmanager
def global_policy(name: str) -> Iterator[None]:
    """Set Keras's global dtype policy inside a context."""
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(previous)
