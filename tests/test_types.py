"""Types: every function says what it takes and returns, and a type checker reads it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import keras_disent

SCRIPT = """
import numpy as np

import keras_disent
from keras_disent import BetaVAE, engine, experiments, metrics, plots

model = BetaVAE((64, 64, 1), latent_dim=4, beta=2.0, encoder="mlp", name="mine")
reveal_type(model)
reveal_type(keras_disent.VAE.with_networks((64, 64, 1), 4, "mlp"))
images = np.zeros((8, 64, 64, 1), "uint8")
reveal_type(model.encode(images))
reveal_type(model.decode([[0.0] * 4]))
reveal_type(metrics.mig(model.encode(images), [[0]] * 8))
reveal_type(experiments.Run.open("runs/a").config)
reveal_type(plots.charts)
reveal_type(engine.schedules.Linear)
keras_disent.VAE((64, 64, 1), latent_dim="ten")
BetaVAE((64, 64, 1), betta=4.0)
model.encode(images, batch=4)
metrics.mig(images, bin=20)
plots.traversals(model, images, colour="red")
keras_disent.BetaVea
experiments.Runs
engine.parallels
"""

REVEALED = """
BetaVAE VAE ndarray ndarray float Config ModuleType Linear
"""
ERRORS = [
    'Argument "latent_dim" to "VAE" has incompatible type "str"; expected "int"',
    'Unexpected keyword argument "betta" for "BetaVAE"; did you mean "beta"?',
    'Unexpected keyword argument "batch" for "encode" of "VAE"',
    'Unexpected keyword argument "bin" for "mig"; did you mean "bins"?',
    'Unexpected keyword argument "colour" for "traversals"',
    'Module has no attribute "BetaVea"',
    'Module has no attribute "Runs"; maybe "Run"?',
    'Module has no attribute "parallels"; maybe "parallel"?',
]


@pytest.mark.slow
def test_a_type_checker_reads_the_public_names(tmp_path):
    pytest.importorskip("mypy")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    options = ["--ignore-missing-imports", "--cache-dir", str(tmp_path / "cache")]
    root = Path(keras_disent.__file__).parents[1]
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file=", *options, str(script)],
        capture_output=True,
        text=True,
        cwd=root,
    )
    lines = [line for line in checked.stdout.splitlines() if "script.py" in line]
    revealed = [re.search(r'is ".*?(\w+)(\[.*)?"$', line) for line in lines if "Revealed" in line]
    assert [found[1] for found in revealed if found] == REVEALED.split(), checked.stdout
    errors = [line.partition("error: ")[2] for line in lines if "error: " in line]
    assert [error.rpartition("  [")[0] for error in errors] == ERRORS, checked.stdout
