"""Choose the settings of a training by its images.

What is chosen depends on the images alone, not on the machine, so that a run can be repeated.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_disent import datasets
from keras_disent.datasets.catalog import training_size
from keras_disent.experiments.config import Config

SAMPLE = 500
"""Images that are looked at."""

BINARY, FLAT = 0.9, 0.6
"""Least share of black and white values of shapes, and of equal neighbors in drawings."""


@dataclasses.dataclass(frozen=True)
class Statistics:
    """What is measured of images, by which settings are chosen.

    Attributes:
        images: Number of images of the data set.
        channels: 1 for gray, also where color images have three equal channels, or 3.
        extreme: Share of values that are black or white, within 2 of 255.
        flat: Share of neighboring pixels that are equal, within 2 of 255.
        colors: Median number of colors of an image, with 16 steps for each channel.
    """

    images: int
    channels: int
    extreme: float
    flat: float
    colors: int

    @property
    def kind(self) -> str:
        """ "shapes" if nearly all is black or white, "drawings" if it is flat, or "photographs"."""
        if self.extreme >= BINARY:
            return "shapes"
        return "drawings" if self.flat >= FLAT else "photographs"

    def __str__(self) -> str:
        """Return the statistics in words."""
        text = (
            f"{self.images:,} {'gray' if self.channels == 1 else 'color'} images that look like "
            f"{self.kind}: {self.extreme:.0%} of the values are black or white, {self.flat:.0%} of "
            f"the pixels are as their neighbors, {self.colors} colors in an image"
        )
        return text.replace("%", " %")


def statistics(data: Any) -> Statistics:
    """Measure images, by a sample of at most 500.

    Args:
        data: Data set.

    >>> from keras_disent.datasets import Sprites
    >>> statistics(Sprites(32)).kind
    'shapes'
    """
    count = min(SAMPLE, len(data))
    images = data.images(np.unique(np.linspace(0, len(data) - 1, count).astype(int)))
    gray = images.shape[-1] == 1 or bool((images == images[..., :1]).all())
    signed = images[..., :1].astype(int) if gray else images.astype(int)
    sides = [np.abs(np.diff(signed, axis=axis)).max(axis=-1) <= 2 for axis in (1, 2)]
    equal = np.concatenate([side.ravel() for side in sides])
    shades = signed // 16
    numbers = shades @ (16 ** np.arange(shades.shape[-1]))
    return Statistics(
        images=len(data),
        channels=1 if gray else images.shape[-1],
        extreme=float(np.mean((signed <= 2) | (signed >= 253))),
        flat=float(equal.mean()) if equal.size else 1.0,
        colors=int(np.median([len(np.unique(rows)) for rows in numbers.reshape(len(images), -1)])),
    )


DENSE = 64
"""Largest side of images for which dense networks are chosen."""

STEPS, WARM_UP, SHORT = 3_000, 200, 20
"""Training steps; those in which the learning rate rises; least number that has such a rise."""


class Kind(NamedTuple):
    """Settings of a kind of images.

    Attributes:
        scale: Standard deviation of a pixel of images of 32 x 32, or 0 for a Bernoulli likelihood.
        network: Networks of images of at most 64 x 64.
        rate: Highest learning rate of images of at most 32 x 32; it falls with the side.
        steps: Training steps.
    """

    scale: float
    network: str
    rate: float
    steps: int


KINDS = {
    "shapes": Kind(0.0, "conv", 1e-3, 2 * STEPS),
    "drawings": Kind(0.05, "silu_mlp", 2e-3, STEPS),
    "photographs": Kind(0.1, "silu_mlp", 2e-3, STEPS),
}

WEIGHTS: dict[str, dict[str, dict[str, Any]]] = {
    "beta_tcvae": {
        "bernoulli": {"beta": 4.0},
        "gaussian": {"beta": 60.0, "dimension_wise_kl_weight": 20.0},
    },
    "factor_vae": {"bernoulli": {"gamma": 10.0}, "gaussian": {"gamma": 60.0}},
    "beta_vae": {"bernoulli": {"beta": 4.0}, "gaussian": {"beta": 20.0}},
    "vae": {},
}
"""Weights of each method by likelihood. For other methods nothing is chosen."""

UNITS = 256
"""Units of a layer of a discriminator."""


@dataclasses.dataclass(frozen=True)
class Recommendation:
    """Settings of a training that were chosen by its images; `recommend` makes it.

    Attributes:
        data: Data set.
        config: The whole configuration: `Run.create(choice.config, "runs/mine")`.
        chosen: What was chosen, as fields of a `Config`; the rest was given, or is the same for
            all images.
        reason: Why, in words.
    """

    data: Any
    config: Config
    chosen: Mapping[str, Any]
    reason: str

    def build(self) -> Any:
        """Return the model, compiled."""
        return self.config.build(self.data)

    def fit_arguments(self, model: Any) -> dict[str, Any]:
        """Return the arguments of `fit` for the model: its batches, and the number of epochs.

        An epoch has `epoch_steps` steps, or all of them if `steps` is no multiple of that.
        """
        config = self.config
        if config.steps % config.epoch_steps:
            config = dataclasses.replace(config, epoch_steps=config.steps)
        epochs = config.steps // config.epoch_steps
        return {"x": config.batches(model, self.data), "epochs": epochs}

    def __str__(self) -> str:
        """Return in two lines what was chosen, and why."""
        if not self.chosen:
            return f"Nothing was chosen: {self.reason}."
        words = {
            "model": "{}",
            "likelihood": "likelihood {}",
            "network": "networks {}",
            "steps": "{:,} steps",
            "image_size": "images of {} pixels",
            "channels": "{} channel",
        }
        settings = dict(self.chosen)
        options = [f"{name} {value:g}" for name, value in settings.pop("options", {}).items()]
        parts = [words[name].format(settings[name]) for name in words if name in settings]
        parts[1:1] = options
        if "learning_rate" in settings:
            parts.append(f"learning rate {_rate_in_words(settings['learning_rate'])}")
        return f"Chose {', '.join(parts)}.\nBecause: {self.reason}."


def recommend(data: Any, **given: Any) -> Recommendation:
    """Choose method, likelihood, networks, learning rate and number of steps by the images.

    The choice depends on what kind of images they are, black and white shapes, drawings or
    photographs; docs/data.md has the table. It does not depend on the machine.

    Args:
        data: Folder, file or name of a data set, as `datasets.load` takes them; a data set; or
            images (n, h, w, c).
        given: Fields of a `Config`, which are kept as they are, such as `model="factor_vae"` or
            `steps=5000`; of `options={"beta": 8.0}`, each for itself.

    Raises:
        ValueError: As `datasets.load` and `Config`.

    >>> from keras_disent.datasets import Sprites
    >>> choice = recommend(Sprites(32), steps=20)
    >>> choice.config.model, choice.config.likelihood, choice.config.steps
    ('beta_tcvae', 'bernoulli', 20)
    >>> model = choice.build()
    >>> history = model.fit(**choice.fit_arguments(model), verbose=0)
    >>> model.steps_taken()
    20
    """
    is_path = isinstance(data, str | Path)
    size = training_size(data) if is_path else None
    if is_path:
        given = {**given, "data": str(data)}
        loaded = Config(**{"image_size": size, **given}).load_data()
    else:
        loaded = data if hasattr(data, "batches") else datasets.Images(data)
        given = {**given, "data": loaded.name}
    method, own = given.get("model", "beta_tcvae"), dict(given.get("options", {}))
    if method not in WEIGHTS:
        return Recommendation(
            loaded,
            Config(**given),
            {},
            f"{method} keeps its own settings; they are chosen for {', '.join(WEIGHTS)}",
        )
    seen = statistics(loaded)
    kind = KINDS[seen.kind]
    steps = given.get("steps", kind.steps)
    sides = loaded.image_shape[:2]
    likelihood = given.get("likelihood") or _likelihood(kind.scale, *sides)
    weights = dict(WEIGHTS[method].get(likelihood.partition("(")[0], {}))
    if method == "factor_vae":
        weights["discriminator"] = UNITS
    weights = {name: value for name, value in weights.items() if name not in own}
    values = {
        "model": method,
        "options": weights,
        "likelihood": likelihood,
        "network": kind.network if max(sides) <= DENSE else "conv",
        "learning_rate": _rate(kind.rate * min(1.0, 32 / max(sides)), steps),
        "steps": steps,
        "epoch_steps": min(500, steps),
    }
    if size is not None:
        values["image_size"] = size
    if seen.channels < loaded.image_shape[2]:
        values["channels"] = seen.channels
    choices = {n: value for n, value in values.items() if n == "options" or n not in given}
    config = Config(**{**given, **choices, "options": {**weights, **own}})
    if "channels" in choices:
        loaded = config.load_data() if is_path else loaded.with_channels(seen.channels)
    return Recommendation(loaded, config, choices, str(seen))


def _likelihood(scale: float, height: int, width: int) -> str:
    """Return the likelihood of pixels.

    Neighbors tell much the same, so that the scale grows with the side: an image then weighs as
    much against the KL, however large it is.
    """
    if not scale:
        return "bernoulli"
    return f"gaussian(scale={scale * math.sqrt(height * width) / 32:.3g})"


def _rate(peak: float, steps: int) -> float | str:
    """Return a learning rate that rises, and then falls as a cosine; a number for a few steps."""
    if steps < SHORT:
        return peak
    rising = min(WARM_UP, steps // 2)
    return (
        f"CosineDecay(0.0, {steps - rising}, warmup_target={peak:g}, warmup_steps={rising}, "
        "alpha=0.02)"
    )


def _rate_in_words(rate: float | str) -> str:
    if not isinstance(rate, str):
        return f"{rate:g}"
    peak = rate.partition("warmup_target=")[2].partition(",")[0]
    rising = rate.partition("warmup_steps=")[2].partition(",")[0]
    return f"{peak} after {rising} steps, then falling as a cosine"
