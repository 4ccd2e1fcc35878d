"""The examples in the docstrings of every module, on the backend of this test run."""

import doctest
import importlib
import pkgutil

import pytest
from support.checks import BACKEND

import keras_disent

MODULES = ["keras_disent"] + [
    module.name
    for module in pkgutil.walk_packages(keras_disent.__path__, "keras_disent.")
    if not module.name.startswith("keras_disent.metrics")  # see tests/metrics
]

# What other packages compute depends little on the backend.
EVERY_BACKEND = ("keras_disent.engine", "keras_disent.layers", "keras_disent.models")


def cases():
    for name in MODULES:
        quick = BACKEND == "torch" or name.startswith(EVERY_BACKEND)
        yield pytest.param(name, marks=[] if quick else pytest.mark.slow)


@pytest.mark.parametrize("name", list(cases()))
def test_examples_in_docstrings(name):
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    assert doctest.testmod(importlib.import_module(name), optionflags=flags).failed == 0


def test_examples_are_found():
    found = [name for name in MODULES if _examples(name)]
    for name in (
        "keras_disent",
        "keras_disent.models.vae",
        "keras_disent.datasets.rendered.sprites",
    ):
        assert name in found
    assert len(found) >= 15


def _examples(name):
    tests = doctest.DocTestFinder().find(importlib.import_module(name))
    return sum(len(test.examples) for test in tests)
