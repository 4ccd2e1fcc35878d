"""How near the discriminator of FactorVAE comes to a total correlation that is known.

Two groups of D/2 unit Gaussians, with correlation rho between partners, have the total correlation
-(D / 4) log(1 - rho^2) nats. The codes are fed to a FactorVAE whose encoder is the identity and
whose first player stands still, so that what learns is the model's own second player.

    python benchmarks/total_correlation.py --backend tensorflow --out tc.json
"""

from __future__ import annotations

import argparse
import json
import math
import os
from typing import Any

SETTINGS: dict[str, Any] = {
    "steps": 2000,
    "units": 1000,
    "learning_rate": 1e-3,  # at first: it decays to 0 by half a cosine
    "batch_size": 256,
}
RANGE = 12.0  # standard deviations that are mapped to the [0, 1] of a pixel


def estimate(
    latent_dim: int,
    rho: float,
    *,
    steps: int,
    units: int,
    learning_rate: float,
    batch_size: int,
    seed: int = 0,
) -> tuple[float, float]:
    """Return (what the discriminator finds on fresh codes, the truth), in nats."""
    import keras
    import numpy as np

    from keras_disent import FactorVAE, networks

    shape = (1, latent_dim, 1)
    model = FactorVAE(
        shape,
        latent_dim,
        gamma=0.0,
        encoder=keras.Sequential(
            [keras.Input(shape), keras.layers.Flatten(), keras.layers.Rescaling(RANGE, -RANGE / 2)]
        ),
        decoder=keras.Sequential(
            [
                keras.Input((latent_dim,)),
                keras.layers.Dense(latent_dim),
                keras.layers.Reshape(shape),
            ]
        ),
        discriminator=networks.discriminator(latent_dim, units=units, seed=seed),
        seed=seed,
    )
    head = model.posterior_head
    head.mean_head.set_weights([np.eye(latent_dim), np.zeros(latent_dim)])
    head.log_variance_head.set_weights(
        [np.zeros((latent_dim, latent_dim)), np.full(latent_dim, -20.0)]
    )
    decay = keras.optimizers.schedules.CosineDecay(learning_rate, steps)
    adam = keras.optimizers.Adam(decay, beta_1=0.5, beta_2=0.9)
    model.compile({"loss": keras.optimizers.SGD(0.0), "discriminator_loss": adam})

    rng = np.random.default_rng(seed)

    def codes(n: int) -> np.ndarray:
        first, noise = rng.standard_normal((2, n, latent_dim // 2))
        second = rho * first + math.sqrt(1 - rho**2) * noise
        pixels = np.concatenate([first, second], axis=1) / RANGE + 0.5
        return np.clip(pixels, 0, 1).astype("float32").reshape(n, *shape)

    def stream():
        while True:
            yield codes(batch_size)

    model.fit(stream(), steps_per_epoch=steps, verbose=0)
    terms = model.evaluate(codes(20_000), batch_size=1000, verbose=0, return_dict=True)
    return terms["total_correlation"], -latent_dim / 4 * math.log(1 - rho**2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=("tensorflow", "jax", "torch"))
    parser.add_argument("--dimensions", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--rho", type=float, nargs="+", default=[0.3, 0.6, 0.9])
    parser.add_argument("--steps", type=int, default=SETTINGS["steps"])
    parser.add_argument("--batch-size", type=int, default=SETTINGS["batch_size"])
    parser.add_argument("--out")
    arguments = parser.parse_args()
    if arguments.backend:
        os.environ["KERAS_BACKEND"] = arguments.backend
    settings = {**SETTINGS, "steps": arguments.steps, "batch_size": arguments.batch_size}
    rows = []
    for latent_dim in arguments.dimensions:
        for rho in arguments.rho:
            found, true = estimate(latent_dim, rho, **settings)
            row = {"latent_dim": latent_dim, "rho": rho, "found": found, "true": true}
            rows.append({**row, "ratio": found / true})
            print(json.dumps(rows[-1]), flush=True)
    if arguments.out:
        with open(arguments.out, "w") as file:
            json.dump({"settings": settings, "rows": rows}, file, indent=2)


if __name__ == "__main__":
    main()
