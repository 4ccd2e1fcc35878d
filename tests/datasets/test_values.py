"""The rule of pixel values: what becomes which byte, and what is refused with its cure."""

import re
import tracemalloc

import h5py
import numpy as np
import pytest
from PIL import Image

from keras_disent.datasets import Images, from_examples, labeled, open_file

RNG = np.random.default_rng(0)
BYTES = RNG.integers(0, 256, (9, 6, 5, 3), dtype=np.uint8)
RULES = {
    "bytes": (BYTES, {}),
    "not contiguous": (BYTES[::-1, :, ::-1][::-1, :, ::-1], {}),
    "Fortran order": (np.asfortranarray(BYTES), {}),
    "floats": (BYTES / 255, {}),
    "float16": ((BYTES / 255).astype("f2"), {}),
    "big-endian floats": ((BYTES / 255).astype(">f4"), {}),
    "a rounding error outside": (BYTES / 255 * 1.0001 - 1e-5, {}),
    "16 bits": (BYTES.astype("uint16") * 257, {}),
    "16 bits, big-endian": (BYTES.astype(">u2") * 257, {}),
    "from -1 to 1": (BYTES / 127.5 - 1, {"pixel_range": (-1, 1)}),
    "0 to 255 as floats": (BYTES.astype("f4"), {"pixel_range": (0, 255)}),
    "0 to 255 as integers": (BYTES.astype("i8"), {"pixel_range": (0, 255)}),
    "12 bits": ((BYTES.astype("f8") * 4095 / 255).round().astype("u2"), {"pixel_range": (0, 4095)}),
    "large integers": (BYTES.astype("i8") * 10**9, {"pixel_range": (0, 255 * 10**9)}),
    "channels first": (np.moveaxis(BYTES, -1, 1), {"data_format": "channels_first"}),
    "channels last": (BYTES, {"data_format": "channels_last"}),
    "a list": (list(BYTES), {}),
    "objects": (np.array([None, *BYTES], object)[1:], {}),
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.filterwarnings("error")
def test_values_become_bytes(rule):
    images, options = RULES[rule]
    data = Images(images, **options)
    assert data.image_shape == (6, 5, 3)
    found = data.images(np.arange(9)).astype(int)
    assert np.abs(found - BYTES).max() <= (1 if "16" in rule or "12" in rule else 0)
    both = labeled(images, {"n": np.arange(9) % 2}, **options)
    np.testing.assert_array_equal(both.images([8, 0]), data.images([8, 0]))


def test_truth_values_and_clipping():
    white = np.array([[[False, True]]])
    assert Images(white).images([0]).ravel().tolist() == [0, 255]
    clipped = Images(np.array([[[-9, 0, 1, 5, 90]]]), pixel_range=(0, 2)).images([0]).ravel()
    assert clipped.tolist() == [0, 0, 128, 255, 255]
    bits = Images(np.array([[[0, 1]]], np.uint8), pixel_range=(0, 1))
    assert bits.images([0]).ravel().tolist() == [0, 255]


FLOATS = BYTES / 255
REFUSED = {
    "from -1 to 1": (FLOATS * 2 - 1, {}, ValueError, "pass pixel_range=(-1, 1)"),
    "0 to 255": (FLOATS * 255, {}, ValueError, "pass pixel_range=(0, 255)"),
    "0 to 4095": (FLOATS * 4095, {}, ValueError, "pass pixel_range=(0, 4095)"),
    "anything": (FLOATS * 1e6, {}, ValueError, "pass pixel_range=(black, white)"),
    "integers": (
        BYTES.astype(int),
        {},
        TypeError,
        "pass pixel_range=(black, white), such as (0, 2",
    ),
    "bits": (BYTES % 2, {}, ValueError, "pass pixel_range=(0, 1)"),
    "complex": (BYTES * 1j, {}, TypeError, "needs numbers"),
    "masked": (np.ma.array(FLOATS), {}, TypeError, "pass images.filled(0)"),
    "a path": ("faces.npy", {}, TypeError, "pass open_file('faces.npy')"),
    "bytes": (b"\x89PNG", {}, TypeError, "Got one picture: pass from_examples([picture])"),
    "a picture": (Image.new("L", (9, 9)), {}, TypeError, "read_image(picture)"),
    "one image": (np.zeros((28, 28, 3)), {}, ValueError, "looks like one image: pass images[None]"),
    "paths": (["a.png", "b.png"], {}, TypeError, "pass from_examples(images)"),
    "an object": (object(), {}, TypeError, "Got object: pass from_examples(images)"),
    "8 of 16 bits": (BYTES.astype("u2"), {}, ValueError, "pass pixel_range=(0, 255) if that is"),
    "texts": (np.full((2, 4, 4), "a"), {}, TypeError, "needs numbers"),
    "shapes": ([BYTES[0], BYTES[0, :4]], {}, TypeError, "open their folder"),
    "channels first": (np.moveaxis(BYTES, -1, 1), {}, ValueError, "data_format='channels_first'"),
    "gray first": (BYTES[:, None, :, :, 0], {}, ValueError, "looks like 1 channels first"),
    "format": (BYTES, {"data_format": "NCHW"}, ValueError, "Got 'NCHW'"),
    "three axes": (BYTES[..., 0], {"data_format": "channels_first"}, ValueError, "four axes"),
    "range": (FLOATS, {"pixel_range": (1, 0)}, ValueError, "`pixel_range` is the value of black"),
    "one number": (FLOATS, {"pixel_range": 255}, ValueError, "Got 255."),
    "infinite": (FLOATS + np.inf, {"pixel_range": (0, 1)}, ValueError, "needs finite floats"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_everything_else_is_refused_with_a_cure(case):
    images, options, error, message = REFUSED[case]
    with pytest.raises(error, match=re.escape(message)) as caught:
        Images(images, **options)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("shape", [(2, 3, 64, 3), (2, 5, 6, 64), (2, 64, 64), (4, 3, 3, 4)])
def test_layouts_that_are_right_or_unclear_are_channels_last(shape):
    assert Images(np.full(shape, 7, "uint8")).image_shape == (*shape[1:3], (*shape, 1)[3])


def test_a_broken_value_names_its_image():
    images = np.zeros((2000, 32, 32, 1), "float32")
    images[900, 3, 3] = np.nan
    with pytest.raises(ValueError, match=r"without NaN.*image 900\."):
        Images(images)
    images[900, 3, 3], images[901] = 0, -0.2
    with pytest.raises(ValueError, match=r"Got values from -0.2.* in image 901: pass"):
        Images(images)


def test_dark_images_of_16_bits_are_told():
    images = np.full((2, 8, 8), 700, "uint16")
    with pytest.warns(
        UserWarning, match=r"no value above 700 .*: pass pixel_range=\(0, 1023\)"
    ) as w:
        data = Images(images)
    assert w[0].filename == __file__
    assert data.images([0]).max() == 3
    assert Images(images, pixel_range=(0, 1023)).images([0]).max() == 174


DARK = {
    "floats": (BYTES / 51_000, {}),
    "a range": (BYTES.astype("i8"), {"pixel_range": (0, 51_000)}),
    "16 bits": (BYTES.astype("u2"), {"pixel_range": (0, 65_535)}),
    "bytes": (BYTES % 2, {"pixel_range": (0, 255)}),
}


@pytest.mark.parametrize("case", DARK)
def test_dark_images_that_are_right_are_taken_everywhere(case, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_DISENT_CACHE", str(tmp_path / "cache"))
    images, options = DARK[case]
    expected = Images(images, **options).images(range(9))
    assert expected.max() == 1
    np.save(tmp_path / "dark.npy", images)
    for data in (
        labeled(images, {"n": range(9)}, **options),
        labeled(images, {"n": [1, 1, *range(7)]}, **options),
        open_file(tmp_path / "dark.npy", **options),
        from_examples(list(images), pixel_range=options.get("pixel_range", (0, 1))),
    ):
        np.testing.assert_array_equal(data.images(range(9)), expected)


def test_black_images_of_16_bits_are_taken():
    assert Images(np.zeros((2, 4, 4), "uint16")).images([0]).max() == 0


# -- on the disk ----------------------------------------------------------------------------------

SHAPE = (4000, 40, 40, 1)  # 25.6 MB of float32


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """Write float images into files, and return their folder and their bytes."""
    monkeypatch.setenv("KERAS_DISENT_CACHE", str(tmp_path / "cache"))
    pixels = np.random.default_rng(1).integers(0, 256, SHAPE, dtype=np.uint8)
    floats = (pixels / 255).astype("float32")
    np.save(tmp_path / "größe 1.npy", floats)
    np.savez(tmp_path / "plain.npz", images=floats)
    with open(tmp_path / "a b ü.NPZ", "wb") as file:
        np.savez_compressed(file, images=floats)
    with h5py.File(tmp_path / "images.h5", "w") as file:
        file.create_dataset("images", data=floats, chunks=(50, 40, 40, 1), compression="lzf")
    return tmp_path, pixels


def peak(function):
    tracemalloc.start()
    try:
        return function(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("file", ["größe 1.npy", "plain.npz", "a b ü.NPZ", "images.h5"])
def test_files_of_floats_are_converted_once_in_bounded_memory(stored, file):
    folder, pixels = stored
    open_file(folder / file).images([0])
    for cached in (folder / "cache").iterdir():
        cached.unlink()
    indices = np.array([1999, 0, 7, 7, 1000])
    for _ in range(2):
        data, used = peak(lambda: open_file(folder / file))
        assert used < 13e6
        np.testing.assert_array_equal(data.images(indices), pixels[indices])
        (cached,) = (folder / "cache").iterdir()
        assert cached.stat().st_size < 1.01 * pixels.nbytes
    time = cached.stat().st_mtime_ns
    open_file(folder / file)
    assert cached.stat().st_mtime_ns == time


@pytest.mark.parametrize("kind", ["memory map", "h5py"])
def test_lazy_arrays_stay_on_the_disk(stored, kind):
    folder, pixels = stored
    indices = np.array([1999, 0, 7, 7, 1000])
    if kind == "h5py":
        with h5py.File(folder / "images.h5") as file:
            data, used = peak(lambda: Images(file["images"]))
            found = data.images(indices)
    else:
        rows = np.load(folder / "größe 1.npy", mmap_mode="r")
        data, used = peak(lambda: Images(rows))
        found = data.images(indices)
    assert used < 13e6
    np.testing.assert_array_equal(found, pixels[indices])
    assert not (folder / "cache").exists()


@pytest.mark.parametrize("content", [BYTES % 2, BYTES.astype("i8")])
def test_errors_of_files_name_them(tmp_path, content):
    np.save(tmp_path / "mask.npy", content)
    with pytest.raises((TypeError, ValueError), match=r"mask\.npy'.* pass pixel_range="):
        open_file(tmp_path / "mask.npy")


def test_a_broken_file_of_floats_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_DISENT_CACHE", str(tmp_path / "cache"))
    floats = np.zeros((50, 8, 8), "float32")
    floats[33, 1, 1] = np.nan
    np.save(tmp_path / "a.npy", floats)
    with pytest.raises(ValueError, match=r"a.npy': `images` needs .* first in image 33"):
        open_file(tmp_path / "a.npy")
    assert not list((tmp_path / "cache").iterdir())


def test_arrays_in_archives(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_DISENT_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "a.npz"
    np.savez(path, x_train=BYTES, y=np.arange(9), names=np.array(list("abcabcabc")))
    data = open_file(path)
    assert data.factor_names == ("y", "names")
    np.testing.assert_array_equal(data.images(range(9)), BYTES)
    np.savez(path, x_train=BYTES, x_test=BYTES[:2], y=np.arange(9))
    with pytest.raises(ValueError, match=r"needs an array 'images'.*: pass images='x_train'"):
        open_file(path)
    np.testing.assert_array_equal(open_file(path, images="x_test").images([1]), BYTES[[1]])
    with pytest.raises(ValueError, match=r"'nothing'"):
        open_file(path, images="nothing")
    np.savez(path, images=BYTES, names=np.array(list("abcabcabc"), object))
    with pytest.raises(ValueError, match=r"'names': save texts as np.array\(texts, dtype=str\)"):
        open_file(path)
    assert open_file(path, labels={}).factor_names == ()
    np.savez(path, images=np.moveaxis(BYTES, -1, 1))
    with pytest.raises(ValueError, match=r"data_format='channels_first'"):
        open_file(path)
    turned = open_file(path, data_format="channels_first")
    np.testing.assert_array_equal(turned.images(range(9)), BYTES)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["faces"] = BYTES
        file["name"] = ["a", "b", "c"] * 3
        file["groups/age"] = np.arange(9.0)
    data = open_file(tmp_path / "a.h5", kinds={"groups/age": "continuous"})
    assert set(data.factor_names) == {"name", "groups/age"}
    assert data.factor_kinds[data.factor_names.index("groups/age")] == "continuous"
