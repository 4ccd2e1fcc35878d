"""Which threads and wait policy make a step of `fit` fast, alone and beside busy processes?

    python benchmarks/threads.py --backends torch tensorflow jax --busy 1

Every setting has a process of its own, which stays alive; they take a few steps in turns, while
`--busy` other processes keep a core each busy. `chosen` is what the command line chooses, as it is
chosen while these other processes run. Prints JSON: medians over the rounds, in milliseconds a
step, of the wall clock and of processor time; `ratio` is that to the best other setting (1 is
best, less is better than all), `to_default` to the libraries as they come.
"""

import argparse
import os
import statistics
import sys
from pathlib import Path

from turns import answer, report, take_turns

DEFAULT, CHOSEN = "as it comes", "chosen"
ALONE = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "NPROC": "1"}
SETTINGS = {
    "torch": {
        DEFAULT: {},
        "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
        "one thread": {**ALONE, "OMP_WAIT_POLICY": "PASSIVE"},
    },
    "tensorflow": {
        DEFAULT: {},
        "one thread": {"TF_NUM_INTRAOP_THREADS": "1"},
        "one thread, one operation": {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"},
        "without oneDNN": {"TF_ENABLE_ONEDNN_OPTS": "0"},
        "XLA": {"JIT_COMPILE": "1"},
    },
    "jax": {DEFAULT: {}, "one thread": ALONE},
}
VARIABLES = {name for of in SETTINGS.values() for one in of.values() for name in one}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backends", nargs="+", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument("--settings", nargs="+", help="only these")
    parser.add_argument("--model", default="beta_vae")
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--batch-size", type=int, default=64, help="images for each player")
    parser.add_argument("--busy", type=int, default=0, help="other processes that compute")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=40, help="timed steps of a round")
    parser.add_argument("--out", type=Path, help="write the JSON there too")
    parser.add_argument("--child", metavar="BACKEND", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    args = arguments()
    if args.child:
        child(args)
        return
    report(args, lambda: {name: backend(name, args) for name in args.backends})


def backend(name: str, args: argparse.Namespace) -> dict[str, dict]:
    """Return the times of all settings of a backend."""
    settings = {**SETTINGS[name], CHOSEN: {}}
    clean = {k: v for k, v in os.environ.items() if k not in VARIABLES}
    command = [sys.executable, __file__, *sys.argv[1:], "--child", name]
    times = take_turns(
        {
            label: (command, {**clean, **variables, "KERAS_BACKEND": name, "SETTING": label})
            for label, variables in settings.items()
            if label in (args.settings or settings)
        },
        args.rounds,
    )
    result = {}
    for label, own in times.items():
        others = [times[other] for other in times if other not in (label, CHOSEN)] or [own]
        best = [min(wall for wall, _ in turn) for turn in zip(*others, strict=True)]
        result[label] = {
            "wall": round(statistics.median(wall for wall, _ in own), 2),
            "processor": round(statistics.median(cpu for _, cpu in own), 2),
            "ratio": ratio(own, best),
        }
        if DEFAULT in times:
            result[label]["to_default"] = ratio(own, [wall for wall, _ in times[DEFAULT]])
    return result


def ratio(times: list, to: list) -> float:
    """Return the median of ratios of wall clock times within a round."""
    return round(statistics.median(a / b for (a, _), b in zip(times, to, strict=True)), 3)


def child(args: argparse.Namespace) -> None:
    """Train whenever a line comes in."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if os.environ["SETTING"] == CHOSEN:
        from keras_disent._utils.threads import choose

        choose()
    import keras
    import numpy as np

    from keras_disent.models import MODELS

    size = args.image_size
    model = MODELS[args.model].with_networks((size, size, 1), 10, "conv", args.width, seed=0)
    model.compile(
        keras.optimizers.Adam(1e-4), jit_compile=bool(os.environ.get("JIT_COMPILE")) or "auto"
    )
    fed = args.batch_size * len(model.players)
    images = np.random.default_rng(0).integers(256, size=(fed * args.steps, size, size, 1))
    images = images.astype("uint8")
    model.fit(images[: 3 * fed], batch_size=fed, verbose=0)  # compiles
    answer(lambda: model.fit(images, batch_size=fed, verbose=0), args.steps)


if __name__ == "__main__":
    main()
