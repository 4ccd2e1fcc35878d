"""Train on a folder of pictures of your own. The settings are chosen by the pictures.

    python examples/own_images.py --folder my/pictures --out runs/own_images

Without `--folder` it draws one: 300 mugs of any color and size.
"""

import argparse
import colorsys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from keras_disent import callbacks, plots, recommend


def draw_mugs(folder: Path, n: int = 300) -> Path:
    """Fill a folder with pictures, for want of a better one."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(n):
        hue, size, gray = rng.random(3)
        color = tuple(round(220 * part) for part in colorsys.hsv_to_rgb(0.7 * hue, 0.8, 1.0))
        picture = Image.new("RGB", (96, 96), (round(40 + 200 * gray),) * 3)
        draw, r = ImageDraw.Draw(picture), 14 + 22 * size
        draw.rectangle((48 - r, 48 - r, 48 + 0.6 * r, 48 + r), fill=color)
        draw.ellipse(
            (48 + 0.3 * r, 48 - 0.5 * r, 48 + 1.1 * r, 48 + 0.5 * r), outline=color, width=4
        )
        picture.save(folder / f"{i:04d}.png")
    return folder


parser = argparse.ArgumentParser(description="Train on a folder of pictures.")
parser.add_argument("--folder", type=Path, help="png, jpg, webp, bmp, gif or tiff files")
parser.add_argument("--out", type=Path, default=Path("runs/own_images"))
parser.add_argument("--steps", type=int, default=2000)
args = parser.parse_args()

choice = recommend(args.folder or draw_mugs(args.out / "images"), steps=args.steps)
print(choice)  # method, likelihood, networks, learning rate; and why
model = choice.build()  # compiled

images = choice.data.images(np.arange(min(256, len(choice.data))))
pictures = callbacks.TraversalGrid(images, args.out)
model.fit(**choice.fit_arguments(model), callbacks=[pictures], verbose=2)

print(model.diagnose(images))  # how many latents are in use; what has gone wrong
model.save(args.out / "model.keras")
plots.save(plots.traversals(model, images), args.out / "traversal.png")
print(f"{len(choice.data):,} images of {model.image_shape}. Look at {args.out / 'traversal.png'}")
