"""Agreement of models without labels."""

import numpy as np
import pytest
from sklearn.linear_model import Lasso
from support.golden_values import FOLDER, stage

from keras_disent.metrics.udr import _one_to_one, udr

RNG = np.random.default_rng(0)
CODES = RNG.normal(size=(500, 4))
ROTATION = np.linalg.qr(RNG.normal(size=(4, 4)))[0]
ON = np.ones(4)


def models(case):
    arrays = np.load(FOLDER / "stage" / f"udr_{case}.npz")
    numbers = range(len(arrays.files) // 2)
    return [arrays[f"rep{m}"] for m in numbers], [arrays[f"kl{m}"] for m in numbers]


@pytest.mark.parametrize("filtered", [True, False])
@pytest.mark.parametrize("method", ["lasso", "spearman"])
@pytest.mark.parametrize("case", ["u1", "u2"])
def test_equals_the_reference(case, method, filtered):
    reference = stage("udr")["cases"][case][f"{method}_filter{filtered}"]
    result = udr(*models(case), method=method, filter_low_kl=filtered)
    np.testing.assert_allclose(result.model_scores, reference["model_scores"], rtol=0, atol=1e-6)
    pairwise = np.array(reference["pairwise_disentanglement_scores"])[..., 0]
    np.testing.assert_allclose(result.pairwise, pairwise, rtol=0, atol=1e-6)
    raw = np.nan_to_num(np.array(reference["raw_correlations"], float))
    for pair, correlations in result.correlations.items():
        np.testing.assert_allclose(correlations, raw[pair], rtol=0, atol=1e-6)


def test_one_to_one_strength_equals_the_reference():
    values = stage("udr")["cases"]["relative_strength"]
    assert _one_to_one(np.array(values["matrix"])) == pytest.approx(values["value"], abs=1e-12)


def test_lasso_equals_its_optimum_at_a_tight_tolerance():
    others = CODES @ (ROTATION + np.eye(4))
    weights = udr([CODES, others], [ON, ON], tolerance=1e-12).correlations[1, 0]
    inputs, targets = ((c - c.mean(axis=0)) / c.std(axis=0) for c in (others, CODES))
    exact = Lasso(alpha=0.1, tol=1e-14, max_iter=100_000).fit(inputs, targets)
    np.testing.assert_allclose(weights, np.abs(exact.coef_.T), atol=1e-6)


@pytest.mark.parametrize(("method", "best"), [("lasso", 0.9), ("spearman", 1.0)])
def test_the_same_latents_agree_and_others_do_not(method, best):
    other = CODES[:, [2, 0, 3, 1]] * [-1, 2, -3, 4]
    white = np.linalg.qr(CODES - CODES.mean(axis=0))[0]  # so that latents explain only themselves
    same = udr([white, white[:, ::-1] * [-1, 2, -3, 4]], [ON, ON], method="lasso")
    assert same.model_scores == pytest.approx([0.9, 0.9])
    agree = udr([CODES, other, other], [ON, ON, ON], method=method)
    mixed = udr([CODES, CODES @ ROTATION], [ON, ON], method=method)
    apart = udr([CODES, RNG.normal(size=(500, 4))], [ON, ON], method=method)
    assert float(agree) > float(mixed) > float(apart)
    if method == "lasso":
        assert float(agree) == pytest.approx(best, abs=1e-3)
        assert float(apart) < 0.05


def test_the_score_is_the_median_over_partners():
    result = udr([CODES, CODES * 2, CODES @ ROTATION, CODES[:, ::-1]], [ON] * 4)
    for m in range(4):
        others = np.delete(result.pairwise[:, m], m)
        assert result.model_scores[m] == np.median(others)
    assert float(result) == pytest.approx(result.model_scores.mean())
    assert set(result.correlations) == {(i, j) for i in range(4) for j in range(4) if i != j}


@pytest.mark.parametrize("method", ["lasso", "spearman"])
def test_invariances(method):
    noisy = CODES @ (np.eye(4) + 0.3 * ROTATION)
    options = {"method": method, "tolerance": 1e-12}
    score = udr([CODES, noisy], [ON, ON], **options).model_scores
    order = RNG.permutation(500)
    for first, second in [
        (CODES[order], noisy[order]),
        (CODES[:, ::-1], noisy),
        (CODES * [-1, 2, -3, 4], 5 * noisy + 1),
    ]:
        changed = udr([first, second], [ON, ON], **options).model_scores
        np.testing.assert_allclose(changed, score, atol=1e-9)
    swapped = udr([noisy, CODES], [ON, ON], **options).model_scores
    np.testing.assert_allclose(swapped, score[::-1], atol=1e-9)


@pytest.mark.parametrize("method", ["lasso", "spearman"])
def test_inactive_latents_are_excluded(method):
    wider = np.insert(CODES, 1, RNG.normal(size=500), axis=1)
    kl = np.insert(ON, 1, 0.005)
    plain = udr([CODES, CODES], [ON, ON], method=method)
    filtered = udr([CODES, wider], [ON, kl], method=method)  # and models of other widths compare
    np.testing.assert_allclose(filtered.model_scores, plain.model_scores, atol=1e-12)
    assert filtered.correlations[0, 1].shape == (4, 5)
    unfiltered = udr([CODES, wider], [ON, kl], method=method, filter_low_kl=False)
    assert float(unfiltered) < float(plain)
    strict = udr([CODES, CODES], [ON, ON * [1, 1, 1, 0.5]], method=method, threshold=0.6)
    assert float(strict) < float(plain)


@pytest.mark.parametrize("method", ["lasso", "spearman"])
def test_models_without_a_latent_agree_with_none(method):
    result = udr([CODES, CODES, CODES], [ON, ON, 0 * ON], method=method)
    assert result.model_scores[2] == 0
    constant = udr([CODES, np.ones((500, 4))], [ON, ON], method=method)
    assert list(constant.model_scores) == [0, 0]
    assert not np.isnan(constant.correlations[0, 1]).any()


@pytest.mark.parametrize(
    ("means", "kls", "options", "message"),
    [
        ([CODES], [ON], {}, "at least 2 models. Got 1"),
        ([CODES] * 2, [ON], {}, "one array per model. Got 1 for 2"),
        ([CODES, CODES[:9]], [ON] * 2, {}, "Got 500 for model 0 and 9 for model 1"),
        ([CODES[:1]] * 2, [ON] * 2, {}, "at least 2. Got 1"),
        ([CODES] * 2, [ON, ON[:3]], {}, r"`kls\[1\]` needs one finite number per latent"),
        ([CODES] * 2, [ON, ON * np.nan], {}, r"`kls\[1\]` needs one finite number per latent"),
        ([CODES, CODES * np.inf], [ON] * 2, {}, r"`means\[1\]` must be finite"),
        ([CODES] * 2, [ON] * 2, {"method": "ridge"}, "'lasso' or 'spearman'. Got 'ridge'"),
        ([CODES] * 2, [ON] * 2, {"alpha": -1}, "`alpha` must be at least 0. Got -1"),
    ],
)
def test_bad_input(means, kls, options, message):
    with pytest.raises(ValueError, match=message):
        udr(means, kls, **options)
