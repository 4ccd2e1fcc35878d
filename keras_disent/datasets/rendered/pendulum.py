"""The Pendulum set of CausalVAE, drawn when it is asked for instead of generated as files."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from keras_disent.datasets.card import Card
from keras_disent.datasets.rendered.causal import Causal, Color, between, disc, inside, single

_UNIT = np.pi / 200  # an angle of 1, in radians
_PIVOT = (10.0, 10.5)
_GROUND = -0.5
_SKY = 20.5
_ROD = 8.0
_BALL = 1.5
_LIGHT = 3.0
_VALUES = {
    "pendulum_angle": np.arange(-40, 44),
    "light_angle": np.delete(np.arange(60, 148), 40),  # 100, straight above, is left out
}


def _shadows(pendulum_angle: np.ndarray, light_angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the light throws the pivot and the ball's far side, along the ground."""
    theta, run = pendulum_angle * _UNIT, 1 / np.tan(light_angle * _UNIT)
    x, y = _PIVOT
    reach = _ROD + _BALL
    tip_x, tip_y = x + reach * np.sin(theta), y - reach * np.cos(theta)
    return x - (y - _GROUND) * run, tip_x - (tip_y - _GROUND) * run


def _shadow_length(pendulum_angle: np.ndarray, light_angle: np.ndarray) -> np.ndarray:
    pivot, tip = _shadows(pendulum_angle, light_angle)
    return np.maximum(3.0, np.abs(pivot - tip))


def _shadow_position(pendulum_angle: np.ndarray, light_angle: np.ndarray) -> np.ndarray:
    pivot, tip = _shadows(pendulum_angle, light_angle)
    return (pivot + tip) / 2


class Pendulum(Causal):
    """A pendulum under a moving light, and its shadow: CausalVAE (Yang et al. 2021), redrawn.

    Factors pendulum_angle 84 and light_angle 87: 7,308 images. Concepts are these two and what
    they cause, shadow_length and shadow_position. Angles are in the published units of pi / 200
    radians (0.9 degrees): pendulum_angle from the vertical, -40 to 43, to the right;
    light_angle of the line from the ground through the pivot to the light, 60 to 147 without
    100. The shadow is in units of the scene, which is 22 wide and high and has its middle at 10;
    its position is its middle.

    The shadow is at least 3 long, as published: on 39.6 % of the grid its length says nothing.
    The geometry is the published one, the labels are scaled as in the published generator, but
    not cut off to integers; the picture fills the frame, in other colors.

    Args: as of `Causal`.

    >>> from keras_disent.datasets.rendered.pendulum import Pendulum
    >>> data = Pendulum(image_size=32)
    >>> len(data), data.images([0, 7307]).shape, len(data.published_test_indices())
    (7308, (2, 32, 32, 3), 1826)
    >>> data.concepts([0]).round(2)
    array([[-40.  ,  60.  ,   3.  ,   2.01]])
    >>> data.do([0], {"light_angle": 100}).round(2)
    array([[-40.  , 100.  ,   5.58,   7.21]])
    """

    name = "pendulum"
    card = Card(
        title="Pendulum, light and shadow (causal)",
        citation="Yang, Liu, Chen, Shen, Hao and Wang (2021), CausalVAE",
        notes=("Angles of pendulum and light cause length and position of the shadow.",),
    )
    factor_names = tuple(_VALUES)
    factor_sizes = (84, 87)
    concept_names = ("pendulum_angle", "light_angle", "shadow_length", "shadow_position")
    concept_limits = {
        "pendulum_angle": (-100, 100),
        "light_angle": (1, 199),  # along the ground it would throw no shadow on it
        "shadow_length": (0, np.inf),
        "shadow_position": (-np.inf, np.inf),
    }
    concept_shift = (0, 100, 7, 10)
    concept_scale = (44, 40, 7.5, 10)
    mechanisms = {
        "shadow_length": (("pendulum_angle", "light_angle"), _shadow_length),
        "shadow_position": (("pendulum_angle", "light_angle"), _shadow_position),
    }

    _frame = (-1.0, -1.0, 22.0)
    _background = (232, 241, 248)
    _test_every = 4

    @property
    def factor_values(self) -> dict[str, np.ndarray]:
        """Angles in units of pi / 200 radians."""
        return dict(_VALUES)

    def _layers(
        self, values: dict[str, np.ndarray], x: np.ndarray, y: np.ndarray, pixel: float
    ) -> Iterator[tuple[Color, np.ndarray]]:
        theta = values["pendulum_angle"] * _UNIT
        right, down = single(np.sin(theta)), single(np.cos(theta))
        from_x, from_y = x - np.float32(_PIVOT[0]), y - np.float32(_PIVOT[1])
        yield (0, 114, 178), disc(from_x - _ROD * right, from_y + _ROD * down, _BALL, pixel)
        along = np.clip(from_x * right - from_y * down, 0, _ROD)
        rod = np.hypot(from_x - along * right, from_y + along * down)
        yield (60, 60, 68), inside(rod - 0.5, pixel)
        light = (_SKY - _PIVOT[1]) / np.tan(values["light_angle"] * _UNIT)
        yield (245, 190, 10), disc(from_x - single(light), y - np.float32(_SKY), _LIGHT, pixel)
        middle, half = values["shadow_position"], values["shadow_length"] / 2
        across = between(x, middle - half, middle + half, pixel)
        yield (60, 60, 68), across * between(y, _GROUND - 0.5, _GROUND + 0.5, pixel)
