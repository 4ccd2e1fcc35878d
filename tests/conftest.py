"""What all tests share: a quiet TensorFlow, and warnings of the package's own code as errors."""

import os

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# The models of the tests are tiny: XLA would spend far more on compiling them well than it saves.
FAST_COMPILER = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
os.environ.setdefault("XLA_FLAGS", FAST_COMPILER)


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory):
    """Keep what tests decode away from the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_DISENT_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("KERAS_DISENT_DATA", raising=False)
        yield


def pytest_configure(config):
    config.addinivalue_line("filterwarnings", "error:::keras_disent")


@pytest.fixture(autouse=True)
def clean_keras():
    """Give every test Keras as it is after its import."""
    import keras

    keras.utils.set_random_seed(0)
    yield
    keras.config.set_dtype_policy("float32")
    keras.utils.clear_session(free_memory=False)
