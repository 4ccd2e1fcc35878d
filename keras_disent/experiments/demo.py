"""What the command `demo` shows: one person's face, learned by beta-TCVAE and by a plain VAE."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from keras_disent import datasets, metrics, plots
from keras_disent.experiments.config import Config, model_class
from keras_disent.experiments.preset_run import PresetRun
from keras_disent.experiments.run import Run
from keras_disent.presets.recipes import recipe

METHODS: dict[str, dict[str, float]] = {"beta_tcvae": {"beta": 40.0}, "vae": {}}
READY = "faces_person"


def configs(out: str | Path, steps: int, seed: int) -> dict[Path, Config]:
    """Return the configurations of the two runs by folder: they differ in the method alone.

    They are that of the ready model, with other steps and seeds.
    """
    warmup = max(steps // 12, 1)
    shared = {
        **recipe(READY),
        "learning_rate": (
            f"CosineDecay(0, {max(steps - warmup, 1)}, warmup_target=0.002, warmup_steps={warmup})"
        ),
        "steps": steps,
        "epoch_steps": max(steps // 4, 1),
        "seed": seed,
        "metrics": ("mig",),
    }
    return {
        Path(out) / model: Config(**{**shared, "model": model, "options": options})
        for model, options in METHODS.items()
    }


def runs(out: str | Path, steps: int, seed: int) -> list[Run | PresetRun]:
    """Return the two runs, new ones or those that are there.

    Raises:
        ValueError: If one of the folders holds another run.
    """
    opened: list[Run | PresetRun] = []
    for folder, config in configs(out, steps, seed).items():
        run: Run | PresetRun
        try:
            run = Run.open(folder)
        except ValueError:
            run = Run.create(config, folder)
        if run.config != config:
            raise ValueError(f"{str(folder)!r} holds another run. Choose another --out.")
        opened.append(run)
    return opened


def table(models: dict[str, Any], data: Any) -> list[tuple[str, ...]]:
    """Return the mutual information gap of each factor and their mean, with a heading.

    Args:
        models: Trained models by their names.
        data: Data set with factors, all of whose images are encoded.
    """
    factors = data.factors(range(len(data)))
    varied = [i for i, size in enumerate(data.factor_sizes) if size > 1]
    names = [data.factor_names[i].replace("_", " ") for i in varied]
    rows: list[tuple[str, ...]] = [("gap (MIG) of", *names, "mean")]
    for name, model in models.items():
        codes = model.encode(data.images(range(len(data))))
        gaps = [metrics.mig(codes, factors[:, [i]]) for i in varied]
        rows.append((name, *(f"{gap:.2f}" for gap in [*gaps, sum(gaps) / len(gaps)])))
    return rows


def picture(path: Path, models: dict[str, Any], data: Any, rows: list[tuple[str, ...]]) -> Path:
    """Draw the traversals of the models side by side above the table; return the path."""
    images = datasets.example_images(data)
    figures = {name: plots.traversals(model, images) for name, model in models.items()}
    return plots.save(plots.beside(figures, rows), path)


def method(config: Config) -> str:
    """Return the name of a method with its strength, such as "BetaTCVAE, beta 40"."""
    options = [f"{name} {value:g}" for name, value in config.options.items()]
    return ", ".join([model_class(config.model).__name__, *options])
