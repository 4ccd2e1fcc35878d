"""Run the examples in the docstrings of the metrics."""

import doctest
import importlib
import pkgutil

import pytest

from keras_disent import metrics

MODULES = [m.name for m in pkgutil.walk_packages(metrics.__path__, "keras_disent.metrics.")]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name):
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    assert doctest.testmod(importlib.import_module(name), optionflags=flags).failed == 0


@pytest.mark.parametrize("name", metrics.METRICS)
def test_every_metric_has_an_example(name):
    assert ">>> " in metrics.METRICS[name].function.__doc__
