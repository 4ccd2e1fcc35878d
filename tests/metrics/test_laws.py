"""Laws that hold for every metric; a name added to METRICS gets all of them.

The laws: 1 for codes that are the factors, `floor` for uninformative codes, and higher is better.
Scores do not depend on the order of rows and latents, on signs, on positive scales of latents, or
on the names of a factor's values. `CLAIMS` lists the exceptions of each metric.
"""

import itertools
from typing import Any, NamedTuple

import numpy as np
import pytest
from support.toy import Toy

from keras_disent.metrics import METRICS, check, evaluate

SIZES = np.array([4, 5, 6, 7])


class Claims(NamedTuple):
    settings: dict[str, Any] = {}  # quick ones
    ideal: float | None = 1.0  # of codes that are the factors; None: any
    ideal_within: float = 0.02
    floor: float | None = 0.0  # of codes that know nothing; None: any
    floor_within: float = 0.05
    scale: bool = True  # a positive factor on a latent changes nothing
    falls: bool = True  # with noise on the codes
    dead: bool = True  # a constant latent changes nothing
    close: float = 1e-9  # how nearly nothing
    n: int = 1000
    slow: bool = False  # fits too many trees for the quick tests


VOTES = {"batch_size": 16, "train_votes": 1000, "eval_votes": 1000, "variance_samples": 1000}
POINTS = {"batch_size": 16, "train_points": 1000, "eval_points": 1000}
CHANCE = 1 / 4
TREES = 0.03  # splits among equals go by the order and the sign of latents
CLAIMS: dict[str, Claims] = {
    "active_units": Claims(ideal=4, floor=6, falls=False),
    "beta_vae_score": Claims(POINTS, floor=CHANCE, floor_within=0.08, scale=False, close=0.005),
    "dci": Claims(close=TREES, floor_within=0.1, n=300),
    "dci_es": Claims(close=TREES, floor=None, slow=True),
    "downstream": Claims({"sizes": (200, 1000)}, floor=None, close=TREES, slow=True),
    "explicitness": Claims(floor=0.5, floor_within=0.1, close=1e-3),
    "factor_vae_score": Claims(VOTES, floor=CHANCE, floor_within=0.08),
    "fairness": Claims(
        {"train_samples": 400}, ideal=0, floor=None, falls=False, close=TREES, slow=True
    ),
    "infomec": Claims(floor=None, close=1e-6),
    "irs": Claims(floor=None, scale=False),
    "jemmig": Claims(ideal=None, floor=None, scale=False, falls=False),
    "mcc": Claims(floor_within=0.08),
    "mig_sup": Claims(dead=False),  # it counts as a latent that knows nothing
    "modularity": Claims(floor=None, dead=False, falls=False),
    "reduced_downstream": Claims(
        ideal=None, floor=None, falls=False, dead=False, close=TREES, slow=True
    ),
    "rmig": Claims(scale=False),
    # A constant latent tells the most frequent value, which may be more than the second best does.
    "sap": Claims(ideal=None, scale=False, falls=False, dead=False),
    "strong_downstream": Claims(
        {"train_samples": 400, "test_samples": 200, "n_repeats": 1},
        floor=None,
        close=0.1,
        slow=True,
    ),
    "unified": Claims(close=TREES, floor_within=0.1, slow=True),
    "unsupervised": Claims(ideal=0, falls=False),
    "z_max": Claims(VOTES, floor=CHANCE, floor_within=0.08),
}


def claims(name):
    return CLAIMS.get(name, Claims())


def every(names):
    marks = pytest.mark.slow
    return [pytest.param(name, marks=marks) if claims(name).slow else name for name in names]


class Codes:
    """An encoder that is a table from images to codes, with posteriors of small variance."""

    def __init__(self, table, log_variance=-6.0):
        self.table, self.log_variance = table, log_variance

    def encode(self, images):
        at = np.ravel_multi_index(images.reshape(len(images), -1).T, SIZES)
        return self.table[at]

    def posterior_parameters(self, images):
        means = self.encode(images)
        return means, np.full_like(means, self.log_variance)


GRID = np.stack(np.unravel_index(np.arange(np.prod(SIZES)), SIZES), axis=1)
RANDOM = np.random.default_rng(0)
NOISE = RANDOM.normal(size=(len(GRID), 4))
IDEAL = (GRID / (SIZES - 1) - 0.5) * np.sqrt(12)  # of unit variance or so
INFORMATIVE = IDEAL + 0.3 * NOISE  # no ties, and no value on the edge of a bin
UNINFORMATIVE = RANDOM.normal(size=(len(GRID), 6))


def score(name, codes, data=None, seed=0):
    settings = {name: claims(name).settings}
    return evaluate(
        Codes(codes),
        data or Toy(SIZES),
        settings,
        n_samples=claims(name).n,
        n_test_samples=claims(name).n // 2,
        seed=seed,
    )[name]


def assert_unmoved(name, changed, codes=INFORMATIVE):
    assert score(name, changed) == pytest.approx(score(name, codes), abs=claims(name).close)


@pytest.mark.parametrize("name", every(METRICS))
def test_codes_that_are_the_factors(name):
    ideal, within = claims(name).ideal, claims(name).ideal_within
    if ideal is not None:
        assert score(name, IDEAL) == pytest.approx(ideal, abs=within)


@pytest.mark.parametrize("name", every(METRICS))
def test_uninformative_codes(name):
    floor, within = claims(name).floor, claims(name).floor_within
    if floor is not None:
        assert score(name, UNINFORMATIVE) == pytest.approx(floor, abs=within)


@pytest.mark.parametrize("name", every(METRICS))
def test_more_noise_never_scores_higher(name):
    if not claims(name).falls:
        return
    ladder = [score(name, IDEAL + scale * NOISE) for scale in (0.02, 0.5, 1.5, 5.0)]
    slack = 0.02 * (1 + abs(ladder[0]))
    assert all(a >= b - slack for a, b in itertools.pairwise(ladder)), ladder
    assert ladder[0] > ladder[-1]


@pytest.mark.parametrize("name", every(METRICS))
def test_the_order_of_latents_does_not_matter(name):
    assert_unmoved(name, INFORMATIVE[:, [2, 0, 3, 1]])


@pytest.mark.parametrize("name", every(METRICS))
def test_signs_of_latents_do_not_matter(name):
    assert_unmoved(name, INFORMATIVE * [-1, 1, -1, 1])


@pytest.mark.parametrize("name", every(METRICS))
def test_the_scale_of_a_latent_does_not_matter_where_documented(name):
    if claims(name).scale:
        assert_unmoved(name, INFORMATIVE * [0.5, 2, 4, 1])


@pytest.mark.parametrize("name", every(METRICS))
def test_a_constant_latent_changes_nothing_where_documented(name):
    if claims(name).dead:
        assert_unmoved(name, np.insert(INFORMATIVE, 2, 1.7, axis=1))


@pytest.mark.parametrize("name", every(METRICS))
def test_a_factor_of_one_value_changes_nothing(name):
    class Wider(Toy):
        def __init__(self):
            super().__init__((*SIZES, 1))

        def images(self, indices):
            return super().images(indices)[:, :, :4]

        def sample_factors(self, n, rng, fixed=None):
            return np.pad(rng.integers(SIZES, size=(n, 4)), ((0, 0), (0, 1)))

    wider = score(name, INFORMATIVE, Wider())
    assert wider == pytest.approx(score(name, INFORMATIVE), abs=claims(name).close)


@pytest.mark.parametrize("name", every(METRICS))
def test_a_duplicated_latent_has_a_score(name):
    assert not np.isnan(score(name, INFORMATIVE[:, [0, 1, 2, 3, 0]]))


@pytest.mark.parametrize("name", every(METRICS))
def test_a_seed_fixes_the_score(name):
    first, again = (score(name, INFORMATIVE, seed=1) for _ in range(2))
    assert first == again


# -- metrics of arrays, called directly -------------------------------------------------------

ARRAYS = [name for name in METRICS if METRICS[name].takes == "arrays"]
LABELED = [name for name in ARRAYS if name != "mcc"]  # which compares any two sets of columns


def sample(n, seed):
    data, rng = Toy(SIZES), np.random.default_rng(seed)
    factors = data.sample_factors(n, rng)
    return INFORMATIVE[data.indices(factors)], factors


def called(name, train, test):
    function, arguments = METRICS[name].function, METRICS[name].arguments
    extra = {"test": test} if "test" in arguments else {}
    return float(function(*train, **claims(name).settings, **extra))


@pytest.mark.parametrize("name", every(ARRAYS))
def test_the_order_of_samples_does_not_matter(name):
    train, test = sample(400, 0), sample(200, 1)
    order = np.random.default_rng(0).permutation(400)
    shuffled = tuple(part[order] for part in train)
    expected = pytest.approx(called(name, train, test), abs=claims(name).close)
    assert called(name, shuffled, test) == expected


@pytest.mark.parametrize("name", every(ARRAYS))
def test_the_names_of_values_do_not_matter(name):
    (codes, factors), (test_codes, test_factors) = sample(400, 0), sample(200, 1)
    names = 7 * np.random.default_rng(2).permutation(20) - 30
    if name in ("mcc", "irs"):  # these take the values of factors for numbers, not names
        names = 2 * np.arange(20) + 5
    renamed = (codes, names[factors]), (test_codes, names[test_factors])
    plain = called(name, (codes, factors), (test_codes, test_factors))
    assert called(name, *renamed) == pytest.approx(plain, abs=claims(name).close)


CODES = np.random.default_rng(0).normal(size=(100, 3))
FACTORS = np.random.default_rng(1).integers(4, size=(100, 2))


def holed(value):
    codes = CODES.copy()
    codes[3, 1] = value
    return codes


@pytest.mark.parametrize("name", LABELED)
@pytest.mark.parametrize(
    ("codes", "factors", "message"),
    [
        (CODES, FACTORS[:90], "needs one row per code. Got 90 rows for 100 codes."),
        (CODES[0], FACTORS, r"two axes, \(samples, latents\). Got shape \(3,\)"),
        (CODES, FACTORS[:, 0], r"two axes, \(samples, factors\). Got shape \(100,\)"),
        (holed(np.nan), FACTORS, "finite. Got 1 NaN or infinite of 300"),
        (holed(-np.inf), FACTORS, "finite. Got 1 NaN or infinite of 300"),
        (CODES, np.full((100, 2), np.nan), "a factor with more than one value. Got none"),
        (CODES, np.full((100, 2), -np.inf), "finite numbers. Got -inf"),
        (CODES, FACTORS.astype(str), "`factors` must hold numbers. Got dtype"),
        (CODES.astype(complex), FACTORS, "real numbers. Got dtype complex128"),
        (CODES[:1], FACTORS[:1], "at least 2 samples. Got 1"),
        (CODES[:0], FACTORS[:0], "at least 2 samples. Got 0"),
        (CODES, np.ones_like(FACTORS), "factor with more than one value"),
    ],
)
def test_malformed_arrays(name, codes, factors, message):
    with pytest.raises(ValueError, match=message):
        METRICS[name].function(codes, factors)


@pytest.mark.parametrize("name", every(ARRAYS))
def test_floats_with_integer_values_are_factors(name):
    (codes, factors), test = sample(300, 0), sample(200, 1)
    floats = codes, factors.astype("float32")
    assert called(name, floats, test) == called(name, (codes, factors), test)


@pytest.mark.parametrize("name", every(METRICS))
def test_the_minimum_number_of_latents_is_stated(name):
    codes = INFORMATIVE[:, :1]
    if METRICS[name].latents == 1:
        assert np.isfinite(score(name, codes))
        return
    with pytest.raises(ValueError, match=r"at least 2.* Got .*1|must leave a latent"):
        score(name, codes)
    with pytest.raises(ValueError, match=f"'{name}' compare latents.* at least 2. Got 1"):
        check(name, Toy(), latents=1)
