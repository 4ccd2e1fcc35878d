"""How a model with one or more players learns.

A model is a set of named parts (encoder, decoder, discriminator ...) and of players. Each player
owns some parts and minimises one named term. In a training step the players move in turn, each on
its own share of the batch: with two players, `batch_size=128` is two batches of 64. A player's
term is differentiated with respect to that player's parts alone, so nothing is ever frozen.

A method is written as `terms`, `players` and `objective`, all in `keras.ops`.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_disent import _backend, validation
from keras_disent.datasets.feeding import Batches
from keras_disent.turns import Turns

SEED_STATE = "seed_generator_state"


class Game(keras.Model):
    """A Keras model whose players minimise their own terms in turn.

    Class attributes:
        terms: names of what is tracked and logged, all of them means over the samples of an epoch;
            `evaluate` returns them in this order.
        players: `{term: names of the parts that its player owns}`, in the order of the turns.
        samples_per_turn: int, the fewest samples that a player can learn from.
        labelled: whether it learns from labels: a batch is then the pair (images, labels).
        undecayed: parts of names of variables that no optimizer's weight decay reaches.

    Attributes:
        steps: int variable, training steps taken so far; schedules read it.
    """

    terms: tuple[str, ...] = ("loss",)
    players: dict[str, tuple[str, ...]] = {}
    samples_per_turn = 1
    labelled = False
    undecayed: tuple[str, ...] = ()

    def __init__(self, terms: tuple[str, ...] = (), **kwargs):
        super().__init__(**kwargs)
        self.terms = (*self.terms, *terms)
        # All trackers exist from birth: made during training, JAX would log only the last batch.
        self._trackers = [keras.metrics.Mean(name=term) for term in self.terms]
        self.steps = self.add_weight(
            shape=(),
            dtype="int32",
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",
            name="steps",
        )

    def objective(self, player: str, batch, training: bool) -> dict[str, Any]:
        """Return the scalar terms of one player's turn; `player` is one of them.

        Regularizers of the player's weights are added to what it minimises, not to what is logged.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define `objective`.")

    def whole(self, *shares) -> tuple:
        """Return tensors (n, ...) of the whole batch, for terms that compare its images.

        Under `tf.distribute` each device computes an objective of its own share of the batch; here
        it gets what the others have of these tensors. Everywhere else they are whole already.
        """
        return tuple(_backend.whole(share) for share in shares)

    @property
    def metrics(self) -> list:
        return self._trackers

    def steps_taken(self) -> int:
        """Return the number of training steps taken so far."""
        return int(ops.convert_to_numpy(self.steps))

    def owned_by(self, player: str) -> list:
        """Return the trainable variables of one player, in the model's order."""
        parts = [getattr(self, part) for part in self.players[player]]
        owned = {id(v) for part in parts for v in part.trainable_variables}
        return [v for v in self.trainable_variables if id(v) in owned]

    # -- learning ---------------------------------------------------------------------------------

    def compile(
        self,
        optimizer: Any = None,
        *,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: bool | str = "auto",
        auto_scale_loss: bool = True,
    ) -> None:
        """Choose the optimizers. The objective is the model's own, so there is no `loss` here.

        Args:
            optimizer: a Keras optimizer or its name, or one of them for each player as
                `{term: optimizer}`. Default: `default_optimizer`.
            run_eagerly, steps_per_execution, jit_compile, auto_scale_loss: as in Keras.
        """
        if not isinstance(optimizer, (dict, Turns)):
            optimizer = dict.fromkeys(self.players, optimizer)
        if isinstance(optimizer, dict):
            self._check_one_for_each_player(optimizer)
            scale = auto_scale_loss and self.dtype_policy.name == "mixed_float16"
            optimizer = {
                player: _optimizer(optimizer[player] or self.default_optimizer(), loss_scale=scale)
                for player in self.players
            }
            (first, *others) = optimizer.values()
            optimizer = Turns(optimizer) if others else first
        self._jit_compile_given = jit_compile
        super().compile(
            optimizer,
            run_eagerly=run_eagerly,
            steps_per_execution=steps_per_execution,
            jit_compile=_backend.compiles(self, jit_compile),
            auto_scale_loss=False,
        )
        owned = {player: self.owned_by(player) for player in self.players}
        object.__setattr__(self, "_owned", owned)  # or Keras would count the variables twice
        for player, variables in owned.items():
            own = self._optimizer_of(player)
            if not own.built:
                inner = getattr(own, "inner_optimizer", own)
                inner.exclude_from_weight_decay(var_names=list(self.undecayed))
                own.build(variables)
            _backend.prepare(own)

    def default_optimizer(self, learning_rate: float | None = None):
        """Return a new optimizer with the published settings: Adam, learning rate 1e-4.

        Args:
            learning_rate: another learning rate.
        """
        return keras.optimizers.Adam(1e-4 if learning_rate is None else learning_rate)

    def _check_one_for_each_player(self, optimizers: dict) -> None:
        if set(optimizers) != set(self.players):
            raise ValueError(
                f"`optimizer` needs one entry for each player: {', '.join(self.players)}. "
                f"Got {', '.join(map(str, optimizers)) or 'none'}."
            )
        shared = [o for o in optimizers.values() if isinstance(o, keras.optimizers.Optimizer)]
        if len({id(o) for o in shared}) < len(shared):
            raise ValueError("Two players cannot share one optimizer object. Give each its own.")

    def compile_from_config(self, config: dict[str, Any]) -> None:
        self.compile(**keras.saving.deserialize_keras_object(config))

    def get_compile_config(self) -> dict[str, Any]:
        config = super().get_compile_config()
        known = ("optimizer", "run_eagerly", "steps_per_execution", "jit_compile")
        config = {key: config[key] for key in known if key in config}
        if "jit_compile" in config:  # what one backend makes of "auto" is not for another
            config["jit_compile"] = self._jit_compile_given
        return _portable(config)

    def _optimizer_of(self, player: str):
        if isinstance(self.optimizer, Turns):
            return self.optimizer.by_player[player]
        return self.optimizer

    def _train(self, data) -> dict[str, Any]:
        batch = self._batch(data)
        size = keras.tree.flatten(batch)[0].shape[0]
        at_least = self.samples_per_turn * len(self.players)
        if size is None:
            batch = _backend.with_rows(batch, at_least, type(self).__name__)
        else:
            validation.enough(self, size, at_least)
        for turn, player in enumerate(self.players):
            share = _backend.turn(batch, turn, len(self.players))
            optimizer, owned = self._optimizer_of(player), self._owned[player]

            def objective(player=player, share=share, optimizer=optimizer):
                terms = self.objective(player, share, training=True)
                decay = sum(v.regularizer(v) for v in self._owned[player] if v.regularizer)
                return optimizer.scale_loss(terms[player] + decay), terms

            terms, gradients = _backend.gradients(self, objective, owned)
            _backend.apply(optimizer, gradients, owned)
            self._track(terms, share)
        self.steps.assign_add(1)
        return self.get_metrics_result()

    def _test(self, data) -> dict[str, Any]:
        batch = self._batch(data)
        for player in self.players:
            self._track(self.objective(player, batch, training=False), batch)
        return self.get_metrics_result()

    def _batch(self, data) -> Any:
        images, labels, _ = keras.utils.unpack_x_y_sample_weight(data)
        return (images, labels) if self.labelled else images

    train_step = _backend.train_step(_train)
    test_step = _backend.test_step(_test)

    def _track(self, terms: dict[str, Any], batch) -> None:
        samples = ops.shape(keras.tree.flatten(batch)[0])[0]
        for tracker in self._trackers:
            if tracker.name in terms:
                tracker.update_state(terms[tracker.name], sample_weight=samples)

    # -- fit, evaluate, predict: check first, then as in Keras ------------------------------------

    def fit(self, x=None, y=None, **kwargs):
        """Train, as in `keras.Model.fit`; `y` is not used by a model that learns without labels.

        Batches of our own data sets are read from the step to which the model has been trained.

        Before the first step the data are checked, and callbacks that add scores to the logs are
        moved before those that read them.

        Raises:
            ValueError: if the images are not what the model takes (shape, dtype, range, NaN), the
                data are empty, a batch is too small for the objective, or labels are missing or
            malformed.
        """
        x = validation.check_batches(
            self,
            x,
            kwargs.get("batch_size"),
            training=True,
            left_out=kwargs.get("validation_split") or 0.0,
            labels=y,
        )
        if isinstance(x, Batches):
            kwargs.setdefault("steps_per_epoch", len(x))
            kwargs["shuffle"] = False
            x = _backend.feed(self, x)
        if kwargs.get("validation_data") is not None:
            held_out, *rest = keras.utils.unpack_x_y_sample_weight(kwargs["validation_data"])
            batch_size = kwargs.get("validation_batch_size") or kwargs.get("batch_size")
            held_out = validation.check_batches(
                self, held_out, batch_size, name="validation_data", labels=rest[0]
            )
            kwargs["validation_data"] = keras.utils.pack_x_y_sample_weight(held_out, *rest)
        callbacks = kwargs.get("callbacks")
        if isinstance(callbacks, (list, tuple)):
            kwargs["callbacks"] = sorted(callbacks, key=lambda c: not getattr(c, "scores", False))
        return super().fit(x, y, **kwargs)

    def evaluate(self, x=None, y=None, **kwargs):
        """Return the model's terms on `x`, as in `keras.Model.evaluate`.

        Every player sees every sample: nothing is learnt, so no batch is shared out.
        """
        if not kwargs.get("_use_cached_eval_dataset"):
            x = validation.check_batches(self, x, kwargs.get("batch_size"), labels=y)
        return super().evaluate(x, y, **kwargs)

    def predict(self, x, **kwargs):
        """Return the reconstructions of `x`, as in `keras.Model.predict`."""
        x = validation.check_batches(self, x, kwargs.get("batch_size"), only_images=True)
        return super().predict(x, **kwargs)

    # -- files: Keras does not store the state of seeds, and resuming must be exact ---------------

    def save_own_variables(self, store) -> None:
        super().save_own_variables(store)
        for i, seed in enumerate(self._seeds()):
            store[f"seed_{i}"] = keras.ops.convert_to_numpy(seed)

    def load_own_variables(self, store) -> None:
        names = [name for name in store.keys() if not name.startswith("seed_")]  # noqa: SIM118
        super().load_own_variables({name: store[name] for name in names})
        for i, seed in enumerate(self._seeds()):
            seed.assign(store[f"seed_{i}"])

    def _seeds(self) -> list:
        return [v for v in self.non_trainable_variables if v.name == SEED_STATE]


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
