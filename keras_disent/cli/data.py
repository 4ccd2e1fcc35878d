"""The command `keras-disent data`: list, check, convert and preview data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from keras_disent._utils.progress import progress_bar
from keras_disent._utils.texts import printable
from keras_disent.cli.options import DataOption, data_options
from keras_disent.cli.start import Commands, say, show, takes_a_level

app = Commands(help="List, check, convert and preview data sets.")

Name = Annotated[
    str, typer.Argument(help="Name of a data set (see `data list`), or path of a folder or file.")
]
DataDir = Annotated[
    Path | None, typer.Option(help="Folder of downloaded files. Default: KERAS_DISENT_DATA.")
]


@app.command("list")
def list_() -> None:
    """List all data sets."""
    from keras_disent.datasets import DATASETS

    cards = [(name, make.card) for name, make in DATASETS.items()]
    rows = [(name, c.title, c.download or "none: rendered", c.license) for name, c in cards]
    show([("name", "title", "download", "license"), *rows], "Data sets", right=False, boxed=False)
    say("A folder of images is a data set too, with or without a labels.csv.")
    say("For details and download instructions: keras-disent data info NAME")


@app.command()
def info(name: Name, data_dir: DataDir = None, data_option: DataOption = None) -> None:
    """Describe a data set and where to download it, and list its factors if it is available."""
    from keras_disent import datasets
    from keras_disent.datasets.catalog import check_name

    check_name(name)
    if name in datasets.DATASETS:
        card = datasets.DATASETS[name].card
        rows = {
            "Data set": card.title,
            "Page": card.page,
            "Download": card.download,
            "License": card.license,
            "Cite": card.citation,
        }
        rows |= {f"File {i}": _file(file) for i, file in enumerate(card.files, 1)}
        for heading, text in rows.items():
            if text:
                say(f"{heading + ':':<10} {text}")
        for sentence in card.notes:
            say(sentence)
        say("")
    try:
        options = data_options(data_option, own=["data_dir"])
        data = datasets.load(name, data_dir=data_dir, **options)
    except FileNotFoundError as error:
        if name not in datasets.DATASETS:
            raise
        say(f"Not available: {error}")
        return
    say(f"{len(data):,} images {data.image_shape}")
    _factors(data)


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="A downloaded file, or a folder of pictures.")],
    data_option: DataOption = None,
) -> None:
    """Compare a file with its published size and checksum, and check that it can be read.

    Of a folder, all pictures that cannot be read are listed.
    """
    from keras_disent import datasets
    from keras_disent.datasets.decoding import UnusablePictures
    from keras_disent.datasets.published import files

    options = data_options(data_option, own=[])
    if file.is_dir():
        try:
            data = datasets.load(file, **options)
        except UnusablePictures as error:
            for name, reason in error.reasons.items():
                say(f"{printable(name)}: {reason}")
            raise
        for name, reason in getattr(data, "skipped", {}).items():
            say(f"{printable(name)}: {reason}")
        say(f"{file}: {len(data):,} readable images")
        return
    with progress_bar("Reading") as advance:
        checksum = files.digest(file, "sha256", advance)
    say(f"{file}: {file.stat().st_size:,} bytes, sha256 {checksum}")
    cards = [
        make.card
        for make in datasets.DATASETS.values()
        if file.name in [f.name for f in make.card.files]
    ]
    if not cards:
        count = len(datasets.load(file, **options))
        say(f"No published file has this name. The file has {count:,} readable images")
        return
    (card, *_) = cards
    files.check_file(file, card)
    published = next(f for f in card.files if f.name == file.name)
    is_checked = published.sha256 or published.md5 or published.size
    say(f"{card.title}: " + ("as published" if is_checked else "no published checksum"))


@app.command()
def convert(
    file: Annotated[Path, typer.Argument(help="An HDF5 file that is slow to read.")],
    out: Annotated[
        Path | None,
        typer.Option(help="File to write. Default: NAME.contiguous.h5 in the same folder."),
    ] = None,
) -> None:
    """Rewrite an HDF5 file without compression and chunks, so that images are read fast."""
    from keras_disent.datasets.file import HDF5
    from keras_disent.datasets.stored.hdf5 import resave_hdf5

    if file.suffix.lower() not in HDF5:
        raise ValueError(f"`data convert` takes {', '.join(HDF5)} files. Got '{file}'.")
    target = out or file.with_name(f"{file.stem}.contiguous{file.suffix}")
    with progress_bar("Writing") as advance:
        resave_hdf5(file, target, advance)
    say(f"Wrote {target}, {target.stat().st_size:,} bytes")


cache = Commands(help="Show or clear the cache of decoded images.", invoke_without_command=True)
app.add_typer(cache, name="cache")


@cache.callback()
@takes_a_level
def show_cache(context: typer.Context) -> None:
    """Show the place, the size and the entries of the cache."""
    from keras_disent.datasets.stored import cache as stored

    if context.invoked_subcommand:
        return
    paths = stored.entries()
    if paths:
        rows = [(path.name, f"{path.stat().st_size / 1e6:,.1f}") for path in paths]
        show([("entry", "megabytes"), *rows], boxed=False)
    total = sum(path.stat().st_size for path in paths)
    say(
        f"{len(paths)} entries in {stored.cache_folder()}, {total / 1e9:.2f} of at most "
        f"{stored.limit() / 1e9:,.0f} GB."
    )


@cache.command()
def clear() -> None:
    """Delete all entries; they are made again when they are needed."""
    from keras_disent.datasets.stored import cache as stored

    count, size = stored.clear()
    say(f"Deleted {count} entries, {size / 1e9:.2f} GB, from {stored.cache_folder()}.")


@app.command()
def preview(
    name: Name,
    out: Annotated[
        Path | None,
        typer.Option(help="Picture to write. Default: NAME.png in the current folder."),
    ] = None,
    data_dir: DataDir = None,
    image_size: Annotated[
        int | None,
        typer.Option(
            help="Height and width in pixels. Default: the data set's; of a folder, 32 as `train`."
        ),
    ] = None,
    channels: Annotated[int | None, typer.Option(help="1 gray, 3 color.")] = None,
    data_option: DataOption = None,
    seed: Annotated[int, typer.Option(help="Random seed of the images.")] = 0,
) -> None:
    """Draw a contact sheet: random images, and a traversal of each factor."""
    from keras_disent import datasets, plots
    from keras_disent.datasets.catalog import training_size

    data = datasets.load(
        name,
        data_dir=data_dir,
        image_size=training_size(name) if image_size is None else image_size,
        channels=channels,
        **data_options(data_option, own=["data_dir", "image_size", "channels"]),
    )
    path = plots.save(datasets.contact_sheet(data, seed=seed), out or Path(f"{data.name}.png"))
    _factors(data)
    height, width, channels = data.image_shape
    say(f"Images of {height} x {width} pixels, in {'gray' if channels == 1 else 'color'}.")
    say(f"Wrote {path}")


def _factors(data: Any) -> None:
    if not data.factor_names:
        say("No labels.")
        return
    from keras_disent.datasets.preview import format_values

    factors = zip(data.factor_names, data.factor_sizes, data.factor_kinds, strict=True)
    rows = [(name, str(size), kind, format_values(data, name)) for name, size, kind in factors]
    show([("factor", "steps", "kind", "values"), *rows], f"Factors of {data.name}", right="steps")


def _file(file: Any) -> str:
    parts = [file.name]
    if file.size:
        parts.append(f"{file.size:,} bytes")
    if file.sha256 or file.md5:
        parts.append(f"sha256 {file.sha256}" if file.sha256 else f"md5 {file.md5}")
    return ", ".join(parts)
