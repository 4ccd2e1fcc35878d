"""How much faster is this version than an earlier one, as a user meets them?

    git worktree add ../earlier a03a0ad
    python benchmarks/versions.py --against ../earlier
    python benchmarks/versions.py --against ../earlier --rows train --busy 1

Both versions run in processes of their own and in turns, with the same libraries. Rows:

- `train`: a step of `fit`, on each backend, of beta-VAE and FactorVAE, of 32 x 32 images with
  networks of a quarter of the width, and of 64 x 64 with the published ones; the environment is
  that which the command line of the version chooses.
- `score`: `evaluate` of the reference suite on a cheap encoder.
- `import`: a new process that imports the package, and one that shows the help of the command.
- `command`: `keras-disent train --data sprites --steps 30`, with scores and pictures.

Prints JSON: medians in milliseconds of wall clock and of processor time, `faster` is before / now
within a round. `--busy` other processes keep a core each busy.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from turns import answer, report, take_turns

ROOT = Path(__file__).parents[1]
ROWS = ("train", "score", "import", "command")
BACKENDS = ("jax", "tensorflow", "torch")
METHODS = ("beta_vae", "factor_vae")
SIZES = {32: 0.25, 64: 1.0}  # width of the networks
STARTS = {
    "import": ["-c", "import keras_disent"],
    "help": ["-m", "keras_disent.cli", "--help"],
    "command": ["-m", "keras_disent.cli", "train", "--data", "sprites", "--steps", "30"],
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", type=Path, required=True, help="checkout of another version")
    parser.add_argument("--rows", nargs="+", default=ROWS, choices=ROWS)
    parser.add_argument("--backends", nargs="+", default=BACKENDS, choices=BACKENDS)
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--busy", type=int, default=0, help="other processes that compute")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20, help="timed steps of a round")
    parser.add_argument("--out", type=Path, help="write the JSON there too")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    args = arguments()
    if args.child:
        row, *rest = args.child
        {"train": train, "score": score, "start": start}[row](args, *rest)
        return
    report(args, lambda: dict(rows(args)))


def rows(args: argparse.Namespace):
    """Yield the name and the times of each row."""
    if "train" in args.rows:
        for backend in args.backends:
            for size in args.sizes:
                for method in args.methods:
                    name = f"train {backend} {size} x {size} {method}"
                    yield name, compared(args, "train", method, str(size), backend=backend)
    if "score" in args.rows:
        yield "score", compared(args, "score")
    if "import" in args.rows:
        for name in ("import", "help"):
            yield name, compared(args, "start", name)
    if "command" in args.rows:
        for backend in args.backends:
            name = f"command {backend}"
            yield name, compared(args, "start", "command", backend=backend, rounds=1)


def compared(
    args: argparse.Namespace, *child: str, backend: str = "jax", rounds: int | None = None
) -> dict[str, dict]:
    """Return the times of both versions, and the ratios."""
    processes = {}
    for version, root in {"before": args.against.resolve(), "now": ROOT}.items():
        command = [sys.executable, __file__, *sys.argv[1:], "--child", *child]
        variables = {
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "KERAS_BACKEND": backend,
            "PYTHONPATH": str(root),
        }
        processes[version] = command, {**os.environ, **variables}
    times = take_turns(processes, rounds or args.rounds)
    result = {
        version: {
            "wall": round(statistics.median(wall for wall, _ in own), 2),
            "processor": round(statistics.median(cpu for _, cpu in own), 2),
        }
        for version, own in times.items()
    }
    both = list(zip(times["before"], times["now"], strict=True))
    result["faster"] = round(statistics.median(old[0] / new[0] for old, new in both), 2)
    return result


def train(args: argparse.Namespace, method: str, side: str) -> None:
    """Take steps of `fit` whenever a line comes in."""
    try:
        from keras_disent._utils.threads import choose
    except ImportError:  # the first version chose this alone
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    else:
        choose()
    try:  # before Keras, as the command line does
        from keras_disent.layers import networks
    except ImportError:
        from keras_disent import networks
    import keras
    import numpy as np

    from keras_disent.models import MODELS

    size, width = int(side), SIZES[int(side)]
    shape = (size, size, 1)
    model = MODELS[method](
        shape,
        10,
        encoder=networks.conv_encoder(shape, width=width, seed=1),
        decoder=networks.conv_decoder(shape, 10, width=width, seed=2),
        seed=0,
    )
    model.compile(keras.optimizers.Adam(1e-4))
    fed = 64 * (2 if method == "factor_vae" else 1)
    images = np.random.default_rng(0).integers(256, size=(fed * args.steps, *shape), dtype="uint8")
    model.fit(images[: 3 * fed], batch_size=fed, verbose=0)  # compiles
    answer(lambda: model.fit(images, batch_size=fed, verbose=0), args.steps)


def score(args: argparse.Namespace) -> None:
    """Compute the scores of the reference suite whenever a line comes in."""
    from metrics import Grid, encoder

    from keras_disent import metrics

    answer(lambda: metrics.evaluate(encoder, Grid(), "standard", seed=0), 1)


def start(args: argparse.Namespace, name: str) -> None:
    """Start a process whenever a line comes in; its processor time is that of a child."""
    import resource

    print("ready", flush=True)
    for _ in sys.stdin:
        with tempfile.TemporaryDirectory() as folder:
            out = ["--out", str(Path(folder) / "run")] if name == "command" else []
            before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
            command = [sys.executable, *STARTS[name], *out]
            subprocess.run(command, check=True, capture_output=True, cwd=folder)
            wall, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(json.dumps([1000 * wall, 1000 * cpu]), flush=True)


if __name__ == "__main__":
    main()
