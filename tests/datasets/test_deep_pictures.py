"""Numbers in picture files: what Pillow keeps, changes or refuses of more than 8 bits."""

import io

import numpy as np
import pytest
from PIL import Image, ImageFile, ImageSequence
from support.odd_pictures import gray_png, linear_gray_profile, png_of_16_bits, tiff

from keras_disent.datasets import Images, UnreadablePicture, from_examples, open_folder, read_image

RNG = np.random.default_rng(5)
DEEP = RNG.integers(4096, 65_536, (6, 5, 4)).astype("uint16")
GRAY = DEEP[..., :1]
COLOR = DEEP[..., :3]


def scaled(numbers, black=0, white=65_535):
    values = (numbers.astype(float) - black) * (255 / (white - black))
    return np.rint(np.clip(values, 0, 255))


def over_white(numbers):
    alpha = np.rint(numbers[..., 3:] / 257) / 255
    return scaled(numbers[..., :3]) * alpha + 255 * (1 - alpha)


def premultiplied(numbers):
    floats = numbers.astype(float)
    floats[..., :3] *= floats[..., 3:] / 65_535
    return np.rint(floats).astype("uint16")


INT8 = np.array([[[-128], [-1], [0], [127]]], "int8")
INT16 = np.array([[[-300], [-1], [7], [301]]], "int16")
INT32 = np.array([[[-(2**31)], [0], [2**31 - 1]]], "int32")
UINT32 = np.array([[[0], [1 << 30], [3 << 30], [(1 << 32) - 1]]], "uint32")
BYTES = RNG.integers(0, 256, (6, 5, 4), dtype=np.uint8)
WHITE_IS_ZERO = np.array([[[0], [50], [100], [255]]], "uint8")
TWELVE = DEEP >> 4

# name: (numbers, options of the file, pixel_range, expected bytes)
FILES = {
    "gray": (GRAY, {"photometric": 1}, None, scaled(GRAY)),
    "gray plane": (GRAY, {"photometric": 1, "planes": True}, None, scaled(GRAY)),
    "color": (COLOR, {}, None, scaled(COLOR)),
    "color planes": (COLOR, {"planes": True}, None, scaled(COLOR)),
    "planes of 12 bits": (TWELVE[..., :3], {"planes": True}, (0, 4095), None),
    "alpha": (DEEP, {}, None, over_white(DEEP)),
    "alpha plane": (DEEP, {"planes": True}, None, over_white(DEEP)),
    "infrared": (DEEP, {"extra": 0}, None, scaled(COLOR)),
    "infrared plane": (DEEP, {"extra": 0, "planes": True}, None, scaled(COLOR)),
    "infrared of 12 bits": (TWELVE, {"extra": 0}, (0, 4095), None),
    "multiplied alpha": (premultiplied(DEEP), {"extra": 1}, None, over_white(DEEP)),
    "0 is white": (GRAY, {"photometric": 0}, None, 255 - scaled(GRAY)),
    "12 bits, 0 is white": (TWELVE[..., :1], {"photometric": 0}, (0, 4095), None),
    "bytes, 0 is white": (WHITE_IS_ZERO, {"photometric": 0}, None, 255 - WHITE_IS_ZERO),
    "bytes, 0 is white, range": (WHITE_IS_ZERO, {"photometric": 0}, (0, 85), None),
    "int8": (INT8, {"photometric": 1}, (-128, 127), None),
    "int16": (INT16, {"photometric": 1}, (-1000, 2000), None),
    "int32": (INT32, {"photometric": 1}, (-(2**31), 2**31 - 1), None),
    "uint32": (UINT32, {"photometric": 1}, (0, (1 << 32) - 1), None),
    "floats": (BYTES[..., :1] / np.float32(255), {"photometric": 1}, None, BYTES[..., :1]),
    "plane of floats": (
        BYTES[..., :1] / np.float32(255),
        {"photometric": 1, "planes": True},
        None,
        BYTES[..., :1],
    ),
    "bytes": (BYTES[..., :3], {}, None, BYTES[..., :3]),
    "planes of bytes": (BYTES[..., :3], {"planes": True}, None, BYTES[..., :3]),
    "bytes with a range": (BYTES[..., :3], {}, (10, 200), None),
    "bytes with a range beyond": (BYTES[..., :3], {}, (0, 4095), BYTES[..., :3]),
}


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("case", FILES)
def test_tiff_files_give_their_numbers(case, deflate, order, tmp_path, monkeypatch):
    numbers, options, pixel_range, expected = FILES[case]
    options = {"photometric": 2, "order": order, "deflate": deflate, **options}
    content = tiff(numbers, **options)
    if not readable(content):
        assert order == ">"
        with pytest.raises(UnreadablePicture, match="a TIFF file of a kind that Pillow does not"):
            read_image(content)
        return
    if expected is None:
        expected = scaled(numbers[..., :3], *pixel_range)
        expected = 255 - expected if options["photometric"] == 0 else expected
    found = read_image(content, image_size=None, pixel_range=pixel_range)
    np.testing.assert_array_equal(found, np.broadcast_to(np.rint(expected), found.shape))
    image = Image.open(io.BytesIO(content))
    opened = read_image(image, image_size=None, pixel_range=pixel_range)
    np.testing.assert_array_equal(opened, found)
    (tmp_path / "a.tif").write_bytes(content)
    monkeypatch.setenv("KERAS_DISENT_CACHE", str(tmp_path / "cache"))
    data = open_folder(tmp_path, image_size=None, pixel_range=pixel_range)
    np.testing.assert_array_equal(data.images([0])[0], found)
    is_color = numbers.dtype == np.uint16 and numbers.shape[2] > 1
    loaded, reason = read_loaded(image, pixel_range)
    if loaded is None:  # Pillow has changed its numbers, or cannot read them
        assert "its path or bytes instead" in reason or "unknown raw mode" in reason
        assert is_color or order == ">" or "plane" in case
    else:
        assert np.abs(loaded - found).max() <= (2 if is_color else 0)  # 8 of 16 bits


def read_loaded(image, pixel_range):
    try:
        image.load()
        return read_image(image, image_size=None, pixel_range=pixel_range).astype(int), ""
    except ValueError as error:
        return None, str(error)


def readable(content):
    try:
        Image.open(io.BytesIO(content))
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("numbers", "options", "message"),
    [
        (INT8, {}, r"its integers of 8 bits with a sign go from -128 to 127: pass pixel_range="),
        (INT16, {}, r"its integers of 16 bits with a sign go from -300 to 301: pass"),
        (UINT32, {}, r"its integers of 32 bits go from 0 to 4294967295: pass pixel_range="),
        (np.zeros((4, 4, 1)), {}, r"not open \(1 band of floats of 64 bits\): save it as a PNG"),
        (np.zeros((4, 4, 3), "f4"), {"photometric": 2}, r"\(3 bands of floats of 32 bits\)"),
        (np.zeros((4, 4, 5), "u1"), {}, r"\(5 bands of .*\): save one or three of its bands"),
        (np.zeros((4, 4, 2), "u2"), {}, r"\(2 bands of integers of 16 bits\)"),
        (UINT32, {"order": ">"}, r"\(1 band of integers of 32 bits, the highest byte first\)"),
    ],
)  # fmt: skip
def test_tiff_files_are_refused_for_what_they_are(numbers, options, message, tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(numbers, **{"photometric": 1, **options}))
    with pytest.raises(UnreadablePicture, match=rf"a\.tif' as a picture: .*{message}"):
        read_image(path)


def test_a_range_does_not_apply_to_multiplied_alpha():
    with pytest.raises(UnreadablePicture, match=r"ExtraSamples 1\), so that `pixel_range` cannot"):
        read_image(tiff(DEEP, 2, extra=1), pixel_range=(0, 4095))


@pytest.mark.parametrize("kind", ["png", "tif", "array"])
@pytest.mark.parametrize("bands", [1, 3])
@pytest.mark.parametrize(
    ("highest", "cure", "is_error"),
    [(1, 1, True), (100, 255, True), (300, 1023, True), (1000, 1023, False), (4000, 4095, False)],
)
def test_16_bits_with_small_numbers_are_told(
    kind, bands, highest, cure, is_error, tmp_path, monkeypatch, recwarn
):
    monkeypatch.setenv("KERAS_DISENT_CACHE", str(tmp_path / "cache"))
    numbers = np.zeros((6, 5, bands), "uint16")
    numbers[2, 3] = highest
    write = {"png": png_of_16_bits, "tif": lambda n: tiff(n, 2 if bands == 3 else 1)}
    source = numbers
    if kind != "array":
        source = tmp_path / f"a.{kind}"
        source.write_bytes(write[kind](numbers))
    ways = [lambda **o: read_image(source, image_size=None, channels=1, **o)]
    ways += [lambda **o: read_image([source], image_size=None, channels=1, **o)[0]]
    ways += [lambda **o: from_examples([source], channels=1, **o).images([0])[0]]
    if kind == "array":
        ways += [lambda **o: Images([source], **o).images([0])[0, ..., :1]]
    else:
        ways += [
            lambda **o: open_folder(tmp_path, image_size=None, channels=1, **o).images([0])[0],
            lambda **o: open_folder(tmp_path, image_size=3, channels=1, **o).images([0])[0],
        ]
    for number, way in enumerate(ways):
        if is_error:
            words = rf"no value above {highest} of 65,535.* pass pixel_range=\(0, {cure}\)"
            with pytest.raises(ValueError, match=words):
                way()
        else:
            with pytest.warns(UserWarning, match="nearly black"):
                assert way().max() <= highest // 257 + 1
        recwarn.clear()
        if number < 4:
            found = way(pixel_range=(0, cure))
            assert found.max() == np.rint(highest * 255 / cure)
            recwarn.clear()
            assert way(pixel_range=(0, 65_535)).max() == round(highest / 257)


def test_one_dark_picture_of_16_bits_in_a_folder_is_fine(tmp_path, monkeypatch, recwarn):
    monkeypatch.setenv("KERAS_DISENT_CACHE", str(tmp_path / "cache"))
    for name, numbers in {"a": GRAY // 65_535 + 9, "b": GRAY, "c": GRAY * 0}.items():
        (tmp_path / f"{name}.png").write_bytes(png_of_16_bits(numbers.astype("uint16")))
    images = open_folder(tmp_path, image_size=None, channels=1).images([0, 1, 2])
    np.testing.assert_array_equal(images, [GRAY * 0, scaled(GRAY), GRAY * 0])
    assert not recwarn.list
    assert read_image(tmp_path / "c.png").max() == 0  # of nothing but zeros


def test_color_masks_of_small_numbers(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_DISENT_CACHE", str(tmp_path / "cache"))
    bits = RNG.integers(0, 2, (6, 5, 3), dtype=np.uint8)
    Image.fromarray(bits).save(tmp_path / "a.png")
    with (
        pytest.warns(UserWarning, match="nearly black"),
        pytest.raises(ValueError, match=r"pass pixel_range=\(0, 1\)"),
    ):
        open_folder(tmp_path, image_size=None)
    data = open_folder(tmp_path, image_size=None, pixel_range=(0, 1))
    np.testing.assert_array_equal(data.images([0])[0], bits * 255)


ARRAYS = {
    "12 bits": (TWELVE[..., :3], (0, 4095)),
    "gray of 12 bits": (TWELVE[..., 0], (0, 4095)),
    "bytes": (BYTES[..., :3], (0, 85)),
    "gray bytes": (BYTES[..., :1], (0, 85)),
    "floats": (BYTES[..., :3] / 127.5 - 1, (-1, 1)),
    "gray floats": (BYTES[..., 0] / 127.5 - 1, (-1, 1)),
    "float16": ((BYTES[..., :3] / 255).astype("f2"), (0, 1)),
    "int64": (BYTES[..., 0].astype("i8"), (0, 255)),
    "uint64": (BYTES[..., :3].astype("u8"), (0, 255)),
    "big-endian": (TWELVE[..., :3].astype(">u2"), (0, 4095)),
    "bool": (BYTES[..., 0] > 100, None),
    "bool color": (BYTES[..., :3] > 100, None),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_arrays_follow_the_range(case):
    numbers, pixel_range = ARRAYS[case]
    expected = scaled(numbers, *(pixel_range or (0, 1)))
    expected = np.broadcast_to(expected.reshape(6, 5, -1), (6, 5, 3))
    found = read_image(numbers, image_size=None, pixel_range=pixel_range).astype(int)
    assert np.abs(found - expected).max() <= (1 if case == "float16" else 0)
    channels = 1 if numbers.ndim == 2 or numbers.shape[2] == 1 else 3
    for data in (
        from_examples([numbers], pixel_range=pixel_range),
        Images(numbers[None], pixel_range=pixel_range),
        from_examples([numbers], pixel_range=pixel_range, image_size=(6, 5)),
    ):
        np.testing.assert_array_equal(data.images([0])[0], found[..., :channels])


@pytest.mark.parametrize(
    ("array", "error", "message"),
    [
        (np.zeros((8, 8), "i8"), TypeError, r"A picture needs uint8.* Got int64: pass pixel_range"),
        (np.zeros((8, 8, 3), "u8"), TypeError, r"Got uint64: pass pixel_range"),
        (np.zeros((8, 8), complex), TypeError, "A picture needs numbers. Got complex128"),
        (np.full((8, 8, 3), -0.5), ValueError, r"floats from 0 to 1.*pass pixel_range=\(-1, 1\)"),
        (np.zeros((8, 8, 5)), TypeError, r"has 1 to 4 channels last. Got shape \(8, 8, 5\)"),
    ],
)  # fmt: skip
def test_arrays_without_a_rule_are_refused(array, error, message):
    with pytest.raises(error, match=message):
        read_image(array)


@pytest.mark.parametrize(("bits", "key"), [(2, 2), (4, 5)])
def test_transparent_grays_of_few_bits(bits, key):
    values = np.arange(1 << bits)
    packed = np.packbits((values[:, None] >> np.arange(bits)[::-1]) & 1)
    content = gray_png([packed.tobytes()], len(values), bits, key)
    expected = np.rint(values * 255 / values[-1])[None, :, None].repeat(3, 2)
    expected[0, key] = 255, 0, 0
    found = read_image(content, image_size=None, background="red")
    np.testing.assert_array_equal(found, expected)
    opened = read_image(Image.open(io.BytesIO(content)), image_size=None, background="red")
    np.testing.assert_array_equal(opened, expected)


@pytest.mark.parametrize("format_", ["TIFF", "GIF", "PNG", "WEBP"])
def test_frames_of_a_pillow_image(format_):
    colors = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    first, *others = (Image.new("RGB", (4, 4), color) for color in colors)
    file = io.BytesIO()
    options = {"lossless": True} if format_ == "WEBP" else {}
    first.save(file, format_, save_all=True, append_images=others, **options)
    image = Image.open(file)
    frames = [read_image(frame, image_size=None) for frame in ImageSequence.Iterator(image)]
    assert [tuple(frame[0, 0].tolist()) for frame in frames] == colors
    image.seek(2)
    assert tuple(read_image(image, image_size=None)[0, 0].tolist()) == colors[2]
    assert image.tell() == 2


def test_pages_of_deep_color(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_DISENT_CACHE", str(tmp_path / "cache"))
    pages = [Image.fromarray(GRAY[..., 0]), Image.fromarray(GRAY[::-1, :, 0])]
    pages[0].save(tmp_path / "a.png", "TIFF", save_all=True, append_images=pages[1:])
    data = open_folder(tmp_path, image_size=None, channels=1, pages="all")
    np.testing.assert_array_equal(data.images([0, 1]), [scaled(GRAY), scaled(GRAY)[::-1]])
    assert data.files == ("a.png#0", "a.png#1")


def test_options_of_pillow_do_not_change_pixels(monkeypatch):
    file = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(file, "JPEG")
    half = file.getvalue()[: len(file.getvalue()) // 2]
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(UnreadablePicture):
        read_image(half)
    assert ImageFile.LOAD_TRUNCATED_IMAGES
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(UnreadablePicture, match="more than 20 pixels, twice PIL"):
        read_image(file.getvalue())


@pytest.mark.parametrize("format_", ["PNG", "TIFF"])
@pytest.mark.parametrize("kind", ["bytes", "bytes with a range", "16 bits", "floats", "alpha"])
@pytest.mark.parametrize("channels", [1, 3])
def test_profiles_of_gray(kind, format_, channels):
    grays = np.arange(256, dtype=np.uint8).reshape(16, 16)
    images = {
        "16 bits": Image.fromarray(grays.astype("uint16") * 257),
        "floats": Image.fromarray(grays / np.float32(255)),
        "alpha": Image.merge("LA", [Image.fromarray(grays), Image.new("L", (16, 16), 255)]),
    }
    image = images.get(kind, Image.fromarray(grays))
    if kind == "floats" and format_ == "PNG":
        return
    file = io.BytesIO()
    image.save(file, format_, icc_profile=linear_gray_profile())
    light = grays / 255
    curve = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    pixel_range = (0, 255) if kind == "bytes with a range" else None
    found = read_image(file.getvalue(), image_size=None, channels=channels, pixel_range=pixel_range)
    np.testing.assert_allclose(found, np.rint(255 * curve)[..., None].repeat(channels, 2), atol=1)


def test_gray_with_alpha_in_it():
    gray, alpha = np.array([[0, 40, 100]], np.uint8), np.array([[0, 100, 255]], np.uint8)
    content = tiff(np.stack([gray, alpha], axis=2), 1, extra=1)
    found = read_image(content, image_size=None, channels=1, background="black")
    np.testing.assert_allclose(found[..., 0], gray, atol=1)
