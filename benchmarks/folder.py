"""Time and memory of two epochs over a folder of photographs, beside Keras and PyTorch.

    python benchmarks/folder.py --count 20000 --out folder.json

Writes a folder of photographs as JPEG files of 512 x 512 pixels, and reads batches of 64 images of
64 x 64 pixels from it: with `open_folder`, with `keras.utils.image_dataset_from_directory` on
TensorFlow, and with a PyTorch `DataLoader` of two workers that uses Pillow. Each is measured in a
process of its own, after its imports. `first` and `second` are the seconds of the two epochs,
from the path of the folder to the last batch as NumPy, and `..._cpu` the processor time. `peak` is
the largest resident memory in MB, with that of the largest worker; `before` the memory after the
imports. Prints JSON.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SIZE, BATCH = 64, 64


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=500, help="photographs")
    parser.add_argument(
        "--folder", type=Path, help="keep the photographs there, and use them again"
    )
    parser.add_argument("--only", choices=READERS, nargs="+", default=list(READERS))
    parser.add_argument("--out", type=Path, help="write the JSON there too")
    parser.add_argument("--read", choices=READERS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.read:
        print(json.dumps(measure(args.read, args.folder)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary) / "photographs"
        write_photographs(folder, args.count)
        report: dict = {"count": args.count, "processors": len(os.sched_getaffinity(0))}
        for name in args.only:
            command = [sys.executable, __file__, "--read", name, "--folder", str(folder)]
            environment = {
                **os.environ,
                "KERAS_BACKEND": "tensorflow" if name == "keras" else "torch",
                "KERAS_DISENT_CACHE": f"{temporary}/cache",
                "TF_CPP_MIN_LOG_LEVEL": "3",
            }
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
            report[name] = json.loads(done.stdout.splitlines()[-1])
    text = json.dumps(report, indent=2)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")


def write_photographs(folder: Path, count: int) -> None:
    """Write crops of two photographs, each with a seed of its own, in ten subfolders."""
    import numpy as np
    from PIL import Image

    from keras_disent.datasets import Photographs

    data = Photographs(400)

    def write(i: int) -> None:
        path = folder / f"{i % 10}" / f"{i:06d}.jpg"
        if not path.exists():
            index = np.random.default_rng(i).integers(len(data))
            image = Image.fromarray(data.images([index])[0])
            image.resize((512, 512), Image.Resampling.BICUBIC).save(path, quality=90)

    for part in range(10):
        (folder / f"{part}").mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        list(pool.map(write, range(count)))


def measure(name: str, folder: Path) -> dict:
    """Return seconds and megabytes of two epochs."""
    make = READERS[name]()
    before = memory()
    report: dict = {"before": before}
    start, start_cpu = time.perf_counter(), processor_time()
    epoch = make(folder)
    for name in ("first", "second"):
        report["images"] = sum(len(batch) for batch in epoch())
        report[name] = round(time.perf_counter() - start, 2)
        report[f"{name}_cpu"] = round(processor_time() - start_cpu, 2)
        start, start_cpu = time.perf_counter(), processor_time()
    return report | {"peak": memory()}


def processor_time() -> float:
    """Return the processor time of this process and of its finished children, in seconds."""
    return sum(os.times()[:4])


def memory() -> int:
    """Return the largest resident memory of this process and of its largest child, in MB."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(resource.getrusage(kind).ru_maxrss for kind in kinds) // 1024


Reader = Callable[[Path], Callable[[], Iterator]]


def read_disent() -> Reader:
    """Return a reader that opens the folder as a data set."""
    import keras  # noqa: F401

    from keras_disent.datasets import open_folder

    def make(folder: Path) -> Callable[[], Iterator]:
        batches = open_folder(folder, image_size=SIZE).batches(BATCH)
        return lambda: (batches.at(i) for i in range(len(batches)))

    return make


def read_keras() -> Reader:
    """Return a reader of Keras's utility."""
    import keras
    import tensorflow

    tensorflow.zeros(1)  # starts the runtime

    def make(folder: Path) -> Callable[[], Iterator]:
        data = keras.utils.image_dataset_from_directory(
            folder,
            labels=None,
            batch_size=BATCH,
            image_size=(SIZE, SIZE),
            crop_to_aspect_ratio=True,
            seed=0,
            verbose=False,
        )
        return data.as_numpy_iterator

    return make


def read_torch() -> Reader:
    """Return a reader of PyTorch and Pillow."""
    import numpy as np
    import torch
    from PIL import Image, ImageOps

    class Photographs(torch.utils.data.Dataset):
        def __init__(self, folder: Path):
            self.files = sorted(folder.rglob("*.jpg"))

        def __len__(self) -> int:
            return len(self.files)

        def __getitem__(self, i: int) -> torch.Tensor:
            with Image.open(self.files[i]) as image:
                fitted = ImageOps.fit(image.convert("RGB"), (SIZE, SIZE), Image.Resampling.LANCZOS)
            return torch.from_numpy(np.array(fitted))

    def make(folder: Path) -> Callable[[], Iterator]:
        data = Photographs(folder)
        loader = torch.utils.data.DataLoader(data, BATCH, shuffle=True, num_workers=2)
        return lambda: (batch.numpy() for batch in loader)

    return make


READERS = {"disent": read_disent, "keras": read_keras, "torch": read_torch}

if __name__ == "__main__":
    main()
