"""Check any implementation of a score against conformance vectors: arrays with known scores.

    python -m keras_disent.metrics.conformance --against package.module:function --score mig

The vectors are in `conformance.json`, beside this file. The page "Conformance" of the documentation
has its schema, and what public implementations return.
"""

import argparse
import base64
import importlib
import json
import math
import sys
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keras_disent._utils.registry import lookup

__all__ = ["FILE", "Comparison", "Vector", "check", "load", "run", "scores"]

FILE = Path(__file__).with_name("conformance.json")


class Vector(NamedTuple):
    """A score of given arrays: `function(*arguments, **keywords)` has to return `expected`.

    Attributes:
        score: Name of the score.
        function: Name of the function in `keras_disent.metrics`.
        case: Name of the arrays.
        arguments: Positional arguments, as the functions of `keras_disent.metrics` take them:
            codes, floats `(samples, latents)`, and factors, int64 `(samples, factors)`; or an
            encoder and a data set.
        keywords: Keyword arguments: `test`, a pair of codes and factors, for scores that fit a
            predictor, and settings that are not the defaults.
        settings: Those settings alone.
        expected: Values by field; a plain number is compared with the first.
        tolerance: Maximum absolute difference of each field.
        note: Convention that the expected value depends on, or nothing.
    """

    score: str
    function: str
    case: str
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    settings: dict[str, Any]
    expected: dict[str, float]
    tolerance: dict[str, float]
    note: str = ""


class Comparison(NamedTuple):
    """One field of what an implementation returned, and what it has to be.

    Attributes:
        score: Name of the score.
        case: Name of the arrays, and settings that are not the defaults.
        field: Name of the field.
        expected: Value in the vectors.
        got: Value of the implementation; None if there is none.
        tolerance: Maximum absolute difference.
        reason: Why there is no value, in one line.
        note: Convention that the expected value depends on, or nothing.
    """

    score: str
    case: str
    field: str
    expected: float
    got: float | None
    tolerance: float
    reason: str = ""
    note: str = ""

    @property
    def difference(self) -> float:
        """Absolute difference, NaN without a value."""
        return math.nan if self.got is None else abs(self.got - self.expected)

    @property
    def agrees(self) -> bool | None:
        """Whether the difference is within the tolerance; None for a field that is not returned."""
        if self.got is None and not self.reason:
            return None
        return self.difference <= self.tolerance

    def __str__(self) -> str:
        verdict = {True: "pass", False: f"FAIL {self.reason or self.note}", None: "not returned"}
        got = "-" if self.got is None else f"{self.got:.6f}"
        difference = "-" if self.got is None else f"{self.difference:.1e}"
        return (
            f"{self.score:<19} {self.case:<41} {self.field:<37} {self.expected:>9.6f} {got:>9} "
            f"{difference:>10} {self.tolerance:>9.0e}  {verdict[self.agrees]}".rstrip()
        )


HEADER = (
    f"{'score':<19} {'case':<41} {'field':<37} {'expected':>9} {'got':>9} {'difference':>10} "
    f"{'tolerance':>9}  result"
)


def scores() -> tuple[str, ...]:
    """Return the names of the scores that have vectors.

    >>> "mig" in scores()
    True
    """
    return tuple(_content()["scores"])


def load(score: str | None = None) -> list[Vector]:
    """Return the vectors of a score, or all; their arrays are new with each call.

    Raises:
        ValueError: If there are no vectors of that score.

    >>> vector = load("mig")[0]
    >>> codes, factors = vector.arguments
    >>> vector.case, codes.shape, factors.shape, list(vector.expected)
    ('d01_identity', (1500, 5), (1500, 5), ['score'])
    """
    content = _content()
    if score is not None:
        lookup(score, content["scores"], "score")
    return [
        _vector(entry, content["scores"][entry["score"]], content["cases"][entry["case"]])
        for entry in content["vectors"]
        if score in (None, entry["score"])
    ]


def check(function: Callable[..., Any], score: str) -> list[Comparison]:
    """Call an implementation with every vector of a score, and compare what it returns.

    Args:
        function: Implementation, called as that of `keras_disent.metrics` is. It returns a number,
            or a mapping or an object with the fields of the vectors by name.
        score: Name of the score; `scores()` lists them.

    Returns:
        One comparison for each vector and field. Where `function` raises an error or returns no
        number, the comparison has the reason and does not agree.

    Raises:
        ValueError: If there are no vectors of that score.

    Example:
        >>> from keras_disent import metrics
        >>> all(comparison.agrees for comparison in check(metrics.mig, "mig"))
        True
        >>> def with_few_bins(codes, factors):
        ...     return metrics.mig(codes, factors, bins=10)
        >>> all(comparison.agrees for comparison in check(with_few_bins, "mig"))
        False
    """
    return [comparison for vector in load(score) for comparison in run(vector, function)]


def run(vector: Vector, function: Callable[..., Any]) -> list[Comparison]:
    """Call an implementation with one vector; one comparison for each field, as in `check`."""
    first = next(iter(vector.expected))
    try:
        result = function(*vector.arguments, **vector.keywords)
        values = {field: _value(result, field, field == first) for field in vector.expected}
    except Exception as error:  # of any kind: the next vectors are tried all the same
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        return [_compare(vector, first, None, reason)]
    return [_compare(vector, field, value) for field, value in values.items()]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 1 if a value differs."""
    parser = _Parser(prog="python -m keras_disent.metrics.conformance", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--against",
        default="keras_disent.metrics",
        metavar="MODULE[:FUNCTION]",
        help="implementation; of a module, its functions named as those of keras_disent.metrics; "
        "default: %(default)s",
    )
    parser.add_argument(
        "--score", nargs="+", choices=scores(), help="score; default: the name of the function"
    )
    options = parser.parse_args(arguments)
    try:
        functions = _functions(options.against, options.score)
    except ValueError as error:
        parser.error(str(error))
    print(HEADER)
    comparisons = []
    for score, function in functions.items():
        for vector in load(score):
            for comparison in run(vector, function):
                comparisons.append(comparison)
                print(comparison, flush=True)
    compared = [c for c in comparisons if c.agrees is not None]
    agreeing = sum(bool(c.agrees) for c in compared)
    print(f"{agreeing} of {len(compared)} values agree.")
    return 0 if agreeing == len(compared) else 1


def _functions(against: str, names: Sequence[str] | None) -> dict[str, Callable[..., Any]]:
    """Return the functions to check by score."""
    path, _, name = against.partition(":")
    try:
        module = importlib.import_module(path)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ValueError(
            f"--against needs a module that Python can import here. Got {path!r}: {reason}"
        ) from None
    if name:
        function = getattr(module, name, None)
        if not callable(function):
            raise ValueError(f"--against needs a function of {path!r}. Got {name!r}.")
        if names is None and name not in scores():
            raise ValueError(
                f"{name!r} is not the name of a score: say with --score which one it is. "
                f"Choose from: {', '.join(scores())}."
            )
        return dict.fromkeys(names or [name], function)
    functions = {
        score: getattr(module, function)
        for score in names or scores()
        for function in (_content()["scores"][score]["function"], score)
        if callable(getattr(module, function, None))
    }
    missing = [score for score in names or () if score not in functions]
    if missing or not functions:
        raise ValueError(
            f"--against needs a module with functions named {', '.join(missing or scores())}. "
            f"Got {path!r}: name the function, as in {path}:FUNCTION."
        )
    return functions


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


@cache
def _content() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return content


def _vector(entry: dict[str, Any], score: dict[str, Any], case: dict[str, Any]) -> Vector:
    arrays = {name: _decode(case[name]) for name in case if isinstance(case[name], dict)}
    if "factor_sizes" in case:
        data = _Grid(tuple(case["factor_sizes"]))
        arguments = {"encoder": data.encoder(arrays["codes"]), "data": data}
    else:
        factors, test_factors = (arrays[k].astype(np.int64) for k in ("factors", "test_factors"))
        test = arrays["test_codes"], test_factors
        arguments = {"codes": arrays["codes"], "factors": factors, "test": test}
    names = score["arguments"]
    settings = dict(entry["settings"])
    return Vector(
        entry["score"],
        score["function"],
        entry["case"],
        tuple(arguments[name] for name in names if name != "test"),
        ({"test": arguments["test"]} if "test" in names else {}) | settings,
        settings,
        dict(entry["expected"]),
        dict(entry["tolerance"]),
        entry.get("note", ""),
    )


def _decode(array: dict[str, Any]) -> NDArray[Any]:
    content = zlib.decompress(base64.b64decode(array["data"]))
    values = np.frombuffer(content, array["dtype"]).reshape(array["shape"])
    return values.astype(values.dtype.newbyteorder("="))  # a copy, which may be changed


class _Grid:
    """A data set of all combinations of factors; the pixels of an image are its factors."""

    def __init__(self, factor_sizes: tuple[int, ...]) -> None:
        self.factor_sizes = factor_sizes
        self.factor_names = tuple(f"factor_{i}" for i in range(len(factor_sizes)))
        self.image_shape = (1, len(factor_sizes), 1)

    def __len__(self) -> int:
        return math.prod(self.factor_sizes)

    def factors(self, indices: ArrayLike) -> NDArray[np.int64]:
        return np.stack(np.unravel_index(np.asarray(indices), self.factor_sizes), axis=1)

    def indices(self, factors: ArrayLike) -> NDArray[np.int64]:
        return np.ravel_multi_index(tuple(np.asarray(factors).T), self.factor_sizes)

    def images(self, indices: ArrayLike) -> NDArray[np.uint8]:
        return self.factors(indices).astype(np.uint8).reshape(-1, *self.image_shape)

    def sample_factors(self, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        return rng.integers(self.factor_sizes, size=(n, len(self.factor_sizes)))

    def encoder(self, codes: NDArray[Any]) -> Callable[[NDArray[np.uint8]], NDArray[Any]]:
        """Return the function from images to their rows of `codes`."""
        return lambda images: codes[self.indices(images.reshape(-1, len(self.factor_sizes)))]


def _value(result: Any, field: str, is_first: bool) -> float | None:
    """Return a field of a result; None if it has no such field, but the first must be there."""
    if isinstance(result, Mapping):
        if is_first and field not in result:
            raise ValueError(f"the result has no {field!r}, only {', '.join(map(repr, result))}")
        value = result.get(field)
    else:
        value = getattr(result, field, result if is_first else None)
    if value is None:
        if is_first:
            raise ValueError("the result is None, not a number")
        return None
    if isinstance(value, tuple) and hasattr(value, "__float__"):
        value = float(value)
    array = np.asarray(value, dtype=np.float64)
    if array.size != 1:
        raise ValueError(f"the result has shape {array.shape}, it is not a number")
    return float(array.item())


def _compare(vector: Vector, field: str, value: float | None, reason: str = "") -> Comparison:
    settings = [f"{name}={value!r}" for name, value in vector.settings.items()]
    return Comparison(
        vector.score,
        ", ".join([vector.case, *settings]),
        field,
        vector.expected[field],
        value,
        vector.tolerance[field],
        reason,
        vector.note,
    )


if __name__ == "__main__":
    sys.exit(main())
