"""Faults: why a training step changed nothing, as a number that a compiled step can store.

1 and 2 are of the batch; then come the terms of the model, the gradients of its players, and the
weights that their optimizers would give them.
"""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_disent.engine import inputs

FEW_IMAGES, BAD_IMAGES = 1, 2


def of_term(model: Any, term: str) -> int:
    """Return the number of a term that is not finite."""
    return BAD_IMAGES + 1 + list(model.terms).index(term)


def of_gradient(model: Any, player: str) -> int:
    """Return the number of a player's gradient that is not finite."""
    return BAD_IMAGES + 1 + len(model.terms) + list(model.players).index(player)


def of_update(model: Any, player: str) -> int:
    """Return the number of a player's new weights that are not finite."""
    return of_gradient(model, player) + len(model.players)


def raise_fault(model: Any, fault: Any) -> None:
    """Raise the error of the first step that was skipped, if any.

    Args:
        model: Model that is trained.
        fault: Variable (2,) of that step and its fault, 0 for none.

    Raises:
        ValueError: If its batch was too small, or not of images.
        FloatingPointError: If a term, a gradient or a new weight was not finite.
    """
    step, reason = ops.convert_to_numpy(fault).tolist()
    if not reason:
        return
    prefix = f"Training stopped at step {step + 1}, with the model as before that step: "
    if reason == FEW_IMAGES:
        raise ValueError(f"{prefix}{inputs.too_few_rows(model)}")
    if reason == BAD_IMAGES:
        raise ValueError(
            f"{prefix}images as floats must lie in [0, 1] (or be uint8 in 0..255), without "
            "NaN. Those of this batch do not."
        )
    names = [f"`{term}`" for term in model.terms]
    names += [f"the gradient of `{player}`" for player in model.players]
    of_updates = [
        f"what the optimizer of `{player}` makes of the weights" for player in model.players
    ]
    number = reason - BAD_IMAGES - 1
    cure = "A lower learning rate, `clipnorm` in the optimizer, or a smaller weight may help."
    if number >= len(names):
        cure = "Its gradients are: another optimizer, or a larger `epsilon` in it, may help."
    raise FloatingPointError(f"{prefix}{[*names, *of_updates][number]} is not finite. {cure}")
