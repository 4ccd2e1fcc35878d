"""What is done with the model of a run: scores, pictures, pages, exports, citations."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from keras_disent import datasets, export, knobs, metrics, plots, trackers
from keras_disent._utils.progress import Verbose, check_verbose, progress_bar
from keras_disent.experiments import citations, describe, run_pictures
from keras_disent.experiments.html import run_as_html
from keras_disent.experiments.run_folder import RunFolder
from keras_disent.experiments.scores import SCORES, finite, terms
from keras_disent.experiments.store import read_json, write_json
from keras_disent.experiments.tracking import run_ids, tracked


class TrainedRun(RunFolder):
    """What a run and a preset have in common: a trained model that is scored, drawn and exported.

    Attributes:
        folder: Path of the folder that files are written to.
        config: `Config` of its training.
    """

    def _repr_html_(self) -> str:
        """Return the scores and the traversals of the run, which notebooks show."""
        return run_as_html(repr(self)[1:-1], self.folder)

    def evaluate(
        self,
        names: Any = None,
        *,
        n_samples: int = 10_000,
        seed: int = 0,
        interval: float | None = None,
        reference: bool = False,
        progress: Callable[[str, int, int], object] | None = None,
        verbose: Verbose = "auto",
    ) -> dict[str, Any]:
        """Score the model, write `scores.json`, and return what it holds.

        Besides the metrics it has the terms of the objective on 64 batches: other draws of the
        same data set, whose images may have been trained on. Experiment trackers that the run was
        trained with get all of them, as `val_NAME`.

        Args:
            names: As `metrics.evaluate`; default, those of the configuration that the data have
                labels for, or else those that need none.
            n_samples, seed, interval, reference, progress, verbose: As `metrics.evaluate`.

        Returns:
            `{name: {"value": float, "settings": {...}}}`. A score that is not a finite number is
            None, with the reason as `error`.

        Raises:
            ValueError: As `metrics.evaluate`, or if the run has no checkpoint; nothing is written.
            ImportError: If a tracker of the run is not installed.
        """
        check_verbose(verbose)
        if names is None:
            names = metrics.applicable(self.config.metrics, self.data)
        if names not in ("standard", "all"):  # of these, what cannot be computed is left out
            metrics.check(names, self.data)
        trackers_of_run = run_ids(self.folder)
        for track in trackers_of_run:
            trackers.check(track)
        with self.store.lock():
            model = self.trained_model()
            with progress_bar("Evaluating the objective", verbose=verbose):
                result = terms(model, self.config, self.data)
            scores = metrics.evaluate(
                model,
                self.data,
                names,
                n_samples=n_samples,
                seed=seed,
                interval=interval,
                reference=reference,
                progress=progress,
                verbose=verbose,
            )
            result = finite(result | scores.as_dict())
            write_json(self.folder / SCORES, result)
            values = {f"val_{n}": e["value"] for n, e in result.items() if e["value"] is not None}
            for track in trackers_of_run:
                with tracked(self, track) as tracking:
                    tracking.tracker.log(values, model.steps_taken())
        return result

    def diagnose(self) -> Any:
        """Say which latents are in use and what has gone wrong, as `model.diagnose`.

        Raises:
            ValueError: If the run has no checkpoint.
        """
        return self.trained_model().diagnose(datasets.example_images(self.data))

    def traverse(self, path: str | Path | None = None, image: int | str | Path = 0) -> Path:
        """Draw the latent traversals of the model; return the path of the picture.

        Args:
            path: Picture; default `traversal.png` in the folder. With the ending .gif or .webp, the
                traversals move (`plots.traversal_frames`).
            image: Which image is changed, as `image`.

        Raises:
            FileNotFoundError, ValueError: As `image`, or if the run has no checkpoint, or the
                picture would lie among the images of the data.
        """
        target = self.folder / "traversal.png" if path is None else Path(path)
        draw = plots.traversal_frames if plots.is_animation(target) else plots.traversals
        return self._draw(draw, target, image, path is None)

    def poster(self, path: str | Path | None = None, image: int | str | Path = 0) -> Path:
        """Draw a poster of all latents (`plots.poster`); return the path of the picture.

        Args:
            path: Picture; default `poster.png` in the folder.
            image: Which image is changed, as `image`.

        Raises:
            FileNotFoundError, ValueError: As `traverse`.
        """
        target = self.folder / "poster.png" if path is None else Path(path)
        return self._draw(plots.poster, target, image, path is None)

    def _draw(
        self, draw: Callable[..., Any], target: Path, image: int | str | Path, own: bool
    ) -> Path:
        """Draw example images and write the result, under the lock if it is a file of the run."""
        self.check_outside(target)
        write = run_pictures.drawing(self, draw, image)
        with self.store.lock() if own else contextlib.nullcontext():
            return write(target)

    def image(self, which: int | str | Path) -> np.ndarray:
        """Return an image of the data, or a picture as an image for the model: uint8 (h, w, c).

        Args:
            which: Number of an example image (`datasets.example_images`), name of a picture among
                the data's `files`, or path of any picture, which is decoded as those of the data.

        Raises:
            FileNotFoundError: If there is no picture of this name.
            ValueError: If there is no such image, or it cannot be read.
        """
        return run_pictures.image(self.data, which)

    def knobs(self, path: str | Path | None = None, other: TrainedRun | None = None) -> Path:
        """Write a page that runs the model in the browser, with a slider for each latent.

        Args:
            path: HTML file; default `knobs.html` in the folder.
            other: Second run on images of the same shape, to compare.

        Returns:
            The path.

        Raises:
            ValueError, ImportError: As `knobs.write_page`, or if a run has no checkpoint, or the
                page would lie among the images of the data.
        """
        target = self.folder / "knobs.html" if path is None else Path(path)
        self.check_outside(target)
        runs = [self] if other is None else [self, other]
        models = [run.trained_model() for run in runs]
        about: dict[str, Any] = {
            "other": None if other is None else models[1],
            "names": () if other is None else [run.folder.name for run in runs],
            "sources": [run.source for run in runs],
            "runs": [run.config.as_dict() for run in runs],
            "scores": [run.scores() for run in runs],
        }
        if path is not None:
            return knobs.write_page(models[0], self.data, target, **about)
        with self.store.lock():
            return knobs.write_page(models[0], self.data, target, **about)

    def export(
        self,
        path: str | Path | None = None,
        format: str = "saved_model",
        *,
        images: str = "float32",
    ) -> Path:
        """Export the model of a finished run, its configuration and scores in the card.

        Args:
            path: New or empty folder; default `export/FORMAT` in the run's folder.
            format, images: As `export.model`.

        Raises:
            ValueError: As `export.model`, or if training has not ended.
            ImportError: As `export.model`.
        """
        target = self.folder / "export" / format if path is None else Path(path)
        export.check(target, format)
        model = self.trained_model()
        if model.steps_taken() < self.config.steps:
            raise ValueError(
                f"The run in {str(self.folder)!r} has taken {model.steps_taken():,} of "
                f"{self.config.steps:,} steps. End it with `train --resume`, or export "
                "`load_model(folder)` from Python."
            )
        scores = self.scores()
        about = self._about()
        if path is not None:
            return export.model(model, target, format, images=images, run=about, scores=scores)
        with self.store.lock():
            return export.model(model, target, format, images=images, run=about, scores=scores)

    def cite(self) -> str:
        """Return what a paper with this run cites, as BibTeX.

        These are the papers of the method, the data set, the networks, and the scores that were
        computed, and this package.
        """
        return citations.bibtex(self.config.as_dict(), self.scores() or self.config.metrics)

    def describe(self) -> str:
        """Return the settings and scores of the run as a paragraph for a paper, in LaTeX.

        Its citations have the keys of `cite`.

        Raises:
            ValueError: If the run has no checkpoint.
        """
        return describe.paragraph(self.config, self.trained_model(), self.data, self.scores())

    def _about(self) -> dict[str, Any]:
        """Return the configuration with what it was made with, for the card of an export."""
        return read_json(self.store.path, "the configuration of a run")
