"""Names of latents: z0, z1, ... until better ones are known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from keras_disent._utils.arrays import to_numpy


def default_names(count: int) -> tuple[str, ...]:
    """Return the names of latents that have none.

    >>> default_names(3)
    ('z0', 'z1', 'z2')
    """
    return tuple(f"z{i}" for i in range(count))


def latent_indices(latents: Any, names: Sequence[str]) -> list[int]:
    """Return the indices of latents, which are given by index or by name.

    Args:
        latents: Indices from 0 on, or names; None for all of them in order.
        names: Names of all latents.

    Raises:
        ValueError: If there is none, or one is neither an index nor a name.

    >>> latent_indices(["size", 0], ("hue", "size"))
    [1, 0]
    """
    if latents is None:
        return list(range(len(names)))
    if hasattr(latents, "shape"):
        latents = to_numpy(latents).tolist()
    if isinstance(latents, str) or not isinstance(latents, Iterable):
        raise ValueError(f"`latents` is a list of names or numbers. Got {latents!r}.")
    indices = [latent_index(latent, names) for latent in latents]
    if not indices:
        raise ValueError("`latents` must hold at least one latent. Got none.")
    return indices


def latent_index(latent: Any, names: Sequence[str]) -> int:
    """Return the index of one latent, which is given by index or by name.

    Raises:
        ValueError: If it is neither; lists the names.

    >>> latent_index("length", ("hue", "size"))
    Traceback (most recent call last):
    ...
    ValueError: Unknown latent 'length'. Choose from: hue, size, or a number from 0 to 1.
    """
    if isinstance(latent, str) and latent in names:
        return names.index(latent)
    if not isinstance(latent, (str, bool)):
        try:
            number = float(latent)
        except (TypeError, ValueError):
            number = -1.0
        if number in range(len(names)):
            return int(number)
    shown = latent.item() if isinstance(latent, np.generic) else latent
    raise ValueError(
        f"Unknown latent {shown!r}. Choose from: {', '.join(names)}, or a number from 0 to "
        f"{len(names) - 1}."
    )


def check_names(names: Any, present: Sequence[str]) -> tuple[str, ...]:
    """Return the new names of all latents.

    Args:
        names: As many names as there are latents, or new names of some of them by their present
            name or index.
        present: Present names.

    Raises:
        ValueError: If there are more or fewer names, two are equal, or one is not a name.

    >>> check_names({"z1": "hue"}, ("z0", "z1"))
    ('z0', 'hue')
    """
    if isinstance(names, Mapping):
        changed = list(present)
        for latent, name in names.items():
            changed[latent_index(latent, present)] = name
        names = changed
    if isinstance(names, str) or not isinstance(names, Iterable):
        names = ()
    names = list(names)
    if len(names) != len(present):
        raise ValueError(
            f"`latent_names` needs {len(present)} names, one for each latent, or new names of some "
            f"as a dict. Got {len(names)}."
        )
    for name in names:
        if not (isinstance(name, str) and name.strip() and name.isprintable()) or (
            "=" in name or name.strip("+-").isdecimal()
        ):
            raise ValueError(
                "The name of a latent is a text of one line, neither a number nor with '=' in it. "
                f"Got {name!r}."
            )
        if names.count(name) > 1:
            raise ValueError(f"`latent_names` needs different names. Got {name!r} twice.")
    return tuple(str(name) for name in names)
