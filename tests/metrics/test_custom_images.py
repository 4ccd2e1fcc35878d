"""Custom images: small sets, rare labels and constant codes."""

import json
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from support.numbered_images import Table, numbered
from support.toy import ENTANGLED, Toy

from keras_disent.datasets import GroundTruth
from keras_disent.metrics import METRICS, evaluate, infomec
from keras_disent.metrics.encoding import CHUNK_BYTES

RNG = np.random.default_rng(0)
WITHOUT_GRID = [name for name, m in METRICS.items() if not m.grid and m.takes != "encoder"]
MANY_TREES = ("dci_es", "downstream", "reduced_downstream", "unified")
N = 150
SHAPE, COLOR, SIZE = RNG.integers(3, size=N), RNG.integers(2, size=N), RNG.integers(4, size=N)
CODES = np.column_stack([SHAPE, COLOR, SIZE]) + 0.1 * RNG.normal(size=(N, 3))
LABELS = {"shape": SHAPE, "color": COLOR, "size": SIZE}


def test_no_image_is_both_fitted_and_tested():
    data, encoder = numbered(LABELS), Table(CODES)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = evaluate(encoder, data, WITHOUT_GRID)
    assert sorted(set(encoder.encoded)) == list(range(N))
    assert len(encoder.encoded) == N  # none was drawn twice
    assert np.isfinite([scores[name] for name in WITHOUT_GRID]).all()
    fitted = scores.settings["dci"]
    assert (fitted["n_samples"], fitted["n_test_samples"], fitted["test_disjoint"]) == (
        100,
        50,
        True,
    )
    assert scores.settings["mig"]["n_samples"] == N
    few = evaluate(Table(CODES), data, ["sap", "mig"], n_samples=60, n_test_samples=30).settings
    assert (few["sap"]["n_samples"], few["sap"]["n_test_samples"], few["mig"]["n_samples"]) == (
        60,
        30,
        60,
    )


@pytest.mark.parametrize("sizes", [(3, 6, 8, 5), (5, 3)])
def test_grids_are_divided_too(sizes):
    class Kept(Toy):
        def images(self, indices):
            indices_drawn.extend(np.asarray(indices).tolist())
            return super().images(indices)

    indices_drawn = []
    scores = evaluate(lambda images: images[:, 0, :, 0] + 0.5, Kept(sizes), "explicitness")
    assert len(indices_drawn) == len(set(indices_drawn)) == np.prod(sizes)
    assert scores.settings["explicitness"]["test_disjoint"]
    legacy = evaluate(
        ENTANGLED, Toy(), "explicitness", n_samples=400, n_test_samples=400, legacy_stream=True
    ).settings["explicitness"]
    assert (legacy["n_samples"], legacy["test_disjoint"]) == (400, False)


def test_codes_that_are_uninformative_about_test_images_are_at_chance():
    """What was fitted to the images tested would tell their labels from memory."""
    noise = Table(RNG.normal(size=(N, 20)))
    scores = evaluate(noise, numbered(LABELS), ["dci", "downstream"])
    assert scores.results["dci"].informativeness_train > 0.95
    assert scores.results["dci"].informativeness_test < 0.55


def test_rare_labels():
    n = 2000
    kind, size = RNG.integers(5, size=n), RNG.integers(4, size=n)
    kind[RNG.choice(n, 15, replace=False)] = np.arange(5, 20)
    codes = np.column_stack([kind, size, RNG.normal(size=n)]) + 0.1 * RNG.normal(size=(n, 3))
    names = ["mig", "modularity", "dci", "sap", "explicitness", "infomec"]
    scores = evaluate(
        Table(codes),
        numbered({"kind": kind, "size": size}),
        names,
        n_samples=300,
        n_test_samples=300,
    )
    assert list(scores) == names
    assert np.isfinite(list(scores.values())).all()
    indices = np.random.default_rng(0).choice(n, 600, replace=False)
    unfitted = np.setdiff1d(kind[indices[300:]], kind[indices[:300]])
    assert unfitted.size
    assert scores.settings["sap"]["test_values_unfitted"] == {"kind": unfitted.tolist()}
    is_fitted = np.isin(kind[indices[300:]], kind[indices[:300]])
    fitted, tested = (
        (codes[part].astype("f4"), np.column_stack([kind, size])[part])
        for part in (indices[:300], indices[300:][is_fitted])
    )
    assert infomec(*fitted, test=tested).modularity == scores["infomec"]


def test_labels_that_identify_single_images():
    names = [f"image {i}" for i in range(N)]
    with pytest.warns(
        UserWarning, match=r"Factor 'file' is left out: 150 of 150 images .*`data.only"
    ):
        scores = evaluate(Table(CODES), numbered({"file": names, **LABELS}), ["mig", "dci"])
    assert scores.settings["mig"]["factors_skipped"] == ["file"]
    assert scores["mig"] == evaluate(Table(CODES), numbered(LABELS), "mig")["mig"]
    with pytest.raises(ValueError, match="Factor 'file' is left out"):
        evaluate(Table(CODES), numbered({"file": names}), "mig")
    with pytest.raises(ValueError, match=r"'step' is left out.*kinds={'step': 'continuous'}"):
        evaluate(Table(CODES), numbered({"step": np.arange(N)}), "mig")


def test_integers_with_many_values_raise_a_warning():
    position = RNG.integers(100, size=N)
    data = {"x": position, "shape": SHAPE}
    codes = Table(np.column_stack([position, SHAPE, RNG.normal(size=N)]))
    with pytest.warns(UserWarning, match=r"Factor 'x' is scored as \d+ separate values.*kinds="):
        low = evaluate(codes, numbered(data), "mig")["mig"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        high = evaluate(codes, numbered(data, kinds={"x": "continuous"}), "mig")["mig"]
        evaluate(codes, numbered(data, kinds={"x": "categorical"}), "mig")
    assert high > low + 0.2


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name in MANY_TREES else ())
        for name in WITHOUT_GRID
    ],
)
def test_constant_codes_and_factors_have_a_score(name):
    constant = evaluate(Table(np.ones((N, 3))), numbered(LABELS), name)
    assert np.isfinite(constant[name])
    wider = numbered({**LABELS, "light": np.full(N, 2.5)})
    expected = evaluate(Table(CODES), numbered(LABELS), name)[name]
    assert evaluate(Table(CODES), wider, name)[name] == expected
    if METRICS[name].takes != "codes":
        with pytest.raises(
            ValueError, match=r"more than one value. Got `factor_sizes` \(1,\) of light"
        ):
            evaluate(Table(CODES), numbered({"light": np.full(N, 2.5)}), name)


def test_one_failure_does_not_affect_the_other_scores():
    data, calls = numbered({"shape": SHAPE, "size": SIZE}), []
    single = Table(CODES[:, :1])
    with pytest.warns(UserWarning, match="no score") as heard:
        scores = evaluate(
            single, data, ["mig", "modularity", "irs"], progress=lambda *done: calls.append(done)
        )
    assert [str(w.message)[:20] for w in heard] == ["'irs' has no score: ", "'mig' has no score: "]
    assert list(scores) == ["modularity"]
    assert calls[-1][1:] == (2, 2)
    assert "at least 2 latents" in scores.failures["mig"]
    with pytest.raises(KeyError, match="'mig' has no score: MIG compares"):
        scores["mig"]
    assert "mig         no score: MIG compares" in str(scores)
    entry = json.loads(scores.to_json())["mig"]
    assert np.isnan(float(entry["value"]))
    assert entry["error"] == scores.failures["mig"]
    assert entry["settings"]["bins"] == 20
    with pytest.raises(ValueError, match=r"^MIG compares"):
        evaluate(single, data, "mig")
    with pytest.raises(ValueError, match=r"'mig': MIG compares.*'sap': SAP compares"):
        evaluate(single, data, ["mig", "sap"])


def test_reasons_name_factors():
    data = numbered({"a": [0, 0, 0, 0, 0, 1], "b": [0, 1, 0, 1, 0, 1]})
    with pytest.warns(UserWarning, match=r"'dci' has no score.*drawn show one value of 'a'"):
        evaluate(Table(RNG.normal(size=(6, 2))), data, ["dci", "unsupervised"])
    many = numbered({"name": [str(i % 30) for i in range(60)], "b": np.arange(60) % 2})
    with pytest.warns(UserWarning, match=r"'sap' has no score.*\d+ values of factor 'name'"):
        evaluate(
            Table(RNG.normal(size=(60, 2))), many, ["mig", "sap"], n_samples=60, n_test_samples=600
        )


def test_scores_without_posteriors_or_intervals():
    function = Table(CODES).encode
    with pytest.warns(UserWarning, match="'rmig' has no score: .*posterior_parameters"):
        assert list(evaluate(function, numbered(LABELS), ["rmig", "mig"])) == ["mig"]
    rare = numbered({"a": [0] * 29 + [1], "b": [0, 1] * 15})
    with pytest.warns(UserWarning, match="'mig' has a score, but no interval: MIG needs"):
        scores = evaluate(
            Table(CODES), rare.only("a"), "mig", n_samples=30, interval=0.9, n_resamples=20
        )
    assert "mig" in scores
    assert not scores.intervals
    assert "MIG needs" in scores.settings["mig"]["interval_error"]


def test_models_of_discrete_codes_are_counted():
    codes = np.round(CODES)
    model, data = Table(codes), numbered(LABELS)
    plain = evaluate(model, data, "infomec")
    model.discrete_codes = True
    scores = evaluate(model, data, ["infomec", "mig"])
    assert scores.settings["infomec"]["discrete"] is True
    assert not plain.settings["infomec"]["discrete"]
    asked = evaluate(model, data, {"infomec": {"discrete": True}})
    assert scores["infomec"] == asked["infomec"] != plain["infomec"]
    refused = evaluate(model, data, {"infomec": {"discrete": False}})
    assert refused["infomec"] == plain["infomec"]


@pytest.mark.parametrize("name", ["mig", "rmig", "factor_vae_score"])
def test_large_images_are_bounded_by_bytes(name):
    class Large(GroundTruth):
        factor_names, factor_sizes, image_shape = ("row", "column"), (30, 30), (700, 700, 3)

        def images(self, indices):
            asked.append(len(indices) * 700 * 700 * 3)
            pixels = np.broadcast_to(np.uint8(7), (len(indices), *self.image_shape))
            return pixels

    def encode(images):
        asked.append(images.size)
        return RNG.normal(size=(len(images), 2))

    asked = []
    model = SimpleNamespace(
        encode=encode, posterior_parameters=lambda images: (encode(images), encode(images))
    )
    small = {"train_votes": 100, "eval_votes": 10, "variance_samples": 1000}
    evaluate(model, Large(), {name: small if name == "factor_vae_score" else {}}, n_samples=200)
    assert CHUNK_BYTES / 2 < max(asked) <= CHUNK_BYTES
