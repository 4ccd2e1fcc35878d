"""Learning from a few labels: the terms against NumPy, what is missing, and what is refused."""

import keras
import numpy as np
import pytest
from keras import ops
from scipy.special import expit
from support.checks import (
    arrays,
    assert_same,
    compiled,
    images,
    quick_on_torch,
    reload,
    small,
    state,
)

from keras_disent.models.supervision import KINDS, Supervision

RNG = np.random.default_rng(0)
MEAN = RNG.normal(size=(7, 3)).astype("float32")
STEPS = RNG.integers([3, 6], size=(7, 2)).astype("float32")
SIZES = (3, 6)


def term(kind, labels, sizes=SIZES):
    supervision = Supervision(kind, 1.0, sizes)
    return float(supervision(ops.convert_to_tensor(MEAN), *supervision.split_labels(labels)))


def expected(kind, labels, sizes=SIZES):
    """The same in loops."""
    scaled = labels / np.array(sizes)
    rows = [i for i in range(len(labels)) if not np.isnan(labels[i]).all()]
    if kind == "covariance":
        rows = [i for i in rows if not np.isnan(labels[i]).any()]
        if len(rows) < 2:
            return 0.0
        both = np.cov(MEAN[rows, :2].T, scaled[rows].T, bias=True)[:2, 2:]
        return ((both - np.eye(2)) ** 2).sum()
    total = 0.0
    for i in rows:
        for j in range(2):
            if np.isnan(scaled[i, j]):
                continue
            p, y, m = expit(MEAN[i, j]), scaled[i, j], MEAN[i, j]
            entropy = -y * np.log(p) - (1 - y) * np.log(1 - p)
            total += entropy if kind == "cross_entropy" else (m - y) ** 2
    return total / max(len(rows), 1)


@pytest.mark.parametrize("kind", KINDS)
def test_terms_are_those_of_the_loops(kind):
    missing = STEPS.copy()
    missing[1] = np.nan
    missing[4, 0] = np.nan
    unknown = np.full_like(STEPS, np.nan)
    one = unknown.copy()
    one[2] = STEPS[2]
    for labels in (STEPS, missing, one, unknown):
        assert term(kind, labels) == pytest.approx(expected(kind, labels), rel=1e-5), labels
    assert term(kind, unknown) == 0.0


@pytest.mark.parametrize("name", ["beta_vae", "factor_vae", "beta_tcvae", "dip_vae"])
def test_the_weighted_term_is_in_the_loss_of_every_vae(name):
    x = images(8)
    labels = np.column_stack([np.arange(8) % 3, np.arange(8) % 6]).astype("float32")
    labels[3] = np.nan

    def evaluated(weight):
        model = compiled(small(name, supervision=Supervision("l2", weight, SIZES)))
        model.noise.enabled = False
        mean = model.encode(x)
        return model.evaluate(x, labels, batch_size=8, verbose=0, return_dict=True), mean

    without, mean = evaluated(0.0)
    logs, _ = evaluated(2.5)
    known = ~np.isnan(labels)
    gaps = np.where(known, mean[:, :2] - np.nan_to_num(labels) / SIZES, 0)
    assert logs["supervision"] == pytest.approx((gaps**2).sum() / 7, rel=1e-4)
    assert logs["loss"] - without["loss"] == pytest.approx(2.5 * logs["supervision"], rel=1e-3)


@pytest.mark.parametrize("name", ["vae", pytest.param("factor_vae", marks=pytest.mark.slow)])
def test_labels_move_their_own_latents(name):
    x = images(32)
    labels = np.column_stack([x.mean((1, 2, 3)) > np.median(x.mean((1, 2, 3)))]).astype("float32")
    labels[8:16] = np.nan
    model = compiled(small(name, supervision=Supervision("cross_entropy", 50.0)))
    history = model.fit(x, labels, batch_size=16, epochs=120, verbose=0).history
    assert history["supervision"][-1] < 0.5 * history["supervision"][0]
    known = ~np.isnan(labels[:, 0])
    told = model.encode(x)[:, 0] > 0
    assert (told == (labels[:, 0] > 0.5))[known].mean() > 0.85


@quick_on_torch
def test_files_keep_the_supervision_and_training_resumes_exactly():
    x, labels = images(16), np.arange(16)[:, None] % 4
    model = compiled(small("factor_vae", supervision=Supervision("covariance", 3.0, (4,))))
    model.fit(x, labels, batch_size=8, shuffle=False, verbose=0)
    again = reload(model)
    assert again.supervision.get_config() == model.supervision.get_config()
    for either in (model, again):
        either.fit(x, labels, batch_size=8, shuffle=False, verbose=0)
    assert_same(state(again), state(model))
    assert_same(arrays(again.metrics_variables), arrays(model.metrics_variables))


def test_labels_come_from_streams_too():
    x, labels = images(16), np.arange(16)[:, None] % 4
    model = compiled(small("vae", supervision=Supervision("l2", 1.0, (4,))))

    class Stream(keras.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, i):
            return x[8 * i : 8 * i + 8], labels[8 * i : 8 * i + 8]

    history = model.fit(Stream(), epochs=2, validation_data=(x, labels), verbose=0).history
    assert np.isfinite(history["val_supervision"]).all()
    assert model.predict(x, verbose=0).shape == x.shape
    with pytest.raises(ValueError, match="`y` must hold labels"):
        model.fit(x, verbose=0)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, r"`y` must hold labels \(n, factors\) for supervision. Got None"),
        (np.zeros((16, 3)), r"shape \(n, 2\), at most one .* Got \(16, 3\)"),
        (np.zeros(16), r"Got \(16,\)"),
        (np.full((16, 2), np.inf), "finite numbers, or NaN"),
        (np.full((16, 2), 3), r"below `factor_sizes` \(3, 6\). Got values from 0 to 3"),
        (np.full((16, 2), -1), "Got values from -1 to 0"),
        (np.zeros((15, 2)), "one row of labels for each of the 16 images. Got 15"),
    ],
)
def test_wrong_labels_are_refused_before_training(labels, message):
    model = compiled(small("vae", supervision=Supervision("l2", 1.0, SIZES)))
    with pytest.raises(ValueError, match=message):
        model.fit(images(16), labels, verbose=0)
    assert model.steps_taken() == 0


def test_wrong_supervision():
    with pytest.raises(ValueError, match=r"Unknown kind of supervision 'l3'. Choose from: cov"):
        Supervision("l3")
    with pytest.raises(ValueError, match="weight"):
        Supervision("l2", -1.0)
    with pytest.raises(ValueError, match="factor_sizes"):
        Supervision("l2", 1.0, (0,))
    model = compiled(small("vae", supervision=Supervision("cross_entropy")))
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\] for cross-entropy"):
        model.fit(images(8), np.full((8, 1), 2.0), verbose=0)
    with pytest.raises(ValueError, match=r"Got \(\d+,\). Pass one factor as `y\[:, None\]`\."):
        model.fit(images(8), np.zeros(8), verbose=0)
    with pytest.raises(ValueError, match="at most one factor for each of the 3 latents"):
        model.fit(images(8), np.zeros((8, 4)), verbose=0)
