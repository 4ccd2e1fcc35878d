"""Learn the causal graph of the pendulum from no edge, and ask what a moved light would do.

python examples/causal_pendulum.py --out runs/causal_pendulum
"""

import argparse
import json
from pathlib import Path

import keras
import numpy as np
from sklearn.neural_network import MLPRegressor

from keras_disent import CausalVAE, causal, networks, plots, schedules
from keras_disent.datasets.rendered.pendulum import Pendulum
from keras_disent.plots import causal as causal_plots

parser = argparse.ArgumentParser(description="Train CausalVAE on Pendulum.")
parser.add_argument("--out", type=Path, default=Path("runs/causal_pendulum"))
parser.add_argument("--steps", type=int, default=5000)
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()

data = Pendulum(image_size=32)
names = data.concept_names
model = CausalVAE(
    data.image_shape,
    names,
    # The graph is decided in the first half of training, images follow it in the second.
    temperature=schedules.Linear(0.5, 0.0, max(1, args.steps // 2)),
    acyclicity=causal.AugmentedLagrangian(every=max(1, args.steps // 100)),
    encoder=networks.conv_encoder(data.image_shape, 0.5, seed=args.seed),
    decoder=networks.conv_decoder(data.image_shape, len(names) * 4, 0.5, seed=args.seed + 100),
    seed=args.seed,
)
model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1.5e-3, args.steps)))
batches = data.batches(64, seed=args.seed, steps=max(1, args.steps // 10), labels=True)
model.fit(batches, epochs=10 if args.steps >= 10 else args.steps, verbose=2)

distance = causal.hamming(model.graph(), data.graph)
print(f"learned graph, rows cause columns ({', '.join(names)}):\n{model.graph()}")
print(f"structural Hamming distance to the true graph: {distance}")

# What the images show is read by a regressor that has seen real pictures only.
rng = np.random.default_rng(0)
seen = data.sample(3000, rng)
reader = MLPRegressor(hidden_layer_sizes=(100,), early_stopping=True, random_state=0)
reader.fit(data.images(seen).reshape(3000, -1) / 255, data.labels(seen))


def read(images):
    """Return what pictures (n, h, w, c) in [0, 1] show: (n, 4) labels."""
    return reader.predict(images.reshape(len(images), -1))


indices = data.sample(200, np.random.default_rng(1))
labels, lights = data.labels(indices), np.random.default_rng(2).uniform(-0.8, 0.9, 200)
lights = lights.astype("float32")
angle = lights * data.concept_scale[1] + data.concept_shift[1]
true = (data.do(indices, {"light_angle": angle}) - data.concept_shift) / data.concept_scale
real = data.images(indices)
scores = {"structural_hamming_distance": distance, "steps": args.steps, "seed": args.seed}
for how, act in (("intervene", model.intervene), ("counterfactual", model.counterfactual)):
    shown, before = read(act(real, {"light_angle": lights})), read(model.reconstruct(real))
    print(f"\n{how}: do(light_angle), {len(indices)} images, in label units")
    print("concept            moved   should have   correlation   error")
    for i, name in enumerate(names):
        moved, should = shown[:, i] - before[:, i], true[:, i] - labels[:, i]
        agree = np.corrcoef(moved, should)[0, 1] if should.std() > 0 else np.nan
        row = np.sqrt([np.mean(moved**2), np.mean(should**2), np.mean((shown - true)[:, i] ** 2)])
        print(f"{name:16s} {row[0]:7.3f} {row[1]:13.3f} {agree:13.2f} {row[2]:7.3f}")
        scores[f"{how}_{name}"] = dict(
            zip(("moved", "should", "error"), map(float, row), strict=True), correlation=agree
        )

args.out.mkdir(parents=True, exist_ok=True)
model.save(args.out / "model.keras")
(args.out / "scores.json").write_text(json.dumps(scores, indent=1))
title = f"Pendulum from no edge, {args.steps:,} steps"
plots.save(
    causal_plots.graph(model.adjacency(), names, data.graph, title=title), args.out / "graph.png"
)
columns = {
    name: np.linspace(*np.quantile(data.labels(seen)[:, i], [0.05, 0.95]), 7)
    for i, name in enumerate(names)
}
middle = data.images(data.indices([[42, 20]]))[0]
title = "What would be seen (values of the labels)"
figure = causal_plots.interventions(model, middle, columns, title=title)
plots.save(figure, args.out / "interventions.png")
print(f"\nWrote {args.out}/graph.png, interventions.png, scores.json, model.keras")
