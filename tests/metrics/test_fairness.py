import numpy as np
import pytest
from support.golden_values import NEW, stage
from support.toy import CLEAN, ENTANGLED, Toy, standard, unrelated

from keras_disent.metrics.fairness import Fairness, fairness, inter_group_fairness

FEW = {"train_samples": 300, "test_samples": 50}
QUICK = {**FEW, "predictor": "logistic"}


def total_variation(counts):
    counts = np.asarray(counts, float)
    groups = [column / column.sum() for column in counts.T]
    overall = counts.sum(axis=1) / counts.sum()
    distances = [0.5 * np.abs(group - overall).sum() for group in groups]
    return np.average(distances, weights=counts.sum(axis=0)), max(distances)


# Agreement with the reference


@pytest.mark.parametrize("case", ["counts0", "counts1", "counts2", "independent"])
def test_inter_group_fairness_equals_the_reference(case):
    expected = stage("fairness")["cases"][case]
    result = inter_group_fairness(expected["counts"])
    assert result == pytest.approx(expected["mean_max"], abs=1e-6)
    assert result == pytest.approx(total_variation(expected["counts"]), abs=1e-12)


def test_summary_equals_the_reference():
    expected = stage("fairness")["cases"]["scores_dict"]
    matrix = np.array(expected["matrix"])
    result = Fairness(matrix, matrix, (0, 1, 2, 3))
    summary = result.as_dict()
    for key, value in expected["scores"].items():
        assert summary.pop(key) == pytest.approx(value, abs=1e-6)
    assert {key.split(":")[0] for key in summary} == {"max_fairness"}
    assert float(result) == pytest.approx(expected["scores"]["mean_fairness:mean_pred:mean_sens"])


def test_end_to_end_equals_the_reference():
    expected = stage("e2e_clean")[NEW]["results"]["fairness_lrcv"]
    result = fairness(CLEAN, Toy(), **QUICK, legacy_stream=True).as_dict()
    assert result == pytest.approx(expected, abs=1e-6)


# Known answers


def test_codes_without_the_sensitive_factor_are_fair():
    result = fairness(standard, Toy(), **FEW)
    assert float(result) < 0.02
    assert result.mean.shape == (4, 4)


def test_predictions_depend_on_a_factor_that_is_mixed_in():
    def mixture(images):
        first, second, third, _ = images.reshape(-1, 4).astype(float).T
        return np.stack([first + second, third], axis=1)

    result = fairness(mixture, Toy(), **QUICK)
    assert result.mean[0, 1] > 0.1
    assert result.mean[1, 0] > 0.1
    assert result.max[0, 1] > result.mean[0, 1]
    assert result.mean[2, :2].max() < 0.02
    # No prediction depends on a factor that the codes ignore.
    assert np.all(result.mean[:, 3] < 1e-12)


def test_constant_codes_are_fair():
    result = fairness(lambda images: np.ones((len(images), 2)), Toy(), **FEW)
    assert float(result) == 0
    assert not result.max.any()


def test_entangled_codes_are_unfair():
    clean, entangled = (float(fairness(encoder, Toy(), **FEW)) for encoder in (CLEAN, ENTANGLED))
    assert clean < 0.02 < 0.05 < entangled


def test_factors_of_one_value_are_skipped():
    data = Toy((3, 1, 6))
    result = fairness(lambda images: images.reshape(-1, 3) / 6.0, data, **FEW)
    assert result.factors_used == (0, 2)
    assert result.mean.shape == (2, 2)
    assert {"mean_fairness:pred0:sens2", "max_fairness:sens0:max_pred"} <= result.as_dict().keys()


def test_a_seed_fixes_the_score():
    first, again, other = (fairness(unrelated, Toy(), **QUICK, seed=s).mean for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_encoder_is_called_seldom():
    calls = []

    def encoder(images):
        calls.append(len(images))
        return standard(images)

    data = Toy()
    data.__class__ = type("Large", (Toy,), {"__len__": lambda self: 10**9})
    fairness(encoder, data, **QUICK)
    assert calls == [300, *(3 * size * 50 for size in data.factor_sizes)]


# Bad input


def test_groups_without_predictions_are_left_out():
    assert inter_group_fairness([[8, 0, 4], [2, 0, 6]]) == inter_group_fairness([[8, 4], [2, 6]])


@pytest.mark.parametrize("counts", [[1, 2], [[0, 0]], [[-1, 2]], np.zeros((0, 3))])
def test_malformed_counts(counts):
    with pytest.raises(ValueError, match=r"`counts` must have two axes, .* Got \["):
        inter_group_fairness(counts)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train_samples": 0}, "`train_samples` must be an integer of at least 1. Got 0"),
        ({"test_samples": 0}, "`test_samples` must be an integer of at least 1. Got 0"),
        ({"predictor": "forest"}, "Unknown predictor 'forest'. Choose from: boosting"),
    ],
)
def test_settings_are_checked_before_any_work(settings, message):
    with pytest.raises(ValueError, match=message):
        fairness(None, Toy(), **settings)


def test_two_factors_have_to_vary():
    with pytest.raises(ValueError, match=r"two with more than one value. Got .* \(3, 1\)"):
        fairness(standard, Toy((3, 1)))
    with pytest.raises(ValueError, match=r"'fairness' .* must be labeled"):
        fairness(standard, object())
