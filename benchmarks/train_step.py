"""How much does one step of `fit` cost, against a bare step of the same game written by hand?

    python benchmarks/train_step.py --backend jax --model factor_vae

Both run in this process and in turns (fit, bare; bare, fit; ...), on the same images, for the same
number of steps. A batch of 64 is 64 images for each player's turn: FactorVAE is fed 128. Prints
JSON; times are medians in milliseconds, ratios are fit / bare within one round; `cpu_ratio` is that
of the processor time of all threads, which moves less with the load of the machine. `losses` holds
the last mean loss of both, a sign that they do the same work.
"""

import argparse
import json
import os
import platform
import statistics
import time
from pathlib import Path


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=("tensorflow", "jax", "torch"), required=True)
    parser.add_argument("--model", choices=("vae", "factor_vae", "beta_tcvae"), required=True)
    parser.add_argument("--batch-size", type=int, default=64, help="images for each player's turn")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=40, help="timed steps of each fit")
    parser.add_argument("--our-layers", action="store_true", help="in the bare step too")
    parser.add_argument("--out", type=Path, help="write the JSON there too")
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    args = arguments()
    os.environ["KERAS_BACKEND"] = args.backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

    import keras
    import numpy as np
    from bare import BARE

    from keras_disent.models import MODELS

    def now():
        return np.array([time.perf_counter(), time.process_time()])

    def new():
        model = MODELS[args.model]((args.image_size, args.image_size, 1), seed=0)
        model.compile(keras.optimizers.Adam(1e-4))
        return model

    class Clock(keras.callbacks.Callback):
        """Note when the warm-up steps are done, and when the epoch is."""

        async_safe = True  # keeps JAX free to run ahead, as it does with no callback at all

        def on_train_batch_end(self, batch, logs=None):
            if batch == WARM_UP - 1:
                float(logs["loss"])  # waits for the step
                self.start = now()

        def on_epoch_end(self, epoch, logs=None):
            self.loss, self.end = float(logs["loss"]), now()

    fed = args.batch_size * len(MODELS[args.model].players)
    rng = np.random.default_rng(0)
    shape = (args.steps + WARM_UP, fed, args.image_size, args.image_size, 1)
    images = blobs(shape, rng)
    model, clock = new(), Clock()
    step = BARE[args.backend](new(), args.model, args.our_layers)

    def fit():
        flat = images.reshape(-1, *shape[2:])
        model.fit(flat, batch_size=fed, verbose=0, callbacks=[clock])
        return (clock.end - clock.start) / args.steps, clock.loss

    def bare():
        losses = []
        for i, batch in enumerate(images):
            losses.append(step(batch))
            if i == WARM_UP - 1:
                float(losses[-1])
                start = now()
        losses = [float(loss) for loss in losses]  # waits for all steps
        return (now() - start) / args.steps, float(np.mean(losses))

    turns, rounds = {fit: [], bare: []}, args.rounds
    for number in range(rounds + 1):  # the first round compiles
        for run in (fit, bare) if number % 2 else (bare, fit):
            turns[run].append(run())
    fit_times, bare_times = (np.array([times for times, _ in turns[run][1:]]) for run in turns)
    ratios, cpu_ratios = (fit_times / bare_times).T.tolist()
    report = {
        "backend": args.backend,
        "model": args.model,
        "batch": args.batch_size,
        "image_size": args.image_size,
        "our_layers": args.our_layers,
        "threads": threads(args.backend),
        "versions": versions(args.backend),
        "fit_ms": round(1000 * float(np.median(fit_times[:, 0])), 2),
        "bare_ms": round(1000 * float(np.median(bare_times[:, 0])), 2),
        "ratio": round(statistics.median(ratios), 3),
        "ratio_min": round(min(ratios), 3),
        "ratio_max": round(max(ratios), 3),
        "cpu_ratio": round(statistics.median(cpu_ratios), 3),
        "rounds": rounds,
        "steps": args.steps,
        "losses": [round(turns[run][-1][1], 2) for run in (fit, bare)],
    }
    text = json.dumps(report)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")


WARM_UP = 3  # steps of each fit before the clock starts


def blobs(shape: tuple, rng):
    """Return uint8 images (steps, batch, side, side, 1) of one bright square each."""
    import numpy as np

    images = np.zeros(shape, "uint8")
    side = shape[2]
    for image, (row, column) in zip(
        images.reshape(-1, side, side),
        rng.integers(side * 3 // 4, size=(shape[0] * shape[1], 2)),
        strict=True,
    ):
        image[row : row + side // 4, column : column + side // 4] = 255
    return images


def threads(backend: str) -> int:
    """Return the number of threads of one operation."""
    if backend == "torch":
        import torch

        return torch.get_num_threads()
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def versions(backend: str) -> dict[str, str]:
    from importlib.metadata import version

    return {
        "python": platform.python_version(),
        "keras": version("keras"),
        backend: version(backend),
    }


if __name__ == "__main__":
    main()
