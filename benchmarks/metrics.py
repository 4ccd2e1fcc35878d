"""How much faster is each metric than the algorithm as it is usually written?

    python benchmarks/metrics.py --out metrics.json
    python benchmarks/metrics.py --only mig sap

The usual way is written out below, from the published descriptions: scikit-learn's estimators with
their defaults, one pair of a latent and a factor, or one batch of images, at a time, on one thread.
Both run in this process and in turns, on the same arrays: the sizes of the large studies (10,000
samples to train on and 5,000 to test on), the factors of dSprites, 10 latents, 4 of them all but
dead. Prints JSON: median seconds, `ratio` (usual / ours, within one round) and both results.
`--suite` times `evaluate` on a cheap encoder instead: the standard set, and with `all` every score,
in wall and processor seconds. `--each` times every score alone, in processor seconds of one thread,
which a busy machine changes less. `--intervals N` times the interval of DCI from N resamples of
5,000 codes. `--encode BACKEND` times `evaluate`'s encoding of 64 x 64 images: the way of the chunks
that are drawn ahead, and one chunk after the other, in turns.
"""

import argparse
import json
import os
import platform
import statistics
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import mutual_info_score, roc_auc_score
from sklearn.preprocessing import label_binarize
from sklearn.svm import LinearSVC
from threadpoolctl import threadpool_limits

from keras_disent import metrics

SIZES = (3, 6, 40, 32, 32)  # shape, scale, orientation, position x, position y
LATENTS, TRAIN, TEST, BATCH = 10, 10_000, 5_000, 64
THRESHOLD, BINS = 0.05, 20


class Grid:
    """The factors of dSprites, as images of five pixels."""

    factor_names = ("shape", "scale", "orientation", "position_x", "position_y")
    factor_sizes = SIZES

    def __len__(self):
        return int(np.prod(SIZES))

    def factors(self, indices):
        return np.stack(np.unravel_index(indices, SIZES), axis=1)

    def indices(self, factors):
        return np.ravel_multi_index(factors.T, SIZES)

    def images(self, indices):
        columns = np.unravel_index(indices, SIZES)
        return np.stack(columns, axis=1).astype("uint8").reshape(-1, 1, len(SIZES), 1)

    def sample_factors(self, n, rng):
        return rng.integers(SIZES, size=(n, len(SIZES)))


WEIGHTS = np.random.default_rng(0).normal(size=(len(SIZES), LATENTS)).astype("float32")
WEIGHTS[:, :5] += 3 * np.eye(5, dtype="float32")
WEIGHTS[:, 6:] *= 0.03


def encoder(images):
    """Squashed mixtures of the factors and four latents that are all but dead: cheap."""
    factors = images.reshape(len(images), -1) / (np.array(SIZES) - 1) - 0.5
    return np.tanh(factors.astype("float32") @ WEIGHTS)


def arrays():
    data, rng = Grid(), np.random.default_rng(1)
    pairs = []
    for n in (TRAIN, TEST):
        factors = data.sample_factors(n, rng)
        pairs.append((encoder(data.images(data.indices(factors))), factors))
    return pairs


# -- the usual way --------------------------------------------------------------------------------


def usual_mig(train, test):
    codes, factors = train
    labels = [np.digitize(c, np.histogram(c, BINS)[1][:-1]) for c in codes.T]
    information = np.array([[mutual_info_score(c, f) for f in factors.T] for c in labels])
    entropies = [mutual_info_score(f, f) for f in factors.T]
    second, first = np.sort(information, axis=0)[-2:]
    return float(np.mean((first - second) / entropies))


def usual_sap(train, test):
    accuracies = np.empty((LATENTS, len(SIZES)))
    for i in range(LATENTS):
        for j in range(len(SIZES)):
            machine = LinearSVC(C=0.01, class_weight="balanced")
            machine.fit(train[0][:, [i]], train[1][:, j])
            accuracies[i, j] = np.mean(machine.predict(test[0][:, [i]]) == test[1][:, j])
    second, first = np.sort(accuracies, axis=0)[-2:]
    return float(np.mean(first - second))


def usual_explicitness(train, test):
    mean, deviation = train[0].mean(axis=0), train[0].std(axis=0)
    scores = []
    for j in range(len(SIZES)):
        model = LogisticRegression().fit((train[0] - mean) / deviation, train[1][:, j])
        for codes, factors in (train, test):
            chances = model.predict_proba((codes - mean) / deviation)
            truth = label_binarize(factors[:, j], classes=model.classes_)
            scores.append(roc_auc_score(truth, chances))
    return float(np.mean(scores[1::2]))


def usual_dci(train, test):
    importance = np.empty((LATENTS, len(SIZES)))
    for j in range(len(SIZES)):
        model = GradientBoostingClassifier().fit(train[0], train[1][:, j])
        importance[:, j] = model.feature_importances_
        for codes, factors in (train, test):
            np.mean(model.predict(codes) == factors[:, j])
    shares = importance + 1e-11
    shares /= shares.sum(axis=1, keepdims=True)
    entropy = -np.sum(shares * np.log(shares), axis=1) / np.log(len(SIZES))
    return float(np.sum((1 - entropy) * importance.sum(axis=1) / importance.sum()))


def drawn(rng):
    """Draw the factors of one batch, column by column."""
    factors = np.zeros((BATCH, len(SIZES)), np.int64)
    for i, size in enumerate(SIZES):
        factors[:, i] = rng.randint(size, size=BATCH)
    return factors


def usual_beta_vae(train, test):
    data, rng = Grid(), np.random.RandomState(0)

    def points(number):
        features, labels = np.empty((number, LATENTS)), np.empty(number, int)
        for point in range(number):
            shared = rng.randint(len(SIZES))
            first, second = drawn(rng), drawn(rng)
            second[:, shared] = first[:, shared]
            codes = [encoder(data.images(data.indices(f))) for f in (first, second)]
            features[point] = np.abs(codes[0] - codes[1]).mean(axis=0)
            labels[point] = shared
        return features, labels

    model = LogisticRegression().fit(*points(TRAIN))
    return float(model.score(*points(TEST)))


def usual_factor_vae(train, test):
    data, rng = Grid(), np.random.RandomState(0)
    factors = np.stack([rng.randint(size, size=TRAIN) for size in SIZES], axis=1)
    variances = encoder(data.images(data.indices(factors))).var(axis=0, ddof=1)
    active = np.sqrt(variances) >= THRESHOLD

    def votes(number):
        counts = np.zeros((len(SIZES), LATENTS), int)
        for _ in range(number):
            fixed = rng.randint(len(SIZES))
            factors = drawn(rng)
            factors[:, fixed] = factors[0, fixed]
            local = encoder(data.images(data.indices(factors))).var(axis=0, ddof=1)
            counts[fixed, np.argmin(local[active] / variances[active])] += 1
        return counts

    winners, fresh = votes(TRAIN).argmax(axis=0), votes(TEST)
    return float(fresh[winners, np.arange(LATENTS)].sum() / fresh.sum())


# -- ours -----------------------------------------------------------------------------------------

OURS = {
    "mig": lambda train, test: metrics.mig(*train, bins=BINS),
    "sap": lambda train, test: metrics.sap(*train, test=test),
    "explicitness": lambda train, test: metrics.explicitness(*train, test=test),
    "beta_vae_score": lambda train, test: metrics.beta_vae_score(
        encoder, Grid(), train_points=TRAIN, eval_points=TEST, pool=0
    ),
    "factor_vae_score": lambda train, test: metrics.factor_vae_score(
        encoder, Grid(), train_votes=TRAIN, eval_votes=TEST, pool=0
    ),
    "dci": lambda train, test: metrics.dci(*train, test=test),
}
USUAL = {
    "mig": usual_mig,
    "sap": usual_sap,
    "explicitness": usual_explicitness,
    "beta_vae_score": usual_beta_vae,
    "factor_vae_score": usual_factor_vae,
    "dci": usual_dci,
}
ONCE = ("dci",)  # minutes


def clocked(function, pairs):
    start = time.perf_counter()
    result = float(function(*pairs))
    return time.perf_counter() - start, result


def compare(name, pairs, rounds):
    usual, ours = [], []
    for number in range(1 if name in ONCE else rounds):
        order = ("usual", "ours") if number % 2 else ("ours", "usual")
        for which in order:
            if which == "ours":
                ours.append(clocked(OURS[name], pairs))
            else:
                with threadpool_limits(1), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    usual.append(clocked(USUAL[name], pairs))
    ratios = [u / o for (u, _), (o, _) in zip(usual, ours, strict=True)]
    return {
        "usual_seconds": round(statistics.median(t for t, _ in usual), 4),
        "ours_seconds": round(statistics.median(t for t, _ in ours), 4),
        "ratio": round(statistics.median(ratios), 1),
        "usual_score": round(usual[0][1], 4),
        "our_score": round(ours[0][1], 4),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=tuple(OURS), default=tuple(OURS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--suite", choices=("standard", "all"), help="time evaluate(..., SUITE)")
    parser.add_argument("--each", action="store_true", help="time each score alone")
    parser.add_argument("--intervals", type=int, metavar="N", help="time N resamples of DCI")
    parser.add_argument("--encode", metavar="BACKEND", help="time encoding on a backend")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    report = {"machine": machine, "date": time.strftime("%Y-%m-%d")}
    if args.suite:
        report[f"{args.suite}_suite"] = clocked_suite(args.suite)
    elif args.each:
        report["each"] = clocked_scores()
    elif args.intervals:
        report["dci_interval"] = clocked_interval(args.intervals)
    elif args.encode:
        report["encode"] = clocked_encoding(args.encode, args.rounds)
    else:
        pairs = arrays()
        for name in args.only:
            report[name] = compare(name, pairs, args.rounds)
            print(json.dumps({name: report[name]}), flush=True)
    text = json.dumps(report, indent=2)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")


class Posterior:
    """The encoder with a variance, for scores of posteriors."""

    encode = staticmethod(encoder)

    def posterior_parameters(self, images):
        codes = encoder(images)
        return codes, np.full_like(codes, -3.0)


def clocked_suite(names):
    start, before = time.perf_counter(), time.process_time()
    last, seconds = start, {}

    def finished(name, done, total):
        nonlocal last
        seconds[name] = round(time.perf_counter() - last, 2)
        last = time.perf_counter()

    scores = metrics.evaluate(Posterior(), Grid(), names, progress=finished)
    return {
        "seconds": round(time.perf_counter() - start, 1),
        "processor_seconds_of_this_process": round(time.process_time() - before, 1),
        "since_the_score_before": seconds,
        "scores": dict(scores),
    }


def clocked_scores():
    seconds = {}
    for name in metrics.METRICS:
        start = time.process_time()
        with threadpool_limits(1):
            metrics.evaluate(Posterior(), Grid(), [name], n_jobs=1, verbose=0)
        seconds[name] = round(time.process_time() - start, 2)
        print(json.dumps({name: seconds[name]}), flush=True)
    return seconds


def clocked_interval(n_resamples):
    (codes, factors), _ = arrays()
    start = time.perf_counter()
    scores = metrics.score(
        codes[:5000], factors[:5000], ["dci"], interval=0.95, n_resamples=n_resamples
    )
    low, high = scores.intervals["dci"]
    return {
        "seconds": round(time.perf_counter() - start, 1),
        "n_resamples": n_resamples,
        "score": scores["dci"],
        "interval": [low, high],
    }


def clocked_encoding(backend, rounds):
    os.environ["KERAS_BACKEND"] = backend
    from keras_disent import VAE
    from keras_disent.datasets import Sprites
    from keras_disent.metrics.encoding import CHUNK, CodeCache

    data, number = Sprites(64), 4 * CHUNK
    model = VAE(data.image_shape, latent_dim=10)
    indices = np.random.default_rng(0).integers(len(data), size=number)
    model.encode(data.images(indices[:256]))  # compiles

    def in_turn():
        return np.concatenate(
            [model.encode(data.images(part)) for part in np.split(indices, number // CHUNK)]
        )

    def ahead():
        return CodeCache(model, data).draw(indices)

    np.testing.assert_allclose(in_turn(), ahead(), atol=1e-5)
    speeds = {"in_turn": [], "ahead": []}
    for _ in range(rounds):
        for name, function in (("in_turn", in_turn), ("ahead", ahead)):
            start = time.perf_counter()
            function()
            speeds[name].append(number / (time.perf_counter() - start))
    ratios = [b / a for a, b in zip(*speeds.values(), strict=True)]
    return {
        "backend": backend,
        **{f"{name}_images_per_second": round(statistics.median(v)) for name, v in speeds.items()},
        "ratio": round(statistics.median(ratios), 2),
    }


if __name__ == "__main__":
    main()
