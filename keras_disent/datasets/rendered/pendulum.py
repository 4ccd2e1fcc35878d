"""The Pendulum data set of CausalVAE, rendered when it is read."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from keras_disent.datasets.card import Card
from keras_disent.datasets.rendered.causal import Causal, Color, between, disc, inside, to_float32

_UNIT = np.pi / 200  # unit of angles in radians
_PIVOT = (10.0, 10.5)
_GROUND = -0.5
_SKY = 20.5
_ROD = 8.0
_BALL = 1.5
_LIGHT = 3.0
_VALUES = {
    "pendulum_angle": np.arange(-40, 44),
    "light_angle": np.delete(np.arange(60, 148), 40),  # without 100, straight above the pivot
}


def _shadows(pendulum_angle: np.ndarray, light_angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where the shadows of the pivot and of the ball's far side meet the ground."""
    theta, cotangent = pendulum_angle * _UNIT, 1 / np.tan(light_angle * _UNIT)
    x, y = _PIVOT
    length = _ROD + _BALL
    tip_x, tip_y = x + length * np.sin(theta), y - length * np.cos(theta)
    return x - (y - _GROUND) * cotangent, tip_x - (tip_y - _GROUND) * cotangent


def _shadow_length(pendulum_angle: np.ndarray, light_angle: np.ndarray) -> np.ndarray:
    pivot, tip = _shadows(pendulum_angle, light_angle)
    return np.maximum(3.0, np.abs(pivot - tip))


def _shadow_position(pendulum_angle: np.ndarray, light_angle: np.ndarray) -> np.ndarray:
    pivot, tip = _shadows(pendulum_angle, light_angle)
    return (pivot + tip) / 2


class Pendulum(Causal):
    """A pendulum, a light and a shadow: Pendulum of CausalVAE (Yang et al. 2021), redrawn.

    7,308 images in color. The factors are pendulum_angle (84 steps) and light_angle (87). Angles
    are in the published units of pi / 200 radians (0.9 degrees), lengths in units of the scene,
    which is 22 wide and high, with its center at 10. The concepts are:

    - pendulum_angle, -40 to 43: angle from the vertical; the pendulum swings to the right.
    - light_angle, 60 to 147 without 100: angle of the line from the ground through the pivot to
      the light.
    - shadow_length and shadow_position, the effects of both angles. The position is the middle of
      the shadow.

    As published, the shadow has a length of at least 3, so that its length is constant on 39.6 %
    of the grid. The geometry is that of the published data set. Labels are scaled as in the
    published generator, but not truncated to integers. The scene fills the image, and colors
    differ.

    Args: The same as for `Causal`.

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
        "light_angle": (1, 199),  # a light at ground level throws no shadow
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
        right, down = to_float32(np.sin(theta)), to_float32(np.cos(theta))
        from_x, from_y = x - np.float32(_PIVOT[0]), y - np.float32(_PIVOT[1])
        yield (0, 114, 178), disc(from_x - _ROD * right, from_y + _ROD * down, _BALL, pixel)
        along = np.clip(from_x * right - from_y * down, 0, _ROD)
        rod = np.hypot(from_x - along * right, from_y + along * down)
        yield (60, 60, 68), inside(rod - 0.5, pixel)
        light_x = (_SKY - _PIVOT[1]) / np.tan(values["light_angle"] * _UNIT)
        yield (
            (245, 190, 10),
            disc(from_x - to_float32(light_x), y - np.float32(_SKY), _LIGHT, pixel),
        )
        middle, half = values["shadow_position"], values["shadow_length"] / 2
        across = between(x, middle - half, middle + half, pixel)
        yield (60, 60, 68), across * between(y, _GROUND - 0.5, _GROUND + 0.5, pixel)
