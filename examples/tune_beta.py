"""A search over beta, in minutes on two cores: which weight of the KL tells the factors apart?

    python examples/tune_beta.py --out runs/tune_beta

Twelve beta-VAEs learn squares of many sizes and places; the one with the best MIG is then compared
with beta = 1, a plain VAE, trained alike. Stop it whenever you like: called again, it goes on.
KerasTuner comes with `pip install 'keras-disent[tuner]'`.
"""

import argparse
from pathlib import Path

from keras_disent import tuning
from keras_disent.runs import Config

parser = argparse.ArgumentParser(description="Search for the best beta of a beta-VAE.")
parser.add_argument("--out", type=Path, default=Path("runs/tune_beta"))
parser.add_argument("--steps", type=int, default=1500)
parser.add_argument("--trials", type=int, default=12)
parser.add_argument("--tuner", default="bayesian")
parser.add_argument("--objective", default="mig")
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()

config = Config(
    model="beta_vae",
    data="sprites",
    subset={"shape": ["square"], "orientation": [0], "position_y": list(range(10, 22))},
    image_size=32,
    steps=args.steps,
    epoch_steps=min(args.steps, 1000),
    seed=args.seed,
    learning_rate=1e-3,
    latent_dim=6,
    width=0.25,
)


def show(rows):
    row = rows[-1] if rows else None
    if row and row.score is not None:
        name = f"trial {row.number:2d}   beta {row.values['beta']:6.3f}"
        cost = f"reconstruction {row.reconstruction:6.2f} nats   {row.seconds:.0f} s"
        print(f"{name}   {args.objective} {row.score:.4f}   {cost}", flush=True)


search = tuning.Search(
    config, args.objective, {"beta": (0.5, 32.0)}, trials=args.trials, tuner=args.tuner
)
best = search.run(args.out / "search", show).best
plain = tuning.Search(config, args.objective, {"beta": [1.0]}, trials=1, tuner="grid")
one = plain.run(args.out / "beta_1").best
print(f"best: beta {best.values['beta']:g}   {args.objective} {best.score:.4f}")
print(f"beside it: beta 1   {args.objective} {one.score:.4f}")
print(f"Look at {args.out / 'search' / 'tradeoff.png'}")
