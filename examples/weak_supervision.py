"""Does it help to see images in pairs? Ada-GVAE beside beta-VAE, over five seeds.

    python examples/weak_supervision.py --out runs/weak_supervision

Both see 64 sprites in a step, as many steps, through the same networks. Ada-GVAE sees them as 32
pairs that differ in one factor; nobody tells which. beta-VAE gets several strengths, and the best
of them is compared. `KERAS_BACKEND` chooses TensorFlow, JAX or PyTorch.
"""

import argparse
import json
from pathlib import Path

import keras
import numpy as np

from keras_disent import AdaGVAE, BetaVAE, metrics, plots
from keras_disent.datasets import ChangedPairs, Sprites, example_images

parser = argparse.ArgumentParser(description="Compare Ada-GVAE with beta-VAE.")
parser.add_argument("--out", type=Path, default=Path("runs/weak_supervision"))
parser.add_argument("--steps", type=int, default=3000)
parser.add_argument("--seeds", type=int, default=5)
parser.add_argument("--betas", type=float, nargs="+", default=[1.0, 4.0], help="of beta-VAE")
parser.add_argument("--samples", type=int, default=5000, help="images that scores are made of")
args = parser.parse_args()

data = Sprites(image_size=32).subgrid({"orientation": [0]})
print(f"{len(data):,} images of {', '.join(data.factor_names)}: {data.factor_sizes}")

SCORES = ("mig", "dci")
methods = {"Ada-GVAE, beta 1": (AdaGVAE, 1.0)}
methods |= {f"beta-VAE, beta {beta:g}": (BetaVAE, beta) for beta in args.betas}
args.out.mkdir(parents=True, exist_ok=True)
found = {name: {score: [] for score in SCORES} for name in methods}
for seed in range(args.seeds):
    for name, (kind, beta) in methods.items():
        model = kind.with_networks(data.image_shape, 10, "conv", 0.5, seed, beta=beta)
        model.compile(keras.optimizers.Adam(1e-3))
        if model.pairs:
            batches = ChangedPairs(data, changed=1).batches(32, seed=seed, steps=args.steps)
        else:
            batches = data.batches(64, seed=seed, steps=args.steps)
        model.fit(batches, verbose=2)
        scores = metrics.evaluate(model, data, SCORES, n_samples=args.samples, seed=0)
        for score in SCORES:
            found[name][score].append(float(scores[score]))
        print(f"seed {seed}, {name}: " + ", ".join(f"{s} {scores[s]:.3f}" for s in SCORES))
        if seed == 0:
            figure = plots.traversals(model, example_images(data), title=name, at_most=5)
            plots.save(figure, args.out / f"{kind.__name__}_{beta:g}.png")

(args.out / "scores.json").write_text(json.dumps(found, indent=2) + "\n")
print(f"\nMedian of {args.seeds} seeds, and the least and the most")
for name, scores in found.items():
    ranges = (f"{s} {np.median(v):.3f} ({min(v):.3f} to {max(v):.3f})" for s, v in scores.items())
    print(f"{name:18s} {'   '.join(ranges)}")
