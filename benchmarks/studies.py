"""What does a study cost beside the work of its runs, and what do two processes bring?

    python benchmarks/studies.py --backend jax --out studies.json
    python benchmarks/studies.py --backend torch --seconds 10 --runs 4

Trains the same runs (a dense beta-VAE on 32x32 sprites, scored by MIG, as many steps as take
`--seconds` here) by the command line, with `--jobs 1` and `--jobs 2`, one thread for each process,
in new folders, in turns. Prints JSON, per number of jobs: `wall`, seconds of the whole call;
`work`, the seconds of all runs, from lock to last file; `first`, seconds until the first run is
begun, which every call takes once; `overhead`, the share of the time of all processes after that
which is not work; `share`, the same with `first`. `throughput` is runs per second with two jobs /
with one (median of the rounds). `equal` tells whether the scores are the same to the last bit. The
times mean something on a machine that does nothing else.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import pandas

ROOT = Path(__file__).parents[1]
TEXT = """
image_size = 32
network = "mlp"
latent_dim = 6
steps = {steps}
epoch_steps = {epoch}
seeds = {runs}
metrics = ["mig"]
[[methods]]
model = "beta_vae"
"""
CALIBRATION = 300  # steps


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", default="jax")
    parser.add_argument("--seconds", type=float, default=60.0, help="that a run takes, about")
    parser.add_argument("--runs", type=int, default=4, help="of a study; an even number")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def main():
    args = arguments()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        short, long = (
            measured(folder / f"try{n}", args.backend, 1, 1, steps=n * CALIBRATION) for n in (1, 3)
        )
        step = max((long["work"] - short["work"]) / (2 * CALIBRATION), 1e-4)
        fixed = max(short["work"] - step * CALIBRATION, 0.0)
        steps = max(int((args.seconds - fixed) / step), 10)
        rounds = [
            {
                jobs: measured(folder / f"{number}-{jobs}", args.backend, jobs, args.runs, steps)
                for jobs in (1, 2)
            }
            for number in range(args.rounds)
        ]
    results = {
        "steps": steps,
        "jobs": {jobs: [r[jobs] for r in rounds] for jobs in (1, 2)},
        "throughput": statistics.median(r[1]["wall"] / r[2]["wall"] for r in rounds),
        "equal": len({json.dumps(r[jobs].pop("scores")) for r in rounds for jobs in (1, 2)}) == 1,
        "runs": args.runs,
        "backend": args.backend,
        "versions": {name: version(name) for name in ("keras", "joblib", args.backend)},
        "processors": os.cpu_count(),
        "python": platform.python_version(),
    }
    text = json.dumps(results, indent=2)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")


def measured(folder, backend, jobs, runs, steps):
    """Run a new study; return what it took, and its scores."""
    folder.mkdir()
    text = TEXT.format(steps=steps, epoch=min(1_000, steps), runs=runs)
    (folder / "a.toml").write_text(text)
    command = ["study", "run", "a.toml", "--out", "study", "--jobs", str(jobs)]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    start, begun = time.time(), None
    with subprocess.Popen(
        [sys.executable, "-m", "keras_disent.cli", *command, "--backend", backend],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.DEVNULL,
    ) as process:
        while process.poll() is None:
            if begun is None and any((folder / "study").glob("runs/*/config.json")):
                begun = time.time()
            time.sleep(0.02)
        wall = time.time() - start
    if process.returncode:
        raise SystemExit(f"The study ended with exit code {process.returncode}.")
    table = pandas.read_parquet(folder / "study" / "results.parquet")
    work = float(table.groupby("run")["seconds"].first().sum())
    first = (begun or start) - start
    return {
        "wall": wall,
        "work": work,
        "first": first,
        "overhead": 1 - work / (jobs * (wall - first)),
        "share": 1 - work / (jobs * wall),
        "scores": table[["run", "score", "value"]].values.tolist(),
    }


if __name__ == "__main__":
    main()
