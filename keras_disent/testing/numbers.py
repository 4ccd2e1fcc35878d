"""Promises about numbers: finite, in the right precision, and the same however compiled."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_disent.testing.helpers import (
    Data,
    Make,
    close,
    compiled,
    fitted,
    global_policy,
    reloaded,
    same,
    state,
    weights_of,
)


def not_finite(make: Make, data: Data) -> None:
    """Check that a step that is not finite ends `fit` with an error, and changes nothing."""
    x = data()
    for where in ("terms", "gradients"):
        model = make()
        if where == "terms":
            compiled(model)
            objective = model.objective

            def broken(player: str, batch: Any, training: bool, objective: Any = objective) -> Any:
                terms = objective(player, batch, training)
                return {**terms, player: terms[player] * np.float32(np.inf)}

            object.__setattr__(model, "objective", broken)
        else:
            compiled(model, lambda: keras.optimizers.SGD(np.inf))
        before = state(model)
        try:
            fitted(model, x, epochs=2)
        except FloatingPointError as error:
            assert "finite" in str(error), f"The error does not state the reason: {error}"
            assert "step 1" in str(error), f"The error does not name the step: {error}"
        else:
            raise AssertionError(f"{where} that are not finite do not end training.")
        model._fault.assign([0, 0])  # which the error has reported
        what = f"After {where} that are not finite the model"
        same(state(model), before, what)
    model = compiled(make(), lambda: keras.optimizers.SGD(np.inf))
    fitted(model, x, callbacks=[keras.callbacks.TerminateOnNaN()])  # ends without an error


def compilers(make: Make, data: Data) -> None:
    """Check that results do not depend on how a step is compiled."""
    x = data()
    modes: dict[str, dict[str, Any]] = {"run_eagerly": {"run_eagerly": True}}
    if keras.backend.backend() != "torch":
        modes |= {"XLA": {"jit_compile": True}, "two steps": {"steps_per_execution": 2}}

    def trained(**settings: Any) -> Any:
        model = compiled(make(), lambda: keras.optimizers.SGD(1e-3), **settings)
        model.noise.enabled = False  # XLA draws other numbers on TensorFlow
        fitted(model, x)
        return model

    plain = trained(jit_compile=False)
    for mode, settings in modes.items():
        other = trained(**settings)
        close(weights_of(other), weights_of(plain), f"Weights with {mode} and without")


def precision(make: Make, data: Data) -> None:
    """Check that mixed precision trains with finite numbers, and is stored in files.

    Terms, weights and outputs are of single precision all the same.
    """
    for name in ("mixed_float16", "mixed_bfloat16"):
        with global_policy(name):
            model, dtypes = compiled(make()), dict[str, str]()
            objective = model.objective

            def observed(
                *args: Any, objective: Any = objective, dtypes: Any = dtypes, **kwargs: Any
            ) -> dict[str, Any]:
                terms = objective(*args, **kwargs)
                dtypes |= {
                    term: keras.backend.standardize_dtype(x.dtype) for term, x in terms.items()
                }
                return terms

            model.objective = observed
            history = fitted(model, data(), epochs=3)
            dtypes |= {v.path: v.dtype for v in model.trainable_variables}
            dtypes |= {o.name: o.dtype for part in _decoders(model) for o in part.outputs}
            halves = {of: dtype for of, dtype in dtypes.items() if dtype != "float32"}
            assert not halves, f"{name}: float32 is needed. Got {halves}."
            assert np.isfinite(list(history.values())).all(), f"{name}: logs are not finite."
            assert np.isfinite(weights_of(model)).all(), f"{name}: weights are not finite."
        again = reloaded(model)  # under another global policy
        assert again.dtype_policy.name == name, f"{name} is loaded as {again.dtype_policy.name}."
        same(state(again), state(model), f"{name}: after a file the model")


def _decoders(model: Any) -> list[Any]:
    """Return the networks that give images."""
    parts = [getattr(model, part, None) for part in ("decoder", "generator")]
    return [part for part in parts if isinstance(part, keras.Model) and part.outputs]
