"""The comparison of public implementations: adapters, tables, and what cannot be installed."""

import importlib.util
import json
from pathlib import Path

import numpy as np

import keras_disent
from keras_disent import metrics
from keras_disent.metrics import conformance

ROOT = Path(keras_disent.__file__).parents[1]
CONTENT = json.loads(conformance.FILE.read_text())
VECTORS = conformance.load()


def script(name):
    spec = importlib.util.spec_from_file_location(f"{name}_script", ROOT / "benchmarks" / name)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def test_adapters_hand_out_the_arrays_of_the_vectors():
    adapters = script("adapters.py")

    def mig(codes, factors):
        rows = adapters.Rows(codes, factors)
        parts = [rows.sample(100, None) for _ in range(len(codes) // 100)]
        parts.append(rows.sample(len(codes) % 100, None))
        factors, codes = (np.concatenate(part) for part in zip(*parts, strict=True))
        return {"score": metrics.mig(codes, factors)}

    def sap(codes, factors, test):
        rows = adapters.Rows(codes, factors, test)
        (train_factors, train_codes), (test_factors, test_codes) = (
            rows.sample(rows.sizes[part], None) for part in ("num_train", "num_test")
        )
        test = test_codes, test_factors
        return {"score": metrics.sap(train_codes, train_factors, test=test)}

    def factor_vae_score(grid, batch_size=64):
        _, data = conformance.load("factor_vae_score")[0].arguments
        assert data.factor_sizes == grid.factor_sizes
        indices = np.arange(len(data))
        codes = grid.sample_observations_from_factors(data.factors(indices), None)
        return metrics.factor_vae_score(data.encoder(codes), data, batch_size=batch_size).fields()

    def irs(codes, factors):
        raise ZeroDivisionError("none\nat all")

    functions = {"mig": mig, "sap": sap, "factor_vae_score": factor_vae_score, "irs": irs}
    entries = adapters.values_of(functions, CONTENT)
    replay = script("conformance.py").replay
    for vector, entry in zip(VECTORS, entries, strict=True):
        assert (entry is None) == (vector.score not in functions)
        if entry is not None:
            comparisons = conformance.run(vector, replay(entry))
            assert all(c.agrees is (vector.score != "irs") for c in comparisons)
            assert {c.reason for c in comparisons} <= {"", "ZeroDivisionError: none"}


def test_the_page_has_the_tables_of_its_results():
    benchmark = script("conformance.py")
    results = json.loads((ROOT / "docs" / "conformance.json").read_text())
    assert set(results) == {"keras_disent", *benchmark.IMPLEMENTATIONS}
    page = (ROOT / "docs" / "conformance.md").read_text()
    assert benchmark.with_tables(page, results) == page
    assert benchmark.as_json(results) == (ROOT / "docs" / "conformance.json").read_text()
    fields = [(v.score, field) for v in VECTORS for field in v.expected]
    assert [(v["score"], v["field"]) for v in results["keras_disent"]["values"]] == fields
    assert all(value["agrees"] for value in results["keras_disent"]["values"])


def test_agreement_counts_cases():
    agreement = script("conformance.py").agreement
    values = [
        {"score": "dci", "case": case, "agrees": agrees}
        for case, agrees in [("a", True), ("a", False), ("b", True), ("b", None), ("c", None)]
    ]
    assert agreement(values, "dci") == "1 of 2"
    assert agreement(values[2:], "dci") == "all 1"
    assert agreement(values, "mig") == agreement(values[4:], "dci") == "—"


def test_what_cannot_be_installed_is_said(tmp_path):
    benchmark = script("conformance.py")
    result = benchmark.of_implementation("latte", str(tmp_path / "no-python"), tmp_path)
    assert result["failed"] == (
        "needs Python 3.10, which is not on this machine; --python NAME=PATH names one"
    )
    assert "Not run: needs Python 3.10" in benchmark.tables(
        {"keras_disent": {**result, "values": []}, "latte": result}
    )


def test_only_environments_are_replaced(tmp_path):
    (tmp_path / "latte").mkdir()
    (tmp_path / "latte" / "thesis.txt").write_text("mine")
    result = script("conformance.py").of_implementation("latte", None, tmp_path)
    assert result["failed"].endswith("is no environment of Python: name another --folder")
    assert (tmp_path / "latte" / "thesis.txt").read_text() == "mine"
