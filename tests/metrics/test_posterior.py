"""Scores of posteriors instead of their means."""

import numpy as np
import pytest
from scipy.stats import norm

from keras_disent.metrics.mig import mig
from keras_disent.metrics.mutual_information import entropy, mutual_information
from keras_disent.metrics.posterior import active_units, jemmig, rmig

FACTORS = np.indices((3, 4, 5)).reshape(3, -1).T
MEANS = (FACTORS - FACTORS.mean(axis=0)) @ np.array(
    [[1, 0, 0.2, 0], [0, 0.8, 0, 0], [0, 0, 0.6, 0]]
)
LOG_VARIANCES = np.random.default_rng(0).uniform(-5, 0, MEANS.shape)
MEANS += 0.01 * np.random.default_rng(1).normal(size=MEANS.shape)
CLEAN = (FACTORS - FACTORS.mean(axis=0)) * 0.7 + 0.035  # none on the edge of a bin
NARROW = np.full(MEANS.shape, -60.0)
EDGES = np.linspace(-4, 4, 101)


def naive(means, log_variances, factors):
    """Information, joint entropies and entropies, one probability at a time."""
    information, joint = np.zeros((2, means.shape[1], factors.shape[1]))
    edges = np.concatenate([[-np.inf], EDGES[1:-1], [np.inf]])
    for i in range(means.shape[1]):
        gaussian = norm(means[:, i, None], np.exp(log_variances[:, i, None] / 2))
        mass = np.diff(gaussian.cdf(edges), axis=1)
        for k, factor in enumerate(factors.T):
            table = np.array([mass[factor == v].sum(axis=0) for v in np.unique(factor)])
            table /= table.sum()
            independent = table.sum(axis=1, keepdims=True) * table.sum(axis=0)
            at = table > 0
            information[i, k] = np.sum(table[at] * np.log(table[at] / independent[at]))
            joint[i, k] = -np.sum(table[at] * np.log(table[at]))
    return information, joint, entropy(factors)


def test_equal_their_definitions():
    information, joint, entropies = naive(MEANS, LOG_VARIANCES, FACTORS)
    second, first = np.sort(information, axis=0)[-2:]
    score = rmig(MEANS, LOG_VARIANCES, FACTORS)
    assert score == pytest.approx(np.mean((first - second) / entropies), abs=1e-12)
    raw = joint[information.argmax(axis=0), range(3)] - first + second
    result = jemmig(MEANS, LOG_VARIANCES, FACTORS)
    assert result.raw == pytest.approx(raw.mean(), abs=1e-12)
    expected = 1 - raw / (entropies + np.log(100))
    np.testing.assert_allclose(result.per_factor, expected, atol=1e-12)
    assert float(result) == pytest.approx(expected.mean(), abs=1e-12)


def test_narrow_posteriors_are_histograms_of_their_means():
    labels = np.clip(np.digitize(MEANS, EDGES) - 1, 0, 99)
    information = mutual_information(labels, FACTORS)
    second, first = np.sort(information, axis=0)[-2:]
    gap = np.mean((first - second) / entropy(FACTORS))
    assert rmig(MEANS, NARROW, FACTORS) == pytest.approx(gap, abs=1e-12)


def test_wide_posteriors_equal_densities_at_the_centers_of_bins():
    # As in the authors' code, which does without the distribution function.
    centers = (EDGES[1:] + EDGES[:-1]) / 2
    log_variances = np.full(MEANS.shape, -2.0)
    density = norm.pdf(centers[:, None, None], MEANS, np.exp(-1.0))  # (bins, samples, latents)
    mass = density / density.sum(axis=0)
    values = [[FACTORS[:, k] == v for v in np.unique(FACTORS[:, k])] for k in range(3)]
    gaps = []
    for rows in values:
        table = np.array([mass[:, at].sum(axis=1) for at in rows]) / len(MEANS)
        independent = table.sum(axis=1, keepdims=True) * table.sum(axis=0)
        information = np.sort(np.sum(table * np.log(table / independent), axis=(0, 1)))
        gaps.append((information[-1] - information[-2]) / np.log(len(rows)))
    assert rmig(MEANS, log_variances, FACTORS) == pytest.approx(np.mean(gaps), abs=2e-3)


def test_a_noisy_binary_latent_is_a_binary_channel():
    factors = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    means = 2.0 * factors - 1
    error = norm.cdf(-1)
    capacity = np.log(2) + error * np.log(error) + (1 - error) * np.log(1 - error)
    score = rmig(means, np.zeros((4, 2)), factors, bins=2)
    assert score == pytest.approx(capacity / np.log(2), abs=1e-12)


def test_chunks_do_not_matter(monkeypatch):
    result = jemmig(MEANS, LOG_VARIANCES, FACTORS)
    monkeypatch.setattr("keras_disent.metrics.posterior.CHUNK", 7)
    assert float(jemmig(MEANS, LOG_VARIANCES, FACTORS)) == pytest.approx(float(result), abs=1e-12)


@pytest.mark.parametrize("metric", [rmig, jemmig])
def test_invariances(metric):
    score = float(metric(MEANS, LOG_VARIANCES, FACTORS))
    order = np.random.default_rng(2).permutation(len(MEANS))
    names = np.array([30, -5, 1000, 7, 2])
    for means, log_variances, factors in [
        (MEANS[order], LOG_VARIANCES[order], FACTORS[order]),
        (MEANS[:, ::-1], LOG_VARIANCES[:, ::-1], FACTORS),
        (MEANS * [-1, 1, -1, 1], LOG_VARIANCES, FACTORS),
        (MEANS, LOG_VARIANCES, names[FACTORS]),
        (MEANS, LOG_VARIANCES, np.insert(FACTORS, 1, 3, axis=1)),
        (np.insert(MEANS, 1, 0.5, axis=1), np.insert(LOG_VARIANCES, 1, -9, axis=1), FACTORS),
    ]:
        assert float(metric(means, log_variances, factors)) == pytest.approx(score, abs=1e-9)


@pytest.mark.parametrize("metric", [rmig, jemmig])
def test_wider_posteriors_score_lower(metric):
    widths = (-60.0, -4.0, -2.0, 0.0)
    ladder = [float(metric(CLEAN, CLEAN * 0 + width, FACTORS)) for width in widths]
    assert ladder == sorted(ladder, reverse=True)


def test_clean_codes_score_one_and_collapsed_ones_zero():
    assert rmig(CLEAN, NARROW[:, :3], FACTORS) == pytest.approx(1)
    assert float(jemmig(CLEAN, NARROW[:, :3], FACTORS)) == pytest.approx(1)
    assert rmig(0 * CLEAN, 0 * CLEAN, FACTORS) == 0
    assert float(jemmig(0 * CLEAN, 0 * CLEAN + 1, FACTORS)) < 0.2
    # All samples have the same point, so the joint entropy is that of the factor.
    share = np.log(100) / (np.log([3, 4, 5]) + np.log(100))
    collapsed = jemmig(0 * CLEAN + 0.01, NARROW[:, :3], FACTORS)
    np.testing.assert_allclose(collapsed.per_factor, share)


def test_a_latent_of_two_factors_is_seen_by_jemmig_alone():
    both = np.column_stack([3.0 * FACTORS[:, 1] + FACTORS[:, 0] - 5, np.zeros(len(FACTORS))])
    both = 0.5 * both + 0.01
    args = NARROW[:, :2], FACTORS[:, :2]
    assert rmig(both, *args) == pytest.approx(rmig(CLEAN[:, :2], *args)) == pytest.approx(1)
    carried = np.log([4, 3]) / (np.log([3, 4]) + np.log(100))
    np.testing.assert_allclose(jemmig(both, *args).per_factor, 1 - carried)


def test_copies_leave_no_gap():
    assert rmig(MEANS[:, [0, 0]], LOG_VARIANCES[:, [0, 0]], FACTORS) == 0
    once, twice = MEANS[:, [0, 3]], MEANS[:, [0, 0]]
    lower = float(jemmig(twice, NARROW[:, :2], FACTORS))
    assert lower < float(jemmig(once, NARROW[:, :2], FACTORS))


def test_ties_between_latents_do_not_depend_on_their_order():
    means, log_variances = np.zeros((60, 2)) + 0.01, np.tile([-60.0, 1.0], (60, 1))
    forward = jemmig(means, log_variances, FACTORS)
    backward = jemmig(means, log_variances[:, ::-1], FACTORS)
    assert float(forward) == pytest.approx(float(backward), abs=1e-12)


def test_extreme_variances_are_finite():
    for width in (-5000.0, 5000.0):
        result = jemmig(MEANS, NARROW * 0 + width, FACTORS)
        assert np.isfinite(result.per_factor).all()
    assert jemmig(MEANS, NARROW, np.insert(FACTORS, 1, 3, axis=1)).factors_used == (0, 2, 3)


def test_more_samples_approach_the_gap_of_samples():
    rng = np.random.default_rng(3)
    rows = rng.integers(len(MEANS), size=200_000)
    draws = MEANS[rows] + np.exp(LOG_VARIANCES[rows] / 2) * rng.normal(size=(len(rows), 4))
    sampled = mig(draws.clip(-4, 4), FACTORS[rows], bins=100)
    assert rmig(MEANS, LOG_VARIANCES, FACTORS) == pytest.approx(sampled, abs=5e-3)


def test_active_units_are_those_whose_mean_moves():
    means = np.random.default_rng(4).normal(size=(500, 4)) * [1, 0.2, 0.05, 0] + 3
    result = active_units(means)
    assert (float(result), result.number, result.active) == (2.0, 2, (0, 1))
    np.testing.assert_allclose(result.variances, np.var(means, axis=0, ddof=1))
    assert active_units(means, threshold=0).number == 3
    assert active_units(means[:, [0, 0, 3]]).active == (0, 1)


@pytest.mark.parametrize(("metric", "name"), [(rmig, "RMIG"), (jemmig, "JEMMIG")])
def test_bad_input(metric, name):
    good = MEANS, LOG_VARIANCES, FACTORS
    for arrays, options, message in [
        (
            (MEANS, LOG_VARIANCES[:, :3], FACTORS),
            {},
            r"shape of `means`. Got \(60, 3\) for \(60, 4",
        ),
        ((MEANS, LOG_VARIANCES * np.nan, FACTORS), {}, "`log_variances` must be finite"),
        ((MEANS * np.nan, LOG_VARIANCES, FACTORS), {}, "`means` must be finite"),
        ((MEANS, LOG_VARIANCES, FACTORS[:9]), {}, "one row per code. Got 9 rows for 60"),
        ((MEANS[:, :1], LOG_VARIANCES[:, :1], FACTORS), {}, f"{name} compares .* Got 1"),
        ((*good[:2], np.ones_like(FACTORS)), {}, f"{name} needs a factor"),
        (good, {"bins": 1}, "`bins` must be an integer of at least 2. Got 1"),
        (good, {"limits": (1, -1)}, r"`limits` must be .* Got \(1, -1\)"),
        (good, {"limits": (-np.inf, 1)}, "`limits` must be"),
    ]:
        with pytest.raises(ValueError, match=message):
            metric(*arrays, **options)


def test_bad_input_of_active_units():
    with pytest.raises(ValueError, match=r"at least 2 samples\. Got 1"):
        active_units(MEANS[:1])
    with pytest.raises(ValueError, match=r"`threshold` must be at least 0\. Got -1"):
        active_units(MEANS, threshold=-1)
