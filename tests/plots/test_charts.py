"""Charts show the right numbers at the right positions, with labels."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from keras_disent import plots
from keras_disent.experiments.report import figures
from keras_disent.plots import causal, charts

VALUES = np.array([[0.9, 0.1, 0.0], [0.05, 0.6, 0.25]])
FACTORS = ["shape", "scale", "place"]


def texts(axes):
    return [text.get_text() for text in axes.texts]


def labels(axes):
    ticks = axes.get_yticklabels(), axes.get_xticklabels()
    return [[label.get_text() for label in side] for side in ticks]


def test_matrix_shows_every_number_and_name():
    figure = charts.matrix(VALUES, FACTORS, label="importance", title="Importance of latents")
    axes, bar = figure.axes
    assert labels(axes) == [["z0", "z1"], FACTORS]
    assert texts(axes) == ["0.90", "0.10", "0.00", "0.05", "0.60", "0.25"]
    np.testing.assert_array_equal(axes.images[0].get_array(), VALUES)
    assert bar.get_ylabel() == "importance"
    assert axes.get_title(loc="left") == "Importance of latents"


def test_text_contrasts_with_its_background():
    axes = charts.matrix(VALUES, FACTORS).axes[0]
    picture = axes.images[0]
    for text, value in zip(axes.texts, VALUES.ravel(), strict=True):
        behind = np.mean(picture.cmap(picture.norm(value))[:3])
        assert (text.get_color() == "white") == (behind < 0.56)


def test_nothing_is_cut_off():
    names = ["a_factor_of_a_very_long_name", "b", "c"]
    for title in (None, "Title"):
        figure = charts.matrix(VALUES, names, ["the first latent", "z1"], title=title)
        pixels = plots.as_array(figure)
        for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]):
            assert (edge == 255).all()


def test_rank_correlation_is_scipys():
    rng = np.random.default_rng(0)
    scores = {name: rng.integers(6, size=30) for name in ("mig", "dci", "sap")}  # with ties
    axes = charts.rank_correlation(scores).axes[0]
    assert labels(axes) == [["mig", "dci", "sap"]] * 2
    expected = spearmanr(np.stack(list(scores.values()), axis=1)).statistic
    np.testing.assert_allclose(axes.images[0].get_array(), expected)
    never = charts.rank_correlation({**scores, "still": np.ones(30)}).axes[0]
    np.testing.assert_array_equal(never.images[0].get_array()[3], [0, 0, 0, 1])


def test_against_draws_every_run():
    x, y = np.arange(5.0), np.array([3.0, 2.0, 2.5, 1.0, 0.0])
    figure = charts.against(x, {"mig": y, "dci": -y}, title="Scores")
    assert [axes.get_ylabel() for axes in figure.axes] == ["mig", "dci"]
    assert figure.axes[0].get_xlabel() == "total correlation of the codes (nats)"
    np.testing.assert_array_equal(
        figure.axes[0].collections[0].get_offsets(), np.stack([x, y], axis=1)
    )
    assert figure.axes[1].get_title(loc="left") == "rank correlation +0.90"
    assert "n = 5 runs" in figure.get_suptitle()


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: charts.matrix(VALUES, FACTORS[:2]), "one name for each row and column. Got 2"),
        (lambda: charts.matrix(VALUES[0], FACTORS), r"two axes, .* Got shape \(3,\)"),
        (lambda: charts.matrix(VALUES * np.nan, FACTORS), "finite. Got NaN"),
        (lambda: charts.rank_correlation({"mig": [1, 2, 3]}), "two scores or more. Got 1"),
        (lambda: charts.rank_correlation({"a": [1, 2], "b": [2, 3]}), r"3 runs or more. Got \[2\]"),
        (lambda: charts.against([1, 2, 3], {"a": [1, 2]}), r"each of 3 runs .* Got \[2, 3\]"),
        (lambda: charts.against([1, 2, np.inf], {"a": [1, 2, 3]}), "finite. Got NaN"),
        (lambda: charts.against([1, 2, 3], {}), "at least one score. Got none"),
    ],
)
def test_bad_numbers_are_refused(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()


ODD = r"$\nonsense$ :x: [bold]"


@pytest.mark.parametrize(
    "draw",
    [
        lambda: charts.matrix(VALUES, [ODD, "b", "c"], title=ODD),
        lambda: charts.rank_correlation({ODD: [1, 2, 3], "b": [2, 1, 3]}),
        lambda: charts.against([1, 2, 3], {ODD: [1, 2, 3]}, title=ODD),
        lambda: charts.tradeoff([1, 2], [1, 2], y_label=ODD, title=ODD),
        lambda: causal.graph([[0, 0.9], [0, 0]], [ODD, "b"], title=ODD),
        lambda: figures.scatter(
            [{"x": 1.0, "y": 2.0, "method": ODD}, {"x": 2.0, "y": 1.0, "method": ODD}], ODD, ODD
        ),
    ],
)
def test_a_name_is_never_read_as_a_formula(draw):
    assert plots.as_array(draw()).min() < 255
