"""Mean correlation after matching."""

import itertools

import numpy as np
import pytest
from scipy.stats import spearmanr

from keras_disent.metrics.correlation import absolute_correlations, mcc

RNG = np.random.default_rng(0)
CODES = RNG.normal(size=(300, 4))
OTHERS = np.round(CODES @ RNG.normal(size=(4, 3)) + RNG.normal(size=(300, 3)), 1)  # with ties


def test_correlations_equal_numpy_and_scipy():
    pearson = np.abs(np.corrcoef(CODES.T, OTHERS.T)[:4, 4:])
    np.testing.assert_allclose(absolute_correlations(CODES, OTHERS), pearson, atol=1e-12)
    spearman = np.abs(spearmanr(CODES, OTHERS).statistic[:4, 4:])
    correlations = absolute_correlations(CODES, OTHERS, "spearman")
    np.testing.assert_allclose(correlations, spearman, atol=1e-12)


@pytest.mark.parametrize("kind", ["pearson", "spearman"])
def test_the_match_is_the_best_of_all(kind):
    result = mcc(CODES, OTHERS, kind=kind)
    every = itertools.permutations(range(4), 3)
    best = max(result.matrix[list(rows), range(3)].sum() for rows in every)
    assert float(result) == pytest.approx(best / 3)
    assert len(result.pairs) == 3
    matched = [result.matrix[pair] for pair in result.pairs]
    assert float(result) == pytest.approx(np.mean(matched))


@pytest.mark.parametrize("kind", ["pearson", "spearman"])
def test_order_signs_and_scales_do_not_matter(kind):
    other = CODES[:, [2, 0, 3, 1]] * [-1, 2, -3, 4] + 5
    result = mcc(CODES, other, kind=kind)
    assert float(result) == pytest.approx(1)
    assert result.pairs == ((0, 1), (1, 3), (2, 0), (3, 2))
    score, order = float(mcc(CODES, OTHERS, kind=kind)), RNG.permutation(300)
    assert float(mcc(CODES[order], OTHERS[order], kind=kind)) == pytest.approx(score)
    assert float(mcc(OTHERS, CODES, kind=kind)) == pytest.approx(score)


def test_ranks_see_monotonic_relations():
    assert float(mcc(CODES, np.exp(3 * CODES), kind="spearman")) == pytest.approx(1)
    assert float(mcc(CODES, np.exp(3 * CODES))) < 0.7


def test_constants_correlate_zero_and_copies_are_matched_once():
    constant = np.insert(CODES[:, :1], 1, 1.7, axis=1)
    assert float(mcc(constant, CODES[:, :2])) == pytest.approx(0.5)
    assert float(mcc(np.ones((9, 2)), np.ones((9, 3)))) == 0
    assert float(mcc(CODES[:, [0, 0]], CODES[:, [0, 1]])) < 0.6


def test_large_offsets_cost_no_precision():
    far = (CODES + 100).astype(np.float32)
    assert float(mcc(far, CODES)) == pytest.approx(1, abs=1e-9)


def test_more_noise_scores_lower_and_unrelated_columns_near_zero():
    noise = RNG.normal(size=(300, 4))
    ladder = [float(mcc(CODES + scale * noise, CODES)) for scale in (0, 0.3, 1, 3)]
    assert ladder == sorted(ladder, reverse=True)
    assert float(mcc(noise, CODES)) < 3 / np.sqrt(300)


@pytest.mark.parametrize(
    ("codes", "others", "kind", "message"),
    [
        (CODES, OTHERS[:9], "pearson", "`others` needs one row per code. Got 9 rows for 300"),
        (CODES[:1], OTHERS[:1], "pearson", "at least 2 samples. Got 1"),
        (CODES, OTHERS[:, :0], "pearson", "at least one column .* Got 4 and 0"),
        (CODES, OTHERS * np.nan, "pearson", "`others` must be finite"),
        (CODES, OTHERS, "kendall", "'pearson' or 'spearman'. Got 'kendall'"),
    ],
)
def test_bad_input(codes, others, kind, message):
    with pytest.raises(ValueError, match=message):
        mcc(codes, others, kind=kind)
