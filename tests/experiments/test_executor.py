"""Studies in many processes: killed, sharing a folder, on a full disk, on Ray and Dask."""

import contextlib
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from support.checks import on
from support.commands import environment
from support.studies import TINY, assert_each_run_is_there_once, bits, parsed

import keras_disent
from keras_disent._utils.files import locked
from keras_disent.experiments import Study

pandas = pytest.importorskip("pandas")
psutil = pytest.importorskip("psutil")

LONGER = TINY.replace("\nsteps = 3", "\nsteps = 120").replace("epoch_steps = 2", "epoch_steps = 20")
ENDLESS = LONGER.replace("\nsteps = 120", "\nsteps = 1_000_000")
PATIENCE = 300  # seconds, on a machine that does other things


def launch(said, module, *arguments, **variables):
    """Start a module of Python in the folder of the file that takes what it says."""
    with said.open("w") as file:
        return subprocess.Popen(
            [sys.executable, "-m", *map(str, [*module.split(), *arguments])],
            cwd=said.parent,
            env=environment(**variables),
            stdout=file,
            stderr=subprocess.STDOUT,
        )


@contextlib.contextmanager
def ended(*processes):
    """End processes, and all that they have started, with the block."""
    try:
        yield
    finally:
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                for child in psutil.Process(process.pid).children(recursive=True):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        child.kill()
            process.kill()
            process.wait()


class Started:
    """A study that is run by processes of its own."""

    def __init__(self, text, folder, name="study"):
        folder.mkdir(exist_ok=True)
        self.folder, self.place, self.plan = folder, folder / name, None
        (folder / "a.toml").write_text(text)
        self.calls = 0

    def run(self, *arguments, **environment):
        self.calls += 1
        self.said = self.folder / f"said{self.calls}.txt"
        command = ["run", "a.toml", "--out", self.place, *arguments]
        return launch(self.said, "keras_disent.cli study", *command, **environment)

    def at_work(self):
        """Return the names of the runs that a process trains now."""
        return [path.parent.name for path in self.place.glob("runs/*/.lock") if locked(path)]

    def workers(self, process):
        """Return the processes that do the runs."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(process.pid).children()
        return []

    def wait_for(self, process, happened):
        end = time.monotonic() + PATIENCE
        while not (found := happened()):
            assert process.poll() is None, self.said.read_text()
            assert time.monotonic() < end
            time.sleep(0.02)
        return found

    def finish(self, process):
        assert process.wait(2 * PATIENCE) == 0, self.said.read_text()
        return pandas.read_parquet(self.place / "results.parquet")


def assert_equal(found, expected):
    pandas.testing.assert_frame_equal(bits(found), bits(expected), check_exact=True)


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """Return the results of a study that nothing has disturbed."""
    study = Started(LONGER, tmp_path_factory.mktemp("whole"))
    return study.finish(study.run("--jobs", 2))


# -- killed ---------------------------------------------------------------------------------------


def killed_and_finished(times, study, seed, most):
    """Kill workers and the study by turns, at random moments; return the results in the end."""
    chance, before, kills = random.Random(seed), {}, 0
    process = study.run("--jobs", 2)
    try:
        while kills < times:
            study.wait_for(process, study.at_work)
            time.sleep(chance.uniform(0, most))
            before |= {path: path.read_bytes() for path in study.place.glob("runs/*/scores.json")}
            if kills % 2:
                process.kill()
                process.wait()
                process = study.run("--jobs", 2)
            else:
                workers = study.workers(process)
                assert process.poll() is None, "all was done before it was killed"
                if not workers:
                    continue
                try:
                    chance.choice(workers).kill()
                except psutil.NoSuchProcess:
                    continue
            kills += 1
        found = study.finish(process)
    finally:
        process.kill()
        process.wait()
    assert {path: path.read_bytes() for path in before} == before  # never again
    return found


@pytest.mark.slow
@on("torch")
def test_a_killed_worker_and_a_killed_study_leave_every_run_once(expected, tmp_path):
    study = Started(LONGER, tmp_path)
    assert_equal(killed_and_finished(2, study, seed=1, most=1), expected)
    assert_each_run_is_there_once(study.place, parsed(LONGER))


@pytest.mark.slow
def test_ten_kills_leave_every_run_once(tmp_path):
    text = LONGER.replace("\nsteps = 120", "\nsteps = 400")
    expected = Study.create(parsed(text), tmp_path / "whole").run(n_jobs=2)
    study = Started(text, tmp_path)
    found = killed_and_finished(10, study, seed=int(os.environ.get("SEED", "2")), most=6)
    assert_equal(found, expected)
    assert_each_run_is_there_once(study.place, parsed(text))


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["starting", "at work"])
@on("torch")
def test_no_worker_outlives_its_study(moment, tmp_path):
    study = Started(ENDLESS, tmp_path)
    process = study.run("--jobs", 2)
    with ended(process):
        me = psutil.Process(process.pid)
        if moment == "starting":
            study.wait_for(process, lambda: len(me.children()) > 1)
        else:
            study.wait_for(process, lambda: len(study.at_work()) == 2)
        children = me.children(recursive=True)
        process.kill()
        process.wait()
        _, left = psutil.wait_procs(children, timeout=15)
        for child in left:
            child.kill()
        assert not left
    assert not study.at_work()


# -- sharing a folder -----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("parts", [("1/1", "1/1"), ("1/2", "2/2")])
@on("torch")
def test_two_share_a_folder(parts, expected, tmp_path):
    one, other = Started(LONGER, tmp_path / "a"), Started(LONGER, tmp_path / "b")
    other.place = one.place
    first = one.run("--jobs", 1, "--shard", parts[0])
    with ended(first):
        one.wait_for(first, (one.place / "study.json").exists)
        second = other.run("--jobs", 1, "--shard", parts[1])
        with ended(second):
            for study, process in ((one, first), (other, second)):
                assert process.wait(2 * PATIENCE) == 0, study.said.read_text()
    found = pandas.read_parquet(one.place / "results.parquet")
    assert_equal(found, expected)
    assert_each_run_is_there_once(one.place, parsed(LONGER))


# -- a full disk ----------------------------------------------------------------------------------


@pytest.mark.slow
@on("torch")
def test_a_full_disk_in_the_middle_of_runs_is_told(expected, tmp_path):
    resource = pytest.importorskip("resource")
    study = Started(LONGER, tmp_path)
    process = study.run("--jobs", 2)
    with ended(process):
        study.wait_for(process, lambda: list(study.place.glob("runs/*/scores.json")))
        for worker in study.workers(process):
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (300, resource.RLIM_INFINITY))
        assert process.wait(PATIENCE) == 2, study.said.read_text()
        told = study.said.read_text()
        assert f"Error: Cannot write '{study.place / 'runs'}" in told
        assert "File too large. What is finished is kept: make room, and run the" in told
        assert not Study.open(study.place).failures()
        done = {path: path.read_bytes() for path in study.place.rglob("scores.json")}
        assert_equal(study.finish(study.run("--jobs", 2)), expected)
    assert {path: path.read_bytes() for path in done} == done
    assert_each_run_is_there_once(study.place, parsed(LONGER))


# -- clusters -------------------------------------------------------------------------------------


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def ray_cluster(folder):
    """Give the environment of a Ray cluster with two processors, started in another folder."""
    pytest.importorskip("ray")
    port, short = free_port(), Path("/tmp") / f"ray-{os.getpid()}"  # sockets have short names
    options = [f"--port={port}", "--num-cpus=2", "--block", f"--temp-dir={short}"]
    options += ["--include-dashboard=false", "--disable-usage-stats"]
    options += ["--object-store-memory=100000000", "--node-ip-address=127.0.0.1"]
    ours = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}  # nobody else's
    cluster = launch(folder / "ray.txt", "ray.scripts.scripts start --head", *options, **ours)
    with ended(cluster):
        answers(cluster, port, folder / "ray.txt")
        yield {"RAY_ADDRESS": f"127.0.0.1:{port}", **ours}
    shutil.rmtree(short, ignore_errors=True)


@contextlib.contextmanager
def dask_cluster(folder):
    """Give the environment of a Dask cluster of two processes, started in another folder."""
    pytest.importorskip("distributed")
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    host = ["--host", "127.0.0.1", "--no-dashboard"]
    scheduler = launch(folder / "dask.txt", "distributed.cli.dask_scheduler --port", port, *host)
    with ended(scheduler):
        answers(scheduler, port, folder / "dask.txt")
        options = ["--nworkers", 2, "--nthreads", 1, "--no-dashboard", "--local-directory", folder]
        workers = launch(folder / "workers.txt", "distributed.cli.dask_worker", address, *options)
        with ended(workers):
            yield {"DASK_SCHEDULER_ADDRESS": address}


def answers(process, port, said):
    end = time.monotonic() + PATIENCE
    while True:
        assert process.poll() is None, said.read_text()
        assert time.monotonic() < end
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.2)


CLUSTERS = {"ray": ray_cluster, "dask": dask_cluster}


@pytest.mark.slow
@pytest.mark.parametrize("executor", CLUSTERS)
def test_a_cluster_of_two_processes_does_a_study(executor, tmp_path):
    """Two workers, in another directory than the pictures; one of them is killed."""
    images = keras_disent.datasets.load("sprites", image_size=32).images(range(0, 700_000, 7_000))
    (tmp_path / "mine").mkdir()
    np.savez(tmp_path / "mine" / "pictures.npz", images=images)
    text = LONGER.partition("[subset]")[0]
    text = 'data = "pictures.npz"\n' + text.replace('["mig"]', '["active_units"]')
    text += "[[methods]]\nmodel = 'beta_vae'\nbeta = [1, 4]\n"
    study, whole = (Started(text, tmp_path / "mine", name) for name in ("study", "whole"))
    (tmp_path / "elsewhere").mkdir()
    expected = whole.finish(whole.run("--jobs", 1))
    with CLUSTERS[executor](tmp_path / "elsewhere") as variables:
        process = study.run("--executor", executor, **variables)
        with ended(process):
            study.wait_for(process, lambda: len(study.at_work()) == 2)
            pids = holders(study.place)
            assert process.pid not in pids
            assert {Path(f"/proc/{pid}/cwd").resolve() for pid in pids} != {tmp_path / "mine"}
            os.kill(min(pids), signal.SIGKILL)
            found = study.finish(process)
    assert_equal(found, expected)
    names = {path.name for path in (whole.place / "runs").iterdir()}
    assert {path.name for path in (study.place / "runs").iterdir()} == names


def holders(place):
    """Return the processes that hold locks of runs."""
    inodes = {path.stat().st_ino for path in place.glob("runs/*/.lock")}
    lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return {int(line[4]) for line in lines if int(line[5].split(":")[2]) in inodes}


@pytest.mark.parametrize("executor", CLUSTERS)
@on("torch")
def test_an_executor_that_is_not_there_is_told_before_any_work(executor, tmp_path, monkeypatch):
    study = Study.create(parsed(TINY), tmp_path / "study")
    monkeypatch.setitem(sys.modules, executor, None)
    with pytest.raises(ImportError, match=rf"pip install 'keras-disent\[{executor}\]'"):
        study.run(executor=executor)
    assert not (tmp_path / "study" / "runs").exists()


@on("torch")
def test_what_cannot_be_is_told_before_any_work(tmp_path):
    study = Study.create(parsed(TINY), tmp_path / "study")
    with pytest.raises(
        ValueError, match=r"Unknown executor 'spark'. Choose from: dask, local, ray"
    ):
        study.run(executor="spark")
    with pytest.raises(ValueError, match=r"`n_jobs` must be an integer of at least 1. Got 0."):
        study.run(n_jobs=0)
    if "distributed" in sys.modules or importable("distributed"):
        with pytest.raises(ValueError, match="set DASK_SCHEDULER_ADDRESS to the address"):
            study.run(executor="dask")
    assert not (tmp_path / "study" / "runs").exists()


def importable(name):
    from importlib.util import find_spec

    return find_spec(name) is not None
