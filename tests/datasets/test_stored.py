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
import zipfile

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keras_disent.datasets.stored import hdf5
from keras_disent.datasets.stored.binary import open_idx, open_norb, read_rows
from keras_disent.datasets.stored.cache import cache_folder, cached_rows, clear
from keras_disent.datasets.stored.checksums import digest, verify
from keras_disent.datasets.stored.hdf5 import ChunkedRows, open_hdf5, resave_hdf5
from keras_disent.datasets.stored.npy import map_npy, members, open_npz, read_npz, shape_npz

NUMBERS = ["?", "i1", "u1", "<i2", ">i4", "<i8", "<u8", "<f2", ">f4", "<f8", "<c8", ">c16"]
IDX = {8: "u1", 9: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
NORB = {
    0x1E3D4C55: "u1",
    0x1E3D4C54: "<i4",
    0x1E3D4C56: "<i2",
    0x1E3D4C51: "<f4",
    0x1E3D4C53: "<f8",
}
SHAPES = [(7,), (7, 3), (5, 4, 3), (5, 4, 2, 3), (0, 3)]
HUGE = 2**31 - 1
BOUND = 64 * 2**20


def numbers(shape, dtype, seed=0):
    raw = np.random.default_rng(seed).integers(0, 100, shape)
    return raw.astype(dtype)


def norb_bytes(array, magic):
    sizes = array.shape + (1,) * (3 - array.ndim)
    return struct.pack(f"<Ii{len(sizes)}i", magic, array.ndim, *sizes) + array.tobytes()


def idx_bytes(array, code):
    return struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape) + array.tobytes()


def npy_bytes(descr, shape, data=b"", fortran=False, version=1, header=None):
    text = header or repr({"descr": descr, "fortran_order": fortran, "shape": shape})
    raw = text.encode() + b"\n"
    size = struct.pack("<H" if version == 1 else "<I", len(raw))
    return b"\x93NUMPY" + bytes([version, 0]) + size + raw + data


def assert_rows(result, array):
    """Compare rows read in any order, with repeats, and for no index."""
    assert result.shape == array.shape
    assert result.dtype == array.dtype
    assert len(result) == len(array)
    every = np.arange(len(array))
    orders = [every, every[::-1], np.repeat(every, 2), every[:0]]
    if len(array):
        orders.append(np.random.default_rng(1).integers(0, len(array), 20))
    for indices in orders:
        values = result[indices.astype(np.int64)]
        assert type(values) is np.ndarray
        assert values.dtype == array.dtype
        np.testing.assert_array_equal(values, array[indices])


def assert_stream(stream, array):
    shape, dtype, blocks = stream
    assert (shape, dtype) == (array.shape, array.dtype)
    arrays = list(blocks)
    assert all(block.shape[1:] == shape[1:] and block.dtype == dtype for block in arrays)
    joined = np.concatenate([*arrays, np.empty((0, *shape[1:]), dtype)])
    np.testing.assert_array_equal(joined, array)


def drain(stream):
    return sum(len(block) for block in stream.blocks)


def assert_malformed(path, rule, read, *args):
    """Check that reading fails with a message: the file, the rule, then the actual contents."""
    with pytest.raises(ValueError, match=rule) as caught:
        read(path, *args)
    message = str(caught.value)
    assert re.match(rf"'{re.escape(str(path))}' needs .*\. Got .*\.$", message)
    assert len(message) < 1500


@contextlib.contextmanager
def bounded(limit=BOUND):
    """Fail if more than `limit` bytes are allocated at a time."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < limit


def opened(rows):
    """Return rows of an archive; read those that are compressed."""
    return rows if isinstance(rows, np.ndarray) else drain(rows)


def write_file(path, data):
    path.write_bytes(data)
    return path


READERS = {
    "npy": map_npy,
    "npz": lambda path: opened(open_npz(path, "a")),
    "npz names": members,
    "npz shape": lambda path: shape_npz(path, "a"),
    "idx": lambda path: opened(open_idx(path)),
    "norb": lambda path: opened(open_norb(path)),
    "hdf5": lambda path: open_hdf5(path, "a"),
    "chunked": lambda path: ChunkedRows(path, "a"),
    "resave": lambda path: resave_hdf5(path, f"{path}.new"),
    "digest": lambda path: digest(path, "md5"),
    "verify": verify,
}


@pytest.mark.parametrize("reader", READERS)
def test_missing_files_and_folders(tmp_path, reader):
    with pytest.raises(FileNotFoundError, match=r"none\.bin"):
        READERS[reader](tmp_path / "none.bin")
    assert_malformed(tmp_path, "to be a file. Got a folder", READERS[reader])
    file = write_file(tmp_path / "file", b"")
    with pytest.raises(FileNotFoundError):
        READERS[reader](file / "inside")
    with pytest.raises(ValueError, match="null byte"):
        READERS[reader]("a\0b")
    os.mkfifo(tmp_path / "pipe")
    assert_malformed(tmp_path / "pipe", "a device or pipe", READERS[reader])


# --- npy and npz --------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", NUMBERS)
def test_npy_and_npz_round_trip(tmp_path, dtype, shape):
    array = numbers(shape, dtype)
    np.save(tmp_path / "a.npy", array)
    assert_rows(map_npy(tmp_path / "a.npy"), array)
    np.savez(tmp_path / "a.npz", a=array, b=array[:1])
    np.savez_compressed(tmp_path / "b.npz", a=array)
    assert members(tmp_path / "a.npz") == ["a", "b"]
    assert shape_npz(tmp_path / "b.npz", "a") == shape
    assert_rows(open_npz(tmp_path / "a.npz", "a"), array)
    assert_stream(open_npz(tmp_path / "b.npz", "a"), array)


def test_maps_are_read_only_views_of_the_file(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(6))
    np.savez(tmp_path / "a.npz", a=np.arange(6))
    for rows in (map_npy(tmp_path / "a.npy"), open_npz(tmp_path / "a.npz", "a")):
        assert isinstance(rows, np.memmap)
        with pytest.raises(ValueError, match="read-only"):
            rows[0] = 1


@pytest.mark.parametrize("name", ["a b", "größe", "folder/a", "日本", "a.b"])
def test_members_of_any_name(tmp_path, name):
    array = np.arange(6).reshape(3, 2)
    for method, save in (("stored", np.savez), ("deflated", np.savez_compressed)):
        path = tmp_path / f"{method} {name.replace('/', '_')}.npz"
        save(path, **{name: array})
        assert members(path) == [name]
        rows = open_npz(path, name)
        found = rows if method == "stored" else np.concatenate(list(rows.blocks))
        np.testing.assert_array_equal(found, array)


def test_texts_are_read_and_objects_never(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, a=np.zeros(2), texts=np.array(["ä", "b"]), objects=np.array([{}, []], object))
    assert read_npz(path, "texts").tolist() == ["ä", "b"]
    assert_malformed(
        path, r"save texts as np.array\(texts, dtype=str\). Got Python", read_npz, "objects"
    )
    assert_malformed(path, "numbers: bool, integer", open_npz, "objects")
    assert_malformed(path, "a member 'c'", open_npz, "c")


BAD_NPY = {
    "empty": b"",
    "no npy": b"not at all an npy file",
    "pickle": pickle.dumps([1, 2]),
    "object": npy_bytes("|O", (1,), pickle.dumps(1)),
    "text": npy_bytes("<U4", (1,), bytes(16)),
    "structured": npy_bytes([("a", "<i4")], (1,), bytes(4)),
    "fortran": npy_bytes("<i4", (2, 2), bytes(16), fortran=True),
    "short": npy_bytes("<i4", (2, 2), bytes(15)),
    "long": npy_bytes("<i4", (2, 2), bytes(17)),
    "negative": npy_bytes("<i4", (-2,), bytes(8)),
    "scalar": npy_bytes("<i4", (), bytes(4)),
    "empty rows": npy_bytes("<i4", (2, 0)),
    "code": npy_bytes("<i4", (2,), header="__import__('os').getcwd()"),
    "long header": npy_bytes("<i4", (2,), bytes(8), header=" " * 20_000 + "{}"),
}


@pytest.mark.parametrize("case", BAD_NPY)
def test_malformed_npy_files(tmp_path, case):
    path = write_file(tmp_path / "a.npy", BAD_NPY[case])
    assert_malformed(path, "needs", map_npy)


def test_a_compressed_member_is_read_in_blocks(tmp_path):
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, a=np.zeros((40_000, 1000), np.uint8), b=np.zeros((1, 2**25), "u1"))
    with bounded(2**24):
        assert drain(open_npz(path, "a")) == 40_000
    assert_malformed(path, "rows of at most", open_npz, "b")


def test_a_header_is_not_unpacked_beyond_its_limit(tmp_path):
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", b"\x93NUMPY\2\0" + struct.pack("<I", 2**28) + b" " * 2**28)
    for read in (open_npz, read_npz, shape_npz):
        with bounded(2**20):
            assert_malformed(path, "expected 268435456 bytes", read, "a")


def test_unused_streams_close_their_files(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, a=np.zeros((3, 2)))
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        stream = open_npz(path, "a")
        del stream
        started = open_npz(path, "a").blocks
        next(started)
        started.close()
    path.unlink()


# --- idx and NORB --------------------------------------------------------------------------

BINARY = {"idx": (IDX, idx_bytes, open_idx), "norb": (NORB, norb_bytes, open_norb)}
KINDS = [(name, code) for name in BINARY for code in BINARY[name][0]]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("name", "code"), KINDS)
def test_binary_round_trip(tmp_path, name, code, shape):
    types, encode, reader = BINARY[name]
    array = numbers(shape, types[code])
    data = encode(array, code)
    raw = write_file(tmp_path / "a", data)
    packed = write_file(tmp_path / "a.gz", gzip.compress(data))
    assert_rows(reader(raw), array)
    assert_stream(reader(packed), array)
    for path in (raw, packed):
        np.testing.assert_array_equal(read_rows(reader(path)), array)


@pytest.mark.parametrize("name", BINARY)
def test_broken_gzip(tmp_path, name):
    types, encode, reader = BINARY[name]
    code = next(iter(types))
    data = encode(np.random.default_rng(0).integers(0, 255, (40, 30)).astype("u1"), code)
    complete = gzip.compress(data)
    cases = {
        "CRC": complete[:-8] + bytes([complete[-8] ^ 1]) + complete[-7:],
        "EOFError": complete[:-100],
        "only .* truncated": gzip.compress(data[:-1]),
        "to end after 1200 bytes": gzip.compress(data + b"a"),
        "needs": gzip.compress(b""),
    }
    for rule, broken in cases.items():
        path = write_file(tmp_path / "a.gz", broken)
        assert_malformed(path, rule, lambda path: opened(reader(path)))


BAD_IDX = {
    "empty": b"",
    "magic": b"\1\0\x08\1\0\0\0\1a",
    "type": b"\0\0\x0a\1\0\0\0\1a",
    "no axes": b"\0\0\x08\0a",
    "header": b"\0\0\x08\2\0\0\0\1",
    "short": b"\0\0\x08\1\0\0\0\3ab",
    "long": b"\0\0\x08\1\0\0\0\3abcd",
    "huge": b"\0\0\x0e\3" + b"\xff" * 12,
    "empty rows": b"\0\0\x08\2\0\0\0\3\0\0\0\0",
}
BAD_NORB = {
    "empty": b"",
    "packed": struct.pack("<Ii3i", 0x1E3D4C52, 1, 1, 1, 1) + b"a",
    "no axes": struct.pack("<Ii3i", 0x1E3D4C55, 0, 1, 1, 1) + b"a",
    "sizes": struct.pack("<Ii3i", 0x1E3D4C55, 2, -1, -1, 1) + b"a",
    "short": struct.pack("<Ii3i", 0x1E3D4C55, 1, 3, 1, 1) + b"ab",
    "huge": struct.pack("<Ii3i", 0x1E3D4C53, 3, HUGE, HUGE, HUGE),
}


@pytest.mark.parametrize(
    ("name", "case"), [("idx", c) for c in BAD_IDX] + [("norb", c) for c in BAD_NORB]
)
def test_malformed_binary_files(tmp_path, name, case):
    data = (BAD_IDX if name == "idx" else BAD_NORB)[case]
    reader = BINARY[name][2]
    for path in (tmp_path / "a", tmp_path / "a.gz"):
        write_file(path, data if path.suffix == "" else gzip.compress(data))
        assert_malformed(path, "needs", lambda path: opened(reader(path)))


def test_a_claim_needs_the_compressed_bytes_for_it(tmp_path):
    data = gzip.compress(struct.pack(">HBBII", 0, 8, 2, 10**6, 1000))
    path = write_file(tmp_path / "a.gz", data)
    assert_malformed(path, "at most 1032 bytes for each compressed byte", open_idx)


# --- HDF5 ----------------------------------------------------------------------------------


def hdf5_of(path, array, name="a", **options):
    with h5py.File(path, "w") as file:
        file.create_dataset(name, data=array, **options)
    return path


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", NUMBERS)
def test_hdf5_round_trip(tmp_path, dtype, shape):
    array = numbers(shape, dtype)
    result = open_hdf5(hdf5_of(tmp_path / "a.h5", array), "a")
    assert_rows(result, array)
    assert isinstance(result, np.memmap) == (array.size > 0)
    chunks = tuple(max(1, n - 2) for n in shape)
    options = {"chunks": chunks, "maxshape": (None, *shape[1:]), "compression": "gzip"}
    path = hdf5_of(tmp_path / "b.h5", array, "in/side", **options)
    result = open_hdf5(path, "in/side", warn=False)
    assert_rows(result, array)
    assert isinstance(result, ChunkedRows) == (array.size > 0)
    resave_hdf5(path, tmp_path / "c.h5")
    result = open_hdf5(tmp_path / "c.h5", "/in/side")
    assert_rows(result, array)
    assert isinstance(result, np.memmap) == (array.size > 0)


def test_hdf5_behind_other_bytes_and_in_its_header(tmp_path):
    array = numbers((5, 3), "i4")
    with h5py.File(tmp_path / "a.h5", "w", userblock_size=512) as file:
        file["a"] = array
        space = h5py.h5s.create_simple(array.shape)
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_layout(h5py.h5d.COMPACT)
        data = h5py.h5d.create(
            file.id, b"small", h5py.h5t.py_create(array.dtype), space, properties
        )
        h5py.Dataset(data)[:] = array
    assert_rows(open_hdf5(tmp_path / "a.h5", "a"), array)
    assert_rows(open_hdf5(tmp_path / "a.h5", "small"), array)


def test_every_chunk_is_read_once_a_call(tmp_path, monkeypatch):
    array = numbers((40, 6, 5), "u1")
    path = hdf5_of(tmp_path / "a.h5", array, chunks=(8, 2, 3), compression="gzip")
    result = open_hdf5(path, "a")
    boxes = []

    class Counted:
        def __getitem__(self, box):
            boxes.append(box)
            return array[box]

    result._data = Counted()
    indices = np.array([39, 0, 17, 0, 16, 39, 7])
    np.testing.assert_array_equal(result[indices], array[indices])
    assert [(box[0].start, box[0].stop) for box in boxes] == [(0, 8), (16, 18), (39, 40)]
    # Rows too large to be read together are read chunk by chunk.
    boxes.clear()
    monkeypatch.setattr(hdf5, "_MAX_CHUNK", 48)
    np.testing.assert_array_equal(result[indices], array[indices])
    starts = [tuple(part.start // n for part, n in zip(b, (8, 2, 3), strict=True)) for b in boxes]
    assert len(set(starts)) == len(starts) == 6 + 6 + 1


def test_indices_of_chunked_rows_are_checked(tmp_path):
    result = open_hdf5(hdf5_of(tmp_path / "a.h5", numbers((9, 2), "u1"), chunks=(3, 2)), "a")
    with pytest.raises(IndexError, match=r"from 0 to 8\. Got 9"):
        result[np.array([9])]
    with pytest.raises(IndexError, match="Got -1"):
        result[np.array([-1])]
    with pytest.raises(TypeError, match="integers"):
        result[np.array([0.5])]


def test_chunked_rows_go_to_other_processes(tmp_path):
    array = numbers((9, 2), "u1")
    result = open_hdf5(hdf5_of(tmp_path / "a.h5", array, chunks=(3, 2)), "a")
    assert_rows(pickle.loads(pickle.dumps(result)), array)


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
        assert warning.category is UserWarning
        assert warning.filename == __file__
        assert f"keras-disent data convert '{path}'" in str(warning.message)
        assert "9 chunk(s)" in str(warning.message) or "65 row(s)" in str(warning.message)


def test_resaving_keeps_groups_links_and_attributes(tmp_path):
    array = numbers((50, 6, 5), "u1")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("images", data=array, chunks=(7, 2, 3), compression="gzip")
        file["latents/classes"] = np.arange(6)
        file["latents/again"] = file["images"]
        file["latents/round"] = file["latents"]
        file["empty"] = h5py.Empty("f4")
        file["one"] = 3.5
        file["names"] = np.array([b"ab", b"cde"])
        file["flags"] = np.array([True, False])
        file["none"] = np.empty((0, 3))
        file.create_group("nothing")
        file.attrs["title"] = "sprites"
        file["images"].attrs["axes"] = ["row", "column"]
        file["latents"].attrs["sizes"] = np.arange(3)
        file["latents"].attrs["no value"] = h5py.Empty("i2")
    seen = []
    resave_hdf5(
        tmp_path / "a.h5", tmp_path / "b.h5", lambda done, total: seen.append((done, total))
    )
    with h5py.File(tmp_path / "b.h5") as file:
        assert file["images"].chunks is None
        np.testing.assert_array_equal(file["images"], array)
        assert file["latents/again"] == file["images"]
        assert file["latents/round"] == file["latents"]
        assert file["latents/classes"][:].tolist() == list(range(6))
        assert file["empty"].shape is None
        assert file["one"][()] == 3.5
        assert file["names"][:].tolist() == [b"ab", b"cde"]
        assert file["flags"].dtype == bool
        assert file["none"].shape == (0, 3)
        assert list(file["nothing"]) == []
        assert file.attrs["title"] == "sprites"
        assert file["images"].attrs["axes"].tolist() == ["row", "column"]
        assert file["latents"].attrs["sizes"].tolist() == [0, 1, 2]
        assert file["latents"].attrs["no value"].dtype == "i2"
    assert seen[-1][0] == seen[-1][1]
    assert seen == sorted(seen)
    resave_hdf5(tmp_path / "a.h5", tmp_path / "a.h5")
    assert_rows(open_hdf5(tmp_path / "a.h5", "images"), array)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.h5", "b.h5"]


def test_resaving_in_small_parts(tmp_path, monkeypatch):
    array = numbers((20, 6, 7), ">i2")
    path = hdf5_of(tmp_path / "a.h5", array, chunks=(7, 4, 3), compression="gzip")
    for buffer in (2, 30, 100, 3 * 84, 8 * 84):
        monkeypatch.setattr(hdf5, "_BUFFER", buffer)
        boxes = list(hdf5._boxes(array.shape, (7, 4, 3), 2))
        assert max(array[box].nbytes for box in boxes) <= buffer
        resave_hdf5(path, tmp_path / "b.h5")
        assert_rows(open_hdf5(tmp_path / "b.h5", "a"), array)


def test_resaving_has_bounded_memory(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("a", (200, 2**20), "u1", chunks=(3, 2**20))
        for start in range(0, 200, 50):
            data[start : start + 50] = start
    with bounded(100 * 2**20):
        resave_hdf5(tmp_path / "a.h5", tmp_path / "b.h5")
    assert open_hdf5(tmp_path / "b.h5", "a")[np.array([199, 0])][:, 0].tolist() == [150, 0]


def test_a_failed_resave_leaves_no_file(tmp_path):
    path = hdf5_of(tmp_path / "a.h5", numbers((20, 3), "u1"), chunks=(5, 3))

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        resave_hdf5(path, tmp_path / "b.h5", stop)
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(OSError, match="nowhere"):
        resave_hdf5(path, tmp_path / "nowhere" / "b.h5")


def bad_hdf5(path, case):
    with h5py.File(path, "w") as file:
        if case == "external link":
            hdf5_of(path.with_name("other.h5"), np.arange(3))
            file["a"] = h5py.ExternalLink("other.h5", "/a")
        elif case == "link into a link":
            hdf5_of(path.with_name("other.h5"), np.arange(3), "b/a")
            file["a"] = h5py.ExternalLink("other.h5", "/b")
        elif case == "soft link":
            file["b"] = np.arange(3)
            file["a"] = h5py.SoftLink("/b")
        elif case == "strings":
            file["a"] = ["x", "yz"]
        elif case == "lists":
            data = file.create_dataset("a", (2,), h5py.vlen_dtype("i4"))
            data[0] = [1, 2]
        elif case == "references":
            file["b"] = np.arange(3)
            file.create_dataset("a", data=[file["b"].ref], dtype=h5py.ref_dtype)
        elif case == "virtual":
            hdf5_of(path.with_name("other.h5"), np.arange(3))
            layout = h5py.VirtualLayout((3,), "i8")
            layout[:] = h5py.VirtualSource(str(path.with_name("other.h5")), "a", (3,))
            file.create_virtual_dataset("a", layout)
        elif case == "elsewhere":
            other = str(path.with_name("raw.bin"))
            file.create_dataset("a", data=np.arange(3), external=[(other, 0, 24)])
        elif case == "unwritten":
            file.create_dataset("a", (10**6, 10**6), "f8")
        elif case == "unwritten chunks":
            data = file.create_dataset("a", (10**6, 10**6), "f8", chunks=(10, 10))
            data[0, 0] = 1
        elif case == "overflow":
            file.create_dataset("a", (2**32, 2**32), "u1", chunks=(1, 10))
        elif case == "large chunks":
            file.create_dataset("a", (2, 2**26), "u1", chunks=(1, 2**26), compression="gzip")
        elif case == "named type":
            file["a"] = np.dtype("i4")
        return path


HDF5_RULES = {
    "external link": "a hard link for '.*'. Got ExternalLink",
    "link into a link": "a hard link for '.*'. Got ExternalLink",
    "soft link": "a hard link for '.*'. Got SoftLink",
    "strings": "values of fixed size",
    "lists": "values of fixed size",
    "references": "values of fixed size",
    "virtual": "in the same file. Got another file",
    "elsewhere": "in the same file. Got another file",
    "unwritten": "8000000000000 bytes of '/?a'",
    "unwritten chunks": "10000000000 chunks for '/?a'",
    "overflow": "chunks for '/?a'",
    "large chunks": "chunks of at most 33554432 bytes",
    "named type": "a data set 'a'|groups and data sets",
}


@pytest.mark.parametrize("case", HDF5_RULES)
def test_unsupported_hdf5_files(tmp_path, case):
    path = bad_hdf5(tmp_path / "a.h5", case)
    inside = "a/a" if case == "link into a link" else "a"
    assert_malformed(path, HDF5_RULES[case], open_hdf5, inside)
    assert_malformed(path, HDF5_RULES[case], resave_hdf5, tmp_path / "b.h5")
    assert not (tmp_path / "b.h5").exists()


def test_unsupported_hdf5_items(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a"] = np.arange(3)
        file["g/b"] = np.array([b"ab"])
        file["one"] = 1
        file["empty"] = h5py.Empty("f4")
        file["named"] = np.zeros(2, h5py.enum_dtype({"x": 1}))
        file["pair"] = np.zeros(2, [("x", "i4"), ("y", "f4")])
        narrow = h5py.h5t.STD_I16LE.copy()
        narrow.set_precision(12)
        h5py.h5d.create(file.id, b"narrow", narrow, h5py.h5s.create_simple((3,)))
        h5py.Dataset(h5py.h5d.open(file.id, b"narrow"))[:] = 1
        file["rows"] = np.empty((3, 0))
    path = tmp_path / "a.h5"
    for name in ("b", "", "/", "a/b", "g/./b", ".", "..", "g//b", "g", "\0", "a\0", "ä"):
        assert_malformed(path, "needs", open_hdf5, name)
    assert_malformed(path, "a data set 'b'. Got a, empty, g", open_hdf5, "b")
    for name in ("g/b", "pair", "narrow"):
        assert_malformed(path, "numbers of a standard type", open_hdf5, name)
    assert_rows(open_hdf5(path, "named"), np.zeros(2, "u1"))
    for name in ("one", "empty"):
        assert_malformed(path, "1 to 32 axes", open_hdf5, name)
    assert_malformed(path, "0 only for no rows", open_hdf5, "rows")
    resave_hdf5(path, tmp_path / "b.h5")
    with h5py.File(tmp_path / "b.h5") as file:
        assert file["pair"].dtype.names == ("x", "y")
        assert file["narrow"][:].tolist() == [1, 1, 1]
    with h5py.File(path, "a") as file:
        lists = np.empty(1, object)
        lists[0] = np.arange(2, dtype="i4")
        file.attrs.create("lists", lists, dtype=h5py.vlen_dtype("i4"))
    assert_malformed(
        path, "numbers or strings for the attribute 'lists'", resave_hdf5, tmp_path / "b.h5"
    )


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


def test_truncated_hdf5(tmp_path):
    path = hdf5_of(tmp_path / "a.h5", numbers((500, 3), "f8"))
    data = path.read_bytes()
    for size in (0, 1, 100, 2000, len(data) - 1):
        assert_malformed(
            write_file(tmp_path / f"{size}.h5", data[:size]), "an HDF5 file", open_hdf5, "a"
        )


# --- fuzzing -------------------------------------------------------------------------------


def valid_files(folder):
    """Write a valid file of each format, small enough that most mutations matter."""
    array = np.arange(24, dtype="<i4").reshape(6, 4)
    small = array.astype("u1")
    np.save(folder / "npy", array)
    np.savez(folder / "npz", a=array)
    np.savez_compressed(folder / "deflated", a=array)
    files = {
        "npy": (folder / "npy.npy").read_bytes(),
        "npz": (folder / "npz.npz").read_bytes(),
        "deflated": (folder / "deflated.npz").read_bytes(),
        "idx": idx_bytes(array.astype(">i4"), 0x0C),
        "norb": norb_bytes(array, 0x1E3D4C54),
    }
    files["idx.gz"] = gzip.compress(files["idx"])
    files["norb.gz"] = gzip.compress(files["norb"])
    for name, version in (("old.h5", "earliest"), ("new.h5", "latest")):
        with h5py.File(folder / name, "w", libver=version) as file:
            file["g/b"] = array
            file.create_dataset("a", data=small, chunks=(4, 3), compression="gzip", shuffle=True)
            # No string of variable length: HDF5 itself can loop for ever on a broken one.
            file["a"].attrs["unit"] = np.bytes_("pixels")
        files[name] = (folder / name).read_bytes()
    return files


FUZZED = {
    "npy": ("npy",),
    "npz": ("npz",),
    "deflated": ("npz",),
    "idx": ("idx",),
    "idx.gz": ("idx",),
    "norb": ("norb",),
    "norb.gz": ("norb",),
    "old.h5": ("hdf5", "resave"),
    "new.h5": ("hdf5", "resave"),
}


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    return valid_files(tmp_path_factory.mktemp("valid"))


def read_mutated(folder, data, name):
    """Check that a reader returns valid rows or raises a `ValueError` that names the file."""
    for reader in FUZZED[name]:
        path = folder / f"{next(COUNTER)}"
        path.write_bytes(data)
        message = f"{path}. Got "
        try:
            with bounded():
                result = READERS[reader](path)
            if hasattr(result, "shape"):
                assert 1 <= len(result.shape) <= 32
                assert len(result) == result.shape[0]
                ends = np.arange(len(result), dtype=np.int64)[[0, -1] if len(result) else []]
                assert result[ends].shape == (len(ends), *result.shape[1:])
        except ValueError as error:
            message = str(error)
        assert str(path) in message
        assert ". Got " in message
        for file in (path, path.with_name(f"{path.name}.new")):
            file.unlink(missing_ok=True)
    assert not list(folder.iterdir())


COUNTER = iter(range(10**9))


def fuzz(examples):
    return settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@pytest.mark.parametrize("name", FUZZED)
def test_random_bytes(tmp_path, valid, name):
    @fuzz(40)
    @given(st.binary(max_size=300), st.integers(0, 16))
    def run(data, length):
        read_mutated(tmp_path, valid[name][:length] + data, name)

    run()


@pytest.mark.parametrize("name", FUZZED)
def test_mutated_files(tmp_path, valid, name):
    complete = valid[name]
    # The first bytes and the last hold the headers.
    places = st.one_of(
        st.integers(0, min(140, len(complete)) - 1),
        st.integers(max(0, len(complete) - 140), len(complete) - 1),
        st.integers(0, len(complete) - 1),
    )
    values = st.one_of(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]), st.integers(0, 255))
    changes = st.lists(st.tuples(places, values), min_size=1, max_size=6)

    @fuzz(100 if name.endswith(".h5") else 150)
    @given(changes, st.one_of(st.none(), st.integers(0, len(complete))), st.binary(max_size=5))
    def run(changes, cut, more):
        data = bytearray(complete)
        for place, value in changes:
            data[place] = value
        read_mutated(tmp_path, bytes(data[:cut]) + more, name)

    run()


@pytest.mark.parametrize("name", FUZZED)
def test_truncated_files(tmp_path, valid, name):
    complete = valid[name]
    for size in range(0, len(complete), max(1, len(complete) // 40)):
        path = write_file(tmp_path / "cut", complete[:size])
        for reader in FUZZED[name]:
            with pytest.raises(ValueError, match=r"needs .* Got"):
                READERS[reader](path)


@pytest.mark.parametrize("huge", [2**24, 2**30, HUGE])
def test_forged_sizes_allocate_nothing(tmp_path, huge):
    def forged(name, data):
        return write_file(tmp_path / name, data)

    npy = npy_bytes("<f8", (huge, huge), bytes(100))
    idx = struct.pack(">HBBII", 0, 0x0E, 2, huge, huge) + bytes(100)
    one = struct.pack(">HBBII", 0, 0x0E, 2, huge, 1) + bytes(100)
    norb = struct.pack("<Ii3i", 0x1E3D4C53, 2, huge, huge, 1) + bytes(100)
    with bounded(2**24):
        assert_malformed(forged("a.npy", npy), "bytes for the shape", map_npy)
        for data in (idx, one):
            assert_malformed(forged("a", data), "bytes for the shape", READERS["idx"])
            assert_malformed(forged("a.gz", gzip.compress(data)), "needs", READERS["idx"])
        assert_malformed(forged("a", norb), "bytes for the shape", READERS["norb"])
        assert_malformed(forged("a.gz", gzip.compress(norb)), "needs", READERS["norb"])


# --- checksums -----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 2**20, 2**20 + 1, 3 * 2**20])
def test_digest(tmp_path, size):
    data = np.random.default_rng(0).bytes(size)
    path = write_file(tmp_path / "a", data)
    seen = []
    assert digest(path, "sha256", lambda *now: seen.append(now)) == hashlib.sha256(data).hexdigest()
    assert digest(path, "md5") == hashlib.md5(data).hexdigest()
    assert digest(path, "blake2b") == hashlib.blake2b(data).hexdigest()
    assert seen == [(min(n + 2**20, size), size) for n in range(0, size, 2**20)]


def test_verify(tmp_path):
    path = write_file(tmp_path / "a", b"abc")
    sha256, md5 = hashlib.sha256(b"abc").hexdigest(), hashlib.md5(b"abc").hexdigest()
    verify(path)
    verify(path, 3, sha256, md5)
    verify(path, sha256=sha256[:8].upper(), md5=md5.upper())
    assert_malformed(path, "4 bytes. Got 3", verify, 4)
    assert_malformed(
        path, f"the sha256 that starts with 12345678. Got {sha256}", verify, 3, "12345678"
    )
    assert_malformed(path, f"the sha256 {'0' * 64}. Got {sha256}", verify, 3, "0" * 64)
    assert_malformed(path, f"the md5 {'0' * 32}. Got {md5}", verify, 3, sha256, "0" * 32)


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


def test_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("KERAS_DISENT_CACHE", raising=False)
    assert cache_folder() == tmp_path / ".cache" / "keras-disent"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == tmp_path / ".cache" / "keras-disent"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "keras-disent"
    monkeypatch.setenv("KERAS_DISENT_CACHE", "")
    assert cache_folder() == tmp_path / "xdg" / "keras-disent"
    monkeypatch.setenv("KERAS_DISENT_CACHE", "~/mine")
    assert cache_folder() == tmp_path / "mine"
    monkeypatch.setenv("KERAS_DISENT_CACHE", "~nobody-of-this-name/mine")
    with pytest.raises(ValueError, match="set KERAS_DISENT_CACHE"):
        cache_folder()
    assert list(tmp_path.iterdir()) == []


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
        np.load(folder / "some-rows_1.0.cached.npy"), np.full((5, 2), 7, dtype)
    )
    assert [file.name for file in folder.iterdir()] == ["some-rows_1.0.cached.npy"]


def test_incomplete_cache_files_are_written_again(folder):
    write = Sevens()
    cached_rows("a", (5, 2), "u1", write)
    complete = (folder / "a.cached.npy").read_bytes()
    np.save(folder / "other", np.zeros((5, 3), "u1"))
    np.save(folder / "bytes", np.zeros((5, 2), "i1"))
    broken = [b"", complete[:-1], complete + b"a", b"\1" + complete[1:]]
    broken += [(folder / f"{name}.npy").read_bytes() for name in ("other", "bytes")]
    for count, data in enumerate(broken, 2):
        write_file(folder / "a.cached.npy", data)
        assert_rows(cached_rows("a", (5, 2), "u1", write), np.full((5, 2), 7, "u1"))
        assert write.count == count
    (folder / "a.cached.npy").unlink()
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
    assert [file.name for file in folder.iterdir()] == ["a.cached.npy"]


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
    (folder / "a.cached.npy").mkdir()
    assert_write_error(folder, "cannot be written to")
    assert [file.name for file in folder.iterdir()] == ["a.cached.npy"]
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


def test_arguments_of_cached_rows(folder):
    for key in ("", "../a", "a/b", ".a", "a b", "a\n", "x" * 300):
        with pytest.raises(ValueError, match="`key` needs"):
            cached_rows(key, (2,), "u1", Sevens())
    for shape in ((), (0,), (3, 0), (-1,)):
        with pytest.raises(ValueError, match="`shape` needs"):
            cached_rows("a", shape, "u1", Sevens())
    for dtype in ("O", "U3", "M8[s]"):
        with pytest.raises(ValueError, match="`dtype` needs"):
            cached_rows("a", (2,), dtype, Sevens())
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
        os.utime(folder / f"data-{number:012x}.cached.npy", ns=(10**9 * number, 10**9 * number))
    monkeypatch.setattr("keras_disent.datasets.stored.cache._in_use", set())
    entry(0)  # used again
    monkeypatch.setattr("keras_disent.datasets.stored.cache._in_use", set())
    entry(3)
    names = sorted(path.name for path in folder.iterdir())
    assert names == [*(f"data-{n:012x}.cached.npy" for n in (0, 2, 3)), "foreign.npy"]
    entry(4)
    entry(5)  # 3 to 5 are in use by this process
    assert {f"data-{n:012x}.cached.npy" for n in (3, 4, 5)} <= {
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
