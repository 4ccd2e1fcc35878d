"""An exported model on disk: a folder with the files of its format, and a card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CARD = "card.json"


def read_card(folder: str | Path) -> dict[str, Any]:
    """Return the card of an artifact.

    Raises:
        ValueError: if the folder holds no artifact.
    """
    path = Path(folder) / CARD
    if not path.is_file():
        raise ValueError(f"An exported model has a {CARD}. There is none in {str(folder)!r}.")
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{str(path)!r} is not a card: {error}") from None
