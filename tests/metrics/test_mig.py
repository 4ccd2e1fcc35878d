"""Mutual information gaps."""

import numpy as np
import pytest
from support.golden_values import CASES, OLD, expected, inputs

from keras_disent.metrics.mig import dcimig, mig, mig_sup

FACTORS = np.indices((3, 4, 5)).reshape(3, -1).T.repeat(10, axis=0)
NOISE = np.random.default_rng(0).normal(size=FACTORS.shape)
CODES = FACTORS @ np.array([[1, 0.3, 0, 0.5], [0, 1, 0, 0.5], [0, 0.2, 1, 0]]) + 0.2 * NOISE[:, :1]


def reference(case):
    """Return information and entropies of the reference, of factors that vary."""
    values = expected(case, "mig", OLD)
    entropies = np.array(values["factor_entropy"])
    used = entropies > 1e-9
    return np.array(values["mi_matrix"])[:, used], entropies[used], np.array(values["per_factor"])


@pytest.mark.parametrize("case", CASES)
def test_all_gaps_follow_from_the_information_of_the_reference(case):
    codes, factors, _, _ = inputs(case)
    information, entropies, per_factor = reference(case)
    gaps = per_factor.astype(float)
    assert mig(codes, factors) == pytest.approx(gaps[np.isfinite(gaps)].mean(), abs=1e-9)

    shares = np.sort(information / entropies, axis=1)
    expected_sup = np.mean(shares[:, -1] - shares[:, -2])
    assert mig_sup(codes, factors) == pytest.approx(expected_sup, abs=1e-9)

    best = np.zeros(len(entropies))
    for row in information:
        second, first = np.sort(row)[-2:]
        best[row.argmax()] = max(best[row.argmax()], first - second)
    assert dcimig(codes, factors) == pytest.approx(best.sum() / entropies.sum(), abs=1e-9)


@pytest.mark.parametrize("metric", [mig_sup, dcimig])
def test_codes_that_are_the_factors_score_one(metric):
    assert metric(FACTORS, FACTORS) == pytest.approx(1)


@pytest.mark.parametrize("metric", [mig_sup, dcimig])
def test_more_noise_scores_lower_and_unrelated_codes_near_zero(metric):
    ladder = [metric(FACTORS + scale * NOISE, FACTORS) for scale in (0, 0.3, 1, 3)]
    assert ladder == sorted(ladder, reverse=True)
    assert 0 <= metric(NOISE, FACTORS) < 0.05


@pytest.mark.parametrize("metric", [mig_sup, dcimig])
def test_invariances(metric):
    score, order = metric(CODES, FACTORS), np.random.default_rng(2).permutation(len(CODES))
    names = np.array([30, -5, 1000, 7, 2])
    for codes, factors in [
        (CODES[order], FACTORS[order]),
        (CODES[:, ::-1], FACTORS),
        (CODES * [-1, 1, -1, 1], FACTORS),
        (CODES * [2, 16, 0.5, 8], FACTORS),
        (CODES, names[FACTORS]),
        (CODES, np.insert(FACTORS, 1, 3, axis=1)),
    ]:
        assert metric(codes, factors) == pytest.approx(score, abs=1e-12)


def test_a_latent_of_two_factors_is_seen_by_mig_sup_alone():
    both = np.column_stack([5 * FACTORS[:, 1] + FACTORS[:, 2], FACTORS[:, 0]])
    factors = FACTORS[:, [1, 2]]
    assert mig(both, factors, bins=20) == pytest.approx(1)
    assert mig_sup(both, factors, bins=20) == pytest.approx(0, abs=1e-9)


def test_constant_latents_stay_in_the_mean_of_mig_sup_and_leave_dcimig_alone():
    wider = np.insert(CODES, 1, 1.7, axis=1)
    assert mig_sup(wider, FACTORS) == pytest.approx(mig_sup(CODES, FACTORS) * 4 / 5)
    assert dcimig(wider, FACTORS) == pytest.approx(dcimig(CODES, FACTORS))
    constant = np.ones((len(FACTORS), 2))
    assert mig_sup(constant, FACTORS) == dcimig(constant, FACTORS) == 0


def test_copies_change_nothing():
    copied = CODES[:, [0, 1, 2, 3] * 2]
    assert mig_sup(copied, FACTORS) == pytest.approx(mig_sup(CODES, FACTORS))
    assert dcimig(copied, FACTORS) == pytest.approx(dcimig(CODES, FACTORS))


def test_dcimig_weighs_factors_by_their_entropy():
    entropies = np.log([3, 4, 5])
    score = dcimig(FACTORS[:, 2:], FACTORS)
    assert score == pytest.approx(entropies[2] / entropies.sum())


@pytest.mark.parametrize(("metric", "name"), [(mig_sup, "MIG-sup"), (dcimig, "DCIMIG")])
def test_bad_input(metric, name):
    for codes, factors, bins, message in [
        (CODES, FACTORS[:9], 20, "one row per code. Got 9 rows for 600"),
        (CODES, FACTORS[:, :1], 20, f"{name} compares the two best factors .* Got 1"),
        (CODES, np.ones_like(FACTORS), 20, f"{name} needs a factor with more than one value"),
        (CODES[:, :0], FACTORS, 20, f"{name} needs a latent"),
        (CODES, FACTORS, 1, "`bins` must be an integer of at least 2. Got 1"),
    ]:
        with pytest.raises(ValueError, match=message):
            metric(codes, factors, bins=bins)
