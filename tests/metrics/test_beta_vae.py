"""The beta-VAE score: its classifier and its stream against the reference."""

import numpy as np
import pytest
from support.golden_values import FOLDER, NEW, OLD, stage
from support.toy import CLEAN, ENTANGLED, Toy, standard, unrelated

from keras_disent.metrics import encoding
from keras_disent.metrics._predictors.logistic import fit_softmax
from keras_disent.metrics.beta_vae import beta_vae_score

CASES = ("b1_clean", "b2_noisy", "b3_binary_two_factors")


@pytest.mark.parametrize("software", [OLD, NEW])
@pytest.mark.parametrize("case", CASES)
def test_accuracies_on_fixed_features_equal_the_reference(case, software):
    data = np.load(FOLDER / "stage" / f"beta_vae_{case}.npz")
    classifier = fit_softmax(data["train_points"], data["train_labels"])
    expected = stage("beta_vae")[software]["cases"][case]["multinomial_lbfgs_converged"]["result"]
    for part in ("train", "eval"):
        right = classifier.predict(data[f"{part}_points"]) == data[f"{part}_labels"]
        assert right.mean() == pytest.approx(expected[f"{part}_accuracy"], abs=0.005)


def test_the_stream_of_the_reference_gives_its_scores():
    few = {"train_points": 500, "eval_points": 300, "legacy_stream": True}
    clean = beta_vae_score(CLEAN, Toy(), batch_size=16, **few)
    reference = stage("e2e_clean")[NEW]["results"]["beta_vae"]
    assert clean.eval_accuracy == reference["eval_accuracy"]
    assert clean.train_accuracy == reference["train_accuracy"]
    entangled = beta_vae_score(ENTANGLED, Toy(), batch_size=2, **few)
    reference = stage("e2e_entangled")[NEW]["results"]["beta_vae_bs2"]
    assert entangled.eval_accuracy == pytest.approx(reference["eval_accuracy"], abs=0.005)
    assert entangled.train_accuracy == pytest.approx(reference["train_accuracy"], abs=0.005)


def test_pairs_share_one_factor_and_no_other(monkeypatch):
    shared_masks = []

    def encoder(images):
        factors = images.reshape(-1, 2, 8, 4)  # points, both of the pairs, pairs, factors
        shared_masks.append((factors[:, 0] == factors[:, 1]).all(axis=1))
        return standard(images)

    monkeypatch.setattr(encoding, "GRID_LIMIT", 0)  # no codes are looked up
    result = beta_vae_score(encoder, Toy(), batch_size=8, train_points=500, eval_points=12)
    shared = np.concatenate(shared_masks)
    assert (shared.sum(axis=1) >= 1).all()
    assert np.mean(shared.sum(axis=1) == 1) > 0.95  # eight pairs seldom agree by chance
    np.testing.assert_allclose(shared.mean(axis=0), 0.25, atol=0.08)
    assert result.eval_points == 12


def test_chance_is_one_in_the_number_of_factors():
    result = beta_vae_score(unrelated, Toy(), train_points=2000, eval_points=2000)
    assert float(result) == result.eval_accuracy == pytest.approx(0.25, abs=0.05)


@pytest.mark.parametrize("setting", ["batch_size", "train_points", "eval_points"])
def test_settings_too_small(setting):
    with pytest.raises(ValueError, match=f"`{setting}` must be an integer of at least 1. Got 0"):
        beta_vae_score(standard, Toy(), **{setting: 0})


def test_two_factors_that_vary_are_needed():
    with pytest.raises(ValueError, match=r"two with more than one value. Got .*\(3, 1\)"):
        beta_vae_score(standard, Toy((3, 1)))
