"""Scorers in the cross-validation and searches of scikit-learn."""

import pickle

import numpy as np
import pytest
from sklearn.decomposition import PCA, FastICA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from keras_disent import metrics
from keras_disent.metrics import make_scorer

RNG = np.random.default_rng(0)
FACTORS = RNG.integers(4, size=(300, 3))
MIXED = FACTORS @ RNG.normal(size=(3, 5)) + 0.01 * RNG.normal(size=(300, 5))


def test_a_scorer_is_the_metric_of_the_codes():
    scorer, pca = make_scorer("mig", bins=8), PCA(3).fit(MIXED)
    expected = metrics.mig(pca.transform(MIXED), FACTORS, bins=8)
    assert scorer(pca, MIXED, FACTORS) == expected
    assert repr(scorer) == "make_scorer('mig', bins=8)"
    copied = pickle.loads(pickle.dumps(scorer))
    assert copied(pca, MIXED, FACTORS) == expected


def test_lower_is_better_is_turned_round():
    pca, ica = PCA(3).fit(MIXED), FastICA(3, random_state=0).fit(MIXED)
    scorer = make_scorer("unsupervised")
    assert scorer(pca, MIXED) == -float(metrics.unsupervised_scores(pca.transform(MIXED)))
    assert scorer(ica, MIXED, FACTORS) == -float(metrics.unsupervised_scores(ica.transform(MIXED)))


def test_cross_validation():
    pca, folds = make_pipeline(StandardScaler(), PCA(3)), KFold(3)
    scores = cross_val_score(pca, MIXED, FACTORS, scoring=make_scorer("mcc"), cv=folds)
    expected = []
    for train, test in folds.split(MIXED):
        codes = pca.fit(MIXED[train]).transform(MIXED[test])
        expected.append(float(metrics.mcc(codes, FACTORS[test])))
    np.testing.assert_allclose(scores, expected)
    several = {"mig": make_scorer("mig"), "tc": make_scorer("unsupervised")}
    found = cross_validate(pca, MIXED, FACTORS, scoring=several, cv=folds)
    assert {"test_mig", "test_tc"} <= set(found)
    assert np.isfinite(found["test_mig"]).all()


def test_a_search_finds_the_codes_that_are_the_factors():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(FACTORS, columns=["a", "b", "c"])
    search = GridSearchCV(
        FastICA(random_state=0), {"n_components": [2, 3]}, scoring=make_scorer("mcc"), cv=3
    )
    assert search.fit(MIXED, table).best_params_ == {"n_components": 3}
    assert search.best_score_ > 0.95
    assert search.score(MIXED, table) == make_scorer("mcc")(search.best_estimator_, MIXED, table)


def test_an_encoder_has_codes_too():
    class Encoder:
        def encode(self, images):
            return images[:, :3]

    value = make_scorer("mig")(Encoder(), MIXED, FACTORS)
    assert value == metrics.mig(MIXED[:, :3], FACTORS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mgi",), "Unknown metric 'mgi'"),
        (("factor_vae_score",), r"needs a metric of arrays\. Got 'factor_vae_score'\. Choose"),
        (("rmig",), r"needs a metric of arrays\. Got 'rmig'"),
    ],
)
def test_unknown_metrics_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_scorer(*arguments)


def test_unknown_settings_and_estimators_are_refused():
    with pytest.raises(ValueError, match=r"'mig' has no setting 'bin'\. Choose from: bins"):
        make_scorer("mig", bin=3)
    with pytest.raises(ValueError, match="'mig' compares codes with factors: pass them as `y`"):
        make_scorer("mig")(PCA(2).fit(MIXED), MIXED)
    with pytest.raises(TypeError, match=r"`transform` or `encode`\. Got LogisticRegression"):
        make_scorer("mig")(LogisticRegression(), MIXED, FACTORS)
