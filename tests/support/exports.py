"""Questions to exported models, and the answers of the models themselves."""

from pathlib import Path

import numpy as np
from support.checks import compiled, images, learned_from, small

ROOT = Path(__file__).parents[2]


SIZES = (1, 7, 64)
ENDPOINTS = ("serve", "encode", "decode", "reconstruct", "traverse")


def questions(model, draw=images):
    """Return the inputs of every endpoint, for batches of several sizes, by name."""
    asked = {}
    for size in SIZES:
        x = draw(size, model.image_shape, seed=size)
        codes = np.random.default_rng(size).normal(size=(size, model.latent_dim))
        for endpoint in ENDPOINTS:
            asked[f"{endpoint}/{size}/images"] = x
        del asked[f"decode/{size}/images"]
        asked[f"decode/{size}/codes"] = codes.astype("float32")
        asked[f"traverse/{size}/latents"] = np.array([model.latent_dim - 1, 0], "int32")
        # Not 0: half way between two values of a quantized latent, rounding would decide.
        asked[f"traverse/{size}/values"] = np.array([-1.4, 0.1, 1.1], "float32")
    return asked


def answers(model, asked):
    """Return what the model's own methods say."""
    expected = {}
    for size in SIZES:
        x = asked[f"encode/{size}/images"]
        told = [model.encode(x)]
        if hasattr(model, "posterior_parameters"):
            told = model.posterior_parameters(x)
        for name, array in zip(model.encoding, told, strict=True):
            expected[f"encode/{size}/{name}"] = array
        expected[f"decode/{size}/decoded"] = model.decode(asked[f"decode/{size}/codes"])
        reconstructed = model.reconstruct(x)
        expected[f"reconstruct/{size}/reconstructed"] = reconstructed
        expected[f"serve/{size}/reconstructed"] = reconstructed
        turned = (asked[f"traverse/{size}/{name}"] for name in ("latents", "values"))
        expected[f"traverse/{size}/traversed"] = model.traverse(x, *turned)
    return expected


def trained(name, **kwargs):
    """Return a small model after a few steps, so that nothing is as it was at birth."""
    model, x = compiled(small(name, **kwargs)), images(32)
    model.fit(*learned_from(model, x), batch_size=16, epochs=2, verbose=0)
    return model
