"""Every model keeps every promise of `keras_disent.testing`, and a broken one is named."""

import pytest
from support.checks import BACKEND, images, learned_from, small

from keras_disent import testing
from keras_disent.models import MODELS

# PyTorch compiles nothing, so all promises are quick there. On the other backends they are checked
# of a model with two players, and of the others among the slow tests; image weights, which that one
# refuses, of one that takes them.
QUICK = {("factor_vae", promise) for promise in testing.PROMISES} | {("vae", "image weights")}


def cases():
    for name in MODELS:
        for promise in testing.PROMISES:
            slow = BACKEND != "torch" and (name, promise) not in QUICK
            yield pytest.param(name, promise, marks=[pytest.mark.slow] if slow else [])


@pytest.mark.parametrize(("name", "promise"), list(cases()))
def test_every_model_keeps_every_promise(name, promise):
    data = learned_from(small(name), images(16))
    testing.check_model(lambda: small(name), *data, promises=[promise])
