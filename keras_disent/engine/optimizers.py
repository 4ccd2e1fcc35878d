"""One optimizer per player, behind the interface of a single Keras optimizer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn

import keras

from keras_disent._utils.types import Tensor


@keras.saving.register_keras_serializable("keras_disent")
class PlayerOptimizers(keras.optimizers.Optimizer):
    """Hold one optimizer for each player; train, save and resume as one.

    `learning_rate` and `iterations` are those of the leading player. Setting `learning_rate`, or
    assigning to it, scales the rates of all players by the same ratio, so that a callback which
    changes it keeps their balance. A rate of 0 has no ratio: the next rate above 0 restores the
    balance before it. The rate of one player alone is `by_player[term].learning_rate`.

    Args:
        optimizers: `{term: optimizer}`, in the order in which the players are updated.
        lead: Term of the player whose rate is *the* learning rate. Default: the first player.

    Raises:
        ValueError: If no player is called `lead`; when `learning_rate` is set, if it has always
            been 0.
        TypeError: When `learning_rate` is set, if a player's rate follows a schedule, or if the new
            one is a schedule.

    >>> slow, fast = keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.4)
    >>> optimizers = PlayerOptimizers({"loss": slow, "discriminator_loss": fast})
    >>> optimizers.learning_rate = 0.05
    >>> round(float(fast.learning_rate), 3)
    0.2
    >>> _ = optimizers.learning_rate.assign(0.1)
    >>> round(float(fast.learning_rate), 3)
    0.4
    """

    def __init__(
        self,
        optimizers: dict[str, Any],
        lead: str | None = None,
        name: str = "player_optimizers",
    ):
        super().__init__(learning_rate=0.0, name=name)
        self.by_player = {
            player: keras.saving.deserialize_keras_object(o) if isinstance(o, dict) else o
            for player, o in optimizers.items()
        }
        self.lead = next(iter(self.by_player)) if lead is None else lead
        if self.lead not in self.by_player:
            raise ValueError(
                f"`lead` is one of the players: {', '.join(self.by_player)}. Got {lead!r}."
            )
        self._balance = self._rates()

    @property
    def built(self) -> bool:
        return all(o.built for o in self.by_player.values())

    @built.setter
    def built(self, value: bool) -> None:
        """Ignore the flag: it follows from the players' optimizers."""

    @property
    def variables(self) -> list[keras.Variable]:
        return [v for o in self.by_player.values() for v in o.variables]

    def set_weights(self, weights: list[Any]) -> None:
        variables = self.variables
        if [tuple(w.shape) for w in weights] != [tuple(v.shape) for v in variables]:
            raise ValueError(
                f"`weights` must match the {len(variables)} variables of the players' optimizers, "
                f"one by one. Got {len(weights)}."
            )
        for variable, weight in zip(variables, weights, strict=True):
            variable.assign(weight)

    # -- the learning rate ------------------------------------------------------------------------

    @property
    def learning_rate(self) -> Any:
        rate = self.by_player[self.lead].learning_rate
        return JointRate(self, rate) if isinstance(rate, keras.Variable) else rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        if callable(value):
            raise TypeError(
                "A schedule belongs to one player: set "
                f"`by_player[{self.lead!r}].learning_rate`, and so on. Got {value!r}."
            )
        for player, o in self.by_player.items():
            rate = _inner(o)._learning_rate
            if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
                try:
                    o.learning_rate = value
                except TypeError as error:
                    raise TypeError(f"{player}: {error}") from None
            if callable(rate):
                raise TypeError(
                    f"{player}: this optimizer was created with a function as its "
                    "`learning_rate`, hence its learning rate is not settable."
                )
        value, rates = _number(value), self._rates()
        if rates[self.lead]:
            self._balance = rates
        unit = self._balance[self.lead]
        if value and not unit:
            raise ValueError(
                f"The learning rate of {self.lead!r} has always been 0, so that there is no ratio "
                "to scale the other players' by. Compile with a rate above 0, or set "
                f"`by_player[{self.lead!r}].learning_rate`. Got {value}."
            )
        for player, o in self.by_player.items():
            o.learning_rate = value * (self._balance[player] / unit) if value else 0.0

    def _rates(self) -> dict[str, float]:
        return {player: _number(o.learning_rate) for player, o in self.by_player.items()}

    @property
    def iterations(self) -> keras.Variable:
        return self.by_player[self.lead].iterations

    # -- averages of the weights, as `keras.callbacks.SwapEMAWeights` reads them ------------------

    @property
    def use_ema(self) -> bool:
        return bool(self._averaging())

    @use_ema.setter
    def use_ema(self, value: bool) -> None:
        """Ignore the flag: it is a setting of each player's optimizer."""

    @property
    def _trainable_variables(self) -> list[keras.Variable]:
        return [v for o in self._averaging() for v in o._trainable_variables]

    @_trainable_variables.setter
    def _trainable_variables(self, value: list[keras.Variable]) -> None:
        """Ignore the list: it follows from the players' optimizers."""

    @property
    def _model_variables_moving_average(self) -> list[keras.Variable]:
        averaging = self._averaging()
        if not averaging:
            raise AttributeError("No player's optimizer averages its weights (`use_ema=True`).")
        return [v for o in averaging for v in o._model_variables_moving_average]

    def _averaging(self) -> list[keras.Variable]:
        return [_inner(o) for o in self.by_player.values() if _inner(o).use_ema]

    def finalize_variable_values(self, var_list: list[keras.Variable]) -> None:
        for o in self.by_player.values():
            trainable = {id(v) for v in o._trainable_variables}
            o.finalize_variable_values([v for v in var_list if id(v) in trainable])

    # -- methods that only one player's optimizer supports ----------------------------------------

    def build(self, variables: list[keras.Variable]) -> None:
        self._refuse("build")

    def apply(
        self, grads: list[Any], trainable_variables: list[keras.Variable] | None = None
    ) -> None:
        self._refuse("apply")

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, keras.Variable]]) -> None:
        self._refuse("apply_gradients")

    def stateless_apply(
        self,
        optimizer_variables: list[Any],
        grads: list[Any],
        trainable_variables: list[keras.Variable],
    ) -> tuple[list[Any], list[Any]]:
        self._refuse("stateless_apply")

    def scale_loss(self, loss: Tensor) -> Tensor:
        self._refuse("scale_loss")

    def _refuse(self, method: str) -> NoReturn:
        raise TypeError(
            f"Each player has its own optimizer: call `by_player[term].{method}`, where term is "
            f"one of {', '.join(self.by_player)}."
        )

    # -- files ------------------------------------------------------------------------------------

    def save_own_variables(self, store: Any) -> None:
        """Store the balance of the rates; Keras stores the players' optimizers one by one."""
        for player, rate in self._balance.items():
            store[player] = rate

    def load_own_variables(self, store: Any) -> None:
        for player in self._balance:
            if player in store.keys():  # noqa: SIM118
                self._balance[player] = _number(store[player])

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "lead": self.lead,
            "optimizers": {
                player: keras.saving.serialize_keras_object(o)
                for player, o in self.by_player.items()
            },
        }


class JointRate(keras.Variable):
    """The rate of the leading player, in every respect but that assigning to it scales all rates.

    Args:
        optimizers: The players' optimizers.
        rate: The variable of the leading player.
    """

    def __init__(self, optimizers: PlayerOptimizers, rate: keras.Variable):
        self._optimizers, self._rate = optimizers, rate

    def __getattr__(self, name: str) -> Any:
        if name in ("_optimizers", "_rate"):  # not yet set, while it is copied
            raise AttributeError(name)
        return getattr(self._rate, name)

    @property
    def value(self) -> Tensor:
        return self._rate.value

    def assign(self, value: Any) -> Tensor:
        self._optimizers.learning_rate = value
        return self._rate.value


def _inner(optimizer: Any) -> Any:
    """Return the optimizer itself, without a loss scaler around it."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def _number(value: Any) -> float:
    return float(keras.ops.convert_to_numpy(value))
