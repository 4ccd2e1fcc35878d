"""Lists of Pillow images and arrays: the same pixels as their files."""

import io

import numpy as np
import pytest
from PIL import Image

from keras_disent.datasets import Images, from_examples, labeled, read_image

RNG = np.random.default_rng(6)
COLOR = RNG.integers(0, 256, (16, 12, 3), dtype=np.uint8)
DEEP = RNG.integers(4096, 65_536, (16, 12)).astype("uint16")


def color(mode):
    return Image.fromarray(COLOR).convert(mode)


def turned():
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(COLOR).save(file, "PNG", exif=exif)
    return Image.open(file)


def rgb(mode):
    return np.asarray(color(mode).convert("RGB"))


def gray(values):
    return np.rint(values)[..., None]


BIG = Image.frombytes("I;16B", (12, 16), DEEP.astype(">u2").tobytes())
ALPHA = Image.fromarray(np.dstack([COLOR, np.full((16, 12), 0, np.uint8)]))
# name: (image, pixel_range, expected)
IMAGES = {
    "palette": (color("P"), None, rgb("P")),
    "CMYK": (color("CMYK"), None, rgb("CMYK")),
    "HSV": (color("HSV"), None, rgb("HSV")),
    "bits": (color("1"), None, rgb("1")[..., :1]),
    "gray": (color("L"), None, rgb("L")[..., :1]),
    "gray with a range": (color("L"), (0, 85), gray(np.clip(rgb("L")[..., 0] * 3.0, 0, 255))),
    "alpha": (ALPHA, None, np.full((16, 12, 3), 255)),
    "rotated": (turned(), None, np.rot90(COLOR, -1)),
    "16 bits": (Image.fromarray(DEEP), None, gray(DEEP / 257)),
    "16 bits, big-endian": (BIG, None, gray(DEEP / 257)),
    "12 bits": (Image.fromarray(DEEP >> 4), (0, 4095), gray((DEEP >> 4) * (255 / 4095))),
    "integers": (Image.fromarray(DEEP.astype("i4")), (0, 65_535), gray(DEEP / 257)),
    "floats": (Image.fromarray((DEEP / 65_535).astype("f4")), None, gray(DEEP / 257)),
}


@pytest.mark.parametrize("case", IMAGES)
def test_lists_of_pillow_images(case):
    image, pixel_range, expected = IMAGES[case]
    options = {"pixel_range": pixel_range}
    column = np.array([image, None], object)[:1]
    for data in (
        Images([image, image], **options),
        Images((image,), **options),
        Images(column, **options),
        labeled([image, image], {"side": [0, 1]}, **options),
        from_examples([image, image], **options),
        from_examples([(image, 0), (image, 1)], **options),
    ):
        np.testing.assert_array_equal(data.images([0])[0], expected)
    channels = expected.shape[2]
    found = read_image(image, image_size=None, channels=channels, **options)
    np.testing.assert_array_equal(found, expected)


def test_columns_of_pillow_images():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"image": [color("P"), color("CMYK")]})
    found = Images(frame["image"]).images([0, 1])
    np.testing.assert_array_equal(found, [rgb("P"), rgb("CMYK")])


def test_lists_that_are_refused():
    with pytest.raises(
        TypeError, match=r"pictures of equal size: pass from_examples\(images, imag"
    ):
        Images([color("L"), color("L").crop((0, 0, 4, 4))])
    dark = Image.fromarray((DEEP // 700).astype("uint16"))
    for take in (Images, from_examples):
        with pytest.raises(ValueError, match=r"no value above 93 .*pass pixel_range=\(0, 255\)"):
            take([dark, dark])
        found = take([dark], pixel_range=(0, 255)).images([0])[0, ..., 0]
        np.testing.assert_array_equal(found, DEEP // 700)


def reference(array, **options):
    """Return a Pillow image of an array with alpha, as `from_examples` takes it."""
    image = Image.fromarray(array)
    return from_examples([image], **options).images([0])[0]


@pytest.mark.parametrize("bands", [1, 2, 3, 4])
@pytest.mark.parametrize(
    "options",
    [
        {"image_size": 8},
        {"channels": 3},
        {"channels": 1},
        {"crop": 4},
        {"background": "red", "image_size": 8},
        {"channels": 3, "background": "red", "image_size": (4, 8), "fit": "pad"},
    ],
)
def test_arrays_with_alpha_follow_the_settings(bands, options):
    array = RNG.integers(0, 256, (16, 12, bands), dtype=np.uint8)
    expected = reference(array[..., 0] if bands == 1 else array, **options)
    found = from_examples([array], **options).images([0])[0]
    np.testing.assert_array_equal(found, expected)
    first = from_examples([array.transpose(2, 0, 1)], data_format="channels_first", **options)
    np.testing.assert_array_equal(first.images([0])[0], expected)


@pytest.mark.parametrize("bands", [1, 2, 3, 4])
def test_arrays_without_settings_stay_as_they_are(bands):
    array = RNG.integers(0, 256, (16, 12, bands), dtype=np.uint8)
    np.testing.assert_array_equal(from_examples([array]).images([0])[0], array)


def test_a_range_applies_once():
    gray_12 = (DEEP >> 4)[..., None]
    data = from_examples([gray_12], pixel_range=(0, 4095), image_size=(16, 12))
    np.testing.assert_array_equal(data.images([0])[0], np.rint(gray_12 * (255 / 4095)))


def test_dark_arrays_are_told():
    with pytest.warns(
        UserWarning, match=r"no value above 4000 .*pass pixel_range=\(0, 4095\)"
    ) as w:
        from_examples([np.full((8, 8, 1), 4000, "uint16")] * 2)
    assert w[0].filename == __file__
