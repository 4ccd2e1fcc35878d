"""Folders of pictures: images, labels, cache, and errors."""

import os

import numpy as np
import pytest
from PIL import Image

from keras_disent.datasets import GroundTruth, Images, load, open_file, open_folder


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("KERAS_DISENT_CACHE", str(folder))
    return folder


@pytest.fixture
def grid(tmp_path):
    """Write six pictures of one gray each, named after two factors, and a table of labels."""
    lines = []
    for side in ("left", "right"):
        for step in range(3):
            gray = 100 * (side == "right") + 20 * step
            (tmp_path / side).mkdir(exist_ok=True)
            Image.new("L", (10, 10), gray).save(tmp_path / side / f"{step}.png")
            lines.append(f"{side}/{step}.png,{side},{step / 2}")
    (tmp_path / "labels.csv").write_text("\n".join(["file,side,lift", *lines[::-1]]) + "\n")
    return tmp_path


def rewrite(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_folder(tmp_path):
    (tmp_path / "b").mkdir()
    half = np.zeros((20, 40, 3), np.uint8)
    half[:, 10:30] = (0, 0, 255)
    Image.fromarray(half).save(tmp_path / "b" / "blue.PNG")
    Image.new("RGB", (9, 9), (255, 0, 0)).save(tmp_path / "c.bmp")
    Image.new("L", (30, 30), 200).save(tmp_path / "a.webp", lossless=True)
    (tmp_path / "notes.txt").write_text("not an image")
    data = open_folder(tmp_path, image_size=8)
    assert isinstance(data, Images)
    assert (len(data), data.image_shape, data.name) == (3, (8, 8, 3), tmp_path.name)
    assert (data.images([0]) == 200).all()
    assert (data.images([1]) == (0, 0, 255)).all()  # the central square is blue
    assert (data.images([2]) == (255, 0, 0)).all()
    gray = load(str(tmp_path), image_size=8, channels=1)
    assert gray.images([2]).shape == (1, 8, 8, 1)
    assert (gray.images([2]) == 76).all()


def test_pictures_are_rotated_upright(tmp_path):
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:4] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees, clockwise
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    upright = open_folder(tmp_path, image_size=None, channels=1).images([0])[0, ..., 0]
    assert (upright[:, 4:] == 255).all()
    assert (upright[:, :4] == 0).all()


def test_crop(tmp_path):
    pixels = np.zeros((20, 30), np.uint8)
    pixels[7:13, 12:18] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    data = open_folder(tmp_path, image_size=None, channels=1, crop=6)
    assert data.image_shape == (6, 6, 1)
    assert (data.images([0]) == 255).all()
    with pytest.raises(ValueError, match=r"cuts 21 pixels .* Got 30 x 20 in '.*a.png'"):
        open_folder(tmp_path, crop=21)


def test_cache_is_used_until_a_file_changes(tmp_path, cache, monkeypatch):
    for gray in (10, 20):
        Image.new("L", (8, 8), gray).save(tmp_path / f"{gray}.png")
    first = open_folder(tmp_path, image_size=8)
    entries = list(cache.iterdir())
    with monkeypatch.context() as patch:
        patch.setattr(Image, "open", None)  # decoding a picture raises an error
        assert (open_folder(tmp_path, image_size=8).images([0, 1]) == first.images([0, 1])).all()
    assert list(cache.iterdir()) == entries

    Image.new("L", (8, 8), 30).save(tmp_path / "20.png")
    os.utime(tmp_path / "20.png", ns=(1, 1))
    updated = open_folder(tmp_path, image_size=8)
    assert updated.images([0, 1])[:, 0, 0, 0].tolist() == [10, 30]
    assert len(list(cache.iterdir())) == 1  # the older entry is deleted
    (tmp_path / "10.png").unlink()
    assert len(open_folder(tmp_path, image_size=8)) == 1
    assert len(updated) == 2
    assert updated.images([0])[0, 0, 0, 0] == 10  # an open data set stays readable


def test_table_that_covers_a_grid(grid):
    data = open_folder(grid, image_size=None, channels=1)
    assert isinstance(data, GroundTruth)
    assert (data.factor_names, data.factor_sizes) == (("side", "lift"), (2, 3))
    assert data.factor_values["lift"].tolist() == [0, 0.5, 1]
    factors = data.factors(np.arange(6))
    assert (data.observe(factors)[:, 0, 0, 0] == 100 * factors[:, 0] + 20 * factors[:, 1]).all()
    assert load(grid, subset={"side": ["right"]}).factor_sizes == (1, 3)


def test_table_that_covers_no_grid(grid):
    (grid / "left" / "1.png").unlink()
    rewrite(grid / "labels.csv", "left/1.png,left,0.5\n", "")
    data = open_folder(grid)
    assert not isinstance(data, GroundTruth)
    assert data.factor_names == ("side", "lift")
    assert data.factors([1]).tolist() == [[0, 2]]
    with pytest.raises(ValueError, match="are for a grid of factors"):
        load(grid, subset={"side": ["right"]})


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("left/1.png,left,0.5\n", "", "1 of 6 have none, first 'left/1.png'"),
        ("left/1.png", "left/9.png", "a missing image: 'left/9.png' in row 6"),
        ("left/1.png", "left/0.png", "Row 7 repeats 'left/0.png'"),
        ("left/1.png,left,0.5", "left/1.png,left", "needs 3 cells a row. Row 6: 2"),
        ("left/1.png,left,0.5", "left/1.png,left,", "Row 6: no 'lift'"),
        ("file,side,lift", "name,side,lift", "a column `file` .* Got 'name', 'side', 'lift'"),
        ("file,side,lift", "file,side,side", "different names of factors. Got side, side"),
        ("file,side,lift", "file,side,", "the name of a factor"),
        ("left/1.png,left,0.5", "left/1.png,left,nan", "'lift' needs numbers, without NaN"),
        ("left/1.png", '"left/1.png', "labels.csv' needs to be a table in UTF-8"),
    ],
)
def test_wrong_tables(grid, cache, old, new, message):
    rewrite(grid / "labels.csv", old, new)
    with pytest.raises(ValueError, match=message):
        open_folder(grid)
    rewrite(grid / "labels.csv", new or "file,side,lift\n", old or "file,side,lift\n")


def test_wrong_table_bytes(grid):
    for bad in (b"file,side\xff\n", b""):
        (grid / "labels.csv").write_bytes(bad)
        with pytest.raises(ValueError, match=r"labels\.csv' needs"):
            open_folder(grid)


def test_wrong_folder(tmp_path, cache):
    with pytest.raises(NotADirectoryError, match=r"needs to be a folder. Got '.*nowhere'"):
        open_folder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"at least one png, .* Got none in"):
        open_folder(tmp_path)
    with pytest.raises(ValueError, match=r"1 \(gray\) or 3 \(color\). Got 4"):
        open_folder(tmp_path, channels=4)
    with pytest.raises(ValueError, match=r"`image_size` must be an integer of at least 1. Got 0"):
        open_folder(tmp_path, image_size=0)


def test_mixed_sizes_need_a_size(tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    Image.new("L", (9, 8)).save(tmp_path / "b.png")
    with pytest.raises(ValueError, match=r"need `image_size`. Got 9 x 8 in '.*b.png' after 8 x 8"):
        open_folder(tmp_path, image_size=None)
    assert open_folder(tmp_path, image_size=8).image_shape == (8, 8, 3)


def test_a_broken_picture_leaves_no_cache_and_can_be_replaced(tmp_path, cache):
    Image.new("L", (8, 8), 5).save(tmp_path / "a.png")
    png = (tmp_path / "a.png").read_bytes()
    for broken in (png[: len(png) // 2], b"", b"\xff\xd8 no more", png[:-20] + b"x" * 20):
        (tmp_path / "torn.png").write_bytes(broken)
        with pytest.raises(ValueError, match=r"Cannot read '.*torn\.png' as an image"):
            open_folder(tmp_path)
        assert not list(cache.iterdir())
    (tmp_path / "torn.png").write_bytes(png)
    assert (open_folder(tmp_path, image_size=8).images([0, 1]) == 5).all()


def test_decompression_bombs(tmp_path, monkeypatch):
    Image.new("L", (100, 100)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ValueError, match=r"Cannot read '.*a\.png' as an image"):
        open_folder(tmp_path)


def test_cache_that_cannot_be_written(tmp_path, monkeypatch):
    Image.new("L", (8, 8), 5).save(tmp_path / "a.png")
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("KERAS_DISENT_CACHE", str(tmp_path / "file"))
    with pytest.raises(OSError, match=r"cache folder '.*file' cannot .* KERAS_DISENT_CACHE"):
        open_folder(tmp_path)


def test_kinds_of_factors_in_a_folder(grid):
    kinds = dict(zip(("side", "lift"), open_folder(grid).factor_kinds, strict=True))
    assert kinds == {"side": "categorical", "lift": "ordinal"}
    data = open_folder(grid, kinds={"lift": "continuous"})
    assert data.factor_kinds == ("categorical", "continuous")
    (grid / "labels.csv").unlink()
    with pytest.raises(ValueError, match=r"`kinds` needs factors.*has no labels. Got lift"):
        open_folder(grid, kinds={"lift": "continuous"})


def test_kinds_of_factors_in_a_file(tmp_path):
    images = np.zeros((30, 4, 4), "uint8")
    images[:, 0] = 255
    np.savez(tmp_path / "ages.npz", images=images, age=np.arange(30))
    assert open_file(tmp_path / "ages.npz").factor_kinds == ("ordinal",)
    assert load(tmp_path / "ages.npz", kinds={"age": "continuous"}).factor_kinds == ("continuous",)
    np.save(tmp_path / "plain.npy", images)
    with pytest.raises(ValueError, match=r"'plain' has no labels. Got age"):
        open_file(tmp_path / "plain.npy", kinds={"age": "continuous"})
