"""The experiment trackers of a run, and the identifiers by which the run continues there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import keras

from keras_disent import callbacks
from keras_disent._utils.version import __version__
from keras_disent.experiments.run_folder import RunFolder
from keras_disent.experiments.store import read_json, write_json

FILE = "tracking.json"


def run_ids(folder: Path) -> dict[str, str]:
    """Return the identifiers of the run in a folder, by name of the experiment tracker."""
    path = folder / FILE
    return read_json(path, "the trackers of a run") if path.exists() else {}


@contextlib.contextmanager
def tracked(run: RunFolder, track: str, pictures: bool = False) -> Iterator[callbacks.Tracking]:
    """Give a callback that logs to a tracker, in the run there that this one began.

    Args:
        run: Run whose folder is locked.
        track: Name of the tracker.
        pictures: Whether it logs latent traversals.
    """
    about = {"backend": keras.backend.backend(), "keras_disent": __version__}
    ids = run_ids(run.folder)
    tracking = callbacks.Tracking(
        track,
        run.data if pictures else None,
        config={**run.config.as_dict(), **about},
        name=run.folder.resolve().name,
        log_dir=run.folder / "tensorboard",
        run_id=ids.get(track),
    )
    write_json(run.folder / FILE, {**ids, track: tracking.open()})
    try:
        yield tracking
    except BaseException:
        tracking.close(failed=True)
        raise
    tracking.close()
