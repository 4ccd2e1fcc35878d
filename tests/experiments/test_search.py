"""Searches: what they try, what they keep, and that a kill costs no more than the trial it hits."""

import csv
import dataclasses
import json
import shutil
import signal
import sys

import numpy as np
import pytest
from PIL import Image
from support import checks
from support.checks import BACKEND, assert_same, on, state
from support.commands import call, files, process, wait_for

import keras_disent
from keras_disent import load_model, metrics, models, schedules
from keras_disent.experiments import Config, Run, Search, Study, log, objectives, spaces
from keras_disent.experiments import search as search_module
from keras_disent.experiments.config import options_of
from keras_disent.experiments.oracle import ORACLES
from keras_disent.experiments.progress import Progress
from keras_disent.experiments.store import write_json
from keras_disent.models.hyperparameters import Range, Values

pytest.importorskip("pandas")

TINY = dataclasses.replace(checks.TINY, model="beta_vae", steps=3, epoch_steps=2)
BETA = {"beta": (1, 16)}


def change(**fields):
    return dataclasses.replace(TINY, **fields)


def search(trials=2, **fields):
    given = {"objective": "mig", "space": BETA, **fields}
    return Search(given.pop("config", TINY), trials=trials, **given)


def do(search, folder):
    """Make a search in this process; return its study."""
    study = Study.create(search, folder)
    study.run(n_jobs=1)
    return study


@pytest.fixture
def instant(monkeypatch):
    """Let a run take no time: its score follows from its hyperparameters and the seed."""
    started = []

    def perform(study, run):
        place = study.place(run)
        if Progress.read(place).state:
            return "done"
        started.append(run.name)
        place.mkdir(parents=True, exist_ok=True)
        beta = run.config["options"]["beta"]
        score = 1 / (1 + abs(np.log(beta / 4))) + run.seed / 100
        values = {"mig": score, "reconstruction": float(beta), "loss": 1.0}
        entries = {name: {"value": float(value)} for name, value in values.items()}
        write_json(place / "scores.json", entries)
        Progress("done", run.steps, 1.0, backend=BACKEND, version="0").write(place)
        return "done"

    objective = objectives.Objective("mig", "mig", "metric", higher=True)
    monkeypatch.setattr(objectives, "goal", lambda *given: objective)
    monkeypatch.setattr(Config, "load_data", lambda config: None)
    monkeypatch.setattr(search_module, "perform", perform)
    monkeypatch.setattr(search_module, "_begin_at_shorter", lambda *given: None)
    return started


# -- spaces ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", models.MODELS)
def test_every_model_declares_what_is_tuned(name):
    space = spaces.space_of(Config(model=name))
    assert {"learning_rate", "width"} < set(space)
    assert {"latent_dim", "concept_dim"} & set(space)
    own = set(space) - set(models.VAE.tunable)
    assert bool(own) == (name not in ("vae", "autoencoder"))
    options = options_of(models.MODELS[name])
    assert own <= set(options)


@on("torch")
@pytest.mark.parametrize("name", models.MODELS)
def test_both_ends_of_every_space_build(name):
    config = change(model=name, data="pendulum" if name == "causal_vae" else "sprites")
    if name == "causal_vae":
        config = dataclasses.replace(config, subset=None, image_size=None)
    space = spaces.space_of(config)
    data = config.load_data()
    for values in spaces.ends(space):
        chosen = spaces.configured(config, space, {**values, "width": 0.02})
        model = chosen.build(data)
        for option, value in values.items():
            if option in options_of(type(model)) and not space[option].grows:
                assert getattr(model, option) == value
        if "latent_dim" in values:
            assert model.latent_dim == values["latent_dim"]
        first = model.optimizer if not hasattr(model.optimizer, "by_player") else None
        if first is not None:
            assert float(first.learning_rate) == pytest.approx(values["learning_rate"])


def test_ranges_given_are_the_only_ones_tuned():
    space = spaces.space_of(TINY, {"beta": (2, 8), "learning_rate": None, "network": ["mlp"]})
    assert space == {
        "beta": Range(2, 8),
        "learning_rate": models.BetaVAE.tunable["learning_rate"],
        "network": Values(("mlp",)),
    }
    assert spaces.space_of(TINY, {"beta": (0, 8)})["beta"] == Range(0, 8, "linear")
    assert spaces.space_of(TINY, {"latent_dim": (2, 5)})["latent_dim"].scale == "whole"
    assert spaces.space_of(TINY, {"beta": [1, 4]})["beta"] == Values((1, 4))


def test_a_trial_is_a_run_with_other_values():
    space = spaces.space_of(TINY, {"beta": (1, 16), "width": (0.01, 0.02), "latent_dim": (2, 5)})
    values = {"beta": 3.0, "width": 0.015, "latent_dim": 4}
    expected = change(seed=3, latent_dim=4, width=0.015, options={"beta": 3.0})
    assert spaces.configured(TINY, space, values, execution=2) == expected


def test_a_capacity_grows_over_the_run():
    config = change(model="annealed_vae", steps=100)
    space = spaces.space_of(config, {"capacity": None})
    model = spaces.configured(config, space, {"capacity": 20.0}).build(config.load_data())
    assert isinstance(model.capacity, schedules.Linear)
    assert (model.capacity.end, model.capacity.steps) == (20.0, 100)


WRONG = {
    "name": ({"gamma": (1, 2)}, r"BetaVAE has no hyperparameter 'gamma'. Choose from: beta, learn"),
    "inverted": ({"beta": (4, 1)}, r"Range of 'beta': A range goes from .* higher one. Got 4 to 1"),
    "empty": ({"beta": (4, 4)}, r"from a number up to a higher one. Got 4 to 4"),
    "no values": ({"beta": []}, r"A list of values holds at least one"),
    "values twice": ({"beta": [1, 1]}, r"each once. Got \(1, 1\)"),
    "not finite": ({"beta": (1, float("inf"))}, r"A range is \(low, high\), or a list of values."),
    "text": ({"beta": "much"}, r"A range is \(low, high\), or a list of values. Got 'much'"),
    "below 0 on a log scale": ({"learning_rate": (-1, 1)}, r"starts above 0. Got -1"),
    "not whole": ({"latent_dim": (2.5, 4)}, r"whole numbers ends at whole numbers"),
    "no range": ({"likelihood": None}, r"BetaVAE declares no range of 'likelihood': give one"),
    "nothing": ({}, r"A search tunes at least one hyperparameter"),
}


@pytest.mark.parametrize(("space", "message"), WRONG.values(), ids=WRONG)
def test_wrong_ranges_are_told(space, message):
    with pytest.raises(ValueError, match=message):
        Search(TINY, "mig", space)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"trials": 0}, r"`trials` must be an integer of at least 1. Got 0"),
        ({"executions": 0}, r"`executions` must be an integer of at least 1. Got 0"),
        ({"tuner": "annealing"}, r"Unknown tuner 'annealing'. Choose from: bayesian, grid, hyper"),
        ({"objective": "migg"}, r"Unknown objective 'migg'. Terms of BetaVAE: loss, .*mig, "),
        ({"objective": "val_"}, r"Unknown objective 'val_'"),
        ({"objective": "-mig"}, r"A sign is for terms of BetaVAE .* 'mig' has its own direction"),
        ({"objective": "udr"}, r"'udr' compares the seeds of a trial, at least 2. Got 1"),
        ({"objective": "mig@much"}, r"A bound is a number of nats, such as mig@50"),
        ({"space": {"latent_dim": [1, 4]}}, r"'mig' compare latents"),
        ({"space": {"network": ["mlp", "cnn", "conv"]}}, r"Unknown network 'cnn'"),
        ({"space": {"beta": [1, -1, 4], "width": (0.01, 0.02)}}, r"`beta` is a number of at least"),
        ({"space": {"beta": (-1, 4)}}, r"Range of 'beta': A range on a log scale starts above 0"),
        ({"space": {"beta": [-1, 4]}}, r"`beta` is a number of at least 0"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(fields, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        Study.create(search(**fields), tmp_path / "search")
    assert list(tmp_path.iterdir()) == []


# -- objectives -----------------------------------------------------------------------------------


class Terms:
    terms = ("loss", "reconstruction", "kl")
    posterior_parameters = None


def named(text, data=None, seeds=2):
    return objectives.Objective.named(text, Terms(), data or TINY.load_data(), seeds, 3)


@pytest.mark.parametrize(
    ("text", "key", "higher", "score"),
    [
        ("mig", "val_mig", True, 0.5),
        ("val_mig", "val_mig", True, 0.5),
        ("loss", "val_loss", False, 90.0),
        ("val_kl", "val_kl", False, 7.0),
        ("-reconstruction", "-reconstruction", True, -60.0),
        ("+kl", "+kl", True, 7.0),
        ("unsupervised", "val_unsupervised", False, 1.5),
        ("total_correlation", "total_correlation", False, 1.5),
        ("total_correlation@58", "total_correlation@58", False, 21.5),
        ("mig@58", "mig@58", True, 0.5 - 20),
        ("mig@60", "mig@60", True, 0.5),
    ],
)
def test_objectives_by_name(text, key, higher, score):
    objective = named(text)
    assert (objective.key, objective.higher) == (key, higher)
    found = {"loss": 90.0, "reconstruction": 60.0, "kl": 7.0, "mig": 0.5, "unsupervised": 1.5}
    assert objective.scores([found]) == [score]
    with pytest.raises(FloatingPointError, match="not a finite number"):
        objective.scores([dict.fromkeys(found, np.inf)])


def test_agreement_of_seeds_is_an_objective():
    agreement = metrics.UDR(np.array([0.25, 0.75]), np.zeros((2, 2)), {})
    found = [{"reconstruction": 50.0}, {"reconstruction": 61.0}]
    assert named("udr").scores(found, agreement) == [0.25, 0.75]
    assert named("udr@60").scores(found, agreement) == [0.25, 0.75 - 10]


def test_a_score_without_labels_is_refused_where_it_needs_some():
    data = keras_disent.datasets.Images(np.zeros((4, 32, 32, 1), "uint8"))
    with pytest.raises(ValueError, match="label"):
        named("mig", data)
    assert named("total_correlation@40", data).name == "unsupervised"


# -- what the oracles choose ----------------------------------------------------------------------


def tried(study):
    return [trial.values["beta"] for trial in study.trials()]


def scores_of(study):
    return [trial.scores for trial in study.trials()]


@pytest.mark.parametrize("tuner", ORACLES)
def test_a_search_is_repeatable_for_a_seed(tuner, tmp_path, instant):
    trials = 5 if tuner == "bayesian" else 9

    def made(name, seed=1):
        return do(search(trials, tuner=tuner, config=change(seed=seed)), tmp_path / name)

    first, same, other = made("a"), made("b"), made("c", seed=0)
    assert len(set(tried(first))) == trials
    assert [trial.number for trial in first.trials()] == list(range(trials))
    assert tried(first) == tried(same)
    assert scores_of(first) == scores_of(same)
    assert all(1 <= beta <= 16 for beta in tried(first))
    best = json.loads((first.folder / "best.json").read_text())
    assert best["score"] == max(trial.score for trial in first.trials())
    if tuner == "grid":
        assert tried(first)[0] == 1
        assert np.allclose(tried(first), 2 ** (np.arange(9) / 2), rtol=1e-3)
    else:
        assert tried(first) != tried(other)


@pytest.mark.parametrize(
    ("tuner", "trials"), [("random", 3), ("grid", 3), ("hyperband", 9), ("bayesian", 5)]
)
def test_a_log_cut_anywhere_goes_on_to_the_same_trials(tuner, trials, tmp_path, instant):
    whole = do(search(trials, tuner=tuner), tmp_path / "whole")
    lines = (whole.folder / log.FILE).read_bytes().splitlines(keepends=True)
    assert len(lines) == 2 * trials
    cuts = range(len(lines)) if tuner != "bayesian" else (5, 8)  # which is slow to choose
    for cut in cuts:
        folder = shutil.copytree(whole.folder, tmp_path / f"cut{cut}")
        half = lines[cut][: len(lines[cut]) // 2]  # killed while it was written
        (folder / log.FILE).write_bytes(b"".join(lines[:cut]) + half)
        instant.clear()
        again = do(search(trials, tuner=tuner), folder)
        assert tried(again) == tried(whole)
        assert scores_of(again) == scores_of(whole)
        assert not instant  # all runs were done


def test_a_trial_of_a_dead_process_is_taken_over(tmp_path, instant):
    whole = do(search(4), tmp_path / "whole")
    folder = tmp_path / "killed"
    study = Study.create(search(4), folder)
    events = log.read(whole.folder)
    for event in events[:3]:  # the second has started
        log.append(folder, event)
    again = do(search(4), folder)
    assert tried(again) == tried(whole)
    assert len(instant) == 4 + 3  # the first trial has ended
    assert log.read(folder)[:3] == events[:3]
    assert study.status().count("done") == 3


DAMAGED = {
    "no JSON": b"{",
    "another type": b"[]",
    "another event": b'{"event": "x"}',
    "no trial": b'{"event": "ended"}',
    "a trial that has not started": b'{"event": "ended", "trial": 7, "scores": []}',
    "a score that is no number": b'{"event": "ended", "trial": 0, "score": "x", "scores": []}',
    "a time that is no number": b'{"event": "ended", "trial": 0, "seconds": "x", "scores": []}',
    "an error that is no text": b'{"event": "ended", "trial": 0, "error": [], "scores": []}',
    "settings that are none": b'{"event": "started", "trial": 1, "values": {}, "settings": 3, '
    b'"runs": []}',
    "nesting": b"[" * 100_000,
    "bytes": b"\xff\xfe",
}


@pytest.mark.parametrize("line", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_log_is_named(line, tmp_path, instant):
    study = do(search(2), tmp_path / "search")
    lines = (study.folder / log.FILE).read_bytes().splitlines(keepends=True)
    (study.folder / log.FILE).write_bytes(lines[0] + line + b"\n" + lines[1])
    before = files(study.folder)
    for method in (study.status, study.trials, study.table, lambda: study.run(n_jobs=1)):
        with pytest.raises(ValueError, match=r"events\.jsonl' is not the log of a search: line 2"):
            method()
    assert files(study.folder) == before


def test_values_may_be_whole_numbers_among_others(tmp_path, instant):
    made = search(5, space={"beta": [1, 2.5, 4], "network": ["mlp", "conv"]}, tuner="grid")
    trials = do(made, tmp_path).trials()
    assert [tuple(trial.values.values()) for trial in trials] == [
        *((1, "mlp"), (1, "conv"), (2.5, "mlp"), (2.5, "conv"), (4, "mlp"))
    ]


def test_a_search_may_have_more_trials_later(tmp_path, instant):
    first = tried(do(search(9), tmp_path / "search"))
    more = do(search(12), tmp_path / "search")
    assert tried(more)[:9] == first
    assert [trial.number for trial in more.trials()] == list(range(12))
    assert len(instant) == 12
    with pytest.raises(ValueError, match="trials is 12 there, 9 here"):
        Study.create(search(9), tmp_path / "search")


def test_all_seeds_of_a_trial_are_kept(tmp_path, instant):
    study = do(search(2, executions=3), tmp_path)
    for trial in study.trials():
        assert len(trial.scores) == 3
        assert np.allclose(np.diff(trial.scores), 0.01)
        assert trial.score == pytest.approx(np.mean(trial.scores))
    with (tmp_path / "trials.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [float(line["score_2"]) for line in lines] == [t.scores[2] for t in study.trials()]


def failing(monkeypatch, numbers):
    """Let some trials fail."""
    perform, seen = search_module.perform, []

    def sometimes(study, run):
        seen.append(run.name)
        if len(seen) - 1 in numbers:
            study.place(run).mkdir(parents=True, exist_ok=True)
            Progress("failed", error="FloatingPointError: loss at step 5.").write(study.place(run))
            return "failed"
        return perform(study, run)

    monkeypatch.setattr(search_module, "perform", sometimes)


def test_a_trial_that_fails_is_one_trial(tmp_path, monkeypatch, instant):
    failing(monkeypatch, (1,))
    trials = do(search(3), tmp_path).trials()
    assert [trial.status for trial in trials] == ["done", "failed", "done"]
    assert trials[1].error == "FloatingPointError: loss at step 5."
    assert trials[1].score is None


def test_a_search_gives_up_after_three_failures(tmp_path, monkeypatch, instant):
    failing(monkeypatch, (1, 2, 3))
    study = Study.create(search(9), tmp_path)
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"has stopped: 3 trials in a row have failed. Fl"):
            study.run(n_jobs=1)
    assert len(study.trials()) == 4


# -- real trials ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search") / "study"
    return do(search(2, executions=2 if BACKEND == "torch" else 1), folder)


def test_a_search_leaves_table_picture_and_the_best_run(done):
    folder, trials = done.folder, done.trials()
    assert {path.name for path in folder.iterdir()} == {
        *(".lock", "best.json", "events.jsonl", "results.csv", "results.parquet", "runs"),
        *("study.json", "tradeoff.png", "trials", "trials.csv"),
    }
    assert Search.read(Study.open(folder)) == search(2, executions=len(trials[0].scores))
    with (folder / "trials.csv").open() as file:
        lines = list(csv.DictReader(file))
    for trial, line in zip(trials, lines, strict=True):
        assert float(line["beta"]) == trial.values["beta"]
        assert float(line["val_mig"]) == trial.score
        assert float(line["reconstruction"]) == trial.reconstruction
        assert trial.status == line["status"] == "done"
        assert trial.seconds > 0
    with Image.open(folder / "tradeoff.png") as picture:
        assert picture.size[0] > 800
    best = json.loads((folder / "best.json").read_text())
    winner = trials[best["trial"]]
    run = Run.open(folder / best["run"])
    assert run.config.options == {"beta": winner.values["beta"]}
    assert run.scores()["mig"]["value"] == max(winner.scores)
    assert run.model.beta == winner.values["beta"]


@on("torch")
def test_a_search_has_status_table_and_report(done, tmp_path, capsys):
    assert call("study", "status", done.folder) == 0
    assert "4 done" in capsys.readouterr().out
    assert set(done.table()["run"]) == {run.name for t in done.trials() for run in t.runs}
    made = done.report(tmp_path / "report", n_resamples=100, images=20, page=False)
    told = json.loads(made.json.read_text())
    assert told["study"]["done"] == len(told["runs"]["mig"]) == 4


@pytest.mark.slow
def test_the_report_of_a_search_has_a_page_of_its_best_run(done, tmp_path):
    made = done.report(tmp_path / "report", n_resamples=100, images=20)
    told = json.loads(made.json.read_text())
    best = max(zip(told["runs"]["mig"], told["runs"]["run"], strict=True))[1]
    assert told["knobs"]["run"] == best
    assert (told["knobs"]["page"] is not None) == (made.html.parent / "knobs.html").exists()


@on("torch")
def test_a_trial_is_the_same_as_a_run(done, tmp_path):
    trial = done.trials()[0]
    run = Run.create(change(options={"beta": trial.values["beta"]}), tmp_path / "run")
    run.train()
    mine = done.place(trial.runs[0])
    assert Run.open(mine).config == run.config
    assert_same(state(load_model(mine)), state(run.model))
    assert run.evaluate()["mig"]["value"] == trial.scores[0]


@on("torch")
def test_longer_trials_of_hyperband_go_on_from_shorter_ones(tmp_path):
    config = change(steps=7)  # four epochs: brackets of one and of four epochs
    study = do(search(7, tuner="hyperband", config=config), tmp_path / "search")
    trial = next(t for t in study.trials() if t.values["epochs"] == 4)
    longer = Run.open(study.place(trial.runs[0]))
    assert longer.config.steps == 7
    steps = (longer.folder / "history.csv").read_text().splitlines()[1:]
    assert [line.split(",")[0] for line in steps][-1] == "7"
    run = Run.create(longer.config, tmp_path / "run")
    assert_same(state(longer.model), state(run.train()))


@on("torch")
def test_agreement_of_seeds_and_models_without_a_likelihood(tmp_path):
    study = do(search(2, executions=2, objective="udr"), tmp_path / "udr")
    assert len(study.trials()[0].scores) == 2
    assert all(0 <= score <= 1 for trial in study.trials() for score in trial.scores)
    gan = change(model="info_gan", latent_dim=3, options={"noise_dim": 2}, metrics=("mig",))
    space = {"mutual_information_weight": None}
    made = search(2, objective="+mutual_information", config=gan, space=space)
    trials = do(made, tmp_path / "gan").trials()
    assert all(trial.reconstruction > 0 for trial in trials)


# -- the command line -----------------------------------------------------------------------------

SMALL = [
    *("--subset", "shape=square", "--subset", "orientation=0", "--subset", "scale=0,5"),
    *("--image-size", "32", "--network", "mlp", "--width", "0.02", "--latent-dim", "3"),
    *("--player-batch", "8", "--epoch-steps", "2", "--steps", "3", "--seed", "1"),
    *("--learning-rate", "0.001", "--model", "beta_vae", "--metrics", "mig"),
]
TUNE = ["tune", *SMALL, "--range", "beta=1:16", "--trials", "2"]


@on("torch")
def test_tune_shows_a_table_and_resumes(done, tmp_path, capsys):
    trials = done.trials()
    executions = ["--executions", len(trials[0].scores)]
    out = shutil.copytree(done.folder, tmp_path / "search")
    assert call(*TUNE, *executions, "--out", out) == 0
    shown = capsys.readouterr().out
    for trial in trials:
        assert f"{trial.values['beta']:.4g}" in shown
        assert f"{trial.score:.4g}" in shown
    best = max(trials, key=lambda trial: trial.score)
    said = f"Best: trial {best.number}, beta {best.values['beta']:.4g}: mig {best.score:.4g}"
    assert said in shown
    assert (out / "trials.csv").read_text() == (done.folder / "trials.csv").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--model", "vae", "--range", "width=0.1:1"],
            "model is 'beta_vae' there, 'vae' here. Cho",
        ),
        (["--seed", "2"], "seed is 1 there, 2 here"),
        (["--tuner", "grid"], "tuner is 'random' there, 'grid' here"),
        (["--trials", "0"], "`trials` must be an integer of at least 1. Got 0."),
        (
            ["--range", "beta=4:1"],
            "--range takes NAME, NAME=LOW:HIGH or NAME=A,B,C, each name once",
        ),
        (["--range", "gama=1:4"], "BetaVAE has no hyperparameter 'gama'. Choose from: beta, "),
        (["--objective", "migg"], "objective is 'mig' there, 'migg' here"),
    ],
)
def test_another_search_leaves_the_folder_alone(arguments, message, done, refused):
    before = files(done.folder)
    executions = ["--executions", len(done.trials()[0].scores)]
    command = [*TUNE, *executions]
    if "width=0.1:1" in arguments:
        command = ["tune", *SMALL, "--trials", "2", *executions]
    assert message in refused(*command, *arguments, "--out", done.folder)
    assert files(done.folder) == before


def test_places_that_cannot_be_used_are_told(tmp_path, refused):
    (tmp_path / "file").touch()
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    for place in (tmp_path / "file", tmp_path / "file" / "search"):
        assert f"Cannot write into '{place}'" in refused(*TUNE, "--out", place)
    assert "needs a new or empty folder" in refused(*TUNE, "--out", other)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "notes.txt", "other"]


# -- several processes, and kills -----------------------------------------------------------------


def table(folder):
    with (folder / "trials.csv").open() as file:
        return [{**line, "seconds": None} for line in csv.DictReader(file)]


LONGER = [*TUNE, "--trials", "3", "--steps", "40", "--epoch-steps", "20"]


@on("torch")
@pytest.mark.usefixtures("evaluation_of_other_processes")
def test_a_search_that_was_killed_is_the_same_in_the_end(tmp_path):
    assert call(*LONGER, "--out", tmp_path / "whole") == 0
    folder = tmp_path / "killed"
    killed = process(*LONGER, "--out", folder)
    wait_for(lambda: len(log.read(folder)) == 3, killed)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    first = Study.open(folder).trials()[0].runs[0]
    before = files(folder / "runs" / first.name)
    assert call(*LONGER, "--out", folder) == 0
    assert files(folder / "runs" / first.name) == before  # not run again
    assert table(folder) == table(tmp_path / "whole")
    best = [json.loads((f / "best.json").read_text())["run"] for f in (folder, tmp_path / "whole")]
    assert best[0] == best[1]
    assert_same(*(state(load_model(f / best[0])) for f in (folder, tmp_path / "whole")))


@on("torch")
def test_ctrl_c_keeps_what_there_is(tmp_path):
    stopped = process(*TUNE, "--steps", "100000", "--out", tmp_path / "search")
    wait_for(lambda: list(tmp_path.glob("search/runs/*/history.csv")), stopped)
    stopped.send_signal(signal.SIGINT)
    said, _ = stopped.communicate(timeout=60)
    assert stopped.returncode == 130, said
    assert "Run the same command to resume." in said.replace("\n", " ")
    assert "Traceback" not in said
    assert [trial.status for trial in Study.open(tmp_path / "search").trials()] == ["running"]


@pytest.mark.slow
@on("torch")
@pytest.mark.usefixtures("evaluation_of_other_processes")
@pytest.mark.parametrize("tuner", ORACLES)
def test_several_workers_do_trials_at_once(tuner, tmp_path):
    trials, folder = 4, tmp_path / "search"
    command = [*LONGER, "--trials", trials, "--tuner", tuner, "--steps", "300"]
    both = process(*command, "--jobs", "2", "--out", folder)
    at_once = wait_for(lambda: len(list(log.under_way(log.read(folder)))) == 2, both)
    said, _ = both.communicate(timeout=300)
    assert at_once
    assert both.returncode == 0, said
    assert "Best: trial" in said
    study = Study.open(folder)
    assert [trial.status for trial in study.trials()] == ["done"] * trials
    if tuner in ("random", "grid"):  # whose choices do not depend on scores
        assert call(*command, "--out", tmp_path / "alone") == 0
        assert table(folder) == table(tmp_path / "alone")


@pytest.mark.slow
@on("torch")
@pytest.mark.usefixtures("evaluation_of_other_processes")
def test_two_commands_share_a_search_and_one_may_die(tmp_path):
    folder = tmp_path / "search"
    command = [*LONGER, "--trials", "4", "--steps", "200", "--out", folder]
    first = process(*command)
    wait_for(lambda: log.read(folder), first)
    second = process(*command)
    wait_for(lambda: len(list(log.under_way(log.read(folder)))) == 2, first, second)
    first.kill()
    first.communicate()
    said, _ = second.communicate(timeout=300)
    assert second.returncode == 0, said
    assert call(*command[:-1], tmp_path / "alone") == 0
    assert table(folder) == table(tmp_path / "alone")


# -- what has to be installed ---------------------------------------------------------------------


@on("torch")
def test_without_kerastuner_it_says_what_to_install(monkeypatch):
    for name in ("search", "oracle"):
        monkeypatch.delitem(sys.modules, f"keras_disent.experiments.{name}")
    monkeypatch.setitem(sys.modules, "keras_tuner", None)  # as if it were not there
    cure = r"Search needs KerasTuner: pip install 'keras-disent\[tune\]'"
    with pytest.raises(ImportError, match=cure):
        from keras_disent.experiments import Search  # noqa: F401
