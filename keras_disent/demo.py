"""What `make demo` shows: beta-TCVAE beside a plain VAE, trained alike for a few minutes."""

from __future__ import annotations

import json
from pathlib import Path

from keras_disent import datasets, models, plots, runs

# Three factors of unlike reach: with as many rows as columns, nothing would tell the two directions
# of a square from any other two at right angles.
SUBSET: dict[str, list] = {
    "shape": ["square"],
    "orientation": [0],
    "position_y": list(range(10, 22)),
}
SIZE = 32
METHODS: dict[str, dict] = {"beta_tcvae": {"beta": 4.0}, "vae": {}}


def configs(out: str | Path, steps: int, seed: int) -> dict[Path, runs.Config]:
    """Return the two runs by folder."""
    return {
        Path(out) / model: runs.Config(
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


def table(out: str | Path, steps: int, seed: int) -> list[tuple[str, ...]]:
    """Return the scores of both runs as rows of text, with a heading."""
    rows: list[tuple[str, ...]] = [
        ("method", "FactorVAE score", "MIG", "reconstruction (nats)", "KL (nats)")
    ]
    for folder, config in configs(out, steps, seed).items():
        scores = json.loads((folder / runs.SCORES).read_text())
        cells = [
            f"{scores['factor_vae_score']['value']:.2f}",
            f"{scores['mig']['value']:.2f}",
            f"{scores['reconstruction']['value']:.1f}",
            f"{scores['kl']['value']:.1f}",
        ]
        rows.append((_name(config), *cells))
    return rows


def picture(out: str | Path, steps: int, seed: int) -> Path:
    """Draw both traversals side by side above the table; return the path."""
    data = datasets.Sprites(SIZE).subgrid(SUBSET)
    images = runs.example_images(data)
    figures = {
        _name(config): plots.traversals(runs.load_model(folder), images, at_most=6)
        for folder, config in configs(out, steps, seed).items()
    }
    return plots.save(plots.beside(figures, table(out, steps, seed)), Path(out) / "demo.png")


def _name(config: runs.Config) -> str:
    return ", ".join(
        [
            models.MODELS[config.model].__name__,
            *(f"{name} {value:g}" for name, value in config.options.items()),
        ]
    )
