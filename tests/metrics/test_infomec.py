"""InfoMEC: InfoM, InfoE and InfoC."""

import numpy as np
import pytest
from sklearn.feature_selection import mutual_info_classif
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, mutual_info_score
from support.golden_values import inputs

from keras_disent.metrics.infomec import infomec, nearest_neighbor_information
from keras_disent.metrics.mutual_information import entropy

RNG = np.random.default_rng(0)
FACTORS = RNG.integers([3, 4, 5], size=(800, 3))
NOISE = RNG.normal(size=(800, 4))
CODES = FACTORS @ np.array([[1, 0.3, 0, 0.5], [0, 1, 0, 0.5], [0, 0.2, 1, 0]]) + 0.3 * NOISE


def scores(result):
    return np.array([result.modularity, result.explicitness, result.compactness])


# With more neighbors, scikit-learn's search in small classes rounds to seven digits.
@pytest.mark.parametrize(
    ("case", "n_neighbors"),
    [("d04_two_per_dim", 10), ("d09_signed_scaled", 3), ("d10_tiny", 1), ("d10_tiny", 3)],
)
def test_information_of_continuous_codes_equals_scikit_learn(case, n_neighbors):
    codes, factors, _, _ = inputs(case)
    expected = np.stack(
        [
            mutual_info_classif(
                (codes - codes.mean(axis=0)) / codes.std(axis=0),
                factor,
                discrete_features=False,
                n_neighbors=n_neighbors,
                random_state=0,
            )
            for factor in factors.T
        ],
        axis=1,
    )
    information = nearest_neighbor_information(codes, factors, n_neighbors)
    np.testing.assert_allclose(information, expected, atol=1e-12)


def test_information_of_codes_with_ties_is_near_scikit_learn_with_its_noise():
    codes = np.round(CODES[:, :2], 1)
    factor = FACTORS[:, 0]
    noisy = [
        mutual_info_classif(codes, factor, discrete_features=False, random_state=s)
        for s in range(20)
    ]
    information = nearest_neighbor_information(codes, factor[:, None], 3)[:, 0]
    np.testing.assert_allclose(information, np.mean(noisy, axis=0), atol=0.04)


def test_information_of_a_code_that_is_the_factor_is_its_entropy():
    information = nearest_neighbor_information(FACTORS.astype(float), FACTORS)
    np.testing.assert_allclose(np.diag(information), entropy(FACTORS), atol=0.01)
    assert (information[~np.eye(3, dtype=bool)] < 0.01).all()


def test_information_of_gaussians_approaches_its_value():
    factor = RNG.integers(2, size=(20_000, 1))
    codes = 2.0 * factor - 1 + RNG.normal(size=factor.shape)
    grid = np.linspace(-8, 8, 4001)
    ends = np.exp(-((grid[:, None] - [-1, 1]) ** 2) / 2) / np.sqrt(2 * np.pi)
    exact = np.sum(ends / 2 * np.log(ends / ends.mean(axis=1, keepdims=True))) * (grid[1] - grid[0])
    assert nearest_neighbor_information(codes, factor)[0, 0] == pytest.approx(exact, abs=0.02)


def test_a_value_that_occurs_once_is_left_out():
    factor = np.append(FACTORS[:, 0], 99)
    code = np.append(CODES[:, 0], 123.0)
    with_it = nearest_neighbor_information(code[:, None], factor[:, None])
    without = nearest_neighbor_information(CODES[:, :1], FACTORS[:, :1])
    assert with_it == pytest.approx(without)
    alone = nearest_neighbor_information(CODES[:5, :1], np.arange(5)[:, None])
    assert alone == 0


def test_equals_its_definition():
    result = infomec(CODES, FACTORS)
    information = nearest_neighbor_information(CODES, FACTORS, 10) / entropy(FACTORS)
    np.testing.assert_allclose(result.information, information)
    by_latent = (information.max(axis=1) / information.sum(axis=1)).mean()
    by_factor = (information.max(axis=0) / information.sum(axis=0)).mean()
    assert float(result) == result.modularity == pytest.approx((by_latent - 1 / 3) / (2 / 3))
    assert result.compactness == pytest.approx((by_factor - 1 / 4) / (3 / 4))
    standard = (CODES - CODES.mean(axis=0)) / CODES.std(axis=0)
    shares = []
    for factor in FACTORS.T:
        losses = []
        for features in (standard, np.zeros_like(standard)):
            model = LogisticRegression(C=np.inf, class_weight="balanced", max_iter=5000)
            losses.append(log_loss(factor, model.fit(features, factor).predict_proba(features)))
        shares.append(1 - losses[0] / losses[1])
    assert result.explicitness == pytest.approx(np.mean(shares), abs=1e-3)


def test_discrete_codes_are_counted():
    codes = np.round(CODES)
    result = infomec(codes, FACTORS, discrete=True)
    for i, code in enumerate(codes.T):
        for k, factor in enumerate(FACTORS.T):
            share = mutual_info_score(code, factor) / mutual_info_score(factor, factor)
            assert result.information[i, k] == pytest.approx(share)
    assert result.explicitness > infomec(codes, FACTORS).explicitness  # indicators see more


def test_codes_that_are_the_factors_score_one():
    exact = infomec(FACTORS, FACTORS, discrete=True)
    assert scores(exact) == pytest.approx([1, 1, 1], abs=0.02)
    assert scores(infomec(FACTORS + 0.01 * NOISE[:, :3], FACTORS)) == pytest.approx(
        [1, 1, 1], abs=0.05
    )


def test_more_noise_scores_lower_and_unrelated_codes_explain_nothing():
    ladder = [scores(infomec(FACTORS + s * NOISE[:, :3], FACTORS)) for s in (0.01, 0.3, 1, 4)]
    assert (np.diff(ladder, axis=0) < 0.02).all()
    noise = infomec(NOISE, FACTORS)
    assert 0 <= noise.explicitness < 0.03
    assert noise.modularity < 0.9
    held_out = infomec(NOISE[:400], FACTORS[:400], test=(NOISE[400:], FACTORS[400:]))
    assert -0.1 < held_out.explicitness < 0.01


def test_invariances():
    expected = scores(infomec(CODES, FACTORS))
    order = np.random.default_rng(2).permutation(len(CODES))
    names = np.array([30, -5, 1000, 7, 2])
    for codes, factors in [
        (CODES[order], FACTORS[order]),
        (CODES[:, ::-1], FACTORS),
        (CODES * [-1, 1, -1, 1], FACTORS),
        (CODES * [2, 3, 1, 0.7] + 5, FACTORS),
        (CODES, names[FACTORS]),
        (np.insert(CODES, 1, 1.7, axis=1), FACTORS),
        (CODES, np.insert(FACTORS, 1, 3, axis=1)),
    ]:
        np.testing.assert_allclose(scores(infomec(codes, factors)), expected, atol=1e-4)


def test_inactive_latents_count_for_explicitness_alone():
    small = np.insert(CODES, 1, 1e-3 * CODES[:, 0], axis=1)
    result, plain = infomec(small, FACTORS), infomec(CODES, FACTORS)
    assert result.active == (0, 2, 3, 4)
    assert scores(result) == pytest.approx(scores(plain), abs=1e-3)
    assert infomec(np.round(100 * small), FACTORS, discrete=True).active == (0, 2, 3, 4)


def test_degenerate_codes_have_a_score():
    constant = infomec(np.ones((800, 2)), FACTORS)
    assert scores(constant) == pytest.approx([0, 0, 0], abs=1e-9)
    assert constant.active == ()
    one = infomec(np.column_stack([FACTORS[:, 0], np.ones(800)]), FACTORS)
    assert (one.active, one.compactness) == ((0,), 0)
    assert one.modularity > 0.9
    copied = infomec(CODES[:, [0, 1, 2, 0, 1, 2]], FACTORS)
    assert copied.modularity == pytest.approx(infomec(CODES[:, :3], FACTORS).modularity)
    assert copied.compactness < 0.5
    skipped = infomec(CODES, np.insert(FACTORS, 1, 3, axis=1))
    assert skipped.factors_used == (0, 2, 3)
    assert skipped.information.shape == (4, 3)


def test_explicitness_can_be_tested_on_other_samples():
    train, test = (CODES[:500], FACTORS[:500]), (CODES[500:], FACTORS[500:])
    fitted, judged = infomec(*train), infomec(*train, test=test)
    assert judged.modularity == fitted.modularity
    assert judged.explicitness != fitted.explicitness
    assert infomec(*train, test=train).explicitness == fitted.explicitness


@pytest.mark.parametrize(
    ("codes", "factors", "options", "message"),
    [
        (CODES, FACTORS[:9], {}, "one row per code. Got 9 rows for 800"),
        (CODES[:, :1], FACTORS, {}, "InfoMEC compares latents.* Got 1"),
        (CODES, FACTORS[:, :1], {}, "InfoMEC compares factors.* Got 1"),
        (CODES, np.ones_like(FACTORS), {}, "InfoMEC needs a factor with more than one value"),
        (
            CODES,
            FACTORS,
            {"n_neighbors": 0},
            "`n_neighbors` must be an integer of at least 1. Got 0",
        ),
        (CODES, FACTORS, {"test": (CODES, FACTORS + 9)}, "Got none of factor 0 in `test`"),
        (CODES, FACTORS, {"test": (CODES[:, :2], FACTORS)}, "`test` needs 4 latents"),
    ],
)
def test_bad_input(codes, factors, options, message):
    with pytest.raises(ValueError, match=message):
        infomec(codes, factors, **options)
