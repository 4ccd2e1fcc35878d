"""Draw a folder of mugs, of many sizes and formats, as a person would have it.

    python benchmarks/mugs.py my_images
    keras-disent train --data my_images --out runs/mine
    python benchmarks/mugs.py my_images --score runs/mine

A mug has a hue, a size, an angle of its handle (0 points to the right, 180 to the left, 90 to the
viewer), and a gray background; all four are independent and uniform. The pictures are PNG, JPEG,
WebP, BMP, GIF and TIFF files from 64 to 320 pixels, upright or not. Their factors are in
`factors.csv` beside the folder, since a folder of one's own has none. `--score` measures a run by
them: rank correlations of the latents with the factors, and scores.
"""

import argparse
import colorsys
import csv
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

FACTORS = ("hue", "size", "angle", "background")
FORMATS = ("png", "jpg", "webp", "bmp", "gif", "tiff")
SIDES = (64, 96, 128, 200, 256)
SCALE = 4  # a picture is drawn larger, then reduced


def draw_folder(folder: Path, count: int = 600, seed: int = 0) -> np.ndarray:
    """Draw pictures of mugs into a new folder, and write `factors.csv` beside it.

    Args:
        folder: Folder of the pictures.
        count: Number of pictures.
        seed: Random seed.

    Returns:
        The factors (count, 4): hue and background from 0 to 1, size as a proportion of the shorter
        side, angle in degrees.
    """
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    low, high = np.array([[0.0, 0.45, 0.0, 0.15], [1.0, 0.75, 180.0, 0.95]])
    factors = low + (high - low) * rng.random((count, len(FACTORS)))
    lines = [("file", *FACTORS)]
    for number, row in enumerate(factors):
        side = int(rng.choice(SIDES))
        longer = side + int(rng.integers(side // 4 + 1))
        size = (longer, side) if rng.random() < 0.7 else (side, longer)
        name = f"mug_{number:04d}.{FORMATS[rng.integers(len(FORMATS))]}"
        draw_mug(size, *row).save(folder / name)
        lines.append((name, *(f"{value:.4f}" for value in row)))
    with (folder.parent / "factors.csv").open("w", newline="") as file:
        csv.writer(file).writerows(lines)
    return factors


def draw_mug(
    size: tuple[int, int], hue: float, scale: float, angle: float, background: float
) -> Image.Image:
    """Draw a mug in the middle of a picture of `size` (width, height) pixels."""
    width, height = (SCALE * side for side in size)
    picture = Image.new("RGB", (width, height), _gray(background))
    draw = ImageDraw.Draw(picture)
    tall = scale * min(width, height)
    wide = 0.62 * tall
    left, top = (width - wide) / 2, (height - tall) / 2
    right, bottom, rim = left + wide, top + tall, 0.12 * tall
    body, shade, inside = (_color(hue, value) for value in (0.85, 0.62, 0.38))
    turn = np.deg2rad(angle)

    # The handle is a flat ring that is turned with the mug: seen from the side it is a loop, from
    # the front a bar. It is never behind the mug.
    reach = 0.3 * tall * abs(np.cos(turn)) + 0.05 * tall
    middle = width / 2 + (wide / 2) * np.cos(turn)
    sign = 1 if np.cos(turn) >= 0 else -1
    ends = sorted((middle - sign * 0.05 * tall, middle + sign * reach))
    box = (ends[0], top + 0.25 * tall, ends[1], top + 0.8 * tall)
    stroke = max(1, round(0.08 * tall))

    draw.ellipse((left, bottom - 2 * rim, right, bottom), fill=body)
    draw.rectangle((left, top + rim, right, bottom - rim), fill=body)
    draw.ellipse((left, top, right, top + 2 * rim), fill=inside, outline=body, width=stroke // 3)
    draw.ellipse(box, outline=shade, width=stroke)
    return picture.resize(size, Image.Resampling.BOX)


def _color(hue: float, value: float) -> tuple[int, ...]:
    return tuple(round(255 * part) for part in colorsys.hsv_to_rgb(hue, 0.8, value))


def _gray(value: float) -> tuple[int, int, int]:
    return (round(255 * value),) * 3


def score(folder: Path, run: Path) -> None:
    """Print the rank correlations of the latents in use with the factors, and some scores."""
    from scipy.stats import spearmanr  # here, as drawing needs no more than Pillow

    from keras_disent import metrics
    from keras_disent.datasets import open_folder
    from keras_disent.experiments import Run

    opened = Run.open(run)
    model = opened.trained_model()
    table = folder.parent / "factors.csv"
    data = open_folder(folder, image_size=model.image_shape[0], labels=str(table))
    images = data.images(np.arange(len(data)))
    codes, information = model.encode(images), model.latent_importance(images)
    with table.open(newline="") as file:
        rows = {line["file"]: [float(line[f]) for f in FACTORS] for line in csv.DictReader(file)}
    hue, *others = np.array([rows[name] for name in data.files]).T
    turn = 2 * np.pi * hue
    factors = {"cos hue": np.cos(turn), "sin hue": np.sin(turn)}
    factors |= dict(zip(FACTORS[1:], others, strict=True))
    print("latent  nats  " + "  ".join(f"{name:>10}" for name in factors))
    for latent in np.argsort(-information):
        if information[latent] >= model.in_use:
            values = [spearmanr(codes[:, latent], f).statistic for f in factors.values()]
            text = "  ".join(f"{value:10.2f}" for value in values)
            print(f"{model.latent_names[latent]:>6}  {information[latent]:4.2f}  {text}")
    print(metrics.evaluate(model, data, {"mig": {"bins": 10}, "dci": {}, "mcc": {}}, verbose=0))
    print(opened.diagnose())


def main() -> None:
    """Draw, or score."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--score", type=Path, metavar="RUN")
    args = parser.parse_args()
    if args.score:
        score(args.folder, args.score)
        return
    draw_folder(args.folder, args.count, args.seed)
    print(f"Drew {args.count} mugs into {args.folder}, their factors into factors.csv beside it.")


if __name__ == "__main__":
    main()
