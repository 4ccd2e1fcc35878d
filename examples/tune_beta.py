"""A search over beta, in minutes on two cores: which weight of the KL tells the factors apart?

    python examples/tune_beta.py --out runs/tune_beta

Twelve beta-VAEs learn squares of many sizes and places; the one with the best MIG is then compared
with beta = 1, a plain VAE, trained alike. Stop it whenever you like: run it again to resume.
KerasTuner comes with `pip install 'keras-disent[tune]'`.
"""

import argparse
from pathlib import Path

from keras_disent.experiments import Config, Search, Study

parser = argparse.ArgumentParser(description="Search for the best beta of a beta-VAE.")
parser.add_argument("--out", type=Path, default=Path("runs/tune_beta"))
parser.add_argument("--steps", type=int, default=1500)
parser.add_argument("--trials", type=int, default=12)
parser.add_argument("--tuner", default="bayesian")
parser.add_argument("--jobs", type=int, default=1)
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


def best(name, space, trials, tuner):
    """Make a search, or resume it; return its best trial."""
    search = Search(config, args.objective, space, trials=trials, tuner=tuner)
    study = Study.create(search, args.out / name)
    study.run(n_jobs=args.jobs)
    for trial in study.trials():
        if trial.score is not None:
            beta = f"trial {trial.number:2d}   beta {trial.values['beta']:6.3f}"
            cost = f"reconstruction {trial.reconstruction:6.2f} nats   {trial.seconds:.0f} s"
            print(f"{beta}   {args.objective} {trial.score:.4f}   {cost}")
    done = [trial for trial in study.trials() if trial.score is not None]
    return (max if search.goal.higher else min)(done, key=lambda trial: trial.score)


winner = best("search", {"beta": (0.5, 32.0)}, args.trials, args.tuner)
plain = best("beta_1", {"beta": [1.0]}, 1, "grid")
print(f"best: beta {winner.values['beta']:g}   {args.objective} {winner.score:.4f}")
print(f"beside it: beta 1   {args.objective} {plain.score:.4f}")
print(f"Look at {args.out / 'search' / 'tradeoff.png'}")
