"""Checks of arguments about concepts: names, graphs of allowed edges, and interventions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_disent._utils import checks
from keras_disent._utils.arrays import to_numpy


def names(argument: str, concepts: Any) -> tuple[str, ...]:
    """Return names of concepts from names or their number.

    Raises:
        ValueError: If `concepts` is neither an integer of at least 1 nor different names.
    """
    if isinstance(concepts, (int, np.integer)) and not isinstance(concepts, bool):
        count = checks.check_integer(argument, concepts, at_least=1)
        return tuple(f"concept_{i}" for i in range(count))
    fits = isinstance(concepts, Sequence) and not isinstance(concepts, str) and len(concepts) > 0
    if not fits or any(not isinstance(name, str) or not name for name in concepts):
        raise ValueError(f"`{argument}` is a list of names, or their number. Got {concepts!r}.")
    if len(set(concepts)) < len(concepts):
        raise ValueError(f"`{argument}` need different names. Got {', '.join(concepts)}.")
    return tuple(concepts)


def superset(argument: str, graph: Any, names: tuple[str, ...]) -> np.ndarray:
    """Return the allowed edges as a (K, K) int array of 0 and 1.

    Args:
        argument: Name of the argument in errors.
        graph: None for all, an array, or `{cause: effects}`, effects a name or several.
        names: Names of the concepts.

    Raises:
        ValueError: Names the argument, the rule and what came.
    """
    size = len(names)
    if graph is None:
        return 1 - np.eye(size, dtype=int)
    if isinstance(graph, Mapping):
        edges = np.zeros((size, size), int)
        for cause, effects in graph.items():
            for effect in [effects] if isinstance(effects, str) else effects:
                for name in (cause, effect):
                    if name not in names:
                        raise ValueError(
                            f"`{argument}` needs names out of {', '.join(names)}. Got {name!r}."
                        )
                edges[names.index(cause), names.index(effect)] = 1
    else:
        edges = np.asarray(graph)
        if edges.shape != (size, size):
            raise ValueError(
                f"`{argument}` must be square, ({size}, {size}) for the concepts "
                f"{', '.join(names)}. Got shape {edges.shape}."
            )
        if edges.dtype.kind not in "biuf" or not np.isin(edges, (0, 1)).all():
            raise ValueError(f"`{argument}` holds 0 and 1 only. Got {np.unique(edges)}.")
    if np.diag(edges).any():
        name = names[int(np.flatnonzero(np.diag(edges))[0])]
        raise ValueError(f"`{argument}` has no edge from a concept to itself. Got one at {name!r}.")
    return edges.astype(int)


def interventions(
    names: tuple[str, ...], settings: Mapping[str, Any], rows: int
) -> dict[int, np.ndarray]:
    """Return the interventions as `{index of the concept: (rows,) floats}`.

    Raises:
        ValueError: Names the argument, the rule and what came.
    """
    values = {}
    for name, value in settings.items():
        if name not in names:
            raise ValueError(
                f"`interventions` needs names out of {', '.join(names)}. Got {name!r}."
            )
        column = to_numpy(value)
        if column.dtype.kind not in "iuf" or not np.isfinite(column).all():
            raise ValueError(f"`interventions` needs finite numbers for '{name}'. Got {value!r}.")
        if column.shape not in ((), (rows,)):
            raise ValueError(
                f"`interventions` needs one value for '{name}', or one per image. "
                f"Got shape {column.shape} for {rows} images."
            )
        values[names.index(name)] = np.broadcast_to(column, rows).astype(float)
    return values
