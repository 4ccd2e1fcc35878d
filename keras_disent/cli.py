"""The command line: it parses, chooses the backend, and calls `keras_disent.runs`.

Nothing here imports Keras before the backend is chosen.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from keras_disent import cli_data

app = typer.Typer(
    help="Train, measure and look at disentangled representations.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(cli_data.app, name="data")
console = Console()
BACKENDS = ("tensorflow", "jax", "torch")

Backend = Annotated[
    str | None, typer.Option(help="tensorflow, jax or torch. Default: KERAS_BACKEND, or Keras's.")
]


@app.command()
def train(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="Run folder, new or (with --resume) of a run.")],
    model: Annotated[str, typer.Option(help="Name of the method.")] = "factor_vae",
    data: Annotated[
        str, typer.Option(help="A data set (see `data list`), or a folder or file of images.")
    ] = "sprites",
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder of downloaded files. Default: KERAS_DISENT_DATA.")
    ] = None,
    subset: Annotated[
        list[str] | None,
        typer.Option(help="Keep some steps of a factor, such as shape=square or scale=0,5."),
    ] = None,
    correlate: Annotated[
        list[str] | None,
        typer.Option(help="Train on factors that go together, such as scale,position_x=0.2."),
    ] = None,
    image_size: Annotated[
        int | None, typer.Option(help="Height and width in pixels. Default: the data's own.")
    ] = None,
    channels: Annotated[
        int | None, typer.Option(help="1 grey, 3 colour. Default: the data's own.")
    ] = None,
    steps: Annotated[int, typer.Option(help="Training steps.")] = 20_000,
    epoch_steps: Annotated[
        int, typer.Option(help="Steps between checkpoints, history lines and pictures.")
    ] = 1_000,
    batch_size: Annotated[
        int | None, typer.Option(help="Images of a step. Default: 64 for each player's turn.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of weights, noise and data order.")] = 0,
    changed: Annotated[
        str, typer.Option(help="For models of pairs: factors that differ, a number or random.")
    ] = "1",
    learning_rate: Annotated[
        float | None, typer.Option(help="Of the optimizer. Default: the model's own.")
    ] = None,
    latent_dim: Annotated[int, typer.Option(help="Number of latents.")] = 10,
    likelihood: Annotated[str, typer.Option(help="Of the pixels.")] = "bernoulli",
    network: Annotated[str, typer.Option(help="conv, burgess or mlp.")] = "conv",
    width: Annotated[float, typer.Option(help="Multiplies the sizes of the networks.")] = 1.0,
    option: Annotated[
        list[str] | None, typer.Option("--set", help="Argument of the model, such as beta=4.")
    ] = None,
    metrics: Annotated[
        str, typer.Option(help="Scores, with commas; or standard, or all.")
    ] = "mig,factor_vae",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    backend: Backend = None,
) -> None:
    """Train a model and score it: configuration, checkpoint, history, scores and pictures."""
    runs = _start(backend)
    if resume:
        config = runs.Config.read(out)
        typed = [name for name in context.params if _typed(context, name)]
        given = sorted(set(typed) - {"out", "resume", "backend", "steps"})
        if given:
            raise ValueError(
                "--resume goes on with the run's own configuration; only --steps may be given "
                f"anew. Got {', '.join(_flag(name) for name in given)}."
            )
        if "steps" in typed:
            config = dataclasses.replace(config, steps=steps)
            runs.write(out / runs.CONFIG, config.to_json())
    else:
        config = runs.Config(
            model=model,
            data=data,
            data_dir=None if data_dir is None else str(data_dir),
            subset=_subset(subset),
            correlate=_correlate(correlate),
            image_size=image_size,
            channels=channels,
            steps=steps,
            epoch_steps=min(epoch_steps, steps),
            batch_size=batch_size,
            seed=seed,
            changed=int(changed) if changed.isdecimal() else changed,
            learning_rate=learning_rate,
            latent_dim=latent_dim,
            likelihood=likelihood,
            network=network,
            width=width,
            options=_options(option),
            metrics=runs.metrics.names(_names(metrics)),
        )
        config.build(config.load_data())  # whatever is wrong with it is said before a file is made
        runs.prepare(config, out)
    _train(runs, config, out, "Go on with --resume.")
    _evaluate(runs, out)


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    metrics: Annotated[
        str | None,
        typer.Option(help="Names with commas; or standard, or all. Default: the run's."),
    ] = None,
    samples: Annotated[int, typer.Option(help="Images for metrics of arrays.")] = 10_000,
    interval: Annotated[
        float | None, typer.Option(help="Confidence level of bootstrap intervals, such as 0.95.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of all random draws.")] = 0,
    backend: Backend = None,
) -> None:
    """Score the model of a run; print a table and write scores.json."""
    runs = _start(backend)
    names = None if metrics is None else _names(metrics)
    _evaluate(runs, run, names, n=samples, seed=seed, interval=interval)


@app.command()
def traverse(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    image: Annotated[int, typer.Option(help="Which example image to change.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Picture. Default: RUN/traversal.png.")] = None,
    backend: Backend = None,
) -> None:
    """Draw what each latent of a run's model does."""
    runs = _start(backend)
    console.print(f"Wrote {runs.traverse(run, out, image)}", highlight=False, soft_wrap=True)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder of the two runs and the picture.")] = Path(
        "runs/demo"
    ),
    steps: Annotated[int, typer.Option(help="Training steps of each model.")] = 6_000,
    seed: Annotated[int, typer.Option(help="Of weights, noise and data order.")] = 0,
    backend: Backend = None,
) -> None:
    """Train beta-TCVAE and a plain VAE on squares of many sizes and places; compare them."""
    runs = _start(backend)
    from keras_disent import demo as demonstration

    for folder, config in demonstration.configs(out, steps, seed).items():
        if not (folder / runs.CONFIG).exists():
            runs.prepare(config, folder)
        elif runs.Config.read(folder) != config:
            raise ValueError(f"{str(folder)!r} holds another run. Choose another --out.")
    for folder, config in demonstration.configs(out, steps, seed).items():
        _train(runs, config, folder, "Call it again to go on.")
        _evaluate(runs, folder, show=False)
    table = demonstration.table(out, steps, seed)
    _show(table, "Scores")
    console.print(
        f"Look at {demonstration.picture(out, steps, seed)}", highlight=False, soft_wrap=True
    )


def main() -> None:
    """Run the command line: errors as one line, with exit code 2."""
    try:
        app()
    except (ValueError, TypeError, OSError, ImportError, FloatingPointError) as error:
        Console(stderr=True).print(
            f"Error: {error}", style="red", markup=False, highlight=False, soft_wrap=True
        )
        sys.exit(2)


def _start(backend: str | None) -> Any:
    """Choose the backend, then import what needs Keras."""
    if backend is not None:
        if backend not in BACKENDS:
            raise ValueError(f"No backend {backend!r} here. Choose from: {', '.join(BACKENDS)}.")
        os.environ["KERAS_BACKEND"] = backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # torch's idle threads must not spin
    with console.status("Starting Keras"), _quiet():
        from keras_disent import runs
    return runs


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what native libraries write to stderr while they load; show it if they fail."""
    with tempfile.TemporaryFile("w+") as said:
        stderr = os.dup(2)
        os.dup2(said.fileno(), 2)
        try:
            yield
        except BaseException:
            said.seek(0)
            os.write(stderr, said.read().encode())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def _typed(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _train(runs: Any, config: Any, folder: Path, again: str) -> None:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
        TextColumn("{task.fields[loss]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    console.print(
        f"{config.model} on {config.data} -> {folder} ({_backend_name()})", highlight=False
    )
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("Training", total=config.steps, speed="", loss="")

        def advance(done: int, logs: Any) -> None:
            speed = progress.tasks[bar].speed or 0
            progress.update(
                bar,
                advance=done,
                speed=f"{speed:.{0 if speed >= 10 else 1}f} steps/s" if speed else "",
                loss=f"loss {logs['loss']:.1f}" if "loss" in logs else "",
            )

        try:
            runs.train(config, folder, advance)
        except KeyboardInterrupt:
            progress.stop()
            console.print(
                f"Stopped; the run in {folder} is saved. {again}", style="yellow", soft_wrap=True
            )
            raise typer.Exit(130) from None


def _evaluate(
    runs: Any, folder: Path, names: Any = None, show: bool = True, **options: Any
) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("Scoring", total=None)

        def advance(name: str, done: int, total: int) -> None:
            description = f"Scoring: {done} of {total} done, last {name}"
            progress.update(bar, completed=done, total=total, description=description)

        result = runs.evaluate(folder, names, progress=advance, **options)
        picture = runs.traverse(folder)
    if show:
        rows = [_row(name, entry) for name, entry in result.items()]
        heading = ("term or score", "value", "interval")[: max(map(len, rows))]
        _show([heading, *rows], f"{folder}")
        console.print(f"Look at {picture}", highlight=False, soft_wrap=True)


def _row(name: str, entry: dict[str, Any]) -> tuple[str, ...]:
    value = f"{float(entry['value']):.4g}"
    if "interval" not in entry:
        return name, value
    low, high = entry["interval"]
    return name, value, f"{low:.4g} to {high:.4g}"


def _show(rows: Any, title: str) -> None:
    table = Table(title=title, title_justify="left")
    for i, heading in enumerate(rows[0]):
        table.add_column(heading, justify="right" if i else "left")
    for row in rows[1:]:
        table.add_row(*row)
    console.print(table)


def _backend_name() -> str:
    import keras

    return keras.backend.backend()


def _flag(name: str) -> str:
    return "--set" if name == "option" else f"--{name.replace('_', '-')}"


def _pairs(texts: list[str] | None, flag: str) -> dict[str, str]:
    pairs = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise ValueError(f"{flag} takes NAME=VALUE. Got {text!r}.")
        pairs[name.strip()] = value.strip()
    return pairs


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _names(text: str) -> Any:
    """Return one name as it is ("standard" and "all" are among them), or several as a list."""
    return text.split(",") if "," in text else text


def _options(texts: list[str] | None) -> dict[str, Any]:
    return {name: _value(text) for name, text in _pairs(texts, "--set").items()}


def _subset(texts: list[str] | None) -> dict[str, list] | None:
    pairs = _pairs(texts, "--subset").items()
    return {name: [_value(v) for v in text.split(",")] for name, text in pairs} or None


def _correlate(texts: list[str] | None) -> dict[str, Any] | None:
    return {pair: _value(sigma) for pair, sigma in _pairs(texts, "--correlate").items()} or None


if __name__ == "__main__":
    main()
