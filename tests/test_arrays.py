"""Images and codes of any kind: arrays, tensors and variables of every library."""

import importlib.util
import re

import keras
import numpy as np
import pytest
from keras import ops
from support.checks import BACKEND, LATENTS, images, small

from keras_disent._utils.arrays import to_numpy
from keras_disent.models import batching


def of_torch(x, **options):
    return pytest.importorskip("torch").tensor(x, **options)


def of_tensorflow(x, kind="constant"):
    return getattr(pytest.importorskip("tensorflow"), kind)(x)


def half(x):
    return ops.cast(ops.convert_to_tensor(x), "bfloat16")


KINDS = {
    "tensor": ops.convert_to_tensor,
    "variable": lambda x: keras.Variable(x, dtype=x.dtype.name, trainable=False),
    "jax": lambda x: pytest.importorskip("jax").numpy.asarray(x),
    "tensorflow": of_tensorflow,
    "tensorflow_variable": lambda x: of_tensorflow(x, "Variable"),
    "torch": of_torch,
}
if BACKEND == "torch":
    KINDS["gradient"] = lambda x: of_torch(x / 1.0, requires_grad=True)


def floats(n=9):
    return images(n).astype("float32") / 256  # without a rest in bfloat16


@pytest.mark.parametrize("kind", KINDS)
def test_methods_take_arrays_of_every_library(kind):
    make, model, x = KINDS[kind], small("vae"), floats()
    given, codes = make(x), model.encode(x)
    expected = {
        "encode": (x,),
        "reconstruct": (x,),
        "latent_kl": (x,),
        "latent_importance": (x,),
        "traverse": (x, [0, 2], [-1.0, 1.0]),
    }
    for name, (_, *rest) in expected.items():
        method = getattr(model, name)
        got = method(given, *map(make, map(np.array, rest)), batch_size=4)
        assert isinstance(got, np.ndarray)
        np.testing.assert_allclose(got, method(x, *rest), atol=1e-6)
    np.testing.assert_allclose(model.decode(make(codes)), model.decode(codes), atol=1e-6)


def test_interventions_take_tensors_of_the_backend():
    model, x = small("causal_vae", graph=np.triu(np.ones((LATENTS, LATENTS)), 1)), floats(5)
    values = np.linspace(0, 1, 5).astype("float32")
    expected = model.intervene(x, {"concept_0": values})
    for make in (KINDS["tensor"], KINDS["variable"], KINDS.get("gradient", ops.array)):
        got = model.intervene(make(x), {"concept_0": make(values)})
        np.testing.assert_allclose(got, expected, atol=1e-6)


@pytest.mark.parametrize("name", ["vae", "autoencoder", "info_gan"])
def test_half_precision_images_give_the_codes_of_single(name):
    model, x = small(name), images(9).astype("float32") / 256
    for make in (half, lambda x: x.astype("float16"), lambda x: x.astype("float64")):
        np.testing.assert_allclose(model.encode(make(x)), model.encode(x), atol=1e-6)
    codes = model.encode(x).round(1)
    exact = to_numpy(half(codes)).astype("float32")
    np.testing.assert_array_equal(model.decode(half(codes)), model.decode(exact))


def test_codes_may_be_lists():
    model = small("vae")
    rows = [[0.0, 1.0, 2.0], [3, 4, 5]]
    np.testing.assert_array_equal(model.decode(rows), model.decode(np.array(rows, "float32")))
    for wrong in ([[1.0, 2.0]], [1.0, 2.0, 3.0]):
        with pytest.raises(ValueError, match=r"`codes` must be \(n, 3\)\. Got shape"):
            model.decode(wrong)
    with pytest.raises(ValueError, match=r"`codes` must hold at least one row\. Got none\."):
        model.decode(np.zeros((0, LATENTS)))


@pytest.mark.parametrize(
    ("latents", "values", "rule"),
    [
        ([1.5], [0.0], "Unknown latent 1.5. Choose from: z0, z1, z2, or a number from 0 to 2."),
        (["z3"], [0.0], "Unknown latent 'z3'. Choose from: z0, z1, z2, or a number from 0 to 2."),
        ([-1], [0.0], "Unknown latent -1. Choose from: z0, z1, z2, or a number from 0 to 2."),
        ([0], [np.nan], "`values` are finite numbers, in one row. Got [nan]."),
        ([0], [[1.0]], "`values` are finite numbers, in one row. Got [[1.0]]."),
        ([], [1.0], "`latents` must hold at least one latent. Got none."),
        ([0], [], "`values` must hold at least one number. Got none."),
    ],
)
def test_traversals_of_nothing_are_refused(latents, values, rule):
    with pytest.raises(ValueError, match=re.escape(rule)):
        small("vae").traverse(images(2), latents, values)


def test_few_results_wait_on_the_device(monkeypatch):
    model, x = small("vae"), images(40)
    expected, alive, most = model.encode(x, batch_size=4), [], []

    class Counting:
        """Keras's operations, of which the last one is counted."""

        def __getattr__(self, name):
            return getattr(ops, name)

        def convert_to_numpy(self, tensor):
            most.append(len(alive))
            alive.clear()
            return ops.convert_to_numpy(tensor)

        def convert_to_tensor(self, x, **options):
            alive.append(1)
            return ops.convert_to_tensor(x, **options)

    monkeypatch.setattr(batching, "ops", Counting())
    for limit, batches in ((1 << 26, 10), (0, 1), (1000, 3)):
        most.clear()
        monkeypatch.setattr(batching, "IN_FLIGHT", limit)  # a batch is 256 + 96 bytes
        np.testing.assert_array_equal(model.encode(x, batch_size=4), expected)
        assert max(most) == batches


def test_batches_are_bounded_by_the_bytes_of_images(monkeypatch):
    model, x = small("vae"), images(40)
    codes, most = model.encode(x), []
    decoded = model.decode(codes)

    class Watching:
        """Keras's operations, which note the number of rows of each batch."""

        def __getattr__(self, name):
            return getattr(ops, name)

        def convert_to_tensor(self, x, **options):
            most.append(len(x))
            return ops.convert_to_tensor(x, **options)

    monkeypatch.setattr(batching, "ops", Watching())
    monkeypatch.setattr(batching, "BATCH_BYTES", 10 * x[0].size * 4)
    np.testing.assert_allclose(model.encode(x), codes, atol=1e-5)
    np.testing.assert_allclose(model.decode(codes), decoded, atol=1e-5)
    assert max(most) == 10
    monkeypatch.setattr(batching, "BATCH_BYTES", 1)
    model.encode(x[:3])
    assert most[-3:] == [1, 1, 1]


def test_arrays_are_read_without_keras():
    assert to_numpy(x := np.zeros(3)) is x
    for library in ("torch", "jax.numpy", "tensorflow"):
        if importlib.util.find_spec(library.partition(".")[0]):
            module = importlib.import_module(library)
            ones = module.ones((2,))
            np.testing.assert_array_equal(to_numpy(ones), [1.0, 1.0])
