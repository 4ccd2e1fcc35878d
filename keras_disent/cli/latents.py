"""The command line's `latents`, `edit`, `interpolate`, `nearest`, `extremes` and `poster`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keras_disent.cli.opening import open_run, opens_a_run
from keras_disent.cli.options import pairs
from keras_disent.cli.start import Backend, Imports, RunFolder, Threads, say, show, warn

if TYPE_CHECKING:
    import numpy as np

Picture = Annotated[
    str, typer.Argument(help="Path of a picture, name of one of the data, or number of an example.")
]
Out = Annotated[Path, typer.Option(help="Picture to write: .png, .webp, .jpg, .gif ...")]
Number = Annotated[int, typer.Option("-n", "--number", help="Number of images.")]


def latents(
    run: RunFolder,
    name: Annotated[
        list[str] | None,
        typer.Option(
            "--name", help="New name of a latent, such as z0=hue; may come several times."
        ),
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option("--from", help="Page of knobs: take the names that were typed into it."),
    ] = None,
    suggest: Annotated[
        bool, typer.Option("--suggest", help="Name latents after the factors that they encode.")
    ] = False,
    imports: Imports = None,
    threads: Threads = None,
    backend: Backend = None,
) -> None:
    """List the latents of a run's model with names, importance and range, or name them."""
    from keras_disent import knobs

    typed = None if page is None else knobs.read_names(page)
    opened = open_run(run, imports, threads, backend)
    names = {_latent(old): new for old, new in pairs(name, "--name").items()}
    if suggest:
        opened.name_latents()
    if typed:
        opened.name_latents(typed)
    if names:
        opened.name_latents(names)
    from keras_disent.datasets import example_images

    model = opened.trained_model()
    images = example_images(opened.data)
    importance, codes = model.latent_importance(images), model.encode(images)
    rows = [("latent", "name", f"importance ({model.importance_unit})", "range in the data")]
    rows += [
        (
            str(i),
            latent,
            f"{importance[i]:.2f}",
            f"{codes[:, i].min():.2f} to {codes[:, i].max():.2f}",
        )
        for i, latent in enumerate(model.latent_names)
    ]
    show(rows, f"Latents of {run}")


@opens_a_run
def edit(
    run: Any,
    picture: Picture,
    out: Out,
    values: Annotated[
        list[str] | None,
        typer.Option("--set", help="Value of a latent, such as hue=+1.5; may come several times."),
    ] = None,
    relative: Annotated[
        bool, typer.Option("--relative", help="Add the values to those of the picture.")
    ] = False,
) -> None:
    """Change latents of a picture by name."""
    _check_picture(run, out)
    changes = {_latent(name): _number(text) for name, text in pairs(values, "--set").items()}
    model = run.trained_model()
    with _warnings_as_lines():
        edited = model.edit(_image(run, picture), changes, relative=relative)
    _save(edited, out)


@opens_a_run
def interpolate(
    run: Any,
    first: Picture,
    second: Picture,
    out: Out,
    number: Number = 9,
) -> None:
    """Decode the way from one picture to another: a row, or a .gif or .webp that moves."""
    import numpy as np

    from keras_disent import plots

    _check_picture(run, out)
    a, b = _image(run, first), _image(run, second)
    images = run.trained_model().interpolate(a, b, number)
    if plots.is_animation(out):
        images = np.concatenate([images, images[-2:0:-1]])  # there and back
        say(f"Wrote {plots.save_animation(images, out)}")
    else:
        _save(images, out)


@opens_a_run
def nearest(
    run: Any,
    picture: Picture,
    out: Out,
    number: Number = 8,
) -> None:
    """Find the images of the data whose codes are nearest to that of a picture."""
    _check_picture(run, out)
    indices = run.trained_model().nearest(_image(run, picture), run.data, number)
    say(f"Nearest: {_names(run.data, indices)}")
    _save(run.data.images(indices), out)


@opens_a_run
def extremes(
    run: Any,
    latent: Annotated[str, typer.Argument(help="Name or number of a latent.")],
    out: Out,
    number: Number = 8,
) -> None:
    """Find the images of the data with the smallest (above) and largest values of a latent."""
    _check_picture(run, out)
    import numpy as np

    from keras_disent import plots

    ends = run.trained_model().extremes(_latent(latent), run.data, number)
    for which, indices in zip(("Smallest", "Largest"), ends, strict=True):
        say(f"{which}: {_names(run.data, indices)}")
    rows = np.stack([run.data.images(indices) for indices in ends])
    _save(plots.mosaic(rows / np.float32(255)), out)


@opens_a_run
def poster(
    run: Any,
    image: Annotated[str, typer.Option(help="Image to change, as that of traverse.")] = "0",
    out: Annotated[Path | None, typer.Option(help="Picture. Default: RUN/poster.png.")] = None,
) -> None:
    """Draw all latents: what each does, and the images with least and most of it."""
    say(f"Wrote {run.poster(out, which(image))}")


def which(image: str) -> int | str:
    """Return the number of an image, or the name or path of a picture."""
    return int(image) if image.lstrip("-").isdecimal() else image


def _check_picture(run: Any, out: Path) -> None:
    """Raise a ValueError if a picture cannot be written here."""
    from keras_disent import plots

    plots.check_image_path(out)
    run.check_outside(out)


def _image(run: Any, picture: str) -> np.ndarray:
    return run.image(which(picture))


def _latent(text: str) -> int | str:
    return int(text) if text.isdecimal() else text


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"--set takes a number for each latent. Got {text!r}.") from None


def _names(data: Any, indices: np.ndarray) -> str:
    """Return the names of pictures, or the numbers of images."""
    return ", ".join(data.files[i] if data.files else str(i) for i in indices)


def _save(image: np.ndarray, out: Path) -> None:
    from keras_disent import plots

    say(f"Wrote {plots.save_image(image, out)}")


@contextmanager
def _warnings_as_lines() -> Iterator[None]:
    """Show warnings as lines, without the place in the code."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield
    for warning in caught:
        warn(str(warning.message))
