"""The command line's `latents`, `edit`, `interpolate`, `nearest`, `extremes` and `poster`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keras_disent.cli.options import pairs
from keras_disent.cli.start import Backend, Imports, RunFolder, Threads, say, show, start, warn

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
    opened = _opened(run, imports, threads, backend)
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


def edit(
    run: RunFolder,
    picture: Picture,
    out: Out,
    values: Annotated[
        list[str] | None,
        typer.Option("--set", help="Value of a latent, such as hue=+1.5; may come several times."),
    ] = None,
    relative: Annotated[
        bool, typer.Option("--relative", help="Add the values to those of the picture.")
    ] = False,
    imports: Imports = None,
    threads: Threads = None,
    backend: Backend = None,
) -> None:
    """Change latents of a picture by name."""
    opened = _opened(run, imports, threads, backend, out)
    changes = {_latent(name): _number(text) for name, text in pairs(values, "--set").items()}
    model = opened.trained_model()
    with _warnings_as_lines():
        edited = model.edit(_image(opened, picture), changes, relative=relative)
    _save(edited, out)


def interpolate(
    run: RunFolder,
    first: Picture,
    second: Picture,
    out: Out,
    number: Number = 9,
    imports: Imports = None,
    threads: Threads = None,
    backend: Backend = None,
) -> None:
    """Decode the way from one picture to another: a row, or a .gif or .webp that moves."""
    import numpy as np

    from keras_disent import plots

    opened = _opened(run, imports, threads, backend, out)
    a, b = _image(opened, first), _image(opened, second)
    images = opened.trained_model().interpolate(a, b, number)
    if plots.is_animation(out):
        images = np.concatenate([images, images[-2:0:-1]])  # there and back
        say(f"Wrote {plots.save_animation(images, out)}")
    else:
        _save(images, out)


def nearest(
    run: RunFolder,
    picture: Picture,
    out: Out,
    number: Number = 8,
    imports: Imports = None,
    threads: Threads = None,
    backend: Backend = None,
) -> None:
    """Find the images of the data whose codes are nearest to that of a picture."""
    opened = _opened(run, imports, threads, backend, out)
    indices = opened.trained_model().nearest(_image(opened, picture), opened.data, number)
    say(f"Nearest: {_names(opened.data, indices)}")
    _save(opened.data.images(indices), out)


def extremes(
    run: RunFolder,
    latent: Annotated[str, typer.Argument(help="Name or number of a latent.")],
    out: Out,
    number: Number = 8,
    imports: Imports = None,
    threads: Threads = None,
    backend: Backend = None,
) -> None:
    """Find the images of the data with the smallest (above) and largest values of a latent."""
    opened = _opened(run, imports, threads, backend, out)
    import numpy as np

    from keras_disent import plots

    ends = opened.trained_model().extremes(_latent(latent), opened.data, number)
    for which, indices in zip(("Smallest", "Largest"), ends, strict=True):
        say(f"{which}: {_names(opened.data, indices)}")
    rows = np.stack([opened.data.images(indices) for indices in ends])
    _save(plots.mosaic(rows / np.float32(255)), out)


def poster(
    run: RunFolder,
    image: Annotated[str, typer.Option(help="Image to change, as that of traverse.")] = "0",
    out: Annotated[Path | None, typer.Option(help="Picture. Default: RUN/poster.png.")] = None,
    imports: Imports = None,
    threads: Threads = None,
    backend: Backend = None,
) -> None:
    """Draw all latents: what each does, and the images with least and most of it."""
    say(f"Wrote {_opened(run, imports, threads, backend).poster(out, which(image))}")


def which(image: str) -> int | str:
    """Return the number of an image, or the name or path of a picture."""
    return int(image) if image.lstrip("-").isdecimal() else image


def _opened(
    run: Path, imports: Any, threads: int | None, backend: str | None, out: Path | None = None
) -> Any:
    """Return a run that is there, after checking that a picture may be written."""
    start(backend, imports, threads)
    from keras_disent import plots
    from keras_disent.experiments import Run

    opened = Run.open(run)
    if out is not None:
        plots.check_image_path(out)
        opened.check_outside(out)
    return opened


def _image(opened: Any, picture: str) -> np.ndarray:
    return opened.image(which(picture))


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
