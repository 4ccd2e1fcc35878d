"""The Flow data set of CausalVAE, rendered when it is read."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from keras_disent.datasets.card import Card
from keras_disent.datasets.rendered.causal import Causal, Color, between, disc, inside, to_float32

_GRAVITY = 0.98
_GROUND = 0.5
_LEFT, _RIGHT = 3.0, 8.0  # the walls
_BRIM = 19.0
_HALF = 0.3  # half the thickness of the walls and of the jet
_VALUES = {
    "ball_size": np.arange(5, 35),
    "water_fill": np.arange(10, 40),
    "hole_position": np.arange(6, 15),
}


def _water_height(ball_size: np.ndarray, water_fill: np.ndarray) -> np.ndarray:
    return (ball_size / 30) ** 3 + water_fill / 10


def _water_flow(water_height: np.ndarray, hole_position: np.ndarray) -> np.ndarray:
    return np.sqrt(2 * _GRAVITY * water_height * (hole_position / 3 - _GROUND))


class Flow(Causal):
    """A ball in a cup of water with a hole: Flow of CausalVAE (Yang et al. 2021), redrawn.

    8,100 images in color. The factors are ball_size (30 steps), water_fill (30) and
    hole_position (9). Lengths are in units of the scene. The concepts are:

    - ball_size, 5 to 34: radius of the ball in 1/30 of a unit.
    - water_height: height of the water above its lowest level, which is 5.
    - hole_position, 6 to 14: height of the hole above the bottom of the cup in 1/3 of a unit.
    - water_flow: distance from the cup to the place where the jet meets the ground.

    A larger ball raises the water; higher water or a higher hole increases the distance. The
    amount of water, water_fill in 1/10 of a unit, is a factor but not a concept.

    The geometry and the mechanisms are those of the published data set. Published images draw the
    jet with noise, slightly further than its label; here each index has exactly one image, with
    the jet at its label. Colors differ, and the upper part of the cup is outside the image.
    Labels are scaled as for the published model, but not truncated to integers.

    Args: The same as for `Causal`.

    >>> from keras_disent.datasets.rendered.flow import Flow
    >>> data = Flow(image_size=32)
    >>> len(data), data.images([0, 8099]).shape, len(data.published_test_indices())
    (8100, (2, 32, 32, 3), 1620)
    >>> data.concepts([8099]).round(2)
    array([[34.  ,  5.36, 14.  ,  6.61]])
    >>> data.do([8099], {"ball_size": 15}).round(2)
    array([[15.  ,  4.03, 14.  ,  5.73]])
    """

    name = "flow"
    card = Card(
        title="Ball, water and jet (causal)",
        citation="Yang, Liu, Chen, Shen, Hao and Wang (2021), CausalVAE",
        notes=("Ball size causes water height; water height and hole cause the flow distance.",),
    )
    factor_names = tuple(_VALUES)
    factor_sizes = (30, 30, 9)
    concept_names = ("ball_size", "water_height", "hole_position", "water_flow")
    concept_limits = {
        "ball_size": (0, 75),  # as wide as the cup
        "water_height": (0, np.inf),
        "hole_position": (1.5, 15),  # from the ground to the lowest water level
        "water_flow": (0, np.inf),
    }
    concept_shift = (20, 2, 10.5, 5.95)
    concept_scale = (15, 2, 4.5, 2.65)
    mechanisms = {
        "water_height": (("ball_size", "water_fill"), _water_height),
        "water_flow": (("water_height", "hole_position"), _water_flow),
    }

    _frame = (2.0, -0.375, 14.0)  # the ground is 2, 4 or 6 pixels deep
    _background = (250, 248, 242)
    _test_every = 5

    @property
    def factor_values(self) -> dict[str, np.ndarray]:
        """Sizes in 1/30, amounts of water in 1/10 and positions in 1/3 of the scene's units."""
        return dict(_VALUES)

    def _layers(
        self, values: dict[str, np.ndarray], x: np.ndarray, y: np.ndarray, pixel: float
    ) -> Iterator[tuple[Color, np.ndarray]]:
        dark, water = (60, 60, 68), (86, 180, 233)
        yield dark, between(y, -np.inf, _GROUND, pixel)
        radius = to_float32(values["ball_size"] / 30)
        yield (
            (213, 94, 0),
            disc(x - np.float32((_LEFT + _RIGHT) / 2), y - _GROUND - radius, radius, pixel),
        )
        hole = to_float32(values["hole_position"] / 3)
        # The jet falls by `bend` times the square of its distance; both must be positive.
        fall = np.maximum(hole - _GROUND, np.float32(1e-3))
        bend = fall / np.maximum(to_float32(values["water_flow"]), np.float32(1e-3)) ** 2
        distance, depth = np.maximum(x - np.float32(_RIGHT), 0), hole - y
        across = np.abs(distance - np.sqrt(np.maximum(depth, 0) / bend))
        down = np.abs(depth - bend * distance**2)
        # Approximate the distance to the curve by that to the straight line between the curve's
        # points at the same height (`across`) and below (`down`). Above the hole there is no
        # point at the same height: use the distance to the first point of the curve.
        beside = across * down / (np.hypot(across, down) + np.float32(1e-6))
        above = np.minimum(np.hypot(distance, depth), down)
        to_curve = np.where((distance > 0) & (depth > 0), beside, above)
        outside = between(x, _RIGHT - _HALF, np.inf, pixel)
        yield water, inside(to_curve - _HALF, pixel) * outside
        for wall in (_LEFT, _RIGHT):
            upright = between(x, wall - _HALF, wall + _HALF, pixel)
            yield dark, upright * between(y, 0, _BRIM, pixel)
        level = np.minimum(5 + values["water_height"], _BRIM)
        yield water, between(x, _LEFT, _RIGHT, pixel) * between(y, _GROUND, level, pixel)
