"""CausalVAE: each term against NumPy, training, interventions, files, pictures and bad input."""

import keras
import numpy as np
import pytest
from keras import ops
from support.causal_values import (
    CHAIN,
    LABELS,
    NAMES,
    closed_form,
    log_variance_by_hand,
    mechanisms_by_hand,
    number,
)
from support.checks import assert_same, images, learned_from, quick_on_torch, reload, small

from keras_disent import CausalVAE, causal, networks, plots
from keras_disent.experiments import Config
from keras_disent.models.causal.learners import MAX_LOG_ODDS, SPEEDUP
from keras_disent.models.causal.likelihood import FLOOR
from keras_disent.plots import causal as causal_plots

SHAPE, DIM = (8, 8, 1), 2
X = images(12)


def model_of(graph=CHAIN, **options):
    """A model without noise, whose weights and label statistics are not those of its birth."""
    model = CausalVAE(
        SHAPE,
        NAMES,
        DIM,
        graph,
        encoder=networks.mlp_encoder(SHAPE, 0.02, seed=1),
        decoder=networks.mlp_decoder(SHAPE, len(NAMES) * DIM, 0.01, seed=2),
        **{"seed": 0, **options},
    )
    rng = np.random.default_rng(1)
    for variable in model.trainable_variables:
        variable.assign(variable + rng.normal(scale=0.1, size=variable.shape))
    if model.variant == "paper":  # every edge that may be there is there
        model.graph_layer.gates.assign(np.full((3, 3), MAX_LOG_ODDS / SPEEDUP))
    model.label_scale.update(ops.convert_to_tensor(LABELS.astype("float32")))
    model.noise.enabled = False
    model.compile(keras.optimizers.SGD(0.0), run_eagerly=True)
    return model


def evaluated(model, labels=LABELS):
    return model.evaluate(X, labels, batch_size=len(X), verbose=0, return_dict=True)


def standardized():
    return (LABELS - LABELS.mean(0)) / LABELS.std(0)


def passing(model):
    """Return what passes on effects: the graph itself, or in the public code the weights."""
    return (model.graph() if model.variant == "paper" else model.adjacency()).astype("float64")


# -- terms ----------------------------------------------------------------------------------------


def label_loss_by_hand(model):
    """Without noise half of the graphs are empty, and half have all edges above 1/2."""
    layer, u = model.graph_layer, standardized()
    if model.variant == "fixed_weights":
        told = mechanisms_by_hand(layer.mechanisms, u[:, :, None], model.adjacency())[..., 0]
        return ((told - u) ** 2).mean()
    halves = []
    for graph in (0 * CHAIN, model.graph()):
        told = mechanisms_by_hand(layer.likelihood.mechanisms, u[:, :, None], graph)[..., 0]
        log_variance = log_variance_by_hand(layer.likelihood, graph[None].astype(float))
        errors = (told - u) ** 2 + FLOOR
        halves.append((0.5 * (log_variance + errors * np.exp(-log_variance))).sum(1).mean())
    return np.mean(halves)


def by_hand(model):
    """All terms of a model without noise, but those of VAE."""
    adjacency, a = model.adjacency().astype("float64"), passing(model)
    u = standardized()
    mean, log_variance = (
        p.astype("float64").reshape(-1, 3, DIM) for p in model.posterior_parameters(X)
    )
    total = np.linalg.inv(np.eye(3) - a.T)
    z, variance = total @ mean, total**2 @ np.exp(log_variance)
    s2 = model.concept_scale**2
    gap = (z - u[:, :, None]) ** 2
    concept_kl = 0.5 * (variance / s2 + gap / s2 - 1 - np.log(variance / s2)).sum((1, 2)).mean()
    told = mechanisms_by_hand(model.mask_layer, z, a)
    caused = np.array([0, 1, 1])[:, None] * np.minimum(np.abs(a).max(0), 1)[:, None]
    mask = (((z - told) ** 2) * caused).sum((1, 2)).mean()
    outputs = number(model.decoder(z.reshape(-1, 3 * DIM).astype("float32"))).astype("float64")
    pixels = X / 255
    reconstruction = (np.logaddexp(0, outputs) - pixels * outputs).sum((1, 2, 3)).mean()
    kl = 0.5 * (mean**2 + np.exp(log_variance) - log_variance - 1).sum((1, 2)).mean()
    return {
        "reconstruction": reconstruction,
        "kl": kl,
        "concept_kl": concept_kl,
        "label_loss": label_loss_by_hand(model),
        "mask_loss": mask,
        "acyclicity": closed_form(adjacency)[0],
        "edges": np.abs(adjacency).sum(),
    }


@pytest.mark.parametrize("variant", ["paper", "fixed_weights"])
def test_terms(variant):
    model = model_of(variant=variant, concept_scale=0.5, sparsity=0.7, temperature=0.3)
    logs, expected = evaluated(model), by_hand(model)
    for name, value in expected.items():
        assert logs[name] == pytest.approx(value, rel=1e-3, abs=1e-4), name
    total = logs["reconstruction"] + 0.3 * logs["kl"] + logs["concept_kl"]
    total += logs["label_loss"] + logs["mask_loss"] + 0.7 * logs["edges"]  # h is 0
    if variant == "paper":
        p = model.adjacency()[CHAIN > 0].astype("float64")
        total += 0.3 * (p * np.log(p) + (1 - p) * np.log(1 - p)).sum()
    assert logs["loss"] == pytest.approx(total, rel=1e-3)


def test_the_fixed_weights():
    cycle = CHAIN + CHAIN.T
    model = model_of(cycle, variant="fixed_weights")
    assert not (model.adjacency() * (1 - cycle)).any()
    assert (model.sparsity, model.label_noise, model.concept_scale) == (0.0, 0.0, 1.0)
    logs = evaluated(model)
    h, _ = closed_form(model.adjacency().astype("float64"))
    assert logs["acyclicity"] == pytest.approx(h, rel=1e-3)
    total = logs["reconstruction"] + 0.3 * logs["kl"] + logs["concept_kl"] + logs["label_loss"]
    total += logs["mask_loss"] + 3 * h + 0.5 * h**2
    assert logs["loss"] == pytest.approx(total, rel=1e-3)
    parts = {"encoder": "mlp", "decoder": "mlp"}
    new = CausalVAE(SHAPE, NAMES, graph=CHAIN, variant="fixed_weights", **parts)
    assert_same([new.adjacency()], [CHAIN.astype("float32")])  # starts on the given graph
    assert_same([new.graph()], [CHAIN])


def test_weights_are_in_the_loss():
    base = evaluated(model_of())
    for name in ("kl", "concept_kl", "label", "mask"):
        logs = evaluated(model_of(**{f"{name}_weight": 2.5}))
        term = name if name.endswith("kl") else f"{name}_loss"
        default = 0.3 if name == "kl" else 1.0
        expected = base["loss"] + (2.5 - default) * base[term]
        assert logs["loss"] == pytest.approx(expected, rel=1e-3), name


# -- training -------------------------------------------------------------------------------------


@quick_on_torch
def test_training_updates_the_lagrangian():
    rule = causal.AugmentedLagrangian(penalty=2.0, every=2)
    model = small("causal_vae", graph=None, acyclicity=rule)
    model.graph_layer.gates.assign(np.zeros((3, 3)))
    model.compile(keras.optimizers.SGD(0.0), run_eagerly=True)
    model.fit(*learned_from(model, images(16)), batch_size=8, verbose=0)
    h = closed_form(0.5 * (1 - np.eye(3)))[0]
    assert float(number(model.lagrangian.multiplier)) == pytest.approx(2.0 * h, rel=1e-4)


def test_defaults():
    model = CausalVAE.with_networks(SHAPE, 4, "mlp", 0.02)
    assert not model.graph().any()  # it starts from no edge
    assert (model.sparsity, model.label_noise, model.concept_scale) == (0.2, 0.1, 0.1)
    assert [float(model.temperature(step)) for step in (0, 2400)] == [0.5, 0.0]


def test_by_name_from_the_command_line():
    config = Config("causal_vae", "pendulum", image_size=32, network="mlp", width=0.02, metrics=())
    model = config.build(config.load_data())
    assert model.concept_names == (
        "pendulum_angle",
        "light_angle",
        "shadow_length",
        "shadow_position",
    )
    rates = [ops.convert_to_numpy(o.learning_rate) for o in (model.optimizer,)]
    np.testing.assert_allclose(rates, 1e-3)


@quick_on_torch
@pytest.mark.parametrize("variant", ["paper", "fixed_weights"])
def test_an_edge_that_is_not_allowed_never_comes(variant):
    model = model_of(CHAIN, variant=variant)
    model.compile(keras.optimizers.SGD(0.01), run_eagerly=True)
    model.fit(X, LABELS, batch_size=12, verbose=0)
    assert not (model.adjacency() * (1 - CHAIN)).any()


# -- interventions --------------------------------------------------------------------------------


def test_interventions_propagate_to_descendants_only():
    model = model_of()
    before = model.concepts(X)
    shift, scale = LABELS.mean(0), LABELS.std(0)
    value = shift[1] + scale[1]
    after = model.concepts(X, {"shadow": value})
    np.testing.assert_array_equal(after[:, 0], before[:, 0])  # its cause
    np.testing.assert_allclose(after[:, 1], value, rtol=1e-4)
    assert (after[:, 2] != before[:, 2]).all()  # its effect
    both = model.concepts(X, {"shadow": value, "mood": LABELS[:, 2]})
    np.testing.assert_allclose(both[:, 2], LABELS[:, 2], atol=1e-4)  # set, it does not listen
    leaf = model.concepts(X, {"mood": 7.0})
    np.testing.assert_array_equal(leaf[:, :2], before[:, :2])


def test_interventions_and_counterfactuals_by_hand():
    model = model_of()
    a = passing(model)
    mean = model.encode(X).astype("float64").reshape(-1, 3, DIM)
    z = np.linalg.solve(np.eye(3) - a.T, mean)
    noise = z - mechanisms_by_hand(model.mask_layer, z, a)
    for keep, act in ((0.0, model.intervene), (1.0, model.counterfactual)):
        new = z.copy()
        new[:, 0] = (5.0 - LABELS.mean(0)[0]) / LABELS.std(0)[0]
        for i in (1, 2):
            new[:, i] = mechanisms_by_hand(model.mask_layer, new, a)[:, i] + keep * noise[:, i]
        codes = new.reshape(-1, 3 * DIM).astype("float32")
        expected = number(model.likelihood(model.decoder(codes)))
        found = act(X, {"light": 5.0})
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=1e-4)
        labels = model.concepts(X, {"light": 5.0}, keep_noise=bool(keep))
        by_mean = new.mean(2) * LABELS.std(0) + LABELS.mean(0)
        np.testing.assert_allclose(labels, by_mean, rtol=1e-3, atol=1e-3)


def test_a_counterfactual_of_what_is_changes_nothing():
    model = model_of()
    codes = model.encode(X).copy()
    codes[:, :DIM] = codes[:, :1]  # the dimensions of a concept at one value, as `do` sets them
    model._infer = lambda x: (ops.convert_to_tensor(_mixed(model, codes)),)
    same = model.concepts(X)[:, 0]
    left = model.counterfactual(X, {"light": same})
    np.testing.assert_allclose(left, model.counterfactual(X, {}), atol=1e-4)
    assert np.abs(model.intervene(X, {"light": same}) - left).max() > 1e-3
    np.testing.assert_array_equal(model.intervene(X, {}), model.counterfactual(X, {}))


def _mixed(model, codes):
    total = np.linalg.inv(np.eye(3) - passing(model).T)
    return (total @ codes.reshape(-1, 3, DIM)).reshape(len(codes), -1).astype("float32")


def test_a_cycle_is_told():
    model = model_of(CHAIN + CHAIN.T, variant="fixed_weights")
    with pytest.raises(ValueError, match=r"graph without cycles.* among light, shadow, mood"):
        model.intervene(X, {"light": 0.0})


def test_files_keep_statistics_graph_and_multiplier():
    model = model_of(acyclicity=causal.AugmentedLagrangian(penalty=2.0, every=1))
    model.lagrangian.update(ops.convert_to_tensor(0.5), 0)
    again = reload(model)
    assert float(number(again.lagrangian.multiplier)) == 1.0
    assert again.concept_names == NAMES
    assert again.lagrangian.get_config() == model.lagrangian.get_config()
    assert_same([again.adjacency(), again.concepts(X)], [model.adjacency(), model.concepts(X)])
    assert_same(again.label_scale.moments(), model.label_scale.moments())


def test_networks_of_any_width():
    model = CausalVAE.with_networks(SHAPE, 3, "mlp", 0.02, concept_dim=2, seed=3)
    assert (model.latent_dim, model.concept_names[2]) == (6, "concept_2")


# -- bad input ------------------------------------------------------------------------------------

BAD = [
    (None, r"labels \(n, 3\), one column for each of light, shadow, mood. Got None"),
    (LABELS[:, :2], r"one column for each of light, shadow, mood. Got shape \(12, 2\)"),
    (LABELS[:, 0], r"Got shape \(12,\)"),
    (LABELS[:5], "one row of labels for each of the 12 images. Got 5"),
    (np.where(LABELS.max() == LABELS, np.nan, LABELS), "finite numbers only"),
    (LABELS * [1, 0, 1], "vary in every column.* only one value for shadow"),
    (LABELS.astype(str), "finite numbers only"),
]


@pytest.mark.parametrize(("labels", "message"), BAD)
def test_wrong_labels_are_refused_before_training(labels, message):
    model = model_of()
    with pytest.raises(ValueError, match=message):
        model.fit(X, labels, verbose=0)
    assert model.steps_taken() == 0


def test_one_value_is_enough_to_evaluate():
    model = model_of()
    logs = model.evaluate(X[:1], LABELS[:1], verbose=0, return_dict=True)
    assert np.isfinite(list(logs.values())).all()


BAD_MODELS = [
    ({"graph": np.zeros((3, 2))}, r"`graph` must be square, \(3, 3\).*Got shape \(3, 2\)"),
    ({"graph": np.full((3, 3), 0.5)}, r"`graph` holds 0 and 1 only. Got \[0.5\]"),
    ({"graph": np.eye(3)}, "no edge from a concept to itself. Got one at 'light'"),
    ({"graph": {"light": "moon"}}, "names out of light, shadow, mood. Got 'moon'"),
    ({"concepts": ("a", "a", "b")}, "different names. Got a, a, b"),
    ({"concepts": 0}, "`concepts` must be an integer of at least 1. Got 0"),
    ({"concepts": "abc"}, "list of names, or their number. Got 'abc'"),
    ({"concept_dim": 0}, "`concept_dim` must be an integer"),
    ({"variant": "code"}, "Unknown variant 'code'. Choose from: fixed_weights, paper"),
    ({"variant": "fixed_weights"}, "needs a `graph` to start from. Got None"),
    ({"concept_scale": 0.0}, "`concept_scale` is above 0"),
    ({"label_noise": -1.0}, "`label_noise` is a number of at least 0"),
    ({"mask_weight": -1.0}, "`mask_weight` is a number of at least 0"),
    ({"acyclicity": 3.0}, "an AugmentedLagrangian. Got 3.0"),
    ({"temperature": -1.0}, "`temperature` is a number of at least 0"),
    ({"supervision": object()}, "takes no `supervision`"),
]


@pytest.mark.parametrize(("options", "message"), BAD_MODELS)
def test_wrong_models(options, message):
    with pytest.raises(ValueError, match=message):
        CausalVAE(SHAPE, **{"concepts": NAMES, "encoder": "mlp", "decoder": "mlp", **options})


@pytest.mark.parametrize(
    ("interventions", "message"),
    [
        ({"moon": 1.0}, "names out of light, shadow, mood. Got 'moon'"),
        ({"light": np.nan}, "finite numbers for 'light'. Got nan"),
        ({"light": "bright"}, "finite numbers for 'light'. Got 'bright'"),
        ({"light": np.zeros(3)}, r"one value for 'light', or one per image. Got shape \(3,\)"),
    ],
)
def test_wrong_interventions(interventions, message):
    model = model_of()
    for act in (model.intervene, model.counterfactual):
        with pytest.raises(ValueError, match=message):
            act(X, interventions)


# -- pictures -------------------------------------------------------------------------------------


def test_graph_is_drawn(tmp_path):
    learned = 0.9 * CHAIN + np.array([[0, 0, 0], [0.6, 0, 0], [0, 0, 0]])
    figure = causal_plots.graph(learned, NAMES, np.array([[0, 1, 1], [0, 0, 1], [0, 0, 0]]))
    left, right = figure.axes
    texts = [text.get_text() for text in left.texts]
    assert [texts.count(text) for text in ("0.90", "0.60", "missing", "mood")] == [2, 1, 1, 1]
    assert (len(left.patches), len(right.patches)) == (4, 3)
    wrong = [patch for patch in left.patches if patch.get_linestyle() == "--"]
    assert len(wrong) == 1
    assert len(causal_plots.graph([[0]], ["alone"]).axes) == 1
    assert plots.save(figure, tmp_path / "graph.png").stat().st_size > 1000
    with pytest.raises(ValueError, match=r"`true` must be square.* 3 names. Got shape \(2, 2\)"):
        causal_plots.graph(learned, NAMES, np.eye(2))
    with pytest.raises(ValueError, match="`adjacency` must be finite"):
        causal_plots.graph(learned * np.nan, NAMES)


def test_interventions_are_drawn():
    model = model_of()
    values = {"light": [2.0, 3.0, 4.0], "mood": [0.0, 0.1, 0.2]}
    figure = causal_plots.interventions(model, X[0], values, title="what if")
    assert len(figure.axes) == 3
    assert figure.axes[2].get_yticklabels()[0].get_text() == "do(mood)"
    picture = np.asarray(figure.axes[1].images[0].get_array())
    expected = model.intervene(X[:1], {"light": 3.0})[0]
    np.testing.assert_allclose(picture[:, 9:17], np.repeat(expected, 3, -1), atol=1e-4)
    noisy = causal_plots.interventions(model, X[0], values, keep_noise=True)
    expected = model.counterfactual(X[:1], {"light": 3.0})[0]
    picture = np.asarray(noisy.axes[1].images[0].get_array())
    np.testing.assert_allclose(picture[:, 9:17], np.repeat(expected, 3, -1), atol=1e-4)
    with pytest.raises(ValueError, match=r"same number of values for each concept. Got \[1, 2\]"):
        causal_plots.interventions(model, X[0], {"light": [1], "mood": [1, 2]})


@pytest.mark.parametrize("keep_noise", [False, True])
def test_interventions_on_codes_are_those_on_images(keep_noise):
    names = ("light", "height", "shadow", "other")
    graph = {"light": ["shadow"], "height": ["shadow", "other"], "shadow": ["other"]}
    model = CausalVAE((16, 16, 1), names, 2, graph, variant="fixed_weights", seed=2)
    for variable in model.mask_layer.weights:
        variable.assign(3 * variable)
    labels = np.arange(40, dtype="float32").reshape(10, 4) ** 1.5
    model.label_scale.update(ops.convert_to_tensor(labels))
    images = np.random.default_rng(0).integers(256, size=(5, 16, 16, 1)).astype("uint8")
    for chosen in ({"light": 50.0}, {"height": 2.0, "shadow": 90.0}, {}):
        values, fixed = np.zeros((2, 5, 4), "float32")
        for name, value in chosen.items():
            values[:, names.index(name)], fixed[:, names.index(name)] = value, 1
        noise = np.full((5, 1), float(keep_noise), "float32")
        arrays = (model.encode(images), values, fixed, noise)
        concepts, labels = model.intervene_tensors(*map(ops.convert_to_tensor, arrays))
        pictures = ops.convert_to_numpy(model.decode_concepts(concepts))
        act = model.counterfactual if keep_noise else model.intervene
        np.testing.assert_allclose(pictures, act(images, chosen), atol=1e-5)
        expected = model.concepts(images, chosen, keep_noise)
        np.testing.assert_allclose(ops.convert_to_numpy(labels), expected, rtol=1e-4, atol=1e-3)
