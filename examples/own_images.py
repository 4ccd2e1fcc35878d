"""Train on a folder of images of your own. The three lines to change are marked.

    python examples/own_images.py --folder my/pictures --out runs/own_images

Without `--folder` it cuts one out of two photographs that come with scikit-learn, or paints color
gradients if that is not installed.
"""

import argparse
from pathlib import Path

import keras
import numpy as np
from PIL import Image

from keras_disent import BetaVAE, callbacks
from keras_disent.datasets import open_folder


def stand_in(folder: Path, n: int = 1000, side: int = 96) -> Path:
    """Fill a folder with images, for want of a better one."""
    rng = np.random.default_rng(0)
    try:
        from sklearn.datasets import load_sample_images

        photographs = load_sample_images().images
    except ImportError:
        rows, columns = np.mgrid[0:400, 0:600] / 600
        photographs = [np.uint8(255 * np.stack([rows, columns, 1 - columns], axis=-1))]
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(n):
        photograph = photographs[i % len(photographs)]
        top, left = (rng.integers(length - side) for length in photograph.shape[:2])
        crop = photograph[top : top + side, left : left + side]
        Image.fromarray(crop).save(folder / f"{i:04d}.png")
    return folder


parser = argparse.ArgumentParser(description="Train a beta-VAE on a folder of images.")
parser.add_argument("--folder", type=Path, help="png, jpg, bmp or webp files")
parser.add_argument("--out", type=Path, default=Path("runs/own_images"))
parser.add_argument("--steps", type=int, default=1500)
args = parser.parse_args()

folder = args.folder or stand_in(args.out / "images")  # 1: your folder
data = open_folder(folder, image_size=32, channels=3)  # 2: side (a multiple of 16); 1 = gray
model = BetaVAE(data.image_shape, beta=4.0, likelihood="gaussian_learned_scale")  # 3: the method
model.compile(keras.optimizers.Adam(1e-3))

epochs = max(1, round(args.steps / 500))
pictures = callbacks.TraversalGrid(data.images(np.arange(min(256, len(data)))), args.out)
batches = data.batches(64, steps=args.steps // epochs)
model.fit(batches, epochs=epochs, callbacks=[pictures], verbose=2)
model.save(args.out / "model.keras")
print(f"{len(data):,} images of {data.image_shape}. Look at {pictures.draw()}")
