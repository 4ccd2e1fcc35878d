"""Load reference values of disentanglement_lib 1.5; `golden/README.md` has their origin."""

import base64
import json
import zlib
from functools import cache
from pathlib import Path

import numpy as np

from keras_disent.metrics import conformance

FOLDER = Path(__file__).parents[1] / "metrics" / "golden"
CASES = json.loads((FOLDER / "cases.json").read_text())
PUBLIC = json.loads(conformance.FILE.read_text())["cases"]  # most inputs are in this file
OLD, NEW = "reference_sklearn_0.22.2", "sklearn_1.9.1"


@cache
def inputs(case):
    """Return (codes, factors, test_codes, test_factors) of a case; codes keep their dtype."""
    names = ("codes", "factors", "test_codes", "test_factors")
    if case in PUBLIC:
        arrays = {name: decode(PUBLIC[case][name]) for name in names}
    else:
        arrays = np.load(FOLDER / "inputs" / f"{case}.npz")
    codes, factors, test_codes, test_factors = (arrays[name] for name in names)
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


def decode(array):
    """Return an array of the public file, as its schema says."""
    content = zlib.decompress(base64.b64decode(array["data"]))
    return np.frombuffer(content, array["dtype"]).reshape(array["shape"])
