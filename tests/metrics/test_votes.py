"""The FactorVAE score and Z-max: agreement with the reference, and known answers."""

from types import SimpleNamespace

import numpy as np
import pytest
from support.golden_values import FOLDER, OLD, stage
from support.toy import CLEAN, ENTANGLED, Toy, standard

from keras_disent.metrics import encoding
from keras_disent.metrics.votes import (
    count_votes,
    factor_vae_score,
    variance,
    vote_accuracies,
    z_max_score,
)

QUICK = {"batch_size": 16, "variance_samples": 1000, "train_votes": 1000, "eval_votes": 1000}
SCORES = pytest.mark.parametrize("score", [factor_vae_score, z_max_score])


@pytest.mark.parametrize("case", stage("factor_vae")["cases"])
def test_votes_equal_the_reference(case):
    example = stage("factor_vae")["cases"][case]
    settings, expected = example["settings"], example["outputs"]
    data = np.load(FOLDER / "stage" / f"factor_vae_{case}.npz")
    variances = variance(data["variance_representation"], axis=0)
    np.testing.assert_allclose(variances, expected["global_variances"], rtol=1e-5)
    active = np.flatnonzero(np.sqrt(variances) >= settings["prune_threshold_std"])
    assert active.tolist() == np.flatnonzero(expected["active_dims"]).tolist()
    if not active.size:
        return
    local = variance(data["train_batches"], axis=1)
    np.testing.assert_allclose(local, data["train_local_var"][: len(local)], rtol=1e-4)

    factors = len(settings["sizes"])
    train, evaluation = (
        count_votes(data[f"{name}_local_var"], data[f"{name}_factor"], variances, active, factors)
        for name in ("train", "eval")
    )
    for votes, name in ((train, "train"), (evaluation, "eval")):
        # The reference numbers active latents only and leaves the columns beyond them empty.
        reference = np.array(expected[f"{name}_votes"])[:, : len(active)]
        np.testing.assert_array_equal(votes[active].T, reference)
        assert votes.sum() == reference.sum()
    assert vote_accuracies(train, evaluation) == (
        expected["train_accuracy"],
        expected["eval_accuracy"],
    )


@SCORES
def test_looking_codes_up_changes_nothing(score, monkeypatch):
    looked_up, encoded = Toy(), Toy()
    first = score(ENTANGLED, looked_up, **QUICK)
    monkeypatch.setattr(encoding, "GRID_LIMIT", 0)
    second = score(ENTANGLED, encoded, **QUICK)
    for field in ("eval_accuracy", "train_accuracy", "active"):
        assert getattr(first, field) == getattr(second, field)
    np.testing.assert_array_equal(first.votes, second.votes)
    assert looked_up.served == len(looked_up) == 720
    assert encoded.served == 1000 + 16 * 2000


def test_the_encoder_sees_bounded_chunks(monkeypatch):
    monkeypatch.setattr(encoding, "GRID_LIMIT", 0)
    batch_sizes = []

    def encoder(images):
        assert images.dtype == np.uint8
        batch_sizes.append(len(images))
        return standard(images)

    factor_vae_score(encoder, Toy(), batch_size=5000, train_votes=2, eval_votes=1)
    assert max(batch_sizes) == encoding.CHUNK
    assert sum(batch_sizes) == 10_000 + 3 * 5000


def test_votes_are_by_latent_and_factor():
    def swapped(images):  # latent 1 is dead, latent 0 is the last factor
        codes = standard(images)[:, [3, 0, 2, 1]]
        codes[:, 1] *= 0.01
        return codes

    result = factor_vae_score(SimpleNamespace(encode=swapped), Toy(), **QUICK)
    assert result.active == (0, 2, 3)
    assert result.votes.shape == (4, 4)
    assert result.votes.sum() == 1000
    assert not result.votes[1].any()
    assert result.votes.argmax(axis=1)[[0, 2, 3]].tolist() == [3, 2, 1]
    assert float(result) == result.eval_accuracy < 1


def test_accuracies_are_of_their_own_votes():
    result = factor_vae_score(ENTANGLED, Toy(), batch_size=4, train_votes=1000, eval_votes=1)
    assert result.train_accuracy == result.votes.max(axis=1).sum() / 1000 < 1
    assert result.eval_accuracy in (0, 1)


@SCORES
def test_no_active_latent_scores_zero(score):
    result = score(lambda images: 0.01 * standard(images), Toy())
    assert (result.eval_accuracy, result.train_accuracy, result.active) == (0.0, 0.0, ())
    assert not result.votes.any()


@SCORES
def test_without_threshold_constant_latents_are_inactive(score):
    def padded(images):
        return np.insert(standard(images), 0, 0.1, axis=1)

    result = score(padded, Toy(), threshold=0, **QUICK)
    assert result.active == (1, 2, 3, 4)
    assert result.eval_accuracy == 1


@SCORES
def test_factors_of_one_value_are_never_chosen(score):
    result = score(lambda images: images.reshape(-1, 3) / 6.0, Toy((3, 1, 6)), **QUICK)
    assert result.eval_accuracy == 1
    assert not result.votes[:, 1].any()


def test_a_factor_spread_over_latents_costs_only_where_it_should():
    """Latents 1 and 2 hold one factor together, by its last bit and the rest of it."""

    def spread(images):
        codes = standard(images)
        return np.concatenate([codes, 0.3 * images.reshape(-1, 4)[:, 2:3] % 2], axis=1)

    assert float(z_max_score(spread, Toy(), **QUICK)) == 1
    assert float(factor_vae_score(spread, Toy(), **QUICK)) == 1

    def mixed(images):  # one latent for two factors
        codes = standard(images)
        return np.stack([codes[:, 0] + codes[:, 1], codes[:, 2], codes[:, 3]], axis=1)

    for score in (z_max_score, factor_vae_score):
        assert 0.6 < float(score(mixed, Toy(), **QUICK)) < 0.9  # three of four at best


@SCORES
@pytest.mark.parametrize(
    ("setting", "value", "least"),
    [
        ("batch_size", 1, 2),
        ("variance_samples", 1, 2),
        ("train_votes", 0, 1),
        ("eval_votes", 0, 1),
        ("threshold", -0.1, 0),
        ("threshold", float("nan"), 0),
    ],
)
def test_settings_too_small(score, setting, value, least):
    rule = "at least" if setting == "threshold" else "an integer of at least"
    with pytest.raises(ValueError, match=f"`{setting}` must be {rule} {least}. Got {value}"):
        score(standard, Toy(), **{setting: value})


@SCORES
def test_a_factor_that_varies_is_needed(score):
    with pytest.raises(ValueError, match=r"more than one value. Got `factor_sizes` \(1, 1\)"):
        score(standard, Toy((1, 1)))


def test_the_stream_of_the_reference_gives_its_scores():
    few = {"variance_samples": 1000, "train_votes": 500, "eval_votes": 300, "legacy_stream": True}
    clean = factor_vae_score(CLEAN, Toy(), batch_size=16, **few)
    reference = stage("e2e_clean")[OLD]["results"]["factor_vae"]
    assert clean.eval_accuracy == reference["eval_accuracy"]
    assert clean.train_accuracy == reference["train_accuracy"]
    entangled = factor_vae_score(ENTANGLED, Toy(), batch_size=4, **few)
    reference = stage("e2e_entangled")[OLD]["results"]["factor_vae_bs4"]
    assert entangled.train_accuracy == reference["train_accuracy"] == 0.704
    assert entangled.eval_accuracy == reference["eval_accuracy"]
