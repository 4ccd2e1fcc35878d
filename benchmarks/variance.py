"""How much of the variance of a data set's pixels each factor has.

    python benchmarks/variance.py faces
    python benchmarks/variance.py faces --data-option person=261

`total` is the proportion that remains on average when all other factors are fixed; the totals add
up to more than 1 where factors interact. `first` is the variance of the mean image of each step:
what the factor explains alone (the Sobol indices of Saltelli et al. 2008, averaged over pixels).
Means over random contexts, half of them for each of the two means whose covariance is `first`, so
that no chance is counted as variance. `rms` is the root mean square difference of two images that
differ in this factor by one step, of 255. Prints JSON.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from keras_disent import datasets
from keras_disent.cli.options import named_values


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="name of a grid of factors")
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--data-option", action="append")
    parser.add_argument("--contexts", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the JSON there too")
    args = parser.parse_args()
    options = named_values(args.data_option, "--data-option")
    data = datasets.load(args.data, image_size=args.image_size, **options)
    rng = np.random.default_rng(args.seed)
    variance = (
        data.images(rng.integers(len(data), size=10 * args.contexts)).astype("float32").var(0)
    )
    rows = {
        name: row(data, column, args.contexts, rng) | {"steps": data.factor_sizes[column]}
        for column, name in enumerate(data.factor_names)
        if data.factor_sizes[column] > 1
    }
    for found in rows.values():
        for key in ("total", "first"):
            found[key] = round(found[key] / float(variance.mean()), 4)
    report = {
        "data": args.data,
        "options": options,
        "image_shape": data.image_shape,
        "contexts": args.contexts,
        "standard_deviation": round(float(variance.mean()) ** 0.5, 1),
        "factors": rows,
    }
    text = json.dumps(report, indent=2)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")


def row(data, column: int, contexts: int, rng: np.random.Generator) -> dict:
    """Return the variance that one factor has with all others fixed, and alone."""
    size = data.factor_sizes[column]
    means = np.zeros((2, size, *data.image_shape), np.float64)
    within, squares = 0.0, 0.0
    for number, context in enumerate(data.sample_factors(contexts, rng)):
        rows = np.tile(context, (size, 1))
        rows[:, column] = np.arange(size)
        images = data.observe(rows).astype(np.float64)
        means[number % 2] += images / (contexts / 2)
        within += images.var(0).mean() / contexts
        squares += (np.diff(images, axis=0) ** 2).mean() / contexts
    means -= means.mean(1, keepdims=True)
    first = (means[0] * means[1]).mean()
    return {"total": within, "first": first, "rms": round(squares**0.5, 2)}


if __name__ == "__main__":
    main()
