"""Readers of stored arrays: round trips, errors for malformed files, and the cache."""

import contextlib
import errno
import gzip
import hashlib
import os
import pickle
import re
import struct
import threading
import tracemalloc
import warnings

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.binary_files import IDX, NORB, idx_bytes, norb_bytes

from keras_disent.datasets.card import Card, File
from keras_disent.datasets.published.files import check_file, digest
from keras_disent.datasets.stored.binary import open_matrix, read_rows
from keras_disent.datasets.stored.cache import cache_folder, cached_rows, clear
from keras_disent.datasets.stored.hdf5 import HDF5Rows, open_hdf5, resave_hdf5
from keras_disent.datasets.stored.npy import map_npy, open_npz, read_npz, shapes
from keras_disent.datasets.stored.rows import SlicedRows

NUMBERS = ["?", "u1", ">i4", "<i8", "<f2", "<f8", "<c8"]
SHAPES = [(7,), (5, 4, 2, 3), (0, 3)]


def numbers(shape, dtype):
    return np.random.default_rng(0).integers(0, 100, shape).astype(dtype)


def assert_rows(result, array):
    """Compare rows read in any order, with repeats, and for no index."""
    assert (result.shape, result.dtype, len(result)) == (array.shape, array.dtype, len(array))
    every = np.arange(len(array))
    for indices in (every, every[::-1], np.repeat(every, 2), every[:0], every[1::2]):
        values = result[indices]
        assert (type(values), values.dtype) == (np.ndarray, array.dtype)
        np.testing.assert_array_equal(values, array[indices])


def read(rows):
    return read_rows(rows) if isinstance(rows, np.ndarray | tuple) else rows


def assert_malformed(path, rule, reader, *args):
    """Check that reading fails with a message: the file, the rule, then the actual contents."""
    with pytest.raises(ValueError, match=rule) as caught:
        reader(path, *args)
    message = str(caught.value)
    assert re.match(rf"'{re.escape(str(path))}' needs .*\. Got .*\.$", message)
    assert len(message) < 1500


@contextlib.contextmanager
def bounded(limit):
    """Fail if more than `limit` bytes are allocated at a time."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < limit


def write_file(path, data):
    path.write_bytes(data)
    return path


READERS = {
    "npy": map_npy,
    "npz": lambda path: read(open_npz(path, "a")),
    "npz shapes": shapes,
    "idx": lambda path: read(open_matrix(path)),
    "norb": lambda path: read(open_matrix(path)),
    "hdf5": lambda path: open_hdf5(path, "a"),
    "resave": lambda path: resave_hdf5(path, f"{path}.new"),
    "digest": lambda path: digest(path, "md5", print),
}


@pytest.mark.parametrize("reader", READERS)
def test_missing_files_and_folders(tmp_path, reader):
    with pytest.raises(FileNotFoundError, match=r"none\.bin"):
        READERS[reader](tmp_path / "none.bin")
    assert_malformed(tmp_path, "to be a file. Got a folder", READERS[reader])
    file = write_file(tmp_path / "file", b"")
    with pytest.raises(FileNotFoundError):
        READERS[reader](file / "inside")
    os.mkfifo(tmp_path / "pipe")
    assert_malformed(tmp_path / "pipe", "a device or a pipe", READERS[reader])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", NUMBERS)
def test_round_trips(tmp_path, dtype, shape):
    array = numbers(shape, dtype)
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "a.npz", a=array, **{"b/ö 日": array[:1]})
    np.savez_compressed(tmp_path / "b.npz", a=array)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["plain"] = array
        chunks = tuple(max(1, n - 2) for n in shape)
        options = {"chunks": chunks, "maxshape": (None, *shape[1:]), "compression": "gzip"}
        file.create_dataset("in/side", data=array, **options)
    assert shapes(tmp_path / "a.npz") == {"a": shape, "b/ö 日": array[:1].shape}
    assert_rows(map_npy(tmp_path / "a.npy"), array)
    assert_rows(open_npz(tmp_path / "a.npz", "a"), array)
    assert_rows(open_npz(tmp_path / "a.npz", "b/ö 日"), array[:1])
    stream = open_npz(tmp_path / "b.npz", "a")
    assert (stream.shape, stream.dtype) == (array.shape, array.dtype)
    assert_rows(read(stream).astype(dtype), array)
    resave_hdf5(tmp_path / "a.h5", tmp_path / "b.h5")
    for file in ("a.h5", "b.h5"):
        assert_rows(open_hdf5(tmp_path / file, "plain"), array)
        rows = open_hdf5(tmp_path / file, "/in/side", warn=False)
        assert_rows(rows, array)
        assert isinstance(rows, np.memmap) == (file == "b.h5" and array.size > 0)


# --- npy and npz --------------------------------------------------------------------------


def test_maps_are_read_only_views_of_the_file(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(6))
    np.savez(tmp_path / "a.npz", a=np.arange(6))
    with h5py.File(tmp_path / "a.h5", "w", userblock_size=512) as file:
        file["a"] = np.arange(6)
    for name, reader in (("a.npy", "npy"), ("a.h5", "hdf5")):
        rows = READERS[reader](tmp_path / name)
        assert isinstance(rows, np.memmap)
        with pytest.raises(ValueError, match="read-only"):
            rows[0] = 1
    assert isinstance(open_npz(tmp_path / "a.npz", "a"), np.memmap)


def test_texts_are_read_and_objects_never(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, texts=np.array(["ä", "b"]), objects=np.array([{}, []], object))
    assert read_npz(path, "texts").tolist() == ["ä", "b"]
    assert_malformed(path, r"save texts as np.array\(texts, dtype=str\)", read_npz, "objects")
    assert_malformed(path, "never unpickled", open_npz, "objects")
    assert_malformed(path, "a member 'c'", open_npz, "c")


def npy_bytes(descr, shape, data=b"", fortran=False):
    text = repr({"descr": descr, "fortran_order": fortran, "shape": shape}).encode() + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text + data


MALFORMED = {
    "npy": [
        pickle.dumps([1, 2]),
        npy_bytes("|O", (1,), pickle.dumps(1)),
        npy_bytes("<i4", (2, 2), bytes(16), fortran=True),
        npy_bytes("<i4", (2, 2), bytes(15)),
        npy_bytes("<i4", (2, 2), bytes(17)),  # two arrays in one file, for example
        npy_bytes("<f8", (2**31, 2**31), bytes(8)),
    ],
    "idx": [
        b"\0\0\x0a\1\0\0\0\1a",
        b"\0\0\x08\2\0\0\0\1",
        b"\0\0\x08\1\0\0\0\3abcd",
        b"\0\0\x08\2" + b"\xff" * 8,
    ],
    "norb": [
        struct.pack("<Ii3i", 0x1E3D4C52, 1, 1, 1, 1) + b"a",
        struct.pack("<Ii3i", 0x1E3D4C55, 0, 1, 1, 1) + b"a",
        struct.pack("<Ii3i", 0x1E3D4C55, 1, 3, 1, 1) + b"ab",
    ],
}


@pytest.mark.parametrize(
    ("reader", "data"), [(r, d) for r, all_ in MALFORMED.items() for d in all_]
)
def test_malformed_files(tmp_path, reader, data):
    assert_malformed(write_file(tmp_path / "a", data), "needs", READERS[reader])
    if reader != "npy":
        packed = write_file(tmp_path / "a.gz", gzip.compress(data))
        assert_malformed(packed, "needs", READERS[reader])


def test_a_compressed_member_is_read_in_blocks(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, a=np.zeros((40_000, 1000), np.uint8))
    with bounded(2**24):
        assert sum(len(block) for block in open_npz(path, "a").blocks) == 40_000
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        started = open_npz(path, "a").blocks
        next(started)
        started.close()


# --- idx and NORB --------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(7,), (5, 4, 2, 3)])
@pytest.mark.parametrize(
    ("encode", "dtype"),
    [(idx_bytes, f">{code}") for code in IDX] + [(norb_bytes, f"<{code}") for code in NORB],
)
def test_binary_files(tmp_path, encode, dtype, shape):
    array = numbers(shape, np.dtype(dtype))
    data = encode(array)
    raw = write_file(tmp_path / "a", data)
    packed = gzip.compress(data)
    rows = open_matrix(write_file(tmp_path / "a.gz", packed))
    assert_rows(open_matrix(raw), array)
    assert (rows.shape, rows.dtype) == (array.shape, array.dtype)
    np.testing.assert_array_equal(read_rows(rows), array)
    cases = {
        "CRC": packed[:-8] + bytes([packed[-8] ^ 1]) + packed[-7:],
        "EOFError": packed[:-10],
        "only .* truncated": gzip.compress(data[:-1]),
        "Got more": gzip.compress(data + b"a"),
    }
    for rule, broken in cases.items():
        path = write_file(tmp_path / "a.gz", broken)
        assert_malformed(path, rule, lambda path: read_rows(open_matrix(path)))


# --- HDF5 ----------------------------------------------------------------------------------


def hdf5_of(path, array, **options):
    with h5py.File(path, "w") as file:
        file.create_dataset("a", data=array, **options)
    return path


def test_every_chunk_is_read_once_a_call():
    array = numbers((40, 6), "u1")
    slices = []

    class Source:
        shape, dtype, chunks = array.shape, array.dtype, (8, 2)

        def __getitem__(self, part):
            slices.append((part.start, part.stop))
            return array[part]

    rows = SlicedRows(Source())
    indices = np.array([39, 0, 17, 0, 16, 39, 7])
    np.testing.assert_array_equal(rows[indices], array[indices])
    assert slices == [(0, 8), (16, 18), (39, 40)]
    Source.chunks = None  # runs of consecutive rows
    slices.clear()
    np.testing.assert_array_equal(SlicedRows(Source())[indices], array[indices])
    assert slices == [(0, 1), (7, 8), (16, 18), (39, 40)]


def test_rows_of_hdf5_check_indices_and_go_to_other_processes(tmp_path):
    array = numbers((9, 2), "u1")
    rows = open_hdf5(hdf5_of(tmp_path / "a.h5", array, chunks=(3, 2)), "a")
    assert isinstance(rows, HDF5Rows)
    with pytest.raises(IndexError, match="Got -1"):
        rows[np.array([-1])]
    with pytest.raises(TypeError, match="integers"):
        rows[np.array([0.5])]
    assert_rows(pickle.loads(pickle.dumps(rows)), array)


@pytest.mark.parametrize(
    ("shape", "chunks", "slow"),
    [
        ((100, 4, 4), (64, 2, 1), False),
        ((100, 9, 4), (64, 1, 4), True),
        ((100, 4, 4), (65, 4, 4), True),
        ((64, 4, 4), (64, 4, 4), False),
    ],
)
def test_slow_chunks_raise_a_warning(tmp_path, shape, chunks, slow):
    path = hdf5_of(tmp_path / "my file.h5", numbers(shape, "u1"), chunks=chunks)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        open_hdf5(path, "a")
        open_hdf5(path, "a", warn=False)
    assert len(caught) == slow
    for warning in caught:
        assert (warning.category, warning.filename) == (UserWarning, __file__)
        assert f"keras-disent data convert '{path}'" in str(warning.message)
        assert "9 chunk(s)" in str(warning.message) or "65 row(s)" in str(warning.message)


def test_hdf5_of_any_layout_and_type(tmp_path):
    """What cannot be mapped is read by h5py: links, views of other files, odd numbers."""
    path, other = tmp_path / "a.h5", hdf5_of(tmp_path / "other.h5", np.arange(3))
    three = h5py.h5s.create_simple((3,))
    narrow = h5py.h5t.STD_I16LE.copy()
    narrow.set_precision(12)
    compact = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    compact.set_layout(h5py.h5d.COMPACT)
    layout = h5py.VirtualLayout((3,), "i8")
    layout[:] = h5py.VirtualSource(str(other), "a", (3,))
    raw = [(str(tmp_path / "raw.bin"), 0, 24)]
    named = h5py.enum_dtype({"x": 0, "y": 1, "z": 2})
    with h5py.File(path, "w") as file:
        file["external"] = h5py.ExternalLink("other.h5", "/a")
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("elsewhere", data=np.arange(3), external=raw)
        h5py.h5d.create(file.id, b"narrow", narrow, three)
        h5py.h5d.create(file.id, b"compact", h5py.h5t.NATIVE_INT64, three, compact)
        file.create_dataset("named", (3,), named)
        for name in ("narrow", "compact", "named"):
            file[name][:] = np.arange(3)
        file["soft"] = h5py.SoftLink("/named")
    for name in ("soft", "external", "virtual", "elsewhere", "narrow", "compact", "named"):
        assert open_hdf5(path, name)[np.arange(3)].tolist() == [0, 1, 2], name


def test_hdf5_that_is_no_rows_of_numbers(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["texts"] = ["x", "yz"]
        file["one"] = 1
        file["empty"] = h5py.Empty("f4")
        file["pair"] = np.zeros(2, [("x", "i4"), ("y", "f4")])
        file["g/b"] = np.arange(3)
        file["broken"] = h5py.SoftLink("/nothing")
        file.create_dataset("unwritten", (10**6, 10**6), "f8")
        data = file.create_dataset("partly", (10**6, 10**6), "f8", chunks=(10, 10))
        data[0, 0] = 1
    assert_malformed(path, "a data set 'b'. Got broken, empty, g", open_hdf5, "b")
    for name in ("texts", "one", "empty", "pair"):
        assert_malformed(path, f"rows of numbers in '{name}'", open_hdf5, name)
    for name in ("", "g", "g/c", "b", "broken", "\0"):
        assert_malformed(path, "needs", open_hdf5, name)
    assert_malformed(path, "bytes of '/unwritten'", open_hdf5, "unwritten")
    assert_malformed(path, "10000000000 chunks for '/partly'", open_hdf5, "partly")
    assert_malformed(path, "10000000000 chunks for '/partly'", resave_hdf5, tmp_path / "b.h5")
    assert not (tmp_path / "b.h5").exists()


def test_resaving_keeps_groups_links_and_attributes(tmp_path):
    array = numbers((50, 6, 5), "u1")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("images", data=array, chunks=(7, 2, 3), compression="gzip")
        file.create_dataset("pairs", data=np.ones(5, [("x", "i4"), ("y", "f4")]), chunks=(2,))
        file.create_dataset("texts", data=["ä", "b"], chunks=(1,))
        file["latents/classes"] = np.arange(6)
        file["latents/again"] = file["images"]
        file["latents/round"] = file["latents"]
        file["latents/soft"] = h5py.SoftLink("/images")
        file["empty"] = h5py.Empty("f4")
        file["one"] = 3.5
        file["none"] = np.empty((0, 3))
        file.create_group("nothing")
        file.attrs["title"] = "sprites"
        file["images"].attrs["axes"] = ["row", "column"]
        file["latents"].attrs["no value"] = h5py.Empty("i2")
    seen = []
    source, target = tmp_path / "a.h5", tmp_path / "b.h5"
    resave_hdf5(source, target, lambda done, total: seen.append((done, total)))
    with h5py.File(target) as file:
        assert file["images"].chunks is None
        np.testing.assert_array_equal(file["images"], array)
        assert file["pairs"]["y"].tolist() == [1] * 5
        assert file["texts"].asstr()[:].tolist() == ["ä", "b"]
        assert file["latents/again"] == file["images"]
        assert file["latents/round"] == file["latents"]
        assert file["latents"].get("soft", getlink=True).path == "/images"
        assert file["latents/classes"][:].tolist() == list(range(6))
        assert file["empty"].shape is None
        assert file["one"][()] == 3.5
        assert file["none"].shape == (0, 3)
        assert list(file["nothing"]) == []
        assert file.attrs["title"] == "sprites"
        assert file["images"].attrs["axes"].tolist() == ["row", "column"]
        assert file["latents"].attrs["no value"].dtype == "i2"
    assert seen[-1][0] == seen[-1][1]
    assert seen == sorted(seen)
    resave_hdf5(source, source)
    assert_rows(open_hdf5(source, "images"), array)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.h5", "b.h5"]


def test_resaving_has_bounded_memory(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("a", (100, 2**20), "u1", chunks=(3, 2**20))
        for start in range(0, 100, 50):
            data[start : start + 50] = start
    with bounded(80 * 2**20):
        resave_hdf5(tmp_path / "a.h5", tmp_path / "b.h5")
    assert open_hdf5(tmp_path / "b.h5", "a")[np.array([99, 0])][:, 0].tolist() == [50, 0]


def test_a_failed_resave_leaves_no_file(tmp_path):
    path = hdf5_of(tmp_path / "a.h5", numbers((20, 3), "u1"), chunks=(5, 3))

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        resave_hdf5(path, tmp_path / "b.h5", stop)
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(OSError, match="nowhere"):
        resave_hdf5(path, tmp_path / "nowhere" / "b.h5")


def test_broken_chunks(tmp_path):
    array = np.random.default_rng(0).integers(0, 255, (50, 40)).astype("u1")
    path = hdf5_of(tmp_path / "a.h5", array, chunks=(25, 40), compression="gzip")
    with h5py.File(path) as file:
        info = file["a"].id.get_chunk_info(1)
    data = bytearray(path.read_bytes())
    data[info.byte_offset + 100 : info.byte_offset + 200] = bytes(100)
    write_file(path, data)
    result = open_hdf5(path, "a")
    np.testing.assert_array_equal(result[np.arange(25)], array[:25])
    with pytest.raises(ValueError, match="'a' to be complete"):
        result[np.array([30])]
    assert_malformed(path, "'/a' to be complete", resave_hdf5, tmp_path / "b.h5")
    assert list(tmp_path.iterdir()) == [path]


# --- broken files of all formats -----------------------------------------------------------


def valid_files(folder):
    """Return a small valid file of each format, and the reader of each."""
    array = np.arange(24, dtype="<i4").reshape(6, 4)
    np.save(folder / "npy", array)
    np.savez(folder / "npz", a=array)
    np.savez_compressed(folder / "deflated", a=array)
    with h5py.File(folder / "a.h5", "w") as file:
        data = array.astype("u1")
        file.create_dataset("a", data=data, chunks=(4, 3), compression="gzip", shuffle=True)
    files = {
        "npy": ((folder / "npy.npy").read_bytes(), map_npy),
        "npz": ((folder / "npz.npz").read_bytes(), READERS["npz"]),
        "deflated": ((folder / "deflated.npz").read_bytes(), READERS["npz"]),
        "idx": (idx_bytes(array.astype(">i4")), READERS["idx"]),
        "norb": (norb_bytes(array), READERS["norb"]),
        "hdf5": ((folder / "a.h5").read_bytes(), READERS["hdf5"]),
    }
    packed = {
        f"{name}.gz": (gzip.compress(files[name][0]), files[name][1]) for name in ("idx", "norb")
    }
    return files | packed


@pytest.mark.parametrize(
    "name", ["npy", "npz", "deflated", "idx", "norb", "hdf5", "idx.gz", "norb.gz"]
)
def test_broken_files(tmp_path, name):
    complete, reader = valid_files(tmp_path)[name]
    path = tmp_path / "broken"
    for size in range(0, len(complete), max(1, len(complete) // 20)):
        assert_malformed(write_file(path, complete[:size]), "needs", reader)

    @settings(
        max_examples=60,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(
        st.lists(st.tuples(st.integers(0, len(complete) - 1), st.integers(0, 255)), max_size=6),
        st.binary(max_size=5),
    )
    def run(changes, more):
        data = bytearray(complete)
        for place, value in changes:
            data[place] = value
        write_file(path, bytes(data) + more)
        message = f"'{path}' needs "
        try:
            with bounded(2**26):
                rows = reader(path)
                rows[np.arange(len(rows))[:2]]
        except ValueError as error:
            message = str(error)
        assert message.startswith(f"'{path}' needs ")

    run()


# --- checksums -----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 2**20, 2**20 + 1])
def test_digest(tmp_path, size):
    data = np.random.default_rng(0).bytes(size)
    path = write_file(tmp_path / "a", data)
    seen = []
    assert digest(path, "sha256", lambda *now: seen.append(now)) == hashlib.sha256(data).hexdigest()
    assert seen == [(min(n + 2**20, size), size) for n in range(0, size, 2**20)]


def test_check_file(tmp_path):
    path = write_file(tmp_path / "a", b"abc")
    sha256, md5 = hashlib.sha256(b"abc").hexdigest(), hashlib.md5(b"abc").hexdigest()

    def check(path, **published):
        check_file(path, Card("A", files=(File(**{"name": "a"} | published),)))

    for published in ({}, {"name": "b", "size": 4}, {"size": 3, "sha256": sha256, "md5": md5}):
        check(path, **published)
    for published, message in (
        ({"size": 4}, "4 bytes. Got 3"),
        ({"sha256": "0" * 64, "md5": md5}, f"the sha256 0+. Got {sha256}"),
        ({"md5": "0" * 32}, f"the md5 0+. Got {md5}"),
    ):
        assert_malformed(path, message, lambda path, published=published: check(path, **published))


# --- cache ---------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_DISENT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Sevens:
    """A write function that counts its calls."""

    count = 0

    def __call__(self, target):
        assert isinstance(target, np.memmap)
        assert not target.any()
        self.count += 1
        target[:] = 7


@pytest.mark.parametrize(
    ("cache", "xdg", "expected"),
    [
        (None, None, ".cache/keras-disent"),
        (None, "relative", ".cache/keras-disent"),
        ("", "{home}/xdg", "xdg/keras-disent"),
        ("~/mine", "{home}/xdg", "mine"),
    ],
)
def test_cache_folder(monkeypatch, tmp_path, cache, xdg, expected):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in (("KERAS_DISENT_CACHE", cache), ("XDG_CACHE_HOME", xdg)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value.format(home=tmp_path))
    assert cache_folder() == tmp_path / expected
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("KERAS_DISENT_CACHE", "~nobody-of-this-name/mine")
    with pytest.raises(ValueError, match="set KERAS_DISENT_CACHE"):
        cache_folder()


@pytest.mark.parametrize("dtype", NUMBERS)
def test_cached_rows_are_computed_once(folder, dtype):
    write = Sevens()
    for _ in range(3):
        result = cached_rows("some-rows_1.0", (5, 2), dtype, write)
        assert isinstance(result, np.memmap)
        assert not result.flags.writeable
        assert_rows(result, np.full((5, 2), 7, dtype))
    assert write.count == 1
    np.testing.assert_array_equal(
        np.load(folder / "some-rows_1.0.2.cached.npy"), np.full((5, 2), 7, dtype)
    )
    assert [file.name for file in folder.iterdir()] == ["some-rows_1.0.2.cached.npy"]


def test_incomplete_cache_files_are_written_again(folder):
    write = Sevens()
    cached_rows("a", (5, 2), "u1", write)
    complete = (folder / "a.2.cached.npy").read_bytes()
    np.save(folder / "other", np.zeros((5, 3), "u1"))
    np.save(folder / "bytes", np.zeros((5, 2), "i1"))
    broken = [b"", complete[:-1], complete + b"a", b"\1" + complete[1:]]
    broken += [(folder / f"{name}.npy").read_bytes() for name in ("other", "bytes")]
    for count, data in enumerate(broken, 2):
        write_file(folder / "a.2.cached.npy", data)
        assert_rows(cached_rows("a", (5, 2), "u1", write), np.full((5, 2), 7, "u1"))
        assert write.count == count
    (folder / "a.2.cached.npy").unlink()
    cached_rows("a", (5, 2), "u1", write)
    assert write.count == len(broken) + 2


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, FileNotFoundError, OSError])
def test_a_failed_write_leaves_no_file(folder, error):
    def write(target):
        target[:] = 1
        raise error("as it was")

    with pytest.raises(error, match=r"^as it was$"):
        cached_rows("a", (5, 2), "u1", write)
    assert list(folder.iterdir()) == []


def test_two_threads_at_once(folder):
    both = threading.Barrier(2)

    def write(target):
        both.wait(20)
        target[:] = 7
        both.wait(20)

    result = []
    threads = [
        threading.Thread(target=lambda: result.append(cached_rows("a", (50, 2), "u1", write)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(result) == 2
    for one in result:
        assert_rows(one, np.full((50, 2), 7, "u1"))
    assert [file.name for file in folder.iterdir()] == ["a.2.cached.npy"]


def assert_write_error(folder, match, shape=(5, 2)):
    with pytest.raises(OSError, match=match) as caught:
        cached_rows("a", shape, "u1", Sevens())
    assert str(folder) in str(caught.value)
    assert "KERAS_DISENT_CACHE" in str(caught.value)
    return caught.value


def test_folders_that_cannot_be_written(folder, monkeypatch, tmp_path):
    for shape in ((2**60,), (2**70,)):
        assert assert_write_error(folder, "cannot be written to", shape)
        assert list(folder.iterdir()) == []

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full, raising=False)
        assert assert_write_error(folder, "No space left").errno == errno.ENOSPC
    assert list(folder.iterdir()) == []
    (folder / "a.2.cached.npy").mkdir()
    assert_write_error(folder, "cannot be written to")
    assert [file.name for file in folder.iterdir()] == ["a.2.cached.npy"]
    file = write_file(tmp_path / "file", b"")
    monkeypatch.setenv("KERAS_DISENT_CACHE", str(file))
    assert_write_error(file, "cannot be written to")
    monkeypatch.setenv("KERAS_DISENT_CACHE", str(file / "inside"))
    assert_write_error(file, "cannot be written to")
    if os.getuid():
        folder.chmod(0o500)
        monkeypatch.setenv("KERAS_DISENT_CACHE", str(folder))
        assert isinstance(assert_write_error(folder, "cannot be written to"), PermissionError)
        folder.chmod(0o700)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("key", ["", "../a", "a/b", ".a", "a b", "a\n", "x" * 300]),
        ("shape", [(), (0,), (3, 0), (-1,)]),
        ("dtype", ["O", "U3", "M8[s]"]),
    ],
)
def test_arguments_of_cached_rows(folder, name, values):
    for value in values:
        options = {"key": "a", "shape": (2,), "dtype": "u1", name: value}
        with pytest.raises(ValueError, match=f"`{name}` needs"):
            cached_rows(**options, write=Sevens())
    assert not folder.exists()


def test_the_cache_has_a_limit(folder, monkeypatch):
    def entry(number):
        def write(rows):
            rows[:] = number

        return cached_rows(f"data-{number:012x}", (100_000,), "uint8", write)

    folder.mkdir()
    (folder / "foreign.npy").write_bytes(bytes(10**6))
    monkeypatch.setenv("KERAS_DISENT_CACHE_SIZE", "0.00035")  # three entries
    monkeypatch.setattr("keras_disent.datasets.stored.cache._in_use", set())
    for number in range(3):
        entry(number)
        os.utime(folder / f"data-{number:012x}.2.cached.npy", ns=(10**9 * number, 10**9 * number))
    monkeypatch.setattr("keras_disent.datasets.stored.cache._in_use", set())
    entry(0)  # used again
    monkeypatch.setattr("keras_disent.datasets.stored.cache._in_use", set())
    entry(3)
    names = sorted(path.name for path in folder.iterdir())
    assert names == [*(f"data-{n:012x}.2.cached.npy" for n in (0, 2, 3)), "foreign.npy"]
    entry(4)
    entry(5)  # 3 to 5 are in use by this process
    assert {f"data-{n:012x}.2.cached.npy" for n in (3, 4, 5)} <= {
        path.name for path in folder.iterdir()
    }
    monkeypatch.setenv("KERAS_DISENT_CACHE_SIZE", "much")
    with pytest.raises(ValueError, match=r"KERAS_DISENT_CACHE_SIZE is a number .* Got 'much'"):
        entry(6)


def test_unfinished_entries_of_other_processes_are_kept(folder, monkeypatch):
    folder.mkdir()
    fresh, abandoned = (folder / f".a-{0:012x}.{digit * 16}.part" for digit in "01")
    for part in (fresh, abandoned):
        part.touch()
    os.utime(abandoned, (1, 1))
    monkeypatch.setenv("KERAS_DISENT_CACHE_SIZE", "0.000000001")
    cached_rows(f"data-{0:012x}", (5, 2), "u1", Sevens())
    clear()
    assert list(folder.iterdir()) == [fresh]
