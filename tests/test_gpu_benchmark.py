"""The benchmark of accelerators runs on any processor, in its small mode."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.commands import BACKEND, environment

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "gpu.py"


def benchmark(*options):
    command = [sys.executable, SCRIPT, "--small", "--backends", BACKEND, *options]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["rows"]


@pytest.mark.slow
def test_the_benchmark_measures_both_models(tmp_path):
    rows = benchmark("--out", tmp_path / "gpu.json")
    assert [(row["precision"], row.get("model")) for row in rows] == [
        (precision, model)
        for precision in ("float32", "mixed_bfloat16")
        for model in ("vae", "factor_vae")
    ], rows
    for row in rows:
        assert min(row["steps_per_s"], row["images_per_s"], row["encode_per_s"]) > 0
        assert 0 < row["host_share"] <= 1
    assert json.loads((tmp_path / "gpu.json").read_text())["rows"] == rows
