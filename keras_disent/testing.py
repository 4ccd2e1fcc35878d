"""Checks that built-in and custom models keep the promises of this package.

`check_model` checks a model on the current backend. Arguments and changes take effect or are
rejected, interrupted training can be resumed, evaluation does not influence training, files store
everything, and results do not depend on how a step is compiled. It stops at the first broken
promise, and names it.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule as Schedule

from keras_disent._utils.registry import lookup
from keras_disent._utils.types import Logs
from keras_disent.engine import schedules

__all__ = ["PROMISES", "check_model"]


def __dir__() -> list[str]:
    return sorted(__all__)


Make = Callable[[], Any]


def check_model(
    make: Make,
    images: np.ndarray,
    labels: np.ndarray | None = None,
    promises: Iterable[str] | None = None,
) -> None:
    """Check that a model keeps the promises of this package.

    Args:
        make: Function that creates a small model, the same each time, not compiled, with a fixed
            seed.
        images: Images (n, h, w, c), or pairs (n, 2, h, w, c) for a model of pairs; uint8, n at
            least 16. Large models take long: some promises recompile a step.
        labels: Labels (n, k), for a model that learns from labels.
        promises: Names from `PROMISES`. Default: all of them.

    Raises:
        AssertionError: Names the broken promise, and the failure.
        ValueError: If there is no such promise.

    >>> from keras_disent import VAE, networks
    >>> def make():
    ...     small = {"width": 0.02, "seed": 1}
    ...     return VAE(
    ...         (8, 8, 1),
    ...         latent_dim=2,
    ...         encoder=networks.mlp_encoder((8, 8, 1), **small),
    ...         decoder=networks.mlp_decoder((8, 8, 1), 2, **small),
    ...         seed=0,
    ...     )
    >>> images = np.random.default_rng(0).integers(256, size=(16, 8, 8, 1)).astype("uint8")
    >>> check_model(make, images, promises=["configuration", "evaluation"])
    """
    data = _Data(images, labels)
    for name in PROMISES if promises is None else promises:
        check = lookup(name, PROMISES, "promise")
        try:
            check(make, data)
        except Exception as error:
            kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
            raise AssertionError(f"The promise {name!r} is broken. {kind}{error}") from error


class _Data:
    """Hold images, and labels if there are any, of which calls return slices."""

    def __init__(self, images: np.ndarray, labels: np.ndarray | None):
        if len(images) < 16:
            raise ValueError(f"`images` must be at least 16. Got {len(images)}.")
        self.images, self.labels = images, labels

    def __call__(self, rows: slice = slice(16)) -> tuple[Any, ...]:
        labels = () if self.labels is None else (self.labels[rows],)
        return (self.images[rows], *labels)


# -- helpers --------------------------------------------------------------------------------------


def compiled(model: Any, optimizer: Callable[[], Any] | None = None, **kwargs: Any) -> Any:
    """Compile a model with a new optimizer for each player, and return it.

    Args:
        model: Model to compile.
        optimizer: Function that returns an optimizer. Default: Adam(0.01).
    """
    new = optimizer or partial(keras.optimizers.Adam, 0.01)
    model.compile({player: new() for player in model.players}, **kwargs)
    return model


def fitted(model: Any, data: tuple[Any, ...], **kwargs: Any) -> dict[str, list[Any]]:
    """Train in batches of 8, and return the logs."""
    return model.fit(*data, **{"batch_size": 8, "verbose": 0, **kwargs}).history


def arrays(variables: Iterable[Any]) -> list[np.ndarray]:
    """Return the values of variables."""
    return [ops.convert_to_numpy(v) for v in variables]


def weights_of(model: Any) -> np.ndarray:
    """Return the trainable weights as one array."""
    return np.concatenate([a.ravel() for a in arrays(model.trainable_variables)])


def state(model: Any) -> list[np.ndarray]:
    """Return the state of training: weights, seeds, steps and the optimizers' state."""
    variables = [*model.trainable_variables, *model.non_trainable_variables]
    return arrays([*variables, *model.optimizer.variables])


def same(left: list[np.ndarray], right: list[np.ndarray], what: str) -> None:
    """Assert that two lists of arrays are bit-exact."""
    assert len(left) == len(right), f"{what}: {len(left)} arrays against {len(right)}."
    gaps = [
        float(np.abs(a.astype("float64") - b).max())
        for a, b in zip(left, right, strict=True)
        if not np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    ]
    assert not gaps, f"{what}: {len(gaps)} of {len(left)} arrays differ, by up to {max(gaps):.3g}."


def close(got: Any, expected: Any, what: str, rtol: float = 1e-4, atol: float = 1e-5) -> None:
    """Assert that numbers agree up to rounding."""
    got, expected = np.asarray(got), np.asarray(expected)
    fine = np.allclose(got, expected, rtol=rtol, atol=atol)
    assert fine, f"{what}: differ by up to {np.abs(got - expected).max():.3g}."


def refused(call: Callable[[], Any], words: str, what: str) -> str:
    """Assert that a call raises a ValueError with some words, and return its message."""
    try:
        call()
    except (ValueError, AttributeError) as error:
        assert words in str(error), f"The error of {what} does not mention {words!r}: {error}"
        return str(error)
    raise AssertionError(f"{what} is accepted without an error.")


def reloaded(model: Any) -> Any:
    """Save a model to a file, and load it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        return keras.saving.load_model(path)


def as_text(config: Any) -> str:
    """Return a configuration as text, which is the same for tuples and lists."""
    return json.dumps(config, sort_keys=True, indent=1)


@contextlib.contextmanager
def global_policy(name: str) -> Iterator[None]:
    """Set Keras's global dtype policy inside a context."""
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(previous)


class _Interruption(Exception):
    """Interrupt training."""


class _InterruptAt(keras.callbacks.Callback):
    """Raise `_Interruption` at the beginning of an epoch, or after one of its batches."""

    def __init__(self, epoch: int, batch: int | None = None):
        super().__init__()
        self.epoch, self.batch, self.current_epoch = epoch, batch, -1

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self.current_epoch = epoch
        if epoch == self.epoch and self.batch is None:
            raise _Interruption

    def on_train_batch_end(self, batch: Any, logs: Logs | None = None) -> None:
        if self.current_epoch == self.epoch and batch == self.batch:
            raise _Interruption


# -- the promises ---------------------------------------------------------------------------------


def _configuration(make: Make, data: _Data) -> None:
    """Check that `from_config(get_config())` is the same model."""
    model = make()
    config = model.get_config()
    text = as_text(config)
    for _ in range(2):  # twice: `from_config` must not change the configuration
        again = type(model).from_config(config)
        assert as_text(again.get_config()) == text, "The configuration is not restored."
    names = [v.name for v in model.variables]
    assert [v.name for v in again.variables] == names, "The variables differ."


def _arguments(make: Make, data: _Data) -> None:
    """Check that methods name Keras's arguments in Keras's order, and reject unsupported ones."""
    model = compiled(make())
    for name in ("compile", "fit", "evaluate", "predict", "train_on_batch", "test_on_batch"):
        expected = list(inspect.signature(getattr(keras.Model, name)).parameters)
        arguments = list(inspect.signature(getattr(type(model), name)).parameters)
        missing = [argument for argument in expected if argument not in arguments]
        assert not missing, f"`{name}` does not name {', '.join(missing)}."
        order = arguments[: len(expected)]
        assert order == expected, f"The order of the arguments of `{name}` differs from Keras."
    before = state(model)
    refused(lambda: make().compile(loss="mse"), "likelihood", "`compile(loss=...)`")
    refused(lambda: make().compile(loss_weights=[1.0]), "loss_weights", "`loss_weights`")
    refused(lambda: fitted(model, data()[:1], class_weight={0: 1.0}), "class", "`class_weight`")
    same(state(model), before, "After an error the model")
    with contextlib.suppress(AttributeError):
        model.seed = model.seed + 1
        raise AssertionError("Setting `seed` raises no error.")


def _terms(make: Make, data: _Data) -> None:
    """Check that logs have the declared terms, finite, in the order of `evaluate`."""
    model = compiled(make())
    held_out = keras.utils.pack_x_y_sample_weight(*data(slice(4)))
    history = fitted(model, data(), epochs=2, validation_data=held_out)
    expected = {*model.terms, *(f"val_{term}" for term in model.terms)}
    difference = sorted(set(history) ^ expected)
    assert set(history) == expected, f"Logged and declared terms differ: {difference}."
    bad = [term for term, values in history.items() if not np.isfinite(values).all()]
    assert not bad, f"Not finite: {', '.join(bad)}."
    assert set(model.players) <= set(model.terms), "A player's term is not among the terms."
    assert model.steps_taken() == 4, f"4 steps count as {model.steps_taken()}."
    logs = model.evaluate(*data(), batch_size=8, verbose=0, return_dict=True)
    values = model.evaluate(*data(), batch_size=8, verbose=0)
    close(values, [logs[term] for term in model.terms], "`evaluate` as a list", rtol=1e-6)


def _players(make: Make, data: _Data) -> None:
    """Check that each player updates its own parts only, and every weight has one player."""
    model = make()
    keys = [id(v) for player in model.players for v in model.player_variables(player)]
    expected = sorted(id(v) for v in model.trainable_variables)
    assert sorted(keys) == expected, "Some weights belong to no player, or to two."
    for player in model.players:
        model.compile({p: keras.optimizers.SGD(0.01 * (p == player)) for p in model.players})
        before = arrays(model.trainable_variables)
        fitted(model, data(), batch_size=16)
        changed = {
            v.path
            for v, old in zip(model.trainable_variables, before, strict=True)
            if (ops.convert_to_numpy(v) != old).any()
        }
        paths = {v.path for v in model.player_variables(player)}
        assert changed <= paths, f"{player!r} changes {', '.join(sorted(changed - paths))}."
        assert changed, f"{player!r} changes no weight."


def _weights(make: Make, data: _Data) -> None:
    """Check that weights of the objective take effect in the next step, are logged and stored."""
    model = compiled(make())
    for name, value in schedules.weights(model).items():
        number = 0.5 if isinstance(value, Schedule) else value
        other = number / 2 if number else 0.125
        with contextlib.suppress(ValueError):  # some combinations of weights are invalid
            setattr(model, name, other)
        other = getattr(model, name)
        history = fitted(model, data(slice(8)))
        close(history[name], [schedules.value_at(other, 0)], f"`{name}` set between two fits")
        assert model.get_config()[name] == schedules.config(other), f"`{name}`: configuration."
        if not isinstance(other, float):
            continue

        def set_it(batch: Any, logs: Logs, name: str = name, number: float = number) -> None:
            setattr(model, name, number)

        setter = keras.callbacks.LambdaCallback(on_train_batch_end=set_it)
        history = fitted(model, data(), callbacks=[setter], shuffle=False)
        close(history[name], [(other + number) / 2], f"`{name}` set by a callback")
        schedule = schedules.Linear(number, number + 8, steps=1)
        model.steps.assign(0)
        setattr(model, name, schedule)
        history = fitted(model, data())
        close(history[name], [number + 4], f"`{name}` as a schedule")
        setattr(model, name, number)
        assert fitted(model, data(slice(8)))[name] == [np.float32(number)], f"`{name}` set back."
        assert getattr(reloaded(model), name) == number, f"`{name}` after a file."


def _evaluation(make: Make, data: _Data) -> None:
    """Check that two evaluations give the same numbers, and do not influence training."""
    x = data()

    def trained(frequency: int | None) -> Any:
        keras.utils.set_random_seed(0)
        model = compiled(make())
        held_out = keras.utils.pack_x_y_sample_weight(*data(slice(8, 16)))
        extra = {} if frequency is None else {"validation_data": held_out}
        fitted(model, x, epochs=2, validation_freq=frequency or 1, **extra)
        if frequency == 1:
            numbers = [model.evaluate(*x, batch_size=8, verbose=0) for _ in range(2)]
            assert numbers[0] == numbers[1], "A second evaluation gives other numbers."
            images = x[0][:, 0] if x[0].ndim == 5 else x[0]
            model.predict(images, batch_size=8, verbose=0)
            model.reconstruct(images)
        fitted(model, x)
        return model

    plain = state(trained(None))
    for frequency in (1, 2):
        what = f"After training with evaluation every {frequency} epochs, and without, the model"
        same(state(trained(frequency)), plain, what)


def _image_weights(make: Make, data: _Data) -> None:
    """Check that weights of images scale their terms, or are rejected."""
    x = data()
    weights = np.repeat([1.0, 0.0], 8).astype("float32")
    other = x[0].copy()
    other[8:] = 255 - other[8:]

    def trained(images: np.ndarray) -> Any:
        model = compiled(make())
        model.noise.enabled = False
        fitted(model, (images, *x[1:]), sample_weight=weights, batch_size=16, epochs=2)
        return model

    model = compiled(make())
    before = state(model)
    try:
        fitted(model, x, sample_weight=weights, batch_size=16)
    except ValueError as error:
        assert "weight" in str(error), f"The error does not mention weights: {error}"
        same(state(model), before, "After an error the model")
        return
    same(state(trained(x[0])), state(trained(other)), "Images of weight 0: the model")
    plain, double = (
        model.evaluate(
            *x, sample_weight=np.full(16, s, "float32"), batch_size=16, verbose=0, return_dict=True
        )
        for s in (1.0, 2.0)
    )
    for player in model.players:
        close(double[player], 2 * plain[player], f"`{player}` with doubled weights")


def _layer_losses(make: Make, data: _Data) -> None:
    """Check that losses of layers count once, for the player that owns them."""
    x = data()

    def loss(strength: float) -> dict[str, float]:
        model = make()
        for player, parts in model.players.items():
            layers = [
                layer
                for part in parts
                for layer in getattr(model, part)._flatten_layers()
                if isinstance(layer, keras.layers.Dense)
            ]
            (layers or [None])[0].activity_regularizer = keras.regularizers.L2(strength)
            del player
        compiled(model)
        model.noise.enabled = False
        return model.evaluate(*x, batch_size=16, verbose=0, return_dict=True)

    none, once, twice = (loss(strength) for strength in (0.0, 0.01, 0.02))
    for player in make().players:
        added = once[player] - none[player]
        assert added > 0, f"An activity regularizer does not reach `{player}`."
        what, atol = f"`{player}`: the regularizer", 1e-5 * abs(none[player])
        close(twice[player] - none[player], 2 * added, what, rtol=1e-2, atol=atol)


def _metrics(make: Make, data: _Data) -> None:
    """Check that Keras metrics compare images with reconstructions, under their own names."""
    x = data()
    new = partial(keras.metrics.MeanAbsoluteError, name="gap")
    model = compiled(make(), metrics=[new(), "mse"], steps_per_execution=1)
    images = x[0].reshape(-1, *x[0].shape[-3:])
    logs = model.evaluate(*x, batch_size=8, verbose=0, return_dict=True)
    gap = np.abs(model.reconstruct(images) - images / 255)
    close(logs["gap"], gap.mean(), "The metric")
    close(logs["mse"], np.square(gap).mean(), "The metric by name")
    history = fitted(model, x, validation_data=keras.utils.pack_x_y_sample_weight(*x))
    assert {"gap", "val_gap", "mse"} <= set(history), "A metric is not logged."
    again = reloaded(model)
    close(again.evaluate(*x, verbose=0), model.evaluate(*x, verbose=0), "Scores after a file")


def _not_finite(make: Make, data: _Data) -> None:
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


def _interruption(make: Make, data: _Data) -> None:
    """Check that a model can be used and trained after an interrupted training."""
    x = data()
    model = compiled(make())
    with contextlib.suppress(_Interruption):
        fitted(model, x, epochs=3, callbacks=[_InterruptAt(1, batch=0)])
        raise AssertionError("The interruption did not happen.")
    assert model.steps_taken() == 3, f"3 steps count as {model.steps_taken()}."
    model.evaluate(*x, verbose=0)
    fitted(model, x)
    assert model.steps_taken() == 5, "Training does not continue."


def _backup(make: Make, data: _Data) -> None:
    """Check that `BackupAndRestore` resumes an interrupted training bit-exactly."""
    x = data()
    uninterrupted = compiled(make())
    fitted(uninterrupted, x, epochs=3)
    for frequency, cut in (("epoch", _InterruptAt(2)), (1, _InterruptAt(1, batch=0))):
        with tempfile.TemporaryDirectory() as folder:

            def backup(folder: str = folder, frequency: Any = frequency) -> Any:
                return keras.callbacks.BackupAndRestore(str(Path(folder) / "b"), frequency)

            with contextlib.suppress(_Interruption):
                fitted(compiled(make()), x, epochs=3, callbacks=[backup(), cut])
                raise AssertionError("The interruption did not happen.")
            again = compiled(make())
            fitted(again, x, epochs=3, callbacks=[backup()])
        steps = again.steps_taken()
        expected = uninterrupted.steps_taken()
        assert steps == expected, f"{steps} steps, not {expected}."
        same(state(again), state(uninterrupted), f"Saved each {frequency}, the restored model")


def _files(make: Make, data: _Data) -> None:
    """Check that a file stores everything, and training resumes from it bit-exactly."""
    x = data()
    model = make()
    settings = {"run_eagerly": True, "auto_scale_loss": False, "jit_compile": False}

    def optimizer() -> keras.optimizers.Optimizer:
        new = keras.optimizers.AdamW(0.01, weight_decay=0.1)
        new.exclude_from_weight_decay(var_names=["bias"])
        return new

    compiled(model, optimizer, **settings)
    fitted(model, x)
    again = reloaded(model)
    assert type(again) is type(model), f"The file holds a {type(again).__name__}."
    assert as_text(again.get_config()) == as_text(model.get_config()), "The configuration differs."
    assert as_text(again.get_compile_config()) == as_text(model.get_compile_config()), (
        "The arguments of `compile` are not restored."
    )
    same(state(again), state(model), "After a file the model")
    for either in (model, again):
        fitted(either, x)
    same(state(again), state(model), "After more training the model from the file")


def _compilers(make: Make, data: _Data) -> None:
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


def _learning_rate(make: Make, data: _Data) -> None:
    """Check that learning rate callbacks scale the rates of all players by the same ratio."""
    model = make()
    rates = {player: 0.01 * 2**i for i, player in enumerate(model.players)}
    model.compile({player: keras.optimizers.SGD(rate) for player, rate in rates.items()})
    lead = model.lead or next(iter(model.players))
    scheduler = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 10)
    history = fitted(model, data(), callbacks=[scheduler])
    close(history["learning_rate"], [rates[lead] / 10], "The rate that is logged")
    for player, rate in rates.items():
        new_rate = float(ops.convert_to_numpy(model._optimizer_of(player).learning_rate))
        close(new_rate, rate / 10, f"The rate of `{player}`")


def _precision(make: Make, data: _Data) -> None:
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


def _settings(make: Make, data: _Data) -> None:
    """Check that Keras's global image data format has no effect, or raises an error."""
    images = data()[0]
    images = images[:, 0] if images.ndim == 5 else images
    expected = make().encode(images)
    before = keras.config.image_data_format()
    other = "channels_first" if before == "channels_last" else "channels_last"
    try:
        keras.config.set_image_data_format(other)
        codes = make().encode(images)
    except ValueError as error:
        assert "channels" in str(error), f"The error does not mention {other}: {error}"
    else:
        close(codes, expected, f"Codes under {other}")
    finally:
        keras.config.set_image_data_format(before)


def _seeds(make: Make, data: _Data) -> None:
    """Check that seeds from 0 to 2^63 - 1 are accepted, and their noise is uncorrelated."""
    config = make().get_config()
    kind = type(make())
    draws = []
    for seed in (0, 1, 2, 2**31, 2**63 - 1):
        model = kind.from_config({**config, "seed": seed})
        zeros = ops.zeros((64, 4), "float32")
        draws += [ops.convert_to_numpy(model.noise.gaussian(zeros, zeros + 1)) for _ in range(4)]
    matrix = np.corrcoef([draw.ravel() for draw in draws]) - np.eye(len(draws))
    assert np.abs(matrix).max() < 0.5, "Two draws are correlated."
    compiled(model)
    fitted(model, data(), epochs=1)


PROMISES: dict[str, Callable[[Make, _Data], None]] = {
    "configuration": _configuration,
    "arguments": _arguments,
    "terms": _terms,
    "players": _players,
    "weights": _weights,
    "evaluation": _evaluation,
    "image weights": _image_weights,
    "layer losses": _layer_losses,
    "metrics": _metrics,
    "not finite": _not_finite,
    "interruption": _interruption,
    "backup": _backup,
    "files": _files,
    "compilers": _compilers,
    "learning rate": _learning_rate,
    "precision": _precision,
    "settings": _settings,
    "seeds": _seeds,
}
