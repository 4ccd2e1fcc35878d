"""The options that define a run, for every command that makes one."""

from __future__ import annotations

import copy
import functools
import inspect
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import typer

from keras_disent.cli.signatures import signed

CHOSEN = ("model", "steps", "epoch_steps", "learning_rate", "likelihood", "network", "option")
"""Options of a run that are chosen by the images (see `experiments.recommend`)."""

METHODS = (  # the names of `models.MODELS`, which need a backend
    *("vae", "beta_vae", "annealed_vae", "factor_vae", "beta_tcvae", "dip_vae", "info_vae"),
    *("hfs_vae", "ada_gvae", "ada_mlvae", "gvae", "mlvae", "autoencoder", "qlae", "tripod"),
    *("info_gan", "causal_vae"),
)


def _methods(incomplete: str) -> list[str]:
    return [name for name in METHODS if name.startswith(incomplete)]


def _data_sets(incomplete: str) -> list[str]:
    from keras_disent.datasets.catalog import DATASETS

    return [name for name in DATASETS if name.startswith(incomplete)]


DataOption = Annotated[
    list[str] | None,
    typer.Option(
        help="Argument of the data set, such as crop=140, fit=pad or labels=folders for a folder."
    ),
]


def of_a_run(
    model: Annotated[
        str,
        typer.Option(
            help=f"Name of the method: {', '.join(METHODS)}, or MODULE:CLASS of a custom one.",
            autocompletion=_methods,
        ),
    ] = "factor_vae",
    data: Annotated[
        str,
        typer.Option(
            help="A data set (see `data list`), or a folder or file of images.",
            autocompletion=_data_sets,
        ),
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
        int | None,
        typer.Option(help="Height and width in pixels. Default: the data's own; 32 for a folder."),
    ] = None,
    channels: Annotated[
        int | None, typer.Option(help="1 gray, 3 color. Default: the data's own.")
    ] = None,
    data_option: DataOption = None,
    steps: Annotated[int, typer.Option(help="Training steps.")] = 20_000,
    epoch_steps: Annotated[
        int, typer.Option(help="Steps between checkpoints, history lines and pictures.")
    ] = 1_000,
    player_batch: Annotated[
        int,
        typer.Option(
            "--player-batch", "--batch-size", help="Images that each player learns from in a step."
        ),
    ] = 64,
    seed: Annotated[int, typer.Option(help="Of weights, noise and data order.")] = 0,
    changed: Annotated[
        str, typer.Option(help="For models of pairs: factors that differ, a number or random.")
    ] = "1",
    learning_rate: Annotated[
        str | None,
        typer.Option(
            help="Of the optimizer: a number, or a schedule such as "
            "'CosineDecay(0, 4800, warmup_target=0.002, warmup_steps=200)'."
        ),
    ] = None,
    latent_dim: Annotated[int, typer.Option(help="Number of latents.")] = 10,
    likelihood: Annotated[
        str, typer.Option(help="Of the pixels, such as bernoulli or 'gaussian(scale=0.05)'.")
    ] = "bernoulli",
    network: Annotated[
        str, typer.Option(help="conv, higgins, burgess, mlp, silu_mlp, qlae or tripod.")
    ] = "conv",
    width: Annotated[float, typer.Option(help="Multiplies the sizes of the networks.")] = 1.0,
    precision: Annotated[
        str | None,
        typer.Option(help="float32, mixed_bfloat16, mixed_float16, bfloat16 or float64."),
    ] = None,
    steps_per_execution: Annotated[
        int, typer.Option(help="Steps that the backend does in one call.")
    ] = 1,
    jit_compile: Annotated[
        bool | None,
        typer.Option(help="Compile the step with XLA or torch.compile. Default: as Keras."),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Argument of the model, such as beta=4 or 'beta=Linear(0, 4, steps=5000)'.",
        ),
    ] = None,
    metrics: Annotated[
        str, typer.Option(help="Scores, with commas; or standard, or all.")
    ] = "mig,factor_vae_score",
    track: Annotated[
        str | None,
        typer.Option(help="Experiment tracker: mlflow, wandb, trackio or tensorboard."),
    ] = None,
) -> dict[str, Any]:
    """Return the arguments of a `Config`."""
    from keras_disent.metrics import names

    return {
        "model": model,
        "data": data,
        "data_dir": None if data_dir is None else str(data_dir),
        "subset": _subset(subset),
        "correlate": _correlate(correlate),
        "image_size": image_size,
        "channels": channels,
        "data_options": named_values(data_option, "--data-option"),
        "steps": steps,
        "epoch_steps": epoch_steps,
        "player_batch": player_batch,
        "seed": seed,
        "changed": int(changed) if changed.isdecimal() else changed,
        "learning_rate": None if learning_rate is None else value(learning_rate),
        "latent_dim": latent_dim,
        "likelihood": likelihood,
        "network": network,
        "width": width,
        "precision": precision,
        "steps_per_execution": steps_per_execution,
        "jit_compile": "auto" if jit_compile is None else jit_compile,
        "options": named_values(option, "--set"),
        "metrics": names(listed(metrics)),
        "track": track,
    }


def takes_a_run(
    command: Callable[..., Any] | None = None, *, chosen: bool = False
) -> Callable[..., Any]:
    """Give a command the options of a run; it gets what they say as the dict `run`.

    Args:
        command: The command.
        chosen: Whether the settings in `CHOSEN` that are not given are chosen by the images, so
            that their help has no default.
    """
    if command is None:
        return functools.partial(takes_a_run, chosen=chosen)
    own, shared = inspect.signature(command), inspect.signature(of_a_run)

    def parsed(**arguments: Any) -> Any:
        run = {
            name: arguments.pop(name) for name in shared.parameters if name not in own.parameters
        }
        run |= {name: arguments[name] for name in shared.parameters if name in arguments}
        return command(**arguments, run=of_a_run(**run))

    parameters = {**shared.parameters, **own.parameters}
    del parameters["run"]
    hints = get_type_hints(of_a_run, include_extras=True)
    hints |= get_type_hints(command, include_extras=True)
    if chosen:
        hints |= {name: _without_default(hints[name]) for name in CHOSEN}
    parsed.__name__, parsed.__doc__ = command.__name__, command.__doc__
    return signed(parsed, parameters, hints)


def _without_default(hint: Any) -> Any:
    """Return the type of an option whose help says that its value is chosen."""
    kind, option = get_args(hint)
    option = copy.copy(option)
    option.show_default = "chosen by the images"
    return Annotated[kind, option]


def typed(context: typer.Context) -> list[str]:
    """Return the names of the options that were given, not left at their defaults."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return [name for name, source in sources.items() if source and source.name == "COMMANDLINE"]


def fields_of(options: Iterable[str]) -> list[str]:
    """Return the fields of a configuration that options stand for."""
    fields = {"option": "options", "data_option": "data_options"}
    return [fields.get(name, name) for name in options]


def flag(name: str) -> str:
    """Return how an option is written."""
    if name in ("option", "options"):
        return "--set"
    return "--data-option" if name == "data_options" else f"--{name.replace('_', '-')}"


def listed(text: str) -> Any:
    """Return one name as it is ("standard" and "all" are among them), or several as a list."""
    return text.split(",") if "," in text else text


def pairs(texts: list[str] | None, flag: str) -> dict[str, str]:
    """Return what NAME=VALUE texts say.

    Raises:
        ValueError: if one is not of this form.
    """
    values = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise ValueError(f"{flag} takes NAME=VALUE. Got {text!r}.")
        values[name.strip()] = value.strip()
    return values


def value(text: str) -> Any:
    """Return a number, list or truth value that is written as in JSON, or else the text.

    >>> value("(0, 255)"), value("pad")
    ([0, 255], 'pad')
    """
    is_tuple = text.startswith("(") and text.endswith(")")  # as messages write them
    try:
        return json.loads(f"[{text[1:-1]}]" if is_tuple else text)
    except json.JSONDecodeError:
        return text


def named_values(texts: list[str] | None, flag: str) -> dict[str, Any]:
    """Return the values of NAME=VALUE texts: numbers, lists and truth values, or texts."""
    return {name: value(text) for name, text in pairs(texts, flag).items()}


def data_options(texts: list[str] | None, own: Iterable[str]) -> dict[str, Any]:
    """Return the values of `--data-option`.

    Args:
        texts: NAME=VALUE texts.
        own: Arguments for which the command has options of their own.

    Raises:
        ValueError: An option is one of these.
    """
    options = named_values(texts, "--data-option")
    for name in options:
        if name == "name":
            raise ValueError("--data-option has no name: pass the data set as NAME.")
        if name in own:
            raise ValueError(
                f"--data-option is for what has no option of its own. Got {name}: pass "
                f"{flag(name)} {options[name]}."
            )
    return options


def _subset(texts: list[str] | None) -> dict[str, list[Any]] | None:
    items = pairs(texts, "--subset").items()
    return {name: [value(v) for v in text.split(",")] for name, text in items} or None


def _correlate(texts: list[str] | None) -> dict[str, Any] | None:
    return {pair: value(sigma) for pair, sigma in pairs(texts, "--correlate").items()} or None
