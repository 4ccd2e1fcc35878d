"""Conformance vectors: this package passes, wrong implementations fail, and so does bad input."""

import functools
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import keras_disent
from keras_disent import metrics
from keras_disent.metrics import conformance

ROOT = Path(keras_disent.__file__).parents[1]
CONTENT = json.loads(conformance.FILE.read_text())
VECTORS = conformance.load()


def name_of(vector):
    return f"{vector.score}-{vector.case}-{vector.settings}" if vector else ""


def first(score):
    return conformance.load(score)[0]


def ours(score, **settings):
    return functools.partial(getattr(metrics, first(score).function), **settings)


# This package


@pytest.mark.parametrize("vector", VECTORS, ids=name_of)
def test_this_package_agrees(vector):
    comparisons = conformance.run(vector, getattr(metrics, vector.function))
    assert [c.field for c in comparisons] == list(vector.expected)
    for comparison in comparisons:
        assert comparison.agrees is True, str(comparison)


# Other implementations


@pytest.mark.parametrize(
    ("score", "settings"),
    [
        ("mig", {"bins": 10}),
        ("mig_sup", {"bins": 19}),
        ("dcimig", {"bins": 21}),
        ("modularity", {"bins": 10}),
        ("irs", {"quantile": 1.0}),
        ("unsupervised_scores", {"bins": 10}),
        ("sap", {"continuous": True}),
        ("factor_vae_score", {"threshold": 0.0}),
    ],
)
def test_other_settings_disagree(score, settings):
    assert not all(c.agrees for c in conformance.check(ours(score, **settings), score))


@pytest.mark.parametrize("score", conformance.scores())
def test_a_value_beyond_the_tolerance_disagrees(score):
    vector = first(score)
    for share, agrees in ((0.9, True), (1.1, False), (-1.1, False)):
        result = {k: v + share * vector.tolerance[k] for k, v in vector.expected.items()}
        comparisons = conformance.run(vector, lambda *_, result=result, **__: result)
        assert [c.agrees for c in comparisons] == [agrees] * len(result)
        assert comparisons[0].difference == pytest.approx(abs(share) * comparisons[0].tolerance)


def test_a_number_is_compared_with_the_first_field():
    vector = first("dci")
    value = vector.expected["disentanglement"]
    for result in (value, np.float32(value), np.array([value]), np.array(value)):
        main, *others = conformance.run(vector, lambda *_, result=result, **__: result)
        assert (main.field, main.agrees) == ("disentanglement", True)
        assert [(c.got, c.agrees) for c in others] == [(None, None)] * 3
        assert str(others[0]).endswith("not returned")


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (math.nan, ""),
        (math.inf, ""),
        (None, "ValueError: the result is None, not a number"),
        ({"score": None}, "ValueError: the result is None, not a number"),
        ({"gap": 1.0}, "ValueError: the result has no 'score', only 'gap'"),
        (np.ones(5), "ValueError: the result has shape (5,), it is not a number"),
        ("many\nlines", "ValueError: could not convert string to float: 'many\\nlines'"),
    ],
)
def test_what_is_no_number_disagrees(result, reason):
    (comparison,) = conformance.run(first("mig"), lambda codes, factors: result)
    assert (comparison.agrees, comparison.reason) == (False, reason)
    assert "FAIL" in str(comparison)


def test_a_value_that_disagrees_comes_with_the_convention():
    *_, vector = conformance.load("mig")
    (comparison,) = conformance.run(vector, lambda codes, factors: math.nan)
    assert str(comparison).endswith("FAIL The factor with one value is left out.")
    assert str(conformance.run(vector, metrics.mig)[0]).endswith("pass")


def test_an_error_disagrees_and_does_not_stop():
    def fails_for_many(codes, factors):
        if len(codes) > 100:
            raise RuntimeError("too many\nof them")
        return metrics.mig(codes, factors)

    comparisons = conformance.check(fails_for_many, "mig")
    by_case = {c.case: (c.agrees, c.reason) for c in comparisons}
    assert by_case.pop("d10_tiny") == (True, "")
    assert set(by_case.values()) == {(False, "RuntimeError: too many")}


def test_implementations_may_write_into_the_arrays():
    def spoils(codes, factors):
        score = metrics.mig(codes, factors)
        codes[:], factors[:] = 0, 0
        return score

    for _ in range(2):
        assert all(c.agrees for c in conformance.check(spoils, "mig"))


def test_unknown_scores_are_refused():
    for function in (conformance.load, functools.partial(conformance.check, metrics.mig)):
        with pytest.raises(ValueError, match=r"Unknown score 'migg'. Choose from: beta_vae_score"):
            function("migg")


# The file


def test_the_file_has_the_documented_schema():
    assert list(CONTENT) == ["version", "about", "sources", "scores", "cases", "vectors"]
    assert CONTENT["version"] == 1
    for score in CONTENT["scores"].values():
        assert list(score) == ["function", "arguments", "definition"]
        assert hasattr(metrics, score["function"])
        assert set(score["arguments"]) <= {"codes", "factors", "test", "encoder", "data"}
    for case in CONTENT["cases"].values():
        arrays = ["codes", "factors", "test_codes", "test_factors"]
        assert list(case) in (["about", *arrays], ["about", "factor_sizes", "codes"])
        for array in (value for value in case.values() if isinstance(value, dict)):
            assert list(array) == ["dtype", "shape", "data"]
            assert array["dtype"] in ("<f4", "<f8", "|u1")
    for vector in CONTENT["vectors"]:
        keys = ["score", "case", "settings", "expected", "tolerance", "source"]
        assert list(vector) in (keys, [*keys, "note"])
        assert vector["source"] in CONTENT["sources"]
        assert list(vector["expected"]) == list(vector["tolerance"])
        assert all(map(math.isfinite, vector["expected"].values()))
        assert all(0 < tolerance <= 0.03 for tolerance in vector["tolerance"].values())
    for part in ("score", "case"):
        used = {vector[part] for vector in CONTENT["vectors"]}
        assert used == set(CONTENT[f"{part}s"])
    assert conformance.FILE.stat().st_size < 2**20


def test_arrays_have_their_documented_form():
    for vector in VECTORS:
        if "encoder" in CONTENT["scores"][vector.score]["arguments"]:
            encoder, data = vector.arguments
            indices = np.arange(len(data))
            assert encoder(data.images(indices)).shape[0] == math.prod(data.factor_sizes)
            np.testing.assert_array_equal(data.indices(data.factors(indices)), indices)
        else:
            pairs = [vector.arguments, vector.keywords.get("test", ())]
            for codes, *factors in filter(None, pairs):
                assert codes.dtype in (np.float32, np.float64)
                assert all(f.dtype == np.int64 and len(f) == len(codes) for f in factors)


# The command


def command(*arguments):
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "keras_disent.metrics.conformance", *arguments],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )


def test_the_command_checks_this_package():
    done = command("--score", "mig", "modularity")
    assert (done.returncode, done.stderr) == (0, "")
    header, *rows, last = done.stdout.splitlines()
    columns = ["score", "case", "field", "expected", "got", "difference", "tolerance", "result"]
    assert header.split() == columns
    assert len(rows) == 18
    assert all(row.endswith("pass") for row in rows)
    assert rows[0].split()[:5] == ["mig", "d01_identity", "score", "0.996338", "0.996338"]
    assert last == "18 of 18 values agree."


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module with an implementation that agrees, one that does not, and one of another name."""
    (tmp_path / "elsewhere.py").write_text(
        "from keras_disent import metrics\n"
        "mig = gap = metrics.mig\n"
        "def dcimig(codes, factors):\n"
        "    return metrics.dcimig(codes, factors) + 1e-4\n"
    )
    (tmp_path / "broken.py").write_text("raise OSError('no licence\\nfound')\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "elsewhere"
    sys.modules.pop("elsewhere", None)


@pytest.mark.parametrize(
    ("arguments", "code", "last"),
    [
        (["--against", "elsewhere:mig"], 0, "9 of 9 values agree."),
        (["--against", "elsewhere:gap", "--score", "mig"], 0, "9 of 9 values agree."),
        (["--against", "elsewhere:dcimig"], 1, "0 of 9 values agree."),
        (["--against", "elsewhere:gap", "--score", "dcimig"], 1, "0 of 9 values agree."),
        (["--against", "elsewhere"], 1, "9 of 18 values agree."),
        (["--against", "elsewhere", "--score", "mig"], 0, "9 of 9 values agree."),
    ],
)
def test_the_command_checks_other_implementations(module, capsys, arguments, code, last):
    assert conformance.main(arguments) == code
    assert capsys.readouterr().out.splitlines()[-1] == last


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--against", "nowhere"], "Got 'nowhere': ModuleNotFoundError: No module named 'nowhere'"),
        (["--against", "broken"], "Got 'broken': OSError: no licence"),
        (["--against", ""], "Got '': ValueError: Empty module name"),
        (["--against", "elsewhere:sap"], "needs a function of 'elsewhere'. Got 'sap'."),
        (["--against", "elsewhere:gap"], "'gap' is not the name of a score: say with --score"),
        (["--against", "elsewhere", "--score", "sap"], "needs a module with functions named sap."),
        (["--against", "json"], "Got 'json': name the function, as in json:FUNCTION."),
        (["--score", "migg"], "argument --score: invalid choice: 'migg'"),
        (["--nothing"], "unrecognized arguments: --nothing"),
    ],
)
def test_the_command_refuses_bad_input_in_one_line(module, capsys, arguments, message):
    with pytest.raises(SystemExit) as stop:
        conformance.main(arguments)
    out, error = capsys.readouterr()
    assert (stop.value.code, out, error.count("\n")) == (2, "", 1)
    assert error.startswith("python -m keras_disent.metrics.conformance: ")
    assert message in error
