"""Train InfoGAN and plain VAEs on squares of many sizes and places; compare their codes.

    python examples/info_gan.py --out runs/info_gan

The data have three factors (size, horizontal and vertical place), all models have three latents,
and each player sees 64 real images in a step. The data are drawn on the fly, so nothing is
downloaded. `KERAS_BACKEND` chooses TensorFlow, JAX or PyTorch.

The game is played with a generator that can place things, a generator that learns faster than its
discriminator, learning rates that fall to 0, and two weights: the mutual information counts 0.3,
for with 1 it is bought by codes that mix the factors; the gradient penalty 5, for with 2 the
generator is now and then lost, its images black. The comparison is with a VAE of convolutions, and
with one whose decoder is that very generator, to tell what the objective does from what the network
does.
"""

import argparse
import json
from pathlib import Path

import keras
import numpy as np

from keras_disent import VAE, InfoGAN, metrics, networks, plots
from keras_disent.datasets import Sprites, example_images
from keras_disent.models import gan_networks

MODELS = ("info_gan", "vae", "vae_profiles")
parser = argparse.ArgumentParser(description="Compare InfoGAN with a plain VAE.")
parser.add_argument("--out", type=Path, default=Path("runs/info_gan"))
parser.add_argument("--steps", type=int, default=3000)
parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
args = parser.parse_args()

LATENTS = 3
every_other = list(range(0, 32, 2))
data = Sprites(image_size=32).subgrid(
    {
        "shape": ["square"],
        "orientation": [0],
        "position_x": every_other,
        "position_y": every_other,
    }
)
shape = data.image_shape
print(f"{len(data):,} images of {', '.join(data.factor_names)}: {data.factor_sizes}")


def adam(rate, **kwargs):
    return keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, args.steps), **kwargs)


def info_gan(seed):
    model = InfoGAN(
        shape,
        LATENTS,
        generator=gan_networks.profiles(shape, LATENTS, seed=seed + 1),
        discriminator=gan_networks.trunk(shape, width=0.25, seed=seed),
        noise_dim=0,
        mutual_information_weight=0.3,
        gradient_penalty_weight=5.0,
        seed=seed,
    )
    rates = {"generator_loss": 2e-3, "discriminator_loss": 1e-3}
    model.compile({player: adam(rate, beta_1=0.5) for player, rate in rates.items()})
    return model


def vae(seed, decoder=networks.conv_decoder, width=0.5):
    model = VAE(
        shape,
        LATENTS,
        encoder=networks.conv_encoder(shape, width=0.5, seed=seed),
        decoder=decoder(shape, LATENTS, width=width, seed=seed + 1),
        seed=seed,
    )
    model.compile(adam(1e-3))
    return model


def vae_profiles(seed):
    return vae(seed, gan_networks.profiles, width=1.0)


def evaluate(name, seed):
    """Train one model; return its scores."""
    model = {"info_gan": info_gan, "vae": vae, "vae_profiles": vae_profiles}[name](seed)
    epochs = max(1, args.steps // 500)
    model.fit(
        data.batches(64 * len(model.players), seed=seed, steps=args.steps // epochs),
        epochs=epochs,
        verbose=2,
    )
    found = metrics.evaluate(model, data, ["factor_vae_score", "mig"], seed=seed)
    path = args.out / f"{name}_{seed}"
    model.save(path.with_suffix(".keras"))
    figure = plots.traversals(model, example_images(data), title=f"{name}, seed {seed}")
    plots.save(figure, path.with_suffix(".png"))
    return {metric: float(value) for metric, value in found.items()}


args.out.mkdir(parents=True, exist_ok=True)
scores: dict[str, list] = {name: [] for name in args.models}
for seed in args.seeds:
    for name in args.models:
        scores[name].append(evaluate(name, seed))
        print(f"{name}, seed {seed}: {scores[name][-1]}", flush=True)
for name, each in scores.items():
    for metric in each[0]:
        values = [score[metric] for score in each]
        each_seed = ", ".join(f"{value:.3f}" for value in values)
        print(f"{name:12} {metric:10} median {np.median(values):.3f} of {each_seed}")
(args.out / "scores.json").write_text(json.dumps(scores, indent=2) + "\n")
print(f"Look at {args.out}/{args.models[0]}_{args.seeds[0]}.png")
