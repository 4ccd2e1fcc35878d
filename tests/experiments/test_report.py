"""Reports of studies: numbers against other ways to them, and a page that stands for itself."""

import html.parser
import io
import itertools
import json
import os
import re
import shutil
import subprocess
import xml.etree.ElementTree

import numpy as np
import pytest
from PIL import Image
from support.checks import on
from support.commands import call, python
from support.studies import METHODS, SUBSET, TOP, finished, run

from keras_disent import datasets, load_model, metrics
from keras_disent.experiments import Run, Study
from keras_disent.experiments.progress import Progress
from keras_disent.experiments.report import (
    agreement,
    comparisons,
    figures,
    frames,
    knobs,
    statistics,
)
from keras_disent.experiments.report.codes import Codes, read_codes
from keras_disent.knobs import engine
from keras_disent.models.saving import write_latent_names

pandas = pytest.importorskip("pandas")
stats = pytest.importorskip("scipy.stats")

SCORED = """
steps = 100
seeds = 5
metrics = [
    "mig", "dci", "sap", "factor_vae_score", "beta_vae_score", "modularity", "irs", "unsupervised"
]
[[methods]]
model = "vae"
[[methods]]
model = "beta_vae"
beta = [16, 4, 8]
[[methods]]
model = "dip_vae"
variant = ["i", "ii"]
lambda_od = [2, 10]
[[methods]]
model = "annealed_vae"
gamma = 100
capacity = ["Linear(0, 16, steps=50)", "Linear(0, 8, steps=50)"]
"""
DRAWN = 300


@pytest.fixture(scope="module")
def made_up(tmp_path_factory):
    """Return the folder of a study with made-up scores, and its report."""
    place = tmp_path_factory.mktemp("made_up") / "study"
    finished(place, SCORED)
    return place, Study.open(place).report(n_resamples=DRAWN)


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """Return the folder of a study with models, and its report."""
    place = tmp_path_factory.mktemp("real") / "study"
    top = TOP.replace('["mig"]', '["mig", "mcc", "unsupervised"]') + "seeds = 3\n"
    run(top + SUBSET + METHODS, place)
    return place, Study.open(place).report(n_resamples=DRAWN, images=20, page=False)


@pytest.fixture
def undrawn(monkeypatch):
    """Leave out what takes longest where the pictures do not matter."""
    blank = io.BytesIO()
    Image.new("1", (4, 4)).save(blank, "png")
    monkeypatch.setattr(figures, "png", lambda figure, colors=None: blank.getvalue())


def frame_of(place, score=None):
    return frames.frame(Study.open(place).table(), score)


def held(report):
    return json.loads(report.json.read_text())


class Page(html.parser.HTMLParser):
    """What a page refers to, shows and leaves open."""

    VOID = ("meta", "img", "br", "link")

    def __init__(self, text):
        super().__init__()
        self.open, self.images, self.ids, self.links, self.refers = [], [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.refers += [
            v for n, v in attributes if n in ("src", "href", "srcset", "data", "action")
        ]
        if tag == "img":
            self.images.append(given)
        if tag == "a":
            self.links.append(given["href"])
        if "id" in given:
            self.ids.append(given["id"])
        assert tag not in ("script", "iframe", "link", "object")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


# -- the page and its numbers ---------------------------------------------------------------------


@pytest.mark.parametrize("which", ["made_up", pytest.param("real", marks=pytest.mark.slow)])
def test_the_page_stands_for_itself(which, request):
    _, report = request.getfixturevalue(which)
    text = report.html.read_text()
    page = Page(text)
    assert not page.open
    assert not re.search(r"https?://|@import|url\(", text)
    assert all(r.startswith(("data:image/png;base64,", "#")) for r in page.refers)
    assert {link[1:] for link in page.links} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert all(image["alt"] and image["width"] and image["height"] for image in page.images)
    data = held(report)
    assert data["findings"] == report.findings
    for key in re.findall(r"<code>([\w.]+)</code>", text):
        part = data
        for name in key.split("."):
            part = part[int(name)] if name.isdigit() else part[name]
        assert part


def test_without_models_three_parts_are_left_out(made_up):
    place, report = made_up
    data = held(report)
    assert report.html.read_text().count("there are none in the runs of this study") == 3
    assert (data["selection"], data["traversals"], data["matching"]) == ({}, {}, {})
    assert {path.name for path in place.iterdir()} >= {"report.html", "report.json", "runs"}


def test_the_numbers_are_those_of_the_runs(made_up):
    place, report = made_up
    data, frame = held(report), frame_of(place)
    table = Study.open(place).table()
    for score in frame.scores:
        own = table[table["score"] == score].set_index("run")["value"]
        assert dict(zip(data["runs"]["run"], data["runs"][score], strict=True)) == own.to_dict()
        drawn = [value for row in data["distributions"][score] for value in row["values"]]
        assert sorted(drawn) == sorted(own)
        for row, rows in zip(data["distributions"][score], frame.groups().values(), strict=True):
            assert row["median"] == pytest.approx(np.median(rows[score]))
            assert row["n"] == 5
    assert (data["study"]["done"], data["study"]["failed"], data["study"]["missing"]) == (50, 0, 0)


def test_settings_are_told_from_methods(made_up):
    frame = frame_of(made_up[0])
    assert [setting.name for setting in frame.settings.values()] == [
        "vae",
        "beta_vae, beta 4",
        "beta_vae, beta 8",
        "beta_vae, beta 16",
        "dip_vae i, lambda_od 2",
        "dip_vae i, lambda_od 10",
        "dip_vae ii, lambda_od 2",
        "dip_vae ii, lambda_od 10",
        "annealed_vae, capacity end 8",
        "annealed_vae, capacity end 16",
    ]
    assert [frame.chain(method) for method in frame.methods] == [False, True, True, True, True]
    assert (frame.main, frame.baseline, frame.terms) == ("mig", "vae", ("reconstruction", "kl"))


def test_schedules_of_several_kinds_are_methods_of_their_own(tmp_path, undrawn):
    text = """
    seeds = 3
    metrics = ["mig"]
    [[methods]]
    model = "beta_vae"
    beta = [1, "Cyclical(0, 4, period=20)", "Linear(0, 4, steps=9)", "Linear(0, 8, steps=9)"]
    [[methods]]
    model = "annealed_vae"
    capacity = ["Linear(0, 4, steps=9)", "Linear(0, 8, steps=9)"]
    """
    finished(tmp_path / "study", text, of_run=lambda run, rng: {"mig": rng.random()})
    settings = frame_of(tmp_path / "study").settings.values()
    assert {setting.name for setting in settings} == {
        "beta_vae beta 1",
        "beta_vae beta Cyclical(start=0, end=4, period=20, rising=0.5)",
        "beta_vae beta Linear(start=0, end=4, steps=9)",
        "beta_vae beta Linear(start=0, end=8, steps=9)",
        "annealed_vae, capacity end 4",
        "annealed_vae, capacity end 8",
    }
    made = Study.open(tmp_path / "study").report(n_resamples=DRAWN)
    shares = held(made)["variance"][0]["adjusted"]
    assert min(shares["method"], shares["strength"]) < 0 < shares["seed"]
    (said,) = (text for text in made.findings if "f the variance of mig" in text)
    assert "-" not in said
    percents = [int(word) for word in re.findall(r"(\d+) %", said)][:3]
    assert sum(percents) == pytest.approx(100, abs=1)


def test_a_folder_may_be_named_like_a_call(tmp_path, undrawn, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("faces", "faces(1)"):
        (tmp_path / name).mkdir()
        for i in range(3):
            Image.new("L", (8, 8), 20 * i).save(tmp_path / name / f"{i}.png")
    text = """
    data = ["faces", "faces(1)"]
    image_size = 32
    player_batch = 2
    network = "mlp"
    metrics = ["active_units"]
    [[methods]]
    model = "vae"
    """
    finished(tmp_path / "study", text, of_run=lambda run, rng: {"active_units": rng.random()})
    settings = frame_of(tmp_path / "study").settings.values()
    assert {setting.name for setting in settings} == {"vae faces", "vae faces(1)"}


def test_values_that_are_no_numbers_are_left_out_and_counted(tmp_path, undrawn):
    def scores(run, rng):
        if run.model == "vae" and run.seed == 0:
            return {"mig": 0.5, "unsupervised": None, "mcc": None}
        return {"mig": rng.random(), "unsupervised": rng.random(), "mcc": None}

    text = "seeds = 4\nmetrics = ['mig', 'unsupervised', 'mcc']\n" + METHODS
    finished(tmp_path / "study", text, of_run=scores)
    data = held(Study.open(tmp_path / "study").report(n_resamples=DRAWN))
    assert data["study"]["values_not_finite"] == 13
    assert set(data["distributions"]) == {"mig", "unsupervised"}
    assert [row["n"] for row in data["distributions"]["unsupervised"]] == [4, 4, 3]
    assert data["rank_correlation"]["n"] == 11
    assert data["tradeoff"] == {}  # there is no reconstruction


def test_no_score_is_a_number(tmp_path):
    text = "metrics = ['mig', 'mcc']\n" + METHODS
    finished(tmp_path / "study", text, of_run=lambda run, rng: {"mig": None, "mcc": None})
    with pytest.raises(ValueError, match=r"No run of the study has a finite score of mig, mcc"):
        Study.open(tmp_path / "study").report(n_resamples=DRAWN)


def test_one_method_one_run(tmp_path, undrawn):
    finished(tmp_path / "study", "metrics = ['mig']\n[[methods]]\nmodel = 'vae'\n")
    data = held(Study.open(tmp_path / "study").report(n_resamples=DRAWN))
    assert data["findings"][0].startswith("1 run done: 1 method, 1 seed.")
    assert (data["variance"], data["rank_correlation"]) == ({}, {})
    assert data["tradeoff"]["mig"][0]["y_interval"] is None


def test_failed_and_missing_runs_are_told(tmp_path, undrawn):
    place = tmp_path / "study"
    plan = finished(place, SCORED)
    for one in plan.runs[:3]:
        (plan.place(one) / "progress.json").unlink()
    Progress(state="failed", error="a < b").write(plan.place(plan.runs[0]))
    report = Study.open(place).report(tmp_path / "out", n_resamples=DRAWN)
    study = held(report)["study"]
    assert (study["done"], study["failed"], study["missing"]) == (47, 1, 2)
    assert study["failures"] == {plan.runs[0].name: "a < b"}
    assert "a &lt; b" in report.html.read_text()
    assert not (place / "report.html").exists()


# -- statistics -----------------------------------------------------------------------------------


def test_shares_of_variance_are_those_of_regressions(made_up):
    runs_ = frame_of(made_up[0]).runs
    values = runs_["mig"].to_numpy()
    r2 = []
    for name in ("method", "label"):
        design = pandas.get_dummies(runs_[name]).to_numpy(float)
        fitted = design @ np.linalg.lstsq(design, values, rcond=None)[0]
        r2.append((np.var(fitted) / np.var(values), design.shape[1]))
    (method, k), (both, cells) = r2
    n = len(values)
    plain, adjusted = statistics.explained(values, runs_["method"], runs_["label"])
    np.testing.assert_allclose(plain, [method, both - method, 1 - both])
    fixed = [1 - (1 - r) * (n - 1) / (n - c) for r, c in ((method, k), (both, cells))]
    np.testing.assert_allclose(adjusted, [fixed[0], fixed[1] - fixed[0], 1 - fixed[1]])
    ends = statistics.explained_intervals(values, runs_["method"], runs_["label"], 500)
    assert all(low < share < high for (low, high), share in zip(ends, adjusted, strict=True))


def test_shares_of_known_variances():
    rng = np.random.default_rng(0)
    rows = list(itertools.product(range(40), range(40), range(10)))
    methods, labels = [r[0] for r in rows], [r[0] * 40 + r[1] for r in rows]
    effects = rng.normal(scale=2, size=40), rng.normal(scale=1, size=1600)
    values = effects[0][methods] + effects[1][labels] + rng.normal(scale=1.5, size=len(rows))
    parts = np.array([np.var(effects[0]), np.var(effects[1]), 1.5**2])
    _, adjusted = statistics.explained(values, methods, labels)
    np.testing.assert_allclose(adjusted, parts / parts.sum(), atol=0.02)


def test_intervals_hold_the_mean_as_often_as_they_say():
    rng, held_mean = np.random.default_rng(0), 0
    for i in range(400):
        rows = pandas.DataFrame({"x": rng.normal(size=5)})
        low, high = statistics.intervals({"a": rows}, ["x"], 1000, seed=i)["a"]["x"]
        held_mean += low < 0 < high
    assert 0.90 < held_mean / 400 < 0.98  # the plain percentile interval: 0.83


def test_resampled_means_are_those_of_drawn_rows():
    values = np.arange(6.0).reshape(3, 2)
    draws = statistics.resampled_means(values, 20_000)
    assert set(np.round(draws[:, 0] * 3)) == {0, 2, 4, 6, 8, 10, 12}
    np.testing.assert_allclose(draws[:, 1] - draws[:, 0], 1)
    np.testing.assert_allclose(draws.mean(0), values.mean(0), atol=0.05)


def test_rank_correlations_are_those_of_scipy(made_up):
    frame = frame_of(made_up[0])
    names, matrix, n = statistics.rank_correlations(frame.runs, frame.scores)
    np.testing.assert_allclose(matrix, stats.spearmanr(frame.runs[names]).statistic)
    assert n == 50
    assert held(made_up[1])["rank_correlation"]["matrix"] == matrix.tolist()


def test_permutations_are_those_of_scipy():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=5) + 1, rng.normal(size=5)
    exact = stats.permutation_test((a, b), lambda x, y: np.mean(x) - np.mean(y))
    assert comparisons.permuted(a, b) == pytest.approx(exact.pvalue)
    many = rng.normal(size=40) + 0.5, rng.normal(size=40)
    assert comparisons.permuted(*many) == pytest.approx(stats.ttest_ind(*many).pvalue, abs=0.01)
    assert comparisons.permuted([1.0] * 4, [1.0] * 4) == 1
    gap, (low, high), test, p = comparisons.difference(rng.normal(size=200) + 1, [0.0, 1, -1] * 9)
    assert (low < gap < high, test, p < 1e-4) == (True, "Welch", True)


def test_holm():
    np.testing.assert_allclose(comparisons.holm([0.02, 0.01, 0.03, 0.9]), [0.06, 0.04, 0.06, 0.9])
    assert comparisons.holm([]).size == 0


def test_a_setting_is_chosen_by_other_seeds():
    table = pandas.DataFrame(
        {"a": [0.0, 1.0, 1.0], "b": [9.0, 0.0, 0.0]},
    )
    rows = [
        {"label": label, "method": "m", "seed": seed, "mig": table[label][seed]}
        for label in table
        for seed in range(3)
    ]
    settings = {label: frames.Setting(label, "m", {}) for label in table}
    frame = frames.Frame(pandas.DataFrame(rows), settings, ("mig",), (), "mig", "m", 0)
    # Seed 0: others favor a, where it has 0; seeds 1 and 2: others favor b, where they have 0.
    assert comparisons.best_setting(frame, "m", "mig").tolist() == [0, 0, 0]


def test_nothing_is_found_where_there_is_nothing(tmp_path):
    def noise(run, rng):
        return {"mig": rng.random(), "reconstruction": rng.random()}

    text = SCORED.replace("seeds = 5", "seeds = 10")
    wrong = []
    for seed in range(4):
        place = tmp_path / str(seed)
        finished(place, text, seed, noise)
        found = comparisons.families(frame_of(place), DRAWN)
        wrong += [any(c.significant and c.score == "mig" for c in f) for f in found.values()]
    assert sum(wrong) <= 2


# -- models ---------------------------------------------------------------------------------------


def test_codes_are_kept_with_the_runs(real, monkeypatch, undrawn):
    place, report = real
    monkeypatch.setattr(Run, "model", None)
    again = Study.open(place).report(n_resamples=DRAWN, images=20, page=False)
    assert again.json.read_bytes() == report.json.read_bytes()
    codes = read_codes(sorted((place / "runs").iterdir()))
    assert len(codes) == 9
    assert {one.means.shape for one in codes.values()} == {(1000, 3)}


def test_udr_and_matching_are_those_of_the_models(real):
    place, report = real
    data, plan = held(report), Study.open(place)
    label = plan.runs[0].label
    names = [run.name for run in plan.runs if run.label == label]
    data_set = Run.open(plan.place(plan.runs[0])).data
    images = datasets.example_images(data_set, 1000)[:20]
    models = [load_model(place / "runs" / name) for name in names]
    means = [model.encode(images) for model in models]
    all_images = datasets.example_images(data_set, 1000)
    expected = metrics.udr(means, [model.latent_kl(all_images) for model in models])
    for name, value in zip(names, expected.model_scores, strict=True):
        assert data["selection"]["udr"][name] == pytest.approx(value, abs=1e-5)
    assert {row["run"] for row in data["matching"]["runs"]} == {run.name for run in plan.runs}
    assert [row["which"] for row in data["traversals"]] == ["best", "median", "worst"]
    best = max(zip(data["runs"]["mig"], data["runs"]["run"], strict=True))
    assert data["traversals"][0]["mig"] == best[0]


def test_matching_finds_what_was_mixed():
    rng = np.random.default_rng(0)
    latents = rng.normal(size=(500, 4))
    still = np.zeros((500, 1))
    first = Codes(np.hstack([latents, still]), None, (latents[:, :1] > 0) * 1, ("side",))
    other = Codes(-(latents[:, [2, 0, 1]] ** 3), None, None, ())
    ((one, two),) = agreement.matched({"a": first, "b": other}, {"x": ["a", "b"]}).values()
    assert one.names[:3] == ("z0 side", "z1", "z2")
    np.testing.assert_allclose(one.correlations[:, 0], [1, 1, 1, 0])
    assert (one.share, two.share, one.mean) == (0.75, 1, pytest.approx(0.75))
    assert agreement.matched({"a": first}, {"x": ["a", "b"]}) == {}
    assert agreement.udr({"a": first, "b": other}, {"x": ["a", "b"]}) == {}
    dead = Codes(np.zeros((500, 2)), None, None, ())
    pair = agreement.matched({"a": dead, "b": first}, {"x": ["a", "b"]})["x"]
    assert (pair[0].share, pair[0].mean, pair[1].share) == (0, 0, 0)


# -- the command, and what goes wrong -------------------------------------------------------------


def test_the_command_writes_a_report(made_up, tmp_path, capsys, undrawn):
    out = tmp_path / "out"
    assert call("study", "report", made_up[0], "--out", out, "--score", "sap") == 0
    shown = capsys.readouterr().out
    assert "median sap than vae" in shown
    assert sorted(path.name for path in out.iterdir()) == ["report.html", "report.json"]


def test_reports_that_cannot_be_made(made_up, tmp_path, refused):
    place = made_up[0]
    assert "Unknown score of this study 'migg'. Choose from: beta_vae_score" in refused(
        "study", "report", place, "--score", "migg", "--out", tmp_path / "out"
    )
    assert "`images` must be an integer of at least 10. Got 1." in refused(
        "study", "report", place, "--images", "1", "--out", tmp_path / "out"
    )
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").write_text("")
    assert "Cannot write into" in refused("study", "report", place, "--out", tmp_path / "file")
    assert "There is none in" in refused("study", "report", tmp_path)


@pytest.mark.parametrize("name", ["progress.json", "scores.json"])
def test_a_damaged_result_is_named(name, made_up, tmp_path):
    place = shutil.copytree(made_up[0], tmp_path / "study")
    one = Study.open(place).runs[7]
    (place / "runs" / one.name / name).write_text("{")
    before = (place / "report.json").read_bytes()
    with pytest.raises(ValueError, match=rf"{one.name}.{name}' is not the"):
        Study.open(place).report()
    assert (place / "report.json").read_bytes() == before


@on("tensorflow")
@pytest.mark.slow
@pytest.mark.skipif(not engine.installed(), reason=f"needs the engine: {engine.CURE}")
def test_the_best_run_has_a_page_beside_the_report(real, tmp_path, undrawn):
    pytest.importorskip("tf2onnx")
    place = shutil.copytree(real[0], tmp_path / "study")
    out = tmp_path / "out"
    options = {"images": 20, "n_resamples": DRAWN}
    report = Study.open(place).report(out, **options)
    data = held(report)
    best = max(zip(data["runs"]["mig"], data["runs"]["run"], strict=True))[1]
    assert data["knobs"] == {"run": best, "page": "knobs.html"}
    page = Page(report.html.read_text())
    assert "knobs.html" in page.links
    text = (out / "knobs.html").read_text()
    assert str(place / "runs" / best) in text
    (out / "knobs.html").write_text("kept")
    assert held(Study.open(place).report(out, **options))["knobs"] == data["knobs"]
    assert (out / "knobs.html").read_text() == "kept"


def test_the_page_of_the_best_run_is_linked_and_kept(tmp_path, undrawn, monkeypatch):
    def write(run, page, imports):
        written.append(run.name)
        page.write_text("page")
        return ""

    written = []
    monkeypatch.setattr(knobs, "_write", write)
    text = "seeds = 3\nmetrics = ['mig']\n[[methods]]\nmodel = 'vae'\n"
    finished(tmp_path / "study", text, of_run=lambda run, rng: {"mig": (2, 9, 4)[run.seed] / 10})
    study = Study.open(tmp_path / "study")
    assert "knobs" not in held(study.report(n_resamples=DRAWN))  # no run has a model
    models = [study.place(run) / "model.keras" for run in study.runs]
    for model in models[::2]:
        model.write_text("model")
    second = study.runs[2].name
    for _ in range(2):
        report = study.report(n_resamples=DRAWN)
        assert held(report)["knobs"] == {"run": second, "page": "knobs.html"}
        assert "knobs.html" in Page(report.html.read_text()).links
        assert written == [second]
    os.utime(models[2], (2e9, 2e9))  # it has been trained on
    study.report(n_resamples=DRAWN)
    models[1].write_text("model")
    assert "seed 1" in study.report(n_resamples=DRAWN).html.read_text()
    assert written == [second, second, study.runs[1].name]


@on("torch")
def test_a_report_does_not_need_the_page(tmp_path, undrawn):
    finished(tmp_path / "study", "metrics = ['mig']\n[[methods]]\nmodel = 'vae'\n")
    study = Study.open(tmp_path / "study")
    (study.place(study.runs[0]) / "model.keras").write_text("no model")
    report = study.report(n_resamples=DRAWN)
    said = held(report)["knobs"]
    assert (said["run"], said["page"]) == (study.runs[0].name, None)
    assert said["reason"].startswith("A run folder holds config.json.")
    assert "\n" not in said["reason"]
    shown = report.html.read_text()
    assert "Left out: there is no page of knobs of vae" in shown
    assert "knobs.html" not in {path.name for path in study.folder.iterdir()}
    assert "knobs" not in held(study.report(n_resamples=DRAWN, page=False))


@pytest.mark.parametrize("name", ["codes.npz", "traversal.png"])
def test_a_damaged_file_of_a_model_is_named(name, real, tmp_path):
    place = shutil.copytree(real[0], tmp_path / "study")
    for one in Study.open(place).runs:
        (place / "runs" / one.name / name).write_bytes(b"no")
    with pytest.raises(ValueError, match=rf"{name}' is not "):
        Study.open(place).report(images=20, n_resamples=DRAWN, page=False)


def test_no_run_is_done(tmp_path):
    place = tmp_path / "study"
    plan = finished(place, "[[methods]]\nmodel = 'vae'\n")
    (plan.place(plan.runs[0]) / "progress.json").unlink()
    with pytest.raises(ValueError, match="No run of the study is done"):
        Study.open(place).report()


@on("torch")
def test_without_pandas_it_says_what_to_install(tmp_path):
    finished(tmp_path / "study", "[[methods]]\nmodel = 'vae'\n")
    place = str(tmp_path / "study")
    code = f"from keras_disent.experiments import Study\nStudy.open({place!r}).report()"
    status, _, last = python(code, hidden=("pandas", "pyarrow"))
    assert status == 1
    assert "pip install 'keras-disent[stu" in last


def test_findings_are_words_for_numbers(made_up):
    found = held(made_up[1])
    frame = frame_of(made_up[0])
    medians = frame.runs.groupby("method")["mig"].median()
    ahead = int((medians.drop("vae") > medians["vae"]).sum())
    sure = [
        c
        for c in found["comparisons"]["methods"]
        if c["score"] == "mig" and c["second"] == "vae" and c["significant"]
    ]
    (said,) = (text for text in found["findings"] if "better median mig" in text)
    assert said.startswith(f"{ahead} of 4 methods have a better median mig than vae")
    assert f"{len(sure)} of 4 differ" in said
    assert any("With 5 seeds a setting" in text for text in found["findings"])


# -- small studies --------------------------------------------------------------------------------


VAE = "[[methods]]\nmodel = 'vae'\n"
BETA_VAE = "[[methods]]\nmodel = 'beta_vae'\nbeta = "
SMALL_STUDIES = {
    "one method, one seed": f"seeds = 1\n{VAE}",
    "one method": f"seeds = 3\n{VAE}",
    "one seed": f"seeds = 1\n{VAE}{BETA_VAE}4\n",
    "two methods": f"seeds = 3\n{VAE}{BETA_VAE}4\n",
    "one strength": f"seeds = 4\n{BETA_VAE}[1, 4]\n",
}


@pytest.mark.parametrize("text", SMALL_STUDIES.values(), ids=SMALL_STUDIES)
def test_small_studies_have_no_empty_sentences(text, tmp_path, undrawn):
    finished(tmp_path / "study", "metrics = ['mig', 'dci']\n" + text)
    report = Study.open(tmp_path / "study").report(n_resamples=DRAWN)
    empty = r"none of [01]\b|\b0 of|\b1 (seeds|runs|methods|settings|pairs)|nan"
    assert not [text for text in report.findings if re.search(empty, text)]
    assert report.findings[0].startswith(f"{len(Study.open(tmp_path / 'study').runs)} run")


def test_failed_runs_are_counted_and_said(tmp_path, undrawn):
    study = finished(tmp_path / "study", f"seeds = 2\n{VAE}{BETA_VAE}4\n")
    for one in study.runs[2:]:
        Progress(state="failed", error="ValueError: no").write(study.place(one))
    report = Study.open(tmp_path / "study").report(n_resamples=DRAWN)
    assert report.findings[0] == "2 runs done, 2 failed or not done: 1 method, 2 seeds."
    assert len(report.findings) < 5


def test_a_study_without_scores_reports_its_terms(tmp_path, undrawn):
    def terms(run, rng):
        return {"loss": rng.normal() + 60, "reconstruction": rng.normal() + 50, "kl": 9.0}

    finished(tmp_path / "study", SMALL_STUDIES["two methods"], of_run=terms)
    report = Study.open(tmp_path / "study").report(n_resamples=DRAWN, paper=True)
    assert held(report)["score"] == "reconstruction"
    assert r"& reconstruction $\downarrow$" in report.latex.read_text()


# -- for papers -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def paper(made_up, tmp_path_factory):
    """Return the report of the made-up study with all that a paper takes."""
    out = tmp_path_factory.mktemp("paper")
    return Study.open(made_up[0]).report(out, n_resamples=DRAWN, paper=True)


def test_the_table_has_every_mean_with_its_interval(paper, made_up):
    frame, text = frame_of(made_up[0]), paper.latex.read_text()
    data = held(paper)
    rows = [line for line in text.splitlines() if line.endswith("\\\\")][1:]
    assert len(rows) == len(frame.settings)
    for row, setting in zip(rows, frame.settings.values(), strict=True):
        name, *cells = (part.strip() for part in row.removesuffix("\\\\").split(" & "))
        assert name.startswith(latex_method(setting.method))
        own = {r["setting"]: r for r in data["distributions"]["mig"]}[setting.name]
        low, high = own["interval_of_mean"]
        assert f"{own['mean']:.2f}" in cells[0]
        assert f"[{low:.2f}, {high:.2f}]".replace("-", "$-$") in cells[0]


def latex_method(name):
    from keras_disent.experiments import latex

    return latex.method(name)


def test_the_best_is_bold_and_so_are_its_ties(tmp_path):
    levels = {"vae": 0.1, "beta_vae": 0.5, "annealed_vae": 0.9, "factor_vae": 0.9}

    def clear(run, rng):
        noise = 0.001 * run.seed
        return {"mig": levels[run.model] + noise, "sap": 0.5 + noise, "reconstruction": 50 + noise}

    methods = "".join(f"[[methods]]\nmodel = '{name}'\n" for name in levels)
    study = finished(
        tmp_path / "study", "seeds = 8\nmetrics = ['mig', 'sap']\n" + methods, 0, clear
    )
    frame = frames.frame(study.table())
    labels = {run.model: run.label for run in study.runs}
    from keras_disent.experiments.report.latex import best, table

    assert set(best(frame, "mig")) == {labels["annealed_vae"], labels["factor_vae"]}
    assert len(best(frame, "sap")) == 4  # nothing differs
    ends = statistics.intervals(frame.groups(), frame.scores, DRAWN)
    text = table(frame, ends, DRAWN)
    assert text.count("\\textbf{0.90}") == 2
    assert text.count("\\textbf{0.50}") == 1
    assert "SAP $\\uparrow$$^\\dagger$" in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="LaTeX is not installed")
def test_latex_takes_the_table_and_the_figures(paper, tmp_path):
    figures_ = "".join(
        f"\\includegraphics[width=4cm]{{{path}}}\n" for path in sorted(paper.figures.glob("*.pdf"))
    )
    (tmp_path / "paper.tex").write_text(
        "\\documentclass[a4paper,landscape]{article}\\usepackage{booktabs,graphicx}\n"
        f"\\begin{{document}}\n{paper.latex.read_text()}\n{figures_}\n\\end{{document}}\n"
    )
    done = subprocess.run(
        ["pdflatex", "-halt-on-error", "paper"], cwd=tmp_path, capture_output=True, timeout=300
    )
    assert done.returncode == 0, done.stdout[-2000:].decode(errors="replace")


def test_every_figure_is_there_as_pdf_and_svg(paper):
    names = {path.name for path in paper.figures.iterdir()}
    stems = {name.removesuffix(".pdf") for name in names if name.endswith(".pdf")}
    assert names == {f"{stem}{end}" for stem in stems for end in (".pdf", ".svg")}
    assert len(stems) == paper.html.read_text().count("<img ")
    assert {"distributions_mig", "tradeoff_mig", "rank_correlation", "variance"} <= stems
    for stem in stems:
        assert (paper.figures / f"{stem}.pdf").read_bytes().startswith(b"%PDF")
        xml.etree.ElementTree.parse(paper.figures / f"{stem}.svg")
    assert b"/Type3" not in (paper.figures / "distributions_mig.pdf").read_bytes()


def test_published_scores_stand_beside_ours_with_what_differs(tmp_path, undrawn):
    text = "[[methods]]\nmodel = 'factor_vae'\n[[methods]]\nmodel = 'vae'\n"
    top = "data = 'scenes3d'\nimage_size = 32\nseeds = 3\nmetrics = ['mig', 'dci']\n"
    finished(tmp_path / "study", top + text)
    report = Study.open(tmp_path / "study").report(n_resamples=DRAWN)
    rows = {row["score"]: row for row in held(report)["published"]}
    assert {name: row["published"] for name, row in rows.items()} == {
        "factor_vae_score": 0.840,
        "dci": 0.611,
    }
    row = rows["dci"]
    own = held(report)["distributions"]["dci"]
    assert row["here"] == pytest.approx(next(r["mean"] for r in own if r["method"] == "factor_vae"))
    assert row["what_differs"] == (
        "scenes3d is drawn after shapes3d; images of 32 instead of 64 pixels"
    )


def test_latents_are_called_by_their_names(real, tmp_path):
    place = shutil.copytree(real[0], tmp_path / "study")
    one = Study.open(place).runs[0]
    names = ("girth", "height", "z2")
    write_latent_names(place / "runs" / one.name / "model.keras", names)
    encoded = read_codes([place / "runs" / one.name])[one.name]
    assert [encoded.latent(i) for i in range(3)] == list(names)
    report = Study.open(place).report(tmp_path / "out", n_resamples=DRAWN, images=20, page=False)
    entry = next(run for run in held(report)["matching"]["runs"] if run["run"] == one.name)
    assert entry["latents"]
    assert all(name.split()[0] in names for name in entry["latents"])
    assert any(name.split()[0] in ("girth", "height") for name in entry["latents"])
