"""Draw the pictures of the rendered data sets, and the moving one of the first page.

    python docs/gallery.py

Gaps between images are transparent, so that the pictures suit light and dark pages.
"""

from pathlib import Path

import numpy as np
from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont

from keras_disent import VAE, datasets, plots

IMAGES = Path(__file__).parent / "images"
GRAY = (128, 128, 128, 255)  # readable on white and on black
# Three people, each with the steps of what they do: turn, mouth, blush, eyes.
PEOPLE = {
    "head_turn": (292, (7, 2, 3, 2)),
    "mouth_opening": (39, (7, 0, 2, 2)),
    "blush": (260, (7, 5, 0, 2)),
}


def mosaic(rows: list[np.ndarray], gap: int) -> Image.Image:
    """Put rows of uint8 images `(n, height, width, channels)` below each other."""
    height, width = rows[0].shape[1:3]
    columns = max(map(len, rows))
    size = (columns * (width + gap) - gap, len(rows) * (height + gap) - gap)
    picture = Image.new("RGBA", size)
    for j, row in enumerate(rows):
        for i, image in enumerate(np.broadcast_to(row, (*row.shape[:3], 3))):
            picture.paste(Image.fromarray(image), (i * (width + gap), j * (height + gap)))
    return picture


def traversals(columns: int) -> list[np.ndarray]:
    """Return a row of images for each person, who does one thing."""
    rows = []
    for name, (person, steps) in PEOPLE.items():
        data = datasets.Faces(128, person=person)
        factors = np.tile((*steps, 0, 0, 0, 0), (columns, 1))
        column = data.factor_names.index(name)
        last = data.factor_sizes[column] - 1
        factors[:, column] = np.linspace(0, last, columns).round()
        rows.append(data.observe(factors))
    return rows


def gallery(columns: int) -> Image.Image:
    """Draw a row of random images of each data set that is rendered, with its name."""
    rows = {}
    for name, make in datasets.DATASETS.items():
        if not make.card.download:
            data = datasets.load(name)
            rng = np.random.default_rng(0)
            rows[name] = data.observations(rng.integers(len(data), size=columns), rng)
    images = mosaic(list(rows.values()), 4)
    picture = Image.new("RGBA", (images.width + 150, images.height))
    picture.paste(images, (150, 0))
    draw = ImageDraw.Draw(picture)
    font = ImageFont.truetype(font_manager.findfont("DejaVu Sans"), 15)
    for j, name in enumerate(rows):
        draw.text((136, 68 * j + 32), name, GRAY, font, anchor="rm")
    return picture


def first(path: Path) -> Path:
    """Draw what four latents of the ready face do; return the path."""
    data, model = datasets.Faces(32, person=261), VAE.from_preset("faces_person")
    latents = ["head_turn", "blush", "mouth_opening", "eye_opening"]
    frames = plots.traversal_frames(model, datasets.example_images(data), latents=latents)
    return plots.save_animation(frames, path)


if __name__ == "__main__":
    first(IMAGES / "first.gif")
    mosaic(traversals(8), 4).save(IMAGES / "faces_traversals.png", optimize=True)
    gallery(12).save(IMAGES / "data_gallery.png", optimize=True)
    faces = datasets.Faces()
    sample = faces.images(np.random.default_rng(4).integers(len(faces), size=5))
    mosaic([sample], 2).save(IMAGES / "data_faces.png", optimize=True)
