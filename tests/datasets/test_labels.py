"""Labels as tables have them: types, gaps, tags, kinds."""

from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum

import numpy as np
import pytest

from keras_disent import metrics
from keras_disent.datasets import Concatenation, ImageGrid, LabeledImages, labeled

IMAGES = np.arange(6, dtype=np.uint8)[:, None, None] * np.ones((4, 4), np.uint8) + 2
TEXTS = ["cat", "dog", "cat", "bird", "dog", "cat"]
COLUMNS = {
    "texts": (TEXTS, ["bird", "cat", "dog"], "categorical"),
    "objects": (np.array(TEXTS, object), ["bird", "cat", "dog"], "categorical"),
    "bytes": (np.array(TEXTS, "S"), ["bird", "cat", "dog"], "categorical"),
    "truth values": ([True, False, True, True, False, True], [False, True], "categorical"),
    "integers": ([1, 2, 3, 1, 2, 2**40], [1, 2, 3, 2**40], "ordinal"),
    "objects of integers": (np.array([1, 2, 3, 1, 2, 2], object), [1, 2, 3], "ordinal"),
    "floats": ([0.5, 2.0, 0.5, 1, 1, 2], [0.5, 1, 2], "ordinal"),
    "a constant": ([7] * 6, [7], "constant"),
    "dates": (
        [date(2024, 1, 2), date(2023, 1, 2)] * 3,
        [datetime(2023, 1, 2), datetime(2024, 1, 2)],
        "ordinal",
    ),
    "durations": ([timedelta(2), timedelta(1)] * 3, [timedelta(1), timedelta(2)], "ordinal"),
}


class Animal(Enum):
    CAT, DOG = "a cat", ("a", "dog")


class Hue(str, Enum):  # noqa: UP042  # its text is "Hue.RED"
    RED, BLUE = "red", "blue"


def test_texts_that_look_alike_are_equal():
    names = ["caf\u00e9", "cafe\u0301", "caf\u00e9 ", "tea", " tea", "\ttea\n"]
    for column in (names, np.array(names), np.array(names, object)):
        data = labeled(IMAGES, {"a": column})
        assert data.factor_values["a"].tolist() == ["caf\u00e9", "tea"]
        assert data.factors(range(6))[:, 0].tolist() == [0, 0, 0, 1, 1, 1]


def test_members_of_enumerations():
    data = labeled(IMAGES, {"a": [Animal.CAT, Animal.DOG] * 3, "b": [Hue.RED, None, Hue.BLUE] * 2})
    assert data.factor_values["a"].tolist() == ["DOG", "a cat"]
    assert data.factor_values["b"].tolist() == ["blue", "red"]
    assert data.gaps == {"b": 2}


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({1: range(6), "1": range(6)}, "need different names. Got '1' twice"),
        ({"a\nb": range(6), "a b": range(6)}, "Got 'a b' twice"),
        ({" ": range(6)}, "different names of factors. Got an empty one"),
        ({"a": {0, 1, 2, 3, 4, 5}}, "'a' needs one label per image. Got {0, 1"),
        ({"a": dict.fromkeys(range(6))}, "'a' needs one label per image. Got {0: None"),
        ({"a": [["x"], [["y"]], [], [], [], []]}, r"'a' needs texts as tags. Got \['y'\]"),
    ],
)
def test_tables_that_are_not_clear(labels, message):
    with pytest.raises(ValueError, match=message) as caught:
        labeled(IMAGES, labels)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("case", COLUMNS)
def test_columns_of_one_type(case):
    column, values, kind = COLUMNS[case]
    data = labeled(IMAGES, {"a": column, "b": [1, 1, 1, 2, 2, 2]})
    assert data.factor_values["a"].tolist() == values
    assert data.factor_kinds[0] == kind
    found = data.factor_values["a"][data.factors(range(6))[:, 0]]
    expected = [v.decode() if isinstance(v, bytes) else v for v in column]
    if case == "dates":
        found, expected = found.astype("datetime64[D]"), np.array(expected, "datetime64[D]")
    assert found.tolist() == list(expected)
    assert data.gaps == {}


GAPS = {
    "texts": (["cat", None, "dog", "", np.nan, "cat"], ["cat", "dog"], [0, -1, 1, -1, -1, 0]),
    "numbers": ([3, None, 1.5, np.nan, 3, 1.5], [1.5, 3], [1, -1, 0, -1, 1, 0]),
    "floats": (np.array([3, np.nan, 1, 1, 3, 1]), [1, 3], [1, -1, 0, 0, 1, 0]),
    "truth values": (
        [True, None, False, True, True, False],
        [False, True],
        [1, -1, 0, 1, 1, 0],
    ),
    "large integers": (
        [2**60 + 1, None, 2**60, 5, 5, 5],
        [5, 2**60, 2**60 + 1],
        [2, -1, 1, 0, 0, 0],
    ),
    "a masked array": (
        np.ma.array([4, 9, 3, 3, 4, 4], mask=[0, 1, 0, 0, 0, 0]),
        [3, 4],
        [1, -1, 0, 0, 1, 1],
    ),
    "dates": (np.array(["2024", "NaT", "2023"] * 2, "datetime64[D]"), None, [1, -1, 0, 1, -1, 0]),
}


@pytest.mark.parametrize("case", GAPS)
def test_missing_values_are_gaps(case):
    column, values, steps = GAPS[case]
    data = labeled(IMAGES, {"a": column, "b": np.arange(6)})
    assert isinstance(data, LabeledImages)
    assert data.factors(range(6))[:, 0].tolist() == steps
    assert data.gaps == {"a": steps.count(-1)}
    if values is not None:
        assert data.factor_values["a"].tolist() == values
    with pytest.raises(ValueError, match=rf"{steps.count(-1)} images have none of 'a': take `data"):
        data.batches(6, labels=True).at(0)
    complete = data.complete()
    assert len(complete) == 6 - steps.count(-1)
    assert complete.gaps == {}
    assert complete.batches(4, labels=True).at(0)[1].min() >= 0
    assert len(data.complete("b")) == 6
    assert data.only("b").labels(range(6)).ravel().tolist() == list(range(6))
    assert Concatenation([data, data]).gaps == {"a": 2 * steps.count(-1)}
    with pytest.raises(ValueError, match=r"different names from a, b. Got 'c'"):
        data.complete("c")


def test_a_grid_with_holes_has_labels():
    steps = np.stack(np.unravel_index(np.arange(6), (2, 3)), 1)
    full = {"a": steps[:, 0], "b": steps[:, 1]}
    assert isinstance(labeled(IMAGES, full), ImageGrid)
    holes = {name: column[:-1] for name, column in full.items()}
    data = labeled(IMAGES[:-1], holes)
    assert isinstance(data, LabeledImages)
    assert data.factor_sizes == (2, 3)
    assert "5 of 6 combinations" in repr(data)
    assert "combinations" not in repr(labeled(IMAGES, full))
    gap = labeled(IMAGES, {"a": [0, 0, 0, 1, 1, None], "b": steps[:, 1]})
    assert isinstance(gap, LabeledImages)
    assert "1 without 'a'" in repr(gap)


def test_tags_become_factors():
    tags = [["red"], ["red", "round"], [], ("round",), {"red"}, None]
    data = labeled(IMAGES, {"tags": tags, "n": np.arange(6)})
    assert data.factor_names == ("tags=red", "tags=round", "n")
    assert data.factors(range(6))[:, :2].T.tolist() == [[1, 1, 0, 0, 1, -1], [0, 1, 0, 1, 0, -1]]
    assert data.gaps == {"tags=red": 1, "tags=round": 1}
    texts = ["red", "red; round", ";", "round", "red", ""]
    same = labeled(IMAGES, {"tags": texts}, kinds={"tags": "multilabel"})
    assert (same.factors(range(6)) == data.factors(range(6))[:, :2]).all()
    with pytest.raises(ValueError, match=r"its kind is multilabel. Got 'ordinal'"):
        labeled(IMAGES, {"tags": tags}, kinds={"tags": "ordinal"})
    with pytest.raises(ValueError, match=r"at least one tag"):
        labeled(IMAGES, {"tags": [[]] * 6})


@pytest.mark.parametrize(
    "tags",
    [
        [np.array(["red"]), np.array(["red", "round"], object), np.array([], object)],
        [("red",), frozenset({"round", "red"}), []],
    ],
)
def test_tags_are_any_sequences_of_texts(tags):
    data = labeled(IMAGES[:3], {"tags": tags})
    assert data.factor_names == ("tags=red", "tags=round")
    assert data.factors(range(3)).tolist() == [[1, 0], [1, 1], [0, 0]]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (list(np.eye(6)), r"'a' needs texts as tags. .* in row 0: pass np.argmax\(a, axis=1\)"),
        (np.eye(6, dtype=int).tolist(), r"pass np.argmax\(a, axis=1\) if it is one-hot"),
        ([1, 2, 3, 4, 5, 2**64], r"at most 64 bits. Got 18446744073709551616 in row 5: pass texts"),
        ([-1, 2, 3, 4, 5, 2**63], r"at most 64 bits. Got 9223372036854775808 in row 5: pass texts"),
        ([1, 2, 3, 4, 5, np.inf], r"finite numbers.* Got inf in row 5: leave it blank or None"),
    ],
)
def test_labels_that_are_refused_with_a_cure(column, message):
    with pytest.raises(ValueError, match=message):
        labeled(IMAGES, {"a": column})


def test_large_integers_without_a_sign():
    data = labeled(IMAGES, {"a": [2**64 - 1, 2**63, 1, 1, None, 1]})
    assert data.factor_values["a"].tolist() == [1, 2**63, 2**64 - 1]
    assert data.factors(range(6))[:, 0].tolist() == [2, 1, 0, 0, -1, 0]


def test_intervals_and_periods_of_pandas_are_ordinal():
    pandas = pytest.importorskip("pandas")
    ages = pandas.cut([1, 5, 9, np.nan, 99, 5], [0, 4, 8, 20])
    for column in (ages, pandas.Series(ages), list(ages), pandas.Series(list(ages))):
        data = labeled(IMAGES, {"age": column})
        spans = [text.replace(".0", "") for text in data.factor_values["age"]]
        assert spans == ["(0, 4]", "(4, 8]", "(8, 20]"]
        assert data.factors(range(6))[:, 0].tolist() == [0, 1, 2, -1, -1, 1]
        assert data.factor_kinds == ("ordinal",)
    months = pandas.PeriodIndex(["2024-02", "2024-01", None, "2024-03", "2024-01", None], freq="M")
    data = labeled(IMAGES, {"month": months})
    assert data.factors(range(6))[:, 0].tolist() == [1, 0, -1, 2, 0, -1]
    assert data.factor_values["month"].tolist() == [datetime(2024, m, 1) for m in (1, 2, 3)]
    assert data.factor_kinds == ("ordinal",)


def test_labels_as_libraries_of_models_have_them():
    column = np.array([[1], [2], [1], [1], [2], [2]])
    assert labeled(IMAGES, {"a": column}).factors(range(6))[:, 0].tolist() == [0, 1, 0, 0, 1, 1]
    with pytest.raises(ValueError, match=r"Got shape \(6, 6\): pass a.argmax\(axis=1\) if it is"):
        labeled(IMAGES, {"a": np.eye(6)})
    prices = labeled(IMAGES, {"a": [Decimal("0.5"), None, 2, 2, Decimal(2), 0.5]})
    assert prices.factor_values["a"].tolist() == [0.5, 2]
    with pytest.raises(ValueError, match=r"Got 'a=x' twice"):
        labeled(IMAGES, {"a": [["x"]] * 6, "a=x": range(6)})


def test_truth_values_with_gaps_may_be_ordinal():
    data = labeled(IMAGES, {"a": [True, None, False, True, True, False]}, kinds={"a": "ordinal"})
    assert data.factor_kinds == ("ordinal",)
    assert data.factor_values["a"].tolist() == [False, True]


def test_times_of_zones_are_compared_as_instants():
    east, west = (timezone(timedelta(hours=hours)) for hours in (5, -5))
    times = [datetime(2024, 1, 1, 3, tzinfo=east), datetime(2024, 1, 1, 1, tzinfo=west)]
    data = labeled(IMAGES, {"a": times * 3})
    assert data.factors(range(2))[:, 0].tolist() == [0, 1]
    assert data.factor_values["a"].tolist() == [datetime(2023, 12, 31, 22), datetime(2024, 1, 1, 6)]


def test_mixed_labels_are_refused_with_the_row():
    with pytest.raises(ValueError, match=r"'a' needs labels of one type: .* Got 'x' in row 4"):
        labeled(IMAGES, {"a": [1, 2, 3, 4, "x", 5]})
    with pytest.raises(ValueError, match=r"Got \{\} in row 1"):
        labeled(IMAGES, {"a": [1, {}, 3, 4, 5, 6]})
    with pytest.raises(ValueError, match=r"one label per image. Got 'cats'"):
        labeled(IMAGES, {"a": "cats"})
    with pytest.raises(TypeError, match=r"a table: .* Got list: pass {'label': labels} for one"):
        labeled(IMAGES, [1, 2, 3, 4, 5, 6])


def test_many_dates_are_continuous_and_scored_as_numbers():
    n = 200
    days = np.datetime64("2024-01-01") + np.random.default_rng(0).permutation(n)
    images = np.arange(n, dtype=np.uint8)[:, None, None] * np.ones((2, 2), np.uint8)
    data = labeled(images, {"day": days, "half": np.arange(n) % 2})
    assert (
        data.factor_kinds == ("continuous", "categorical") or data.factor_kinds[0] == "continuous"
    )
    order = days.argsort().argsort()

    def encode(pixels):
        rows = pixels[:, 0, 0, 0].astype(int)
        return np.stack([order[rows], rows % 2, np.sin(rows)], axis=1).astype(float)

    scores = metrics.evaluate(encode, data, ["mcc", "mig"], n_samples=150, n_test_samples=50)
    assert scores["mcc"] == pytest.approx(1)
    assert scores["mig"] > 0.6


@pytest.mark.parametrize(
    "library", ["pandas", "polars", "pyarrow", "torch", "jax.numpy", "tensorflow"]
)
def test_columns_of_other_libraries(library):
    module = pytest.importorskip(library)
    expected = labeled(IMAGES, {"animal": TEXTS, "size": [1, 2, 3, 1, 2, 2]})
    columns = {"animal": TEXTS, "size": [1, 2, 3, 1, 2, 2]}
    if library in ("torch", "jax.numpy", "tensorflow"):
        tensor = getattr(
            module, {"jax.numpy": "array", "tensorflow": "constant"}.get(library, "tensor")
        )
        tables = [
            {"animal": TEXTS, "size": tensor([1, 2, 3, 1, 2, 2])},
            {"animal": TEXTS, "size": [tensor(size) for size in columns["size"]]},
        ]
    elif library == "pyarrow":
        tables = [module.table(columns)]
    else:
        frame = module.DataFrame(columns)
        tables = [frame, {name: frame[name] for name in columns}]
    if library == "pandas":
        tables += [frame.convert_dtypes(), frame.assign(animal=frame["animal"].astype("category"))]
    for table in tables:
        data = labeled(IMAGES, table)
        assert data.factor_names == ("animal", "size")
        assert (data.factors(range(6)) == expected.factors(range(6))).all()
    gaps = {"animal": ["cat", None, "dog", "cat", None, "dog"], "size": [1, None, 3, 1, 2, 3]}
    if library in ("pandas", "polars"):
        data = labeled(IMAGES, module.DataFrame(gaps))
        assert data.gaps == {"animal": 2, "size": 1}


def test_ordered_categories_of_pandas_keep_their_order():
    pandas = pytest.importorskip("pandas")
    sizes = pandas.Categorical(
        ["small", "large", "medium", "small", None, "large"],
        categories=["tiny", "small", "medium", "large"],
        ordered=True,
    )
    data = labeled(IMAGES, pandas.DataFrame({"size": sizes, "n": range(6)}))
    assert data.factor_values["size"].tolist() == ["small", "medium", "large"]
    assert data.factors(range(6))[:, 0].tolist() == [0, 2, 1, 0, -1, 2]
    assert data.factor_kinds == ("ordinal", "ordinal")
    same = labeled(IMAGES, {"size": sizes})
    assert (same.factors(range(6)) == data.factors(range(6))[:, :1]).all()


def test_blank_categories_are_gaps():
    pandas = pytest.importorskip("pandas")
    column = pandas.Series(["b", None, "a", " ", "b", "c"], dtype="category")
    data = labeled(IMAGES, {"x": column})
    assert data.factor_values["x"].tolist() == ["a", "b", "c"]
    assert data.factors(range(6))[:, 0].tolist() == [1, -1, 0, -1, 1, 2]


def test_enumerations_of_polars_keep_their_order():
    polars = pytest.importorskip("polars")
    sizes = ["small", "large", None, "small", "large", "small"]
    column = polars.Series(sizes, dtype=polars.Enum(["tiny", "small", "large"]))
    data = labeled(IMAGES, {"size": column})
    assert data.factor_values["size"].tolist() == ["small", "large"]
    assert data.factors(range(6))[:, 0].tolist() == [0, 1, -1, 0, 1, 0]
    assert data.factor_kinds == ("ordinal",)


def test_ordered_dictionaries_of_pyarrow_keep_their_order():
    pyarrow = pytest.importorskip("pyarrow")

    def chunk(codes, sizes):
        return pyarrow.DictionaryArray.from_arrays(pyarrow.array(codes), sizes, ordered=True)

    sizes = ["tiny", "small", "large"]
    for chunks in ([chunk([1, 2, None, 1, 2, 1], sizes)], [chunk([1, 2, None], sizes)]):
        rest = [] if len(chunks[0]) == 6 else [chunk([1, 2, 1], sizes)]
        table = pyarrow.table({"size": pyarrow.chunked_array([*chunks, *rest])})
        data = labeled(IMAGES, table)
        assert data.factor_values["size"].tolist() == ["small", "large"]
        assert data.factors(range(6))[:, 0].tolist() == [0, 1, -1, 0, 1, 0]
        assert data.factor_kinds == ("ordinal",)


def test_integers_of_pandas_with_gaps_stay_integers():
    pandas = pytest.importorskip("pandas")
    column = pandas.array([2**60, 2**60 + 1, None, 7, 7, 7], dtype="Int64")
    data = labeled(IMAGES, {"a": column})
    assert data.factor_values["a"].tolist() == [7, 2**60, 2**60 + 1]
