"""How much faster is each metric than the algorithm as it is usually written?

    python benchmarks/metrics.py --out metrics.json
    python benchmarks/metrics.py --only mig sap

The usual way is written out below, from the published descriptions: scikit-learn's estimators with
their defaults, one pair of a latent and a factor, or one batch of images, at a time, on one thread.
Both run in this process and in turns, on the same arrays: the sizes of the large studies (10,000
samples to train on and 5,000 to test on), the factors of dSprites, 10 latents, 4 of them all but
dead. Prints JSON: median seconds, `ratio` (usual / ours, within one round) and both results.
`--suite` times the whole standard set on a cheap encoder instead.
"""

import argparse
import json
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
    "beta_vae_score": lambda train, test: metrics.beta_vae_score(encoder, Grid()),
    "factor_vae_score": lambda train, test: metrics.factor_vae_score(encoder, Grid()),
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
    parser.add_argument("--suite", action="store_true", help="time evaluate(..., 'standard')")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    report = {}
    if args.suite:
        seconds, scores = clocked_suite()
        report["standard_suite"] = {"seconds": round(seconds, 2), "scores": scores}
    else:
        pairs = arrays()
        for name in args.only:
            report[name] = compare(name, pairs, args.rounds)
            print(json.dumps({name: report[name]}), flush=True)
    text = json.dumps(report, indent=2)
    if args.suite:
        print(text)
    if args.out:
        args.out.write_text(text + "\n")


def clocked_suite():
    start = time.perf_counter()
    scores = metrics.evaluate(encoder, Grid(), "standard")
    return time.perf_counter() - start, dict(scores)


if __name__ == "__main__":
    main()
