"""smallNORB, Cars3D, CelebA, MNIST and Fashion-MNIST, read from files in published formats."""

import dataclasses
import functools
import gzip
import hashlib
import io
import itertools
import os
import shutil
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.io import savemat

from keras_disent.datasets.card import File
from keras_disent.datasets.ground_truth import GroundTruth
from keras_disent.datasets.pictures.shapes import resize
from keras_disent.datasets.published import cars3d, celeba, idx, small_norb
from keras_disent.datasets.published.cars3d import Cars3D
from keras_disent.datasets.published.celeba import CelebA
from keras_disent.datasets.published.idx import MNIST, FashionMNIST
from keras_disent.datasets.published.small_norb import SmallNORB

FUZZ = settings(
    derandomize=True,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
DEBIAN = Path("/usr/share/datasets/fashion-mnist")


@pytest.fixture(autouse=True)
def data_dir(tmp_path, monkeypatch):
    """Create an empty folder in which the data sets search for files."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("KERAS_DISENT_DATA", str(folder))
    monkeypatch.setenv("KERAS_DISENT_CACHE", str(tmp_path / "cache"))
    return folder


def cached():
    """Return the names of the files in the cache, without the list of cars."""
    names = [path.name for path in Path(os.environ["KERAS_DISENT_CACHE"]).glob("*")]
    return [name for name in names if not name.startswith("cars3d-list")]


def assert_error(make, *parts, error=ValueError):
    """Check the error message of a data set, and that nothing is cached."""
    with pytest.raises(error) as caught:
        make()
    for part in parts:
        assert part in str(caught.value)
    assert not cached()


def same(data, again):
    indices = np.arange(len(data))
    return (data.images(indices) == again.images(indices)).all()


def assert_cached_until_changed(make, module, file, monkeypatch):
    """Check that files are read once, and again after they change."""
    first = make()

    def fail(*args):
        raise AssertionError("written again")

    monkeypatch.setattr(module, "_write", fail)
    assert same(first, make())
    os.utime(file, (1, 1))
    with pytest.raises(AssertionError, match="written again"):
        make()


# -- smallNORB ------------------------------------------------------------------------------------

TRAINING, TESTING = small_norb._HALVES
NORB_MAGIC = {"uint8": 0x1E3D4C55, "int32": 0x1E3D4C54, "int16": 0x1E3D4C56}
NORB_SIZES = (5, 10, 9, 18, 6)


def write_norb(path, array):
    dims = [*array.shape, *[1] * (3 - array.ndim)]
    magic = NORB_MAGIC[array.dtype.name]
    data = struct.pack(f"<Ii{len(dims)}i", magic, array.ndim, *dims) + array.tobytes()
    path.write_bytes(gzip.compress(data, 1) if path.suffix == ".gz" else data)


def norb_halves(height, width, paint):
    """Make arrays of both halves in random order; `paint(index)` is `(n, height, width)`."""
    rng = np.random.default_rng(0)
    steps = np.stack(np.unravel_index(np.arange(48_600), NORB_SIZES), axis=1)
    arrays = {}
    for half, instances in ((TRAINING, (4, 6, 7, 8, 9)), (TESTING, (0, 1, 2, 3, 5))):
        index = rng.permutation(np.flatnonzero(np.isin(steps[:, 1], instances)))
        left = paint(index)
        dat = np.stack([left, 255 - left], axis=1).astype(np.uint8)
        assert dat.shape == (24_300, 2, height, width)
        info = steps[index, 1:].astype(np.int32)
        info[:, 2] *= 2
        arrays |= {(half, "dat"): dat, (half, "cat"): steps[index, 0].astype(np.int32)}
        arrays[half, "info"] = info
    return arrays


def index_pixels(index):
    """Make images of 2 x 2 pixels that encode the index."""
    parts = [index & 255, index >> 8, np.full_like(index, 7), index % 5]
    return np.stack(parts, axis=1).reshape(-1, 2, 2)


@pytest.fixture(scope="module")
def norb():
    return norb_halves(2, 2, index_pixels)


def write_all_norb(folder, arrays, suffix=".mat"):
    for (half, kind), array in arrays.items():
        write_norb(folder / f"{half}-{kind}{suffix}", array)


@pytest.mark.parametrize(("suffix", "inside"), [(".mat", ""), (".mat.gz", "small_norb")])
def test_norb_images_and_factors(data_dir, norb, suffix, inside):
    (data_dir / inside).mkdir(exist_ok=True)
    write_all_norb(data_dir / inside, norb, suffix)
    data = SmallNORB(image_size=2, verify=suffix == ".mat")  # only .gz files have checksums
    assert isinstance(data, GroundTruth)
    assert (len(data), data.image_shape, data.factor_sizes) == (48_600, (2, 2, 1), NORB_SIZES)
    indices = np.arange(48_600)
    assert (data.images(indices)[..., 0] == index_pixels(indices)).all()
    assert data.factor_kinds == (
        "categorical",
        "categorical",
        "ordinal",
        "circular",
        "categorical",
    )
    values = data.factor_values
    assert list(values) == ["category", "instance", "elevation", "azimuth", "lighting"]
    assert values["category"].tolist() == ["animal", "human", "plane", "truck", "car"]
    assert (values["elevation"][[0, -1]] == (30, 70)).all()
    assert (values["azimuth"][[0, 1, -1]] == (0, 20, 340)).all()

    train, test = data.hold_out({"instance": [0, 1, 2, 3, 5]})
    for part, half in ((train, TRAINING), (test, TESTING)):
        images = {image.tobytes() for image in part.images(np.arange(len(part)))}
        assert images == {image.tobytes() for image in norb[half, "dat"][:, 0]}
    without_instance = data.only("category", "elevation", "azimuth", "lighting")
    assert (len(without_instance), without_instance.stochastic) == (4_860, True)


def test_norb_is_resized_and_cached(data_dir, monkeypatch):
    ramp = np.arange(6)[:, None] * 20 + np.arange(8) * 5

    def paint(index):
        return (ramp + index[:, None, None] % 7).astype(np.uint8)

    write_all_norb(data_dir, norb_halves(6, 8, paint))
    data = SmallNORB(image_size=3)
    for index in (0, 12_345, 48_599):
        expected = resize(Image.fromarray(paint(np.array([index]))[0]), (3, 3))
        assert (data.images([index])[0, ..., 0] == np.asarray(expected)).all()
    file = data_dir / f"{TESTING}-info.mat"
    assert_cached_until_changed(lambda: SmallNORB(image_size=3), small_norb, file, monkeypatch)


def test_norb_checksums(data_dir, norb, monkeypatch):
    write_all_norb(data_dir, norb, ".mat.gz")
    assert_error(lambda: SmallNORB(image_size=2), f"{TRAINING}-dat.mat.gz", "131896188 bytes")
    files = tuple(
        File(path.name, path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in data_dir.iterdir()
    )
    monkeypatch.setattr(SmallNORB, "card", dataclasses.replace(SmallNORB.card, files=files))
    assert len(SmallNORB(image_size=2)) == 48_600


def changed(array, index, value):
    copy = array.copy()
    copy[index] = value
    return copy


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("cat", lambda a: changed(a, 3, 5), "steps from 0 to 4 for the category. Got 5"),
        ("cat", lambda a: changed(a, 3, -1), "steps from 0 to 4 for the category. Got -1"),
        ("cat", lambda a: a.astype(np.int16), "Got int16"),
        ("cat", lambda a: a[:0], "Got int32 (0,)"),
        ("cat", lambda a: a[:-1], "needs 24299 rows"),
        ("info", lambda a: changed(a, (3, 0), 10), "0 to 9 for the instance. Got 10"),
        ("info", lambda a: changed(a, (3, 1), 9), "0 to 8 for the elevation. Got 9"),
        ("info", lambda a: changed(a, (3, 2), 3), "even azimuths"),
        ("info", lambda a: changed(a, (3, 2), 36), "0 to 17 for the azimuth. Got 18"),
        ("info", lambda a: changed(a, (3, 3), 6), "0 to 5 for the lighting. Got 6"),
        ("info", lambda a: changed(a, 3, a[4]), "exactly once"),
        ("info", lambda a: a[:, :3], "of the shape (n, 4)"),
        ("dat", lambda a: a[:-1], "the shape (24300, 2, height, width)"),
        ("dat", lambda a: a[:, :1], "the shape (24300, 2, height, width)"),
        ("dat", lambda a: a.astype(np.int16), "Got int16"),
    ],
)
def test_wrong_norb(data_dir, norb, kind, change, message):
    write_all_norb(data_dir, norb | {(TESTING, kind): change(norb[TESTING, kind])})
    file = f"{TESTING}-{'info' if message.startswith('the shape (24299') else kind}.mat"
    assert_error(lambda: SmallNORB(image_size=2), file, message)


def test_norb_with_missing_or_truncated_files(data_dir, norb):
    assert_error(SmallNORB, "-training-dat.mat.gz", "cs.nyu.edu", error=FileNotFoundError)
    write_all_norb(data_dir, norb)
    complete = (data_dir / f"{TRAINING}-dat.mat").read_bytes()
    (data_dir / f"{TRAINING}-dat.mat").write_bytes(complete[:-5])
    assert_error(lambda: SmallNORB(image_size=2), f"{TRAINING}-dat.mat", str(len(complete) - 24))
    packed = gzip.compress(complete, 1)
    (data_dir / f"{TRAINING}-dat.mat").write_bytes(packed[: len(packed) // 2])
    assert_error(lambda: SmallNORB(image_size=2), f"{TRAINING}-dat.mat")
    (data_dir / f"{TRAINING}-dat.mat").write_bytes(b"junk" * 10)
    assert_error(lambda: SmallNORB(image_size=2), f"{TRAINING}-dat.mat", "binary matrix")
    (data_dir / f"{TRAINING}-dat.mat").unlink()
    assert_error(SmallNORB, f"{TRAINING}-dat.mat", error=FileNotFoundError)
    with pytest.raises(ValueError, match="`image_size` must be an integer"):
        SmallNORB(image_size=0)


# -- Cars3D ---------------------------------------------------------------------------------------

CARS = ["car_030_mesh", "car_004_mesh", "car_111_mesh"]


def car(number, height=3, width=3):
    """Make a car as published, (height, width, rgb, azimuth, elevation), with unique pixels."""
    im = np.empty((height, width, 3, 24, 4), np.uint8)
    y, x, azimuth, elevation = np.ogrid[:height, :width, :24, :4]
    im[:, :, 0] = number + 0 * (y + x + azimuth + elevation)
    im[:, :, 1] = 16 * y + x + 0 * (azimuth + elevation)
    im[:, :, 2] = 4 * azimuth + elevation + 0 * (y + x)
    return im


def mat(packed=True, **variables):
    file = io.BytesIO()
    savemat(file, variables, do_compression=packed)
    return file.getvalue()


def car_file(number, packed=True, **sizes):
    im = car(number, **sizes)
    return mat(packed, im=im, mask=np.zeros((*im.shape[:2], 24, 4), np.uint8))


def car_files(cars=CARS, **sizes):
    files = {f"{name}.mat": car_file(i, **sizes) for i, name in enumerate(cars)}
    return {"list.txt": "".join(f"{name}\n" for name in cars).encode(), **files}


def write_folder(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)


def write_tar(folder, files, prefix="data/cars/", more=()):
    """Write the archive, with its list at the end, and with unrelated members."""
    path = folder / cars3d._ARCHIVE
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for name in ("data", "data/cars"):
            member = tarfile.TarInfo(name)
            member.type = tarfile.DIRTYPE
            archive.addfile(member)
        others = {"data/sprites/a.mat": b"not ours", "data/cars/../cars/list.txt": b"nor this"}
        members = {prefix + name: data for name, data in sorted(files.items())}
        for name, data in [*others.items(), *members.items()]:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        for member in more:
            archive.addfile(member, io.BytesIO(bytes(member.size)))
    return path


def no_cars():
    return Cars3D(image_size=3, verify=False)


@pytest.mark.parametrize("kind", ["tar", "./tar", "cars", "data/cars", "cars3d/cars"])
def test_car_images_and_factors(data_dir, kind):
    if "tar" in kind:
        write_tar(data_dir, car_files(), kind.removesuffix("tar") + "data/cars/")
    else:
        write_folder(data_dir / kind, car_files())
    data = no_cars()
    assert isinstance(data, GroundTruth)
    assert data.factor_names == ("elevation", "azimuth", "object_type")
    assert (data.factor_sizes, data.image_shape) == ((4, 24, 3), (3, 3, 3))
    assert data.factor_kinds == ("ordinal", "circular", "categorical")
    assert data.factor_values["object_type"].tolist() == CARS
    assert (data.factor_values["azimuth"][[0, 1, -1]] == (0, 15, 345)).all()
    indices = np.arange(len(data))
    for image, steps in zip(data.images(indices), data.factors(indices), strict=True):
        elevation, azimuth, number = steps
        assert (image == car(number)[..., azimuth, elevation]).all()


def test_cars_are_resized_and_cached(data_dir, monkeypatch):
    path = write_tar(data_dir, car_files(height=6, width=8))
    data = Cars3D(image_size=4, verify=False)
    expected = resize(Image.fromarray(car(1, 6, 8)[..., 5, 2]), (4, 4))
    assert (data.images(data.indices([[2, 5, 1]]))[0] == np.asarray(expected)).all()
    make = functools.partial(Cars3D, image_size=4, verify=False)
    assert_cached_until_changed(make, cars3d, path, monkeypatch)


def test_car_of_a_big_endian_machine(data_dir):
    def element(kind, body):
        return struct.pack(">2I", kind, len(body)) + body + bytes(-len(body) % 8)

    flags, dims = struct.pack(">2I", 9, 0), struct.pack(">5i", 3, 3, 3, 24, 4)
    pixels = car(0).tobytes("F")
    parts = [(6, flags), (5, dims), (1, b"im"), (2, pixels)]
    body = element(14, b"".join(element(*part) for part in parts))
    data = b"MATLAB".ljust(124) + b"\1\0MI" + body
    write_folder(data_dir / "cars", {"list.txt": b"car_1", "car_1.mat": data})
    expected = car(0).transpose(4, 3, 0, 1, 2).reshape(-1, 3, 3, 3)
    assert (no_cars().images(np.arange(96)) == expected).all()


def test_all_cars(data_dir):
    cars = [f"car_{i:03}_mesh" for i in range(183)]
    im = car_file(0, height=1, width=1)
    write_folder(data_dir / "cars", {f"{name}.mat": im for name in cars})
    write_folder(data_dir / "cars", {"list.txt": "\r\n".join(cars).encode()})
    assert Cars3D(image_size=1).factor_sizes == (4, 24, 183)
    shutil.rmtree(os.environ["KERAS_DISENT_CACHE"])
    (data_dir / "cars" / "list.txt").write_text("\n".join(cars[1:]))
    assert_error(Cars3D, "list.txt", "183 cars. Got 182")


def test_cars_checksum(data_dir, monkeypatch):
    path = write_tar(data_dir, car_files())
    assert_error(Cars3D, cars3d._ARCHIVE, "the md5 4e866a7919c1beedf53964e6f7a23686")
    files = (File(path.name, md5=hashlib.md5(path.read_bytes()).hexdigest()),)
    monkeypatch.setattr(Cars3D, "card", dataclasses.replace(Cars3D.card, files=files))
    assert_error(Cars3D, "list.txt", "183 cars. Got 3")


def retyped(kind):
    """Make a car whose pixels claim another type of MATLAB's."""
    pixels = car(0).size
    assert mat(False, im=car(0)).count(struct.pack("<2I", 2, pixels)) == 1
    return mat(False, im=car(0)).replace(
        struct.pack("<2I", 2, pixels), struct.pack("<2I", kind, pixels)
    )


WRONG_CARS = {
    "empty": (lambda: b"", "MATLAB file of version 5"),
    "text": (lambda: b"not a MATLAB file" * 99, "MATLAB file of version 5"),
    "version 7.3": (lambda: b"\x89HDF" * 40, "MATLAB file of version 5"),
    "header only": (lambda: mat(im=car(0))[:128], "'im' of uint8"),
    "cut": (lambda: mat(im=car(0))[:-9], "MATLAB file of version 5"),
    "cut uncompressed": (lambda: mat(False, im=car(0))[:-9], "MATLAB file of version 5"),
    "another name": (lambda: mat(mask=car(0)), "'im' of uint8"),
    "floats": (lambda: mat(im=car(0) / 255), "(3, 3, 3, 24, 4) in 20736 bytes of type 9"),
    "text in it": (lambda: mat(im="car"), "'im' of uint8"),
    "azimuths": (lambda: mat(im=car(0)[:, :, :, :23]), "Got (3, 3, 3, 23, 4)"),
    "gray": (lambda: mat(im=car(0)[:, :, 0]), "Got (3, 3, 24, 4)"),
    "unknown type": (lambda: retyped(8), "2592 bytes of type 8"),
    "a type beyond all tables": (lambda: retyped(65535), "of type 65535"),
    "another size": (lambda: mat(im=car(0, 4, 3)), "3 x 3 pixels, as the others. Got 3 x 4"),
}


@pytest.mark.parametrize("kind", WRONG_CARS)
@pytest.mark.parametrize("packed", [True, False])
def test_wrong_car(data_dir, kind, packed):
    data, message = WRONG_CARS[kind]
    files = car_files() | {f"{CARS[2]}.mat": data()}
    if packed:
        write_tar(data_dir, files)
    else:
        write_folder(data_dir / "cars", files)
    assert_error(no_cars, f"{CARS[2]}.mat", message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "names of cars. Got none"),
        (b"car_1\n../car_2\n", "'../car_2'"),
        (b"car_1\n/etc/passwd\n", "'/etc/passwd'"),
        (b"car_1\ncar_2\ncar_1\n", "car_1 twice"),
        (b"\xff\xfe", "names of cars such as"),
        (b"car\n" * 20_000, "at most 65536 bytes"),
    ],
)
def test_wrong_list_of_cars(data_dir, text, message):
    write_folder(data_dir / "cars", car_files() | {"list.txt": text})
    assert_error(no_cars, "list.txt", message)


def member_of(name, kind=tarfile.REGTYPE, size=0, link=""):
    member = tarfile.TarInfo(name)
    member.type, member.size, member.linkname = kind, size, link
    return member


def test_wrong_archive_of_cars(data_dir):
    assert_error(no_cars, cars3d._ARCHIVE, "scottreed", error=FileNotFoundError)
    files = car_files()
    last_car = f"{CARS[2]}.mat"
    incomplete = {name: data for name, data in files.items() if name != last_car}
    path = write_tar(data_dir, incomplete)
    assert_error(no_cars, cars3d._ARCHIVE, f"the member 'data/cars/{last_car}'. Got none")
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE):
        link = member_of(f"data/cars/{last_car}", kind, link="/etc/passwd")
        write_tar(data_dir, incomplete, more=[link])
        assert_error(no_cars, cars3d._ARCHIVE, f"the member 'data/cars/{last_car}'. Got none")
    write_tar(data_dir, files, "")
    assert_error(no_cars, cars3d._ARCHIVE, "'data/cars/list.txt'. Got none")

    packed = write_tar(data_dir, files).read_bytes()
    path.write_bytes(packed[: len(packed) // 2])
    assert_error(no_cars, cars3d._ARCHIVE)
    path.write_bytes(b"junk" * 999)
    assert_error(no_cars, cars3d._ARCHIVE, "a gzipped tar archive")
    path.write_bytes(gzip.compress(b"junk" * 999))
    assert_error(no_cars, cars3d._ARCHIVE, "a gzipped tar archive")
    path.unlink()
    path.mkdir()
    assert_error(no_cars, cars3d._ARCHIVE)


def test_folder_of_cars_with_one_missing(data_dir):
    write_folder(data_dir / "cars", car_files())
    (data_dir / "cars" / f"{CARS[1]}.mat").unlink()
    assert_error(no_cars, f"{CARS[1]}.mat", "list.txt", error=FileNotFoundError)


CHANGES = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4
)


def assert_valid_or_error(make):
    """Check that a data set returns images, or raises an error that names a file."""
    try:
        data = make()
    except (ValueError, FileNotFoundError) as error:
        is_valid = os.environ["KERAS_DISENT_DATA"] in str(error)
    else:
        is_valid = len(data.images(np.arange(len(data)))) == len(data)
    assert is_valid
    assert not [name for name in cached() if name.endswith(".part")]


@FUZZ
@given(changes=CHANGES, compressed=st.booleans())
def test_any_car(data_dir, changes, compressed):
    data = bytearray(car_file(0, compressed, height=1, width=1))
    for place, value in changes:
        data[int(place * len(data))] = value
    write_folder(data_dir / "cars", {"list.txt": b"car_1", "car_1.mat": data})
    assert_valid_or_error(lambda: Cars3D(image_size=1, verify=False))


# -- CelebA ---------------------------------------------------------------------------------------

ATTRIBUTES = ["5_o_Clock_Shadow", "Bald", "Young"]
PICTURES = [f"{i:06}.jpg" for i in (3, 1, 2, 7, 5)]
STEPS = np.array([[0, 0, 1], [1, 0, 1], [0, 1, 0], [1, 1, 1], [0, 0, 0]])
PARTS = [0, 2, 0, 1, 2]


def face(number, size=(24, 40)):
    """Make a white image whose central 8 x 8 square encodes the number."""
    width, height = size
    pixels = np.full((height, width, 3), 255, np.uint8)
    pixels[16:24, 8:16] = gray(number)
    return pixels


def gray(number):
    return 20 * number + 10


def jpeg(pixels, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95, subsampling=0, **options)
    return file.getvalue()


def faces():
    return {name: jpeg(face(i)) for i, name in enumerate(PICTURES)}


def attribute_text(pictures=PICTURES, names=ATTRIBUTES, steps=STEPS, count=None):
    rows = [
        f"{p}  " + " ".join(f"{2 * s - 1:2}" for s in r)
        for p, r in zip(pictures, steps, strict=True)
    ]
    return "\r\n".join([str(count or len(rows)), " ".join(names) + " ", *rows]) + "\r\n"


def attribute_csv():
    rows = [
        f"{p},{','.join(str(2 * s - 1) for s in r)}" for p, r in zip(PICTURES, STEPS, strict=True)
    ]
    return "\n".join([",".join(["image_id", *ATTRIBUTES]), *rows]) + "\n"


def partition_text(separator=" ", pictures=PICTURES, parts=PARTS):
    return "".join(f"{p}{separator}{s}\n" for p, s in zip(pictures, parts, strict=True))


def write_zip(path, pictures, folder="img_align_celeba/"):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("img_align_celeba/", b"")
        archive.writestr("__MACOSX/img_align_celeba/._000001.jpg", b"not ours")
        for name, data in sorted(pictures.items()):
            archive.writestr(folder + name, data)


def write_celeba(folder, pictures=None, kind="zip", lists="txt"):
    folder.mkdir(parents=True, exist_ok=True)
    pictures = faces() if pictures is None else pictures
    if kind == "zip":
        write_zip(folder / "img_align_celeba.zip", pictures)
    else:
        write_folder(folder / kind, pictures)
    if lists == "txt":
        (folder / "list_attr_celeba.txt").write_text(attribute_text())
        (folder / "list_eval_partition.txt").write_text(partition_text())
    else:
        (folder / "list_attr_celeba.csv").write_text(attribute_csv())
        text = "image_id,partition\n" + partition_text(",")
        (folder / "list_eval_partition.csv").write_text(text)


def small_celeba(**options):
    return CelebA(**{"image_size": 4, "crop": 8, "verify": False} | options)


@pytest.mark.parametrize("kind", ["zip", "img_align_celeba", "img_align_celeba/img_align_celeba"])
@pytest.mark.parametrize("lists", ["txt", "csv"])
def test_celeba_images_and_attributes(data_dir, kind, lists):
    write_celeba(data_dir / "celeba", kind=kind, lists=lists)
    data = small_celeba()
    assert (len(data), data.image_shape) == (5, (4, 4, 3))
    assert not isinstance(data, GroundTruth)
    assert data.factor_names == tuple(ATTRIBUTES)
    assert data.factor_sizes == (2, 2, 2)
    assert set(data.factor_kinds) == {"categorical"}
    assert data.factor_values["Bald"].tolist() == ["no", "yes"]
    assert (data.factors(np.arange(5)) == STEPS).all()
    difference = data.images(np.arange(5)).astype(int) - gray(np.arange(5))[:, None, None, None]
    assert abs(difference).max() <= 2  # JPEG

    for part, number in (("train", 0), ("validation", 1), ("test", 2)):
        rows = [i for i, p in enumerate(PARTS) if p == number]
        subset = small_celeba(part=part)
        assert len(subset) == len(rows)
        assert (subset.images(np.arange(len(subset))) == data.images(rows)).all()
        assert (subset.factors(np.arange(len(subset))) == STEPS[rows]).all()
    assert len(cached()) == 1  # all parts are rows of one file


def test_celeba_is_cropped_and_cached(data_dir, monkeypatch):
    write_celeba(data_dir, kind="img_align_celeba")
    complete = small_celeba(crop=24, image_size=24).images([0])[0]
    pixels = np.asarray(Image.open(data_dir / "img_align_celeba" / PICTURES[0]))
    assert (complete == pixels[8:32]).all()
    assert len(small_celeba(part=None)) == 5
    file = data_dir / "img_align_celeba" / PICTURES[3]
    assert_cached_until_changed(small_celeba, celeba, file, monkeypatch)


def test_celeba_checksums(data_dir, monkeypatch):
    write_celeba(data_dir)
    assert_error(lambda: CelebA(), "list_attr_celeba.txt", "26721026 bytes")
    write_celeba(data_dir, lists="csv")
    (data_dir / "list_attr_celeba.txt").unlink()
    assert_error(lambda: CelebA(), "list_attr_celeba.csv", "40 attributes of 202599", "Got 3 of 5")
    monkeypatch.setattr(celeba, "_COUNT", 5)
    monkeypatch.setattr(celeba, "_ATTRIBUTES", 3)
    assert_error(lambda: CelebA(), "img_align_celeba.zip", "1443490838 bytes")
    assert_error(lambda: CelebA(part="test"), "list_eval_partition.txt", "2836386 bytes")


def test_celeba_missing_files(data_dir):
    assert_error(small_celeba, "img_align_celeba.zip", "mmlab", error=FileNotFoundError)
    write_celeba(data_dir)
    (data_dir / "list_eval_partition.txt").unlink()
    assert len(small_celeba()) == 5
    with pytest.raises(FileNotFoundError, match=r"list_eval_partition\.txt"):
        small_celeba(part="train")
    (data_dir / "list_attr_celeba.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"list_attr_celeba\.txt"):
        small_celeba()
    with pytest.raises(ValueError, match=r"`part` needs to be one of train, .* Got 'valid'"):
        small_celeba(part="valid")
    with pytest.raises(ValueError, match="`crop` must be an integer"):
        small_celeba(crop=0)


def claiming_pixels(width, height):
    """Make a JPEG whose header claims another size."""
    data = bytearray(jpeg(face(0)))
    start = data.index(b"\xff\xc0") + 5
    data[start : start + 4] = struct.pack(">2H", height, width)
    return bytes(data)


WRONG_FACES = {
    "missing": (None, "which", "the picture '000002.jpg', as in 'list_attr_celeba.txt'"),
    "empty": (lambda: b"", PICTURES[2], "as a picture: "),
    "cut": (lambda: jpeg(face(0))[:-60], PICTURES[2], "as a picture: "),
    "bomb": (lambda: claiming_pixels(60_000, 60_000), PICTURES[2], "claims more than"),
}


@pytest.mark.parametrize("kind", ["zip", "img_align_celeba"])
@pytest.mark.parametrize("case", WRONG_FACES)
def test_wrong_face(data_dir, kind, case):
    data, file, message = WRONG_FACES[case]
    pictures = faces()
    del pictures[PICTURES[2]]
    write_celeba(data_dir, pictures | ({PICTURES[2]: data()} if data else {}), kind)
    assert_error(small_celeba, message, file if data else "img_align_celeba")


def test_faces_that_are_smaller_than_the_crop(data_dir):
    write_celeba(data_dir, faces())
    assert_error(lambda: small_celeba(crop=25), "", "`crop` cuts 25 pixels out of it")


def test_colors_of_jpeg(data_dir):
    files = faces()
    for name, mode in zip(PICTURES, ["L", "CMYK"], strict=False):
        file = io.BytesIO()
        Image.fromarray(face(4)).convert(mode).save(file, "JPEG", quality=95)
        files[name] = file.getvalue()
    write_celeba(data_dir, files)
    assert abs(small_celeba().images([0, 1]).astype(int) - gray(4)).max() <= 4


def test_wrong_zip_of_faces(data_dir):
    write_celeba(data_dir, faces() | {"000009.jpg": b""})
    path = data_dir / "img_align_celeba.zip"
    assert_error(small_celeba, path.name, "listed in 'list_attr_celeba.txt'. Got '000009.jpg'")
    write_zip(path, faces(), "../img_align_celeba/")
    assert_error(small_celeba, path.name, "the picture '000003.jpg'")
    write_zip(path, faces(), "")
    assert_error(small_celeba, path.name, "the picture '000003.jpg'")
    write_zip(path, faces())
    complete = path.read_bytes()
    path.write_bytes(complete[:-30])
    assert_error(small_celeba, path.name, "a zip archive")
    place = complete.index(b"\xff\xd8")
    path.write_bytes(complete[: place + 100] + b"xx" + complete[place + 102 :])
    assert_error(small_celeba, "CRC")
    (data_dir / "img_align_celeba").mkdir()
    path.unlink()
    assert_error(small_celeba, "img_align_celeba", "the picture '000003.jpg'")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "different names of attributes"),
        ("5\n", "different names of attributes"),
        ("5\nA B A\n", "different names of attributes"),
        ("5\nA B/ C\n", "different names of attributes"),
        ("0\nA B C\n", "rows of pictures. Got none"),
        (attribute_text(count=6), "its number of rows, 5, in its first line. Got 6"),
        (attribute_text() + attribute_text().splitlines()[2], "000003.jpg twice"),
        (attribute_text().replace("000007.jpg", "../../7.jpg"), "'../../7.jpg'"),
        (attribute_text().replace("000007.jpg", "000007.jpg 1"), "3 values for 000007.jpg. Got 4"),
        (attribute_text(steps=STEPS * 2), "the values -1, 1 for 000003.jpg. Got '3'"),
        (attribute_text().replace("000007.jpg", "\n"), "rows that begin with a name"),
        (attribute_text() + "é", "plain text"),
    ],
)
def test_wrong_attributes(data_dir, text, message):
    write_celeba(data_dir)
    (data_dir / "list_attr_celeba.txt").write_text(text, encoding="utf-8")
    assert_error(small_celeba, "list_attr_celeba.txt", message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "rows of pictures"),
        (partition_text(parts=[0, 1, 2, 3, 0]), "the values 0, 1, 2 for 000007.jpg. Got '3'"),
        (partition_text(pictures=PICTURES[:4], parts=PARTS[:4]), "a row for '000005.jpg'"),
        (partition_text() + "000099.jpg 1", "a row for '000099.jpg'"),
        (partition_text(parts=[2] * 5), "images of the part 'train' (0). Got none"),
        (partition_text(","), "rows that begin with a name"),
    ],
)
def test_wrong_partition(data_dir, text, message):
    write_celeba(data_dir)
    (data_dir / "list_eval_partition.txt").write_text(text)
    assert_error(lambda: small_celeba(part="train"), "list_eval_partition.txt", message)


@FUZZ
@given(
    text=st.one_of(
        st.text(st.sampled_from("01 -\n,.jpg\0\u00e9\x85"), max_size=60),
        st.tuples(
            st.integers(0, 100), st.sampled_from(["", "\n", " ", "1", "-1", ",", "\0", "é"])
        ).map(lambda c: attribute_text()[: c[0]] + c[1] + attribute_text()[c[0] + 1 :]),
    ),
    kind=st.sampled_from(["list_attr_celeba", "list_eval_partition"]),
    suffix=st.sampled_from([".txt", ".csv"]),
)
def test_any_list_of_faces(data_dir, text, kind, suffix):
    write_celeba(data_dir)
    (data_dir / f"{kind}.txt").unlink()
    (data_dir / f"{kind}{suffix}").write_text(text, encoding="utf-8", newline="")
    assert_valid_or_error(lambda: small_celeba(part="test"))


# -- MNIST and Fashion-MNIST ----------------------------------------------------------------------

BOTH = pytest.mark.parametrize("make", [MNIST, FashionMNIST])


@pytest.fixture(autouse=True)
def no_system_folders(monkeypatch):
    monkeypatch.setattr(FashionMNIST, "system_folders", ())


def idx_bytes(array, code=8):
    header = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


def digits(count, start=0):
    number = np.arange(start, start + count)
    images = np.zeros((count, 3, 4), np.uint8)
    images[:, 0, 0], images[:, 0, 1], images[:, 2, 3] = number & 255, number >> 8, 9
    return images, (number * 7 % 10).astype(np.uint8)


def write_digits(folder, count=12, stem="train", mark="-", suffix="", **arrays):
    folder.mkdir(parents=True, exist_ok=True)
    images, labels = digits(count)
    files = {"images": ("idx3", images), "labels": ("idx1", labels)}
    for kind, (form, array) in files.items():
        data = arrays.get(kind, idx_bytes(array))
        path = folder / f"{stem}-{kind}{mark}{form}-ubyte{suffix}"
        path.write_bytes(gzip.compress(data, 1) if suffix else data)


@BOTH
@pytest.mark.parametrize(("mark", "suffix"), list(itertools.product("-.", ["", ".gz"])))
@pytest.mark.parametrize(("part", "stem"), [("train", "train"), ("test", "t10k")])
def test_digit_images_and_labels(data_dir, make, mark, suffix, part, stem):
    write_digits(data_dir / make.name, 300, stem, mark, suffix)
    data = make(part, verify=False)
    images, labels = digits(300)
    indices = np.arange(300)
    assert (len(data), data.image_shape, data.part) == (300, (3, 4, 1), part)
    assert (data.images(indices)[..., 0] == images).all()
    assert (data.factors(indices)[:, 0] == labels).all()
    assert data.factor_kinds == ("categorical",)
    assert len(cached()) == (1 if suffix else 0)  # plain files are mapped into memory
    assert same(data, make(part, verify=False))


def test_names_of_classes(data_dir):
    write_digits(data_dir)
    assert MNIST(verify=False).factor_values["digit"].tolist() == list(range(10))
    articles = FashionMNIST(verify=False).factor_values["article"]
    assert (articles[0], articles[9]) == ("T-shirt/top", "Ankle boot")
    assert MNIST(verify=False).factor_names == ("digit",)
    assert FashionMNIST(verify=False).factor_names == ("article",)


@BOTH
def test_digit_checksums(data_dir, make, monkeypatch):
    write_digits(data_dir)
    assert_error(make, "train-images-idx3-ubyte", "60000 images. Got 12")
    monkeypatch.setattr(idx, "_PARTS", {"train": ("train", 12)})
    assert len(make()) == 12
    shutil.rmtree(data_dir)
    write_digits(data_dir, suffix=".gz")
    assert_error(make, "train-images-idx3-ubyte.gz", "the md5")
    files = tuple(
        File(path.name, md5=hashlib.md5(path.read_bytes()).hexdigest())
        for path in data_dir.iterdir()
    )
    monkeypatch.setattr(make, "card", dataclasses.replace(make.card, files=files))
    assert len(make()) == 12


def test_installed_articles(data_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(FashionMNIST, "system_folders", (tmp_path / "share",))
    monkeypatch.setattr(idx, "_PARTS", {"train": ("train", 12)})
    with pytest.raises(FileNotFoundError, match=str(data_dir)):
        FashionMNIST()
    monkeypatch.delenv("KERAS_DISENT_DATA")
    with pytest.raises(FileNotFoundError, match="KERAS_DISENT_DATA"):
        FashionMNIST()
    write_digits(tmp_path / "share", suffix=".gz")
    assert len(FashionMNIST()) == 12  # checksums of system files are not checked
    assert len(FashionMNIST("train", tmp_path / "share")) == 12
    with pytest.raises(FileNotFoundError, match="KERAS_DISENT_DATA"):
        MNIST()
    write_digits(data_dir, 5)
    assert len(FashionMNIST("train", data_dir, verify=False)) == 5
    (data_dir / "train-labels-idx1-ubyte").unlink()
    assert len(FashionMNIST("train", data_dir)) == 12  # both files are from the same folder


IMAGES, LABELS = digits(12)
WRONG_DIGITS = [
    ("images", idx_bytes(IMAGES[0]), "images of bytes"),
    ("images", idx_bytes(IMAGES[:0]), "Got uint8 (0, 3, 4)"),
    ("images", idx_bytes(IMAGES.view(np.int8), 9), "Got int8"),
    ("images", idx_bytes(IMAGES)[:-3], ""),
    ("images", idx_bytes(IMAGES) + b"more", ""),
    ("images", b"junk", "to be an idx file"),
    ("images", b"", "to be an idx file"),
    ("images", idx_bytes(IMAGES)[:4] + struct.pack(">3I", 2**31, 28, 28), "needs"),
    ("labels", idx_bytes(LABELS[:-1]), "12 labels, as 'train-images-idx3-ubyte"),
    ("labels", idx_bytes(LABELS + np.uint8(1)), "labels from 0 to 9. Got 10"),
    ("labels", idx_bytes(LABELS[:0]), "labels of bytes"),
    ("labels", idx_bytes(LABELS.astype(">i4"), 12), "Got >i4 (12,)"),
    ("labels", idx_bytes(IMAGES), "labels of bytes. Got uint8 (12, 3, 4)"),
    ("labels", idx_bytes(LABELS)[:-1], ""),
]


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize(("kind", "data", "message"), WRONG_DIGITS)
def test_wrong_digits(data_dir, kind, data, message, suffix):
    write_digits(data_dir, suffix=suffix, **{kind: data})
    with pytest.raises(ValueError, match=f"train-{kind}") as caught:
        MNIST(verify=False)
    assert message in str(caught.value)
    assert len(cached()) == (1 if suffix and kind == "labels" else 0)  # valid images are cached


def test_missing_digits(data_dir):
    assert_error(MNIST, "train-images-idx3-ubyte", "yann.lecun.com", error=FileNotFoundError)
    write_digits(data_dir)
    (data_dir / "train-labels-idx1-ubyte").unlink()
    assert_error(MNIST, "train-labels-idx1-ubyte", error=FileNotFoundError)
    with pytest.raises(ValueError, match=r"one of train, test. Got 'validation'"):
        MNIST("validation")


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="needs Debian's package dataset-fashion-mnist")
def test_fashion_mnist_of_debian(monkeypatch):
    monkeypatch.setattr(FashionMNIST, "system_folders", (DEBIAN,))
    data = FashionMNIST("test")
    assert (len(data), data.image_shape) == (10_000, (28, 28, 1))
    indices = np.arange(10_000)
    labels = data.factors(indices)[:, 0]
    assert (np.bincount(labels) == 1000).all()
    images = data.images(indices)[..., 0]
    # Trousers fill the middle columns and not the sides; bags fill more than sandals.
    trouser, sandal, bag = (images[labels == k].mean(axis=0) for k in (1, 5, 8))
    assert trouser[:, 10:18].mean() > 5 * trouser[:, :6].mean()
    assert bag.mean() > 1.5 * sandal.mean()


@pytest.mark.parametrize("make", [SmallNORB, Cars3D, CelebA, MNIST, FashionMNIST])
def test_cards_are_complete(make):
    card = make.card
    assert card.files
    assert all((card.title, card.page, card.download, card.license, card.citation))
    assert make.name == make.name.lower()
