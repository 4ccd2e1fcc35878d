"""`evaluate`: sampling, encoding and recording of several scores."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from support.golden_values import NEW, stage
from support.toy import CLEAN, ENTANGLED, Toy, standard

from keras_disent.metrics import METRICS, STANDARD, evaluate, factor_vae_score, mig, names

FEW = {
    "factor_vae_score": {
        "batch_size": 16,
        "variance_samples": 1000,
        "train_votes": 1000,
        "eval_votes": 1000,
    }
}


class Model:
    """An encoder with posteriors that counts the encoded images."""

    def __init__(self, encode=ENTANGLED, log_variance=-4.0):
        self.function, self.log_variance, self.n_encoded = encode, log_variance, 0

    def encode(self, images):
        self.n_encoded += len(images)
        return self.function(images)

    def posterior_parameters(self, images):
        means = self.encode(images)
        return means, np.full_like(means, self.log_variance)


def test_scores_are_saved_with_their_settings():
    data, calls = Toy((3, 1, 6, 5)), []
    settings = {"mig": {"bins": 10}, **FEW}
    scores = evaluate(
        standard,
        data,
        settings,
        n_samples=np.int64(500),
        seed=3,
        progress=lambda *call: calls.append(call),
    )
    assert calls == [("mig", 1, 2), ("factor_vae_score", 2, 2)]
    assert list(scores) == ["mig", "factor_vae_score"]
    saved = json.loads(scores.to_json())
    assert saved == scores.as_dict()
    assert {name: entry["value"] for name, entry in saved.items()} == dict(scores)
    common = {
        "seed": 3,
        "legacy_stream": False,
        "representation": "mean",
        "factors_used": ["a", "c", "d"],
        "factors_skipped": ["b"],
    }
    of_arrays = {"n_samples": 90, "bins": 10, "continuous": []}  # there are no more images
    for entry in saved.values():
        assert {"keras-disent", "numpy", "scikit-learn"} <= set(entry["settings"].pop("versions"))
    assert saved["mig"]["settings"] == {**of_arrays, **common}
    assert saved["factor_vae_score"]["settings"] == {
        "threshold": 0.05,
        "pool": 15_000,
        **FEW["factor_vae_score"],
        **common,
    }
    assert saved["factor_vae_score"]["detail"]["active"] == [0, 2, 3]
    assert scores.results["factor_vae_score"].active == (0, 2, 3)


def test_scores_print_as_a_table():
    lines = str(evaluate(standard, Toy(), FEW | {"mig": {}}, n_samples=720)).splitlines()
    assert [line.split()[0] for line in lines] == ["factor_vae_score", "mig"]
    assert len({line.index(".") for line in lines}) == 1
    assert ["[" in line for line in lines] == [True, False]  # that of votes costs nothing
    with_interval = str(
        evaluate(standard, Toy(), "mig", n_samples=720, interval=0.9, n_resamples=10)
    )
    assert with_interval.count("[") == with_interval.count("]") == 1


def test_results_know_the_names_of_factors_and_intervals_of_all_numbers():
    names = {"mcc": {}, "irs": {}, **FEW}
    scores = evaluate(ENTANGLED, Toy((3, 1, 6, 5)), names, interval=0.9, n_resamples=3)
    assert scores.results["mcc"].labels("matrix")[1] == ("a", "c", "d")
    irs = scores.results["irs"]
    assert irs.labels("matrix")[1] == ("a", "c", "d")
    assert irs.intervals["matrix"].low.shape == irs.matrix.shape
    votes = scores.results["factor_vae_score"]
    assert votes.labels("votes")[1] == ("a", "b", "c", "d")
    assert votes.intervals == {"eval_accuracy": scores.intervals["factor_vae_score"]}
    saved = scores.as_dict()["irs"]
    assert saved["detail_intervals"]["score"] == saved["interval"]
    json.loads(scores.to_json())


def test_evaluate_equals_the_functions_of_the_metrics():
    data = Toy()
    scores = evaluate(ENTANGLED, data, {"mig": {}, **FEW}, n_samples=400, seed=7)
    indices = np.random.default_rng(7).choice(720, 720, replace=False)[:400]
    assert scores["mig"] == mig(ENTANGLED(data.images(indices)), data.factors(indices))
    votes = factor_vae_score(ENTANGLED, data, seed=7, **FEW["factor_vae_score"])
    assert scores["factor_vae_score"] == float(votes)


def test_images_are_encoded_once_for_all_metrics_of_arrays():
    model = Model()
    evaluate(
        model,
        Toy(),
        ["mig", "sap", "modularity", "irs", "unsupervised"],
        n_samples=300,
        n_test_samples=200,
    )
    assert model.n_encoded == 500
    model = Model()
    evaluate(model, Toy(), ["mig", "irs"], n_samples=300)  # nothing to test
    assert model.n_encoded == 300


def test_the_number_of_jobs_changes_nothing():
    names = ["mig", "sap", "modularity", "unsupervised"]
    one, several = (
        evaluate(ENTANGLED, Toy(), names, n_samples=300, n_jobs=n_jobs) for n_jobs in (1, 4)
    )
    assert dict(one) == dict(several)


def test_names_of_groups_of_metrics():
    assert names("standard") == STANDARD
    assert set(names("all")) == set(METRICS)
    assert names(["mig", "sap"]) == ("mig", "sap")
    assert set(STANDARD) <= set(METRICS)


def test_sampled_codes_and_posteriors():
    model = Model(log_variance=-2.0)
    mean = evaluate(model, Toy(), ["mig", "rmig", "active_units"], n_samples=2000)
    sample = evaluate(model, Toy(), "mig", n_samples=2000, representation="sample")
    assert sample["mig"] < mean["mig"]
    assert sample.settings["mig"]["representation"] == "sample"
    again = evaluate(model, Toy(), "mig", n_samples=2000, representation="sample")
    assert again["mig"] == sample["mig"]
    for options in ({"representation": "sample"}, {"metrics": "rmig"}):
        with pytest.raises(ValueError, match="method `posterior_parameters`, such as a VAE"):
            evaluate(ENTANGLED, Toy(), **{"metrics": "mig", **options})


QUICK = ["mig", "sap", "modularity", "explicitness", "irs", "infomec", "mcc", "unsupervised"]


@pytest.mark.parametrize("name", QUICK)
def test_every_metric_of_a_sample_has_an_interval(name):
    scores = evaluate(
        ENTANGLED, Toy(), [name], n_samples=300, n_test_samples=100, interval=0.9, n_resamples=3
    )
    low, high = scores.intervals[name]
    assert low <= high
    assert np.isfinite([low, high]).all()


def test_intervals_hold_the_score_and_shrink_with_samples():
    widths = []
    for n_samples in (200, 2000):
        scores = evaluate(
            ENTANGLED, Toy(), {"mig": {}, **FEW}, n_samples=n_samples, interval=0.95, n_resamples=40
        )
        low, high = scores.intervals["mig"]
        assert low < scores["mig"] < high
        widths.append(high - low)
    assert widths[1] < 0.6 * widths[0]
    low, high = scores.intervals["factor_vae_score"]
    assert low < scores["factor_vae_score"] < high
    assert high - low < 0.1
    assert json.loads(scores.to_json())["mig"]["interval"] == list(scores.intervals["mig"])


def test_the_stream_of_the_reference_gives_its_scores():
    clean = evaluate(
        CLEAN, Toy(), ["mig", "irs", "unsupervised"], n_samples=1000, legacy_stream=True
    )
    reference = stage("e2e_clean")[NEW]["results"]
    assert clean["mig"] == pytest.approx(reference["mig"]["discrete_mig"], abs=1e-9)
    assert clean["irs"] == pytest.approx(reference["irs"]["IRS"], abs=1e-7)
    result = clean.results["unsupervised"]
    for name, value in reference["unsupervised"].items():
        key = "mutual_information" if name == "mutual_info_score" else name
        assert getattr(result, key) == pytest.approx(value, abs=1e-7)


@pytest.mark.parametrize(
    ("name", "n_samples", "n_test_samples", "clean", "entangled", "within"),
    [
        ("modularity", 1000, 500, "modularity_explicitness", "_1000_500", 1e-9),
        ("explicitness", 1000, 500, "modularity_explicitness", "_1000_500", 5e-4),
        ("sap", 500, 300, "sap", "_500_300", 1e-3),
        ("dci", 400, 300, "dci", "_400_300", 0.01),
    ],
)
def test_the_stream_of_the_reference_continues_with_the_test_set(
    name, n_samples, n_test_samples, clean, entangled, within
):
    headline = {
        "modularity": "modularity_score",
        "explicitness": "explicitness_score_test",
        "sap": "SAP_score",
        "dci": "disentanglement",
    }[name]
    for encoder, file, key in (
        (CLEAN, "e2e_clean", clean),
        (ENTANGLED, "e2e_entangled", clean + entangled),
    ):
        scores = evaluate(
            encoder,
            Toy(),
            name,
            n_samples=n_samples,
            n_test_samples=n_test_samples,
            legacy_stream=True,
        )
        reference = stage(file)[NEW]["results"][key]
        assert scores[name] == pytest.approx(reference[headline], abs=within)


# -- argument checks --------------------------------------------------------------------------


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        (lambda images: standard(images)[1:], "one row of codes per image. Got 719 rows for 720"),
        (lambda images: standard(images) / 0 * 0, "`encoder` returns must be finite"),
        (lambda images: images, "`encoder` returns must have two axes"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_faulty_encoders(name, encoder, message):
    with pytest.raises(ValueError, match=message.replace("719", r"\d+").replace("720", r"\d+")):
        evaluate(Model(encoder), Toy(), name, n_samples=1000)


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ("x", "Unknown metric 'x'. Choose from: active_units, beta_vae_score"),
        (["mig", "x"], "Unknown metric 'x'. Choose from: active_units, beta_vae_score"),
        ({"mig": {"bin": 3}}, "'mig' has no setting 'bin'. Choose from: bins"),
        ((), "at least one. Choose from: active_units, beta_vae_score"),
    ],
)
def test_names_are_checked_before_any_work(metrics, message):
    with pytest.raises(ValueError, match=message):
        evaluate(None, Toy(), metrics)


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("n_samples", 1, "`n_samples` must be an integer of at least 2. Got 1"),
        ("n_test_samples", 0, "`n_test_samples` must be an integer of at least 2. Got 0"),
        ("interval", 95, "between 0 and 1. Got 95"),
        ("representation", "means", "Unknown representation 'means'. Choose from: mean, sample"),
    ],
)
def test_arguments_are_checked_before_any_work(argument, value, message):
    with pytest.raises(ValueError, match=message):
        evaluate(None, Toy(), "mig", **{argument: value})


def test_metrics_of_factors_need_labels():
    class Unlabeled:
        def __len__(self):
            return 720

        def images(self, indices):
            return Toy().images(indices)

    with pytest.raises(ValueError, match=r"'mig' and 'factor_vae_score' .* labeled .* Unlabeled"):
        evaluate(standard, Unlabeled(), ["mig", "factor_vae_score"])
    scores = evaluate(ENTANGLED, Unlabeled(), ["unsupervised", "active_units"], n_samples=500)
    assert scores["active_units"] == 5
    assert scores["unsupervised"] > 0
    with pytest.raises(ValueError, match=r"'factor_vae_score' .* labeled"):
        factor_vae_score(standard, SimpleNamespace(images=None))


def test_numbers_of_images_have_a_short_name():
    short = evaluate(ENTANGLED, Toy(), "mig", n=300, test_n=100)
    long = evaluate(ENTANGLED, Toy(), "mig", n_samples=300, n_test_samples=100)
    assert short == long
    with pytest.raises(TypeError, match="`n_samples` is given twice, also as `n`"):
        evaluate(ENTANGLED, Toy(), "mig", n=300, n_samples=300)
