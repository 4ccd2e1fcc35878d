"""Freed memory is kept for reuse while a model trains, and returned afterwards."""

import resource
import subprocess
import sys

import keras
import numpy as np
import pytest
from support.checks import BACKEND, elsewhere, on

from keras_disent import VAE
from keras_disent._utils import memory

needs_glibc = pytest.mark.skipif(memory.glibc() is None, reason="needs glibc")
ARRAY = 48 * memory.MIB  # bytes: glibc returns this much whenever it is freed


def faults(times: int, size: int = ARRAY) -> int:
    """Return how many pages the system maps when arrays are allocated and freed."""
    start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        np.ones(size, "uint8")
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - start


def resident() -> int:
    """Return the memory of this process in bytes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def look_at_freed_memory():
    before = resident()
    with memory.keep_freed_memory():
        first, others = faults(1), faults(10)
        kept = resident()
    assert others < first / 2  # ten times nothing: the pages of the first array serve all
    assert kept > before + ARRAY // 2 > resident()
    with pytest.raises(ZeroDivisionError):
        fail_inside()
    assert resident() < before + ARRAY // 2


def fail_inside():
    with memory.keep_freed_memory():
        faults(1)
        raise ZeroDivisionError


class Allocate(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        self.faults = faults(1), faults(10)


def look_at_training():
    model, allocate = VAE((16, 16, 1), latent_dim=2, seed=0), Allocate()
    model.compile()
    model.fit(np.zeros((4, 16, 16, 1), "uint8"), batch_size=4, verbose=0, callbacks=[allocate])
    first, others = allocate.faults
    assert others < first / 2


# In processes of their own: the memory that other tests freed would serve these arrays too.


@needs_glibc
def test_freed_memory_is_kept_inside_and_returned_on_exit():
    elsewhere(look_at_freed_memory)


@needs_glibc
@pytest.mark.skipif(BACKEND == "tensorflow", reason="maps an array of this size all the same")
def test_training_keeps_freed_memory():
    elsewhere(look_at_training)


def test_a_configured_allocator_is_left_alone(monkeypatch):
    monkeypatch.setenv("MALLOC_ARENA_MAX", "2")
    assert memory.glibc() is None
    with memory.keep_freed_memory():
        pass
    monkeypatch.delenv("MALLOC_ARENA_MAX")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert memory.glibc() is None


THREADS = """
from keras_disent.layers import networks  # before Keras, which starts a thread with its own memory
import resource
from concurrent.futures import ThreadPoolExecutor
import keras
import numpy as np
from keras_disent._utils.memory import MIB, keep_freed_memory

def faults(times):
    start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        np.ones(96 * MIB, "uint8")
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - start

with keep_freed_memory():
    for _ in range(4):
        with ThreadPoolExecutor(1) as thread:
            print(*(thread.submit(faults, times).result() for times in (1, 10)))
"""


@needs_glibc
@on("jax")
def test_all_threads_of_jax_keep_freed_memory():
    said = subprocess.run([sys.executable, "-c", THREADS], capture_output=True, text=True)
    lines = [[int(number) for number in line.split()] for line in said.stdout.splitlines()]
    assert len(lines) == 4, said.stderr
    largest = max(first for first, _ in lines)
    assert largest > 0
    assert all(others < largest / 2 for _, others in lines), lines
