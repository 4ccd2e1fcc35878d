"""InfoVAE and HFS: their regularizers against loops in NumPy, and what they move."""

import itertools

import keras
import numpy as np
import pytest
from keras import ops
from scipy.spatial import KDTree
from support.checks import LATENTS, SHAPE, compiled, images, small

from keras_disent import schedules
from keras_disent.models.hfs_vae import HFSVAE, factorized_support
from keras_disent.models.info_vae import InfoVAE, mmd

MLP = {"encoder": "mlp", "decoder": "mlp"}
CODES = np.random.default_rng(0).normal(size=(9, LATENTS)).astype("float32")


def new(cls, **kwargs):
    donor = small("beta_vae")
    own = {"encoder": donor.encoder, "decoder": donor.decoder, "seed": 0}
    return cls(SHAPE, LATENTS, **{**own, **kwargs})


def looped_mmd(first, second, kernel):
    scale = 2 * first.shape[1]

    def similar(x, y):
        square = ((x - y) ** 2).sum()
        return np.exp(-square / scale) if kernel == "rbf" else scale / (scale + square)

    def within(z):
        n = len(z)
        both = [similar(z[i], z[j]) for i in range(n) for j in range(n) if i != j]
        return np.mean(both)

    between = np.mean([similar(x, y) for x in first for y in second])
    return within(first) + within(second) - 2 * between


@pytest.mark.parametrize("kernel", ["rbf", "imq"])
def test_discrepancy_is_that_of_the_loops(kernel):
    other = CODES[:6] * 1.5 + 0.3
    found = float(mmd(ops.convert_to_tensor(CODES), ops.convert_to_tensor(other), kernel))
    assert found == pytest.approx(looped_mmd(CODES, other, kernel), rel=1e-4)


def test_discrepancy_has_no_bias():
    rng = np.random.default_rng(1)
    draws = rng.normal(size=(400, 2, 20, 3)).astype("float32")
    found = [float(mmd(ops.convert_to_tensor(a), ops.convert_to_tensor(b))) for a, b in draws]
    assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(len(found))


@pytest.mark.parametrize(("alpha", "weight"), [(1.0, 7.0), (0.25, 3.0)])
def test_info_vae_weighs_both(alpha, weight):
    model = compiled(new(InfoVAE, alpha=alpha, mmd_weight=weight))
    model.noise.enabled = False  # codes are means, and draws from the prior are 0
    x = images(9)
    mean, log_variance = (a.astype("float64") for a in model.posterior_parameters(x))
    kl = 0.5 * (mean**2 + np.exp(log_variance) - log_variance - 1).sum(1).mean()
    discrepancy = looped_mmd(mean, np.zeros_like(mean), "rbf")
    logs = model.evaluate(x, batch_size=9, verbose=0, return_dict=True)
    assert logs["mmd"] == pytest.approx(discrepancy, rel=1e-4, abs=1e-6)
    penalty = (1 - alpha) * kl + (alpha + weight - 1) * discrepancy
    assert logs["loss"] - logs["reconstruction"] == pytest.approx(penalty, rel=1e-3, abs=1e-4)


def looped_support(z):
    n, latents = z.shape
    total = 0.0
    for i in range(latents):
        for j in range(i + 1, latents):
            total += max(
                min((z[a, i] - z[c, i]) ** 2 + (z[b, j] - z[c, j]) ** 2 for c in range(n))
                for a in range(n)
                for b in range(n)
            )
    return total


def correlated(n):
    """Codes of two latents that nearly agree, one of few values, and one that is constant."""
    rng = np.random.default_rng(3)
    first = rng.normal(size=n)
    few = rng.integers(3, size=n)
    columns = first, 0.995 * first + 0.1 * rng.normal(size=n), few, np.full(n, 0.7)
    return np.stack(columns, axis=1).astype("float32")


CLOUDS = {
    "normal": CODES,
    "uniform": np.random.default_rng(2).uniform(-1, 1, (40, 2)).astype("float32"),
    "correlated": correlated(20),
    "two points": np.array([[0, 1, 2], [3, 5, 8]], "float32"),
    "one point": np.ones((1, 3), "float32"),
    "all equal": np.ones((5, 3), "float32"),
    "product": np.stack(np.meshgrid([0, 1, 3], [2, 5]), -1).reshape(-1, 2).astype("float32"),
}


@pytest.mark.parametrize("name", CLOUDS)
def test_support_is_that_of_the_loops(name):
    expected = looped_support(CLOUDS[name].astype("float64"))
    assert (expected == 0) == (name in ("one point", "all equal", "product"))
    support = float(factorized_support(ops.convert_to_tensor(CLOUDS[name])))
    assert support == pytest.approx(expected, rel=1e-5, abs=0)


def test_support_of_a_large_batch():
    # All triples of 10 latents would be 3 GB of distances.
    codes = np.random.default_rng(4).normal(size=(256, 10)).astype("float32")
    support = float(factorized_support(ops.convert_to_tensor(codes)))
    assert support == pytest.approx(tree_support(codes.astype("float64")), rel=1e-5)


def tree_support(z):
    """Return what `looped_support` does, by nearest neighbors in a tree."""
    total = 0.0
    for i, j in itertools.combinations(range(z.shape[1]), 2):
        corners = np.stack(np.meshgrid(z[:, i], z[:, j]), axis=-1).reshape(-1, 2)
        total += KDTree(z[:, [i, j]]).query(corners)[0].max() ** 2
    return total


@pytest.mark.parametrize("log_variance", [-6.0, 0.0])
def test_switched_off_latents_cost_nothing(log_variance):
    model = compiled(new(HFSVAE, beta=0.0, gamma=3.0))
    kernel, bias, log_kernel, log_bias = model.posterior_head.trainable_variables
    kernel.assign(ops.convert_to_numpy(kernel) * np.array([1, 0, 0], "float32"))
    bias.assign([0.1, 0.2, 0.3])
    log_kernel.assign(np.zeros(log_kernel.shape, "float32"))
    log_bias.assign([log_variance, 0.0, 0.0])
    x = images(8)
    mean, _ = model.posterior_parameters(x)
    assert np.ptp(mean[:, 0]) > 0.1
    logs = model.evaluate(x, batch_size=8, verbose=0, return_dict=True)
    assert logs["support"] == pytest.approx(0, abs=1e-6)
    assert logs["loss"] == pytest.approx(logs["reconstruction"], rel=1e-6)


def test_gradient_of_the_support_is_that_of_finite_differences():
    model, plain = (
        compiled(new(HFSVAE, beta=0.0, gamma=gamma), lambda: keras.optimizers.SGD(1.0))
        for gamma in (5.0, 0.0)
    )
    x = images(8)
    features = ops.convert_to_numpy(model.encoder(ops.convert_to_tensor(x / np.float32(255))))
    codes = model.encode(x).astype("float64")
    slopes = np.empty_like(codes)
    for place in np.ndindex(*codes.shape):
        moved = [codes.copy(), codes.copy()]
        moved[0][place] += 1e-6
        moved[1][place] -= 1e-6
        slopes[place] = (looped_support(moved[0]) - looped_support(moved[1])) / 2e-6
    change = []
    for each in (model, plain):
        each.noise.enabled = False
        before = [ops.convert_to_numpy(v) for v in each.posterior_head.trainable_variables]
        each.fit(x, batch_size=8, verbose=0)
        after = [ops.convert_to_numpy(v) for v in each.posterior_head.trainable_variables]
        change.append(before[0] - after[0])  # of the kernel of the means, at a rate of 1
    expected = 5 * features.T @ slopes  # codes are features @ kernel + bias
    assert change[0] - change[1] == pytest.approx(expected, rel=1e-3, abs=2e-4)
    assert abs(expected).max() > 0.1


def test_hfs_weighs_all_three():
    model = compiled(new(HFSVAE, beta=2.0, gamma=3.0, delta=4.0))
    x = images(8)
    mean, log_variance = (a.astype("float64") for a in model.posterior_parameters(x))
    kl = 0.5 * (mean**2 + np.exp(log_variance) - log_variance - 1).sum(1).mean()
    support, scale = looped_support(mean), np.maximum(0, 1 - mean.std(0)).sum()
    logs = model.evaluate(x, batch_size=8, verbose=0, return_dict=True)
    assert logs["support"] == pytest.approx(support, rel=1e-3)
    assert logs["scale"] == pytest.approx(scale, rel=1e-3)
    penalty = 2 * kl + 3 * support + 4 * scale
    assert logs["loss"] - logs["reconstruction"] == pytest.approx(penalty, rel=1e-3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: InfoVAE(SHAPE, **MLP, alpha=1.5), "`alpha` is a number from 0 to 1"),
        (lambda: InfoVAE(SHAPE, **MLP, alpha=-1), "`alpha` is a number from 0 to 1"),
        (lambda: InfoVAE(SHAPE, **MLP, mmd_weight=-1), "`mmd_weight`"),
        (
            lambda: InfoVAE(SHAPE, **MLP, kernel="box"),
            "Unknown kernel 'box'",
        ),
        (lambda: HFSVAE(SHAPE, 1), "`latent_dim` of 2 or more. Got 1"),
        (lambda: HFSVAE(SHAPE, **MLP, gamma="much"), "`gamma`"),
    ],
)
def test_wrong_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_weights_may_be_schedules():
    rising = schedules.Linear(0.0, 10.0, steps=4)
    model = compiled(new(HFSVAE, gamma=rising))
    assert np.isfinite(model.fit(images(16), batch_size=8, verbose=0).history["loss"]).all()
    assert HFSVAE.from_config(model.get_config()).gamma.get_config() == rising.get_config()
    info = compiled(new(InfoVAE, alpha=schedules.Linear(0.0, 1.0, steps=4)))
    assert np.isfinite(info.fit(images(16), batch_size=8, verbose=0).history["loss"]).all()
