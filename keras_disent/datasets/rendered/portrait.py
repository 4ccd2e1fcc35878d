"""Draw portraits: how much of every pixel each paint covers, and the colors of the paints.

Turn, mouth, eyes and length of the hair decide where the paints are; blush, skin, color of the hair
and background decide their colors. Lengths are in units of the picture: x grows to the right and y
upwards, from the middle of the face.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

# Paints whose colors depend on factors. Fixed colors need no column of their own: they are mixed
# at once, into the first three columns of a picture's shares, which are red, green and blue.
PAINTS = ("ground", "skin", "shade", "line", "blush", "blush_shade", "hair", "hair_dark")
COLUMNS = 3 + len(PAINTS)

# One color for each step of the factor. None is above 253, which leaves room for rounding.
_SKIN = {
    "skin": ("FBDAC5", "F3BF9B", "D9986B", "AB6E4A", "7D4D36"),
    "shade": ("F0B79F", "DD9A78", "B97850", "8A5236", "5C3626"),
    "line": ("C9806C", "B06E51", "8F5237", "5F3425", "361D16"),
}
_ROSE = ("FB647E", "F2546B", "E2465E", "D2425C", "B54058")
_HAIR = {
    "hair": ("2C2A3E", "51302B", "C4552A", "F2C665"),
    "hair_dark": ("1A1826", "331D1D", "8F3819", "CF9340"),
}
_GROUND = ("F5A799", "E9CF87", "A0D7AA", "6BC0CF", "8DA2E1", "CC96C6")

_WHITE, _GLOSS, _INK, _IRIS = "FDFBF6", "FDE6C4", "231B2B", "5B3A2A"
_LIP, _MOUTH, _TONGUE = "B0303F", "6E1F2E", "E8727A"
_SHIRT, _SHIRT_DARK, _COLLAR = "465A8C", "33436C", "F7F3EA"

_LEFT, _LOW, _SIDE = -0.83, -0.86, 1.66  # the frame
_WIDTH, _HEIGHT = 0.54, 0.61  # half axes of the head
_SHELL = 0.59, 0.66, 0.10  # half axes of the hair, and the height of its middle
# Above this height nothing depends on the mouth, below it nothing on the eyes.
_SPLIT = _LOW + 7 / 16 * _SIDE

_Number = float | np.ndarray


def upper_rows(size: int) -> int:
    """Return how many rows of a picture, from its top, do not depend on the mouth.

    The rows below them do not depend on the eyes. The size is a multiple of 16.
    """
    return size * 9 // 16


def colors(blush: int) -> np.ndarray:
    """Return the colors of all paints.

    Args:
        blush: Number of steps of the blush, from none to full.

    Returns:
        float32 `(blush, skins, hairs, grounds, columns, 3)` from 0 to 255. The first three columns
        are the unit vectors, for the colors that are mixed already.
    """
    grid = (blush, len(_ROSE), len(_HAIR["hair"]), len(_GROUND))
    table = np.zeros((*grid, COLUMNS, 3), np.float32)
    table[..., :3, :] = np.eye(3)
    paint = {name: table[..., 3 + column, :] for column, name in enumerate(PAINTS)}
    paint["ground"][:] = _rgb(_GROUND)
    for name in ("hair", "hair_dark"):
        paint[name][:] = _rgb(_HAIR[name])[:, None]
    for name in ("skin", "shade", "line"):
        paint[name][:] = _rgb(_SKIN[name])[:, None, None]
    strength = np.linspace(0, 1, blush)[:, None, None, None, None]
    rose = _rgb(_ROSE)[:, None, None]
    for name, skin, full in (("blush", "skin", 1.0), ("blush_shade", "shade", 0.88)):
        paint[name][:] = np.rint(paint[skin] + strength * (full * rose - paint[skin]))
    return table


def _rgb(steps: tuple[str, ...]) -> np.ndarray:
    return np.array([list(bytes.fromhex(color)) for color in steps], np.float32)


def shares(
    turn: ArrayLike, mouth: ArrayLike, eyes: ArrayLike, length: ArrayLike, size: int
) -> np.ndarray:
    """Draw portraits as shares of paints, from front to back.

    Args:
        turn: `(n,)` degrees by which the head turns to the viewer's right.
        mouth: `(n,)` openings of the mouth, from 0 to 1.
        eyes: `(n,)` openings of the eyes, from 0 to 1.
        length: `(n,)` lengths of the hair: 0 above the ears, 0.5 to the chin, 1 to the shoulders.
        size: Height and width in pixels.

    Returns:
        float32 `(n, size, size, columns)`. The last columns are the proportion of every pixel that
        each paint covers. The first three are the color, from 0 to 255, of what has a fixed color.
    """
    turn, mouth, eyes, length = (
        np.asarray(v, np.float32)[:, None, None] for v in (np.radians(turn), mouth, eyes, length)
    )
    pixel = _SIDE / size
    centers = (pixel * (np.arange(size) + 0.5)).astype(np.float32)
    x, y = _LEFT + centers[None, None, :], _LOW + centers[None, ::-1, None]
    canvas = _Canvas(
        x,
        y,
        pixel,
        np.zeros((len(turn), COLUMNS, size, size), np.float32),
        np.ones((len(turn), size, size), np.float32),
    )

    # The head: its chin turns further than its middle, and drops with the jaw.
    fall = np.maximum(_SPLIT - y, 0) / (_SPLIT + _HEIGHT)
    v = (y + 0.06 * mouth * fall * fall) / _HEIGHT
    below = np.minimum(v, 0)
    u = (x - _chin(turn, y)) / (_WIDTH * (1 - 0.10 * below**2))
    outline = _ellipse(u, v, _WIDTH, _HEIGHT)
    head = canvas.cover(outline)

    hair_shadow, hair_outline = _front_hair(canvas, outline, turn, length)
    part, rows = canvas.band(-0.25, 0.2)
    _ears(part, head[:, rows], turn, length)
    part, rows = canvas.band(_SPLIT, 0.42)
    _eyes(part, head[:, rows], turn, eyes)
    part, rows = canvas.band(-0.18, 0.14)
    _nose(part, head[:, rows], turn)
    part, rows = canvas.band(-0.68, _SPLIT)
    _mouth(part, head[:, rows], turn, mouth)

    away = 0.8 * _smooth(0.55, 1.05, _length(u + 0.28, v - 0.15))  # from the light
    shade = 1 - (1 - hair_shadow) * (1 - away)
    part, rows = canvas.band(-0.45, 0.12)
    _cheeks(part, head[:, rows], shade[:, rows], turn)
    canvas.paint("shade", head * shade)
    canvas.paint("skin", head)

    _body(canvas.band(-1, -0.2)[0])
    _back_hair(canvas, hair_outline, turn, length)
    canvas.paint(_WHITE, 0.45 * _smooth(1.25, 0.1, _length(x, y)))
    canvas.paint("ground", np.ones_like(head))
    return canvas.weights.transpose(0, 2, 3, 1)


class _Canvas:
    """Paint the rows of a frame, or some of them, from front to back.

    Args:
        x, y: Centers of the pixels, `(1, 1, size)` and `(1, rows, 1)`.
        pixel: Side of a pixel.
        weights: `(n, columns, rows, size)`, what has been painted.
        visible: `(n, rows, size)`, the proportion of every pixel that is not covered yet.
    """

    def __init__(
        self, x: np.ndarray, y: np.ndarray, pixel: float, weights: np.ndarray, visible: np.ndarray
    ):
        self.x, self.y, self.pixel = x, y, pixel
        self.weights, self.visible = weights, visible

    def band(self, low: float, high: float) -> tuple[_Canvas, slice]:
        """Return the rows between two heights, and where they are among all rows."""
        rows = np.flatnonzero((self.y[0, :, 0] > low) & (self.y[0, :, 0] < high))
        part = slice(rows[0], rows[-1] + 1)
        weights, visible = self.weights[:, :, part], self.visible[:, part]
        return _Canvas(self.x, self.y[:, part], self.pixel, weights, visible), part

    def paint(self, paint: str, cover: np.ndarray) -> None:
        """Paint what is still visible; `paint` is one of `PAINTS` or a fixed color."""
        fraction = self.visible * cover
        self.visible -= fraction
        if paint in PAINTS:
            self.weights[:, 3 + PAINTS.index(paint)] += fraction
        else:
            for column, value in enumerate(bytes.fromhex(paint)):
                self.weights[:, column] += value * fraction

    def cover(self, distance: np.ndarray) -> np.ndarray:
        """Return the share of every pixel within an outline, from its center's distance to it."""
        return np.clip(0.5 - distance / self.pixel, 0, 1)

    def on_face(
        self, turn: np.ndarray, longitude: float, height: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return coordinates around a point of the turned head, and how much x is foreshortened."""
        level = _WIDTH * math.sqrt(1 - (height / _HEIGHT) ** 2)
        across = np.clip((self.x - _chin(turn, height)) / level, -1, 1)
        right = level * (np.arcsin(across) - turn - math.radians(longitude))
        return right, self.y - height, np.maximum(np.sqrt(1 - across**2), 0.25)


def _chin(turn: np.ndarray, height: _Number) -> np.ndarray:
    """Return how far to the right the turned head leans below its middle."""
    return 0.10 / _HEIGHT * np.sin(turn) * np.maximum(-height, 0)


def _front_hair(
    canvas: _Canvas, outline: np.ndarray, turn: np.ndarray, length: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Paint the hair nearer than the face; return its shadow on the face, and its outline."""
    narrow = 1 + 0.04 * length
    across, v, field, opening, shell, cut = _shell(canvas, turn, length, 0.08, narrow, 1)
    # At the face it grows out of the head; only long hair hangs free.
    free = np.maximum(_smooth(0.0, 0.4, -field), (1 - opening) * _smooth(0.0, 0.3, length))
    outline = outline + (shell - outline) * free
    cover = canvas.cover(outline) * cut
    u, w = canvas.x / _WIDTH, (canvas.y - 0.1) / _HEIGHT
    gloss = _bump(_length(u + 0.08, w + 0.05) - 0.78, 0.16) * _bump(u + 0.34, 0.5) * (w > 0)
    canvas.paint(_GLOSS, cover * gloss * 0.2)
    locks = 0.13 + 0.13 * np.sin(13 * (across + 0.4) / (1.35 - v))
    dark = _smooth(0.75, 1.25, _length(u + 0.25, 0.8 * (v - 0.3)))
    canvas.paint("hair_dark", cover * (locks + 0.6 * dark))
    canvas.paint("hair", cover)
    return 0.7 * np.clip(0.8 - 8 * field, 0, 1), outline


def _back_hair(canvas: _Canvas, outline: np.ndarray, turn: np.ndarray, length: np.ndarray) -> None:
    """Paint the hair behind face and neck; short hair is not seen beside the cheeks."""
    shift, narrow = 0.12 - 0.09 * length, 0.99 + 0.06 * length
    _, v, *_, shell, cut = _shell(canvas, turn, length, shift, narrow, -1)
    behind = _smooth(0.03, 0.15, -canvas.x * np.sin(turn))
    seen = np.maximum(np.maximum(_smooth(0.0, 0.3, length), _smooth(-0.05, 0.10, v)), behind)
    cover = canvas.cover(np.maximum(shell, outline - 2 * seen)) * cut
    canvas.paint("hair", cover * 0.7 * _smooth(0.1, 0.7, v))
    canvas.paint("hair_dark", cover)


def _shell(
    canvas: _Canvas,
    turn: np.ndarray,
    length: np.ndarray,
    shift: _Number,
    wide: np.ndarray,
    facing: int,
) -> tuple[np.ndarray, ...]:
    """Hair is a shell around the head, cut off below a line that turns with it.

    Returns:
        coordinates across the turned head and upwards; how far the line lies above; whether it
        opens to the face; distance to the outline; the share of pixels above the line.
    """
    sin, cos = np.sin(turn), np.cos(turn)
    v = (canvas.y - _SHELL[2]) / _SHELL[1]
    high, hang = np.maximum(v, 0), np.clip(-v, 0, 0.8)
    short = np.maximum(1 - 2 * length, 0)
    taper = 0.26 - 0.28 * length + 0.8 * short
    u = (canvas.x + shift * sin) / (_SHELL[0] * (wide - taper * hang**2))
    depth = facing * np.sqrt(np.maximum(1 - u**2 - high**2, 0.06))
    across, depth = u * cos - depth * sin, u * sin + depth * cos
    part = across + 0.38
    fringe = 0.66 - 0.44 * _length(part, 0.16) + 0.03 * np.sin(7 * part) * _smooth(0, 0.4, part)
    side = 0.04 - 1.14 * length - (0.52 - 0.50 * length) * _smooth(0.05, -0.6, depth)
    side = side - 0.24 * short * _bump(depth - 0.16, 0.26)  # whiskers before the ears
    opening = _smooth(0.14 + 0.16 * length, 0.44 + 0.16 * length, depth)
    field = side + (fringe - side) * opening + 0.16 * length * (u * u) ** 2 - v
    # To a distance by the slope on the screen, which is without bounds at the outline.
    down, right = np.gradient(field, axis=(1, 2))
    slope = np.clip(_length(down, right), 1e-3, 6 * canvas.pixel)
    cut = np.clip(0.5 - field / slope, 0, 1)
    return across, v, field, opening, _ellipse(u, high, *_SHELL[:2]), cut


def _ears(canvas: _Canvas, head: np.ndarray, turn: np.ndarray, length: np.ndarray) -> None:
    bare = _smooth(0.5, 0.2, length)  # longer hair lies over them
    for side in (-1, 1):
        angle = turn + side * math.radians(97)
        near = _smooth(-0.02, 0.22, np.cos(angle))  # in front of the head, or behind it
        x, y = canvas.x - 1.03 * _WIDTH * np.sin(angle), canvas.y + 0.03
        wide = 0.075 + 0.045 * near
        ear = canvas.cover(_oval(x, y, wide, 0.135)) * (1 - head * (1 - near)) * bare
        canvas.paint("line", canvas.cover(_oval(x, y, wide * 0.5, 0.08)) * ear * 0.45)
        canvas.paint("shade", ear * (0.25 + 0.75 * _smooth(0.2, -0.2, np.cos(angle))))
        canvas.paint("skin", ear)


def _eyes(canvas: _Canvas, head: np.ndarray, turn: np.ndarray, eyes: np.ndarray) -> None:
    cover, half = canvas.cover, 0.128
    for side in (-1, 1):
        x, y, narrow = canvas.on_face(turn, 22.5 * side, 0.06)
        t = np.clip(x / half, -1, 1)
        brow = y - 0.225 - 0.045 * eyes + 0.045 * t**2 + 0.012 * side * t
        canvas.paint("hair_dark", head * cover(_length((x - half * t) * narrow, brow) - 0.024))
        # The lower lid rises to the upper one, as in laughter.
        bow = np.sqrt(1 - t**2) * (1 - 0.25 * t**2)
        upper = (0.075 + 0.055 * eyes) * bow - 0.02
        lower = (0.075 - 0.18 * eyes) * bow - 0.02
        lash = _length((x - half * t) * narrow, (y - upper) / np.sqrt(1 + 0.8 * t**2))
        canvas.paint(_INK, head * cover(lash - 0.026 + 0.008 * t**2))
        gap = np.maximum(0.8 * np.maximum(y - upper, lower - y), (abs(x) - half) * narrow)
        gap = head * cover(gap)
        x, y = x * narrow, y + 0.025 - 0.03 * eyes
        canvas.paint(_WHITE, gap * cover(_length(x + 0.028, y - 0.033) - 0.029))
        canvas.paint(_INK, gap * cover(_oval(x, y, 0.049 * narrow, 0.054)))
        canvas.paint(_IRIS, gap * cover(_oval(x, y, 0.080 * narrow, 0.088)))
        canvas.paint("shade", gap * cover(lash - 0.047) * 0.25)
        canvas.paint(_WHITE, gap)


def _nose(canvas: _Canvas, head: np.ndarray, turn: np.ndarray) -> None:
    """Paint the nose, which is nearer to the viewer than the face and so moves further."""
    x, y, sin = canvas.x, canvas.y + 0.11, np.sin(turn)
    tip = 1.16 * _WIDTH * sin
    t = np.clip((x - tip) / 0.055, -1, 1)
    wing = _length(x - tip - 0.055 * t, (y + 0.03 * (1 - t**2)) / np.sqrt(1 + 1.2 * t**2))
    canvas.paint("line", head * canvas.cover(wing - 0.016) * 0.75)
    t = np.clip(y / 0.2, 0, 1)  # up the ridge
    ridge = _length(x - tip + (0.22 * _WIDTH - 0.03) * sin * t, y - 0.2 * t)
    canvas.paint("shade", head * _smooth(0.05, -0.01, ridge) * abs(sin))


def _mouth(canvas: _Canvas, head: np.ndarray, turn: np.ndarray, mouth: np.ndarray) -> None:
    cover = canvas.cover
    x, y, narrow = canvas.on_face(turn, 0, -0.265)
    half = 0.225 - 0.01 * mouth
    t = np.clip(x / half, -1, 1)
    bow = 1 - t**2
    upper = 0.02 - 0.08 * bow
    lower = upper - 0.27 * mouth * np.sqrt(bow)
    beyond = np.maximum(y - upper, lower - y)  # above or below the opening
    rim = head * cover(_length((x - half * t) * narrow, np.maximum(beyond, 0)) - 0.021)
    gap = head * cover(np.maximum(beyond, (abs(x) - half) * narrow)) * np.minimum(6 * mouth, 1)
    canvas.paint(_WHITE, gap * cover(upper - 0.065 * np.minimum(2 * mouth, 1) - y))
    canvas.paint(_TONGUE, gap * cover(_oval(x, y - lower + 0.02, 0.115, 0.085) * narrow))
    canvas.paint(_MOUTH, gap)
    canvas.paint(_LIP, 0.45 * rim)
    canvas.paint("line", rim)


def _cheeks(canvas: _Canvas, head: np.ndarray, shade: np.ndarray, turn: np.ndarray) -> None:
    """Paint where the blush goes: both cheeks, and less of it across the nose."""
    pale = np.ones_like(head)
    for longitude, height, wide, tall, strength in (
        (-40, -0.17, 0.36, 0.28, 1.0),
        (40, -0.17, 0.36, 0.28, 1.0),
        (0, -0.11, 0.22, 0.11, 0.8),
    ):
        x, y, _ = canvas.on_face(turn, longitude, height)
        pale = pale * (1 - strength * _smooth(1.0, 0.5, _length(x / wide, y / tall)))
    canvas.paint("blush_shade", head * (1 - pale) * shade)
    canvas.paint("blush", head * (1 - pale) * (1 - shade))


def _body(canvas: _Canvas) -> None:
    """Paint neck and shirt, which do not turn."""
    x, y, cover = canvas.x, canvas.y + 0.73, canvas.cover
    collar = _oval(x, y, 0.24, 0.12)
    neck = cover(abs(x) - 0.185) * np.maximum(cover(collar), cover(-y))
    canvas.paint("shade", neck * _smooth(-0.14, 0.14, y + 0.05 * x))
    canvas.paint("skin", neck)
    canvas.paint(_COLLAR, cover(abs(collar - 0.035) - 0.035) * cover(y - 0.05))
    canvas.paint(_SHIRT_DARK, cover(collar - 0.03) * cover(y - 0.04))
    shirt = cover(_oval(x, y + 0.66, 0.88, 0.70))
    canvas.paint(_SHIRT_DARK, shirt * _smooth(0.17, 0.06, collar))
    canvas.paint(_SHIRT, shirt)


def _smooth(low: _Number, high: _Number, value: np.ndarray) -> np.ndarray:
    """Return 0 at `low`, 1 at `high`, and a smooth step in between."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _bump(value: np.ndarray, width: float) -> np.ndarray:
    return _smooth(1.0, 0.0, abs(value) / width)


def _length(x: np.ndarray, y: _Number) -> np.ndarray:
    return np.sqrt(x * x + y * y)  # np.hypot is many times slower


def _ellipse(u: np.ndarray, v: np.ndarray, a: _Number, b: _Number) -> np.ndarray:
    """Return nearly the distance to an ellipse; `u` and `v` are in its half axes."""
    k = _length(u, v)
    return k * (k - 1) / np.maximum(_length(u / a, v / b), 1e-6)


def _oval(x: np.ndarray, y: np.ndarray, a: _Number, b: _Number) -> np.ndarray:
    return _ellipse(x / a, y / b, a, b)
