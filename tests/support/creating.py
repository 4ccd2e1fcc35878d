"""What processes of a test do that are to begin quickly: nothing here imports Keras."""

import os

from keras_disent.experiments.store import RUN, LockedError, Store


def create(folder):
    """Create a run folder; return whether that was this process."""
    try:
        Store(RUN, folder).create({"pid": os.getpid()}, "jax")
    except (ValueError, LockedError):
        return False
    return True
