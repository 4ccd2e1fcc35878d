"""Threads of the libraries: as many as other processes leave free, unless the user chooses."""

import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from support.checks import quick_on_torch
from support.commands import QUICK, process

from keras_disent import VAE
from keras_disent._utils import threads
from keras_disent.engine import backend, contention
from keras_disent.experiments.store import RUN, Store

KERNELS = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000", "TF_ENABLE_ONEDNN_OPTS": "1"}


@pytest.fixture
def machine(monkeypatch):
    """Return the environment, empty, of a machine with 4 processors of which 3 are busy."""
    for name in (*threads.COUNTS, *KERNELS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(threads, "processors", lambda: 4)
    monkeypatch.setattr(threads, "free_processors", lambda: 1)
    monkeypatch.setattr(threads.os, "cpu_count", lambda: 4)
    return monkeypatch


def test_a_busy_machine_gives_the_processors_that_are_free(machine):
    variables = threads.thread_env()
    assert variables == {**KERNELS, **dict.fromkeys(threads.COUNTS, "1")}


def test_on_a_quiet_machine_the_libraries_choose_their_threads(machine):
    machine.setattr(threads, "free_processors", lambda: 4)
    assert threads.thread_env() == KERNELS


def test_variables_of_the_user_stay(machine):
    machine.setenv("TF_NUM_INTRAOP_THREADS", "3")
    machine.setenv("OMP_WAIT_POLICY", "ACTIVE")
    machine.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    variables = threads.thread_env()
    assert variables["NPROC"] == "1"
    assert not {"TF_NUM_INTRAOP_THREADS", *KERNELS} & variables.keys()
    machine.setenv("OMP_NUM_THREADS", "2")  # holds for all libraries
    assert threads.thread_env()["NPROC"] == threads.thread_env(default=1)["NPROC"] == "2"
    assert threads.thread_env(threads=4)["OMP_NUM_THREADS"] == "4"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_load_is_that_of_other_processes():
    before = threads.Load()
    sum(range(3_000_000))  # of this process
    own = before.others()
    busy = subprocess.Popen(
        [sys.executable, "-c", "print(flush=True)\nwhile True: pass"], stdout=-1
    )
    try:
        busy.stdout.readline()
        load = threads.Load()
        threads.time.sleep(0.5)
        others = load.others()
    finally:
        busy.kill()
        busy.communicate()
    assert 0 <= own <= len(os.sched_getaffinity(0)) + 0.5
    assert 0.5 < others <= len(os.sched_getaffinity(0)) + 0.5


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_time_of_this_process_and_of_nicer_ones_is_free(tmp_path, monkeypatch):
    stat = tmp_path / "stat"
    clock = SimpleNamespace(now=0.0, own=0.0)
    monkeypatch.setattr(threads, "_STAT", stat)
    monkeypatch.setattr(
        threads,
        "time",
        SimpleNamespace(monotonic=lambda: clock.now, process_time=lambda: clock.own),
    )
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda pid: {0, 2})
    monkeypatch.setattr(threads.os, "sysconf", lambda name: 100)
    for nice, expected in ((0, 0.5), (19, 0.75)):
        monkeypatch.setattr(threads.os, "nice", lambda by, nice=nice: nice)
        clock.now = clock.own = 0.0
        stat.write_text(
            "cpu 9 9 9 9 9 9 9 9\n" + "cpu0 0 0 0 0 0 0 0 0 0 0\ncpu2 0 0 0 0 0 0 0 0\n"
        )
        load = threads.Load()
        clock.now, clock.own = 2.0, 0.5
        # 150 ticks of user and system, of which 50 are this process's; 50 nice ones.
        stat.write_text(
            "cpu0 100 50 0 50 0 0 0 0 0 0\ncpu1 200 0 0 0 0 0 0 0\ncpu2 0 0 50 99 51 0 0 0\n"
        )
        assert load.others() == expected


def test_threads_that_spin_beside_other_processes_are_told_of_once(monkeypatch):
    monkeypatch.setattr(contention, "PERIOD", 0.0)
    monkeypatch.setattr(contention, "_warned", False)
    monkeypatch.setattr(contention, "Load", lambda: SimpleNamespace(others=lambda: 99.0))
    monkeypatch.setattr(backend, "threads", lambda: 2)
    model = VAE((8, 8, 1), 2, encoder="mlp", decoder="mlp", seed=0)
    model.compile()
    images = np.zeros((8, 8, 8, 1), "uint8")
    model.fit(images, batch_size=4, verbose=0)  # no warning, which would be an error
    monkeypatch.setattr(backend, "threads_spin", lambda: True)
    with pytest.warns(UserWarning, match="set OMP_WAIT_POLICY=PASSIVE before"):
        model.fit(images, batch_size=4, verbose=0)
    model.fit(images, batch_size=4, verbose=0)


@pytest.mark.parametrize("number", [0, 100_000])
def test_threads_without_processors_are_refused(refused, tmp_path, number):
    line = refused("train", *QUICK, "--out", tmp_path / "run", "--threads", number)
    assert line.startswith("Error: `threads` is 1 to ")
    assert line.endswith(f"Got {number}.")
    assert not (tmp_path / "run").exists()


@quick_on_torch
def test_a_run_tells_its_threads_and_resumes_with_as_many(tmp_path):
    folder = tmp_path / "run"

    def train(*options):
        running = process("train", *QUICK, "--out", folder, *options, OMP_NUM_THREADS="")
        output, _ = running.communicate()
        assert running.returncode == 0, output
        return output

    assert f"({backend.BACKEND}, 1 thread)" in train("--threads", 1)
    assert Store(RUN, folder).threads() == 1
    assert "1 thread)" in train("--resume", "--steps", "8")  # whatever is free
    assert Store(RUN, folder).threads() == 1
