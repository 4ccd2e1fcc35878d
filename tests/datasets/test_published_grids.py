"""Published grids, read from small files in their format; each image encodes its index."""

import math
import os
import pickle
import sys
import types
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from keras_disent.datasets import GroundTruth
from keras_disent.datasets.arrays import LabeledImages, grid_rows
from keras_disent.datasets.published.dsprites import DSprites
from keras_disent.datasets.published.mpi3d import MPI3D
from keras_disent.datasets.published.shapes3d import Shapes3D
from keras_disent.datasets.published.tfds import from_tfds
from keras_disent.datasets.stored.hdf5 import resave_hdf5

DSPRITES = "dsprites_ndarray_co1sh3sc6or40x32y32_64x64"
DSPRITES_SIZES = (1, 3, 6, 40, 32, 32)
SHAPES3D_SIZES = (10, 10, 10, 8, 4, 15)
MPI3D_SIZES = (6, 6, 2, 3, 3, 40, 40)
COMPLEX_SIZES = (4, 4, 2, 3, 3, 40, 40)


def grid_of(sizes):
    """Return all combinations of factors; the last factor changes fastest."""
    return np.stack(np.meshgrid(*map(np.arange, sizes), indexing="ij"), -1).reshape(-1, len(sizes))


def colors_of(count):
    """Make images (count, 2, 1, 3): the upper pixel is the index, the lower its complement."""
    digits = np.arange(count)[:, None] // [1, 256, 65536] % 256
    return np.stack([digits, 255 - digits], axis=1).reshape(count, 2, 1, 3).astype(np.uint8)


def check_grid(data, sizes):
    """Check the factors of all indices, and the kinds, values and sizes of the factors."""
    indices = np.arange(len(data))
    assert isinstance(data, GroundTruth)
    assert data.factor_sizes == sizes
    assert (data.factors(indices) == grid_of(sizes)).all()
    assert (data.indices(data.factors(indices)) == indices).all()
    assert tuple(data.factor_values) == data.factor_names
    assert tuple(map(len, data.factor_values.values())) == sizes
    assert len(data.factor_kinds) == len(sizes)


def check_colors(data, count):
    assert data.image_shape == (2, 1, 3)
    assert (data.images(np.arange(count)) == colors_of(count)).all()
    assert (data.images([5, 70_000, 5]) == colors_of(70_001)[[5, 70_000, 5]]).all()
    assert data.images([]).shape == (0, 2, 1, 3)


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """Use an empty cache for every test, and no data folder."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("KERAS_DISENT_CACHE", str(folder))
    monkeypatch.delenv("KERAS_DISENT_DATA", raising=False)
    return folder


def files_in(cache):
    return sorted(cache.iterdir()) if cache.exists() else []


def assert_error(make, message, cache, error=ValueError):
    with pytest.raises(error, match=message):
        make()
    assert not files_in(cache)


def timestamps(path):
    """Return access and modification time of a file in nanoseconds."""
    status = path.stat()
    return status.st_atime_ns, status.st_mtime_ns


def corrupt(path, member):
    """Corrupt the middle of a member of an archive, but keep its size and timestamps."""
    times = timestamps(path)
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(f"{member}.npy")
    with open(path, "r+b") as file:
        file.seek(info.header_offset + info.compress_size // 2)
        file.write(bytes(range(200)))
    os.utime(path, ns=times)


# -- dSprites: images of 5 x 4 pixels, the bits of a number ----------------------------------------


@pytest.fixture(scope="module")
def sprite_arrays():
    classes = grid_of(DSPRITES_SIZES)
    number = np.arange(len(classes), dtype=">u4").view(np.uint8).reshape(-1, 4)
    return np.unpackbits(number, axis=1)[:, 12:].reshape(-1, 5, 4), classes


@pytest.fixture(scope="module")
def sprite_npz(sprite_arrays, tmp_path_factory):
    images, classes = sprite_arrays
    folder = tmp_path_factory.mktemp("npz")
    metadata = np.array({"title": "dSprites"}, dtype=object)  # pickled: never read
    np.savez_compressed(
        folder / f"{DSPRITES}.npz", imgs=images, latents_classes=classes, metadata=metadata
    )
    return folder


@pytest.fixture(scope="module")
def sprite_hdf5(sprite_arrays, tmp_path_factory):
    images, classes = sprite_arrays
    folder = tmp_path_factory.mktemp("hdf5") / "dsprites"
    folder.mkdir()
    with h5py.File(folder / f"{DSPRITES}.hdf5", "w") as file:
        packed = {"compression": "gzip", "compression_opts": 1}
        file.create_dataset("imgs", data=images, chunks=(23040, 2, 4), **packed)
        file.create_dataset("latents/classes", data=classes, chunks=(23040, 1), **packed)
    return folder


def write_sprites(folder, **members):
    """Write an archive like the published one, with some members replaced."""
    np.savez(folder / f"{DSPRITES}.npz", **members)


@pytest.fixture(params=["npz", "hdf5"])
def sprites(request, monkeypatch):
    if request.param == "npz":
        return DSprites(request.getfixturevalue("sprite_npz"))
    monkeypatch.setenv("KERAS_DISENT_DATA", str(request.getfixturevalue("sprite_hdf5").parent))
    return DSprites(verify=False)


def test_dsprites(sprites, sprite_arrays):
    check_grid(sprites, DSPRITES_SIZES)
    assert sprites.image_shape == (5, 4, 1)
    expected = sprite_arrays[0][..., None] * np.uint8(255)
    assert (sprites.images(np.arange(737_280)) == expected).all()
    assert (sprites.images([9, 700_000, 9]) == expected[[9, 700_000, 9]]).all()
    assert sprites.images([]).shape == (0, 5, 4, 1)
    assert sprites.factor_kinds[0] == "constant"
    assert sprites.factor_values["shape"].tolist() == ["square", "ellipse", "heart"]
    assert sprites.factor_values["orientation"][[0, 39]].tolist() == [0, 2 * np.pi]
    assert len(sprites.subgrid({"shape": ["heart"], "orientation": range(39)})) == 39 * 6 * 1024


def test_dsprites_are_packed_once(sprite_npz, cache, tmp_path):
    path = tmp_path / f"{DSPRITES}.npz"
    path.write_bytes((sprite_npz / path.name).read_bytes())
    first = DSprites(tmp_path).images([7, 500_000])
    (packed,) = files_in(cache)
    assert packed.stat().st_size == 737_280 * 3 + 128
    written = packed.stat().st_mtime_ns
    reloaded = DSprites(tmp_path)
    assert (reloaded.images([7, 500_000]) == first).all()
    assert packed.stat().st_mtime_ns == written
    corrupt(path, "imgs")  # a changed file is read again, whatever its timestamps say
    with pytest.raises(ValueError, match=rf"{DSPRITES}.npz' needs .*"):
        DSprites(tmp_path)
    assert files_in(cache) == [packed]


def test_the_npz_is_preferred(sprite_npz, sprite_hdf5, tmp_path):
    (tmp_path / f"{DSPRITES}.hdf5").write_bytes(b"not looked at")
    (tmp_path / f"{DSPRITES}.npz").symlink_to(sprite_npz / f"{DSPRITES}.npz")
    assert len(DSprites(tmp_path)) == 737_280


def test_missing_dsprites(cache, tmp_path):
    assert_error(DSprites, "KERAS_DISENT_DATA", cache, FileNotFoundError)
    message = rf"'{DSPRITES}.npz' or '{DSPRITES}.hdf5' is not in .*Download dSprites from https://github.com"
    assert_error(lambda: DSprites(tmp_path), message, cache, FileNotFoundError)


@pytest.mark.parametrize("make", [DSprites, Shapes3D])
def test_published_checksums(make, sprite_hdf5, shapes_folder, cache, tmp_path):
    folder = {DSprites: sprite_hdf5, Shapes3D: shapes_folder}[make]
    published = next(file for file in make.card.files if file.size)
    assert_error(lambda: make(folder), rf"{published.name}' needs {published.size} bytes", cache)
    with open(tmp_path / published.name, "wb") as file:
        file.truncate(published.size)
    assert_error(
        lambda: make(tmp_path), rf"{published.name}' needs the sha256 {published.sha256}", cache
    )


def test_dsprites_of_wrong_members(sprite_arrays, cache, tmp_path):
    images, classes = sprite_arrays

    def assert_message(message, **members):
        write_sprites(tmp_path, **members)
        assert_error(lambda: DSprites(tmp_path), rf"{DSPRITES}.npz' needs {message}", cache)

    assert_message("a member 'imgs'", latents_classes=classes)
    assert_message("a member 'latents_classes'", imgs=images)
    rule = r"uint8 'imgs' of shape \(737280, height, width\)"
    assert_message(rule + r". Got uint8 \(10, 5, 4\)", imgs=images[:10])
    assert_message(rule + r". Got uint8 \(737280, 20\)", imgs=images.reshape(-1, 20))
    assert_message(rule + ". Got int8", imgs=images.view(np.int8))
    assert_message(
        "numbers or texts. Got Python objects, which are never unpickled",
        imgs=np.array({}, dtype=object),
    )
    rule = r"integers 'latents_classes' of shape \(737280, 6\)"
    assert_message(rule + r". Got int64 \(737280, 5\)", imgs=images, latents_classes=classes[:, 1:])
    assert_message(rule + ". Got float32", imgs=images, latents_classes=classes.astype(np.float32))

    swapped = classes.copy()
    swapped[[300_000, 300_001]] = swapped[[300_001, 300_000]]
    rule = r"\[0, 1, 1, 12, 31, 0\] in row 300000 of 'latents_classes'. Got \[0, 1, 1, 12, 31, 1\]"
    assert_message(rule, imgs=images, latents_classes=swapped)
    gray = images.copy()
    gray[400_000, 2, 2] = 255
    assert_message("'imgs' of 0 and 1. Got 255 in image 400000", imgs=gray, latents_classes=classes)


def test_dsprites_of_broken_files(sprite_npz, sprite_hdf5, cache, tmp_path):
    path = tmp_path / f"{DSPRITES}.npz"
    complete = (sprite_npz / path.name).read_bytes()
    path.write_bytes(complete[:-1000])
    assert_error(lambda: DSprites(tmp_path), rf"{path.name}' needs to be an .npz file", cache)
    path.write_bytes(complete)
    corrupt(path, "imgs")
    assert_error(lambda: DSprites(tmp_path), rf"{path.name}' needs ", cache)
    path.unlink()
    path = tmp_path / f"{DSPRITES}.hdf5"
    complete = (sprite_hdf5 / path.name).read_bytes()
    path.write_bytes(complete[: len(complete) // 2])
    assert_error(lambda: DSprites(tmp_path, verify=False), rf"{path.name}' needs ", cache)
    with h5py.File(path, "w") as file:
        file["imgs"] = np.zeros((737_280, 1, 1), np.uint8)
    assert_error(lambda: DSprites(tmp_path, verify=False), "a data set 'latents/classes'", cache)


# -- 3D Shapes -------------------------------------------------------------------------------------


def hue_room_values():
    hue = np.arange(10) / 10
    angles = np.linspace(-30, 30, 15)
    return [hue, hue, hue, np.linspace(0.75, 1.25, 8), np.arange(4.0), angles]


@pytest.fixture(scope="module")
def shapes_arrays():
    """Make images and labels in random order."""
    steps = grid_of(SHAPES3D_SIZES)
    order = np.random.default_rng(0).permutation(len(steps))
    columns = [v[s] for v, s in zip(hue_room_values(), steps[order].T, strict=True)]
    return colors_of(len(steps))[order], np.stack(columns, axis=1)


def write_shapes(folder, images, labels, **settings):
    with h5py.File(folder / "3dshapes.h5", "w") as file:
        file.create_dataset("images", data=images, **settings)
        file["labels"] = labels


@pytest.fixture(scope="module")
def shapes_folder(shapes_arrays, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shapes") / "shapes3d"
    folder.mkdir()
    write_shapes(folder, *shapes_arrays, chunks=(1000, 2, 1, 3), compression="gzip")
    return folder


def test_shapes3d(shapes_folder):
    with pytest.warns(UserWarning, match=r"slow to read: .* keras-disent data convert"):
        data = Shapes3D(shapes_folder.parent, verify=False)
    check_grid(data, SHAPES3D_SIZES)
    check_colors(data, 480_000)
    assert data.factor_kinds[2:5] == ("circular", "ordinal", "categorical")
    for name, values in zip(data.factor_names, hue_room_values(), strict=True):
        if name != "shape":
            assert (data.factor_values[name] == values).all()
    assert data.factor_values["shape"].tolist() == ["cube", "cylinder", "sphere", "capsule"]


def test_the_converted_file_is_preferred(shapes_folder, tmp_path):
    resave_hdf5(shapes_folder / "3dshapes.h5", tmp_path / "3dshapes.contiguous.h5")
    (tmp_path / "3dshapes.h5").write_bytes(b"not looked at")
    data = Shapes3D(tmp_path)
    check_colors(data, 480_000)
    steps = data.factors([123_456])
    assert (data.observe(steps) == colors_of(123_457)[-1]).all()


def test_shapes3d_of_wrong_data(shapes_arrays, cache, tmp_path):
    images, labels = shapes_arrays

    def assert_message(message, images=images, labels=labels):
        write_shapes(tmp_path, images, labels)
        message = rf"3dshapes.h5' needs {message}"
        assert_error(lambda: Shapes3D(tmp_path, verify=False), message, cache)

    rule = r"uint8 'images' of shape \(480000, height, width, 3\)"
    assert_message(rule + r". Got uint8 \(480000, 2, 3\)", images[:, :, 0])
    assert_message(rule + r". Got uint8 \(479999, 2, 1, 3\)", images[1:])
    assert_message(rule + ". Got int8", images.view(np.int8))
    rule = r"floats 'labels' of shape \(480000, 6\)"
    assert_message(rule + r". Got float64 \(480000, 5\)", labels=labels[:, 1:])
    assert_message(rule + ". Got int64", labels=labels.astype(np.int64))

    def changed(row, column, value):
        other = labels.copy()
        other[row, column] = value
        return other

    assert_message("finite 'labels'. Got NaN or infinity", labels=changed(7, 0, np.nan))
    assert_message("8 different values of scale in 'labels'. Got 9", labels=changed(7, 3, 2.0))
    duplicate = 0.0 if labels[7, 0] else 0.5
    assert_message("each combination of 'labels' once", labels=changed(7, 0, duplicate))

    with h5py.File(tmp_path / "3dshapes.h5", "w") as file:
        file["images"] = images
    assert_error(lambda: Shapes3D(tmp_path, verify=False), "a data set 'labels'", cache)
    (tmp_path / "3dshapes.h5").write_bytes(b"nothing")
    assert_error(lambda: Shapes3D(tmp_path, verify=False), "needs to be an HDF5 file", cache)
    (tmp_path / "3dshapes.h5").unlink()
    message = "Download 3D Shapes from https"
    assert_error(lambda: Shapes3D(tmp_path), message, cache, FileNotFoundError)


# -- MPI3D -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mpi_images():
    return colors_of(math.prod(MPI3D_SIZES))


@pytest.mark.parametrize("shape", [(-1, 2, 1, 3), (*MPI3D_SIZES, 2, 1, 3)])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_mpi3d(save, shape, mpi_images, cache, tmp_path):
    (tmp_path / "mpi3d").mkdir()
    path = tmp_path / "mpi3d" / "mpi3d_real.npz"
    save(path, images=mpi_images.reshape(shape))
    data = MPI3D("real", tmp_path)
    check_grid(data, MPI3D_SIZES)
    check_colors(data, 1_036_800)
    assert data.name == "mpi3d_real"
    assert data.factor_values["object_color"].tolist()[-2:] == ["brown", "olive"]
    assert data.factor_kinds[2:4] == ("ordinal", "ordinal")
    if save is np.savez:
        assert not files_in(cache)  # read where they lie
        return
    (unpacked,) = files_in(cache)
    written = unpacked.stat().st_mtime_ns
    check_colors(MPI3D("real", tmp_path), 1_036_800)
    assert unpacked.stat().st_mtime_ns == written
    corrupt(path, "images")
    with pytest.raises(ValueError, match=r"mpi3d_real.npz' needs "):
        MPI3D("real", tmp_path)
    assert files_in(cache) == [unpacked]


@pytest.mark.parametrize(
    "file",
    ["real3d_complicated_shapes_ordered.npz", "mpi3d_real_complex.npz", "mpi3d_complex.npz"],
)
def test_mpi3d_complex(file, tmp_path):
    np.savez(tmp_path / file, images=colors_of(460_800))
    data = MPI3D("complex", tmp_path)
    check_grid(data, COMPLEX_SIZES)
    check_colors(data, 460_800)
    assert data.factor_values["object_shape"][0] == "coffee-cup"


def test_mpi3d_of_the_early_release(tmp_path):
    np.savez(tmp_path / "mpi3d_toy.npz", images=colors_of(460_800))
    data = MPI3D(data_dir=tmp_path)
    check_grid(data, COMPLEX_SIZES)
    assert data.factor_values["object_color"].tolist() == [0, 1, 2, 3]
    assert data.factor_kinds[0] == "categorical"


def test_mpi3d_of_wrong_files(mpi_images, cache, tmp_path):
    def assert_message(message, images, part="toy", file="mpi3d_toy.npz", save=np.savez):
        save(tmp_path / file, images=images)
        assert_error(lambda: MPI3D(part, tmp_path), rf"{file}' needs {message}", cache)

    rule = r"uint8 'images' of shape \(n, height, width, 3\), where n is "
    for save in (np.savez, np.savez_compressed):
        assert_message(rule + "1036800 or 460800 .* Got uint8", mpi_images[1:], save=save)
    assert_message(rule + ".* Got int8", mpi_images.view(np.int8))
    assert_message(rule + ".* Got uint8", mpi_images.reshape(-1, 1, 3, 2))
    assert_message(rule + ".* Got uint8", mpi_images.reshape(-1, 3))
    assert_message(rule + ".* Got uint8", mpi_images.reshape(6, 6, 3, 2, 3, 40, 40, 2, 1, 3))
    assert_message("numbers or texts. Got Python objects", np.array({}, dtype=object))
    assert_message(rule + "460800 or the sizes", mpi_images, "complex", "mpi3d_complex.npz")
    path = tmp_path / "mpi3d_toy.npz"
    np.savez(path, labels=mpi_images[:5])
    assert_error(lambda: MPI3D("toy", tmp_path), "needs a member 'images'", cache)
    np.savez(path, images=mpi_images)
    path.write_bytes(path.read_bytes()[:-500])
    assert_error(lambda: MPI3D("toy", tmp_path), "mpi3d_toy.npz' needs to be an .npz file", cache)
    assert_error(
        lambda: MPI3D("real", tmp_path), "'mpi3d_real.npz' is not in", cache, FileNotFoundError
    )
    message = r"`part` is one of toy, realistic, real, complex. Got 'fake'"
    assert_error(lambda: MPI3D("fake", tmp_path), message, cache)


# -- TensorFlow Datasets ---------------------------------------------------------------------------


def feature(shape=(), dtype=np.int64, names=None):
    return types.SimpleNamespace(shape=shape, np_dtype=dtype, names=names)


class Builder:
    """A mock of a builder of TensorFlow Datasets 4.9, with shuffled examples."""

    def __init__(self, name, folder, features, examples, splits=None):
        self.name, self.data_dir, self._examples = name, str(folder), examples
        count = len(examples["image"])
        parts = {"all": slice(None)} if splits is None else splits
        self._parts = parts
        sizes = {k: len(range(count)[part]) for k, part in parts.items()}
        infos = {k: types.SimpleNamespace(num_examples=n) for k, n in sizes.items()}
        self.info = types.SimpleNamespace(splits=infos, features=features)
        self.reads = 0

    def download_and_prepare(self):
        Path(self.data_dir).mkdir(parents=True)
        (Path(self.data_dir) / "data").write_bytes(b"x")

    def as_dataset(self, split, batch_size, shuffle_files):
        assert not shuffle_files
        self.reads += 1
        count = len(self._examples["image"])
        order = np.random.default_rng(1).permutation(np.arange(count)[self._parts[split]])
        for first in range(0, len(order), batch_size):
            rows = order[first : first + batch_size]
            yield {key: value[rows] for key, value in self._examples.items()}


@pytest.fixture
def tfds(monkeypatch, tmp_path):
    """Replace the package by a mock with the builders that a test adds."""
    module = types.ModuleType("tensorflow_datasets")
    module.builders = {}
    module.builder = lambda name, data_dir: module.builders[name.partition(":")[0]]
    module.as_numpy = iter
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", module)

    def add(name, features, examples, splits=None):
        builder = Builder(name, tmp_path / name, features, examples, splits)
        builder.download_and_prepare()
        module.builders[name] = builder
        return builder

    module.add = add
    return module


def sprite_examples(sizes=(3, 6, 4, 5, 2)):
    steps = grid_of(sizes)
    names = ["shape", "scale", "orientation", "x_position", "y_position"]
    features = {f"label_{name}": feature() for name in names}
    examples = {f"label_{n}": column for n, column in zip(names, steps.T, strict=True)}
    number = np.arange(len(steps), dtype=">u2").view(np.uint8).reshape(-1, 2)
    examples["image"] = np.unpackbits(number, axis=1).reshape(-1, 4, 4, 1)
    return features | {"image": feature((4, 4, 1), np.uint8)}, examples


def test_tfds_dsprites(tfds, cache):
    features, examples = sprite_examples()
    builder = tfds.add("dsprites", features, examples)
    data = from_tfds("dsprites:2.0.0")
    assert data.factor_names == ("shape", "scale", "orientation", "position_x", "position_y")
    check_grid(data, (3, 6, 4, 5, 2))
    assert (data.images(np.arange(len(data))) == examples["image"] * np.uint8(255)).all()
    assert data.factor_values["scale"].tolist() == np.linspace(0.5, 1, 6).tolist()
    assert data.factor_kinds[2] == "circular"
    reloaded = from_tfds("dsprites")
    assert (reloaded.images([3]) == data.images([3])).all()
    assert builder.reads == 1
    assert len(files_in(cache)) == 1


def test_tfds_with_real_values(tfds):
    steps = grid_of((2, 3, 2, 2, 4, 5))
    names = ["floor_hue", "wall_hue", "object_hue", "scale", "shape", "orientation"]
    features = {"image": feature((2, 1, 3), np.uint8)}
    examples = {"image": colors_of(len(steps))}
    for name, column in zip(names, steps.T, strict=True):
        features |= {f"label_{name}": feature(), f"value_{name}": feature((), np.float32)}
        examples |= {f"label_{name}": column, f"value_{name}": (column / 8).astype(np.float32)}
    tfds.add("shapes3d", features, examples)
    data = from_tfds("shapes3d")
    check_grid(data, (2, 3, 2, 2, 4, 5))
    assert (data.images(np.arange(len(data))) == colors_of(len(data))).all()
    assert data.factor_values["orientation"].tolist() == [0, 0.125, 0.25, 0.375, 0.5]
    assert data.factor_values["shape"][3] == "capsule"


def test_tfds_splits(tfds):
    steps = grid_of((5, 4, 3, 2, 2))
    keys = ["label_category", "instance", "label_elevation", "label_azimuth", "label_lighting"]
    features = dict.fromkeys(keys, feature()) | {"image": feature((2, 1, 3), np.uint8)}
    order = np.argsort(steps[:, 1] % 2, kind="stable")  # even instances first
    examples = dict(zip(keys, steps[order].T, strict=True)) | {"image": colors_of(240)[order]}
    splits = {"train": slice(0, 120), "test": slice(120, 240), "all": slice(None)}
    tfds.add("smallnorb", features, examples, splits)
    check_grid(from_tfds("smallnorb"), (5, 4, 3, 2, 2))
    data = from_tfds("smallnorb", "test")
    check_grid(data, (5, 2, 3, 2, 2))
    assert data.factor_values["instance"].tolist() == [1, 3]
    assert data.factor_values["azimuth"].tolist() == [0, 20]
    assert (data.images(np.arange(120)) == colors_of(240)[steps[:, 1] % 2 == 1]).all()


def test_tfds_of_other_builders(tfds):
    steps = grid_of((2, 300))
    features = {
        "image": feature((2, 1, 3), np.uint8),
        "label_side": feature(names=["right", "left"]),
        "label_x": feature(names=[str(i) for i in range(300)]),
        "id": feature((), np.str_),
    }
    examples = {"image": colors_of(600), "label_side": steps[:, 0], "label_x": steps[:, 1]}
    splits = {"all": slice(None), "some": slice(0, 450)}
    tfds.add("sides", features, examples, splits)
    data = from_tfds("sides")
    check_grid(data, (2, 300))
    assert (data.images(np.arange(600)) == colors_of(600)).all()
    assert data.factor_values["side"].tolist() == ["right", "left"]
    assert data.factor_kinds == ("categorical", "ordinal")
    subset = from_tfds("sides", "some")
    assert type(subset) is LabeledImages
    assert (
        subset.factors(np.arange(450))
        == steps[subset.images(np.arange(450))[:, 0, 0] @ [1, 256, 0]]
    ).all()


def test_tfds_errors(tfds, cache, monkeypatch, tmp_path):
    features, examples = sprite_examples()

    def assert_message(message, features=features, examples=examples, name="dsprites"):
        tfds.builders.clear()
        folder = tmp_path / name
        for file in folder.glob("*"):
            file.unlink()
        if folder.exists():
            folder.rmdir()
        tfds.add(name, features, examples)
        assert_error(lambda: from_tfds(name), message, cache)

    assert_message(
        "needs pixels of 0 and 1. Got 255", examples=examples | {"image": examples["image"] * 255}
    )
    image = {"image": features["image"]}
    assert_message("'dsprites' needs an integer feature 'label_shape'. Got None", features=image)
    assert_message(
        "'other' needs integer features 'label_\\*'. Got image", features=image, name="other"
    )
    unfixed = {"image": feature((None, None, 3), np.uint8)}
    assert_message(
        r"'dsprites' needs a uint8 feature 'image' of fixed size. Got .*None", features=unfixed
    )
    assert_message("fixed size. Got label_shape", features={"label_shape": feature()})
    wrong_dtype = features | {"label_scale": feature((), np.float32)}
    assert_message("'dsprites' needs an integer feature 'label_scale'", features=wrong_dtype)

    shifted = examples | {"label_shape": examples["label_shape"] + 1}
    tfds.add("smaller", features, examples).name = "dsprites"
    tfds.builders["smaller"]._examples = shifted
    with pytest.raises(ValueError, match=r"labels from 0 to 2 in 'label_shape'. Got 1 to 3"):
        from_tfds("smaller")
    for file in files_in(cache):
        file.unlink()

    builder = tfds.builders["dsprites"]
    builder.info.features = features
    builder.info.splits["all"].num_examples += 1
    assert_error(lambda: from_tfds("dsprites"), "needs 721 examples, .*metadata. Got 720", cache)
    builder.info.splits["all"].num_examples -= 2
    assert_error(lambda: from_tfds("dsprites"), "needs 719 examples, .*metadata. Got ", cache)
    builder.info.splits.clear()
    message = "Use `download=True`, or run: tfds build dsprites"
    assert_error(lambda: from_tfds("dsprites"), message, cache, FileNotFoundError)
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    message = "pip install tensorflow-datasets"
    assert_error(lambda: from_tfds("dsprites"), message, cache, ImportError)


# -- Shared parts ----------------------------------------------------------------------------------


def test_grid_rows():
    steps = grid_of((2, 3))
    order = np.array([3, 1, 0, 5, 2, 4])
    assert (steps[order][grid_rows(steps[order], (2, 3))] == steps).all()
    assert grid_rows(steps[:5], (2, 3)) is None
    assert grid_rows(steps[[0, 0, 1, 2, 3, 4]], (2, 3)) is None


def test_cards():
    for kind in (DSprites, Shapes3D, MPI3D):
        assert kind.card.page.startswith("https://")
        assert kind.card.license
        assert kind.card.files
        assert pickle.loads(pickle.dumps(kind.card)) == kind.card
