"""The command `keras-disent data`: output, files and errors."""

import os
import sys

import h5py
import numpy as np
import pytest
from PIL import Image
from support.commands import process

from keras_disent import cli
from keras_disent.datasets import DATASETS, Scenes3D, load, open_file


@pytest.fixture
def call(capsys, monkeypatch):
    """Return a function that runs `keras-disent data` and returns exit code, stdout, stderr."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["keras-disent", "data", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        said = capsys.readouterr()
        return stop.value.code or 0, said.out, said.err

    return run


@pytest.fixture
def chunked(tmp_path):
    """Write a file like 3dshapes.h5, in which a chunk has parts of many images."""
    images = Scenes3D().images(np.arange(0, 480_000, 2400))
    with h5py.File(tmp_path / "rooms.h5", "w") as file:
        file.create_dataset("images", data=images, chunks=(200, 16, 16, 3), compression="gzip")
    return tmp_path / "rooms.h5", images


def test_list_shows_all_data_sets(call):
    code, out, _ = call("list")
    assert code == 0
    assert all(name in out for name in DATASETS)
    assert "Apache-2.0" in out


@pytest.mark.parametrize("name", DATASETS)
def test_info_describes_a_data_set(call, name):
    code, out, _ = call("info", name)
    card = DATASETS[name].card
    assert code == 0
    assert card.title in out
    assert all(file.name in out for file in card.files)
    if not card.download:
        assert " images (" in out
    elif name != "fashion_mnist":  # a Debian package may have installed it
        assert card.page in out
        assert "Not available: " in out


def test_options_are_written_as_in_messages(call, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_DISENT_CACHE", str(tmp_path / "cache"))
    np.save(tmp_path / "a.npy", np.linspace(0, 255, 192).reshape(3, 8, 8))
    code, _, error = call("info", tmp_path / "a.npy")
    assert code == 2
    assert "a.npy': `images` needs floats from 0 to 1" in error
    option = error.split("pass ")[1].strip().rstrip(".")
    assert call("info", tmp_path / "a.npy", "--data-option", option)[0] == 0
    code, _, error = call("info", tmp_path / "a.npy", "--data-option", "labels=none.csv")
    assert (code, "none.csv" in error) == (2, True)


def test_info_lists_factors(call):
    _, out, _ = call("info", "sprites")
    assert "737,280 images (64, 64, 1)" in out
    assert "categorical" in out
    assert "square, ellipse, heart" in out
    assert "No labels." in call("info", "photographs")[1]


def test_options_choose_one_person(call, tmp_path):
    _, out, _ = call("info", "faces", "--data-option", "person=292")
    assert "2,880 images (64, 64, 3)" in out
    assert "ears, chin, shoulders" not in out
    options = ("--data-option", "person=292", "--image-size", 128)
    code, out, _ = call("preview", "faces", *options, "--out", tmp_path / "one.png")
    assert (code, "constant" in out, "-35 to 35" in out) == (0, True, True)
    with Image.open(tmp_path / "one.png") as picture:
        assert picture.size[0] > 1000
    code, _, err = call("info", "faces", "--data-option", "person=360")
    assert code == 2
    assert "`person` needs to be an integer from 0 to 359, or None for all. Got 360." in err


def test_missing_files_name_the_searched_folders(call, tmp_path):
    _, out, _ = call("info", "shapes3d", "--data-dir", tmp_path)
    assert f"is not in '{tmp_path}' or '{tmp_path}/shapes3d'" in out.replace("\n", "")
    code, _, err = call("preview", "shapes3d", "--data-dir", tmp_path)
    assert code == 2
    assert "3dshapes.h5" in err


def test_preview_writes_a_picture(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = call("preview", "pendulum", "--image-size", 32)
    assert code == 0
    assert "Wrote pendulum.png" in out
    with Image.open("pendulum.png") as picture:
        sheet = np.asarray(picture.convert("RGB"))
    assert sheet.shape[1] > 800
    assert len(np.unique(sheet.reshape(-1, 3), axis=0)) > 100
    assert call("preview", "photographs", "--out", tmp_path / "b" / "sheet.png")[0] == 0
    assert (tmp_path / "b" / "sheet.png").is_file()


def test_convert_keeps_every_pixel_and_allows_mapping(call, chunked):
    path, images = chunked
    with pytest.warns(UserWarning, match=r"keras-disent data convert .*rooms\.h5"):
        slow = open_file(path)
    code, out, _ = call("convert", path)
    assert code == 0
    target = path.with_name("rooms.contiguous.h5")
    assert str(target) in out.replace("\n", "")
    fast = open_file(target)
    indices = np.array([199, 0, 7, 7])
    for data in (slow, fast):
        assert (data.images(indices) == images[indices]).all()
    assert isinstance(fast._rows, np.memmap)
    assert call("convert", path, "--out", path.with_name("other.h5"))[0] == 0


def test_check_of_published_and_custom_files(call, tmp_path):
    np.save(tmp_path / "custom.npy", np.zeros((5, 4, 4), np.uint8))
    code, out, _ = call("check", tmp_path / "custom.npy")
    assert code == 0
    assert "The file has 5 readable images" in out
    (tmp_path / "3dshapes.h5").write_bytes(b"not this")
    code, _, err = call("check", tmp_path / "3dshapes.h5")
    assert code == 2
    assert "3dshapes.h5' needs 267573662 bytes. Got 8." in err
    (tmp_path / "pictures").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "pictures" / "a.png")
    assert "1 readable images" in call("check", tmp_path / "pictures")[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("info", "smile"), "Unknown data set 'smile'. Choose from: "),
        (("preview", "smile"), "Unknown data set 'smile'"),
        (("check", "nowhere.h5"), "nowhere.h5"),
        (("convert", "nowhere.h5"), "nowhere.h5"),
        (("convert", "setup.cfg"), "`data convert` takes .h5, .hdf5, .hdf files. Got 'setup.cfg'."),
    ],
)
def test_errors_are_one_line_and_exit_with_code_2(call, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, _, err = call(*arguments)
    assert code == 2
    assert message in err
    assert len(err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("cut.npy", b"\x93NUMPY\x01\x00v\x00{'descr'", "cut.npy' needs"),
        ("cut.npz", b"PK\x03\x04 no more", "cut.npz' needs"),
        ("cut.h5", b"\x89HDF\r\n\x1a\n", "cut.h5' needs"),
        ("cut-idx3-ubyte", b"\x00\x00\x08\x03\x00\x00\xff\xff", "cut-idx3-ubyte' needs"),
        ("notes.txt", b"hello", "images needs to be .npy, .npz, .h5, .hdf5, .zarr or idx. Got '"),
    ],
)
def test_broken_files(call, tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    code, _, err = call("check", tmp_path / name)
    assert code == 2
    assert message in err


def test_pickles_are_never_opened(call, tmp_path):
    class Trap:
        def __reduce__(self):
            return (exec, ("raise SystemExit('opened')",))

    np.save(tmp_path / "trap.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "trap.npz", images=np.array([Trap()], dtype=object))
    for name in ("trap.npy", "trap.npz"):
        code, _, err = call("check", tmp_path / name)
        assert code == 2
        assert name in err


def test_archives_with_labels(tmp_path):
    pixels = np.arange(6, dtype=np.uint8)[:, None, None] * np.ones((4, 4), np.uint8)
    labels = {"side": [1, 0, 1, 0, 1, 0], "step": [0, 0, 1, 1, 2, 2]}
    for save in (np.savez, np.savez_compressed):
        path = tmp_path / f"{save.__name__}.npz"
        save(path, images=pixels, **labels, weights=np.zeros(3), version=2)
        with pytest.warns(UserWarning, match=r"no labels of its 6 images: 'weights' \(3,\)\. A "):
            data = open_file(path)
        assert data.factor_names == ("side", "step")
        assert data.observe([[0, 2], [1, 0]])[:, 0, 0, 0].tolist() == [5, 0]
    np.savez(tmp_path / "hot.npz", images=pixels, hot=np.eye(6), column=np.arange(6)[:, None])
    with pytest.warns(UserWarning, match=r"'hot' \(6, 6\)\. A label has the shape \(6,\)"):
        assert open_file(tmp_path / "hot.npz").factor_names == ("column",)
    assert open_file(tmp_path / "hot.npz", labels={}).factor_names == ()
    assert open_file(tmp_path / "hot.npz", labels={"n": np.arange(6)}).factor_names == ("n",)
    with h5py.File(tmp_path / "hot.h5", "w") as file:
        file["images"], file["hot"], file["column"] = pixels, np.eye(6), np.arange(6)[:, None]
    with pytest.warns(UserWarning, match=r"hot.h5' has arrays that are no labels of its 6 images"):
        assert open_file(tmp_path / "hot.h5").factor_names == ("column",)
    np.savez(tmp_path / "none.npz", numbers=np.arange(6))
    with pytest.raises(ValueError, match=r"needs an array 'images'. Got numbers \(6,\)\."):
        open_file(tmp_path / "none.npz")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_DISENT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_cache_is_shown_and_cleared(call, cache, tmp_path):
    assert "0 entries in" in call("cache")[1]
    (tmp_path / "pictures").mkdir()
    Image.new("L", (8, 8), 99).save(tmp_path / "pictures" / "a.png")
    assert call("check", tmp_path / "pictures")[0] == 0
    (cache / "mine.npy").write_text("not an entry")
    part = cache / ".folder-1.0123456789abcdef.part"
    part.write_text("left by a killed process")
    os.utime(part, (1, 1))
    code, out, _ = call("cache")
    assert code == 0
    assert "folder-" in out
    assert "2 entries in" in out.replace("\n", " ")
    assert "of at most 50 GB" in out.replace("\n", " ")
    assert "Deleted 2 entries" in call("cache", "clear")[1]
    assert [path.name for path in cache.iterdir()] == ["mine.npy"]


@pytest.mark.parametrize(
    ("command", "option", "message"),
    [
        ("preview", "image_size=16", "Got image_size: pass --image-size 16."),
        ("preview", "channels=1", "Got channels: pass --channels 1."),
        ("preview", "data_dir=a", "Got data_dir: pass --data-dir a."),
        ("info", "data_dir=a", "Got data_dir: pass --data-dir a."),
        ("info", "name=a", "--data-option has no name: pass the data set as NAME."),
        ("preview", "name=a", "--data-option has no name: pass the data set as NAME."),
        ("check", "name=a", "--data-option has no name: pass the data set as NAME."),
        ("info", "path=a", "Unknown option of the data set"),
        ("info", "subset=shape", "`subset` is {factor: steps}. Got 'shape'."),
        ("info", "correlate=0.5", "`correlate` is {(factor, factor): sigma}. Got 0.5."),
    ],
)
def test_data_options_with_options_of_their_own(call, cache, command, option, message, tmp_path):
    Image.new("L", (8, 8), 99).save(tmp_path / "a.png")
    code, _, err = call(command, tmp_path, "--data-option", option)
    assert (code, len(err.splitlines())) == (2, 1)
    assert message in err


def test_check_lists_all_pictures_that_cannot_be_read(call, cache, tmp_path):
    for number in range(15):
        (tmp_path / f"{number:02}.png").write_bytes(b"no picture")
    Image.new("L", (20, 8), 99).save(tmp_path / "a.png")
    code, out, err = call("check", tmp_path)
    assert code == 2
    assert out.count("its content is none of") == 15
    assert "and 5 more, which `keras-disent data check` lists" in err
    code, out, _ = call("check", tmp_path, "--data-option", "on_error=skip")
    assert (code, out.count(".png: unreadable"), "1 readable images" in out) == (0, 15, True)
    assert "a.png: `crop` cuts 9 pixels" in call("check", tmp_path, "--data-option", "crop=9")[1]


def test_zarr_is_a_data_set_for_all_commands(call, cache, tmp_path, monkeypatch):
    zarr = pytest.importorskip("zarr")
    monkeypatch.chdir(tmp_path)
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    group.create_array("images", data=np.arange(5 * 64, dtype=np.uint8).reshape(5, 8, 8, 1))
    group.create_array("n", data=np.arange(5)[:, None])
    os.rename(tmp_path / "a.zarr", tmp_path / "store")
    zarr.save_array(str(tmp_path / "b.zarr"), np.full((5, 8, 8, 3), 9, np.uint8))
    for name in ("store", "b.zarr"):
        assert len(load(name)) == 5
        assert load(name, image_size=4, channels=1).image_shape == (4, 4, 1)
        assert "5 images (8, 8, " in call("info", name)[1]
        assert "5 readable images" in call("check", name)[1]
        code, out, _ = call("preview", name)
        assert (code, "Images of 8 x 8 pixels" in out) == (0, True)
    assert load("store").factor_names == ("n",)
    Image.new("L", (8, 8), 99).save(tmp_path / "b.zarr" / "a.png")
    assert len(load("b.zarr")) == 5


def test_preview_shows_what_the_options_do(call, cache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for kind, gray in (("dark", 60), ("light", 200)):
        (tmp_path / "pictures" / kind).mkdir(parents=True)
        for number in range(4):
            Image.new("L", (20, 8), gray).save(tmp_path / "pictures" / kind / f"{number}.png")
    options = ("--data-option", "labels=folders", "--data-option", "fit=pad")
    code, out, _ = call("preview", "pictures", *options, "--image-size", 16, "--channels", 1)
    assert code == 0
    assert "dark, light" in out
    assert "Images of 16 x 16 pixels, in gray." in out
    assert (tmp_path / "pictures.png").is_file()
    assert "Images of 32 x 32 pixels, in color." in call("preview", "pictures")[1]  # as `train`
    assert "image_size" in call("preview", "pictures", "--image-size", 0)[2]
    assert "dark, light" in call("info", "pictures", *options[:2])[1]
    code, _, err = call("preview", "pictures", "--data-option", "fit=fill")
    assert (code, "Unknown fit 'fill'. Choose from: crop, pad, stretch" in err) == (2, True)


def test_a_warning_is_one_line(tmp_path):
    pixels = np.random.default_rng(0).integers(386, 4000, (3, 8, 8), dtype=np.uint16)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    said, _ = process("data", "check", tmp_path).communicate()
    (line,) = (line for line in said.splitlines() if "of 65,535" in line)
    assert line.startswith("Warning: Pictures of 16 bits in ")
    assert ".py" not in said
