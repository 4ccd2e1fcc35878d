"""The Flow set of CausalVAE, drawn when it is asked for instead of generated as files."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from keras_disent.datasets.card import Card
from keras_disent.datasets.rendered.causal import Causal, Color, between, disc, inside, single

_GRAVITY = 0.98
_GROUND = 0.5
_LEFT, _RIGHT = 3.0, 8.0  # the walls
_BRIM = 19.0
_HALF = 0.3  # of the walls' thickness and of the jet's
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
    """A ball in a cup of water that leaks through a hole: CausalVAE (Yang et al. 2021), redrawn.

    Factors ball_size 30, water_fill 30 and hole_position 9: 8,100 images. Concepts are
    ball_size, 5 to 34, in 1/30 of the scene's units (its radius); water_height, in the scene's
    units above the lowest level, 5; hole_position, 6 to 14, in 1/3 of a unit above the cup's
    foot; and water_flow, in units from the cup to where the jet comes down. A larger ball raises
    the water, and higher water or a higher hole lets the jet reach further. How much water was
    filled in, water_fill in 1/10 of a unit, is a factor but not a concept.

    The published pictures draw the jet with noise, a little further than its label says; here it
    is drawn where it belongs, so that an index has one image. The frame leaves out the upper part
    of the cup, and the colors are others; the geometry and mechanisms are the published ones.
    Labels are scaled as for the published model, but not cut off to integers.

    Args: as of `Causal`.

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
        notes=("Ball size causes water height; height and hole cause how far the water flows.",),
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
        """Sizes in 1/30, fills in 1/10 and positions in 1/3 of the scene's units."""
        return dict(_VALUES)

    def _layers(
        self, values: dict[str, np.ndarray], x: np.ndarray, y: np.ndarray, pixel: float
    ) -> Iterator[tuple[Color, np.ndarray]]:
        dark, water = (60, 60, 68), (86, 180, 233)
        yield dark, between(y, -np.inf, _GROUND, pixel)
        radius = single(values["ball_size"] / 30)
        yield (
            (213, 94, 0),
            disc(x - np.float32((_LEFT + _RIGHT) / 2), y - _GROUND - radius, radius, pixel),
        )
        hole = single(values["hole_position"] / 3)
        # The jet falls by `bend` times the square of its way; it needs some of both to be a curve.
        fall = np.maximum(hole - _GROUND, np.float32(1e-3))
        bend = fall / np.maximum(single(values["water_flow"]), np.float32(1e-3)) ** 2
        way, depth = np.maximum(x - np.float32(_RIGHT), 0), hole - y
        across = np.abs(way - np.sqrt(np.maximum(depth, 0) / bend))
        down = np.abs(depth - bend * way**2)
        # Beside the curve, its distance as if it were straight from there across to there down;
        # above the hole, where it has nothing across, no more than to its first point.
        beside = across * down / (np.hypot(across, down) + np.float32(1e-6))
        above = np.minimum(np.hypot(way, depth), down)
        off = np.where((way > 0) & (depth > 0), beside, above)
        outside = between(x, _RIGHT - _HALF, np.inf, pixel)
        yield water, inside(off - _HALF, pixel) * outside
        for wall in (_LEFT, _RIGHT):
            upright = between(x, wall - _HALF, wall + _HALF, pixel)
            yield dark, upright * between(y, 0, _BRIM, pixel)
        level = np.minimum(5 + values["water_height"], _BRIM)
        yield water, between(x, _LEFT, _RIGHT, pixel) * between(y, _GROUND, level, pixel)
