"""Fetch the engine of the page: `python -m keras_disent.knobs`."""

import sys

from keras_disent.knobs import engine

if __name__ == "__main__":
    try:
        engine.fetch()
    except (RuntimeError, OSError) as error:
        sys.exit(f"Error: {error}")
    print(f"{engine.PACKAGE} is in {engine.FOLDER}")
