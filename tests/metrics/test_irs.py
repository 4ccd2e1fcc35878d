"""Interventional robustness."""

import numpy as np
import pytest
from support.golden_values import CASES, NEW, OLD, expected, inputs

from keras_disent.metrics.irs import irs

FACTORS = np.random.default_rng(0).integers([3, 4, 5], size=(600, 3))
CODES = FACTORS @ np.random.default_rng(1).normal(size=(3, 4)) + FACTORS[:, [0, 1, 2, 0]]


@pytest.mark.parametrize("software", [OLD, NEW])
@pytest.mark.parametrize("case", CASES)
def test_equals_the_reference(case, software):
    codes, factors, _, _ = inputs(case)
    detail = expected(case, "irs", software)["detail_quantile_0.99"]
    result = irs(codes, factors)
    # The reference keeps constants whose variance is a rounding error, with weight 0.
    is_active = np.array(detail["max_deviations"]) > 1e-12
    matrix = np.array(detail["IRS_matrix"])[is_active][:, list(result.factors_used)]
    np.testing.assert_allclose(float(result), detail["avg_score"], rtol=0, atol=1e-7)
    np.testing.assert_allclose(result.matrix, matrix, rtol=0, atol=1e-7)
    largest = np.array(detail["max_deviations"])[is_active]
    np.testing.assert_allclose(result.max_deviations, largest, rtol=1e-6)
    best = np.array(detail["disentanglement_scores"])[is_active]
    np.testing.assert_allclose(result.per_latent, best, rtol=0, atol=1e-7)
    assert result.parents == tuple(np.array(detail["parents"])[is_active])
    other = expected(case, "irs", software)["avg_score_quantile_1.0"]
    assert float(irs(codes, factors, quantile=1.0)) == pytest.approx(other, abs=1e-7)


def test_equals_its_definition():
    result = irs(CODES, FACTORS, quantile=0.9)
    for latent, code in enumerate(CODES.T):
        largest = np.abs(code - code.mean()).max()
        assert result.max_deviations[latent] == pytest.approx(largest)
        for k, factor in enumerate(FACTORS.T):
            groups = [code[factor == value] for value in np.unique(factor)]
            typical = np.mean([np.percentile(np.abs(g - g.mean()), 90) for g in groups])
            assert result.matrix[latent, k] == pytest.approx(1 - typical / largest)
    weighted = (result.per_latent * result.max_deviations).sum() / result.max_deviations.sum()
    assert float(result) == pytest.approx(weighted)


def test_factors_of_many_values_are_cut_into_bins():
    values = np.arange(40).repeat(3)
    code = values // 2.0  # two values of the factor share one of twenty bins
    assert float(irs(code[:, None], values[:, None], quantile=1.0)) == 1
    assert float(irs(code[:, None] + values[:, None] % 2, values[:, None])) < 1
    assert float(irs(values[:, None], values[:, None], bins=40)) == 1


def test_invariances():
    score = float(irs(CODES, FACTORS))
    order = np.random.default_rng(2).permutation(600)
    names = np.array([30, -5, 1000, 7, 2])  # in bins of equal width, most would be one
    for codes, factors in [
        (CODES[order], FACTORS[order]),
        (CODES[:, ::-1], FACTORS),
        (CODES * [-1, 1, -1, 1], FACTORS),
        (5 * CODES, FACTORS),
        (CODES, names[FACTORS]),
        (np.insert(CODES, 1, 1.7, axis=1), FACTORS),
        (CODES, np.insert(FACTORS, 1, 3, axis=1)),
    ]:
        assert float(irs(codes, factors)) == pytest.approx(score, abs=1e-12)


def test_degenerate_columns_are_left_out_and_named():
    result = irs(np.insert(CODES, 1, 1.7, axis=1), np.insert(FACTORS, 1, 3, axis=1))
    assert result.active == (0, 2, 3, 4)
    assert result.factors_used == (0, 2, 3)
    assert result.matrix.shape == (4, 3)
    assert set(result.parents) <= {0, 2, 3}
    nothing = irs(np.ones((600, 2)), FACTORS)
    assert (float(nothing), nothing.active, nothing.matrix.shape) == (0, (), (0, 3))


def test_copies_count_like_their_original():
    once, twice = irs(CODES, FACTORS), irs(CODES[:, [0, 1, 2, 3] * 2], FACTORS)
    assert float(twice) == pytest.approx(float(once))


def test_noise_has_the_score_of_its_outliers():
    noise = np.random.default_rng(3).normal(size=(600, 3))
    ladder = [float(irs(FACTORS + scale * noise, FACTORS)) for scale in (0, 0.2, 0.5, 1, 5)]
    assert ladder == sorted(ladder, reverse=True)
    assert ladder[0] == 1
    assert 0.1 < float(irs(noise, FACTORS)) < 0.4


@pytest.mark.parametrize(
    ("codes", "factors", "options", "message"),
    [
        (CODES, FACTORS[:9], {}, "one row per code. Got 9 rows for 600"),
        (CODES, np.ones_like(FACTORS), {}, "IRS needs a factor with more than one value"),
        (CODES, FACTORS, {"bins": 1}, "`bins` must be an integer of at least 2. Got 1"),
        (CODES, FACTORS, {"quantile": 1.1}, "`quantile` must be from 0 to 1. Got 1.1"),
        (CODES, FACTORS, {"quantile": np.nan}, "`quantile` must be from 0 to 1. Got nan"),
    ],
)
def test_bad_input(codes, factors, options, message):
    with pytest.raises(ValueError, match=message):
        irs(codes, factors, **options)
