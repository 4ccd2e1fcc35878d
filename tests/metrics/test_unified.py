import itertools

import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components
from support.golden_values import expected, inputs, stage

from keras_disent.metrics.mutual_information import entropy
from keras_disent.metrics.unified import aggregate, unified_scores

CASES = stage("unified")["cases"]
TIED = "sparse_5x5"  # its zeros are one tie, where the reference follows the order of a sort


def scores_of(case):
    labels = np.array(case["ys"]).T
    return aggregate(case["matrix"], entropy(labels))


def by_reference_key(scores):
    """Name all parts as disentanglement_lib does."""
    parts = {
        "dci_disentanglement.code": scores.dci_disentanglement_per_code,
        "dci_completeness.code": scores.dci_completeness_per_factor,
        "mig.factor": scores.mig_per_factor,
        "sap.factor": scores.sap_per_factor,
        "modularity.code": scores.modularity_per_code,
    }
    headlines = {
        "dci_disentanglement": scores.dci_disentanglement,
        "dci_completeness": scores.dci_completeness,
        "dci": float(scores),
        "mig": scores.mig,
        "sap": scores.sap,
        "modularity": scores.modularity,
        "area_precision": scores.area_precision,
        "max_precision": scores.max_precision,
    }
    flat = {f"{name}_{i}": value for name, part in parts.items() for i, value in enumerate(part)}
    return headlines | flat


# Agreement with the reference


@pytest.mark.parametrize("case", CASES)
def test_scores_of_a_matrix_equal_the_reference(case):
    values = {key: value for key, value in CASES[case]["scores"].items() if key != "dendrogram"}
    assert by_reference_key(scores_of(CASES[case])) == pytest.approx(values, abs=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_merges_equal_the_reference(case):
    merges = scores_of(CASES[case]).merges
    np.testing.assert_array_equal(merges, merges.T)
    zeros_from = np.count_nonzero(CASES[case]["matrix"])
    pairs = set()
    for key, rank in CASES[case]["scores"]["dendrogram"].items():
        _, first, second = key.split("_")
        pairs.add(frozenset(map(int, (first, second))))
        assert merges[int(first), int(second)] == min(rank, zeros_from)
    assert len(pairs) == merges.shape[0] * (merges.shape[0] - 1) / 2
    assert (case == TIED) == (zeros_from < np.size(CASES[case]["matrix"]))


# Independent computations


@pytest.mark.parametrize("seed", range(3))
def test_precision_and_merges_equal_those_of_graphs(seed):
    rng = np.random.default_rng(seed)
    matrix = rng.integers(0, 6, (5, 4)) / 5  # with ties and zeros
    result = aggregate(matrix, np.ones(4))
    thresholds = np.sort(matrix, axis=None)[::-1]
    precisions, merges = [], np.full((4, 4), -1)
    np.fill_diagonal(merges, 0)
    for threshold in thresholds:
        for edges, count in (
            ((matrix >= threshold) & (matrix > 0), True),
            (matrix >= threshold, False),
        ):
            graph = np.zeros((9, 9))
            graph[:5, 5:] = edges
            _, labels = connected_components(graph, directed=False)
            if count:
                precisions.append(np.sum(np.bincount(labels) > 1))
        for i, j in itertools.permutations(range(4), 2):
            if merges[i, j] < 0 and labels[5 + i] == labels[5 + j]:
                merges[i, j] = np.sum(matrix > threshold)
    assert result.area_precision == pytest.approx(-np.trapezoid(precisions, thresholds))
    assert result.max_precision == max(precisions)
    np.testing.assert_array_equal(result.merges, merges)


def test_a_diagonal_matrix_is_the_best():
    result = aggregate(np.eye(4), np.full(4, 2.0))
    assert result.dci_disentanglement == pytest.approx(1)
    assert result.dci_completeness == pytest.approx(1)
    assert (result.mig, result.sap, result.modularity) == (0.5, 1, 1)
    assert (result.area_precision, result.max_precision) == (4, 4)


def test_an_empty_matrix_is_the_worst():
    result = aggregate(np.zeros((3, 2)), np.ones(2))
    assert by_reference_key(result) == pytest.approx(dict.fromkeys(by_reference_key(result), 0))
    assert not result.merges.any()


def test_the_order_of_latents_does_not_matter():
    matrix = np.random.default_rng(0).integers(0, 4, (6, 3)) / 3
    first, second = (aggregate(m, [1, 2, 3]) for m in (matrix, matrix[[3, 5, 0, 1, 4, 2]]))
    assert first.mig == second.mig
    assert first.modularity == pytest.approx(second.modularity)
    assert first.area_precision == second.area_precision
    np.testing.assert_array_equal(first.merges, second.merges)


# From codes


def test_scores_of_codes_equal_the_metrics_they_are_made_of():
    case = "d10_tiny"
    codes, factors, *test = inputs(case)
    result = unified_scores(codes, factors, test=test)
    assert list(result.scores) == ["importance", "mutual_information", "accuracy"]
    assert float(result) == result.scores["importance"].dci_disentanglement
    mig = result.scores["mutual_information"]
    assert mig.mig == pytest.approx(expected(case, "mig")["discrete_mig"], abs=1e-9)
    modularity = expected(case, "modularity")["modularity_score"]
    assert mig.modularity == pytest.approx(modularity, abs=1e-9)
    assert result.scores["accuracy"].sap == pytest.approx(
        expected(case, "sap_discrete")["SAP_score"], abs=1e-3
    )
    dci = result.scores["importance"]
    assert dci.dci_disentanglement == pytest.approx(
        expected(case, "dci")["disentanglement"], abs=0.02
    )
    assert dci.dci_completeness == pytest.approx(expected(case, "dci")["completeness"], abs=0.02)


def test_a_factor_of_one_value_is_skipped():
    codes, factors, *test = inputs("d16_single_valued_factor")
    names = ("mutual_information", "accuracy")
    result = unified_scores(codes, factors, test=test, matrices=names)
    assert result.factors_used == (0, 2)
    assert result.scores["accuracy"].merges.shape == (2, 2)
    without = unified_scores(
        codes, factors[:, [0, 2]], test=(test[0], test[1][:, [0, 2]]), matrices=names
    )
    for name in names:
        assert by_reference_key(result.scores[name]) == by_reference_key(without.scores[name])


def test_constant_codes_score_zero():
    factors = np.random.default_rng(0).integers(3, size=(90, 2))
    result = unified_scores(np.ones((90, 2)), factors)
    for name in ("importance", "mutual_information"):
        assert by_reference_key(result.scores[name])["dci"] == pytest.approx(0, abs=1e-9)
    assert result.scores["accuracy"].sap == 0


# Bad input

CODES = np.random.default_rng(0).normal(size=(50, 3))
FACTORS = np.random.default_rng(1).integers(4, size=(50, 2))


@pytest.mark.parametrize(
    ("codes", "factors", "settings", "message"),
    [
        (CODES[:, :1], FACTORS, {}, r"at least 2 latents and 2 factors .* Got shape \(1, 2\)"),
        (CODES, FACTORS[:, :1], {}, r"at least 2 latents and 2 factors .* Got shape \(3, 1\)"),
        (CODES, 0 * FACTORS, {}, "factor with more than one value"),
        (CODES, FACTORS, {"bins": 1}, "`bins` must be an integer of at least 2. Got 1"),
        (CODES, FACTORS, {"matrices": ["x"]}, "Unknown matrix 'x'. Choose from: accuracy"),
        (CODES, FACTORS, {"matrices": ()}, "at least one. Choose from: importance"),
    ],
)
def test_malformed_arguments(codes, factors, settings, message):
    with pytest.raises(ValueError, match=message):
        unified_scores(codes, factors, **settings)


@pytest.mark.parametrize(
    ("matrix", "entropies", "message"),
    [
        ([[1, 2]], [1, 1], r"at least 2 latents .* Got shape \(1, 2\)"),
        ([1, 2], [1, 1], r"Got shape \(2,\)"),
        ([[1, -2], [1, 1]], [1, 1], "at least 0. Got -2"),
        ([[1, np.nan], [1, 1]], [1, 1], "must be finite"),
        (np.eye(2), [1], r"2 positive numbers. Got \[1"),
        (np.eye(2), [1, 0], r"2 positive numbers. Got \[1.0, 0.0"),
    ],
)
def test_malformed_matrices(matrix, entropies, message):
    with pytest.raises(ValueError, match=message):
        aggregate(matrix, entropies)
