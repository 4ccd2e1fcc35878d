"""Published data sets, read from small files of the published layouts."""

import dataclasses
import functools
import gzip
import hashlib
import io
import os
import pickle
import shutil
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.io import savemat
from support.binary_files import idx_bytes, norb_bytes
from support.grids import changed, colors_of, grid_of

from keras_disent.datasets import GroundTruth
from keras_disent.datasets.card import File
from keras_disent.datasets.pictures.shapes import resize
from keras_disent.datasets.published import cars3d, idx, small_norb
from keras_disent.datasets.published.cars3d import Cars3D
from keras_disent.datasets.published.celeba import CelebA
from keras_disent.datasets.published.dsprites import DSprites
from keras_disent.datasets.published.idx import MNIST, FashionMNIST
from keras_disent.datasets.published.mpi3d import MPI3D
from keras_disent.datasets.published.shapes3d import Shapes3D
from keras_disent.datasets.published.small_norb import SmallNORB

pytestmark = pytest.mark.filterwarnings("ignore:Single rows of .*3dshapes.h5' are slow to read")

DSPRITES = "dsprites_ndarray_co1sh3sc6or40x32y32_64x64"
DSPRITES_SIZES = (1, 3, 6, 40, 32, 32)
SHAPES3D_SIZES = (10, 10, 10, 8, 4, 15)
MPI3D_SIZES = (6, 6, 2, 3, 3, 40, 40)
COMPLEX_SIZES = (4, 4, 2, 3, 3, 40, 40)
NORB_SIZES = (5, 10, 9, 18, 6)
TRAINING, TESTING = small_norb._HALVES
CARS = ["car_030_mesh", "car_004_mesh", "car_111_mesh"]
ATTRIBUTES = ["5_o_Clock_Shadow", "Bald", "Young"]
PICTURES = [f"{i:06}.jpg" for i in (3, 1, 2, 7, 5)]
STEPS = np.array([[0, 0, 1], [1, 0, 1], [0, 1, 0], [1, 1, 1], [0, 0, 0]])
PARTS = [0, 2, 0, 1, 2]
DEBIAN = Path("/usr/share/datasets/fashion-mnist")


@pytest.fixture(autouse=True)
def data_dir(tmp_path, monkeypatch):
    """Create an empty folder in which the data sets search for files, and an empty cache."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("KERAS_DISENT_DATA", str(folder))
    monkeypatch.setenv("KERAS_DISENT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(FashionMNIST, "system_folders", ())
    return folder


def cached():
    """Return the names of the files in the cache, without the list of cars."""
    names = [path.name for path in Path(os.environ["KERAS_DISENT_CACHE"]).glob("*")]
    return sorted(name for name in names if not name.startswith("cars3d-names"))


def assert_error(make, *parts, error=ValueError):
    """Check the error message of a data set, and that nothing is cached."""
    with pytest.raises(error) as caught:
        make()
    for part in parts:
        assert part in str(caught.value)
    assert not cached()


def write_folder(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)


# -- dSprites: images of 5 x 4 pixels, the bits of a number ----------------------------------------


@functools.cache
def sprites():
    """Make the images and the classes."""
    classes = grid_of(DSPRITES_SIZES)
    number = np.arange(len(classes), dtype=">u4").view(np.uint8).reshape(-1, 4)
    return np.unpackbits(number, axis=1)[:, 12:].reshape(-1, 5, 4), classes


def write_sprites_npz(folder):
    images, classes = sprites()
    metadata = np.array({"title": "dSprites"}, dtype=object)  # pickled: never read
    np.savez_compressed(
        folder / f"{DSPRITES}.npz", imgs=images, latents_classes=classes, metadata=metadata
    )


def write_sprites_hdf5(folder):
    images, classes = sprites()
    with h5py.File(folder / f"{DSPRITES}.hdf5", "w") as file:
        packed = {"compression": "gzip", "compression_opts": 1}
        file.create_dataset("imgs", data=images, chunks=(23040, 2, 4), **packed)
        file.create_dataset("latents/classes", data=classes, chunks=(23040, 1), **packed)


# -- 3D Shapes and MPI3D: colors that encode the index ---------------------------------------------


def room_values():
    hue = np.arange(10) / 10
    angles = np.linspace(-30, 30, 15)
    return [hue, hue, hue, np.linspace(0.75, 1.25, 8), np.arange(4.0), angles]


@functools.cache
def rooms():
    """Make images and labels in random order."""
    steps = grid_of(SHAPES3D_SIZES)
    order = np.random.default_rng(0).permutation(len(steps))
    columns = [v[s] for v, s in zip(room_values(), steps[order].T, strict=True)]
    return colors_of(len(steps))[order], np.stack(columns, axis=1)


def write_rooms(folder, file="3dshapes.h5", **settings):
    images, labels = rooms()
    with h5py.File(folder / file, "w") as target:
        target.create_dataset("images", data=images, **settings)
        target["labels"] = labels


def write_arms(folder, file, *, sizes=MPI3D_SIZES, shape=(-1,), save=np.savez):
    images = colors_of(int(np.prod(sizes))).reshape(*shape, 2, 1, 3)
    save(folder / file, images=images)


# -- smallNORB: images of 2 x 2 pixels that encode the index ---------------------------------------


def norb_pixels(index):
    parts = [index & 255, index >> 8, np.full_like(index, 7), index % 5]
    return np.stack(parts, axis=1).reshape(-1, 2, 2, 1)


@functools.cache
def norb(paint=norb_pixels):
    """Make the arrays of both halves in random order; the second of a pair is inverted."""
    rng = np.random.default_rng(0)
    steps = grid_of(NORB_SIZES)
    arrays = {}
    for half, instances in ((TRAINING, (4, 6, 7, 8, 9)), (TESTING, (0, 1, 2, 3, 5))):
        index = rng.permutation(np.flatnonzero(np.isin(steps[:, 1], instances)))
        left = paint(index)[..., 0]
        arrays[half, "dat"] = np.stack([left, 255 - left], axis=1).astype(np.uint8)
        arrays[half, "cat"] = steps[index, 0].astype(np.int32)
        arrays[half, "info"] = (steps[index, 1:] * [1, 1, 2, 1]).astype(np.int32)
    return arrays


def write_norb(folder, arrays=None, suffix=".mat.gz"):
    for (half, kind), array in (arrays or norb()).items():
        data = norb_bytes(array)
        path = folder / f"{half}-{kind}{suffix}"
        path.write_bytes(gzip.compress(data, 1) if suffix == ".mat.gz" else data)


# -- Cars3D: MATLAB files of each car, in an archive or a folder -----------------------------------


def car(number, height=3, width=3):
    """Make a car as published, (height, width, rgb, azimuth, elevation), with unique pixels."""
    y, x, _, azimuth, elevation = np.ogrid[:height, :width, :1, :24, :4]
    colors = np.broadcast_arrays(number, 16 * y + x, 4 * azimuth + elevation)
    return np.concatenate(colors, axis=2).astype(np.uint8)


def car_pixels():
    cars = np.stack([car(i) for i in range(len(CARS))])
    return cars.transpose(5, 4, 0, 1, 2, 3).reshape(-1, 3, 3, 3)


def mat(packed=True, **variables):
    file = io.BytesIO()
    savemat(file, variables, do_compression=packed)
    return file.getvalue()


def car_files(**sizes):
    files = {"list.txt": "".join(f"{name}\n" for name in CARS).encode()}
    for i, name in enumerate(CARS):
        im = car(i, **sizes)
        files[f"{name}.mat"] = mat(mask=np.zeros((*im.shape[:2], 24, 4), np.uint8), im=im)
    return files


def write_tar(folder, files=None, prefix="", more=()):
    """Write the archive, with its list at the end, and with unrelated members."""
    members = {"data/sprites/a.mat": b"not ours", "data/cars/../cars/list.txt": b"nor this"}
    for name, data in sorted((files or car_files()).items()):
        members[f"{prefix}data/cars/{name}"] = data
    path = folder / cars3d._ARCHIVE
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        for member in more:
            archive.addfile(member)
    return path


# -- CelebA: central squares of 8 x 8 pixels in white images ---------------------------------------


def gray(number):
    return 20 * number + 10


def jpeg(number):
    pixels = np.full((40, 24, 3), 255, np.uint8)
    pixels[16:24, 8:16] = gray(number)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95, subsampling=0)
    return file.getvalue()


def faces():
    return {name: jpeg(i) for i, name in enumerate(PICTURES)}


def attribute_text():
    rows = [f"{file}  {row}" for file, row in zip(PICTURES, _signs("{:2}", " "), strict=True)]
    return "\r\n".join([str(len(rows)), " ".join(ATTRIBUTES) + " ", *rows]) + "\r\n"


def attribute_csv():
    rows = [f"{file},{row}" for file, row in zip(PICTURES, _signs("{}", ","), strict=True)]
    return "\n".join([",".join(["image_id", *ATTRIBUTES]), *rows]) + "\n"


def _signs(form, separator):
    return [separator.join(map(form.format, row)) for row in 2 * STEPS - 1]


def partition_text(separator=" ", pictures=PICTURES, parts=PARTS):
    return "".join(f"{p}{separator}{s}\n" for p, s in zip(pictures, parts, strict=False))


def write_zip(folder, pictures=None, prefix="img_align_celeba/"):
    with zipfile.ZipFile(folder / "img_align_celeba.zip", "w") as archive:
        archive.writestr("img_align_celeba/", b"")
        archive.writestr("__MACOSX/img_align_celeba/._000001.jpg", b"not ours")
        for name, data in sorted((pictures or faces()).items()):
            archive.writestr(prefix + name, data)


def write_celeba(folder, kind="zip", lists="txt"):
    if kind == "zip":
        write_zip(folder)
    else:
        write_folder(folder / kind, faces())
    is_text = lists == "txt"
    attributes = attribute_text() if is_text else attribute_csv()
    parts = partition_text() if is_text else "image_id,partition\n" + partition_text(",")
    (folder / f"list_attr_celeba.{lists}").write_text(attributes)
    (folder / f"list_eval_partition.{lists}").write_text(parts)


def small_celeba(**options):
    return CelebA(**{"image_size": 4, "crop": 8, "verify": False} | options)


# -- MNIST and Fashion-MNIST -----------------------------------------------------------------------


def digits(count=300):
    number = np.arange(count)
    images = np.zeros((count, 3, 4), np.uint8)
    images[:, 0, 0], images[:, 0, 1], images[:, 2, 3] = number & 255, number >> 8, 9
    return images, (number * 7 % 10).astype(np.uint8)


def write_digits(folder, stem="train", mark="-", suffix="", images=None, labels=None):
    arrays = digits()
    for kind, axes, array in (("images", 3, images), ("labels", 1, labels)):
        data = idx_bytes(arrays[axes == 1] if array is None else array)
        path = folder / f"{stem}-{kind}{mark}idx{axes}-ubyte{suffix}"
        path.write_bytes(gzip.compress(data, 1) if suffix else data)


# -- what they hold --------------------------------------------------------------------------------


class Content(NamedTuple):
    """What a data set holds: pixels and steps in its order, and some values of factors."""

    pixels: Callable[[], np.ndarray]
    steps: Callable[[], np.ndarray]
    kinds: str
    values: dict


def grid(sizes, kinds, values, pixels=None):
    return Content(
        pixels or (lambda: colors_of(int(np.prod(sizes)))), lambda: grid_of(sizes), kinds, values
    )


ARM_KINDS = "categorical categorical ordinal ordinal categorical ordinal ordinal"
SPRITES = grid(
    DSPRITES_SIZES,
    "constant categorical ordinal circular ordinal ordinal",
    {"shape": ["square", "ellipse", "heart"], "orientation": [0, 2 * np.pi / 39]},
    lambda: sprites()[0][..., None] * np.uint8(255),
)
ROOMS = grid(
    SHAPES3D_SIZES,
    "circular circular circular ordinal categorical ordinal",
    {
        "floor_hue": room_values()[0],
        "scale": room_values()[3],
        "shape": ["cube", "cylinder", "sphere", "capsule"],
        "orientation": room_values()[5],
    },
)
ARMS = grid(MPI3D_SIZES, ARM_KINDS, {"object_color": ["white", "green", "red", "blue", "brown"]})
COMPLEX = grid(COMPLEX_SIZES, ARM_KINDS, {"object_shape": ["coffee-cup", "tennis-ball"]})
EARLY = grid(COMPLEX_SIZES, ARM_KINDS, {"object_shape": [0, 1, 2, 3]})
NORB = grid(
    NORB_SIZES,
    "categorical categorical ordinal circular categorical",
    {
        "category": ["animal", "human", "plane", "truck", "car"],
        "instance": range(10),
        "elevation": range(30, 75, 5),
        "azimuth": range(0, 360, 20),
    },
    lambda: norb_pixels(np.arange(48_600)),
)
CAR = grid(
    (4, 24, 3),
    "ordinal circular categorical",
    {"elevation": range(4), "azimuth": range(0, 360, 15), "object_type": CARS},
    car_pixels,
)
FACES = Content(
    lambda: np.broadcast_to(gray(np.arange(5))[:, None, None, None], (5, 4, 4, 3)),
    lambda: STEPS,
    "categorical categorical categorical",
    {"5_o_Clock_Shadow": ["no", "yes"], "Bald": ["no", "yes"], "Young": ["no", "yes"]},
)
DIGITS = Content(
    lambda: digits()[0][..., None],
    lambda: digits()[1][:, None],
    "categorical",
    {"digit": range(10)},
)
ARTICLES = DIGITS._replace(values={"article": ["T-shirt/top", "Trouser", "Pullover", "Dress"]})


class Layout(NamedTuple):
    """A layout of files: how to read and to write it, and what it holds.

    Attributes:
        make: Function that opens the data set, which accepts `verify`.
        content: What it holds.
        write: Function that writes the files into a folder.
        entries: Number of files in the cache after it was opened.
        inside: Subfolder of the data folder.
    """

    make: Callable
    content: Content
    write: Callable
    entries: int = 1
    inside: str = ""


p = functools.partial
REAL, TINY_NORB, TINY_CARS = p(MPI3D, "real"), p(SmallNORB, image_size=2), p(Cars3D, image_size=3)
FACE_FOLDER = "img_align_celeba/img_align_celeba"
GZIPPED = {"compression": "gzip", "chunks": (1000, 2, 1, 3)}
LAYOUTS = {
    "dSprites npz": Layout(DSprites, SPRITES, write_sprites_npz),
    "dSprites hdf5": Layout(DSprites, SPRITES, write_sprites_hdf5, inside="dsprites"),
    "3D Shapes": Layout(Shapes3D, ROOMS, p(write_rooms, **GZIPPED), 0, "shapes3d"),
    "3D Shapes converted": Layout(
        Shapes3D, ROOMS, p(write_rooms, file="3dshapes.contiguous.h5"), 0
    ),
    "MPI3D": Layout(REAL, ARMS, p(write_arms, file="mpi3d_real.npz", shape=MPI3D_SIZES), 0),
    "MPI3D compressed": Layout(
        REAL, ARMS, p(write_arms, file="mpi3d_real.npz", save=np.savez_compressed), 1, "mpi3d"
    ),
    "MPI3D early": Layout(
        MPI3D, EARLY, p(write_arms, file="mpi3d_toy.npz", sizes=COMPLEX_SIZES), 0
    ),
    **{
        file: Layout(p(MPI3D, "complex"), COMPLEX, p(write_arms, file=file, sizes=COMPLEX_SIZES), 0)
        for file in (
            "real3d_complicated_shapes_ordered.npz",
            "mpi3d_real_complex.npz",
            "mpi3d_complex.npz",
        )
    },
    "smallNORB": Layout(TINY_NORB, NORB, write_norb, inside="small_norb"),
    "smallNORB unpacked": Layout(TINY_NORB, NORB, p(write_norb, suffix=".mat")),
    "Cars3D": Layout(TINY_CARS, CAR, write_tar),
    "Cars3D ./": Layout(TINY_CARS, CAR, p(write_tar, prefix="./")),
    **{
        folder: Layout(TINY_CARS, CAR, lambda path: write_folder(path, car_files()), inside=folder)
        for folder in ("cars", "data/cars", "cars3d/cars")
    },
    "CelebA": Layout(small_celeba, FACES, write_celeba, inside="celeba"),
    "CelebA folder": Layout(small_celeba, FACES, p(write_celeba, kind="img_align_celeba")),
    "CelebA csv": Layout(small_celeba, FACES, p(write_celeba, kind=FACE_FOLDER, lists="csv")),
    "MNIST": Layout(MNIST, DIGITS, p(write_digits, suffix=".gz"), 1, "mnist"),
    "MNIST unpacked": Layout(MNIST, DIGITS, write_digits, 0),
    "MNIST test": Layout(
        p(MNIST, "test"), DIGITS, p(write_digits, stem="t10k", mark=".", suffix=".gz")
    ),
    "Fashion-MNIST": Layout(FashionMNIST, ARTICLES, p(write_digits, suffix=".gz")),
}


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Return a function that writes a layout once, and copies its files into a folder."""

    @functools.cache
    def written(name):
        folder = tmp_path_factory.mktemp("published")
        LAYOUTS[name].write(folder)
        return folder

    return lambda name, folder: shutil.copytree(written(name), folder, dirs_exist_ok=True)


@pytest.mark.parametrize("name", LAYOUTS)
def test_pixels_and_factors(name, published, data_dir):
    layout, content = LAYOUTS[name], LAYOUTS[name].content
    published(name, data_dir / layout.inside)
    data = layout.make(verify=False)
    pixels, steps = content.pixels(), content.steps()
    indices = np.arange(len(data))
    images = data.images(indices)
    assert (images.dtype, data.image_shape) == (np.uint8, pixels.shape[1:])
    if content is FACES:
        assert abs(images.astype(int) - pixels).max() <= 2  # JPEG
    else:
        assert (images == pixels).all()
    some = [3, len(data) - 1, 3]
    assert (data.images(some) == images[some]).all()
    assert data.images([]).shape == (0, *data.image_shape)
    assert (data.factors(indices) == steps).all()
    assert data.factor_sizes == tuple(map(len, data.factor_values.values()))
    assert (tuple(data.factor_values), data.factor_kinds) == (
        data.factor_names,
        tuple(content.kinds.split()),
    )
    for factor, values in content.values.items():
        assert data.factor_values[factor][: len(values)].tolist() == pytest.approx(list(values))
    if content not in (FACES, DIGITS, ARTICLES):
        assert isinstance(data, GroundTruth)
        assert (data.indices(steps) == indices).all()

    before = cached()
    assert len(before) == layout.entries
    assert (layout.make(verify=False).images(some) == images[some]).all()
    assert cached() == before


TRUNCATED = {
    "dSprites npz": [f"{DSPRITES}.npz"],
    "dSprites hdf5": [f"{DSPRITES}.hdf5"],
    "3D Shapes": ["3dshapes.h5"],
    "MPI3D": ["mpi3d_real.npz"],
    "smallNORB": [f"{TRAINING}-dat.mat.gz", f"{TESTING}-info.mat.gz"],
    "smallNORB unpacked": [f"{TRAINING}-cat.mat"],
    "Cars3D": [cars3d._ARCHIVE],
    "cars": [f"{CARS[1]}.mat"],
    "CelebA": ["img_align_celeba.zip", "list_attr_celeba.txt", "list_eval_partition.txt"],
    "CelebA csv": ["list_attr_celeba.csv", "list_eval_partition.csv"],
    "MNIST": ["train-images-idx3-ubyte.gz"],
    "MNIST unpacked": ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"],
}


@pytest.mark.parametrize(("name", "file"), [(n, f) for n, fs in TRUNCATED.items() for f in fs])
def test_truncated_and_missing_files(name, file, published, data_dir):
    layout = LAYOUTS[name]
    options = {"part": "test"} if layout.content is FACES else {}
    make = p(layout.make, verify=False, **options)
    published(name, data_dir / layout.inside)
    path = data_dir / layout.inside / file
    complete = path.read_bytes()
    for data in (complete[: len(complete) // 2], b"junk\0" * 99, b""):
        path.write_bytes(data)
        assert_error(make, file, " needs ", "Got")
    path.unlink()
    assert_error(make, file, error=FileNotFoundError)
    shutil.rmtree(data_dir)
    assert_error(make, " is not in ", "Download ", " from http", error=FileNotFoundError)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("dSprites npz", f"{DSPRITES}.npz"),
        ("MPI3D compressed", "mpi3d_real.npz"),
        ("smallNORB", f"{TESTING}-cat.mat.gz"),
        ("Cars3D", cars3d._ARCHIVE),
        ("cars", f"{CARS[1]}.mat"),
        ("CelebA", "img_align_celeba.zip"),
        ("CelebA folder", "img_align_celeba/000001.jpg"),
        ("MNIST", "train-images-idx3-ubyte.gz"),
    ],
)
def test_files_are_read_again_after_they_change(name, file, published, data_dir):
    layout = LAYOUTS[name]
    published(name, data_dir / layout.inside)
    layout.make(verify=False)
    before = cached()
    path = data_dir / layout.inside / file
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=times)  # a changed file is read again, whatever its timestamps say
    with pytest.raises(ValueError, match=Path(file).name):
        layout.make(verify=False)
    assert cached() == before


# Small files have other sizes and checksums than published ones, and fewer pictures.
CHECKED = [
    ("dSprites hdf5", "28024106 bytes", {}, None),
    ("3D Shapes", "267573662 bytes", {}, None),
    ("smallNORB", "131896188 bytes", {}, None),
    ("Cars3D", "the md5 4e866a79", {"cars3d._CARS": 3}, "183 cars. Got 3"),
    (
        "CelebA",
        "26721026 bytes",
        {"celeba._COUNT": 5, "celeba._ATTRIBUTES": 3},
        "40 attributes of 202599 images. Got 3 of 5",
    ),
    ("MNIST", "the md5 f68b3c2d", {"idx._PARTS": {"train": ("train", 300)}}, "60000 images"),
    ("Fashion-MNIST", "the md5 8d4fb7e6", {"idx._PARTS": {"train": ("train", 300)}}, "60000"),
]


@pytest.mark.parametrize(("name", "message", "counts", "count_message"), CHECKED)
def test_checksums_and_counts(
    name, message, counts, count_message, published, data_dir, monkeypatch
):
    layout = LAYOUTS[name]
    kind = getattr(layout.make, "func", layout.make)
    kind = CelebA if kind is small_celeba else kind
    options = {"part": "test"} if kind is CelebA else {}
    make = p(layout.make, verify=True, **options)
    published(name, data_dir)
    assert_error(make, "' needs ", message)
    paths = sorted(data_dir.iterdir())
    files = [File(path.name, sha256=_sha256(path)) for path in paths]
    monkeypatch.setattr(kind, "card", dataclasses.replace(kind.card, files=tuple(files)))
    if count_message:
        with pytest.raises(ValueError, match=count_message):
            make()
    for constant, value in counts.items():
        monkeypatch.setattr(f"keras_disent.datasets.published.{constant}", value)
    for i, path in enumerate(paths):
        wrong = (*files[:i], File(path.name, sha256="0" * 64), *files[i + 1 :])
        shutil.rmtree(os.environ["KERAS_DISENT_CACHE"], ignore_errors=True)
        with monkeypatch.context() as patch:
            patch.setattr(kind, "card", dataclasses.replace(kind.card, files=wrong))
            with pytest.raises(ValueError, match=f"{path.name}' needs the sha256 0000"):
                make()
    assert len(make())


def _sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("kind", [DSprites, Shapes3D, MPI3D, SmallNORB, Cars3D, CelebA, MNIST])
def test_cards_are_complete(kind):
    card = kind.card
    assert card.files
    assert all((card.title, card.page, card.download, card.license, card.citation))
    assert pickle.loads(pickle.dumps(card)) == card
    assert kind.name == kind.name.lower()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SmallNORB(image_size=0), "`image_size` must be an integer"),
        (lambda: CelebA(crop=0), "`crop` must be an integer"),
        (lambda: CelebA(part="valid"), "`part` needs to be one of train, .* Got 'valid'"),
        (lambda: MNIST("validation"), "one of train, test. Got 'validation'"),
        (lambda: MPI3D("fake"), "`part` is one of toy, realistic, real, complex. Got 'fake'"),
    ],
)
def test_wrong_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# -- wrong arrays in files that NumPy and h5py read ------------------------------------------------

OBJECTS = np.array({}, dtype=object)
CLASSES = "integers 'latents_classes' of shape (737280, 6). Got "
WRONG_SPRITES = [
    (lambda i, c: {"latents_classes": c}, "a member 'imgs'"),
    (lambda i, c: {"imgs": OBJECTS}, "numbers or texts. Got Python objects, which are never"),
    (lambda i, c: {"imgs": i[:10]}, "of shape (737280, height, width). Got uint8 (10, 5, 4)"),
    (lambda i, c: {"imgs": i.reshape(-1, 20)}, "height, width). Got uint8 (737280, 20)"),
    (lambda i, c: {"imgs": i.view(np.int8)}, "uint8 'imgs' of shape (737280, height"),
    (lambda i, c: {"imgs": i * np.uint8(255), "latents_classes": c}, "Got 255 in image 1."),
    (lambda i, c: {"imgs": i, "latents_classes": c[:, 1:]}, CLASSES + "int64 (737280, 5)"),
    (lambda i, c: {"imgs": i, "latents_classes": c / 2}, CLASSES + "float64"),
    (
        lambda i, c: {"imgs": i, "latents_classes": changed(c, 300_000, c[300_001])},
        "[0, 1, 1, 12, 31, 0] in row 300000 of 'latents_classes'. Got [0, 1, 1, 12, 31, 1]",
    ),
]
WRONG_ROOMS = [
    (lambda i, v: {"images": i[:, :, 0], "labels": v}, "uint8 'images' of shape (480000, height"),
    (lambda i, v: {"images": i[1:], "labels": v}, "Got uint8 (479999, 2, 1, 3)"),
    (lambda i, v: {"images": i.view(np.int8), "labels": v}, "Got int8 (480000, 2, 1, 3)"),
    (lambda i, v: {"labels": v[:, 1:]}, "floats 'labels' of shape (480000, 6)"),
    (lambda i, v: {"labels": v.astype(int)}, "Got int64 (480000, 6)"),
    (lambda i, v: {"labels": changed(v, (7, 0), np.nan)}, "'labels' once. Got (11, 10, 10, 8,"),
    (lambda i, v: {"labels": v[:, ::-1]}, "'labels' once. Got (15, 4, 8, 10, 10, 10) values"),
    (lambda i, v: {"labels": changed(v, 7, v[8])}, "each combination of (10, 10, 10, 8, 4, 15)"),
]
WRONG_ARMS = [
    (lambda i: {"images": i[1:]}, "where n is 1036800 or 460800 or the sizes of the factors"),
    (lambda i: {"images": i.view(np.int8)}, "uint8 'images' of shape (n, height, width, 3)"),
    (lambda i: {"images": i.reshape(-1, 1, 3, 2)}, "Got uint8 (1036800, 1, 3, 2)"),
    (lambda i: {"images": i.reshape(6, 6, 3, 2, 3, 40, 40, 2, 1, 3)}, "Got uint8 (6, 6, 3, 2, 3,"),
]


@pytest.mark.parametrize(("members", "message"), WRONG_SPRITES)
def test_wrong_dsprites(members, message, data_dir):
    np.savez(data_dir / f"{DSPRITES}.npz", **members(*sprites()))
    assert_error(DSprites, f"{DSPRITES}.npz' needs ", message)


@pytest.mark.parametrize(("members", "message"), WRONG_ROOMS)
def test_wrong_shapes3d(members, message, data_dir):
    with h5py.File(data_dir / "3dshapes.contiguous.h5", "w") as file:  # it has no checksum
        file.update(members(*rooms()))
    assert_error(Shapes3D, "3dshapes.contiguous.h5' needs ", message)


@pytest.mark.parametrize(("members", "message"), WRONG_ARMS)
def test_wrong_mpi3d(members, message, data_dir):
    np.savez(data_dir / "mpi3d_real.npz", **members(colors_of(1_036_800)))
    assert_error(REAL, "mpi3d_real.npz' needs ", message)


@pytest.mark.parametrize(
    ("name", "other"),
    [("dSprites npz", f"{DSPRITES}.hdf5"), ("3D Shapes converted", "3dshapes.h5")],
)
def test_preferred_files(name, other, published, data_dir):
    published(name, data_dir)
    (data_dir / other).write_bytes(b"not looked at")
    assert len(LAYOUTS[name].make())


def test_dsprites_have_one_bit_per_pixel(published, data_dir):
    published("dSprites npz", data_dir)
    DSprites()
    (entry,) = Path(os.environ["KERAS_DISENT_CACHE"]).iterdir()
    assert entry.stat().st_size == 737_280 * 3 + 128


def test_slow_chunks_of_shapes3d(published, data_dir):
    published("3D Shapes", data_dir)
    with pytest.warns(UserWarning, match=r"slow to read: .* keras-disent data convert"):
        Shapes3D(verify=False)


# -- smallNORB -------------------------------------------------------------------------------------


def test_norb_is_resized(data_dir):
    ramp = np.arange(6)[:, None] * 20 + np.arange(8) * 5

    def paint(index):
        return (ramp + index[:, None, None] % 7).astype(np.uint8)[..., None]

    write_norb(data_dir, norb(paint), ".mat")
    data = SmallNORB(image_size=3)
    for index in (0, 12_345, 48_599):
        expected = resize(Image.fromarray(paint(np.array([index]))[0, ..., 0]), (3, 3))
        assert (data.images([index])[0, ..., 0] == np.asarray(expected)).all()


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("cat", lambda a: changed(a, 3, 5), "each combination of category, instance"),
        ("cat", lambda a: changed(a, 3, -2), "a step out of range"),
        ("cat", lambda a: a.astype(np.int16), "Got int16"),
        ("info", lambda a: changed(a, 3, a[4]), "a combination twice"),
        ("info", lambda a: a[:, :3], "labels of int32 of the shape (24300, 4)"),
        ("dat", lambda a: a[:, :1], "bytes of the shape (24300, 2, height, width)"),
        ("dat", lambda a: a[..., 0], "bytes of the shape (24300, 2, height, width)"),
        ("dat", lambda a: a.astype(np.int16), "Got int16"),
    ],
)
def test_wrong_norb(data_dir, kind, change, message):
    write_norb(data_dir, norb() | {(TESTING, kind): change(norb()[TESTING, kind])}, ".mat")
    assert_error(TINY_NORB, f"{TESTING}-{kind}.mat", message)


# -- Cars3D ----------------------------------------------------------------------------------------


def test_cars_are_resized(data_dir):
    write_tar(data_dir, car_files(height=6, width=8))
    data = Cars3D(image_size=4, verify=False)
    expected = resize(Image.fromarray(car(1, 6, 8)[..., 5, 2]), (4, 4))
    assert (data.images(data.indices([[2, 5, 1]]))[0] == np.asarray(expected)).all()


def test_car_of_a_big_endian_machine(data_dir):
    def element(kind, body):
        return struct.pack(">2I", kind, len(body)) + body + bytes(-len(body) % 8)

    flags, dims = struct.pack(">2I", 9, 0), struct.pack(">5i", 3, 3, 3, 24, 4)
    parts = [(6, flags), (5, dims), (1, b"im"), (2, car(0).tobytes("F"))]
    body = element(14, b"".join(element(*part) for part in parts))
    data = b"MATLAB".ljust(124) + b"\1\0MI" + body
    write_folder(data_dir / "cars", {"list.txt": b"car_1", "car_1.mat": data})
    assert (TINY_CARS(verify=False).images(np.arange(96)) == car_pixels()[::3]).all()


def car_of_type(kind):
    """Make a car whose pixels claim another of MATLAB's types."""
    data = mat(False, im=car(0))
    tag, other = (struct.pack("<2I", code, car(0).size) for code in (2, kind))
    assert data.count(tag) == 1
    return data.replace(tag, other)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x89HDF" * 40, "MATLAB file of version 5"),
        (mat(False, im=car(0))[:-9], "MATLAB file of version 5"),
        (mat(im=car(0))[:128], "'im' of uint8"),
        (mat(im=car(0) / 255), "(3, 3, 3, 24, 4) in 20736 bytes of type 9"),
        (mat(im=car(0)[:, :, :, :23]), "Got (3, 3, 3, 23, 4)"),
        (car_of_type(65535), "2592 bytes of type 65535"),
        (mat(im=car(0, 4, 3)), "the shape (4, 24, 3, 3, 3). Got (4, 24, 4, 3, 3)"),
    ],
)
def test_wrong_car(data_dir, data, message):
    write_folder(data_dir / "cars", car_files() | {f"{CARS[2]}.mat": data})
    assert_error(p(TINY_CARS, verify=False), f"{CARS[2]}.mat", message)


TOO_LONG = b"car_1" + b"\n" * 2**16


@pytest.mark.parametrize("text", [b"", b"a\n../b\n", b"a\nb\na\n", b"\xff\xfe", TOO_LONG])
def test_wrong_list_of_cars(data_dir, text):
    write_folder(data_dir / "cars", car_files() | {"list.txt": text})
    assert_error(TINY_CARS, "list.txt' needs at most 65536 bytes of different names of cars")


def test_wrong_archive_of_cars(data_dir):
    make = p(TINY_CARS, verify=False)
    files = car_files()
    last = files.pop(f"{CARS[2]}.mat")
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE):
        link = tarfile.TarInfo(f"data/cars/{CARS[2]}.mat")
        link.type, link.linkname = kind, "/etc/passwd"
        write_tar(data_dir, files, more=[link])
        assert_error(make, cars3d._ARCHIVE, f"the member 'data/cars/{CARS[2]}.mat'. Got none")
    path = write_tar(data_dir, files | {f"{CARS[2]}.mat": last[:-9]})
    assert_error(make, f"{CARS[2]}.mat", "MATLAB file of version 5")
    path.write_bytes(gzip.compress(b"junk" * 999))
    assert_error(make, cars3d._ARCHIVE, "a gzipped tar archive")
    path.unlink()
    path.mkdir()
    assert_error(make, cars3d._ARCHIVE)


@settings(
    derandomize=True,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1),
    st.booleans(),
)
def test_any_car(data_dir, changes, packed):
    """Changed bytes give images, or an error that names the file."""
    data = bytearray(mat(packed, im=car(0, 1, 1)))
    for place, value in changes:
        data[int(place * len(data))] = value
    write_folder(data_dir / "cars", {"list.txt": b"car_1", "car_1.mat": data})
    message = "car_1.mat"
    try:
        assert len(Cars3D(image_size=1, verify=False).images(np.arange(96))) == 96
    except ValueError as error:
        message = str(error)
    assert "car_1.mat" in message
    assert not [name for name in cached() if name.endswith(".part")]


# -- CelebA ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["CelebA", "CelebA csv"])
def test_parts_of_celeba(name, published, data_dir):
    published(name, data_dir)
    data = small_celeba()
    for part, number in (("train", 0), ("validation", 1), ("test", 2)):
        rows = np.flatnonzero(np.array(PARTS) == number)
        subset = small_celeba(part=part)
        assert len(subset) == len(rows)
        assert (subset.images(np.arange(len(rows))) == data.images(rows)).all()
        assert (subset.factors(np.arange(len(rows))) == STEPS[rows]).all()
    assert len(cached()) == 1  # all parts are rows of one file
    for path in data_dir.glob("list_eval_partition.*"):
        path.unlink()
    assert len(small_celeba()) == 5


def test_celeba_is_cropped_and_changes_with_a_picture(published, data_dir):
    published("CelebA folder", data_dir)
    path = data_dir / "img_align_celeba" / PICTURES[0]
    for _ in range(2):
        pixels = np.asarray(Image.open(path))
        assert (small_celeba(crop=24, image_size=24).images([0])[0] == pixels[8:32]).all()
        path.write_bytes(jpeg(4))


def test_wrong_faces(published, data_dir):
    published("CelebA", data_dir)
    path = data_dir / "img_align_celeba.zip"
    data = path.read_bytes()
    place = data.index(b"\xff\xd8") + 100
    path.write_bytes(data[:place] + b"xx" + data[place + 2 :])
    assert_error(small_celeba, "img_align_celeba.zip/000001.jpg' needs to be readable", "CRC")
    write_zip(data_dir, faces() | {PICTURES[2]: b""})
    assert_error(small_celeba, PICTURES[2], "as a picture: ")
    write_zip(data_dir)
    assert_error(p(small_celeba, crop=25), ".jpg", "`crop` cuts 25 pixels out of it")
    write_zip(data_dir, faces() | {"000009.jpg": b""})
    message = "img_align_celeba.zip' needs the pictures of 'list_attr_celeba.txt'. Got "
    assert_error(small_celeba, message + "'000009.jpg' in only one of them")
    write_zip(data_dir, prefix="../img_align_celeba/")
    assert_error(small_celeba, message + "'000001.jpg' in only one of them")


TEXT, CSV = attribute_text(), attribute_csv()
ONE_ROW = "one row for each picture: a name such as 000001.jpg, and "
WRONG_LISTS = [
    ("list_attr_celeba.txt", "5\nA B A\n", "different names of attributes"),
    ("list_attr_celeba.txt", "0\nA B C\n", "rows of pictures. Got none"),
    ("list_attr_celeba.txt", TEXT + "é", "plain text"),
    ("list_attr_celeba.csv", CSV.replace("000007.jpg", "../7.jpg"), "Got '../7.jpg 1 1 1'"),
    ("list_attr_celeba.csv", CSV + CSV.splitlines()[1], ONE_ROW + "3 values of -1, 1"),
    ("list_attr_celeba.csv", CSV.replace("07.jpg", "07.jpg,1"), "Got '000007.jpg 1 1 1 1'"),
    ("list_attr_celeba.csv", CSV.replace("07.jpg,1", "07.jpg,2"), "Got '000007.jpg 2 1 1'"),
    ("list_eval_partition.txt", partition_text(parts=[3] * 5), ONE_ROW + "1 values of 0, 1, 2"),
    ("list_eval_partition.txt", partition_text(parts=PARTS[:4]), "Got '000005.jpg' in only one"),
    ("list_eval_partition.txt", partition_text(parts=[2] * 5), "part 'train' (0). Got none"),
]


@pytest.mark.parametrize(("file", "text", "message"), WRONG_LISTS)
def test_wrong_lists_of_faces(data_dir, file, text, message):
    write_celeba(data_dir, lists=file[-3:])
    (data_dir / file).write_text(text, encoding="utf-8")
    assert_error(p(small_celeba, part="train"), file, message)


# -- MNIST and Fashion-MNIST -----------------------------------------------------------------------

IMAGES, LABELS = digits()


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize(
    ("kind", "array", "message"),
    [
        ("images", IMAGES[0], "images of bytes. Got uint8 (3, 4)"),
        ("images", IMAGES[:0], "Got uint8 (0, 3, 4)"),
        ("images", IMAGES.view(np.int8), "Got int8"),
        ("labels", LABELS[:-1], "300 labels of bytes. Got uint8 (299,)"),
        ("labels", LABELS + np.uint8(1), "labels from 0 to 9. Got 10"),
        ("labels", LABELS.astype(">i4"), "Got >i4 (300,)"),
    ],
)
def test_wrong_digits(data_dir, kind, array, message, suffix):
    write_digits(data_dir, suffix=suffix, **{kind: array})
    with pytest.raises(ValueError, match=f"train-{kind}") as caught:
        MNIST(verify=False)
    assert message in str(caught.value)
    assert len(cached()) == (1 if suffix and kind == "labels" else 0)  # valid images are cached


def test_a_claim_of_too_many_digits(data_dir):
    write_digits(data_dir, suffix=".gz")
    path = data_dir / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(idx_bytes(IMAGES)[:4] + struct.pack(">3I", 2**31, 28, 28)))
    assert_error(p(MNIST, verify=False), path.name, "a claim of")  # before it is unpacked


def test_installed_articles(data_dir, tmp_path, monkeypatch):
    share = tmp_path / "share"
    share.mkdir()
    monkeypatch.setattr(FashionMNIST, "system_folders", (share,))
    monkeypatch.setattr(idx, "_PARTS", {"train": ("train", 300)})
    with pytest.raises(FileNotFoundError, match=str(data_dir)):
        FashionMNIST()
    monkeypatch.delenv("KERAS_DISENT_DATA")
    with pytest.raises(FileNotFoundError, match="KERAS_DISENT_DATA"):
        FashionMNIST()
    write_digits(share, suffix=".gz")
    assert len(FashionMNIST()) == 300  # checksums of system files are not checked
    assert len(FashionMNIST("train", share)) == 300
    with pytest.raises(FileNotFoundError, match="KERAS_DISENT_DATA"):
        MNIST()
    write_digits(data_dir, images=IMAGES[:5], labels=LABELS[:5])
    assert len(FashionMNIST("train", data_dir, verify=False)) == 5
    (data_dir / "train-labels-idx1-ubyte").unlink()
    assert len(FashionMNIST("train", data_dir)) == 300  # both files are from the same folder


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="needs Debian's package dataset-fashion-mnist")
def test_fashion_mnist_of_debian(monkeypatch):
    monkeypatch.setattr(FashionMNIST, "system_folders", (DEBIAN,))
    data = FashionMNIST("test")
    assert (len(data), data.image_shape) == (10_000, (28, 28, 1))
    indices = np.arange(10_000)
    labels = data.factors(indices)[:, 0]
    assert (np.bincount(labels) == 1000).all()
    images = data.images(indices)[..., 0]
    trouser = images[labels == 1].mean(axis=0)  # in the middle columns and not the sides
    assert trouser[:, 10:18].mean() > 5 * trouser[:, :6].mean()
