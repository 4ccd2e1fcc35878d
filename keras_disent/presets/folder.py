"""The folder of a preset: `preset.json`, the card of a model with its configuration, and weights.

Nothing here imports Keras, so that presets can be listed without a backend.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_disent._utils import html
from keras_disent._utils.version import __version__

FORMAT = 1
"""Version of what the folder looks like."""

CARD, WEIGHTS = "preset.json", "model.weights.h5"
PREFIX = "preset:"
PACKAGED = Path(__file__).parent / "trained"


@dataclasses.dataclass(frozen=True)
class Preset:
    """A model that is stored with its card.

    Attributes:
        name: Name of the folder.
        folder: Path of the folder.
        model: Name of the class, such as "BetaTCVAE".
        image_shape: Shape (height, width, channels) of an image.
        size: Size of the folder's files in bytes.
        card: What is known about the model: `description`, `data`, `run` (the configuration of its
            training), `command` (which trains it again), `scores`, `latent_names`, `steps`, and
            `keras_disent` (the version that wrote it). Of a model that was saved by
            `save_to_preset` alone, it holds what the model itself knows.
        config: Configuration of the model, as Keras serializes it.
    """

    name: str
    folder: Path
    model: str
    image_shape: tuple[int, int, int]
    size: int
    card: dict[str, Any] = dataclasses.field(repr=False)
    config: dict[str, Any] = dataclasses.field(repr=False)

    @property
    def description(self) -> str:
        """One sentence about the model."""
        return str(self.card.get("description", ""))

    @property
    def data(self) -> str:
        """The name of its training data, with the arguments of the data set."""
        return str(self.card.get("data", ""))

    @property
    def scores(self) -> dict[str, float]:
        """Scores by their name, without those that have no value."""
        scores = self.card.get("scores") or {}
        return {name: s["value"] for name, s in scores.items() if s.get("value") is not None}


class Presets(tuple[Preset, ...]):
    """Several presets, which are shown as a table."""

    heads = ("name", "class", "data", "MB", "scores", "description")

    def rows(self) -> list[tuple[str, ...]]:
        """Return a row of text for each preset."""
        return [
            (
                preset.name,
                preset.model,
                preset.data,
                f"{preset.size / 1e6:.1f}",
                ", ".join(
                    f"{name} {preset.scores[name]:.2f}"
                    for name in preset.card.get("headline", ())
                    if name in preset.scores
                ),
                preset.description,
            )
            for preset in self
        ]

    def __repr__(self) -> str:
        """Return the table as text."""
        rows = [self.heads, *self.rows()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = (
            "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True))
            for row in rows
        )
        return "\n".join(line.rstrip() for line in lines)

    def _repr_html_(self) -> str:
        """Return the table as HTML, which notebooks show."""
        return html.table(self.heads, self.rows())


def packaged() -> Presets:
    """Return the presets in the package, ordered by name."""
    folders = sorted(path.parent for path in PACKAGED.glob(f"*/{CARD}"))
    return Presets(_read(folder) for folder in folders)


def is_preset(path: str | Path) -> bool:
    """Return whether a path stands for a preset: "preset:NAME", or a folder that holds one.

    >>> is_preset("preset:faces_person"), is_preset("runs/first")
    (True, False)
    """
    return str(path).startswith(PREFIX) or (Path(path) / CARD).is_file()


def read(preset: str | Path) -> Preset:
    """Read the card of a preset.

    Args:
        preset: Name of a preset in the package, also as "preset:NAME", or path of a folder.

    Raises:
        ValueError: If there is no such preset, it is damaged, or of another version.

    >>> read("faces_person").model
    'BetaTCVAE'
    """
    text = str(preset).removeprefix(PREFIX)
    if text.isidentifier() and (PACKAGED / text / CARD).is_file():
        return _read(PACKAGED / text)
    if Path(text).is_dir():
        return _read(Path(text))
    names = ", ".join(path.parent.name for path in sorted(PACKAGED.glob(f"*/{CARD}")))
    raise ValueError(
        f"Unknown preset {text!r}. Choose from: {names}, or give the folder of another one."
    )


def _read(folder: Path) -> Preset:
    path = folder / CARD
    missing = [name for name in (CARD, WEIGHTS) if not (folder / name).is_file()]
    if missing:
        raise ValueError(
            f"A preset is a folder with {CARD} and {WEIGHTS}. There is no {missing[0]} in "
            f"{str(folder)!r}."
        )
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        format, card = stored["format"], stored["card"]
        if format == FORMAT:
            config = stored["model"]
            name, (height, width, channels) = config["class_name"], config["config"]["image_shape"]
            shape = (int(height), int(width), int(channels))
            if not isinstance(name, str) or not isinstance(card, dict):
                raise TypeError("it does not name the class of its model")
    except OSError as error:
        raise ValueError(f"Cannot read {str(path)!r}: {error.strerror}.") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        reason = f"no key {error}" if isinstance(error, KeyError) else error
        raise ValueError(f"{str(path)!r} is not the card of a preset: {reason}.") from None
    if format != FORMAT:
        raise ValueError(
            f"{str(path)!r} is of format {format!r}; keras-disent {__version__} reads format "
            f"{FORMAT}. Install the version of keras-disent that wrote it, or train it again."
        )
    size = sum((folder / name).stat().st_size for name in (CARD, WEIGHTS))
    return Preset(folder.resolve().name, folder, name, shape, size, card, config)


def card_text(model: Mapping[str, Any], card: Mapping[str, Any]) -> str:
    """Return the content of the file of a card."""
    stored = {"format": FORMAT, "card": {**card, "keras_disent": __version__}, "model": model}
    return json.dumps(stored, indent=1, allow_nan=False) + "\n"
