"""What `make demo` shows: beta-TCVAE beside a plain VAE, trained alike for a few minutes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from keras_disent import datasets, plots
from keras_disent.experiments.config import Config, model_class
from keras_disent.experiments.run import Run

# Three factors of unlike reach: with as many rows as columns, nothing would tell the two directions
# of a square from any other two at right angles.
SUBSET: dict[str, list[Any]] = {
    "shape": ["square"],
    "orientation": [0],
    "position_y": list(range(10, 22)),
}
SIZE = 32
METHODS: dict[str, dict[str, Any]] = {"beta_tcvae": {"beta": 4.0}, "vae": {}}


def configs(out: str | Path, steps: int, seed: int) -> dict[Path, Config]:
    """Return the configurations of the two runs by folder."""
    return {
        Path(out) / model: Config(
            model=model,
            subset=SUBSET,
            image_size=SIZE,
            steps=steps,
            epoch_steps=min(1_000, steps),
            seed=seed,
            learning_rate=1e-3,
            width=0.5,
            options=options,
        )
        for model, options in METHODS.items()
    }


def runs(out: str | Path, steps: int, seed: int) -> list[Run]:
    """Return the two runs, new ones or those that are there.

    Raises:
        ValueError: If one of the folders holds another run.
    """
    opened = []
    for folder, config in configs(out, steps, seed).items():
        try:
            run = Run.open(folder)
        except ValueError:
            run = Run.create(config, folder)
        if run.config != config:
            raise ValueError(f"{str(folder)!r} holds another run. Choose another --out.")
        opened.append(run)
    return opened


def table(runs: list[Run]) -> list[tuple[str, ...]]:
    """Return the scores of both runs as rows of text, with a heading."""
    rows: list[tuple[str, ...]] = [
        ("method", "FactorVAE score", "MIG", "reconstruction (nats)", "KL (nats)")
    ]
    digits = {"factor_vae_score": 2, "mig": 2, "reconstruction": 1, "kl": 1}
    for run in runs:
        scores = run.scores() or {}
        cells = [f"{scores[name]['value']:.{n}f}" for name, n in digits.items()]
        rows.append((_name(run.config), *cells))
    return rows


def picture(out: str | Path, runs: list[Run]) -> Path:
    """Draw both traversals side by side above the table; return the path."""
    figures = {
        _name(run.config): plots.traversals(run.model, datasets.example_images(run.data), at_most=6)
        for run in runs
    }
    return plots.save(plots.beside(figures, table(runs)), Path(out) / "demo.png")


def _name(config: Config) -> str:
    return ", ".join(
        [
            model_class(config.model).__name__,
            *(f"{name} {value:g}" for name, value in config.options.items()),
        ]
    )
