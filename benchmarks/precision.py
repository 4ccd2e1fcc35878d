"""Do models learn as well in bfloat16 as in float32, and how fast?

    KERAS_BACKEND=torch python benchmarks/precision.py --out precision.json

Trains one model on sprites for some seeds, at both precisions with the same seeds, and scores them.
Prints JSON: for each score and term the means and standard deviations over the seeds, the mean of
the differences of equal seeds, and `standard_errors`, that mean in standard errors of a difference
of two such means: within 2, the difference is as small as that of other seeds. `steps_per_s` are
measured in turns, in epochs of equal length, the first left out.
"""

import argparse
import json
import math
import os
import statistics
import time
from pathlib import Path

PRECISIONS = ("float32", "mixed_bfloat16")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="beta_vae")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--metrics", nargs="+", default=["mig", "dci", "sap"])
    parser.add_argument("--samples", type=int, default=2000, help="images for the scores")
    parser.add_argument("--out", type=Path, help="write the JSON there too")
    return parser.parse_args()


def main() -> None:
    """Train, score and print."""
    args = arguments()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from keras_disent._utils.threads import choose

    choose()
    from keras_disent import metrics
    from keras_disent.engine import backend
    from keras_disent.experiments import Config

    values: dict[str, dict[str, list[float]]] = {name: {} for name in PRECISIONS}
    seconds: dict[str, list[float]] = {name: [] for name in PRECISIONS}
    length = args.steps // args.epochs
    for seed in range(args.seeds):
        models = {}
        for precision in PRECISIONS:
            config = Config(
                model=args.model,
                image_size=args.image_size,
                width=args.width,
                learning_rate=1e-3,
                steps=args.steps,
                epoch_steps=length,
                seed=seed,
                precision=precision,
            )
            data = config.load_data()
            models[precision] = config.build(data), config
        for epoch in range(args.epochs):
            for precision in PRECISIONS[:: 1 if epoch % 2 else -1]:
                model, config = models[precision]
                start = time.perf_counter()
                model.fit(config.batches(model, data), verbose=0)
                if epoch:
                    seconds[precision].append((time.perf_counter() - start) / length)
        for precision, (model, config) in models.items():
            scores = metrics.evaluate(model, data, args.metrics, n_samples=args.samples, seed=0)
            terms = model.evaluate(
                config.batches(model, data, evaluation=True), verbose=0, return_dict=True
            )
            for name, value in {**terms, **scores}.items():
                values[precision].setdefault(name, []).append(float(value))
    first, second = PRECISIONS
    report = {
        "backend": backend.BACKEND,
        "threads": backend.threads(),
        **{k: v for k, v in vars(args).items() if k != "out"},
        "steps_per_s": {p: round(1 / statistics.median(seconds[p]), 1) for p in PRECISIONS},
        "values": {
            name: compared(values[first][name], values[second][name]) for name in values[first]
        },
    }
    text = json.dumps(report, indent=2)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")


def compared(one: list[float], other: list[float]) -> dict:
    """Return means and deviations of two lists, and their difference in standard errors."""
    difference = statistics.mean(b - a for a, b in zip(one, other, strict=True))
    result: dict = {p: statistics.mean(v) for p, v in zip(PRECISIONS, (one, other), strict=True)}
    result["difference"] = difference
    if len(one) > 1:
        deviations = [statistics.stdev(v) for v in (one, other)]
        result["standard_deviations"] = deviations
        error = math.hypot(*deviations) / math.sqrt(len(one))
        result["standard_errors"] = difference / error if error else None
    return result


if __name__ == "__main__":
    main()
