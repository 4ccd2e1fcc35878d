"""How fast images come, what they take of memory, and what feeding adds to a training step.

    python benchmarks/data.py                                        # images a second, megabytes
    python benchmarks/data.py --only faces --only "faces 32 x 32"    # of some sets
    python benchmarks/data.py --backend jax                          # feeding, on one backend

Speeds are of random batches of 64 and of 1,024 images of 64 x 64 pixels, on one thread, medians of
several rounds. The folder holds pictures decoded into the cache, the HDF5 file is one re-saved by
`keras-disent data convert`; both are as large as `--stored` says, so that they fit on any disk.
Memory is what the process grows by, at most, while a set is made and 20,000 images are read.
Feeding compares `fit` on a stream of fresh batches with `fit` on batches that were drawn before,
in turns; the share is the median of (stream - drawn before) / stream. Prints JSON.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=("tensorflow", "jax", "torch"))
    parser.add_argument("--model", default="vae")
    parser.add_argument("--data", default="sprites", help="of feeding")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of one speed")
    parser.add_argument("--steps", type=int, default=60, help="of one fit")
    parser.add_argument("--stored", type=int, default=20_000, help="images on the disk")
    parser.add_argument("--only", action="append", help="name of a set whose speed is measured")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help="write the JSON there too")
    args = parser.parse_args()
    if args.memory_of:
        print(memory_here(args.memory_of))
        return
    report = feeding(args) if args.backend else speeds(args)
    text = json.dumps(report, indent=2)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")


def speeds(args: argparse.Namespace) -> dict:
    """Return images per second and megabytes."""
    from keras_disent import datasets

    with tempfile.TemporaryDirectory() as folder:
        os.environ["KERAS_DISENT_CACHE"] = f"{folder}/cache"
        sets = {
            "sprites": datasets.Sprites,
            "sprites 32 x 32": lambda: datasets.Sprites(32),
            "faces": datasets.Faces,
            "faces 32 x 32": lambda: datasets.Faces(32),
            "faces 128 x 128": lambda: datasets.Faces(128),
            "scenes3d": datasets.Scenes3D,
            "pendulum": datasets.Pendulum,
            "flow": datasets.Flow,
            "folder": lambda: datasets.open_folder(pictures(Path(folder) / "all", args.stored)),
            "hdf5, re-saved": lambda: datasets.open_file(hdf5(Path(folder), args.stored)),
        }
        unknown = [name for name in args.only or () if name not in sets]
        if unknown:
            raise SystemExit(f"--only needs one of {', '.join(sets)}. Got {unknown[0]!r}.")
        rows = {name: speed(sets[name](), args) for name in args.only or sets}
    for name in {"sprites", "faces", "scenes3d"} & {*rows}:
        command = [sys.executable, __file__, "--memory-of", name]
        found = subprocess.run(command, check=True, capture_output=True, text=True)
        rows[name]["megabytes"] = round(float(found.stdout), 1)
    return rows


def speed(data, args: argparse.Namespace) -> dict:
    """Return images per second in batches of two sizes."""
    import numpy as np

    start = time.perf_counter()
    data.images([0])
    found = {"first_image_seconds": round(time.perf_counter() - start, 3)}
    for size in (64, 1024):
        rng = np.random.default_rng(0)
        batches = [rng.integers(len(data), size=size) for _ in range(20)]
        for indices in batches:
            data.images(indices)
        rates = []
        for _ in range(args.rounds):
            drawn, start = 0, time.perf_counter()
            while time.perf_counter() - start < args.seconds:
                for indices in batches:
                    data.images(indices)
                drawn += size * len(batches)
            rates.append(drawn / (time.perf_counter() - start))
        found[f"images_per_second_{size}"] = round(statistics.median(rates))
        found[f"slowest_{size}"] = round(min(rates))
    return found


def pictures(folder: Path, count: int) -> Path:
    """Fill a folder with small PNG files."""
    import numpy as np
    from PIL import Image

    from keras_disent.datasets import Scenes3D

    folder.mkdir()
    indices = np.random.default_rng(0).integers(480_000, size=count)
    for i, image in enumerate(Scenes3D().images(indices)):
        Image.fromarray(image).save(folder / f"{i:06d}.png", compress_level=1)
    return folder


def hdf5(folder: Path, count: int) -> Path:
    """Write an HDF5 file with many images in each compressed chunk, then the way it reads fast."""
    import h5py
    import numpy as np

    from keras_disent.datasets import Scenes3D
    from keras_disent.datasets.stored.hdf5 import resave_hdf5

    with h5py.File(folder / "slow.h5", "w") as file:
        images = Scenes3D().images(np.random.default_rng(0).integers(480_000, size=count))
        file.create_dataset("images", data=images, chunks=(1000, 64, 64, 3), compression="gzip")
    resave_hdf5(folder / "slow.h5", folder / "fast.h5")
    return folder / "fast.h5"


def memory_here(name: str) -> float:
    """Return the megabytes by which this process grows at most."""
    import numpy as np
    import psutil

    from keras_disent import datasets

    process = psutil.Process()
    before = most = process.memory_info().rss
    done = threading.Event()

    def watch():
        nonlocal most
        while not done.wait(0.002):
            most = max(most, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    data = datasets.load(name)
    rng = np.random.default_rng(0)
    for _ in range(300):
        data.images(rng.integers(len(data), size=64))
    done.set()
    watcher.join()
    return (most - before) / 1e6


def feeding(args: argparse.Namespace) -> dict:
    """Return what a stream of fresh batches adds to a step."""
    os.environ["KERAS_BACKEND"] = args.backend
    os.environ.pop("OMP_NUM_THREADS")
    import keras

    from keras_disent.datasets import load
    from keras_disent.models import MODELS

    data = load(args.data)
    model = MODELS[args.model](data.image_shape, seed=0)
    model.compile(keras.optimizers.Adam(1e-4))
    size = 64 * len(model.players)
    batches = data.batches(size, steps=args.steps)
    drawn = [batches.at(t) for t in range(args.steps)]

    def stream():
        model.fit(batches, verbose=0)

    def before():
        x = ((batch,) for batch in drawn)
        model.fit(x, steps_per_epoch=args.steps, shuffle=False, verbose=0)

    times = {stream: [], before: []}
    for number in range(args.rounds + 1):  # the first round compiles
        for run in (stream, before) if number % 2 else (before, stream):
            start = time.perf_counter()
            run()
            times[run].append((time.perf_counter() - start) / args.steps)
    start = time.perf_counter()
    for t in range(args.steps):
        batches.at(t)
    alone = (time.perf_counter() - start) / args.steps
    shares = [(s - b) / s for s, b in zip(times[stream][1:], times[before][1:], strict=True)]
    step = statistics.median(times[before][1:])
    return {
        "backend": args.backend,
        "model": args.model,
        "data": args.data,
        "batch": size,
        "step_ms": round(1000 * step, 2),
        "share": round(statistics.median(shares), 4),
        "share_min": round(min(shares), 4),
        "share_max": round(max(shares), 4),
        "drawing_alone_ms": round(1000 * alone, 3),
        "drawing_share_of_step": round(alone / step, 4),
    }


if __name__ == "__main__":
    main()
