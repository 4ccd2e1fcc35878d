"""How a model with one or more players learns.

A model is a set of named parts (encoder, decoder, discriminator ...) and of players. Each player
owns some parts and minimizes one named term. In a training step the players move in turn, each on
its own share of the batch: with two players, `batch_size=128` is two batches of 64. A player's
term is differentiated with respect to that player's parts alone, so nothing is ever frozen.

A method is written as `terms`, `players` and `objective`, all in `keras.ops`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from keras_disent.engine import backend, inputs
from keras_disent.engine.optimizers import PlayerOptimizers
from keras_disent.engine.trainer import BAD_IMAGES, FEW_IMAGES, Trainer

LEAST_LOSS_SCALE = 1e-6  # of a loss scaler that begins at 32,768


class PlayerModel(Trainer):
    """A Keras model whose players minimize their own terms in turn.

    Class attributes:
        terms: names of what is tracked and logged, all of them means over the samples of an epoch;
            `evaluate` returns them in this order, and the weights of the objective after them.
        players: `{term: names of the parts that its player owns}`, in the order of the turns.
        lead: the player whose optimizer is the one that `compile(optimizer)` and callbacks of
            learning rates mean; default the first.
        exclude_from_decay: parts of names of variables that no optimizer's weight decay reaches.
        rows_per_sample: int, images in one row of a batch.

    Args:
        seed: as `Trainer`.
    """

    lead: str | None = None
    exclude_from_decay: tuple[str, ...] = ()
    rows_per_sample = 1

    def __init__(self, seed: int | None = None, **kwargs):
        super().__init__(seed, **kwargs)
        # All trackers exist from birth: made during training, JAX would log only the last batch.
        self._trackers = [keras.metrics.Mean(name=term, dtype="float32") for term in self.terms]
        self._sample_weight: Any = None

    def add_term(self, name: str) -> None:
        """Track and log one term more than the class declares; only while the model is made."""
        if name not in self.terms:
            self.terms = (*self.terms, name)
            self._trackers.append(keras.metrics.Mean(name=name, dtype="float32"))

    def objective(self, player: str, batch, training: bool) -> dict[str, Any]:
        """Return the scalar terms of one player's turn; `player` is one of them.

        What layers add themselves (`add_loss`, activity regularizers) and regularizers of weights
        are added to the term of the player that owns them.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define `objective`.")

    def mean(self, values):
        """Return the mean over images of what each of them has, (n,): a scalar.

        Where images have weights (`sample_weight`), each counts so many times.
        """
        if self._sample_weight is None:
            return ops.mean(values)
        rows = ops.reshape(values, (-1, self.rows_per_sample))
        return ops.mean(rows * ops.cast(self._sample_weight, values.dtype))

    def all_gather(self, *shares) -> tuple:
        """Return tensors (n, ...) of the whole batch, for terms that compare its images.

        Under `tf.distribute` each device computes an objective of its own share of the batch; here
        it gets what the others have of these tensors. Everywhere else they are whole already.
        """
        return tuple(backend.all_gather(share) for share in shares)

    @property
    def metrics(self) -> list:
        compiled = getattr(self, "_compile_metrics", None)
        return self._trackers if compiled is None else [*self._trackers, compiled]

    def owned_by(self, player: str) -> list:
        """Return the trainable variables of one player, in the model's order."""
        owned = {id(v) for part in self._parts_of(player) for v in part.trainable_variables}
        return [v for v in self.trainable_variables if id(v) in owned]

    def _parts_of(self, player: str) -> list:
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
        """Choose the optimizers, as `keras.Model.compile`; the objective is the model's own.

        Args:
            optimizer: a Keras optimizer or its name, for the leading player; or one for each of
                several players, as `{term: optimizer}`. A player without one gets its
                `default_optimizer`.
            loss, loss_weights: refused.
            metrics: Keras metrics of (images, reconstructions), floats in [0, 1], both
                (n, h, w, c); logged under their own names. They cost a reconstruction each step.
            weighted_metrics: likewise, with the weights of images (`sample_weight`).
            run_eagerly, steps_per_execution, jit_compile, auto_scale_loss: as in Keras.

        Raises:
            ValueError: for `loss`, an optimizer of no player or of two of them, or a metric with
                the name of a term.
        """
        if loss is not None:
            raise ValueError(
                f"{type(self).__name__} has an objective of its own, so `loss` is not for it: "
                "choose how pixels are compared with `likelihood=` when the model is made, or pass "
                f"it as one of `metrics`. Got {loss!r}."
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
                player: _optimizer(
                    optimizer.get(player) or self.default_optimizer(player=player), loss_scale=scale
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
            jit_compile=backend.compiles(self, jit_compile),
            auto_scale_loss=False,
        )
        self._given_to_compile = {"jit_compile": jit_compile, "auto_scale_loss": auto_scale_loss}
        self._make_metrics()
        owned = {player: self.owned_by(player) for player in self.players}
        object.__setattr__(self, "_owned", owned)  # or Keras would count the variables twice
        counters = [self.steps, self._epoch_start, self._fault]
        still = {id(v) for v in [*counters, *(s.variable for s in self.weight_states.values())]}
        moving = [v for v in self.non_trainable_variables if id(v) not in still]
        object.__setattr__(self, "_moving", moving)  # what an objective may change
        for player, variables in owned.items():
            own = self._optimizer_of(player)
            if not own.built:
                if self.exclude_from_decay:
                    _exclude_from_decay(own, variables, "|".join(self.exclude_from_decay))
                own.build(variables)
            backend.prepare(own)

    def default_optimizer(self, learning_rate: float | None = None, player: str | None = None):
        """Return a new optimizer: Adam, learning rate 1e-4, as in Locatello et al. 2019.

        Its epsilon is Keras's 1e-7 instead of 1e-8, which is immaterial beside losses summed over
        pixels.

        Args:
            learning_rate: another learning rate.
            player: term of the player that it is for. Default: the leading one.
        """
        return keras.optimizers.Adam(1e-4 if learning_rate is None else learning_rate)

    def _check_optimizers(self, optimizers: dict) -> None:
        unknown = [str(player) for player in optimizers if player not in self.players]
        if unknown:
            raise ValueError(
                f"`optimizer` takes optimizers of the players: {', '.join(self.players)}. "
                f"Got one for {', '.join(unknown)}."
            )
        shared = [o for o in optimizers.values() if isinstance(o, keras.optimizers.Optimizer)]
        if len({id(o) for o in shared}) < len(shared):
            raise ValueError("Two players cannot share one optimizer object. Give each its own.")

    def _make_metrics(self) -> None:
        """Make the variables of the metrics now: made in training, JAX would lose them."""
        if self._compile_metrics is None:
            return
        image = ops.zeros((1, *self.image_shape), "float32")
        self._compile_metrics.update_state(image, image)
        self._compile_metrics.reset_state()
        taken = {m.name for m in self._compile_metrics.metrics} & set(self.terms)
        if taken:
            raise ValueError(
                f"`metrics` need names that no term of {type(self).__name__} has. Got "
                f"{', '.join(sorted(taken))}: pass for example keras.metrics.Mean...(name=...)."
            )

    def compile_from_config(self, config: dict[str, Any]) -> None:
        config = keras.saving.deserialize_keras_object(config)
        optimizer = config["optimizer"]
        for player, (names, variables) in config.pop("exclude_from_decay", {}).items():
            own = (
                optimizer.by_player[player]
                if isinstance(optimizer, PlayerOptimizers)
                else optimizer
            )
            owned = self.owned_by(player)
            _exclude_from_decay(own, [owned[i] for i in variables], names, exactly=True)
        self.compile(**config)

    def get_compile_config(self) -> dict[str, Any]:
        config = super().get_compile_config()
        if not config:
            return config
        known = ("optimizer", "metrics", "weighted_metrics", "run_eagerly", "steps_per_execution")
        config = {key: config[key] for key in known if key in config}
        # What one backend makes of "auto" is not for another.
        config |= self._given_to_compile
        config["exclude_from_decay"] = {
            player: _decay_exclusions(self._optimizer_of(player), owned)
            for player, owned in self._owned.items()
        }
        return _portable(config)

    def _optimizer_of(self, player: str):
        if isinstance(self.optimizer, PlayerOptimizers):
            return self.optimizer.by_player[player]
        return self.optimizer

    def _check_owned(self) -> None:
        for player in self.players:
            if [id(v) for v in self.owned_by(player)] != [id(v) for v in self._owned[player]]:
                raise ValueError(
                    f"What is trainable of {', '.join(self.players[player])} has changed since "
                    f"`compile`. Call `compile` again, with a new optimizer."
                )

    # -- steps ------------------------------------------------------------------------------------

    def _train(self, data) -> dict[str, Any]:
        batch, weights = self._batch(data)
        size = keras.tree.flatten(batch)[0].shape[0]
        at_least = self.min_player_batch * len(self.players)
        reason = self._fault[1] * 1
        if size is None:  # on TensorFlow a stream tells only when it runs
            (batch, weights), enough = backend.with_rows((batch, weights), at_least)
            reason = backend.reason_unless(reason, enough, FEW_IMAGES)
        else:
            inputs.enough(self, size, at_least)
        valid = self.valid(batch)
        if valid is not None:
            reason = backend.reason_unless(reason, valid, BAD_IMAGES)
        self._measure(batch, weights)
        before = [v.value * 1 for v in self._moving]
        weight_terms = {name: self.current(name) for name in self.weight_states}
        for turn, player in enumerate(self.players):
            share, own_weights = backend.player_batch((batch, weights), turn, len(self.players))
            optimizer, owned = self._optimizer_of(player), self._owned[player]

            def objective(player=player, share=share, weights=own_weights, optimizer=optimizer):
                with self._weighing(weights):
                    terms = self._complete(self.objective(player, share, training=True), player)
                return optimizer.scale_loss(terms[player]), terms

            terms, gradients = backend.gradients(self, objective, owned)
            checked = {name: terms[name] for name in self._causes_first(terms, player)}
            codes = [self._reason_of(name) for name in checked]
            scalars = list(checked.values())
            if gradients:
                codes.append(self._reason_of(player, gradient=True))
                scalars.append(_health(optimizer, gradients))
            reason = backend.not_finite(reason, scalars, codes)
            backend.apply(reason, optimizer, gradients, owned, self._moving, before)
            terms = {**weight_terms, **backend.nan_if(reason, terms)}
            self._track(terms, share)
            weight_terms = {}
        backend.count(reason, self.steps, self._fault)
        return self.get_metrics_result()

    def _test(self, data) -> dict[str, Any]:
        batch, weights = self._batch(data)
        self._measure(batch, weights)
        weight_terms = {name: self.current(name) for name in self.weight_states}
        for player in self.players:
            with self._weighing(weights):
                terms = self._complete(self.objective(player, batch, training=False), player)
            self._track({**weight_terms, **terms}, batch)
            weight_terms = {}
        return self.get_metrics_result()

    train_step = backend.train_step(_train)
    test_step = backend.test_step(_test)

    def _batch(self, data) -> tuple[Any, Any]:
        images, labels, weights = keras.utils.unpack_x_y_sample_weight(data)
        if weights is not None:
            self._check_weighting("sample_weight")
            weights = ops.reshape(weights, (-1, 1))
        return ((images, labels) if self.labeled else images), weights

    def valid(self, batch):
        """Return whether a batch is what the model learns from, as a scalar, or None for "yes"."""

    @contextlib.contextmanager
    def _weighing(self, weights) -> Iterator[None]:
        self._sample_weight = weights
        try:
            yield
        finally:
            self._sample_weight = None

    def _complete(self, terms: dict[str, Any], player: str) -> dict[str, Any]:
        """Add to a player's term what its layers and weights add themselves, each once."""
        added: dict[int, Any] = {}
        for part in self._parts_of(player):
            regularized = sum(v.regularizer is not None for v in part.trainable_variables)
            added |= {id(x): x for x in part.losses[: len(part.losses) - regularized]}
        extra = [ops.sum(ops.cast(x, "float32")) for x in added.values()]
        extra += [v.regularizer(v) for v in self._owned[player] if v.regularizer]
        return {**terms, player: sum(extra, terms[player])} if extra else terms

    def _causes_first(self, terms: dict[str, Any], player: str) -> list[str]:
        """Return which terms are logged, with the sum of all at the end."""
        return [t for t in terms if t in self.terms and t != player] + [player]

    def _reason_of(self, term: str, gradient: bool = False) -> int:
        if gradient:
            return BAD_IMAGES + 1 + len(self.terms) + list(self.players).index(term)
        return BAD_IMAGES + 1 + self.terms.index(term)

    def _track(self, terms: dict[str, Any], batch) -> None:
        samples = ops.shape(keras.tree.flatten(batch)[0])[0]
        for tracker in self._trackers:
            if tracker.name in terms:
                tracker.update_state(terms[tracker.name], sample_weight=samples)

    def _measure(self, batch, weights) -> None:
        """Update the metrics of `compile` by images and their reconstructions."""
        if self._compile_metrics is None:
            return
        images = self.preprocess(keras.tree.flatten(batch)[0])
        if weights is not None:
            weights = ops.reshape(ops.repeat(weights, self.rows_per_sample, axis=1), (-1,))
        reconstructions = ops.stop_gradient(self(images, training=False))
        self._compile_metrics.update_state(images, reconstructions, sample_weight=weights)


def _health(optimizer: Any, gradients: list):
    """Return a scalar that is finite if an optimizer can use the gradients.

    A scaled one may overflow until its scale is found: then the optimizer skips a step and halves
    the scale. No scale as small as this one is of any use.
    """
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return ops.where(optimizer.dynamic_scale.value < LEAST_LOSS_SCALE, float("nan"), 0.0)
    return backend.total(gradients, optimizer.learning_rate)


def _exclude_from_decay(
    optimizer: Any, variables: list, names: str | None, exactly: bool = False
) -> None:
    """Exclude more variables of a new optimizer from weight decay than its owner has.

    Args:
        variables: those of the player, or with `exactly` those to exclude.
        names: regular expression that is searched for in names of variables, or None.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    before, numbers = _decay_exclusions(inner, variables)
    more = variables if exactly else [variables[i] for i in numbers]
    patterns = [pattern for pattern in (before, names) if pattern]
    if before and names and names in before:  # from a file, with what the model adds
        patterns = [before]
    inner.exclude_from_weight_decay(var_list=more, var_names=patterns)


def _decay_exclusions(optimizer: Any, variables: list) -> tuple[str | None, list[int]]:
    """Return what an optimizer does not decay: a pattern of names, and numbers of variables."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    pattern = getattr(inner, "_exclude_from_weight_decay_pattern", None)
    keys = getattr(inner, "_exclude_from_weight_decay", None) or set()
    numbers = [i for i, v in enumerate(variables) if inner._var_key(v) in keys]
    return (pattern.pattern if pattern else None), numbers


def _portable(config: Any) -> Any:
    """Name optimizers as every backend knows them: on PyTorch, Keras stores its own subclasses."""
    if not isinstance(config, dict):
        return config
    config = {key: _portable(value) for key, value in config.items()}
    if str(config.get("module")).startswith("keras.src.backend.torch.optimizers"):
        config.update(module="keras.optimizers", registered_name=None)
    return config


def _optimizer(optimizer: Any, loss_scale: bool):
    optimizer = keras.optimizers.get(optimizer)
    if loss_scale and not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer
