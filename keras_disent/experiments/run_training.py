"""Train a run in its folder: checkpoint, history, pictures, progress, and an experiment tracker."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import keras

from keras_disent import callbacks, datasets
from keras_disent._utils.files import unfinished
from keras_disent._utils.progress import Verbose, progress_bar
from keras_disent.experiments import training
from keras_disent.experiments.progress import OnSteps, ProgressWriter
from keras_disent.experiments.run_folder import RunFolder
from keras_disent.experiments.tracking import tracked
from keras_disent.models.saving import FILE as MODEL

PICTURES = "traversals"


def train(
    run: RunFolder,
    stamp: Mapping[str, Any],
    on_steps: OnSteps,
    *,
    pictures: bool,
    verbose: Verbose,
    track: str | None,
) -> None:
    """Train the model of a run up to its last step.

    Args:
        run: Run whose folder is locked, and whose checkpoint is of this configuration.
        stamp: What a checkpoint says about its run.
        on_steps, pictures, verbose, track: As `Run.train`.

    Raises:
        FloatingPointError, KeyboardInterrupt: As `Run.train`.
    """
    model, config = run.model, run.config
    _clean(run)
    grid, images = None, datasets.example_images(run.data)
    if pictures:
        grid = callbacks.TraversalGrid(images, run.folder / PICTURES)
        _draw_missing(run, grid)
    step = model.steps_taken()
    on_steps(step, {})
    if step >= config.steps:
        return
    with progress_bar("Training", "steps", verbose=verbose) as advance:
        compiles = keras.backend.backend() != "torch" or model.jit_compile is True
        advance(step, note="compiling" if compiles else "starting")

        def show(steps: int, logs: Any) -> None:
            nonlocal step
            step += steps
            advance(step, config.steps, f"loss {logs['loss']:.4g}" if "loss" in logs else "")
            on_steps(steps, logs)

        report = ProgressWriter(run.folder, step, show)
        checkpoint = training.Checkpoint(
            run.folder / training.HISTORY, run.folder / MODEL, stamp, images, report.saved
        )
        tracking = contextlib.nullcontext() if track is None else tracked(run, track, pictures)
        _fit(run, report, [checkpoint, *([grid] if grid else [])], tracking)


def _fit(
    run: RunFolder,
    report: ProgressWriter,
    savers: list[Any],
    tracking: contextlib.AbstractContextManager[callbacks.Tracking | None],
) -> None:
    """Train with callbacks that save, and with those of progress, Ctrl-C and a tracker."""
    model, config = run.model, run.config
    try:
        with training.Interruption(model) as interruption, tracking as tracker:
            training.fit_steps(
                model,
                config.batches(model, run.data),
                config.steps,
                config.epoch_steps,
                [
                    training.StepCounter(report.advance),
                    interruption,
                    *savers,
                    *([tracker] if tracker else []),
                ],
                verbose=0,
            )
    finally:
        report.write()
    if interruption.is_requested and model.steps_taken() < config.steps:
        raise KeyboardInterrupt


def _draw_missing(run: RunFolder, grid: callbacks.TraversalGrid) -> None:
    """Draw the picture of the checkpoint, if a kill came between the two."""
    path = run.folder / PICTURES / f"traversal_{run.model.steps_taken():08d}.png"
    if (run.folder / MODEL).exists() and not path.exists():
        grid.set_model(run.model)
        grid.draw()


def _clean(run: RunFolder) -> None:
    """Delete the leftovers of a process that was killed while it wrote."""
    run.store.clean()
    for path in unfinished(run.folder / PICTURES, r"traversal_\d{8,}\.png"):
        path.unlink()
