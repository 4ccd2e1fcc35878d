"""Pictures: what is decoded to which pixels, and what is refused in one line."""

import base64
import io
import os
import subprocess
import threading
import warnings

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps
from support import odd_pictures

from keras_disent.datasets import (
    PictureSettings,
    Sprites,
    UnreadablePicture,
    open_folder,
    read_image,
)
from keras_disent.datasets.pictures import decode

SAME = PictureSettings(image_size=None)
GRAY = PictureSettings(image_size=None, channels=1)


def stored(image, format="PNG", **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd")
    return folder, *odd_pictures.write(folder)


@pytest.fixture(autouse=True)
def no_other_program(monkeypatch):
    """Fail if a picture starts another program, as PostScript does in Pillow."""

    def refuse(*arguments, **options):
        raise AssertionError(f"another program: {arguments}")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    monkeypatch.setattr(os, "system", refuse)


def test_paths_bytes_files_and_pillow_images_give_equal_pixels(odd):
    _, good, broken = odd
    assert len(good) + len(broken) == 200
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for path in good:
            found = read_image(path, image_size=8)
            assert (found.shape, found.dtype) == ((8, 8, 3), np.uint8)
            np.testing.assert_array_equal(read_image(path.read_bytes(), image_size=8), found)
            with open(path, "rb") as file:
                np.testing.assert_array_equal(read_image(file, image_size=8), found)
            with Image.open(path) as image:
                np.testing.assert_array_equal(read_image(image, image_size=8), found)
            if path.suffix == ".jpeg":
                continue  # a JPEG is decoded at a smaller size, unless it has been read
            with Image.open(io.BytesIO(path.read_bytes())) as image:
                image.load()  # Pillow itself forgets the orientation of some TIFF files by path
                np.testing.assert_array_equal(read_image(image, image_size=8), found)


def test_broken_pictures_are_refused_in_one_line(odd):
    _, _, broken = odd
    for path in broken:
        for source in (path, path.read_bytes()):
            with pytest.raises(
                UnreadablePicture, match=r"^Cannot read .* as a picture: "
            ) as caught:
                read_image(source)
            text = str(caught.value)
            assert len(text.splitlines()) == 1
            assert len(text) < 400
            assert (path.name in text) == (source is path)


def test_a_folder_and_the_server_see_the_same_pixels(odd, tmp_path, monkeypatch, capsys):
    from keras_disent.serving.requests import check_request

    monkeypatch.setenv("KERAS_DISENT_CACHE", str(tmp_path))
    folder, good, broken = odd
    data = open_folder(folder, image_size=8, on_error="skip")
    assert capsys.readouterr().err == f"{len(good)} pictures, {len(broken)} skipped: unreadable\n"
    assert set(data.files) == {path.name for path in good}
    endpoint = {"inputs": [{"name": "images", "shape": [None, 8, 8, 3], "dtype": "uint8"}]}
    sent = [{"b64": base64.b64encode((folder / name).read_bytes()).decode()} for name in data.files]
    served = check_request(endpoint, {"inputs": {"images": sent}}, pictures=data.pictures)["images"]
    np.testing.assert_array_equal(served, data.images(range(len(data))))
    with pytest.raises(
        ValueError, match=rf"^{len(broken)} of 200 pictures cannot be used: "
    ) as caught:
        open_folder(folder, image_size=8)
    assert len(str(caught.value).splitlines()) == 1


RNG = np.random.default_rng(3)


def test_deep_gray():
    deep = RNG.integers(0, 65_536, (9, 7)).astype("uint16")
    expected = np.rint(deep / 257)
    for format in ("PNG", "TIFF"):
        content = stored(Image.fromarray(deep), format)
        np.testing.assert_array_equal(decode(content, GRAY)[..., 0], expected)
        np.testing.assert_array_equal(decode(content, SAME), np.repeat(expected[..., None], 3, 2))
    floats = RNG.random((9, 7)).astype("float32")
    content = stored(Image.fromarray(floats), "TIFF")
    np.testing.assert_array_equal(decode(content, GRAY)[..., 0], np.rint(floats * 255))
    twelve = (deep >> 4).astype("uint16")
    settings = PictureSettings(None, 1, pixel_range=(0, 4095))
    found = decode(stored(Image.fromarray(twelve)), settings)[..., 0]
    np.testing.assert_allclose(found, twelve * (255 / 4095), atol=0.51)
    content = stored(Image.fromarray(floats * 90 - 30), "TIFF")
    with pytest.raises(ValueError, match=r"floats from 0 to 1.*pass pixel_range=\(black, white\)"):
        decode(content, GRAY, "a.tif")
    settings = PictureSettings(None, 1, pixel_range=(-30, 60))
    np.testing.assert_allclose(decode(content, settings)[..., 0], floats * 255, atol=0.51)
    wide = stored(Image.fromarray(np.array([[-5, 70_000]], "int32")), "TIFF")
    with pytest.raises(ValueError, match=r"integers of 32 bits go from -5 to 70000: pass pixel"):
        decode(wide, GRAY)
    for pixels in (np.array([[0, 128, 255]], "int32"), np.array([[0, 1000]], "int32")):
        with pytest.raises(ValueError, match="integers of 32 bits go from 0 to"):
            decode(stored(Image.fromarray(pixels), "TIFF"), GRAY)
    settings = PictureSettings(None, 1, pixel_range=(0, 1000))
    found = decode(stored(Image.fromarray(pixels), "TIFF"), settings)
    assert found.ravel().tolist() == [0, 255]
    both = Image.merge(
        "LA", [Image.fromarray(np.array([[5, 7]], np.uint8)), Image.new("L", (2, 1), 255)]
    )
    settings = PictureSettings(None, 1, pixel_range=(5, 7))
    assert decode(stored(both), settings).ravel().tolist() == [0, 255]
    floats[2, 2] = np.nan
    with pytest.raises(ValueError, match="without NaN"):
        decode(stored(Image.fromarray(floats), "TIFF"), GRAY)


def numbers_of(bands):
    return RNG.integers(0, 65_536, (6, 5, bands)).astype("uint16")


def expected_of(numbers, black=0, white=65_535):
    colors = 3 if numbers.shape[2] > 2 else 1
    scaled = (numbers[..., :colors].astype(float) - black) * (255 / (white - black))
    bytes_ = np.rint(np.clip(scaled, 0, 255))
    if numbers.shape[2] > colors:
        alpha = np.rint(numbers[..., -1:] / 257) / 255
        bytes_ = bytes_ * alpha + 255 * (1 - alpha)
    return np.repeat(bytes_, 3 // colors, axis=2)


@pytest.mark.parametrize("bands", [1, 2, 3, 4])
def test_png_of_16_bits(bands):
    numbers = numbers_of(bands)
    found = decode(odd_pictures.png_of_16_bits(numbers), SAME)
    np.testing.assert_allclose(found, expected_of(numbers), atol=0.51)
    numbers[..., : 3 if bands > 2 else 1] >>= 4
    twelve = PictureSettings(None, pixel_range=(0, 4095))
    found = decode(odd_pictures.png_of_16_bits(numbers), twelve)
    np.testing.assert_allclose(found, expected_of(numbers, white=4095), atol=0.51)


def test_a_transparent_color_of_16_bits():
    numbers = numbers_of(3)
    key = tuple(numbers[2, 3].tolist())
    numbers[0, 0] = numbers[2, 3] ^ 1  # the same 8 bits
    found = decode(odd_pictures.png_of_16_bits(numbers, key), PictureSettings(None))
    expected = expected_of(numbers)
    expected[2, 3] = 255
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(("bands", "photometric"), [(1, 1), (1, 0), (3, 2), (4, 2)])
def test_tiff_of_16_bits(bands, photometric, order, deflate):
    numbers = numbers_of(bands)
    content = odd_pictures.tiff(numbers, photometric, order, deflate)
    if photometric == 0 and order == ">":
        with pytest.raises(UnreadablePicture, match="1 band of integers of 16 bits, 0 is white"):
            decode(content, SAME)
        return
    expected = expected_of(numbers)
    expected = 255 - expected if photometric == 0 else expected
    np.testing.assert_allclose(decode(content, SAME), expected, atol=0.51)


def test_errors_of_libtiff_do_not_reach_stderr(capfd):
    content = bytearray(odd_pictures.tiff(numbers_of(3), 2, deflate=True))
    content[40:90] = bytes(50)
    with pytest.raises(UnreadablePicture):
        decode(bytes(content), SAME, "a.tif")
    assert capfd.readouterr() == ("", "")
    words = r"decoder error|-2"  # of new and old releases of Pillow
    with Image.open(io.BytesIO(content)) as image, pytest.raises(OSError, match=words):
        image.load()
    assert "ZIPDecode" in capfd.readouterr().err  # as it was before


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
@pytest.mark.parametrize("background", ["white", "#102030", (255, 0, 0)])
def test_transparent_parts_show_the_background(mode, background):
    color = np.array({"white": (255,) * 3, "#102030": (16, 32, 48)}.get(background, background))
    pixels = RNG.integers(0, 256, (6, 5, 4), dtype=np.uint8)
    image = Image.fromarray(pixels)
    image = image.convert("LA") if mode == "LA" else image
    settings = PictureSettings(None, background=background)
    found = decode(stored(image), settings)
    rgba = np.asarray(image.convert("RGBA")).astype(float)
    alpha = rgba[..., 3:] / 255
    np.testing.assert_allclose(found, rgba[..., :3] * alpha + color * (1 - alpha), atol=1.5)


@pytest.mark.parametrize("width", [800, 640, 256, 128, 64])
def test_a_large_jpeg_is_nearly_its_pixels(width):
    height = min(width, 640)
    waves = np.sin(np.arange(height)[:, None] / 40) * np.cos(np.arange(width) / 60)
    image = Image.fromarray(np.uint8(np.clip(128 + 100 * waves, 0, 255)))
    content = stored(image, "JPEG", quality=95)
    found = read_image(content, image_size=32, channels=1).astype(int)
    with Image.open(io.BytesIO(content)) as opened:
        opened.load()
        whole = read_image(opened, image_size=32, channels=1)
    assert np.abs(found - whole).max() <= 3
    assert np.abs(found - read_image(image, image_size=32, channels=1)).max() <= 4


@pytest.mark.parametrize("size", [(32, 128), (128, 32)])
@pytest.mark.parametrize("orientation", [1, 3, 5, 6, 7, 8])
def test_a_rotated_jpeg_of_a_long_shape_is_nearly_its_pixels(orientation, size):
    rows, columns = np.mgrid[0:256, 0:1024]
    image = Image.fromarray(np.uint8(127 + 60 * (np.sin(columns / 9) + np.sin(rows / 7))))
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = stored(image, "JPEG", quality=98, exif=exif)
    turned = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    found = read_image(content, image_size=size).astype(int)
    assert np.abs(found - read_image(turned, image_size=size)).mean() < 1.2


def test_transparent_colors_of_palettes_and_keys():
    palette = Image.fromarray(np.arange(4, dtype=np.uint8)[None]).convert("P")
    palette.putpalette([200, 0, 0, 0, 200, 0, 0, 0, 200, 9, 9, 9])
    found = decode(stored(palette, transparency=2), PictureSettings(None, background="black"))
    assert found[0].tolist() == [[200, 0, 0], [0, 200, 0], [0, 0, 0], [9, 9, 9]]
    gray = Image.fromarray(np.array([[5, 6, 7]], np.uint8))
    assert decode(stored(gray, transparency=6), GRAY)[0, :, 0].tolist() == [5, 255, 7]
    deep = Image.fromarray(np.array([[25700, 51400]], np.uint16))
    deep.info["transparency"] = 51400
    assert decode(deep, GRAY)[0, :, 0].tolist() == [100, 255]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation):
    pixels = RNG.integers(0, 256, (6, 5, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = decode(stored(Image.fromarray(pixels), exif=exif), SAME)
    turns = {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.transpose(1, 0, 2),
        6: np.rot90(pixels, -1),
        7: np.rot90(pixels, 2).transpose(1, 0, 2),
        8: np.rot90(pixels),
    }
    np.testing.assert_array_equal(found, turns[orientation])


def test_color_profiles():
    pixels = RNG.integers(0, 256, (6, 5, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    same = decode(stored(image, icc_profile=srgb), SAME)
    assert np.abs(same.astype(int) - pixels).max() <= 1
    broken = decode(stored(image, icc_profile=b"no profile"), SAME)
    np.testing.assert_array_equal(broken, pixels)
    alpha = Image.fromarray(np.dstack([pixels, np.full((6, 5), 255, np.uint8)]))
    kept = decode(stored(alpha, icc_profile=srgb), SAME)
    assert np.abs(kept.astype(int) - pixels).max() <= 1
    lab = ImageCms.profileToProfile(
        image, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    again = decode(stored(lab, "TIFF"), SAME)
    assert np.abs(again.astype(int) - pixels).mean() < 6  # 8 bits of Lab hold less
    cmyk = Image.new("CMYK", (4, 4), (0, 255, 255, 0))
    red = decode(stored(cmyk, "TIFF"), SAME)[0, 0]
    assert red[0] > 200
    assert red[1:].max() < 60


@pytest.mark.parametrize("size", [16, (16, 16), (10, 30), (30, 10)])
@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("channels", [1, 3])
def test_fits(fit, channels, size):
    image = Image.fromarray(RNG.integers(0, 256, (40, 60, 3), dtype=np.uint8))
    found = read_image(image, image_size=size, fit=fit, channels=channels, background="blue")
    height, width = size if isinstance(size, tuple) else (size, size)
    mode = {1: "L", 3: "RGB"}[channels]
    plain = image.convert(mode)
    hamming = Image.Resampling.HAMMING
    if fit == "crop":
        boxes = {16: (10, 0, 50, 40), 10: (0, 10, 60, 30), 30: (23, 0, 36, 40)}
        expected = plain.crop(boxes[height]).resize((width, height), hamming, reducing_gap=3)
    elif fit == "stretch":
        expected = plain.resize((width, height), hamming, reducing_gap=3)
    else:
        color = {1: 29, 3: (0, 0, 255)}[channels]
        expected = ImageOps.pad(plain, (width, height), hamming, color=color)
    np.testing.assert_array_equal(found, np.asarray(expected).reshape(height, width, channels))


def test_long_pictures_do_not_vanish():
    line = Image.new("L", (5000, 1), 0)
    for size in (line.size, line.size[::-1]):
        image = read_image(line.resize(size), image_size=8, channels=1, fit="pad")
        assert (image == 0).sum() == 8
        assert (image == 255).sum() == 56
    with pytest.raises(UnreadablePicture, match="it is empty"):
        read_image(b"")


def test_like_a_data_set_or_a_model(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_DISENT_CACHE", str(tmp_path / "cache"))
    image = Image.fromarray(RNG.integers(0, 256, (40, 60, 3), dtype=np.uint8))
    assert read_image(image, like=Sprites(32)).shape == (32, 32, 1)
    assert read_image([image, stored(image)], like=Sprites(32)).shape == (2, 32, 32, 1)
    folder = tmp_path / "pictures"
    folder.mkdir()
    image.save(folder / "a.png")
    data = open_folder(folder, image_size=16, crop=30)
    np.testing.assert_array_equal(read_image(image, like=data), data.images([0])[0])

    for fit in ("crop", "pad", "stretch"):
        wide = open_folder(folder, image_size=(10, 30), fit=fit)
        assert wide.image_shape == (10, 30, 3)
        np.testing.assert_array_equal(read_image(image, like=wide), wide.images([0])[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 4}, r"`channels` is 1 \(gray\) or 3 \(color\). Got 4"),
        ({"channels": 3.0}, "`channels` is 1 .* Got 3.0"),
        ({"channels": True}, "`channels` is 1 .* Got True"),
        ({"background": (1.0, 1.0, 1.0)}, r"three integers from 0 to 255.* Got \(1.0, 1.0, 1.0"),
        ({"background": [True] * 3}, "three integers from 0 to 255"),
        ({"background": ("1", "2", "3")}, "three integers from 0 to 255"),
        ({"background": (0, 0, 256)}, "three integers from 0 to 255"),
        ({"background": "#ff000080"}, "without transparency. Got '#ff000080'"),
        ({"image_size": 0}, "`image_size` must be an integer of at least 1. Got 0"),
        ({"image_size": (8, 0)}, "`image_size` must be an integer of at least 1. Got 0"),
        ({"image_size": (8, 8, 3)}, r"`image_size` must be an integer .* Got \(8, 8, 3\)"),
        ({"fit": "fill"}, "Unknown fit 'fill'. Choose from: crop, pad, stretch"),
        ({"background": "blu"}, "`background` is the name of a color, .* Got 'blu'"),
        ({"background": (1, 2)}, r"Got \(1, 2\)"),
        ({"pixel_range": (1, 1)}, "`pixel_range` is the value of black"),
        ({"crop": 99}, "`crop` cuts 99 pixels out of it, and it has 9 x 9"),
    ],
)
def test_wrong_settings(options, message):
    with pytest.raises(ValueError, match=message):
        read_image(Image.new("L", (9, 9)), **options)


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_image(tmp_path / "none.png")
    with pytest.raises(UnreadablePicture, match="it is a folder"):
        read_image(tmp_path)
    image = Image.new("L", (9, 9), 7)
    assert (read_image(bytearray(stored(image)), image_size=4) == 7).all()
    for wrong in (None, 3):
        with pytest.raises(TypeError, match=r"A picture is a path, bytes .* Got"):
            read_image(wrong)
    with pytest.raises(TypeError, match=r"`like` needs to be a model or a data set. Got str"):
        read_image(image, like="vae")
    with pytest.raises(ValueError, match=r"pass image_size. Got no picture"):
        read_image([])
    with pytest.raises(ValueError, match=r"pass image_size. Got \(9, 9, 3\) and \(8, 9, 3\)"):
        read_image([image, image.crop((0, 0, 9, 8))], image_size=None)
    for huge in (Image.new("1", (9000, 9000)), stored(Image.new("1", (9000, 9000)))):
        with pytest.raises(UnreadablePicture, match="more than 1,000,000 in all"):
            read_image(huge, max_pixels=10**6)


def test_threads_leave_the_filters_of_warnings_alone(odd):
    _, good, _ = odd
    before = list(warnings.filters)
    threads = [
        threading.Thread(target=lambda: [read_image(path) for path in good[:40]]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before
