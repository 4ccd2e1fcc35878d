"""The command line: what it writes, what it says when something is wrong, and how it stops."""

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from support.checks import BACKEND, on, state
from support.commands import QUICK, SMALL, call, files, process, python, wait_for

import keras_disent
from keras_disent import cli, load_model, models
from keras_disent._utils import progress
from keras_disent.cli import options
from keras_disent.experiments import Config, Run, demo
from keras_disent.knobs import engine


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "run"
    backend = ["--backend", BACKEND, "--learning-rate", "0.001", "--set", "beta=2"]
    assert call("train", "--out", folder, *SMALL, "--model", "beta_vae", *backend) == 0
    return folder


@pytest.fixture
def run(trained, tmp_path):
    """Return a copy of a finished run."""
    return shutil.copytree(trained, tmp_path / "run")


# -- what it writes -------------------------------------------------------------------------------


def test_train_writes_a_whole_run(trained):
    assert sorted(path.relative_to(trained).as_posix() for path in trained.rglob("*")) == [
        ".lock",
        "config.json",
        "history.csv",
        "model.keras",
        "progress.json",
        "scores.json",
        "traversal.png",
        "traversals",
        "traversals/traversal_00000004.png",
        "traversals/traversal_00000006.png",
    ]
    expected = Config(
        model="beta_vae",
        subset={"shape": ["square"], "orientation": [0], "scale": [0, 5]},
        image_size=32,
        steps=6,
        epoch_steps=4,
        player_batch=8,
        seed=3,
        learning_rate=0.001,
        latent_dim=3,
        network="mlp",
        width=0.02,
        options={"beta": 2},
    )
    assert Run.open(trained).config == expected
    assert json.loads((trained / "config.json").read_text())["made_with"]["backend"] == BACKEND
    model = load_model(trained)
    assert (int(model.steps), model.beta) == (6, 2.0)
    scores = json.loads((trained / "scores.json").read_text())
    assert set(scores) == {*model.terms, "mig", "factor_vae_score"}
    for entry in scores.values():
        assert np.isfinite(entry["value"])
        assert entry["settings"]
    for path in trained.rglob("*.png"):
        with Image.open(path) as picture:
            picture.load()
    heading, *lines = (trained / "history.csv").read_text().splitlines()
    assert heading.split(",")[0] == "step"
    assert [line.split(",")[0] for line in lines] == ["4", "6"]


FASHION = Path("/usr/share/datasets/fashion-mnist")


@pytest.mark.parametrize(
    ("data", "shape", "scores"),
    [
        ("photographs", (16, 16, 3), {"unsupervised"}),
        pytest.param(
            "fashion_mnist",
            (16, 16, 1),
            {"mig"},
            marks=pytest.mark.skipif(not FASHION.is_dir(), reason="needs dataset-fashion-mnist"),
        ),
    ],
)
def test_real_images(data, shape, scores, tmp_path):
    size = ["--image-size", "16", "--network", "mlp", "--width", "0.02", "--latent-dim", "3"]
    steps = ["--player-batch", "8", "--epoch-steps", "4", "--steps", "4"]
    likelihood = ["--likelihood", "gaussian_learned_scale"]
    out = tmp_path / "run"
    assert call("train", "--data", data, *size, *steps, *likelihood, "--out", out) == 0
    assert load_model(out).image_shape == shape
    found = set(json.loads((out / "scores.json").read_text()))
    assert scores <= found
    assert "factor_vae_score" not in found  # there are not two factors to tell apart


def test_settings_are_chosen_by_the_pictures(tmp_path, capsys):
    pictures, out = tmp_path / "pictures", tmp_path / "run"
    pictures.mkdir()
    for i in range(12):
        Image.new("RGB", (40, 50), (20 * i, 90, 200 - 9 * i)).save(pictures / f"{i}.png")
    given = ["--steps", "3", "--width", "0.05", "--player-batch", "4"]
    assert call("train", "--data", pictures, "--out", out, *given) == 0
    shown = capsys.readouterr()
    config = Run.open(out).config
    assert (config.model, config.image_size, config.steps) == ("beta_tcvae", 32, 3)
    assert config.likelihood == "gaussian(scale=0.05)"
    for text in ("Chose beta_tcvae, beta", config.likelihood, "12 color images that look like"):
        assert text in shown.err
    assert "latents in use (at least 0.1 nats" in shown.out
    (line,) = (line for line in shown.out.splitlines() if " reconstruction " in line)
    assert "nats" in line
    assert "lower" in line
    assert "the same gray for all images" in shown.err  # after three steps


def test_train_on_correlated_factors(tmp_path):
    out = tmp_path / "run"
    assert call("train", *QUICK, "--correlate", "position_x,position_y=0.1", "--out", out) == 0
    config = Run.open(out).config
    data = config.load_data()
    drawn = data.factors(data.sample(2000, np.random.default_rng(0)))
    assert np.corrcoef(drawn[:, 3], drawn[:, 4])[0, 1] > 0.9


def test_evaluate_scores_again_and_shows_a_table(run, capsys):
    before = (run / "scores.json").read_text()
    assert call("evaluate", run, "--metrics", "mig", "--samples", "200", "--seed", "5") == 0
    scores = json.loads((run / "scores.json").read_text())
    assert scores["mig"]["settings"]["n_samples"] == 200
    assert scores["mig"]["settings"]["seed"] == 5
    assert "factor_vae_score" not in scores
    shown = capsys.readouterr().out
    for name, entry in scores.items():
        (line,) = (line for line in shown.splitlines() if f" {name} " in line)
        assert f"{entry['value']:.4g}" in line

    assert call("evaluate", run) == 0  # the metrics and the settings of the run
    assert (run / "scores.json").read_text() == before
    several = ["--metrics", "mig,unsupervised", "--samples", "200", "--interval", "0.9"]
    assert call("evaluate", run, *several) == 0
    scores = json.loads((run / "scores.json").read_text())
    assert {"mig", "unsupervised"} < set(scores)
    low, high = scores["mig"]["interval"]
    assert low < scores["mig"]["value"] < high
    assert f"{low:.4g} to {high:.4g}" in capsys.readouterr().out


def test_traverse_draws(run, tmp_path, capsys):
    (run / "traversal.png").unlink()
    assert call("traverse", run) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"Wrote {run / 'traversal.png'}"
    other = tmp_path / "pictures" / "other.png"
    assert call("traverse", run, "--out", other, "--image", "7") == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"Wrote {other}"
    assert Image.open(other).size == Image.open(run / "traversal.png").size


def test_latents_are_named_and_pictures_edited(run, tmp_path, capsys):
    before = load_model(run)
    assert before.latent_ranges.shape == (3, 2)
    assert call("latents", run, "--name", "z0=hue", "--name", "2=my size") == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("hue", "z1", "my size", "importance (nats)", " to "))
    model = load_model(run)
    assert model.latent_names == ("hue", "z1", "my size")
    np.testing.assert_array_equal(model.latent_ranges, before.latent_ranges)
    for left, right in zip(state(model), state(before), strict=True):
        np.testing.assert_array_equal(left, right)

    opened, out = Run.open(run), tmp_path / "out"
    image = opened.image(5)
    assert call("edit", run, 5, "--set", "hue=+1.5", "--relative", "--out", out / "a.png") == 0
    expected = model.edit(image, {"hue": 1.5}, relative=True, dtype="uint8")
    np.testing.assert_array_equal(np.asarray(Image.open(out / "a.png"))[..., :1], expected)
    Image.fromarray(image[..., 0]).save(tmp_path / "own.png")
    assert call("edit", run, tmp_path / "own.png", "--set", "0=99", "--out", out / "b.png") == 0
    low, high = model.latent_ranges[0]
    assert (
        f"'hue' = 99 is far outside of the data, where it is from {low:.4g} to {high:.4g}: "
        in capsys.readouterr().err
    )

    assert call("interpolate", run, 5, tmp_path / "own.png", "-n", 4, "--out", out / "c.png") == 0
    assert Image.open(out / "c.png").size == (4 * 32 + 3 * 2, 32)
    assert call("interpolate", run, 5, 6, "-n", 4, "--out", out / "c.gif") == 0
    assert Image.open(out / "c.gif").n_frames == 6  # there and back
    capsys.readouterr()
    assert call("nearest", run, 5, "-n", 3, "--out", out / "d.png") == 0
    found = model.nearest(image, opened.data, 3)
    assert f"Nearest: {', '.join(map(str, found))}" in capsys.readouterr().out
    assert call("extremes", run, "my size", "-n", 3, "--out", out / "e.png") == 0
    lowest, highest = model.extremes("my size", opened.data, 3)
    shown = capsys.readouterr().out
    assert f"Smallest: {', '.join(map(str, lowest))}" in shown
    assert f"Largest: {', '.join(map(str, highest))}" in shown
    assert Image.open(out / "e.png").size == (3 * 32 + 2 * 2, 2 * 32 + 2)
    assert call("poster", run) == 0
    assert Image.open(run / "poster.png").size[0] > 1000
    assert call("traverse", run, "--out", out / "f.webp") == 0
    assert Image.open(out / "f.webp").n_frames > 1  # equal ones are merged


def test_names_are_suggested_on_the_command_line(run, capsys):
    suggested = load_model(run).suggest_latent_names(Run.open(run).data)
    assert call("latents", run, "--suggest") == 0
    assert load_model(run).latent_names == suggested
    assert call("train", "--out", run, "--resume", "--steps", 7) == 0
    assert load_model(run).latent_names == suggested


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["edit", "RUN", "0", "--set", "hue=1", "--out", "a.png"],
            "Unknown latent 'hue'. Choose from: z0,",
        ),
        (
            ["edit", "RUN", "0", "--set", "z0=red", "--out", "a.png"],
            "a number for each latent. Got 'red'.",
        ),
        (["edit", "RUN", "0", "--set", "z0=1", "--out", "a.txt"], "'a.txt' must be one of .png, "),
        (
            ["edit", "RUN", "b.png", "--set", "z0=1", "--out", "a.png"],
            "There is no picture 'b.png'",
        ),
        (
            ["extremes", "RUN", "hue", "--out", "a.png"],
            "Unknown latent 'hue'. Choose from: z0, z1, z2",
        ),
        (["latents", "RUN", "--name", "z0"], "--name takes NAME=VALUE. Got 'z0'."),
        (["latents", "RUN", "--name", "z0=z1"], "needs different names. Got 'z1' twice."),
        (["interpolate", "RUN", "0", "1", "-n", "1", "--out", "a.png"], "at least 2. Got 1."),
    ],
)
def test_mistakes_with_latents_are_one_line(
    arguments, message, run, refused, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    before = files(run)
    assert message in refused(*(run if part == "RUN" else part for part in arguments))
    assert files(run) == before
    assert not (tmp_path / "a.png").exists()


@pytest.mark.skipif(BACKEND == "jax", reason="another backend would write it")
def test_export_writes_an_artifact_and_shows_its_endpoints(trained, tmp_path, capsys, refused):
    format = "saved_model" if BACKEND == "tensorflow" else "torch"
    to = ["--format", format, "--out", tmp_path / "served"]
    assert call("export", trained, *to, "--images", "uint8") == 0
    said = capsys.readouterr().out
    assert (tmp_path / "served" / "card.json").exists()
    images, codes = r"uint8 \(any, 32, 32, 1\)", r"float32 \(any, 3\)"
    assert re.search(rf"encode .* images {images} .* mean {codes}", said)
    assert re.search(rf"decode .* codes {codes} .* decoded {images}", said)
    assert f"Wrote {tmp_path / 'served'}, " in said
    assert "needs a new or empty folder" in refused("export", trained, *to)
    assert "Unknown format 'tflite'." in refused("export", trained, "--format", "tflite")
    assert "A run folder holds config.json." in refused("export", tmp_path)


@on("tensorflow")
@pytest.mark.skipif(not engine.installed(), reason=f"needs the engine: {engine.CURE}")
def test_knobs_writes_a_page(trained, tmp_path, capsys, refused, monkeypatch):
    page = tmp_path / "page.html"
    assert call("knobs", trained, "--out", page) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[-1].startswith(f"Wrote {page}, ")
    text = page.read_text()
    assert str(trained) in text
    page.write_text(text.replace('"name": "z1"', '"name": "light \\u003c"'))
    copy = shutil.copytree(trained, tmp_path / "copy")
    assert call("latents", copy, "--from", page) == 0
    assert load_model(copy).latent_names == ("z0", "light <", "z2")
    page.write_text(text)
    assert "Names are read from a page of" in refused(
        "latents", copy, "--from", copy / "config.json"
    )
    assert "A run folder holds config.json." in refused("knobs", tmp_path)
    monkeypatch.setattr(engine, "FOLDER", tmp_path)
    assert "run `python -m keras_disent.knobs`" in refused("knobs", trained, "--out", page)
    assert page.read_text() == text


def test_resume_goes_on_to_more_steps(run):
    assert call("train", "--resume", "--out", run, "--steps", "9") == 0
    assert Run.open(run).config.steps == 9
    assert int(load_model(run).steps) == 9
    scores = json.loads((run / "scores.json").read_text())
    assert scores["loss"]["settings"]["step"] == 9


def test_demo_compares_two_models(tmp_path, monkeypatch, capsys):
    configs = demo.configs

    def small(*given):
        return {
            folder: dataclasses.replace(config, network="mlp", width=0.02, player_batch=8)
            for folder, config in configs(*given).items()
        }

    monkeypatch.setattr(demo, "configs", small)
    monkeypatch.setattr(engine, "FOLDER", tmp_path / "none")
    assert call("demo", "--out", tmp_path / "demo", "--steps", "3") == 0
    shown = "".join(capsys.readouterr())
    written = ["beta_tcvae", "demo.gif", "demo.png", "vae"]
    assert sorted(path.name for path in (tmp_path / "demo").iterdir()) == written
    for said in ("2,880 pictures", "BetaTCVAE, beta 40", "head turn", "Its latents: ", "No page"):
        assert said in shown
    width, height = Image.open(tmp_path / "demo" / "demo.png").size
    assert 1500 < width < 5000
    assert 1000 < height < 5000
    assert call("demo", "--out", tmp_path / "demo", "--steps", "4") == 2
    assert "holds another run" in capsys.readouterr().err


def test_quick_demo_shows_a_ready_model(tmp_path, capsys):
    assert call("demo", "--quick", "--out", tmp_path) == 0
    shown = capsys.readouterr().out
    assert "A ready model: faces_person" in shown
    assert "head turn" in shown
    assert Image.open(tmp_path / "demo.gif").n_frames > 10
    written = {"demo.gif", "demo.png"} | ({"knobs.html"} if engine.installed() else set())
    assert {path.name for path in tmp_path.iterdir()} == written
    assert call("demo", "--quick", "--steps", "5") == 2
    assert "--quick trains nothing: omit --steps and --seed." in capsys.readouterr().err


# -- what it refuses ------------------------------------------------------------------------------

WRONG = {
    "model": (["--model", "factorvae"], "Unknown model 'factorvae'. Choose from: ada_gvae, "),
    "data": (["--data", "smile"], "Unknown data set 'smile'. Choose from: "),
    "no data": (["--data", ""], "Unknown data set ''. Choose from: "),
    "metric": (["--metrics", "mig,x"], "Unknown metric 'x'. Choose from: active_units, "),
    "network": (
        ["--network", "cnn"],
        "Unknown network 'cnn'. Choose from: burgess, conv, higgins, mlp, qlae, silu_mlp, tripod.",
    ),
    "backend": (["--backend", "numpy"], "Unknown backend 'numpy'. Choose from: tensorflow, jax, "),
    "likelihood": (["--likelihood", "poisson"], "Unknown likelihood 'poisson'. Choose from: bern"),
    "option": (["--model", "factor_vae", "--set", "gama=3"], "'gama'. Choose from: discrimi"),
    "option of another": (["--model", "beta_vae", "--set", "gamma=3"], "Choose from: beta."),
    "option given twice": (["--model", "beta_vae", "--set", "latent_dim=3"], "'latent_dim'."),
    "no value": (["--set", "beta"], "--set takes NAME=VALUE. Got 'beta'."),
    "no schedule": (
        ["--model", "beta_vae", "--set", "beta=Line(0, 1, 2)"],
        "Unknown schedule 'Line'",
    ),
    "negative weight": (
        ["--model", "beta_vae", "--set", "beta=-1"],
        "at least 0, or a schedule. G",
    ),
    "text as weight": (["--model", "beta_vae", "--set", "beta=much"], "or a schedule. Got 'much'."),
    "factor": (["--subset", "color=0"], "names from shape, scale, orientation, position_x, "),
    "step of a factor": (
        ["--subset", "shape=star"],
        "or square, ellipse, heart. Got 'star'.",
    ),
    "correlation": (["--correlate", "scale=0.1"], "two factors with a comma between. Got 'scale'."),
    "strength": (["--correlate", "scale,shape=0"], "`strengths` needs numbers above 0. Got 0."),
    "no file": (
        ["--data", "shapes3d"],
        "'shapes3d' needs downloaded files. Set their folder with ",
    ),
    "no subset": (["--subset", "shape"], "--subset takes NAME=VALUE. Got 'shape'."),
    "image size": (["--image-size", "48"], "`image_size` needs to be one of (64, 32). Got 48."),
    "steps": (["--steps", "0"], "`steps` must be an integer of at least 1. Got 0."),
    "epoch steps": (["--epoch-steps", "-4"], "`epoch_steps` must be an integer of at least 1. Got"),
    "seed": (["--seed", "-1"], "`seed` must be an integer of at least 0. Got -1."),
    "learning rate": (["--learning-rate", "-0.1"], "`learning_rate` is a number above 0. Got -0."),
    "width": (["--width", "0"], "`width` is a number above 0. Got 0.0."),
    "batch": (["--model", "factor_vae", "--player-batch", "1"], "at least 4 images for FactorVAE"),
    "one latent": (
        ["--latent-dim", "1"],
        "'mig' compare latents, so there must be",
    ),
}


@pytest.mark.parametrize(("arguments", "message"), WRONG.values(), ids=WRONG)
def test_mistakes_are_told_and_leave_no_folder(arguments, message, tmp_path, refused):
    assert message in refused("train", "--out", tmp_path / "run", *QUICK, *arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_in_use_is_left_alone(run, tmp_path, refused):
    before = files(run)
    assert "holds a run already" in refused("train", "--out", run, *QUICK)
    assert files(run) == before
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    assert "needs a new or empty folder" in refused("train", "--out", other, *QUICK)
    assert [path.name for path in other.iterdir()] == ["notes.txt"]


def test_a_folder_that_cannot_be_written_is_told(tmp_path, refused):
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "run"):
        assert f"Cannot write into '{place}'" in refused("train", "--out", place, *QUICK)
    assert (tmp_path / "file").read_bytes() == b""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "vae"], "--model is 'beta_vae' there, 'vae' here."),
        (["--set", "beta=4"], "--set is {'beta': 2} there, {'beta': 4} here."),
        (["--latent-dim", "10"], "--latent-dim is 3 there, 10 here."),  # the default, but given
        (["--seed", "3", "--player-batch", "9"], "--player-batch is 8 there, 9 here."),
    ],
)
def test_resume_takes_no_other_configuration(arguments, message, run, refused):
    before = files(run)
    line = refused("train", "--resume", "--out", run, "--steps", "7", *arguments)
    assert line.endswith(f"only --steps and --track may differ. {message}")
    assert files(run) == before


@pytest.mark.parametrize("arguments", [["train", "--resume", "--out"], ["evaluate"], ["traverse"]])
def test_a_folder_without_a_run_is_told(arguments, tmp_path, refused):
    for folder in (tmp_path / "nowhere", tmp_path):
        line = refused(*arguments, folder)
        assert line == f"Error: A run folder holds config.json. There is none in '{folder}'."
    assert list(tmp_path.iterdir()) == []


def test_commands_on_a_run_tell_mistakes_too(run, refused):
    assert "Choose from: active_units, " in refused("evaluate", run, "--metrics", "x")
    assert "`image` is a number from 0 to 255. Got -1." in refused("traverse", run, "--image", "-1")
    content = (run / "model.keras").read_bytes()
    (run / "model.keras").write_bytes(content[: len(content) // 2])
    for command in (["evaluate", run], ["traverse", run], ["train", "--resume", "--out", run]):
        assert "model.keras' is not a whole .keras file" in refused(*command)
    assert len((run / "model.keras").read_bytes()) == len(content) // 2


def test_a_loss_that_is_not_a_number_ends_the_run(tmp_path, capsys):
    beta = "beta=InverseTimeDecay(1.0, decay_steps=4, decay_rate=-1.0)"  # 1 / (1 - step / 4)
    command = ["train", "--out", tmp_path / "run", *QUICK, "--model", "beta_vae", "--set", beta]
    assert call(*command) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert "Training stopped at step 5, " in line
    assert "`loss` is not finite" in line
    assert int(load_model(tmp_path / "run").steps) == 4


# -- how it starts and stops ----------------------------------------------------------------------

HELP = """
import contextlib, io, runpy, sys, time
for command in ([], ["train"], ["evaluate"], ["traverse"], ["tune"], ["demo"]):
    sys.argv = ["keras-disent", *command, "--help"]
    text = io.StringIO()
    try:
        with contextlib.redirect_stdout(text):
            runpy.run_module("keras_disent", run_name="__main__")
    except SystemExit as stop:
        assert not stop.code
    assert "Usage: keras-disent" in text.getvalue()
    assert "--resume" in text.getvalue() or command != ["train"]
heavy = {"keras", "tensorflow", "jax", "torch", "numpy", "matplotlib", "rich.console"}
heavy &= set(sys.modules)
assert not heavy, heavy
print(time.process_time())
"""


def test_help_is_quick_for_it_imports_little():
    code, out, last = python(HELP)
    assert code == 0, last
    assert float(out) < 3  # seconds of work, however busy the machine


def test_the_version_is_that_of_the_package(capsys):
    assert call("--version") == 0
    assert capsys.readouterr().out == f"keras-disent {keras_disent.__version__}\n"


def test_help_lists_the_methods():
    assert set(options.METHODS) == set(models.MODELS)


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("keras-disent tr", {"train", "traverse"}),
        ("keras-disent train --model ada", {"ada_gvae", "ada_mlvae"}),
        ("keras-disent train --data face", {"faces"}),
    ],
)
def test_a_shell_completes_names(words, offered):
    environment = {
        **os.environ,
        "_KERAS_DISENT_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    code = "import sys; sys.argv[0] = 'keras-disent'; from keras_disent.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert set(done.stdout.decode().split()) == offered


def _commands(group, *names):
    for name, command in group.commands.items():
        if getattr(command, "commands", None):
            yield from _commands(command, *names, name)
        else:
            yield (*names, name), command


COMMANDS = dict(_commands(typer.main.get_command(cli.app)))


@pytest.mark.parametrize("names", COMMANDS, ids=" ".join)
def test_every_command_takes_quiet_and_verbose(names):
    flags = {flag for parameter in COMMANDS[names].params for flag in parameter.opts}
    assert {"--quiet", "-q", "--verbose", "-v"} <= flags


def test_results_go_to_stdout_and_what_is_done_to_stderr(run, tmp_path, capsys):
    assert call("train", *QUICK, "--out", tmp_path / "a") == 0
    out, said = capsys.readouterr()
    assert f"vae on sprites -> {tmp_path / 'a'} ({BACKEND}, " in said
    assert "Each step is fed 8 images.\n" in said
    assert "Name its latents: " in said
    assert "mig" in out
    assert out.splitlines()[-1] == f"Look at {tmp_path / 'a' / 'traversal.png'}"
    assert call("train", *QUICK, "--out", tmp_path / "b", "--quiet") == 0
    quiet, said = capsys.readouterr()
    assert "Each step" not in said  # warnings remain
    assert progress.default == "auto"  # for what comes next
    assert re.findall("│.*│", quiet) == re.findall("│.*│", out)
    assert call("evaluate", run, "-q", "--metrics", "x") == 2
    assert capsys.readouterr().err.startswith("Error: Unknown metric 'x'.")


def test_weights_of_the_objective_are_said_to_be_weights(run, capsys):
    assert call("evaluate", run, "--metrics", "mig") == 0
    rows = [re.split(" *│ *", line)[1:-1] for line in capsys.readouterr().out.splitlines()]
    units = {row[0]: row[2] for row in rows if len(row) == 4}
    assert units["beta"] == "weight"
    assert units["kl"] == "nats"


@pytest.mark.slow
@pytest.mark.skipif(BACKEND == "tensorflow", reason="TensorFlow is what it runs on")
def test_training_prints_nothing_of_tensorflow(tmp_path):
    training = process("train", *QUICK, "--out", tmp_path / "run", TF_CPP_MIN_LOG_LEVEL="0")
    said, _ = training.communicate(timeout=240)
    assert training.returncode == 0
    assert not [word for word in ("absl", "cuda", "oneDNN") if word in said]


def test_verbose_tells_where_an_error_comes_from(tmp_path, capsys, refused):
    assert call("evaluate", tmp_path, "--verbose") == 2
    first, *_, last = capsys.readouterr().err.splitlines()
    assert first == "Traceback (most recent call last):"
    assert last.startswith("Error: A run folder holds config.json.")
    assert "A run folder" in refused("evaluate", tmp_path)  # the next command is not verbose
    assert "--quiet and --verbose exclude each other." in refused("evaluate", tmp_path, "-q", "-v")


def test_unknown_flags_are_one_line(refused):
    assert "--latent-dim" in refused("train", "--out", "run", "--latent-dims", "3")
    assert "--out" in refused("train")
    assert "--steps" in refused("train", "--out", "run", "--steps", "a")
    assert "nothing" in refused("nothing")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ValueError("two\nlines"), 2, "two lines"),
        (KeyError("x"), 1, "KeyError: 'x'"),
        (RuntimeError("failed"), 1, "failed"),
        (MemoryError(), 1, "MemoryError:"),
        (RecursionError("deep"), 1, "deep"),
        (AssertionError("[red]$x$:smile:"), 1, "AssertionError: [red]$x$:smile:"),
    ],
)
def test_whatever_comes_is_one_line(error, code, said, monkeypatch, capsys):
    def broken(**given):
        raise error

    monkeypatch.setattr(cli, "app", broken)
    assert call("train") == code
    assert capsys.readouterr().err == f"Error: {said}\n"


def test_ctrl_c_saves_and_resume_goes_on(tmp_path):
    folder = tmp_path / "run"
    endless = [*QUICK, "--steps", "1000000", "--epoch-steps", "30"]
    training = process("train", "--out", folder, *endless)
    history = folder / "history.csv"
    wait_for(history.exists, training)
    training.send_signal(signal.SIGINT)
    out, _ = training.communicate(timeout=120)
    assert training.returncode == 130, out
    assert "Interrupted. The run in" in out
    assert "--resume" in out
    assert "Traceback" not in out

    model = load_model(folder)
    done = int(model.steps)
    assert done >= 30
    assert all(np.isfinite(array).all() for array in state(model))
    last = history.read_text().splitlines()[-1]
    assert last.split(",")[0] == str(done)
    assert not (folder / "scores.json").exists()
    assert call("train", "--resume", "--out", folder, "--steps", done + 3) == 0
    assert int(load_model(folder).steps) == done + 3
    assert (folder / "scores.json").exists()


def test_options_of_the_data_set_reach_it(tmp_path, capsys):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(12):  # white, with a black square of 8 x 8 in the middle
        pixels = np.full((16, 24), 255, np.uint8)
        pixels[4:12, 8:16] = number
        Image.fromarray(pixels).save(folder / f"{number}.png")
    out = tmp_path / "run"
    own = ["--data", folder, "--image-size", "8", "--channels", "1", "--player-batch", "4"]
    small = ["--network", "mlp", "--width", "0.02", "--latent-dim", "2", "--steps", "2"]
    command = ["train", "--model", "vae", *own, *small, "--out", out]
    assert call(*command, "--data-option", "crop=8") == 0
    run = Run.open(out)
    assert run.config.data_options == {"crop": 8}
    assert run.data.images(range(12)).max() < 12
    capsys.readouterr()
    assert call(*command, "--data-option", "crop=16", "--resume") == 2
    assert "--data-option" in capsys.readouterr().err
    assert call("train", "--data-option", "crp=8", "--out", tmp_path / "other") == 2
    assert (
        "Unknown option of the data set 'sprites' 'crp'. Choose from: " in capsys.readouterr().err
    )
    assert not (tmp_path / "other").exists()


def test_traversals_of_pictures_by_name_and_of_ones_own(tmp_path, capsys):
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(8):
        pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    out = tmp_path / "run"
    small = ["--image-size", "16", "--network", "mlp", "--width", "0.02", "--latent-dim", "2"]
    crop = ["--data-option", "crop=12"]
    steps = ["--player-batch", "4", "--steps", "2", "--model", "vae"]
    assert call("train", "--data", folder, *small, *steps, *crop, "--out", out) == 0
    run = Run.open(out)
    assert run.model.pictures["crop"] == 12
    assert load_model(out).pictures == run.model.pictures
    assert call("traverse", out, "--image", "3.png", "--out", tmp_path / "a.png") == 0
    assert call("traverse", out, "--image", folder / "3.png", "--out", tmp_path / "b.png") == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    capsys.readouterr()
    assert call("traverse", out, "--image", "9.png") == 2
    assert "no picture '9.png' among the 8 of the data" in capsys.readouterr().err
    (tmp_path / "text.png").write_text("no picture")
    assert call("traverse", out, "--image", tmp_path / "text.png") == 2
    assert "text.png' as a picture: its content is none of PNG" in capsys.readouterr().err
