"""Checks that built-in and custom models keep the promises of this package.

`check_model` checks a model on the current backend. Arguments and changes take effect or are
rejected, interrupted training can be resumed, evaluation does not influence training, files store
everything, and results do not depend on how a step is compiled. It stops at the first broken
promise, and names it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from keras_disent._utils.registry import lookup
from keras_disent.testing import arguments, learning, numbers, resuming
from keras_disent.testing.helpers import Data, Make

__all__ = ["PROMISES", "check_model"]


def __dir__() -> list[str]:
    return sorted(__all__)


def check_model(
    make: Make,
    images: np.ndarray,
    labels: np.ndarray | None = None,
    promises: Iterable[str] | None = None,
) -> None:
    """Check that a model keeps the promises of this package.

    Args:
        make: Function that creates a small model, the same each time, not compiled, with a fixed
            seed.
        images: Images (n, h, w, c), or pairs (n, 2, h, w, c) for a model of pairs; uint8, n at
            least 16. Large models take long: some promises recompile a step.
        labels: Labels (n, k), for a model that learns from labels.
        promises: Names from `PROMISES`. Default: all of them.

    Raises:
        AssertionError: Names the broken promise, and the failure.
        ValueError: If there is no such promise.

    >>> from keras_disent import VAE, networks
    >>> def make():
    ...     small = {"width": 0.02, "seed": 1}
    ...     return VAE(
    ...         (8, 8, 1),
    ...         latent_dim=2,
    ...         encoder=networks.mlp_encoder((8, 8, 1), **small),
    ...         decoder=networks.mlp_decoder((8, 8, 1), 2, **small),
    ...         seed=0,
    ...     )
    >>> images = np.random.default_rng(0).integers(256, size=(16, 8, 8, 1)).astype("uint8")
    >>> check_model(make, images, promises=["configuration", "evaluation"])
    """
    data = Data(images, labels)
    for name in PROMISES if promises is None else promises:
        check = lookup(name, PROMISES, "promise")
        try:
            check(make, data)
        except Exception as error:
            kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
            raise AssertionError(f"The promise {name!r} is broken. {kind}{error}") from error


PROMISES: dict[str, Callable[[Make, Data], None]] = {
    "configuration": arguments.configuration,
    "arguments": arguments.arguments,
    "terms": learning.terms,
    "players": learning.players,
    "weights": arguments.weights,
    "evaluation": resuming.evaluation,
    "image weights": learning.image_weights,
    "layer losses": learning.layer_losses,
    "metrics": learning.metrics,
    "not finite": numbers.not_finite,
    "interruption": resuming.interruption,
    "backup": resuming.backup,
    "files": resuming.files,
    "compilers": numbers.compilers,
    "learning rate": learning.learning_rate,
    "precision": numbers.precision,
    "settings": arguments.settings,
    "seeds": arguments.seeds,
}
