"""`fit`, `evaluate` and `predict` with Keras's semantics, for models with a custom training step.

Every argument takes effect or is rejected before a weight changes. Evaluation does not influence
later training, and a step that is not finite leaves the model unchanged.
"""

from __future__ import annotations

import contextlib
import random
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Unpack

import keras
import numpy as np
from keras import ops

from keras_disent._utils import checks
from keras_disent._utils.memory import keep_freed_memory
from keras_disent._utils.types import KerasOptions, Tensor
from keras_disent.engine import (
    backend,
    checkpoints,
    dead_layers,
    faults,
    feed,
    inputs,
    keras_arguments,
)
from keras_disent.engine.arguments import FrozenArguments, check_arguments
from keras_disent.engine.fit_monitor import FitMonitor, NotFinite

SEED_STATE = "seed_generator_state"


class Trainer(FrozenArguments, backend.Held):
    """Train, evaluate and predict with a custom training step, as a `keras.Model` does.

    Class attributes:
        labeled: Whether the model learns from labels: a batch is then the pair (images, labels).
        supports_sample_weight: Whether the objective is a mean over images, so that each may have a
            weight (`sample_weight`). A class that overrides `objective` or `penalty` restates it.
        min_player_batch: Minimum number of rows of a player batch (int).
        players: `{term: names of the parts that its player owns}`, in the order of their updates.
        terms: Names of the logged terms.

    Args:
        seed: Random seed of the weights and all draws, at least 0. None draws one, as Keras does.

    Attributes:
        seed: Random seed (int).
        steps: Variable (int), number of training steps so far. Schedules read it.
        weight_states: Weights of the objective by name, as `schedules.Weight` stores them.
        pictures: How picture files became the images that the model was trained on (dict): see
            `datasets.PictureSettings`. None for other images.
    """

    labeled = False
    supports_sample_weight = False
    min_player_batch = 1
    players: dict[str, tuple[str, ...]] = {}
    terms: tuple[str, ...] = ("loss",)
    pictures: dict[str, Any] | None = None

    def __init__(self, seed: int | None = None, **kwargs: Unpack[KerasOptions]):
        check_arguments(type(self), {**kwargs})
        super().__init__(**kwargs)
        if seed is None:
            seed = random.randint(1, 10**9)  # from what `keras.utils.set_random_seed` seeds
        self.seed = checks.check_integer("seed", seed, at_least=0)
        # Past Keras's tracking, which would count the variables twice.
        object.__setattr__(self, "weight_states", {})
        self.steps, self._epoch_start = (
            self._counter(name, ()) for name in ("steps", "epoch_start")
        )
        self._fault = self._counter("fault", (2,))  # step and reason, 0 for none
        self._fit_step: int | None = None  # at which `fit` was called
        self._is_fitting = False

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
        """Return the number of training steps so far."""
        return int(ops.convert_to_numpy(self.steps))

    # -- settings that may change between steps ---------------------------------------------------

    def _remedy(self, name: str) -> str:
        return (
            f"Create a new model: {type(self).__name__}.from_config"
            f"({{**model.get_config(), {name!r}: ...}})."
        )

    def current(self, name: str) -> Tensor:
        """Return a weight of the objective at the current step, as a float32 tensor."""
        return self.weight_states[name].current(self.steps)

    def check_weights(self, weights: dict[str, Any]) -> None:
        """Raise a ValueError if a combination of weights (numbers or schedules) is invalid."""

    def check_batch_size(self, size: int) -> None:
        """Raise a ValueError if a player cannot learn from player batches of `size` images."""

    def retrace(self) -> None:
        """Retrace the compiled functions, also in the middle of `fit`."""
        for name in ("train", "test", "predict"):
            if getattr(self, f"{name}_function", None) is not None:
                getattr(self, f"make_{name}_function")(force=True)

    # -- fit --------------------------------------------------------------------------------------

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: dict[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | Sequence[int] = 1,
    ) -> keras.callbacks.History:
        """Train the model, as `keras.Model.fit`.

        Args:
            x: Images (n, h, w, c), a data set's `batches`, or any stream of batches that Keras
                reads.
            y: Labels of a model that learns from them. Other models reconstruct `x` itself: they
                accept `x` again here, or the classes of `class_weight`.
            batch_size: Number of rows of a batch of arrays, divided among the players
                (docs/training.md, "Player batch").
            shuffle: Whether each epoch reads arrays in another order, from the model's seed and
                step.
            sample_weight: Weights (n,) of at least 0, by which the terms of each image are
                multiplied. Models that compare the images of a batch reject them.
            steps_per_epoch: Number of steps; for arrays it may exceed their number of batches.
            Others: As in Keras.

        Returns:
            A `keras.callbacks.History`.

        Raises:
            ValueError: If the images do not fit the model (shape, dtype, range, NaN), the data are
                empty, a batch is too small for the objective, labels are missing or malformed, or
                an argument cannot take effect.
            FloatingPointError: If a term or a gradient is not finite. The model has the state
                before that step. With `keras.callbacks.TerminateOnNaN` training ends without error.
        """
        keras_arguments.check_numbers(
            verbose,
            batch_size=batch_size,
            epochs=epochs,
            initial_epoch=initial_epoch,
            steps_per_epoch=steps_per_epoch,
        )
        keras_arguments.check_shuffle(shuffle)
        keras_arguments.check_validation(
            validation_data is not None or bool(validation_split),
            validation_steps,
            validation_batch_size,
            validation_freq,
        )
        self._assert_compile_called("fit")
        self._check_compiled()
        pictures = getattr(x, "pictures", None) or self.pictures
        validation_batch_size = validation_batch_size or batch_size
        if validation_data is not None:
            validation_data = inputs.check_data(
                self, validation_data, validation_batch_size, name="validation_data"
            )
            validation_split = 0.0
        x, y, sample_weight = inputs.check_data(
            self,
            (x, y, sample_weight),
            batch_size,
            training=True,
            validation_split=validation_split,
            class_weight=class_weight,
            arrays_only=validation_data is None,
        )
        self.pictures = pictures  # now that the data are right
        arrays, data = checks.is_array(x), x
        if arrays and validation_split:
            (x, y, sample_weight), validation_data = feed.split(
                (x, y, sample_weight), validation_split
            )
        source = feed.source_of(
            self, x, y, sample_weight, batch_size, shuffle, class_weight, steps_per_epoch
        )
        if source is not None:
            prefetch = 2 if isinstance(source, feed.StepSource) and not backend.PREFETCHES else 0
            x = feed.EpochFeed(source, lambda: self._position(source.epoch_steps), prefetch)
            shuffle, steps_per_epoch = False, None
            if arrays:
                y = sample_weight = None
        if validation_data is not None:
            *validation_arrays, validation_batch_size = feed.evaluation_feed(
                self, (*validation_data,), validation_batch_size
            )
            validation_data = tuple(validation_arrays)
        monitor = FitMonitor(self, callbacks)
        self._fault.assign([0, 0])
        self._fit_step, is_nested = self.steps_taken(), self._is_fitting
        try:
            with (
                warnings.catch_warnings(),
                checkpoints.skip_unmeasured(monitor.others),
                keep_freed_memory(),
            ):
                # An epoch that was saved in its middle is shorter when it is resumed.
                warnings.filterwarnings("ignore", "Your input ran out of data") if source else None
                super().fit(
                    backend.without_autotuning(x, class_weight) if source else x,
                    y,
                    batch_size=batch_size,
                    epochs=epochs,
                    verbose=verbose,
                    callbacks=monitor.callbacks,
                    validation_split=0.0 if arrays else validation_split,
                    validation_data=validation_data,
                    shuffle=shuffle,
                    class_weight=class_weight,
                    sample_weight=sample_weight,
                    initial_epoch=initial_epoch,
                    steps_per_epoch=steps_per_epoch,
                    validation_steps=validation_steps,
                    validation_batch_size=validation_batch_size,
                    validation_freq=validation_freq,
                )
        except NotFinite as error:
            faults.raise_fault(self, self._fault)
            raise FloatingPointError(str(error)) from None
        finally:
            self._is_fitting = is_nested
            self._initial_epoch = None  # a callback restored it for this training only
            monitor.remove()
            if isinstance(x, feed.EpochFeed):
                x.close()
        if not monitor.tolerant:
            faults.raise_fault(self, self._fault)
        with self.observing():
            dead_layers.warn_of_dead_encoder(self, data)
        return self.history

    def _position(self, epoch_steps: int) -> tuple[int, int]:
        """Return the first step of the next epoch, and how many of its steps were taken already."""
        step, start = self.steps_taken(), int(ops.convert_to_numpy(self._epoch_start))
        restored, self._fit_step = self._fit_step not in (None, step), None
        if restored and start < step < start + epoch_steps:  # in the middle of an epoch
            return start, step - start
        self._epoch_start.assign(step)
        return step, 0

    # -- evaluate and predict ---------------------------------------------------------------------

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Return the model's terms on `x`, as `keras.Model.evaluate`.

        Every player sees every sample: batches are not divided. Noise comes from a separate
        generator, a function of seed and step: two evaluations give the same numbers, and later
        training is the same with and without them.

        Args: As `fit`, and Keras's.

        Raises:
            ValueError: As `fit`.
        """
        if not kwargs.get("_use_cached_eval_dataset"):
            keras_arguments.check_numbers(verbose, batch_size=batch_size, steps=steps)
            self._assert_compile_called("evaluate")
            x, y, sample_weight = inputs.check_data(self, (x, y, sample_weight), batch_size)
            x, y, sample_weight, batch_size = feed.evaluation_feed(
                self, (x, y, sample_weight), batch_size
            )
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

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        steps: int | None = None,
        callbacks: Any = None,
    ) -> Any:
        """Return the reconstructions of `x`, floats in [0, 1], as `keras.Model.predict`."""
        keras_arguments.check_numbers(verbose, batch_size=batch_size, steps=steps)
        x = inputs.check_batches(self, x, batch_size, only_images=True)
        x, *_, batch_size = feed.evaluation_feed(self, (x, None, None), batch_size)
        with self.observing():
            return super().predict(
                x, batch_size=batch_size, verbose=verbose, steps=steps, callbacks=callbacks
            )

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: dict[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """Train on one batch, as `keras.Model.train_on_batch`.

        Raises:
            ValueError, FloatingPointError: As `fit`.
        """
        self._assert_compile_called("train_on_batch")
        self._check_compiled()
        x, y, sample_weight = inputs.check_data(
            self, (x, y, sample_weight), _rows(x), training=True, class_weight=class_weight
        )
        self._fault.assign([0, 0])
        logs = super().train_on_batch(
            x, y, sample_weight=sample_weight, class_weight=class_weight, return_dict=return_dict
        )
        faults.raise_fault(self, self._fault)
        return logs

    def test_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """Return the terms on one batch, as `keras.Model.test_on_batch`."""
        self._assert_compile_called("test_on_batch")
        x, y, sample_weight = inputs.check_data(self, (x, y, sample_weight), _rows(x))
        with self.observing():
            return super().test_on_batch(x, y, sample_weight=sample_weight, return_dict=return_dict)

    def predict_on_batch(self, x: Any) -> Any:
        """Return the reconstructions of one batch, as `keras.Model.predict_on_batch`."""
        x = inputs.check_batches(self, x, _rows(x), only_images=True)
        with self.observing():
            return super().predict_on_batch(x)

    @contextlib.contextmanager
    def observing(self) -> Iterator[None]:
        """Use the seeds of evaluation, and restore those of training afterward.

        In the middle of an epoch the means of its terms are restored too.
        """
        step = self.steps_taken()
        seeds = self._seeds()
        restored = [*seeds, *(self.metrics_variables if self._is_fitting else ())]
        before = [ops.convert_to_numpy(variable) for variable in restored]
        try:
            for number, seed in enumerate(seeds):
                value = np.random.SeedSequence([self.seed, step, number]).generate_state(2) >> 1
                seed.assign(value.astype(before[number].dtype))
            with backend.preserve_global_generators():
                yield
        finally:
            with backend.uninterrupted():
                self.take_again()
                for variable, value in zip(restored, before, strict=True):
                    variable.assign(value)

    def _seeds(self) -> list[keras.Variable]:
        return [v for v in self.non_trainable_variables if v.name == SEED_STATE]

    def _check_compiled(self) -> None:
        """Raise a ValueError if optimizer or trainable variables have changed since `compile`."""

    def _check_not_frozen(self) -> None:
        """Raise a ValueError if a trainable variable was frozen since `compile`."""

    # -- files: Keras does not store the state of seeds, and resuming must be exact ---------------

    def save_own_variables(self, store: Any) -> None:
        for state in self.weight_states.values():
            state.fill()
        try:
            super().save_own_variables(store)
        finally:
            for state in self.weight_states.values():
                state.clear()
        for i, seed in enumerate(self._seeds()):
            store[f"seed_{i}"] = ops.convert_to_numpy(seed)

    def load_own_variables(self, store: Any) -> None:
        names = [name for name in store.keys() if not name.startswith("seed_")]  # noqa: SIM118
        super().load_own_variables({name: store[name] for name in names})
        for state in self.weight_states.values():
            state.clear()
        for i, seed in enumerate(self._seeds()):
            if f"seed_{i}" in store:  # else a random layer is new
                seed.assign(store[f"seed_{i}"])


def _rows(x: Any) -> int | None:
    """Return the number of rows of a single batch, None for other data (rejected later)."""
    return x.shape[0] if checks.is_array(x) and x.shape else None
