"""Training step of models whose players minimize their own terms.

A model consists of named parts (encoder, decoder, discriminator ...) and of players. Each player
owns some parts and minimizes one named term. In a training step the players are updated one after
the other, each on its player batch (docs/training.md, "Player batch"). A player's term is
differentiated with respect to that player's parts alone, so nothing is ever frozen.

A method is written as `terms`, `players` and `objective`, all in `keras.ops`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Unpack

import keras
from keras import ops

from keras_disent._utils.types import KerasOptions, Tensor
from keras_disent.engine import backend, faults, inputs
from keras_disent.engine.keras_arguments import check_compile, check_overrides
from keras_disent.engine.optimizer_options import (
    decay_exclusions,
    exclude_from_decay,
    gradient_check,
    portable_config,
    with_loss_scale,
)
from keras_disent.engine.optimizers import PlayerOptimizers
from keras_disent.engine.trainer import Trainer


class PlayerModel(Trainer):
    """Train a Keras model whose players minimize their own terms, one after the other.

    Class attributes:
        terms: Names of the logged terms, each a mean over the samples of an epoch. `evaluate`
            returns them in this order, and the weights of the objective after them.
        players: `{term: names of the parts that its player owns}`, in the order of their updates.
        lead: Player whose optimizer `compile(optimizer)` sets and learning rate callbacks change.
            Default: the first.
        exclude_from_decay: Substrings of the names of variables that are exempt from weight decay.
        rows_per_sample: Number of images in one row of a batch (int).

    Args:
        seed: Random seed, as `Trainer`.
    """

    lead: str | None = None
    exclude_from_decay: tuple[str, ...] = ()
    rows_per_sample = 1

    def __init__(self, seed: int | None = None, **kwargs: Unpack[KerasOptions]):
        super().__init__(seed, **kwargs)
        # Create all trackers here: created in training, JAX would log only the last batch.
        self._trackers = [keras.metrics.Mean(name=term, dtype="float32") for term in self.terms]
        self._sample_weight: Any = None

    def add_term(self, name: str) -> None:
        """Track and log an additional term; call it in the constructor only."""
        if name not in self.terms:
            self.terms = (*self.terms, name)
            self._trackers.append(keras.metrics.Mean(name=name, dtype="float32"))

    def objective(self, player: str, batch: Any, training: bool) -> dict[str, Any]:
        """Return the scalar terms of one player's update; `player` names one of them.

        Losses that layers add (`add_loss`, activity regularizers) and weight regularizers are added
        to the term of the player that owns them.

        Args:
            player: Name of the term that the player minimizes.
            batch: Player batch: images, or the pair (images, labels).
            training: Whether this is a training step.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define `objective`.")

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean of values (n,), one for each image: a scalar.

        Where images have weights (`sample_weight`), each value is multiplied by its weight.
        """
        if self._sample_weight is None:
            return ops.mean(values)
        rows = ops.reshape(values, (-1, self.rows_per_sample))
        return ops.mean(rows * ops.cast(self._sample_weight, values.dtype))

    def all_gather(self, *shards: Tensor) -> tuple[Any, ...]:
        """Gather tensors (n, ...) of all devices, for terms that compare the images of a batch.

        Under `tf.distribute` each device computes the objective of its local shard; the shards of
        all devices are concatenated here. Everywhere else the tensors are returned unchanged.
        """
        return tuple(backend.all_gather(shard) for shard in shards)

    @property
    def metrics(self) -> list[Any]:
        """Metrics in the order of the logs: terms, those of `compile`, of a subclass, of layers."""
        compiled = getattr(self, "_compile_metrics", None)
        first = self._trackers if compiled is None else [*self._trackers, compiled]
        layers = self._flatten_layers(include_self=False)
        others = [*self._metrics, *(m for layer in layers for m in layer._metrics)]
        keys = {id(m) for m in first}
        return [*first, *({id(m): m for m in others if id(m) not in keys}.values())]

    def player_variables(self, player: str) -> list[keras.Variable]:
        """Return the trainable variables of one player, in the model's order."""
        keys = {id(v) for part in self._parts_of(player) for v in part.trainable_variables}
        return [v for v in self.trainable_variables if id(v) in keys]

    def _parts_of(self, player: str) -> list[Any]:
        return [getattr(self, part) for part in self.players[player]]

    # -- compile ----------------------------------------------------------------------------------

    def compile(
        self,
        optimizer: Any = None,
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: bool | str = "auto",
        auto_scale_loss: bool = True,
    ) -> None:
        """Configure the optimizers, as `keras.Model.compile`; the model defines its objective.

        Args:
            optimizer: A Keras optimizer or its name, for the leading player; or `{term: optimizer}`
                for several players. A player without one gets its `default_optimizer`.
            loss, loss_weights: Not supported, must be None.
            metrics: Keras metrics of (images, reconstructions), floats in [0, 1], both
                (n, h, w, c), logged under their own names. They cost a reconstruction per step.
            weighted_metrics: Keras metrics, as `metrics`, weighted by `sample_weight`.
            run_eagerly, steps_per_execution, jit_compile, auto_scale_loss: As in Keras.

        Raises:
            ValueError: For `loss` or `loss_weights`, an optimizer of an unknown player or shared by
                two, a metric with the name of a term, an invalid argument, or a class that
                overrides `compute_loss` or `compute_metrics`, which are not called.
        """
        if self._is_fitting:
            raise ValueError(
                "`compile` was called in the middle of `fit`, whose compiled step it takes away. "
                "Call it between two calls of `fit`, or in `on_train_end`."
            )
        check_overrides(self)
        check_compile(
            steps_per_execution,
            jit_compile,
            run_eagerly=run_eagerly,
            auto_scale_loss=auto_scale_loss,
        )
        if loss is not None:
            raise ValueError(
                f"{type(self).__name__} defines its own objective and takes no `loss`: choose the "
                "pixel likelihood with `likelihood=` in the constructor, or pass the loss as one "
                f"of `metrics`. Got {loss!r}."
            )
        if loss_weights is not None:
            raise ValueError(
                f"{type(self).__name__} has no `loss_weights`: set the weights of its objective "
                f"({', '.join(self.weight_states) or 'it has none'}). Got {loss_weights!r}."
            )
        if not isinstance(optimizer, (dict, PlayerOptimizers)):
            optimizer = {self.lead or next(iter(self.players)): optimizer}
        if isinstance(optimizer, dict):
            self._check_optimizers(optimizer)
            half = any(layer.compute_dtype == "float16" for layer in self._flatten_layers())
            scale = auto_scale_loss and half
            optimizer = {
                player: with_loss_scale(
                    optimizer.get(player) or self.default_optimizer(player=player), scaled=scale
                )
                for player in self.players
            }
            (first, *others) = optimizer.values()
            optimizer = PlayerOptimizers(optimizer, lead=self.lead) if others else first
        super().compile(
            optimizer,
            metrics=metrics,
            weighted_metrics=weighted_metrics,
            run_eagerly=run_eagerly,
            steps_per_execution=steps_per_execution,
            jit_compile=backend.resolve_jit_compile(self, jit_compile),
            auto_scale_loss=False,
        )
        self._compile_arguments = {"jit_compile": jit_compile, "auto_scale_loss": auto_scale_loss}
        self._build_metrics()
        player_variables = {player: self.player_variables(player) for player in self.players}
        self._check_owned(player_variables)
        # Past Keras's tracking, which would count the variables twice.
        object.__setattr__(self, "_player_variables", player_variables)
        counters = [self.steps, self._epoch_start, self._fault]
        weights = [state.variable for state in self.weight_states.values()]
        constant = {id(v) for v in [*counters, *weights]}
        step_state = [v for v in self.non_trainable_variables if id(v) not in constant]
        object.__setattr__(self, "_step_state", step_state)  # variables an objective may change
        for player, variables in player_variables.items():
            player_optimizer = self._optimizer_of(player)
            if not player_optimizer.built:
                if self.exclude_from_decay:
                    names = "|".join(self.exclude_from_decay)
                    exclude_from_decay(player_optimizer, variables, names)
                player_optimizer.build(variables)
            backend.accelerate(player_optimizer)
        self.retrace()

    def default_optimizer(
        self, learning_rate: float | None = None, player: str | None = None
    ) -> keras.optimizers.Optimizer:
        """Create the default optimizer: Adam, learning rate 1e-4, as in Locatello et al. 2019.

        Its epsilon is Keras's 1e-7 instead of 1e-8, which is immaterial for losses summed over
        pixels.

        Args:
            learning_rate: Learning rate instead of the default.
            player: Term of the player that the optimizer is for. Default: the leading one.
        """
        return keras.optimizers.Adam(1e-4 if learning_rate is None else learning_rate)

    def _check_owned(self, player_variables: dict[str, list[keras.Variable]]) -> None:
        owned = {id(v) for variables in player_variables.values() for v in variables}
        free = [v.path for v in self.trainable_variables if id(v) not in owned]
        if free:
            raise ValueError(
                f"No player of {type(self).__name__} trains {', '.join(free[:3])}"
                f"{f' and {len(free) - 3} more' if len(free) > 3 else ''}: name the attribute that "
                "holds it among the parts in `players` of the class, or set `trainable=False`."
            )

    def _check_optimizers(self, optimizers: dict[str, Any]) -> None:
        unknown = [str(player) for player in optimizers if player not in self.players]
        if unknown:
            raise ValueError(
                f"`optimizer` takes optimizers of the players: {', '.join(self.players)}. "
                f"Got one for {', '.join(unknown)}."
            )
        shared = [o for o in optimizers.values() if isinstance(o, keras.optimizers.Optimizer)]
        if len({id(o) for o in shared}) < len(shared):
            raise ValueError("Two players cannot share one optimizer object. Pass one for each.")

    def _build_metrics(self) -> None:
        """Create the variables of the metrics: created in training, JAX would lose them."""
        if self._compile_metrics is None:
            return
        image = ops.zeros((1, *self.image_shape), "float32")
        self._compile_metrics.update_state(image, image)
        self._compile_metrics.reset_state()
        duplicates = {m.name for m in self._compile_metrics.metrics} & set(self.terms)
        if duplicates:
            raise ValueError(
                f"`metrics` need names that no term of {type(self).__name__} has. Got "
                f"{', '.join(sorted(duplicates))}: pass another `name` to the metric."
            )

    def compile_from_config(self, config: dict[str, Any]) -> None:
        config = keras.saving.deserialize_keras_object(config)
        optimizer = config["optimizer"]
        for player, (names, variables) in config.pop("exclude_from_decay", {}).items():
            player_optimizer = (
                optimizer.by_player[player]
                if isinstance(optimizer, PlayerOptimizers)
                else optimizer
            )
            candidates = self.player_variables(player)
            excluded = [candidates[i] for i in variables]
            exclude_from_decay(player_optimizer, excluded, names, exactly=True)
        self.compile(**config)

    def get_compile_config(self) -> dict[str, Any]:
        config = super().get_compile_config()
        if not config:
            return config
        keys = ("optimizer", "metrics", "weighted_metrics", "run_eagerly", "steps_per_execution")
        config = {key: config[key] for key in keys if key in config}
        # As passed: each backend resolves "auto" in its own way.
        config |= self._compile_arguments
        config["exclude_from_decay"] = {
            player: decay_exclusions(self._optimizer_of(player), variables)
            for player, variables in self._player_variables.items()
        }
        return portable_config(config)

    def _optimizer_of(self, player: str) -> keras.optimizers.Optimizer:
        if isinstance(self.optimizer, PlayerOptimizers):
            return self.optimizer.by_player[player]
        return self.optimizer

    def _check_compiled(self) -> None:
        if self.optimizer is not self._compile_config.config.get("optimizer"):
            raise ValueError(
                "`optimizer` was replaced, but it is set by `compile`, which prepares it and "
                f"stores it with the model: call `compile(optimizer)`. Got {self.optimizer!r}."
            )
        for player in self.players:
            if [id(v) for v in self.player_variables(player)] != [
                id(v) for v in self._player_variables[player]
            ]:
                raise ValueError(
                    f"The trainable variables of {', '.join(self.players[player])} have changed "
                    f"since `compile`. Call `compile` again, with a new optimizer."
                )

    def _check_not_frozen(self) -> None:
        if not all(v.trainable for own in self._player_variables.values() for v in own):
            raise ValueError(
                "`trainable` was set in the middle of `fit`, whose step is traced already: end "
                "this `fit`, and call `compile` again before the next one."
            )

    # -- steps ------------------------------------------------------------------------------------

    def _train(self, data: Any) -> dict[str, Any]:
        batch, weights = self._batch(data)
        size = keras.tree.flatten(batch)[0].shape[0]
        at_least = self.min_player_batch * len(self.players)
        reason = self._fault[1] * 1
        if size is None:  # on TensorFlow the size of a stream's batch is known only at run time
            (batch, weights), sufficient = backend.pad_rows((batch, weights), at_least)
            reason = backend.reason_unless(reason, sufficient, faults.FEW_IMAGES)
        else:
            inputs.check_rows(self, size, at_least)
        valid = self.valid(batch)
        if valid is not None:
            reason = backend.reason_unless(reason, valid, faults.BAD_IMAGES)
        self._update_metrics(batch, weights)
        previous = [v.value * 1 for v in self._step_state]
        weight_terms = {name: self.current(name) for name in self.weight_states}
        for number, player in enumerate(self.players):
            rows, row_weights = backend.player_batch((batch, weights), number, len(self.players))
            optimizer, variables = self._optimizer_of(player), self._player_variables[player]

            def objective(
                player: str = player,
                rows: int = rows,
                weights: Any = row_weights,
                optimizer: keras.optimizers.Optimizer = optimizer,
            ) -> Any:
                with self._with_sample_weight(weights):
                    terms = self._terms(player, rows, training=True)
                return optimizer.scale_loss(terms[player]), terms

            terms, gradients = backend.gradients(self, objective, variables)
            checked = {name: terms[name] for name in self._components_first(terms, player)}
            reasons = [faults.of_term(self, name) for name in checked]
            scalars = list(checked.values())
            if gradients:
                reasons.append(faults.of_gradient(self, player))
                scalars.append(gradient_check(optimizer, gradients))
            reason = backend.not_finite(reason, scalars, reasons)
            reason = backend.apply(
                reason,
                optimizer,
                gradients,
                variables,
                self._step_state,
                previous,
                faults.of_update(self, player),
            )
            terms = {**weight_terms, **backend.nan_if(reason, terms)}
            self._track(terms, rows)
            weight_terms = {}
        backend.count(reason, self.steps, self._fault)
        return self.get_metrics_result()

    def _test(self, data: Any) -> dict[str, Any]:
        batch, weights = self._batch(data)
        self._update_metrics(batch, weights)
        weight_terms = {name: self.current(name) for name in self.weight_states}
        for player in self.players:
            with self._with_sample_weight(weights):
                terms = self._terms(player, batch, training=False)
            self._track({**weight_terms, **terms}, batch)
            weight_terms = {}
        return self.get_metrics_result()

    train_step = backend.train_step(_train)
    test_step = backend.test_step(_test)

    def _batch(self, data: Any) -> tuple[Any, Any]:
        images, labels, weights = keras.utils.unpack_x_y_sample_weight(data)
        if weights is not None:
            inputs.check_weighting(self, "sample_weight")
            weights = ops.reshape(weights, (-1, 1))
        return ((images, labels) if self.labeled else images), weights

    def valid(self, batch: Any) -> Tensor | None:
        """Return whether the values of a batch are valid, as a scalar, or None for "yes"."""

    @contextlib.contextmanager
    def _with_sample_weight(self, weights: Any) -> Iterator[None]:
        self._sample_weight = weights
        try:
            yield
        finally:
            self._sample_weight = None

    def _terms(self, player: str, batch: Any, training: bool) -> dict[str, Any]:
        """Return the terms of a player's objective, with all losses that are added.

        These are those of its layers, its weight regularizers, and what `add_loss` of the model
        itself adds in the objective, each once.

        Raises:
            ValueError: A term is not declared.
        """
        before = {id(x) for x in self._get_own_losses()}
        terms = self.objective(player, batch, training=training)
        own = [x for x in self._get_own_losses() if id(x) not in before]
        self._losses.clear()  # only a call of the model would
        undeclared = sorted(terms.keys() - set(self.terms))
        if undeclared:
            raise ValueError(
                f"The objective of {type(self).__name__} returns {', '.join(undeclared)}, which "
                "its `terms` lack: name what is logged in `terms` of the class."
            )
        added = {id(x): x for x in own}
        for part in self._parts_of(player):
            regularized = sum(v.regularizer is not None for v in part.trainable_variables)
            added |= {id(x): x for x in part.losses[: len(part.losses) - regularized]}
        extra = [ops.sum(ops.cast(x, "float32")) for x in added.values()]
        extra += [v.regularizer(v) for v in self._player_variables[player] if v.regularizer]
        return {**terms, player: sum(extra, terms[player])} if extra else terms

    def _components_first(self, terms: dict[str, Any], player: str) -> list[str]:
        """Return the logged terms, with the sum of all at the end."""
        return [t for t in terms if t in self.terms and t != player] + [player]

    def _track(self, terms: dict[str, Any], batch: Any) -> None:
        """Add terms to their means; for numbers, what `update_state` does in a dozen operations."""
        rows = ops.cast(ops.shape(keras.tree.flatten(batch)[0])[0], "float32")
        for tracker in self._trackers:
            if tracker.name in terms:
                backend.add_to(tracker.total, ops.cast(terms[tracker.name], "float32") * rows)
                backend.add_to(tracker.count, rows)

    def _update_metrics(self, batch: Any, weights: Any) -> None:
        """Update the metrics of `compile` by images and their reconstructions."""
        if self._compile_metrics is None:
            return
        images = self.preprocess(keras.tree.flatten(batch)[0])
        if weights is not None:
            weights = ops.reshape(ops.repeat(weights, self.rows_per_sample, axis=1), (-1,))
        reconstructions = ops.stop_gradient(self(images, training=False))
        self._compile_metrics.update_state(images, reconstructions, sample_weight=weights)
