"""The command line's `export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from keras_disent._utils.progress import progress_bar
from keras_disent.cli.opening import opens_a_run
from keras_disent.cli.start import say, show


@opens_a_run
def export(
    run: Any,
    format: Annotated[
        str, typer.Option(help="saved_model, onnx, litert, openvino or torch.")
    ] = "saved_model",
    out: Annotated[
        Path | None, typer.Option(help="New or empty folder. Default: RUN/export/FORMAT.")
    ] = None,
    images: Annotated[
        str, typer.Option(help="Images that come out: float32 in [0, 1], or uint8.")
    ] = "float32",
) -> None:
    """Write the model of a finished run for serving, with named endpoints and a card."""
    from keras_disent.export import read_card

    with progress_bar(f"Writing {format}"):
        folder = run.export(out, format, images=images)
    card = read_card(folder)
    rows = [("endpoint", "takes", "gives")]
    for name, endpoint in card["endpoints"].items():
        rows.append((name, *(_arrays(endpoint[side]) for side in ("inputs", "outputs"))))
    show(rows, f"{card['model']} as {format}", right=False)
    files = sorted(file.name for file in folder.iterdir())
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    say(f"Wrote {folder}, {size / 1e6:.1f} MB: {', '.join(files)}")


def _arrays(arrays: list[dict[str, Any]]) -> str:
    """Return names, dtypes and shapes, "any" where any length will do."""
    return "\n".join(
        f"{array['name']} {array['dtype']} "
        f"({', '.join('any' if size is None else str(size) for size in array['shape'])})"
        for array in arrays
    )
