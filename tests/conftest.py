"""What all tests share: a quiet TensorFlow, and warnings of the package's own code as errors."""

import os
import sys

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# The models of the tests are tiny: XLA would spend far more on compiling them well than it saves.
FAST_COMPILER = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
os.environ.setdefault("XLA_FLAGS", FAST_COMPILER)
# A second thread would cost them more than it saves: on PyTorch three times the processor time.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
# As the command line, whose runs are compared with those of the tests' own process.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory):
    """Keep what tests decode away from the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_DISENT_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("KERAS_DISENT_DATA", raising=False)
        yield


@pytest.fixture(autouse=True, scope="session")
def brief_evaluation():
    """Evaluate objectives on few batches: half of the time of a run with few steps."""
    config = sys.modules.get("keras_disent.experiments.config")
    with pytest.MonkeyPatch.context() as patch:
        if config is not None:  # imported by a test module
            patch.setattr(config, "EVALUATION_BATCHES", 4)
        yield


@pytest.fixture
def evaluation_of_other_processes(monkeypatch):
    """Evaluate objectives as a process does that knows nothing of these tests."""
    monkeypatch.setattr("keras_disent.experiments.config.EVALUATION_BATCHES", 64)


def pytest_configure(config):
    config.addinivalue_line("filterwarnings", "error:::keras_disent")


# All of these files is quick on PyTorch, where nothing is compiled and processes start soonest. On
# the other backends the tests that are named here are quick, and the others slow.
QUICK_ON_EVERY_BACKEND = {
    # Chains of layers are shortened on PyTorch alone.
    "test_acceleration.py": ("test_low_rank_weights_act",),
    # What a method computes is compared with closed forms on PyTorch, and the other backends with
    # PyTorch in engine/test_backends_agree.py.
    "test_autoencoders.py": (),
    "test_causal.py": (),
    "test_causal_vae.py": (),
    "test_diagnosis.py": (),
    "test_group_vae.py": (),
    "test_info_gan.py": (),
    "test_objectives.py": ("test_vae",),
    "test_regularized.py": (),
    "test_style_networks.py": (),
    "test_supervision.py": ("test_labels_come_from_streams_too",),
    # What a folder, a command or a server does depends little on the backend.
    "test_cli.py": ("test_evaluate_scores_again_and_shows_a_table",),
    "test_cli_data.py": (),
    "test_custom.py": (),
    "test_executor.py": (),
    "test_hypermodel.py": (),
    "test_open_inference.py": (),
    "test_recommendation.py": (),
    "test_report.py": (),
    "test_run.py": ("test_models_of_pairs_get_pairs_and_what_differs",),
    "test_search.py": (),
    "test_store.py": (),
    "test_study.py": (),
    "test_trackers.py": (),
    "test_workers.py": (),
    "test_export.py": (
        "test_another_backend_writes_what_this_one_cannot",
        "test_exported_models_give_the_models_numbers",
        "test_images_come_out_as_bytes_if_asked_for",
        "test_the_signatures_of_a_saved_model_are_listed",
    ),
    # Nor do texts, pictures and pages.
    "test_arrays.py": (),
    "test_charts.py": (),
    "test_citations.py": (),
    "test_doctests.py": (),
    "test_examples.py": (),
    "test_home.py": (),
    "test_kinds.py": (),
    "test_layout.py": (),
    "test_notebook.py": (),
    "test_notebooks.py": (),
    "test_packaging.py": (),
    "test_page.py": (),
    "test_plots.py": (),
    "test_presets.py": (),
    "test_progress.py": (),
    "test_threads.py": (),
    # Callbacks of Keras are in engine/test_keras_callbacks.py.
    "test_callbacks.py": (
        "test_drawing_does_not_change_training",
        "test_measuring_does_not_change_training",
    ),
    "test_imports.py": (
        "test_using_everything_imports_no_tensorflow_and_prints_nothing",
        "test_keras_itself_loads_files_in_any_order_of_imports",
    ),
    "test_memory.py": ("test_training_keeps_freed_memory",),
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    listed = [item for item in items if item.path.name in QUICK_ON_EVERY_BACKEND]
    if listed:
        from support.checks import BACKEND

        for item in listed:
            quick = item.originalname in QUICK_ON_EVERY_BACKEND[item.path.name]
            if BACKEND != "torch" and not quick:
                item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True, scope="session")
def xla():
    """Compile every step with XLA if JIT_COMPILE is set: TensorFlow's own choice on a GPU."""
    if os.environ.get("JIT_COMPILE"):
        from keras_disent.engine import backend

        with pytest.MonkeyPatch.context() as patch:
            chosen = backend.resolve_jit_compile

            def resolve(model, jit_compile):
                alone = backend.devices_of(model) == 1
                return True if alone and jit_compile == "auto" else chosen(model, jit_compile)

            patch.setattr(backend, "resolve_jit_compile", resolve)
            yield
    else:
        yield


@pytest.fixture
def refused(capsys, monkeypatch):
    """Return a function that runs a command which must fail, and gives the one line it says."""
    from support.commands import call

    from keras_disent._utils import progress

    monkeypatch.setattr(progress, "FIRST", 600.0)  # however busy the machine

    def run(*arguments):
        capsys.readouterr()
        assert call(*arguments) == 2
        *before, line = capsys.readouterr().err.splitlines()
        assert not any("rror" in text or "Traceback" in text for text in before), before
        assert line.startswith("Error: ")
        return line

    return run


@pytest.fixture(autouse=True)
def clean_keras():
    """Give every test Keras as it is after its import."""
    import keras

    from keras_disent._utils.native import without_tensorflow

    with without_tensorflow():
        keras.utils.set_random_seed(0)
    yield
    keras.config.set_dtype_policy("float32")
    keras.utils.clear_session(free_memory=False)
