"""The page of a model that was exported as "onnx": neither Keras nor the data are needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_disent._utils.artifact import read_card
from keras_disent._utils.in_use import IN_USE
from keras_disent._utils.latent_names import default_names
from keras_disent.knobs import content
from keras_disent.knobs.pages import engine_parts, network_parts, render

LARGEST = 64 << 20
"""Bytes of the networks that a page can hold."""

WIDTH = 3.2  # standard deviations from the middle of 1,000 codes to their ends
NETWORKS = ("decode", "encode")


def page(folder: str | Path, card: Mapping[str, Any] | None = None, key: bool = False) -> str:
    """Return the page of an exported model, for the server that has it.

    No image of the data is on the page: it starts from codes that are drawn as wide as those of the
    data, where the card has their ranges. Latents are ordered by their information in the card; if
    it has none, by the mean change of a pixel when they take the value of another one of these
    codes.

    Args:
        folder: Folder of a model exported as "onnx".
        card: What of its card the page may tell; default, all.
        key: Whether the server asks for a key.

    Raises:
        ValueError: If the model is too large for a page.
        ImportError: If the engine of the page, or ONNX Runtime, is missing; says what to do.
        OSError: If a file is missing.
    """
    folder = Path(folder)
    card = read_card(folder) if card is None else card
    size = sum((folder / f).stat().st_size for f in ("weights.bin", "decode.onnx", "encode.onnx"))
    if size > LARGEST:
        raise ValueError(
            f"A page holds at most {LARGEST >> 20} MiB of networks. Got {size / (1 << 20):.0f} MiB."
        )
    parts = engine_parts()
    described, images = _describe(card, _decoder(folder))
    described["server"] = {"key": key}
    networks, identity = network_parts(folder, 0, NETWORKS, bare=True)
    parts += [*networks, content.plain("examples-0", images.tobytes())]
    data = (card.get("run") or {}).get("data")
    title = f"{card['model']} on {data}" if data else card["model"]
    summary = (
        f"{card['model']} with {card['latent_dim']} latents, "
        f"{card['image_shape'][0]} x {card['image_shape'][1]} pixels, as this server has it. "
        "Each slider moves one latent and leaves the others as they are."
    )
    settings = {"title": title, "id": identity, "models": [described]}
    return render(title, summary, settings, {card["model"]: _rows(card)}, parts)


def _decoder(folder: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from codes (n, D) to images (n, h, w, c), as floats from 0 to 1."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        str(folder / "decode.onnx"), options, providers=["CPUExecutionProvider"]
    )

    def decode(codes: np.ndarray) -> np.ndarray:
        (decoded,) = session.run(None, {"codes": codes})
        return decoded / np.float32(255) if decoded.dtype == np.uint8 else decoded

    return decode


def _describe(
    card: Mapping[str, Any], decode: Callable[[np.ndarray], np.ndarray]
) -> tuple[dict[str, Any], np.ndarray]:
    """Return what `content.describe` does, and the images of the codes to start from."""
    count = card["latent_dim"]
    names = card.get("latent_names") or default_names(count)
    values = card.get("latent_values") or [None] * count
    ranges = np.array(card.get("latent_ranges") or [[-WIDTH, WIDTH]] * count, float)
    rng = np.random.default_rng(0)
    middle, half = ranges.mean(axis=1), np.diff(ranges)[:, 0] / 2
    codes = middle + rng.normal(size=(content.EXAMPLES, count)) * half / WIDTH
    codes = codes.clip(*ranges.T)
    for i, steps in enumerate(values):
        if steps is not None:
            codes[:, i] = rng.choice(steps, size=len(codes))
    codes = codes.round(5).astype("float32")
    images = decode(codes)
    unit, importance = "nats", card.get("latent_information")
    if importance is None:
        unit = "gray levels"
        importance = [float(255 * np.abs(decode(c) - images).mean()) for c in _swapped(codes)]
    latents = [
        content.latent(
            i,
            names[i],
            importance[i],
            importance[i] < IN_USE[unit],
            ranges[i],
            values[i],
            card.get("discrete_codes", False),
        )
        for i in np.argsort(-np.array(importance), kind="stable").tolist()
    ]
    described = {
        "name": card["model"],
        "path": None,
        "shape": list(card["image_shape"]),
        "unit": unit,
        "latents": content.audible(latents),
        "causal": None,
        "codes": codes.astype("float64").round(5).tolist(),
        "drawn": True,
        "encodes": card["image_shape"][2] in (1, 3),
        "pictures": content.preparation(card.get("pictures")),
    }
    return described, np.round(255 * images).astype("uint8")


def _swapped(codes: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the codes with one latent at a time of the next code."""
    for i in range(codes.shape[1]):
        other = codes.copy()
        other[:, i] = np.roll(codes[:, i], 1)
        yield other


def _rows(card: Mapping[str, Any]) -> dict[str, str]:
    settings = {
        "image": " x ".join(map(str, card["image_shape"])),
        "latents": card["latent_dim"],
        "steps": f"{card['steps']:,}" if "steps" in card else None,
    }
    rows = {
        "Method": card["model"],
        "Data": str((card.get("run") or {}).get("data") or ""),
        "Scores": "; ".join(content.score_texts(card.get("scores") or {})),
        "Settings": ", ".join(f"{name} {value}" for name, value in settings.items() if value),
        "Made with": f"keras-disent {(card.get('versions') or {}).get('keras_disent', '')}".strip(),
    }
    return {heading: text for heading, text in rows.items() if text}
