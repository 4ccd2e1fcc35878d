"""The wheel: the same bytes twice, and of use in an environment without Keras."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from keras_disent import presets
from keras_disent.knobs import engine

ROOT = Path(__file__).parents[1]
CODE = """
import numpy as np
import keras_disent
from keras_disent import datasets, metrics, plots, presets
assert "faces_person" in repr(presets.list())
factors = np.indices((4, 5)).reshape(2, -1).T
assert round(metrics.mig(factors, factors), 6) == 1
assert datasets.Sprites(32).images([0]).max() == 255
try:
    keras_disent.VAE
except ImportError as error:
    print(error)
"""
MISSING = "keras_disent's models need Keras and a backend: pip install 'keras-disent[jax]'"


@pytest.mark.slow
def test_the_wheel_is_reproducible_and_works_without_keras(tmp_path):
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
    wheels = []
    for name in ("first", "second"):
        command = [sys.executable, "-m", "build", "-q", "--wheel", "--no-isolation"]
        subprocess.run(
            [*command, "--outdir", str(tmp_path / name), str(ROOT)], check=True, env=environment
        )
        (wheel,) = (tmp_path / name).iterdir()
        wheels.append(wheel)
    assert wheels[0].read_bytes() == wheels[1].read_bytes()
    names = zipfile.ZipFile(wheels[0]).namelist()
    for preset in presets.list():
        for file in ("preset.json", "model.weights.h5"):
            assert f"keras_disent/presets/trained/{preset.name}/{file}" in names
    packed = {name for name in engine.SHA256 if any(name in path for path in names)}
    assert packed == (set(engine.SHA256) if engine.installed() else set())
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    constraints = ["--constraint", str(ROOT / "constraints" / "tested.txt")]
    subprocess.run([python, "-m", "pip", "install", "-q", *constraints, str(wheels[0])], check=True)
    clean = {
        key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "KERAS"))
    }

    def run(*arguments):
        return subprocess.run(arguments, env=clean, cwd=tmp_path, capture_output=True, text=True)

    done = run(python, "-c", CODE)
    assert (done.returncode, done.stdout.startswith(MISSING)) == (0, True), done.stderr
    command = str(tmp_path / "venv" / "bin" / "keras-disent")
    assert run(command, "data", "info", "sprites").returncode == 0
    done = run(command, "train", "--out", "run")
    assert done.returncode == 2
    assert MISSING in done.stderr.replace("\n", " ")
    assert not (tmp_path / "run").exists()
