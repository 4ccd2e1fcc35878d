"""`fit`, `evaluate` and `predict` as Keras means them, for models that have a training step.

What is passed takes effect or is refused before a weight moves. Evaluation leaves no trace in what
is learned afterward, and a step that is not finite leaves the model as it was.
"""

from __future__ import annotations

import contextlib
import math
import random
import warnings
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_disent._utils import checks
from keras_disent._utils.arrays import to_numpy
from keras_disent.engine import backend, checkpoints, feed, inputs
from keras_disent.engine.batches import Batches
from keras_disent.engine.fixed import Fixed

SEED_STATE = "seed_generator_state"
FEW_IMAGES, BAD_IMAGES = 1, 2  # reasons for which a step is not taken; those of terms follow


class Trainer(Fixed, keras.Model):
    """A Keras model with a training step of its own, which keeps what Keras promises.

    Class attributes:
        labeled: whether it learns from labels: a batch is then the pair (images, labels).
        weighs_images: whether its objective is a mean over images, each of which may have a weight
            (`sample_weight`). A class that overrides `objective` or `penalty` says so anew.
        min_player_batch: int, the fewest samples that a player can learn from.
        players: `{term: names of the parts that its player owns}`, in the order of the turns.
        terms: names of what is logged.

    Args:
        seed: int of at least 0, of all randomness; None draws one, as Keras does.

    Attributes:
        seed: int.
        steps: int variable, training steps taken so far; schedules read it.
        weight_states: the weights of the objective, as `schedules.Weight` keeps them.
    """

    labeled = False
    weighs_images = False
    min_player_batch = 1
    players: dict[str, tuple[str, ...]] = {}
    terms: tuple[str, ...] = ("loss",)

    def __init__(self, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        if seed is None:
            seed = random.randint(1, 10**9)  # from what `keras.utils.set_random_seed` seeds
        self.seed = checks.check_integer("seed", seed, at_least=0)
        object.__setattr__(self, "weight_states", {})  # or Keras would count variables twice
        self.steps, self._epoch_start = (
            self._counter(name, ()) for name in ("steps", "epoch_start")
        )
        self._fault = self._counter("fault", (2,))  # step and reason, 0 for none
        self._entered: int | None = None

    def _counter(self, name: str, shape: tuple[int, ...]) -> Any:
        return self.add_weight(
            shape=shape,
            dtype="int32",
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",
            name=name,
        )

    def steps_taken(self) -> int:
        """Return the number of training steps taken so far."""
        self.sync()
        return int(ops.convert_to_numpy(self.steps))

    # -- settings that change while the model lives -----------------------------------------------

    def _instead(self, name: str) -> str:
        return (
            f"Make a new model: {type(self).__name__}.from_config"
            f"({{**model.get_config(), {name!r}: ...}})."
        )

    def current(self, name: str):
        """Return a weight of the objective at the current step, as a float32 tensor."""
        return self.weight_states[name].current(self.steps)

    def check_weights(self, weights: dict[str, Any]) -> None:
        """Raise a ValueError if weights, numbers and schedules, make no objective together."""

    def check_batch_size(self, size: int) -> None:
        """Raise a ValueError if a player cannot learn from batches of `size` images."""

    def retrace(self) -> None:
        """Let the compiled steps be traced anew, also in the middle of `fit`."""
        for name in ("train", "test"):
            if getattr(self, f"{name}_function", None) is not None:
                getattr(self, f"make_{name}_function")(force=True)

    def sync(self) -> None:
        """Bring variables back from where JAX keeps them during `fit`."""
        if hasattr(self, "jax_state_sync"):
            self.jax_state_sync()

    # -- fit --------------------------------------------------------------------------------------

    def fit(
        self,
        x=None,
        y=None,
        batch_size=None,
        epochs=1,
        verbose="auto",
        callbacks=None,
        validation_split=0.0,
        validation_data=None,
        shuffle=True,
        class_weight=None,
        sample_weight=None,
        initial_epoch=0,
        steps_per_epoch=None,
        validation_steps=None,
        validation_batch_size=None,
        validation_freq=1,
    ):
        """Train, as `keras.Model.fit`.

        Args:
            x: images (n, h, w, c), a data set's `batches`, or any stream of batches that Keras
                reads.
            y: labels of a model that learns from them. Other models reconstruct `x` itself: they
                take `x` again here, and of `class_weight` the classes.
            shuffle: of arrays: each epoch has an order of its own, from the model's seed and step.
            sample_weight: (n,) numbers of at least 0: each image's terms count so many times, over
                the number of images. Refused by models that compare the images of a batch.
            steps_per_epoch: of arrays: may be more than they have batches.
            Others: as in Keras.

        Returns:
            a `keras.callbacks.History`.

        Raises:
            ValueError: if the images are not what the model takes (shape, dtype, range, NaN), the
                data are empty, a batch is too small for the objective, labels are missing or
                malformed, or an argument cannot take effect.
            FloatingPointError: if a term or a gradient is not finite. The model holds the state
                before that step. With `keras.callbacks.TerminateOnNaN` training ends without.
        """
        self._assert_compile_called("fit")
        self._check_owned()
        held_out_size = validation_batch_size or batch_size
        if validation_data is not None:
            validation_data = self._checked(validation_data, held_out_size, name="validation_data")
            validation_split = 0.0
        x, y, sample_weight = self._checked(
            (x, y, sample_weight),
            batch_size,
            training=True,
            left_out=validation_split,
            class_weight=class_weight,
            sized=validation_data is None,
        )
        arrays = checks.is_array(x)
        if arrays and validation_split:
            (x, y, sample_weight), validation_data = _split((x, y, sample_weight), validation_split)
        source = self._source(
            x, y, sample_weight, batch_size, shuffle, class_weight, steps_per_epoch
        )
        if source is not None:
            ahead = 2 if isinstance(source, feed.BatchesSource) and not backend.PREFETCHES else 0
            x = feed.Feed(source, lambda: self._position(source.epoch_steps), ahead)
            shuffle, steps_per_epoch = False, None
            if arrays:
                y = sample_weight = None
        if validation_data is not None:
            *held_out, held_out_size = self._in_order((*validation_data,), held_out_size)
            validation_data = tuple(held_out)
        watch = _Watch(self, callbacks)
        self._fault.assign([0, 0])
        self._entered = self.steps_taken()
        try:
            with warnings.catch_warnings(), checkpoints.skip_unmeasured(watch.others):
                # An epoch that was saved in its middle ends early when it is taken up again.
                warnings.filterwarnings("ignore", "Your input ran out of data") if source else None
                super().fit(
                    backend.without_autotuning(x) if source else x,
                    y,
                    batch_size=batch_size,
                    epochs=epochs,
                    verbose=verbose,
                    callbacks=watch.callbacks,
                    validation_split=0.0 if arrays else validation_split,
                    validation_data=validation_data,
                    shuffle=shuffle,
                    class_weight=class_weight,
                    sample_weight=sample_weight,
                    initial_epoch=initial_epoch,
                    steps_per_epoch=steps_per_epoch,
                    validation_steps=validation_steps,
                    validation_batch_size=held_out_size,
                    validation_freq=validation_freq,
                )
        except _NotFinite as error:
            self._raise_fault()
            raise FloatingPointError(str(error)) from None
        finally:
            self._initial_epoch = None  # what a callback restored is for this training only
            watch.leave()
            if isinstance(x, feed.Feed):
                x.close()
        if not watch.tolerant:
            self._raise_fault()
        return self.history

    def _source(self, x, y, weights, batch_size, shuffle, class_weight, epoch_steps):
        """Return where the batches of `fit` come from, or None for a stream that Keras reads."""
        if isinstance(x, Batches):
            return feed.BatchesSource(x, epoch_steps or len(x))
        if checks.is_array(x):
            if not self.labeled and class_weight is None:
                y = None
            rows = [a if a is None else to_numpy(a) for a in (x, y, weights)]
            return feed.ArraySource(rows, batch_size or 32, self.seed, shuffle, epoch_steps)
        own_order = isinstance(x, keras.utils.PyDataset) and shuffle and not epoch_steps
        if own_order and x.num_batches and x.workers <= 1 and not x.use_multiprocessing:
            return feed.PyDatasetSource(x, self.seed)
        return None

    def _in_order(self, data: tuple, batch_size: int | None) -> tuple:
        """Return arrays and the size of their batches as evaluation reads them without delay."""
        x, y, weights = data
        if not backend.PREFETCHES or not checks.is_array(x):
            return *data, batch_size
        rows = [a if a is None else to_numpy(a) for a in (x, y if self.labeled else None, weights)]
        source = feed.ArraySource(
            rows, batch_size or 32, self.seed, shuffle=False, epoch_steps=None
        )
        return backend.without_autotuning(feed.Feed(source, lambda: (0, 0))), None, None, None

    def _position(self, epoch_steps: int) -> tuple[int, int]:
        """Return at which step the epoch begins that is about to, and what of it is done."""
        step, begun = self.steps_taken(), int(ops.convert_to_numpy(self._epoch_start))
        restored, self._entered = self._entered not in (None, step), None
        if restored and begun < step < begun + epoch_steps:  # in the middle of an epoch
            return begun, step - begun
        self._epoch_start.assign(step)
        return step, 0

    # -- evaluate and predict ---------------------------------------------------------------------

    def evaluate(
        self,
        x=None,
        y=None,
        batch_size=None,
        verbose="auto",
        sample_weight=None,
        steps=None,
        callbacks=None,
        return_dict=False,
        **kwargs,
    ):
        """Return the model's terms on `x`, as `keras.Model.evaluate`.

        Every player sees every sample: nothing is learned, so no batch is shared out. The noise is
        that of evaluation, a function of seed and step: two evaluations give the same numbers, and
        training goes on as if there had been none.

        Args: as `fit`, and Keras's.

        Raises:
            ValueError: as `fit`.
        """
        if not kwargs.get("_use_cached_eval_dataset"):
            self._assert_compile_called("evaluate")
            x, y, sample_weight = self._checked((x, y, sample_weight), batch_size)
            x, y, sample_weight, batch_size = self._in_order((x, y, sample_weight), batch_size)
        with self.observing():
            return super().evaluate(
                x,
                y,
                batch_size=batch_size,
                verbose=verbose,
                sample_weight=sample_weight,
                steps=steps,
                callbacks=callbacks,
                return_dict=return_dict,
                **kwargs,
            )

    def predict(self, x, batch_size=None, verbose="auto", steps=None, callbacks=None):
        """Return the reconstructions of `x`, floats in [0, 1], as `keras.Model.predict`."""
        x = inputs.check_batches(self, x, batch_size, only_images=True)
        x, *_, batch_size = self._in_order((x, None, None), batch_size)
        with self.observing():
            return super().predict(
                x, batch_size=batch_size, verbose=verbose, steps=steps, callbacks=callbacks
            )

    def train_on_batch(self, x, y=None, sample_weight=None, class_weight=None, return_dict=False):
        """Learn from one batch, as `keras.Model.train_on_batch`.

        Raises:
            ValueError, FloatingPointError: as `fit`.
        """
        self._assert_compile_called("train_on_batch")
        self._check_owned()
        x, y, sample_weight = self._checked(
            (x, y, sample_weight), _rows(x), training=True, class_weight=class_weight
        )
        self._fault.assign([0, 0])
        logs = super().train_on_batch(
            x, y, sample_weight=sample_weight, class_weight=class_weight, return_dict=return_dict
        )
        self._raise_fault()
        return logs

    def test_on_batch(self, x, y=None, sample_weight=None, return_dict=False):
        """Return the terms on one batch, as `evaluate` does."""
        self._assert_compile_called("test_on_batch")
        x, y, sample_weight = self._checked((x, y, sample_weight), _rows(x))
        with self.observing():
            return super().test_on_batch(x, y, sample_weight=sample_weight, return_dict=return_dict)

    @contextlib.contextmanager
    def observing(self) -> Iterator[None]:
        """Draw from generators of evaluation, and put those of training back afterward."""
        step = self.steps_taken()
        seeds = self._seeds()
        before = [ops.convert_to_numpy(seed) for seed in seeds]
        for number, seed in enumerate(seeds):
            own = np.random.SeedSequence([self.seed, step, number]).generate_state(2) >> 1
            seed.assign(own.astype(before[number].dtype))
        try:
            with backend.global_generators_kept():
                yield
        finally:
            self.sync()
            for seed, value in zip(seeds, before, strict=True):
                seed.assign(value)

    def _seeds(self) -> list:
        return [v for v in self.non_trainable_variables if v.name == SEED_STATE]

    # -- checks -----------------------------------------------------------------------------------

    def _checked(
        self,
        data: Any,
        batch_size: int | None,
        *,
        training: bool = False,
        left_out: float = 0.0,
        class_weight: Any = None,
        sized: bool = True,
        name: str = "x",
    ) -> tuple[Any, Any, Any]:
        """Return images, labels and weights after all checks that can be made before a step."""
        x, y, weights = keras.utils.unpack_x_y_sample_weight(data)
        if isinstance(weights, (list, tuple)):
            weights = np.asarray(weights)
        if class_weight is not None:
            _check_class_weight(self, x, y)
        if weights is not None or class_weight is not None:
            self._check_weighting("sample_weight" if class_weight is None else "class_weight")
        x = inputs.check_batches(
            self,
            x,
            batch_size,
            training=training,
            name=name,
            left_out=left_out,
            labels=y,
            sample_weight=weights,
            classes=class_weight is not None,
        )
        if batch_size is not None and sized and not checks.is_array(x):
            raise ValueError(
                f"`batch_size` is for arrays. `{name}` comes in batches already: leave it out, and "
                f"choose their size where they are made. Got {batch_size!r}."
            )
        if weights is not None and y is None and checks.is_array(x):
            y = x  # Keras drops weights that come without labels
        return x, y, weights

    def _check_weighting(self, name: str) -> None:
        if not _weighs_images(type(self)):
            raise ValueError(
                f"{type(self).__name__} compares the images of a batch, so an image cannot have a "
                f"weight of its own: leave `{name}` out, or draw some images more often. Models "
                "that take weights: VAE, BetaVAE, Autoencoder, QLAE and those of pairs."
            )

    def _check_owned(self) -> None:
        """Raise a ValueError if what is trainable has changed since `compile`."""

    # -- steps that are not finite ----------------------------------------------------------------

    def _raise_fault(self) -> None:
        """Raise what the last step that was not taken has left."""
        step, reason = ops.convert_to_numpy(self._fault).tolist()
        if not reason:
            return
        kept = f"Training stopped at step {step + 1}, and the model is as it was before: "
        if reason == FEW_IMAGES:
            raise ValueError(f"{kept}{inputs.too_few(self)}")
        if reason == BAD_IMAGES:
            raise ValueError(
                f"{kept}images as floats must lie in [0, 1] (or be uint8 in 0..255), without NaN. "
                "Those of this batch do not."
            )
        raise FloatingPointError(
            f"{kept}{self._reasons()[reason]} is not finite. A lower learning rate, `clipnorm` in "
            "the optimizer, or a smaller weight may help."
        )

    def _reasons(self) -> dict[int, str]:
        """Return what each reason above those of images stands for."""
        first = BAD_IMAGES + 1
        names = [f"`{term}`" for term in self.terms]
        names += [f"the gradient of `{player}`" for player in self.players]
        return dict(enumerate(names, first))

    # -- files: Keras does not store the state of seeds, and resuming must be exact ---------------

    def save_own_variables(self, store) -> None:
        super().save_own_variables(store)
        for i, seed in enumerate(self._seeds()):
            store[f"seed_{i}"] = ops.convert_to_numpy(seed)

    def load_own_variables(self, store) -> None:
        names = [name for name in store.keys() if not name.startswith("seed_")]  # noqa: SIM118
        super().load_own_variables({name: store[name] for name in names})
        for i, seed in enumerate(self._seeds()):
            seed.assign(store[f"seed_{i}"])


def _rows(x: Any) -> int | None:
    """Return how many rows a single batch has; what is no array is refused later."""
    return x.shape[0] if checks.is_array(x) and x.shape else None


class _NotFinite(Exception):
    """A step was not finite: `fit` is to end."""


class _Watch(keras.callbacks.Callback):
    """Be the first callback of `fit`: end it after a bad step, and have scores measured early.

    The callbacks of the caller keep their order. Those that add scores to the logs are asked for
    them here, so that all others see them.

    Args:
        model: the model that is trained.
        callbacks: of the caller.

    Attributes:
        callbacks: all of them.
        tolerant: whether one of them deals with numbers that are not finite.
    """

    async_safe = True  # does not touch the model in the middle of an epoch

    def __init__(self, model: Trainer, callbacks: Any):
        super().__init__()
        self._trained, self._terms = model, set(model.terms)
        if isinstance(callbacks, keras.callbacks.CallbackList):
            self.callbacks, self.others = callbacks, list(callbacks.callbacks)
            callbacks.callbacks.insert(0, self)
        else:
            self.others = keras.tree.flatten(callbacks) if callbacks else []
            self.callbacks = [self, *self.others]
        self.tolerant = any(isinstance(c, keras.callbacks.TerminateOnNaN) for c in self.others)

    def leave(self) -> None:
        """Leave a list that is the caller's own."""
        if isinstance(self.callbacks, keras.callbacks.CallbackList):
            self.callbacks.callbacks.remove(self)

    def on_train_batch_end(self, batch, logs=None) -> None:
        self._check(logs)

    def on_epoch_end(self, epoch, logs=None) -> None:
        self._check(logs)
        for callback in self.others:
            if getattr(callback, "scores", False) is True:
                callback.measure(epoch, logs)

    def _check(self, logs) -> None:
        for name in self._terms & set(logs or {}):
            if not math.isfinite(logs[name]):
                if not self.tolerant:
                    raise _NotFinite(f"The mean of `{name}` over the epoch is not finite.")
                self._trained.stop_training = True


def _weighs_images(cls: type) -> bool:
    """Return whether a class, or the one that wrote its objective, says so."""
    for c in cls.__mro__:
        if "weighs_images" in vars(c):
            return vars(c)["weighs_images"]
        if {"objective", "penalty"} & vars(c).keys():
            return False
    return False


def _check_class_weight(model: Trainer, x: Any, y: Any) -> None:
    if model.labeled:
        raise ValueError(
            f"The labels of {type(model).__name__} are no classes: leave `class_weight` out, or "
            "pass `sample_weight`."
        )
    if isinstance(x, Batches) or (checks.is_array(x) and y is None):
        raise ValueError(
            "`class_weight` needs classes: pass one for each image as `y` (n,), or weights of "
            "images as `sample_weight` (n,)."
        )


def _split(arrays: tuple, part: float) -> tuple[tuple, tuple]:
    """Cut the last `part` of all rows off, as Keras does."""
    rows = len(arrays[0])
    at = math.floor(rows * (1.0 - part))
    if not 0 < at < rows:
        raise ValueError(
            f"`validation_split` must leave images on both sides of {rows}. Got {part!r}."
        )
    first, last = (
        tuple(None if a is None else a[cut] for a in arrays) for cut in (slice(at), slice(at, None))
    )
    return first, last
