"""Dependence of latents without labels."""

import numpy as np
import pytest
from support.golden_values import CASES, NEW, OLD, expected, inputs

from keras_disent.metrics.unsupervised import unsupervised_scores

RNG = np.random.default_rng(0)
CODES = RNG.normal(size=(2000, 4)) @ RNG.normal(size=(4, 4))


def numbers(result):
    return list(result.numbers().values())


def real(value):
    return value["re"] if isinstance(value, dict) else float(value)


@pytest.mark.parametrize("software", [OLD, NEW])
@pytest.mark.parametrize("case", CASES)
def test_equals_the_reference(case, software):
    codes = inputs(case)[0]
    reference = expected(case, "unsupervised", software)
    result = unsupervised_scores(codes)
    total_correlation = real(reference["gaussian_total_correlation"])
    if not np.isnan(total_correlation):  # it is where a latent is constant
        assert float(result) == pytest.approx(total_correlation, abs=1e-9)
    trace = np.trace(np.array(reference["covariance"]))
    wasserstein = real(reference["gaussian_wasserstein_correlation"])
    assert result.gaussian_wasserstein_correlation == pytest.approx(wasserstein, abs=1e-7 * trace)
    normed = real(reference["gaussian_wasserstein_correlation_norm"])
    assert result.gaussian_wasserstein_correlation_norm == pytest.approx(normed, abs=1e-7)
    if (case, software) != ("d14_bin_edge_ties_f32", NEW):  # NumPy 2 places edges elsewhere
        information = reference["mutual_info_score"]
        assert result.mutual_information == pytest.approx(information, abs=1e-9)


def test_two_latents_have_a_closed_form():
    codes = CODES[:, :2] * [1, 10]
    covariance = np.cov(codes.T)
    rho = np.corrcoef(codes.T)[0, 1]
    a, d = np.diag(covariance)
    result = unsupervised_scores(codes)
    assert float(result) == pytest.approx(-0.5 * np.log(1 - rho**2))
    # The trace of the root of a matrix of two rows, from its trace and determinant.
    root = np.sqrt(a * a + d * d + 2 * a * d * np.sqrt(1 - rho**2))
    assert result.gaussian_wasserstein_correlation == pytest.approx(2 * (a + d - root))
    ratio = result.gaussian_wasserstein_correlation / (a + d)
    assert result.gaussian_wasserstein_correlation_norm == pytest.approx(ratio)


def test_total_correlation_is_precise_near_singular_covariances():
    codes = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1]]).T[:, [1, 2]] * 1.0
    epsilon = 1e-4
    codes[:, 1] = codes[:, 0] + epsilon * codes[:, 1]
    exact = 0.5 * np.log1p(epsilon**-2)
    assert float(unsupervised_scores(codes)) == pytest.approx(exact, rel=1e-10)


@pytest.mark.parametrize(
    "column",
    [
        CODES[:, 0],
        -CODES[:, 2] * 3 + 1,
        CODES[:, 0] + CODES[:, 1],
        CODES[:, 3].astype(np.float32).astype(float),
    ],
)
def test_a_latent_that_others_determine_makes_total_correlation_infinite(column):
    result = unsupervised_scores(np.column_stack([CODES, column]))
    assert float(result) == np.inf
    assert np.isfinite(numbers(result)[1:]).all()
    assert result.gaussian_wasserstein_correlation > 0


def test_fewer_samples_than_latents_determine_each_other():
    assert float(unsupervised_scores(CODES[:3])) == np.inf


def test_constant_latents_depend_on_nothing():
    plain, wider = (unsupervised_scores(c) for c in (CODES, np.insert(CODES, 1, 1.7, axis=1)))
    assert numbers(wider)[:3] == pytest.approx(numbers(plain)[:3], rel=1e-12)
    assert wider.mutual_information == pytest.approx(plain.mutual_information * 12 / 20)
    assert numbers(unsupervised_scores(np.ones((9, 3)))) == [0, 0, 0, 0]
    single = unsupervised_scores(np.insert(CODES[:, :1], 1, 1.7, axis=1))
    assert numbers(single) == pytest.approx([0, 0, 0, 0], abs=1e-12)


def test_invariances():
    scores = numbers(unsupervised_scores(CODES))
    for codes in (CODES[::-1], CODES[:, [2, 0, 3, 1]], CODES * [-1, 1, -1, 1]):
        assert numbers(unsupervised_scores(codes)) == pytest.approx(scores, abs=1e-9)
    scaled = numbers(unsupervised_scores(8 * CODES))
    assert scaled[2] == pytest.approx(scores[2])
    assert scaled[1] == pytest.approx(64 * scores[1])
    assert float(unsupervised_scores(CODES * [1, 2, 4, 8])) == pytest.approx(scores[0])


def test_independent_latents_score_near_zero_and_dependence_raises_all():
    noise, common = RNG.normal(size=(5000, 3)), RNG.normal(size=(5000, 1))
    codes = [noise + scale * common for scale in (0, 0.5, 1, 2)]
    ladder = np.array([numbers(unsupervised_scores(rows)) for rows in codes])
    assert (np.diff(ladder, axis=0) > 0).all()
    assert (ladder[0] < [0.01, 0.01, 0.01, 19**2 / 5000]).all()


@pytest.mark.parametrize(
    ("codes", "options", "message"),
    [
        (CODES[:, :1], {}, "at least 2 latents. Got 1"),
        (CODES[:1], {}, "at least 2 samples. Got 1"),
        (CODES[0], {}, "two axes"),
        (np.full((5, 2), np.inf), {}, "finite. Got 10 NaN or infinite of 10"),
        (CODES, {"bins": 1}, "`bins` must be an integer of at least 2. Got 1"),
    ],
)
def test_bad_input(codes, options, message):
    with pytest.raises(ValueError, match=message):
        unsupervised_scores(codes, **options)
