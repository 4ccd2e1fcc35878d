"""How much memory encoding, scores and traversals of large images take, for two numbers of images.

    python benchmarks/memory.py --backend torch                    # 64 and 256 images of 512 x 512

The images lie in an .npy file. Each operation runs twice in a process of its own, once per number,
and `megabytes` is what the private memory of the process grows by at most, once the model is there.
If memory is bounded, both are nearly the same. Needs Linux, which counts the pages of mapped files
apart. Prints JSON.
"""

import argparse
import ctypes
import gc
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

CASES = ("convert", "encode", "evaluate", "fit", "importance", "traverse")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=("tensorflow", "jax", "torch"), default="torch")
    parser.add_argument("--size", type=int, default=512, help="height and width of an image")
    parser.add_argument("--counts", type=int, nargs="+", default=[64, 256], help="images")
    parser.add_argument("--only", choices=CASES, nargs="+", default=list(CASES))
    parser.add_argument("--out", type=Path, help="write the JSON there too")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        case, file = args.measure
        print(json.dumps(measure(case, Path(file))))
        return
    report: dict = {"backend": args.backend, "shape": [args.size, args.size, 3]}
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **os.environ,
            "KERAS_BACKEND": args.backend,
            "KERAS_DISENT_CACHE": f"{folder}/cache",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        for count in args.counts:
            file = write_images(Path(folder) / f"{count}.npy", count, args.size)
            for case in args.only:
                command = [sys.executable, __file__, "--measure", case, str(file)]
                done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
                megabytes = json.loads(done.stdout.splitlines()[-1])
                report.setdefault(case, {})[f"megabytes_{count}"] = megabytes
            file.unlink()
    text = json.dumps(report, indent=2)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")


def write_images(file: Path, count: int, size: int) -> Path:
    """Write random images, one at a time."""
    import numpy as np

    shape = (count, size, size, 3)
    images = np.lib.format.open_memmap(file, "w+", np.uint8, shape)
    rng = np.random.default_rng(0)
    for i in range(count):
        images[i] = rng.integers(256, size=(1, 1, 3))
        images[i, : rng.integers(size)] = 255
    images.flush()
    return file


def measure(case: str, file: Path) -> float:
    """Return the megabytes by which this process grows at most during an operation."""
    import numpy as np

    from keras_disent import VAE, datasets, metrics

    images = np.load(file, mmap_mode="r")
    numbers = np.arange(len(images))
    labels = {"a": numbers % 8, "b": numbers // 8 % 8}
    if case == "convert":
        return growth(lambda: datasets.open_file(file, pixel_range=(0, 100)))
    model = VAE(images.shape[1:], latent_dim=4)
    model.compile()
    model.decode(model.encode(images[:1]))  # compiles
    data = datasets.labeled(images, labels)

    def traverse() -> None:
        for i in range(len(images) // 16):
            model.traverse(images[i : i + 1], [0], [-1, 0, 1])

    cases: dict[str, Callable[[], object]] = {
        "encode": lambda: model.encode(images),
        "evaluate": lambda: metrics.evaluate(model, data, ["mig", "factor_vae_score"]),
        "fit": lambda: model.fit(data.batches(8, steps=len(images) // 16), verbose=0),
        "importance": lambda: model.latent_importance(images[: len(images) // 4]),
        "traverse": traverse,
    }
    return growth(cases[case])


def growth(operation: Callable[[], object]) -> float:
    """Return the megabytes by which the private memory of this process grows at most."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # gives back what was freed, which would be used again
    before = most = private_memory()
    done = threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.002):
            most = max(most, private_memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        operation()
    finally:
        done.set()
        watcher.join()
    return round((most - before) / 1e6, 1)


def private_memory() -> int:
    """Return the bytes of memory that belong to no file."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


if __name__ == "__main__":
    main()
