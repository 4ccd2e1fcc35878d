"""How fast do models train and encode on the accelerator of this machine, on each backend?

    python benchmarks/gpu.py --out gpu.json            # under three minutes
    python benchmarks/gpu.py --small --backends jax    # a few seconds of any machine's processor

Every backend and precision has a process of its own. Each trains a VAE and a FactorVAE by `fit`
(64 x 64, 64 images for each player) and encodes images. Prints JSON, for each of them:

- `steps_per_s`, `images_per_s`: of training, after the steps that compile;
- `encode_per_s`: images that `model.encode` turns into codes on the host;
- `host_share`: share of the time after which the host has asked for all steps. Near 1, the device
  waits for the host; near 0, the host waits for the device;
- `utilization`: mean of what `nvidia-smi` says in the meantime, 0 to 1, or null without it;
- `error`: the last line of what went wrong, instead of numbers.
"""

import argparse
import importlib.util
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

BACKENDS = ("tensorflow", "jax", "torch")
PRECISIONS = ("float32", "mixed_bfloat16")
MODELS = ("vae", "factor_vae")
WARM_UP = 3  # steps


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, help="default: all installed")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    parser.add_argument("--player-batch", type=int, default=64)
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--small", action="store_true", help="32 x 32, a tenth of the width, short")
    parser.add_argument("--out", type=Path, help="write the JSON there too")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.small:
        args.image_size, args.width, args.player_batch, args.seconds = 32, 0.1, 8, 0.05
    return args


def main() -> None:
    """Measure and print."""
    args = arguments()
    if args.child:
        print(json.dumps(child(args)))
        return
    backends = args.backends or [name for name in BACKENDS if importlib.util.find_spec(name)]
    rows = [row for name in backends for kind in args.precisions for row in process(name, kind)]
    report = {"machine": platform.platform(), "date": time.strftime("%Y-%m-%d"), "rows": rows}
    text = json.dumps(report, indent=2)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")


def process(backend: str, precision: str) -> list[dict]:
    """Return the rows of one backend at one precision."""
    command = [sys.executable, __file__, *sys.argv[1:], "--child", backend, precision]
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    done = subprocess.run(
        command,
        env={**quiet, **os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
    )
    about = {"backend": backend, "precision": precision}
    if done.returncode:
        return [{**about, "error": (done.stderr.strip().splitlines() or ["it said nothing"])[-1]}]
    return [{**about, **row} for row in json.loads(done.stdout.splitlines()[-1])]


def child(args: argparse.Namespace) -> list[dict]:
    """Return one row for each model."""
    import keras
    import numpy as np

    from keras_disent.engine import backend
    from keras_disent.models import MODELS as CLASSES

    size, rng = args.image_size, np.random.default_rng(0)
    pool = rng.integers(256, size=(1024, size, size, 1), dtype="uint8")
    rows = []
    for name in MODELS:
        model = CLASSES[name].with_networks(
            (size, size, 1), 10, "conv", args.width, seed=0, dtype=args.child[1]
        )
        model.compile(keras.optimizers.Adam(1e-4))
        fed = args.player_batch * len(model.players)
        fit(model, pool, fed, WARM_UP)
        seconds, _ = fit(model, pool, fed, WARM_UP)
        steps = max(WARM_UP, round(args.seconds * WARM_UP / seconds))
        with Utilization() as used:
            seconds, asked = fit(model, pool, fed, steps)
        rows.append(
            {
                "model": name,
                "device": device(backend.BACKEND),
                "steps_per_s": round(steps / seconds, 1),
                "images_per_s": round(steps * fed / seconds),
                "host_share": round(asked / seconds, 3),
                "utilization": used.mean(),
                "encode_per_s": round(encode(model, pool, args.seconds)),
            }
        )
    return rows


def fit(model, images, batch_size: int, steps: int) -> tuple[float, float]:
    """Train; return the seconds until all is done, and until all has been asked for."""
    times = []
    model.make_train_function()
    step = model.train_function

    def observed(*args, **kwargs):
        result = step(*args, **kwargs)
        times.append(time.perf_counter())
        return result

    model.train_function = observed
    try:
        start = time.perf_counter()
        model.fit(images, batch_size=batch_size, steps_per_epoch=steps, verbose=0)  # reads the loss
        return time.perf_counter() - start, times[-1] - start
    finally:
        model.train_function = step


def encode(model, images, seconds: float) -> float:
    """Return the number of images that are encoded in a second."""
    model.encode(images)  # compiles
    start, number = time.perf_counter(), 0
    while not number or time.perf_counter() - start < seconds:
        model.encode(images)
        number += len(images)
    return number / (time.perf_counter() - start)


def device(backend: str) -> str:
    """Return the name of the device that computes."""
    if backend == "jax":
        import jax

        return jax.devices()[0].device_kind
    if backend == "torch":
        import torch

        return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    import tensorflow as tf

    found = tf.config.list_physical_devices("GPU")
    return tf.config.experimental.get_device_details(found[0])["device_name"] if found else "cpu"


class Utilization:
    """Ask `nvidia-smi`, while the block runs, how busy the GPU is."""

    COMMAND = ("nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits")

    def __enter__(self) -> "Utilization":
        self._values, self._end = [], threading.Event()
        self._thread = threading.Thread(target=self._ask)
        if shutil.which(self.COMMAND[0]):
            self._thread.start()
        return self

    def __exit__(self, *error) -> None:
        self._end.set()
        if self._thread.ident:
            self._thread.join()

    def _ask(self) -> None:
        while not self._end.wait(0.2):
            said = subprocess.run(self.COMMAND, capture_output=True, text=True)
            if said.returncode == 0:
                self._values.append(float(said.stdout.splitlines()[0]) / 100)

    def mean(self) -> float | None:
        """Return the mean, or None if nothing was said."""
        return round(statistics.mean(self._values), 3) if self._values else None


if __name__ == "__main__":
    main()
