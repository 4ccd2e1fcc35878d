"""Three kinds of codes under InfoMEC: beta-VAE, an autoencoder turned by linear ICA, and QLAE.

    python examples/baselines.py --out runs/baselines

InfoMEC (Hsu et al. 2023) asks whether a latent tells of one factor only (modularity), a factor is
in one latent only (compactness), and whether all is there (explicitness). All models see the same
sprites through the same networks. The weight decay of QLAE acts within 10,000 steps: the default
`--steps` is too short for it. `KERAS_BACKEND` chooses TensorFlow, JAX or PyTorch.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from keras_disent import QLAE, Autoencoder, BetaVAE, metrics, plots
from keras_disent.datasets import Sprites, example_images

parser = argparse.ArgumentParser(description="Compare autoencoders with beta-VAE by InfoMEC.")
parser.add_argument("--out", type=Path, default=Path("runs/baselines"))
parser.add_argument("--steps", type=int, default=3000)
parser.add_argument("--seeds", type=int, default=3)
parser.add_argument("--samples", type=int, default=5000, help="images that scores are made of")
args = parser.parse_args()

data = Sprites(image_size=32).subgrid({"orientation": [0]})
print(f"{len(data):,} images of {', '.join(data.factor_names)}: {data.factor_sizes}")

METHODS = {
    "beta-VAE, beta 4": (BetaVAE, {"beta": 4.0}),
    "autoencoder": (Autoencoder, {}),
    "QLAE": (QLAE, {"values": 10}),
}
FILES = {
    "beta-VAE, beta 4": "beta_vae",
    "autoencoder": "autoencoder",
    "autoencoder + ICA": "autoencoder_ica",
    "QLAE": "qlae",
}
args.out.mkdir(parents=True, exist_ok=True)
rows = {}


def score(name, model, seed):
    """Add the InfoMEC of a model to the table, and for the first seed draw its traversals."""
    scores = metrics.evaluate(model, data, ["infomec"], n_samples=args.samples, seed=0)
    infomec = scores.results["infomec"]
    parts = infomec.modularity, infomec.explicitness, infomec.compactness
    rows.setdefault(name, []).append([float(part) for part in parts])
    print(f"seed {seed}, {name}: InfoM {parts[0]:.2f}  InfoE {parts[1]:.2f}  InfoC {parts[2]:.2f}")
    if seed == 0:
        figure = plots.traversals(model, example_images(data), title=name)
        plots.save(figure, args.out / f"{FILES[name]}.png")


for seed in range(args.seeds):
    for name, (kind, options) in METHODS.items():
        # Twice as many latents as factors, as published.
        model = kind.with_networks(data.image_shape, 8, "conv", 0.5, seed, **options)
        model.compile(model.default_optimizer(1e-3))
        batches = data.batches(64, seed=seed, steps=args.steps)
        model.fit(batches, verbose=2)
        score(name, model, seed)
        if kind is Autoencoder:
            model.fit_ica(data.images(data.sample(10_000, np.random.default_rng(seed))))
            score("autoencoder + ICA", model, seed)

(args.out / "scores.json").write_text(json.dumps(rows, indent=2) + "\n")
print(f"\nMean of {args.seeds} seeds   InfoM  InfoE  InfoC")
for name, values in rows.items():
    print(f"{name:18s}" + "".join(f"{part:7.2f}" for part in np.mean(values, axis=0)))
