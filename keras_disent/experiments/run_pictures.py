"""Pictures of a run: images to start from, and drawings of what its latents do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from keras_disent import datasets, plots
from keras_disent.experiments.run_folder import RunFolder


def image(data: Any, which: int | str | Path) -> np.ndarray:
    """Return an image of a data set, or a picture as an image of it; see `Run.image`."""
    if not isinstance(which, int):
        return _picture(data, which)
    indices = datasets.example_indices(data)
    if not 0 <= which < len(indices):
        raise ValueError(f"`image` is a number from 0 to {len(indices) - 1}. Got {which}.")
    return data.images(indices[which : which + 1])[0]


def _picture(data: Any, name: str | Path) -> np.ndarray:
    if str(name) in data.files:
        return data.images([data.files.index(str(name))])[0]
    if not Path(name).is_file():
        location = f" among the {len(data.files)} of the data" if data.files else ""
        raise FileNotFoundError(f"There is no picture '{name}'{location}, nor a file of this path.")
    return datasets.read_image(name, like=data)


def drawing(
    run: RunFolder, draw: Callable[..., Any], which: int | str | Path
) -> Callable[[Path], Path]:
    """Draw the example images of a run's data, one of them changed.

    Args:
        run: Trained run.
        draw: Function of a model and images, such as `plots.traversals`.
        which: Image that is changed, as `Run.image`.

    Returns:
        A function that writes the drawing to a path, and returns the path.
    """
    start, images = image(run.data, which), datasets.example_images(run.data)
    if not isinstance(which, int):
        images, which = np.concatenate([start[None], images[:-1]]), 0
    model = run.trained_model()
    title = f"{type(model).__name__} on {Path(run.config.data).name}"
    picture = draw(model, images, start=which, title=f"{title}, step {model.steps_taken():,}")
    write = plots.save_animation if isinstance(picture, np.ndarray) else plots.save
    return lambda path: write(picture, path)
