"""Train the ready models again: `python -m keras_disent.presets [NAME ...]`.

Runs are kept in `runs/presets`, or in the folder of `--runs`, and go on where they were. A preset
is replaced when its model is trained, named and scored.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import numpy as np

from keras_disent._utils.latent_names import default_names
from keras_disent.presets.folder import PACKAGED
from keras_disent.presets.recipes import recipe, recipes

MOST = 8
"""Most latents that are drawn."""


def make(name: str, runs: Path) -> Path:
    """Train one model, write it as a preset, and return the preset's folder."""
    from keras_disent.experiments import Config, Run

    config = Config.from_dict(recipe(name), name)
    folder = runs / name
    run = Run.open(folder) if (folder / "config.json").exists() else Run.create(config, folder)
    if run.config != config.absolute():
        raise ValueError(f"{str(folder)!r} holds another run. Delete it, or choose other --runs.")
    run.train()
    if run.data.factor_names and run.model.latent_names == default_names(config.latent_dim):
        run.name_latents()
    run.evaluate()
    PACKAGED.mkdir(exist_ok=True)
    target = PACKAGED / name
    with tempfile.TemporaryDirectory(prefix=".", dir=PACKAGED.parent) as temporary:
        preset = run.save_to_preset(Path(temporary) / name, recipes()[name]["description"])
        if target.exists():
            target.replace(Path(temporary) / "old")
        preset.replace(target)
    return target


def draw(folder: Path, path: Path) -> None:
    """Draw the latents in use of a preset, or interventions on the concepts of a causal model."""
    from keras_disent import datasets, plots
    from keras_disent.experiments import Run
    from keras_disent.plots import causal

    run = Run.open(folder)
    images = datasets.example_images(run.data)
    path.parent.mkdir(parents=True, exist_ok=True)
    if hasattr(run.model, "intervene"):
        ends = np.quantile(run.data.labels(range(len(run.data))), [0.05, 0.95], axis=0)
        names = run.model.concept_names
        values = {
            name: np.linspace(ends[0, i], ends[1, i], 9).tolist() for i, name in enumerate(names)
        }
        plots.save(causal.interventions(run.model, images[0], values), path)
        return
    importance = run.model.latent_importance(images)
    shown = [
        int(i) for i in np.argsort(-importance, kind="stable") if importance[i] >= run.model.in_use
    ]
    plots.save(plots.poster(run.model, images, latents=shown[:MOST], ends=2), path)


def main() -> None:
    """Train what is named, or all."""
    parser = argparse.ArgumentParser(description="Train the ready models again.")
    parser.add_argument("names", nargs="*", help="presets to train; default: all")
    parser.add_argument("--runs", type=Path, default=Path("runs/presets"), help="folder of runs")
    parser.add_argument("--pictures", type=Path, help="folder to draw a poster of each into")
    parser.add_argument("--again", action="store_true", help="delete the runs that are there")
    args = parser.parse_args()
    for name in args.names or recipes():
        recipe(name)  # before anything is deleted
        if args.again:
            shutil.rmtree(args.runs / name, ignore_errors=True)
        print(f"Training {name}", flush=True)
        folder = make(name, args.runs)
        print(f"Wrote {folder}", flush=True)
        if args.pictures:
            draw(folder, args.pictures / f"{name}.png")


if __name__ == "__main__":
    main()
