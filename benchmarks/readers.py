"""How fast the files of published data sets are read, beside another checkout of this package.

    python benchmarks/readers.py                              # of this checkout
    python benchmarks/readers.py --against ../before --out readers.json

Writes files of the published layouts to a temporary folder: all images of each set, but small ones
(and 3,000 pictures of CelebA), as their bytes do not matter to a reader. Each set is opened with an
empty cache, again with a full one, and 30 random batches of 64 images are read, in processes of
their own that take turns. The numbers are seconds of processor time, the least of the rounds, and
with `--against` their ratio to the other checkout. Prints JSON.
"""

import argparse
import gzip
import io
import json
import os
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

PARTS = ("first", "again", "batches")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", type=Path, help="another checkout of this package")
    parser.add_argument("--only", choices=FILES, nargs="+", default=list(FILES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="write the JSON there too")
    parser.add_argument("--read", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.read:
        print(json.dumps(measure(args.read[0], Path(args.read[1]))))
        return
    here = Path(__file__).resolve().parents[1]
    trees = [here, args.against.resolve()] if args.against else [here]
    with tempfile.TemporaryDirectory() as folder:
        rows = {name: row(name, Path(folder), trees, args.rounds) for name in args.only}
    text = json.dumps(rows, indent=2)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")


def row(name: str, folder: Path, trees: list[Path], rounds: int) -> dict[str, float]:
    """Return the seconds of a data set and their ratios to those of the other checkout."""
    data = folder / name
    data.mkdir()
    FILES[name](data)
    seconds = {tree: np.full(len(PARTS), np.inf) for tree in trees}
    for number in range(rounds):
        for tree in trees[:: 1 if number % 2 else -1]:
            command = [sys.executable, __file__, "--read", name, str(data)]
            environment = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
            environment["KERAS_DISENT_CACHE"] = f"{folder}/cache"
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
            shutil.rmtree(f"{folder}/cache", ignore_errors=True)
            now = json.loads(done.stdout.splitlines()[-1])
            seconds[tree] = np.minimum(seconds[tree], now)
    shutil.rmtree(data)
    times = dict(zip(PARTS, seconds[trees[0]].round(4).tolist(), strict=True))
    for tree in trees[1:]:
        ratios = (seconds[trees[0]] / seconds[tree]).round(2).tolist()
        times |= {f"{part}_ratio": r for part, r in zip(PARTS, ratios, strict=True)}
    return times


def measure(name: str, folder: Path) -> list[float]:
    """Return seconds of opening a data set, of opening it again, and of random batches."""
    warnings.simplefilter("ignore")  # of slow chunks
    from keras_disent import datasets

    classes = {
        "dsprites": datasets.DSprites,
        "shapes3d": datasets.Shapes3D,
        "mpi3d": datasets.MPI3D,
        "cars3d": datasets.Cars3D,
        "small_norb": datasets.SmallNORB,
        "celeba": datasets.CelebA,
        "fashion_mnist": datasets.FashionMNIST,
    }

    def read() -> None:
        rng = np.random.default_rng(0)
        for _ in range(30):
            data.images(rng.integers(len(data), size=64))

    seconds = []
    for _ in range(2):
        start = time.process_time()
        data = classes[name](data_dir=folder, verify=False)
        seconds.append(time.process_time() - start)
    start = time.process_time()
    read()
    return [*seconds, time.process_time() - start]


# -- files of the published layouts ----------------------------------------------------------------


def grid(*sizes: int) -> np.ndarray:
    """Return all combinations of factors, int64 `(n, factors)`."""
    return np.ascontiguousarray(np.indices(sizes).reshape(len(sizes), -1).T)


def pixels(*shape: int) -> np.ndarray:
    """Return smooth noise, which compresses as pictures do, uint8 of a shape."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 8, shape, dtype=np.uint8) * 30


def dsprites(folder: Path) -> None:
    """737,280 images of 16 x 16 pixels."""
    name = "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"
    classes = grid(1, 3, 6, 40, 32, 32)
    images = pixels(len(classes), 16, 16) // 128
    np.savez_compressed(folder / name, imgs=images, latents_classes=classes)


def shapes3d(folder: Path) -> None:
    """480,000 images of 8 x 8 pixels."""
    import h5py

    labels = grid(10, 10, 10, 8, 4, 15) / np.array([10, 10, 10, 1, 1, 1])
    with h5py.File(folder / "3dshapes.h5", "w") as file:
        packed = {"compression": "gzip", "compression_opts": 1}
        images = pixels(len(labels), 8, 8, 3)
        file.create_dataset("images", data=images, chunks=(128, 8, 8, 3), **packed)
        file.create_dataset("labels", data=labels)


def mpi3d(folder: Path) -> None:
    """1,036,800 images of 8 x 8 pixels, compressed."""
    np.savez_compressed(folder / "mpi3d_toy.npz", images=pixels(1_036_800, 8, 8, 3))


def cars3d(folder: Path) -> None:
    """183 cars of 128 x 128 pixels."""
    from scipy.io import savemat

    names = [f"car_{number:03}_mesh" for number in range(1, 184)]
    image = np.repeat(pixels(128, 16, 3, 24, 4), 8, axis=1)
    car = io.BytesIO()
    savemat(car, {"im": image}, do_compression=True)
    files = {f"{name}.mat": car.getvalue() for name in names}
    files["list.txt"] = "".join(f"{name}\n" for name in names).encode()
    with tarfile.open(folder / "nips2015-analogy-data.tar.gz", "w:gz", compresslevel=1) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"data/cars/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def small_norb(folder: Path) -> None:
    """48,600 pairs of images of 96 x 96 pixels."""
    rng = np.random.default_rng(0)
    steps = grid(5, 10, 9, 18, 6)
    images = np.repeat(pixels(24_300, 2, 96, 12), 8, axis=3)
    for half, instances in (
        ("smallnorb-5x46789x9x18x6x2x96x96-training", (4, 6, 7, 8, 9)),
        ("smallnorb-5x01235x9x18x6x2x96x96-testing", (0, 1, 2, 3, 5)),
    ):
        rows = rng.permutation(steps[np.isin(steps[:, 1], instances)]).astype(np.int32)
        info = rows[:, 1:] * np.array([1, 1, 2, 1], np.int32)
        matrices = {"dat": images, "cat": rows[:, 0], "info": info}
        for kind, matrix in matrices.items():
            magic = 0x1E3D4C55 if matrix.dtype == np.uint8 else 0x1E3D4C54
            dims = [*matrix.shape, *[1] * (3 - matrix.ndim)]
            head = struct.pack(f"<Ii{len(dims)}i", magic, matrix.ndim, *dims)
            with gzip.open(folder / f"{half}-{kind}.mat.gz", "wb", 1) as file:
                file.write(head + np.ascontiguousarray(matrix).tobytes())


def celeba(folder: Path) -> None:
    """3,000 JPEG files of 178 x 218 pixels."""
    from PIL import Image

    rng = np.random.default_rng(0)
    names = [f"{number:06}.jpg" for number in range(1, 3001)]
    with zipfile.ZipFile(folder / "img_align_celeba.zip", "w") as archive:
        for name in names:
            small = Image.fromarray(rng.integers(0, 256, (14, 11, 3), dtype=np.uint8))
            content = io.BytesIO()
            small.resize((178, 218), Image.Resampling.BICUBIC).save(content, "JPEG", quality=90)
            archive.writestr(f"img_align_celeba/{name}", content.getvalue())
    columns = [f"attribute_{i}" for i in range(40)]
    rows = [f"{name} {' '.join(rng.choice(['-1', '1'], 40))}" for name in names]
    text = "\n".join([str(len(names)), " ".join(columns), *rows]) + "\n"
    (folder / "list_attr_celeba.txt").write_text(text)


def fashion_mnist(folder: Path) -> None:
    """70,000 images of 28 x 28 pixels."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 60_000), ("t10k", 10_000)):
        arrays = {
            "images-idx3": pixels(count, 28, 28),
            "labels-idx1": rng.integers(0, 10, count, dtype=np.uint8),
        }
        for kind, array in arrays.items():
            head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
            with gzip.open(folder / f"{part}-{kind}-ubyte.gz", "wb", 1) as file:
                file.write(head + array.tobytes())


FILES: dict[str, Callable[[Path], None]] = {
    "dsprites": dsprites,
    "shapes3d": shapes3d,
    "mpi3d": mpi3d,
    "cars3d": cars3d,
    "small_norb": small_norb,
    "celeba": celeba,
    "fashion_mnist": fashion_mnist,
}

if __name__ == "__main__":
    main()
