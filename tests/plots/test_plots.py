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
    figure.canvas.draw()
    (axes,) = figure.axes
    texts = [*axes.get_xticklabels(), *axes.get_yticklabels(), axes.xaxis.label, *figure.texts]
    assert [text.get_text() for text in figure.texts] == [title]
    width, height = figure.canvas.get_width_height()
    for text in texts:
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
    assert height - inches(at_most=2)[1] == pytest.approx(2 * 0.62, abs=1e-6)
    assert inches(title="A")[1] - height == pytest.approx(0.35)
    tall = plots.traversals(Painter(), gray(4, 64), values=np.linspace(-2, 2, 9))
    assert tall.get_size_inches()[0] == pytest.approx(width, rel=0.03)  # of tiles of any size


def test_a_model_is_drawn_as_it_answers():
    model, x = small("vae"), images(6)
    picture, rows, _ = drawn(plots.traversals(model, x, values=VALUES, start=1))
    kl = model.latent_kl(x)
    order = np.argsort(-kl)
    assert rows[2:] == [f"z{i}   {kl[i]:.2f} nats" for i in order]
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


@pytest.mark.parametrize("broken", ["as_png", "os.replace"])
def test_a_failed_save_leaves_the_old_picture(broken, tmp_path, monkeypatch):
    figure = Figure(figsize=(1, 1), dpi=50)
    path = plots.save(figure, tmp_path / "a.png")
    before = path.read_bytes()

    def fail(*args, **kwargs):
        raise RuntimeError("no more room")

    owner = os if broken == "os.replace" else plots.pictures
    monkeypatch.setattr(owner, broken.removeprefix("os."), fail)
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
