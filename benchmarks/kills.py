"""Kill `train`, `study run` and `tune` by SIGKILL, and compare what they end with.

    python benchmarks/kills.py --backend torch --kills 100
    python benchmarks/kills.py --backend jax --kills 20 --jobs 2

Each experiment is first done without a kill. Then, in new folders, the same command is killed: at a
random moment, or at an exact one, right before or after a file is renamed. It is called again (with
`--resume` for `train`, once there is a configuration) until it ends, and killed on the way as often
as asked for. In the end, weights, optimizers, histories, scores and trials must be bit-exact, no
result that was there before a kill may have changed, and no temporary file may be left. Prints
JSON: per experiment the kills, by kind, and how many folders they took. On PyTorch the processes
are forked from one that has imported everything; on the other backends each starts anew.
"""

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
SMALL = [
    *("--subset", "shape=square", "--subset", "orientation=0", "--subset", "scale=0,5"),
    *("--image-size", "32", "--network", "mlp", "--width", "0.02", "--latent-dim", "3"),
    *("--player-batch", "8", "--epoch-steps", "10", "--steps", "60", "--metrics", "mig"),
]
STUDY = """
image_size = 32
steps = 30
epoch_steps = 10
player_batch = 8
latent_dim = 3
network = "mlp"
width = 0.02
metrics = ["mig"]
seeds = 2
[subset]
shape = ["square"]
orientation = [0]
scale = [0, 5]
[[methods]]
model = "vae"
[[methods]]
model = "factor_vae"
"""
HOOK = """
import os, signal
point = int(os.environ.get("KILL_AT", "0"))
if point:
    replace, count = os.replace, [0]
    def killing(*names):
        count[0] += 1
        if count[0] == (point + 1) // 2 and point % 2:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(*names)
        if count[0] == point // 2 and point % 2 == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    os.replace = killing
"""


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", default="torch")
    parser.add_argument("--only", choices=("train", "study", "tune"), help="one experiment")
    parser.add_argument("--kills", type=int, default=30, help="of each kind of experiment")
    parser.add_argument("--each", type=int, default=4, help="most kills of one folder")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=1e9, help="of each experiment, at most")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def commands(folder, jobs):
    """Return the commands of the experiments, into a folder."""
    (folder / "a.toml").write_text(STUDY)
    tune = ["--model", "beta_vae", "--range", "beta=1:16", "--trials", "4", "--tuner", "bayesian"]
    tune = ["tune", *SMALL, *tune, "--jobs", str(jobs), "--out"]
    return {
        "train": ["train", *SMALL, "--model", "factor_vae", "--out"],
        "study": ["study", "run", str(folder / "a.toml"), "--jobs", str(jobs), "--out"],
        "tune": tune,
    }


class Starter:
    """Start the command line in a process that can be killed."""

    def __init__(self, backend, folder):
        os.environ.update(
            KERAS_BACKEND=backend,
            TF_CPP_MIN_LOG_LEVEL="3",
            OMP_NUM_THREADS="1",
            OMP_WAIT_POLICY="PASSIVE",
        )
        sys.path.insert(0, str(ROOT))
        (folder / "sitecustomize.py").write_text(HOOK)
        self.path = os.pathsep.join([str(folder), str(ROOT), os.environ.get("PYTHONPATH", "")])
        self.said = folder / "said.txt"
        self.forks = backend == "torch"
        if self.forks:
            import torch

            import keras_disent.cli
            from keras_disent import experiments

            torch.set_num_threads(1)
            for name in experiments.__all__:
                getattr(experiments, name)
            keras_disent.cli  # noqa: B018

    def start(self, command, kill_at=0):
        """Start a command; return the number of its process."""
        if not self.forks:
            with self.said.open("w") as file:
                return subprocess.Popen(
                    [sys.executable, "-m", "keras_disent.cli", *command],
                    env={**os.environ, "PYTHONPATH": self.path, "KILL_AT": str(kill_at)},
                    stdout=file,
                    stderr=file,
                    start_new_session=True,
                ).pid
        pid = os.fork()
        if pid:
            return pid
        os.setsid()
        out = os.open(self.said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.environ.update(PYTHONPATH=self.path, KILL_AT=str(kill_at))
        exec(HOOK, {})
        sys.argv = ["keras-disent", *command]
        from keras_disent import cli

        try:
            cli.main()
        except SystemExit as stop:
            os._exit(stop.code or 0)
        os._exit(9)


def ended(pid, seconds):
    """Wait for a process for some seconds; return its status, or None if it goes on."""
    end = time.monotonic() + seconds
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            return None
        time.sleep(0.005)


def kill(pid):
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def content(folder):
    """Return what has to be bit-exact: weights, histories, scores, trials."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.name == "model.keras":
            found[name] = weights(path)
        elif path.name in ("history.csv", "scores.json", "config.json", "best.json"):
            found[name] = path.read_text()
        elif path.name == "events.jsonl":
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            found[name] = [{**line, "seconds": None} for line in lines]
    return found


def weights(path):
    """Return a digest of all arrays of a model file."""
    import h5py

    digest = hashlib.sha256()
    with zipfile.ZipFile(path) as archive, archive.open("model.weights.h5") as file:
        with h5py.File(file) as store:

            def add(name, item):
                if isinstance(item, h5py.Dataset):
                    digest.update(name.encode() + item[()].tobytes())

            store.visititems(add)
    return digest.hexdigest()


def finished(folder):
    """Return the results that must not change any more."""
    done = [folder, *folder.glob("runs/*")]
    return {p: p.read_bytes() for d in done for p in d.glob("scores.json")}


def experiment(kind, starter, folder, command, args, chance):
    """Kill one kind of experiment as often as asked for; return the counts."""
    start = time.monotonic()
    end = start + args.seconds
    pid = starter.start([*command, str(folder / f"{kind}-whole")])
    assert ended(pid, 1e9) == 0, starter.said.read_text()
    length = time.monotonic() - start
    expected, counts = content(folder / f"{kind}-whole"), Counter()
    while counts["random"] + counts["exact"] < args.kills and time.monotonic() < end:
        counts["folders"] += 1
        out = folder / f"{kind}-{counts['folders']}"
        before, kills = {}, 0
        while True:
            resume = ["--resume"] if kind == "train" and (out / "config.json").exists() else []
            exact = chance.random() < 0.5
            last = kills >= args.each
            at = 0 if last or not exact else chance.randint(1, 40)
            pid = starter.start([*command, str(out), *resume], at)
            wait = 1e9 if last or at else chance.uniform(0, length)
            code = ended(pid, wait)
            for path, text in before.items():
                assert path.read_bytes() == text, f"{path} was made again"
            if code is None:
                kill(pid)
                counts["random"] += 1
            elif code == -signal.SIGKILL:
                counts["exact"] += 1
            else:
                assert code == 0, f"{out}: exit code {code}\n{starter.said.read_text()}"
                break
            kills += 1
            before = finished(out) if out.exists() else {}
        print(f"{kind}: {dict(counts)}", file=sys.stderr, flush=True)
        found = content(out)
        for name in {**expected, **found}:
            assert found.get(name) == expected.get(name), f"{out / name} differs"
        left = [path for path in out.rglob(".*") if path.name != ".lock"]
        assert not left, left
        if kind == "train":
            pictures = {p.name for p in (out / "traversals").iterdir()}
            assert pictures == {p.name for p in (folder / f"{kind}-whole" / "traversals").iterdir()}
    return dict(counts)


def main():
    args = arguments()
    chance = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        starter = Starter(args.backend, folder)
        counts = {
            kind: experiment(kind, starter, folder, command, args, chance)
            for kind, command in commands(folder, args.jobs).items()
            if args.only in (None, kind)
        }
    kills = sum(c.get("random", 0) + c.get("exact", 0) for c in counts.values())
    text = json.dumps({"backend": args.backend, "jobs": args.jobs, "kills": kills, **counts})
    print(text)
    if args.out:
        args.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
