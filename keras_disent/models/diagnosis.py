"""Say in words what a trained model does with its latents, and what has gone wrong."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from keras_disent.engine.dead_layers import EXAMPLES, dead_layer

GRAY = 0.05  # share of the variance of the images, below which reconstructions are all the same
WASTED = 1.0  # nats of one latent


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """What was found; `str` of it is one line for each.

    Attributes:
        in_use: Which latents are in use, (D,) bool; see `latents_in_use`.
        wasted: KL of each latent that is no information, (D,) nats: what it costs that its codes do
            not have the mean and variance of the prior. 0 for models without a KL.
        explained: Share of the variance of the images over the data set that reconstructions have:
            near 1 is good, below 0.05 they are the same for all images.
        summary: How many latents are in use, with the threshold.
        warnings: One line for each thing that has gone wrong, with its cure.
    """

    in_use: np.ndarray
    wasted: np.ndarray
    explained: float
    summary: str
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        """Return the summary and the warnings, one a line."""
        return "\n".join([self.summary, *self.warnings])


def diagnose(model: Any, images: np.ndarray) -> Diagnosis:
    """Look at the latents and reconstructions of a model; see `ImageModel.diagnose`.

    >>> from keras_disent import VAE
    >>> images = np.random.default_rng(0).integers(256, size=(50, 16, 16, 1)).astype("uint8")
    >>> diagnosis = diagnose(VAE((16, 16, 1), 2, "mlp", "mlp", seed=0), images)
    >>> print(diagnosis.warnings[0])  # doctest: +ELLIPSIS
    Reconstructions are the same gray for all images: they have 0 % of their variance. Train ...
    """
    images = np.asarray(images)
    if len(images) < 2:
        raise ValueError(f"A diagnosis compares at least 2 images. Got {len(images)}.")
    names, unit = model.latent_names, model.importance_unit
    importance = model.latent_importance(images)
    in_use = importance >= model.in_use
    used = [f"{names[i]} {importance[i]:.2f}" for i in np.argsort(-importance) if in_use[i]]
    summary = (
        f"{in_use.sum()} of {len(names)} latents in use (at least {model.in_use:g} {unit} of "
        f"{'information' if unit == 'nats' else 'change'} each)"
    )
    summary += f": {', '.join(used)} {unit}." if used else "."
    warnings = []
    explained = _explained(images, model.reconstruct(images))
    encoder = getattr(model, "encoder", None)
    dead = None
    if explained < GRAY:
        with model.observing():
            dead = dead_layer(encoder, model.preprocess(images[:EXAMPLES]))
    if dead is not None:
        warnings.append(
            f"The layer `{dead.name}` of the encoder outputs 0 for all images: its units have died "
            "and cannot learn any more. Train anew with a lower learning rate."
        )
    elif explained < GRAY:
        warnings.append(
            f"Reconstructions are the same gray for all images: they have {explained:.0%} of "
            "their variance. Train for more steps, with a higher learning rate, or with a smaller "
            "weight of the KL (beta, gamma); or let `recommend` choose.".replace("%", " %")
        )
    wasted = np.zeros_like(importance)
    if hasattr(model, "latent_kl"):
        wasted = np.maximum(model.latent_kl(images) - importance, 0)
        codes = model.encode(images)
        if wasted.max() >= WASTED:
            most = int(np.argmax(wasted))
            warnings.append(
                f"{wasted.sum():.1f} nats of the KL inform about nothing: codes do not have the "
                f"mean 0 and standard deviation 1 of the prior ({names[most]}: "
                f"{codes[:, most].mean():.1f} and {codes[:, most].std():.1f}, "
                f"{wasted[most]:.1f} nats). Samples and traversals from -2 to 2 miss what it does; "
                "train for more steps, or raise `dimension_wise_kl_weight` of beta-TCVAE."
            )
    return Diagnosis(in_use, wasted, explained, summary, tuple(warnings))


def _explained(images: np.ndarray, reconstructions: np.ndarray) -> float:
    """Return the variance of reconstructions over the data, as a share of that of the images."""
    scale = 255 if images.dtype == np.uint8 else 1
    variance = (images.astype("float32") / scale).var(axis=0).mean()
    return float(reconstructions.var(axis=0).mean() / variance) if variance > 0 else 1.0
