"""Arrays, tensors and tables of any library, in every metric of arrays."""

from functools import cache

import numpy as np
import pytest
from support.commands import python

from keras_disent import metrics
from keras_disent._utils.arrays import to_numpy

RNG = np.random.default_rng(0)
FACTORS = RNG.integers(3, size=(90, 3))
CODES = (FACTORS + RNG.integers(-2, 3, size=(90, 3)) / 4).astype("float32")  # exact in bfloat16
NAMES = ("size", "x", "y")


class OnlyDLPack:
    """An array that nothing but `__dlpack__` reads."""

    def __init__(self, array):
        self._array = array

    def __dlpack__(self, **options):
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self._array.__dlpack_device__()


class LikeCuPy(OnlyDLPack):
    """An array on a device: NumPy must ask for a copy on the processor."""

    def __array__(self, dtype=None, copy=None):
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def __dlpack__(self, *, dl_device=None, **options):
        assert dl_device == (1, 0), "a copy on the processor must be asked for"
        return self._array.__dlpack__(dl_device=dl_device, **options)

    def __dlpack_device__(self):
        return 2, 0


class OnlyArray:
    """An array that nothing but `__array__` reads."""

    def __init__(self, array):
        self._array = array

    def __array__(self, dtype=None, copy=None):
        return self._array if dtype is None else self._array.astype(dtype)


def library(name):
    return pytest.importorskip(name)


def table(make):
    return lambda x: make(dict(zip(NAMES, x.T, strict=True)))


KINDS = {
    "list": np.ndarray.tolist,
    "torch": lambda x: library("torch").tensor(x),
    "torch_gradient": lambda x: library("torch").tensor(x * 1.0, requires_grad=True),
    "torch_bfloat16": lambda x: library("torch").tensor(x).bfloat16(),
    "jax": lambda x: library("jax.numpy").asarray(x),
    "jax_bfloat16": lambda x: library("jax.numpy").asarray(x, dtype="bfloat16"),
    "tensorflow": lambda x: library("tensorflow").constant(x),
    "tensorflow_bfloat16": lambda x: library("tensorflow").cast(x, "bfloat16"),
    "tensorflow_variable": lambda x: library("tensorflow").Variable(x),
    "keras_variable": lambda x: library("keras").Variable(x, dtype=x.dtype.name, trainable=False),
    "dlpack": OnlyDLPack,
    "like_cupy": LikeCuPy,
    "array": OnlyArray,
    "pandas": table(lambda columns: library("pandas").DataFrame(columns)),
    "polars": table(lambda columns: library("polars").DataFrame(columns)),
    "pyarrow": table(lambda columns: library("pyarrow").table(columns)),
    "mapping": table(dict),
}

QUICK = {"downstream": {"sizes": (30,)}, "unified": {"matrices": ("mutual_information",)}}


TREES = ("dci", "dci_es", "downstream", "reduced_downstream")  # slower than the others
WITH_TREES = ("torch_gradient", "like_cupy", "pandas")


def results(convert, without=()):
    """Return the numbers of each public function of arrays, for the same arrays."""
    codes, factors = convert(CODES), convert(FACTORS)
    log_variances = convert(np.full_like(CODES, -4))
    inputs = {"arrays": (codes, factors), "codes": (codes,)}
    inputs["posterior"] = codes, log_variances, factors
    found = {
        name: metric.function(*inputs[metric.takes], **QUICK.get(name, {}))
        for name, metric in metrics.METRICS.items()
        if metric.takes != "encoder" and name not in without
    }
    test = convert(CODES[::-1].copy()), convert(FACTORS[::-1].copy())
    found["test"] = metrics.explicitness(codes, factors, test=test)
    found["sap_matrix"] = metrics.sap_matrix(codes, factors, continuous=True)
    kls = convert(np.ones((1, 3)))
    found["udr"] = metrics.udr([codes, codes], [to_numpy(kls)[0], to_numpy(kls)[0]])
    found["discretize"] = metrics.discretize(codes, 4)
    found["entropy"] = metrics.entropy(factors)
    found["mutual_information"] = metrics.mutual_information(factors, factors)
    found["aggregate"] = metrics.aggregate(convert(np.eye(3)), np.ones(3))
    found["bootstrap"] = metrics.bootstrap(metrics.mig, codes, factors, n_resamples=3)
    return {name: numbers(value) for name, value in found.items()}


def numbers(result):
    """Return all numbers of a result in one array."""
    parts = result.numbers().values() if hasattr(result, "numbers") else [result]
    return np.concatenate([np.ravel(part).astype(float) for part in parts])


@cache
def expected(dtype):
    return results(lambda x: x.astype(dtype) if x.dtype.kind == "f" else x)


@pytest.mark.parametrize("kind", KINDS)
def test_every_metric_takes_arrays_of_every_library(kind):
    if kind == "like_cupy" and np.lib.NumpyVersion(np.__version__) < "2.1.0":
        pytest.skip("NumPy 2.0 cannot ask for a copy on the processor")
    convert = KINDS[kind]
    for x in (CODES, FACTORS):
        np.testing.assert_array_equal(to_numpy(convert(x)), x)
    found = results(convert, () if kind in WITH_TREES else TREES)
    values = expected(to_numpy(convert(CODES)).dtype.name)
    for name in found:
        np.testing.assert_allclose(found[name], values[name], atol=1e-12, err_msg=name)


def test_no_library_is_imported_to_read_an_array():
    code = """
from keras_disent import metrics
rows = [[0, 1], [1, 0], [0, 0], [1, 1]] * 9
print(metrics.mig(rows, rows), metrics.dci({"a": [0, 1] * 9, "b": [0, 0, 1] * 6}, rows[:18]))
libraries = {"torch", "jax", "tensorflow", "pandas", "polars", "pyarrow", "cupy", "keras"}
assert not libraries & set(sys.modules), libraries & set(sys.modules)
"""
    status, out, last = python(code)
    assert (status, last) == (0, "")
    assert out.startswith("1.0 DCI(disentanglement=")


@pytest.mark.parametrize("kind", ["pandas", "polars", "pyarrow"])
def test_results_have_the_names_of_columns(kind):
    codes = dict(zip(("u", "v", "w"), CODES.T, strict=True))
    make = {"pandas": "DataFrame", "polars": "DataFrame", "pyarrow": "table"}[kind]
    make = getattr(library(kind), make)
    factors = {**dict(zip(NAMES, FACTORS.T, strict=True)), "one": np.zeros(90, int)}
    result = metrics.dci(make(codes), make(factors))
    assert (result.latent_names, result.factor_names) == (("u", "v", "w"), (*NAMES, "one"))
    assert result.factors_used == (0, 1, 2)
    assert result.labels("importance") == (("u", "v", "w"), NAMES)
    assert metrics.dci(CODES, FACTORS).labels("importance") == ((0, 1, 2), (0, 1, 2))
    robust = metrics.irs(make({"dead": np.zeros(90), **codes}), make(factors))
    assert robust.labels("matrix") == (("u", "v", "w"), NAMES)
    unified = metrics.unified_scores(make(codes), make(factors), matrices=["mutual_information"])
    assert unified.labels("mutual_information.mig_per_factor") == (NAMES,)


def test_missing_values_of_tables_are_left_out():
    pandas, polars = library("pandas"), library("polars")
    gaps = np.where(RNG.random(FACTORS.shape) < 0.1, np.nan, FACTORS)
    cells = {
        name: [None if np.isnan(value) else int(value) for value in column]
        for name, column in zip(NAMES, gaps.T, strict=True)
    }
    masked = np.ma.masked_invalid(gaps)
    for frame in (
        polars.DataFrame(cells),
        pandas.DataFrame({n: pandas.array(c, dtype="Int64") for n, c in cells.items()}),
        cells,
        masked,
    ):
        np.testing.assert_array_equal(np.ma.filled(to_numpy(frame), np.nan), gaps)
        assert metrics.mig(CODES, frame) == metrics.mig(CODES, gaps)
        np.testing.assert_array_equal(
            metrics.mcc(CODES, frame).matrix, metrics.mcc(CODES, masked).matrix
        )


def test_continuous_factors_by_the_name_of_their_column():
    frame = dict(zip(NAMES, FACTORS.T, strict=True))
    for function in (metrics.mig, metrics.sap):
        named = function(CODES, frame, continuous=["x"])
        assert named == function(CODES, FACTORS, continuous=[1])
    with pytest.raises(ValueError, match=r"column numbers of `factors` from 0 to 2. Got 'y2'"):
        metrics.mig(CODES, frame, continuous=["y2"])


@pytest.mark.parametrize(
    ("factors", "options", "message"),
    [
        (
            {"size": [0, 1] * 45, "color": ["red", "blue"] * 45},
            {},
            "`factors` needs one number per row in each column. Got <U4 in 'color': number its "
            "values first, as pandas.factorize does.",
        ),
        ({}, {}, "`factors` needs at least one column. Got none."),
        (
            {"size": [0.5, 1] * 45},
            {"continuous": False},
            "factor 'size' must hold whole numbers unless it is named in `continuous`. Got 0.5.",
        ),
        (
            dict(zip(NAMES, FACTORS.T, strict=True)),
            {"test": (CODES, dict(zip(NAMES[::-1], FACTORS.T, strict=True)))},
            "`test` needs the columns of `factors`, size, x, y, in their order. Got y, x, size.",
        ),
    ],
)
def test_bad_tables_are_refused(factors, options, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        metrics.sap(CODES, factors, **options)
    assert str(error.value) == message


def test_columns_of_one_name_are_refused():
    frame = library("pandas").DataFrame(FACTORS, columns=["a", "b", "a"])
    with pytest.raises(ValueError, match=r"different names\. Got 'a' twice"):
        metrics.mig(CODES, frame)


def test_encoders_may_return_tensors():
    torch = library("torch")
    from support.toy import Toy, standard

    def encode(images):
        return torch.tensor(standard(images), requires_grad=True)

    scores = [metrics.evaluate(e, Toy(), "mig", n_samples=300)["mig"] for e in (encode, standard)]
    assert scores[0] == scores[1]
