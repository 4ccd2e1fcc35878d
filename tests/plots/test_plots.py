"""Pictures: each tile where it belongs, nothing cut off, and files whole or not at all."""

import io
import os

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from support.checks import images, small

from keras_disent import plots
from keras_disent._utils.files import atomic_write

KL = np.array([0.5, 3.0, 0.01, 12.25])
VALUES = (-2.0, 0.0, 2.0)
LABELS = ["z3   12.25 nats", "z1   3.00 nats", "z0   0.50 nats", "z2   0.01 nats"]


class Painter:
    """A model that paints latent `i` as the gray `i / 10`, and reconstructions half as bright."""

    def __init__(self, kl=KL):
        self.kl = np.asarray(kl)

    importance_unit = "nats"
    in_use = 0.1

    latent_names = ("z0", "z1", "z2", "z3")

    def encode(self, x):
        codes = np.random.default_rng(0).normal(size=(len(x), len(self.kl)))
        return codes * np.arange(1, 1 + len(self.kl))

    def latent_importance(self, x):
        return self.kl

    def reconstruct(self, x):
        return x.astype("float32") / 255 / 2

    def traverse(self, x, latents, values):
        grid = np.zeros((len(x), len(latents), len(values), *x.shape[1:]), "float32")
        return grid + np.asarray(latents).reshape(1, -1, 1, 1, 1, 1) / 10


def drawn(figure):
    """Return the pixels of the picture in a figure, and the labels of its rows and columns."""
    (axes,) = figure.axes
    rows = [label.get_text() for label in axes.get_yticklabels()]
    columns = [label.get_text() for label in axes.get_xticklabels()]
    return np.asarray(axes.images[0].get_array()), rows, columns


def gray(n=4, size=16):
    """Return images of one gray each: 0, 40, 80 ..."""
    return (
        np.full((n, size, size, 1), 40, "uint8") * np.arange(n, dtype="uint8")[:, None, None, None]
    )


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("gap", [0, 3])
def test_mosaic_puts_each_tile_in_its_row_and_column(channels, gap):
    tiles = np.random.default_rng(0).random((2, 3, 4, 5, channels)).astype("float32")
    canvas = plots.mosaic(tiles, gap=gap, background=0.25)
    assert canvas.shape == (2 * 4 + gap, 3 * 5 + 2 * gap, 3)
    background = np.ones(canvas.shape[:2], bool)
    for row in range(2):
        for column in range(3):
            top, left = row * (4 + gap), column * (5 + gap)
            there = slice(top, top + 4), slice(left, left + 5)
            expected = np.broadcast_to(tiles[row, column], (4, 5, 3))
            np.testing.assert_array_equal(canvas[there], expected)
            background[there] = False
    assert (canvas[background] == 0.25).all()
    assert background.sum() == canvas[..., 0].size - 2 * 3 * 4 * 5


def test_rows_are_latents_by_what_they_carry():
    picture, rows, columns = drawn(plots.traversals(Painter(), gray(), values=VALUES))
    assert rows == ["original", "reconstruction", *LABELS]
    assert columns == ["-2", "0", "+2"]
    heights = [16 + 2] * 3 + [16]
    tops = len(picture) - sum(heights) + np.cumsum([0, *heights[:-1]])
    np.testing.assert_allclose(picture[tops + 8, 8, 0], [0.3, 0.1, 0.0, 0.2])
    np.testing.assert_allclose(picture[tops + 8, -8, 0], [0.3, 0.1, 0.0, 0.2])


def test_rows_can_be_fewer_or_chosen():
    for options, expected in [
        ({"at_most": 2}, LABELS[:2]),
        ({"latents": [2, 3]}, [LABELS[3], LABELS[0]]),
    ]:
        _, rows, _ = drawn(plots.traversals(Painter(), gray(), values=VALUES, **options))
        assert rows[2:] == expected


def test_originals_stand_above_their_reconstructions():
    picture, _, _ = drawn(plots.traversals(Painter(), gray(4), values=VALUES, start=2))
    across = [8, 8 + 18, 8 + 36]
    np.testing.assert_allclose(picture[8, across, 0], np.array([80, 0, 40]) / 255)
    np.testing.assert_allclose(picture[8 + 18, across, 0], np.array([80, 0, 40]) / 255 / 2)
    floats, _, _ = drawn(
        plots.traversals(Painter(), gray().astype("float32") / 255, values=VALUES, start=2)
    )
    np.testing.assert_allclose(floats[8, across, 0], picture[8, across, 0])


def test_places_without_an_image_are_white():
    picture, _, _ = drawn(plots.traversals(Painter(), gray(1), values=VALUES))
    assert (picture[:16, :16] == 0).all()
    assert (picture[:34, 18:] == 1).all()


@pytest.mark.parametrize("size", [16, 64])
@pytest.mark.parametrize("columns", [1, 3, 9])
def test_nothing_is_cut_off(size, columns):
    values = np.linspace(-2, 2, columns)
    title = "Latent traversals, step 1,000,000"
    figure = plots.traversals(Painter(), gray(4, size), values=values, title=title)
    assert [text.get_text() for text in figure.texts] == [title]
    assert_inside(figure)
    named = Painter()
    named.latent_names = ("a_name_of_some_length", *named.latent_names[1:])
    assert_inside(plots.traversals(named, gray(4, size), values=values))


def assert_inside(figure):
    """Assert that no text of a figure is cut off."""
    figure.canvas.draw()
    texts = [*figure.texts]
    for axes in figure.axes:
        texts += [*axes.get_xticklabels(), *axes.get_yticklabels(), axes.xaxis.label, axes.title]
    width, height = figure.canvas.get_width_height()
    for text in (text for text in texts if text.get_text()):
        box = text.get_window_extent()
        assert 0 <= box.x0 < box.x1 <= width, text.get_text()
        assert 0 <= box.y0 < box.y1 <= height, text.get_text()


def test_figures_grow_with_what_they_show():
    def inches(columns=9, title=None, **options):
        values = np.linspace(-2, 2, columns)
        figure = plots.traversals(Painter(), gray(), values=values, title=title, **options)
        return figure.get_size_inches()

    width, height = inches()
    assert 7 < width < 8  # nine tiles of 0.62 inches and the labels
    assert inches(columns=12)[0] - width == pytest.approx(3 * 0.62, abs=1e-6)
    assert inches(at_most=3)[1] - inches(at_most=1)[1] == pytest.approx(2 * 0.62, abs=1e-6)
    assert inches(title="A")[1] - height == pytest.approx(0.35)
    tall = plots.traversals(Painter(), gray(4, 64), values=np.linspace(-2, 2, 9))
    assert tall.get_size_inches()[0] == pytest.approx(width, rel=0.03)  # of tiles of any size


def test_a_model_is_drawn_as_it_answers():
    model, x = small("vae"), images(6)
    picture, rows, _ = drawn(plots.traversals(model, x, values=VALUES, start=1))
    information = model.latent_importance(x)
    order = np.argsort(-information)
    assert rows[2:] == [f"z{i}   {information[i]:.2f} nats" for i in order]
    grid = plots.mosaic(model.traverse(x[1:2], order, VALUES)[0], gap=2)
    np.testing.assert_array_equal(picture[-len(grid) :], grid)
    np.testing.assert_array_equal(picture[:8, :8, 0], x[1, ..., 0] / np.float32(255))


def test_figures_side_by_side():
    left = plots.traversals(Painter(), gray(), values=VALUES)
    right = plots.traversals(Painter(), gray(), values=VALUES, title="Taller")
    table = [("method", "score"), ("one", "0.25"), ("other", "0.75")]
    figure = plots.beside({"One": left, "Other": right}, table)
    widths = [plots.as_array(part).shape[1] for part in (left, right)]
    width, height = figure.canvas.get_width_height()
    assert width == pytest.approx(sum(widths), abs=1)
    assert height > plots.as_array(right).shape[0]
    assert [text.get_text() for text in figure.texts] == ["One", "Other"]
    *pictures, last = figure.axes
    for axes, part in zip(pictures, (left, right), strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), plots.as_array(part))
    (cells,) = (table.get_celld() for table in last.tables)
    found = {place: cell.get_text().get_text() for place, cell in cells.items()}
    assert found == {(i, j): cell for i, row in enumerate(table) for j, cell in enumerate(row)}


def test_arrays_and_files_hold_the_same_pixels(tmp_path):
    figure = Figure(figsize=(2, 1.5), dpi=100, facecolor="white")
    figure.add_axes((0, 0, 0.5, 1), facecolor="#ff0000").set_axis_on()
    array = plots.as_array(figure)
    assert array.shape == (150, 200, 3)
    assert array.dtype == np.uint8
    assert tuple(array[75, 50]) == (255, 0, 0)
    assert tuple(array[75, 150]) == (255, 255, 255)
    np.testing.assert_array_equal(
        Image.open(io.BytesIO(plots.as_png(figure))).convert("RGB"), array
    )
    path = plots.save(figure, tmp_path / "new" / "folder" / "a.png")
    assert path == tmp_path / "new" / "folder" / "a.png"
    assert [file.name for file in path.parent.iterdir()] == ["a.png"]
    np.testing.assert_array_equal(Image.open(path).convert("RGB"), array)


def decoded(path):
    """Return the frames of a picture file: (n, h, w, 3)."""
    with Image.open(path) as file:
        count = getattr(file, "n_frames", 1)
        return np.stack([frame_of(file, i) for i in range(count)])


def frame_of(file, i):
    file.seek(i)
    return np.asarray(file.convert("RGB"))


@pytest.mark.parametrize("suffix", [".png", ".webp", ".jpg"])
def test_figures_are_written_in_the_format_of_their_ending(suffix, tmp_path):
    figure = Figure(figsize=(1, 1), dpi=50, facecolor="#ff0000")
    path = plots.save(figure, tmp_path / f"a{suffix}")
    with Image.open(path) as file:
        assert file.format.lower() == {".jpg": "jpeg"}.get(suffix, suffix[1:])
    np.testing.assert_allclose(decoded(path)[0], plots.as_array(figure), atol=4)


def test_other_endings_are_refused(tmp_path):
    figure, frames = Figure(), np.zeros((2, 4, 4, 1))
    for write, value, suffix in [
        (plots.save, figure, "bmp"),
        (plots.save_image, frames[0], "txt"),
        (plots.save_animation, frames, "png"),
    ]:
        with pytest.raises(ValueError, match=rf"The ending of '.*a\.{suffix}' must be one of \."):
            write(value, tmp_path / f"a.{suffix}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_written_as_they_are(channels, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 7, channels), dtype=np.uint8)
    for image in (pixels[0], pixels[0] / np.float32(255)):
        path = plots.save_image(image, tmp_path / "a.png")
        np.testing.assert_array_equal(decoded(path)[0], np.broadcast_to(pixels[0], (5, 7, 3)))
    row = decoded(plots.save_image(pixels, tmp_path / "b.bmp"))[0]
    assert row.shape == (5, 7 + 2 + 7, 3)
    np.testing.assert_array_equal(row[:, 9:], np.broadcast_to(pixels[1], (5, 7, 3)))
    with pytest.raises(ValueError, match=r"with 1 or 3 channels. Got shape \(5, 7\)"):
        plots.save_image(pixels[0, ..., 0], tmp_path / "c.png")


@pytest.mark.parametrize("suffix", ["gif", "webp"])
def test_animations_hold_their_frames(suffix, tmp_path):
    frames = np.stack([np.full((8, 8, 3), color) for color in ([1, 0, 0], [0, 1, 0], [0, 0, 1.0])])
    path = plots.save_animation(frames, tmp_path / f"a.{suffix}", seconds=1.5)
    np.testing.assert_allclose(decoded(path), 255 * frames, atol=8)
    with Image.open(path) as file:
        file.seek(1)
        file.load()
        assert file.info["duration"] == 500
        assert file.info["loop"] == 0
    with pytest.raises(ValueError, match=r"`seconds` is a number above 0. Got 0"):
        plots.save_animation(frames, path, seconds=0)
    with pytest.raises(ValueError, match=r"An animation needs images .* Got shape \(8, 8, 3\)"):
        plots.save_animation(frames[0], path)


class Ramp(Painter):
    """A painter whose traversals show the value itself, 0 to 1 as black to white."""

    def encode(self, x):
        return np.stack([np.linspace(0, 1, len(x)), np.linspace(1, 0.5, len(x))], axis=1)

    def traverse(self, x, latents, values):
        grid = np.ones((len(x), len(latents), len(values), *x.shape[1:]))
        return grid * np.reshape(values, (1, 1, -1, 1, 1, 1))


def test_a_poster_shows_each_range_between_its_ends():
    x = gray(5)
    figure = plots.poster(Ramp([1.0, 2.0]), x, columns=3, ends=2, start=4, title="$a$")
    assert [axes.get_title() for axes in figure.axes][::2] == ["smallest values", "largest values"]
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["z1\n2.00 nats, 0.5 to 1.0", "z0\n1.00 nats, 0.0 to 1.0"]
    low, middle, high = (np.asarray(axes.images[0].get_array()) for axes in figure.axes)
    starts = [0, 16 + 2]  # of tiles and the gap between them
    shown = [[float(part[r, c, 0]) for r in starts for c in starts] for part in (low, high)]
    assert np.round(255 * np.array(shown)).tolist() == [[160, 120, 0, 40], [40, 0, 120, 160]]
    assert [float(middle[r, c, 0]) for r in starts for c in (0, 18, 36)] == [
        0.5,
        0.75,
        1,
        0,
        0.5,
        1,
    ]
    assert_inside(figure)
    names = plots.poster(Ramp([1.0, 2.0]), x, latents=["z0"]).axes[0].get_yticklabels()
    assert [name.get_text().split()[0] for name in names] == ["z0"]


def test_frames_go_through_each_range_and_back():
    frames = plots.traversal_frames(Ramp([1.0, 2.0]), gray(5), frames=4)
    assert frames.dtype == np.uint8
    assert frames.shape[0] == 4
    rows, columns = frames.shape[1] // 3, [frames.shape[2] // 4, 3 * frames.shape[2] // 4]
    shown = frames[:, rows, columns, 0].T / 255
    np.testing.assert_allclose(shown, [[0.5, 0.75, 1, 0.75], [0, 0.5, 1, 0.5]], atol=0.01)


def test_figures_show_in_notebooks():
    figure = plots.traversals(Painter(), gray(), values=VALUES)
    assert figure._repr_png_() == plots.as_png(figure)


@pytest.mark.parametrize("broken", ["Figure.savefig", "os.replace"])
def test_a_failed_save_leaves_the_old_picture(broken, tmp_path, monkeypatch):
    figure = Figure(figsize=(1, 1), dpi=50)
    path = plots.save(figure, tmp_path / "a.png")
    before = path.read_bytes()

    def fail(*args, **kwargs):
        raise RuntimeError("no more room")

    owner, _, name = broken.partition(".")
    monkeypatch.setattr({"os": os, "Figure": Figure}[owner], name, fail)
    with pytest.raises(RuntimeError, match="no more room"):
        plots.save(figure, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_files_appear_when_they_are_whole(tmp_path):
    path = tmp_path / "a.json"
    for text, before in [("first", None), ("second", "first")]:
        with atomic_write(path) as temporary:
            assert temporary.parent == path.parent  # a rename is atomic within one file system
            assert temporary.suffix == ".json"
            temporary.write_text(text)
            assert (path.read_text() if path.exists() else None) == before
        assert path.read_text() == text


def test_an_interrupted_file_leaves_the_old_one(tmp_path):
    def interrupted():
        with atomic_write(path) as temporary:
            temporary.write_text("half of the thi")
            raise KeyboardInterrupt

    path = tmp_path / "a.json"
    path.write_text("second")
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "second"
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_written_changes_nothing(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(FileNotFoundError):
        with atomic_write(path):
            pass
    assert path.read_text() == "old"
