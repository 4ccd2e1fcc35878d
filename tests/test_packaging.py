"""What packagers build from: the conda recipe, and the steps of the container that serves."""

import json
import os
import re
import socket
import subprocess
import sys
import time
import tomllib
import urllib.request
from pathlib import Path

import keras
import pytest
from support.checks import BACKEND

from keras_disent import VAE

ROOT = Path(__file__).parents[1]
CONDA_NAMES = {"matplotlib": "matplotlib-base"}


def test_the_recipe_asks_for_what_the_project_does():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    yaml = pytest.importorskip("yaml")
    recipe = yaml.safe_load((ROOT / "packaging" / "recipe.yaml").read_text())
    parts = [re.fullmatch(r"([\w-]+)(.*)", text).groups() for text in project["dependencies"]]
    expected = [f"{CONDA_NAMES.get(name, name)} {limits}" for name, limits in parts]
    expected.append(f"python {project['requires-python']}")
    assert sorted(recipe["requirements"]["run"]) == sorted(expected)
    assert recipe["build"]["python"]["entry_points"] == [
        f"{name} = {place}" for name, place in project["scripts"].items()
    ]
    assert recipe["about"]["summary"] == project["description"]
    assert recipe["about"]["license"] == project["license"]


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "tensorflow", reason="once is enough")
def test_the_steps_of_the_container_serve_a_model(tmp_path):
    dist, model, folder = tmp_path / "dist", tmp_path / "model", str(tmp_path / "venv")
    build = [sys.executable, "-m", "build", "-q", "--wheel", "--no-isolation", "--outdir"]
    subprocess.run([*build, str(dist), str(ROOT)], check=True)
    VAE((32, 32, 1), latent_dim=3, seed=0).export(model, format="onnx")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    path = f"{folder}/bin:{os.environ['PATH']}"
    clean = {key: v for key, v in os.environ.items() if not key.startswith(("PYTHON", "KERAS"))}
    clean |= {"PATH": path, "PIP_CONSTRAINT": str(ROOT / "constraints" / "tested.txt")}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    steps = (ROOT / "packaging" / "Dockerfile").read_text().splitlines()
    for step in steps:
        if step.startswith("RUN python"):
            command = step.removeprefix("RUN ").replace("/tmp/dist", str(dist))
            subprocess.run(command, shell=True, check=True, env=clean, cwd=tmp_path)
    (last,) = [step for step in steps if step.startswith("CMD ")]
    inside = {"/model": str(model), "0.0.0.0": "127.0.0.1", "8000": str(port)}
    command = [inside.get(word, word) for word in json.loads(last.removeprefix("CMD "))]
    with subprocess.Popen(command, env=clean, cwd=tmp_path) as server:
        try:
            body = json.dumps({"inputs": {"codes": [[0.0, 0.0, 0.0]]}}).encode()
            headers = {"Content-Type": "application/json"}
            request = urllib.request.Request(f"http://127.0.0.1:{port}/decode", body, headers)
            for _ in range(120):
                try:
                    with urllib.request.urlopen(request, timeout=10) as answer:
                        decoded = json.load(answer)["outputs"]["decoded"]
                    break
                except OSError:
                    assert server.poll() is None
                    time.sleep(0.5)
            assert keras.ops.shape(decoded) == (1, 32, 32, 1)
        finally:
            server.terminate()
