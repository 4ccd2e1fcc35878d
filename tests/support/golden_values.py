"""Load reference values of disentanglement_lib 1.5; `golden/README.md` has their origin."""

import json
from functools import cache
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parents[1] / "metrics" / "golden"
CASES = json.loads((FOLDER / "cases.json").read_text())
OLD, NEW = "reference_sklearn_0.22.2", "sklearn_1.9.1"


@cache
def inputs(case):
    """Return (codes, factors, test_codes, test_factors) of a case; codes keep their dtype."""
    arrays = np.load(FOLDER / "inputs" / f"{case}.npz")
    codes, factors, test_codes, test_factors = (
        arrays[name] for name in ("codes", "factors", "test_codes", "test_factors")
    )
    result = codes, factors.astype(np.int64), test_codes, test_factors.astype(np.int64)
    for array in result:
        array.setflags(write=False)  # tests share them
    return result


@cache
def expected(case, metric, software=OLD):
    """Return the reference value of one metric under one generation of software."""
    return json.loads((FOLDER / "expected" / f"{case}.json").read_text())[software].get(metric)


@cache
def stage(name):
    """Return the values of one stage of a sampling metric."""
    return json.loads((FOLDER / "stage" / f"{name}.json").read_text())
