"""An exported model on disk: a folder with the files of its format, and a card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CARD = "card.json"


def read_card(folder: str | Path) -> dict[str, Any]:
    """Return the card of an exported model.

    Raises:
        ValueError: If the folder holds none, or the card is damaged; names the file.
    """
    path = Path(folder) / CARD
    if not path.is_file():
        raise ValueError(f"An exported model has a {CARD}. There is none in {str(folder)!r}.")
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        _check(card)
    except OSError as error:
        raise ValueError(f"Cannot read {str(path)!r}: {error.strerror}.") from None
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError) as error:
        reason = f"no key {error}" if isinstance(error, KeyError) else error
        raise ValueError(f"{str(path)!r} is not a card: {reason}") from None
    return card


def _check(card: Any) -> None:
    """Check what readers of a card rely on: endpoint names stand for files in its folder."""
    if not isinstance(card["format"], str):
        raise TypeError(f"`format` is {card['format']!r:.80}")
    for name, endpoint in card["endpoints"].items():
        if not name.isidentifier():
            raise ValueError(f"an endpoint is named {name!r:.80}")
        for array in (*endpoint["inputs"], *endpoint["outputs"]):
            if not isinstance(array["name"], str) or not isinstance(array["dtype"], str):
                raise TypeError(f"an array of {name!r} is {array!r:.80}")
            if not all(size is None or isinstance(size, int) for size in array["shape"]):
                raise TypeError(f"an array of {name!r} has the shape {array['shape']!r:.80}")
