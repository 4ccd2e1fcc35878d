"""How long does the report of a study of 10,000 finished runs take, and how much memory?

    python benchmarks/report.py --backend jax

Makes the folder of a study whose runs are done, with made-up scores and without models, then
reports it in a process of its own, since a process knows its peak memory only once. Prints JSON:
seconds by the wall clock and of the processor, with reading the run folders, without the start of
Keras; peak resident memory in MB (10^6 bytes), with it; and the sizes of the files in MB.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STUDY = """
steps = 1000
seeds = {seeds}
metrics = [
    "mig", "dci", "sap", "factor_vae_score", "beta_vae_score", "modularity", "irs", "unsupervised"
]
[[methods]]
model = "beta_vae"
beta = [1, 2, 4, 6, 8, 16]
[[methods]]
model = "factor_vae"
gamma = [10, 20, 30, 40, 50, 100]
[[methods]]
model = "beta_tcvae"
beta = [1, 2, 4, 6, 8, 10]
[[methods]]
model = "dip_vae"
variant = "i"
lambda_od = [1, 2, 5, 10, 20, 50]
[[methods]]
model = "dip_vae"
variant = "ii"
lambda_od = [1, 2, 5, 10, 20, 50]
[[methods]]
model = "info_vae"
mmd_weight = [5, 10, 25, 50, 75, 100]
"""
"""Six methods with six strengths, as in the large study of the field."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=("tensorflow", "jax", "torch"), required=True)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--out", type=Path, help="write the JSON there too")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def make(folder: Path, runs: int) -> int:
    """Make the study; return how many runs it has."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from support.studies import finished

    return len(finished(folder, STUDY.format(seeds=-(-runs // 36))).runs)


def measure(folder: Path) -> dict[str, float]:
    """Report the study; return what it took."""
    from keras_disent.experiments import Study

    wall, processor = time.perf_counter(), time.process_time()
    made = Study.open(folder).report()
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "seconds": round(time.perf_counter() - wall, 1),
        "processor_seconds": round(time.process_time() - processor, 1),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6),
        "html_mb": round(made.html.stat().st_size / 1e6, 2),
        "json_mb": round(made.json.stat().st_size / 1e6, 2),
    }


def main() -> None:
    """Measure and print."""
    args = arguments()
    os.environ["KERAS_BACKEND"] = args.backend
    if args.folder:
        print(json.dumps(measure(args.folder)))
        return
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "study"
        runs = make(folder, args.runs)
        child = [sys.executable, *sys.argv, "--folder", str(folder)]
        out = subprocess.run(child, check=True, stdout=subprocess.PIPE, text=True).stdout
    result = {"backend": args.backend, "runs": runs, **json.loads(out.splitlines()[-1])}
    print(json.dumps(result))
    if args.out:
        args.out.write_text(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
