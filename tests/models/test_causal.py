"""Causal graphs: acyclicity and its gradient, mechanisms, and how a graph is learned."""

import keras
import numpy as np
import pytest
from keras import ops
from support.causal_values import (
    CHAIN,
    LABELS,
    NAMES,
    RNG,
    closed_form,
    log_variance_by_hand,
    mechanisms_by_hand,
    number,
)
from support.checks import assert_same

from keras_disent import causal, latents
from keras_disent.engine.player_model import PlayerModel
from keras_disent.layers.standardization import RunningStandardization
from keras_disent.models.causal import arguments, graphs
from keras_disent.models.causal.learners import (
    INITIAL_LOG_ODDS,
    MAX_LOG_ODDS,
    SPEEDUP,
    AnnealedGraph,
)
from keras_disent.models.causal.likelihood import FLOOR, Likelihood
from keras_disent.models.causal.mechanisms import Mechanisms


def tensor(array):
    return ops.convert_to_tensor(np.asarray(array, "float32"))


class Minimizes(PlayerModel):
    """A game of one layer and one number, which is a function of a batch."""

    players = {"loss": ("layer",)}

    def __init__(self, layer, number):
        super().__init__()
        self.layer, self.number = layer, number
        self.built = True

    def objective(self, player, batch, training):
        return {"loss": self.number(batch)}

    def check_batch(self, *args):
        pass


def descended(layer, number):
    """Return the value of a function of the weights of `layer`, after one step of descent."""
    model = Minimizes(layer, number)
    model.compile(keras.optimizers.SGD(1.0), run_eagerly=True)
    return model.fit(np.zeros((1, 1)), batch_size=1, verbose=0).history["loss"][0]


def randomized(layer):
    rng = np.random.default_rng(1)
    for variable in layer.trainable_variables:
        variable.assign(rng.normal(scale=0.5, size=variable.shape))
    return layer


# -- acyclicity -----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 5])
def test_acyclicity_and_its_gradient(size):
    a = RNG.normal(size=(size, size)).astype("float32")
    h, gradient = closed_form(a.astype("float64"))
    layer = keras.layers.Layer()
    layer.kernel = layer.add_weight(shape=a.shape, initializer=lambda *_, **__: tensor(a))
    layer.built = True
    found = descended(layer, lambda _: causal.acyclicity(ops.convert_to_tensor(layer.kernel)))
    np.testing.assert_allclose(found, h, rtol=1e-4)
    np.testing.assert_allclose(a - number(layer.kernel), gradient, rtol=1e-3, atol=1e-4)


def test_acyclicity_is_zero_for_graphs_without_cycles_only():
    order = RNG.permutation(5)
    triangle = np.triu(RNG.normal(size=(5, 5)), 1)[np.ix_(order, order)]
    assert abs(float(number(causal.acyclicity(tensor(triangle))))) < 1e-5
    ring = np.roll(np.eye(5), 1, axis=1)
    assert float(number(causal.acyclicity(tensor(ring)))) > 1e-4


def test_update_rule_of_the_lagrangian():
    lagrangian = causal.AugmentedLagrangian(
        1.0, 2.0, every=5, growth=3.0, progress=0.5, maximum=10.0
    )

    def after(h, step):
        lagrangian.update(tensor(h), step)
        return tuple(float(number(v)) for v in (lagrangian.multiplier, lagrangian.penalty))

    assert float(number(lagrangian(tensor(3.0)))) == pytest.approx(3 + 9)
    assert after(9.0, 2) == (1.0, 2.0)  # between two updates
    assert after(4.0, 4) == (9.0, 2.0)  # 1 + 2 * 4; the first has nothing to fall from
    assert after(3.0, 9) == (15.0, 6.0)  # 9 + 2 * 3; 3 > 4 / 2
    assert after(1.0, 14) == (21.0, 6.0)  # 15 + 6 * 1; 1 < 3 / 2
    assert after(1.0, 19) == (27.0, 10.0)  # no penalty above the maximum
    never = causal.AugmentedLagrangian(3.0, 1.0, every=0)
    never.update(tensor(1.0), 99)
    assert float(number(never(tensor(2.0)))) == 3 * 2 + 0.5 * 4


@pytest.mark.parametrize(
    ("name", "value"),
    [("multiplier", -1.0), ("growth", 0.5), ("progress", 0.0), ("maximum", 0.0), ("every", -1)],
)
def test_wrong_lagrangians(name, value):
    with pytest.raises(ValueError, match=f"`{name}` (is|must be)"):
        causal.AugmentedLagrangian(**{name: value})


# -- graphs ---------------------------------------------------------------------------------------


def test_total_effects_solve_the_linear_equations():
    order = RNG.permutation(5)
    a = np.triu(RNG.normal(size=(5, 5)), 1)[np.ix_(order, order)]
    eps = RNG.normal(size=(5, 3))
    total = number(graphs.total_effects(tensor(a)))
    np.testing.assert_allclose(total @ eps, np.linalg.solve(np.eye(5) - a.T, eps), rtol=1e-3)


def test_hamming():
    assert causal.hamming(CHAIN, CHAIN) == 0
    assert causal.hamming(CHAIN.T, CHAIN) == 2  # two the other way round
    assert causal.hamming(0 * CHAIN, CHAIN) == 2
    assert causal.hamming(CHAIN + CHAIN.T, CHAIN) == 2
    with pytest.raises(ValueError, match="square and of the same shape"):
        causal.hamming(CHAIN, CHAIN[:2])


def test_superset_by_name():
    given = {"light": ("shadow", "mood"), "shadow": "mood"}
    assert arguments.superset("graph", given, NAMES).tolist() == [[0, 1, 1], [0, 0, 1], [0, 0, 0]]
    assert arguments.superset("graph", None, NAMES).tolist() == (1 - np.eye(3)).tolist()


def test_labels_are_standardised_by_all_that_was_seen():
    layer = RunningStandardization(3)
    assert_same([number(layer(tensor(LABELS[:2])))], [LABELS[:2].astype("float32")])
    for part in (LABELS[:5], LABELS[5:6], LABELS[6:]):
        layer.update(tensor(part))
    shift, scale = layer.moments()
    np.testing.assert_allclose(shift, LABELS.mean(0), rtol=1e-5)
    np.testing.assert_allclose(scale, LABELS.std(0), rtol=1e-4)


# -- mechanisms -----------------------------------------------------------------------------------


@pytest.mark.parametrize("summed", [False, True])
def test_mechanisms(summed):
    layer = randomized(Mechanisms(3, 2, summed=summed, speedup=2.0))
    values, several = RNG.normal(size=(4, 3, 2)), RNG.normal(size=(4, 3, 3))
    for adjacency in (several, several[0]):
        expected = mechanisms_by_hand(layer, values, adjacency)
        found = number(layer(tensor(values), tensor(adjacency)))
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-2)


def test_a_mechanism_does_not_see_what_is_masked():
    layer = Mechanisms(3, 2, seed=0)
    z = RNG.normal(size=(4, 3, 2))
    other = z + np.array([[0], [0], [1]])  # the last concept causes nothing
    assert_same(*([number(layer(tensor(v), tensor(CHAIN)))] for v in (z, other)))


def test_likelihood():
    layer = randomized(Likelihood(3, seed=0))
    u, seen, drawn = (
        RNG.normal(size=(5, 3)),
        RNG.normal(size=(5, 3)),
        RNG.integers(2, size=(5, 3, 3)),
    )
    mean = mechanisms_by_hand(layer.mechanisms, seen[:, :, None], drawn)[..., 0]
    variance = np.exp(log_variance_by_hand(layer, drawn))
    errors = (mean - u) ** 2 + FLOOR
    expected = (0.5 * np.log(variance) + 0.5 * errors / variance).sum(1).mean()
    found = float(number(layer.misfit(tensor(u), tensor(seen), tensor(drawn))))
    assert found == pytest.approx(expected, rel=1e-3)


def test_gain_of_each_edge():
    layer, drawn = randomized(Likelihood(3, seed=0)), RNG.integers(2, size=(4, 3, 3))
    found = number(layer.gain(tensor(drawn)))
    for j, i in np.ndindex(3, 3):
        without, there = drawn.copy(), drawn.copy()
        without[:, j, i], there[:, j, i] = 0, 1
        left = [log_variance_by_hand(layer, g)[:, i].mean() for g in (without, there)]
        assert found[j, i] == pytest.approx(0.5 * (left[0] - left[1]), rel=1e-3, abs=1e-4)


# -- learning the graph ---------------------------------------------------------------------------


def test_edges_start_open_or_closed_and_end_at_their_range():
    for opened, odds in ((True, INITIAL_LOG_ODDS), (False, -INITIAL_LOG_ODDS)):
        layer = AnnealedGraph(CHAIN, opened, label_noise=0.1, seed=0)
        np.testing.assert_allclose(
            number(layer.adjacency()), CHAIN / (1 + np.exp(-odds)), rtol=1e-5
        )
        assert (number(layer.edges()) == opened * CHAIN).all()
    ends = layer.gates.constraint(tensor(np.full((3, 3), 9.0)))
    np.testing.assert_allclose(number(ends) * SPEEDUP, MAX_LOG_ODDS, rtol=1e-6)
    layer.gates.assign(ends)
    assert (number(layer.edges()) == CHAIN).all()


def test_entropy_and_draws_are_those_of_the_probabilities():
    layer = AnnealedGraph(1 - np.eye(3), False, label_noise=0.1, seed=0)
    layer.gates.assign(RNG.normal(size=(3, 3)) / SPEEDUP)
    p = number(layer.adjacency())
    off = p[p > 0].astype("float64")
    entropy = -(off * np.log(off) + (1 - off) * np.log(1 - off)).sum()
    assert float(number(layer.entropy())) == pytest.approx(entropy, rel=1e-4)
    drawn = number(layer.draw(latents.Noise(0), (2, 20_000), uniform=1))
    assert drawn.shape == (2, 20_000, 3, 3)
    np.testing.assert_allclose(drawn[0].mean(0), 0.5 * (1 - np.eye(3)), atol=0.015)
    np.testing.assert_allclose(drawn[1].mean(0), p, atol=0.015)


def test_probabilities_follow_the_expected_misfit():
    """Descent of the label loss moves P along the derivative over all graphs, summed by hand."""
    layer = AnnealedGraph([[0, 0, 1], [0, 0, 1], [0, 0, 0]], False, label_noise=0.1, seed=0)
    randomized(layer.likelihood)
    odds = np.zeros((3, 3), "float32")
    odds[:2, 2] = [0.4, -1.0]
    layer.gates.assign(odds / SPEEDUP)
    table = np.zeros((2, 2))  # the misfit of 2 by whether 0 and 1 cause it
    for a, b in np.ndindex(2, 2):
        one = np.zeros((1, 3, 3))
        one[0, :2, 2] = a, b
        table[a, b] = 0.5 * log_variance_by_hand(layer.likelihood, one)[0, 2]
    p, q = 1 / (1 + np.exp(-odds[:2, 2]))
    slope = np.array(
        [
            (1 - q) * (table[1, 0] - table[0, 0]) + q * (table[1, 1] - table[0, 1]),
            (1 - p) * (table[0, 1] - table[0, 0]) + p * (table[1, 1] - table[1, 0]),
        ]
    )
    noise, u = latents.Noise(0), tensor(RNG.normal(size=(4, 3)))
    gain = number(layer.likelihood.gain(layer.draw(noise, (5000,))))[:2, 2]
    np.testing.assert_allclose(gain, -slope, atol=0.1)
    noise.enabled = False  # every draw is then the graph of the edges above 1/2
    gain = number(layer.likelihood.gain(layer.draw(noise, (16,))))[:2, 2]
    descended(layer, lambda _: layer.label_loss(u, noise))
    moved = odds[:2, 2] / SPEEDUP + SPEEDUP * gain * np.array([p * (1 - p), q * (1 - q)])
    found = number(layer.gates)[:2, 2]
    np.testing.assert_allclose(
        found, np.clip(moved, -MAX_LOG_ODDS / SPEEDUP, MAX_LOG_ODDS / SPEEDUP), atol=1e-3
    )


@pytest.mark.slow
def test_two_causes_are_found_among_labels():
    """Two causes whose sum is a third, from no edge: as in `CausalVAE`, but without images."""
    causes = np.random.default_rng(0).uniform(-1, 1, size=(2048, 2))
    u = np.column_stack([causes, causes[:, 0] + 2 * np.abs(causes[:, 1])])
    u = tensor((u - u.mean(0)) / u.std(0))
    layer, rule = (
        AnnealedGraph(1 - np.eye(3), False, 0.1, seed=0),
        causal.AugmentedLagrangian(every=20),
    )
    noise = latents.Noise(0)

    class Learns(Minimizes):
        players = {"loss": ("layer",)}

        def objective(self, player, batch, training):
            p = layer.adjacency()
            h = causal.acyclicity(p)
            rule.update(h, self.steps)
            left = ops.cast(self.steps, "float32") / 800
            loss = layer.label_loss(batch, noise) + 0.2 * ops.sum(p) + rule(h)
            return {"loss": loss - 0.5 * ops.maximum(1 - left, 0.0) * layer.entropy()}

    model = Learns(layer, None)
    model.rule, model.noise = rule, noise
    model.compile(keras.optimizers.Adam(3e-3))
    model.fit(u, batch_size=64, epochs=32, verbose=0)
    assert causal.hamming(number(layer.edges()), [[0, 0, 1], [0, 0, 1], [0, 0, 0]]) == 0
