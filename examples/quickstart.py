"""Train a beta-TCVAE on squares of many sizes and places, score it, and draw what it found.

    python examples/quickstart.py --out runs/quickstart

The data have three factors (size, horizontal and vertical place) and are drawn on the fly, so
nothing is downloaded. `KERAS_BACKEND` chooses TensorFlow, JAX or PyTorch.
"""

import argparse
from pathlib import Path

import keras

from keras_disent import BetaTCVAE, callbacks, networks
from keras_disent.datasets import Sprites, example_images

parser = argparse.ArgumentParser(description="Train, score and draw a small beta-TCVAE.")
parser.add_argument("--out", type=Path, default=Path("runs/quickstart"))
parser.add_argument("--steps", type=int, default=3000)
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()

data = Sprites(image_size=32).subgrid({"shape": ["square"], "orientation": [0]})
print(f"{len(data):,} images of {', '.join(data.factor_names)}: {data.factor_sizes}")

model = BetaTCVAE(
    data.image_shape,
    latent_dim=6,
    beta=4.0,
    encoder=networks.conv_encoder(data.image_shape, width=0.5, seed=args.seed),
    decoder=networks.conv_decoder(data.image_shape, 6, width=0.5, seed=args.seed + 1),
    seed=args.seed,
)
model.compile(keras.optimizers.Adam(1e-3))

epochs = max(1, round(args.steps / 500))
scores = callbacks.DisentanglementMetrics(data)
pictures = callbacks.TraversalGrid(example_images(data), args.out)
model.fit(
    data.batches(64, seed=args.seed, steps=args.steps // epochs),
    epochs=epochs,
    callbacks=[scores, pictures],
    verbose=2,
)

model.save(args.out / "model.keras")
(args.out / "scores.json").write_text(scores.latest.to_json() + "\n")
print(scores.latest)
print(f"Look at {pictures.draw()}")
