"""The command line's `data`: what there is, whether a file is whole, and how it looks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from keras_disent.cli.start import console, say

app = typer.Typer(help="See which data sets there are, and check their files.")

Name = Annotated[str, typer.Argument(help="A data set (see `data list`), or a folder or file.")]
DataDir = Annotated[
    Path | None, typer.Option(help="Folder of downloaded files. Default: KERAS_DISENT_DATA.")
]


@app.command("list")
def list_() -> None:
    """List all data sets."""
    from keras_disent.datasets import DATASETS

    table = Table(title="Data sets", title_justify="left", box=None, pad_edge=False)
    table.add_column("name", no_wrap=True)
    for heading in ("what it is", "download", "license"):
        table.add_column(heading)
    for name, make in DATASETS.items():
        card = make.card
        table.add_row(name, card.title, card.download or "drawn", card.license)
    console.print(table)
    say("Any folder of images will do as well, with or without a labels.csv.")
    say("More of one, and where to get it: keras-disent data info NAME")


@app.command()
def info(name: Name, data_dir: DataDir = None) -> None:
    """Tell what a data set is and where to get it, and list its factors if it is there."""
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
        for sentence in card.about:
            say(sentence)
        say("")
    try:
        data = datasets.load(name, data_dir=data_dir)
    except FileNotFoundError as error:
        say(f"Not here: {error}")
        return
    say(f"{len(data):,} images {data.image_shape}")
    _factors(data)


@app.command()
def check(file: Annotated[Path, typer.Argument(help="A downloaded file.")]) -> None:
    """Compare a file with its published size and checksum, and open it."""
    from keras_disent import datasets
    from keras_disent.datasets.published import files
    from keras_disent.datasets.stored.checksums import digest

    if file.is_dir():
        say(f"{file}: {len(datasets.load(file)):,} images that can be read")
        return
    with _bar("Reading") as advance:
        checksum = digest(file, "sha256", advance)
    say(f"{file}: {file.stat().st_size:,} bytes, sha256 {checksum}")
    known = [
        make.card
        for make in datasets.DATASETS.values()
        if file.name in [f.name for f in make.card.files]
    ]
    if not known:
        say(f"No published file has this name. It opens, with {len(datasets.load(file)):,} images")
        return
    (card, *_) = known
    files.check_file(file, card)
    published = next(f for f in card.files if f.name == file.name)
    sure = published.sha256 or published.md5 or published.size
    say(f"{card.title}: " + ("as published" if sure else "no checksum of it is published"))


@app.command()
def convert(
    file: Annotated[Path, typer.Argument(help="An HDF5 file that is slow to read.")],
    out: Annotated[
        Path | None, typer.Option(help="New file. Default: NAME.contiguous.h5 beside it.")
    ] = None,
) -> None:
    """Write an HDF5 file anew, without compression and chunks, so that images are read fast."""
    from keras_disent.datasets.file import HDF5
    from keras_disent.datasets.stored.hdf5 import resave_hdf5

    if file.suffix.lower() not in HDF5:
        raise ValueError(f"`data convert` takes {', '.join(HDF5)} files. Got '{file}'.")
    target = out or file.with_name(f"{file.stem}.contiguous{file.suffix}")
    with _bar("Writing") as advance:
        resave_hdf5(file, target, advance)
    say(f"Wrote {target}, {target.stat().st_size:,} bytes")


@app.command()
def preview(
    name: Name,
    out: Annotated[Path | None, typer.Option(help="Picture. Default: NAME.png here.")] = None,
    data_dir: DataDir = None,
    image_size: Annotated[int | None, typer.Option(help="Height and width in pixels.")] = None,
    seed: Annotated[int, typer.Option(help="Of the images at random.")] = 0,
) -> None:
    """Draw a contact sheet: images at random, and what each factor changes."""
    from keras_disent import datasets, plots

    data = datasets.load(name, data_dir=data_dir, image_size=image_size)
    path = plots.save(datasets.contact_sheet(data, seed=seed), out or Path(f"{data.name}.png"))
    _factors(data)
    say(f"Look at {path}")


def _factors(data: Any) -> None:
    if not data.factor_names:
        say("No labels.")
        return
    table = Table(title=f"Factors of {data.name}", title_justify="left")
    for heading in ("factor", "steps", "kind", "values"):
        table.add_column(heading, justify="right" if heading == "steps" else "left")
    from keras_disent.datasets.preview import format_values

    for name, size, kind in zip(
        data.factor_names, data.factor_sizes, data.factor_kinds, strict=True
    ):
        table.add_row(name, str(size), kind, format_values(data, name))
    console.print(table)


def _file(file: Any) -> str:
    parts = [file.name]
    if file.size:
        parts.append(f"{file.size:,} bytes")
    if file.sha256 or file.md5:
        parts.append(f"sha256 {file.sha256}" if file.sha256 else f"md5 {file.md5}")
    return ", ".join(parts)


def _bar(description: str) -> Any:
    from keras_disent._utils.progress import progress_bar

    return progress_bar(description)
