"""Causal data sets: concepts of the published formulas, interventions, and images."""

import math
import pickle

import numpy as np
import pytest

from keras_disent.datasets.rendered.flow import Flow
from keras_disent.datasets.rendered.pendulum import Pendulum

SETS = [Pendulum, Flow]


@pytest.fixture(params=SETS, ids=lambda kind: kind.__name__)
def data(request):
    return request.param(image_size=32)


def all_indices(data):
    return np.arange(len(data))


def projection(phi, x, y, base=-0.5):
    b = y - x * math.tan(phi)
    return (base - b) / math.tan(phi)


def pendulum_by_hand():
    rows = []
    for i in range(-40, 44):
        for j in range(60, 148):
            if j == 100:
                continue
            theta, phi = i * math.pi / 200, j * math.pi / 200
            ball_x, ball_y = 10 + 9.5 * math.sin(theta), 10.5 - 9.5 * math.cos(theta)
            a, b = projection(phi, 10, 10.5), projection(phi, ball_x, ball_y)
            rows.append((i, j, max(3, abs(a - b)), (a + b) / 2))
    return np.array(rows)


def flow_by_hand():
    rows = []
    for r in range(5, 35):
        for h_raw in range(10, 40):
            for hole in range(6, 15):
                h = (r / 30) ** 3 + h_raw / 10
                rows.append((r, h, hole, math.sqrt(2 * 0.98 * h * (hole / 3 - 0.5))))
    return np.array(rows)


@pytest.mark.parametrize(
    ("kind", "by_hand", "size"),
    [(Pendulum, pendulum_by_hand, 84 * 87), (Flow, flow_by_hand, 30 * 30 * 9)],
)
def test_concepts_follow_the_published_formulas(kind, by_hand, size):
    data = kind()
    concepts = data.concepts(all_indices(data))
    assert len(data) == size
    assert concepts.dtype == np.float64
    np.testing.assert_allclose(concepts, by_hand(), rtol=1e-9, atol=1e-9)


def test_the_shadow_has_its_minimal_length_on_two_fifths_of_the_grid():
    data = Pendulum()
    assert np.mean(data.concepts(all_indices(data))[:, 2] == 3) == pytest.approx(0.396, abs=5e-4)


@pytest.mark.parametrize(
    ("kind", "shift", "scale"),
    [
        (Pendulum, [0, 100, 7, 10], [44, 40, 7.5, 10]),
        (Flow, [20, 2, 10.5, 5.95], [15, 2, 4.5, 2.65]),
    ],
)
def test_labels_are_shifted_and_scaled_concepts(kind, shift, scale):
    data = kind()
    assert (list(data.concept_shift), list(data.concept_scale)) == (shift, scale)
    labels = data.labels(all_indices(data))
    assert labels.dtype == np.float32
    back = labels * np.array(scale) + shift
    np.testing.assert_allclose(back, data.concepts(all_indices(data)), rtol=1e-5, atol=1e-5)
    assert abs(labels).max() < 2


@pytest.mark.parametrize(("kind", "train", "test"), [(Pendulum, 5482, 1826), (Flow, 6480, 1620)])
def test_the_published_split(kind, train, test):
    data = kind()
    # The two generators count alike up to a test image, then from 1 and from 0.
    expected, count = [], 0
    for index in range(len(data)):
        is_test = count == 4
        expected += [index] * is_test
        count = 0 if is_test else count + 1
        count += is_test and kind is Pendulum
    assert data.published_test_indices().tolist() == expected
    assert (len(data) - len(expected), len(expected)) == (train, test)


def test_factors_and_indices_are_inverse(data):
    factors = data.factors(all_indices(data))
    np.testing.assert_array_equal(data.indices(factors), all_indices(data))
    assert len(np.unique(factors, axis=0)) == len(data)
    values = data.factor_values
    assert tuple(len(values[name]) for name in data.factor_names) == data.factor_sizes
    assert set(data.factor_kinds) == {"ordinal"}


def test_concepts_that_are_factors_have_their_values(data):
    factors, concepts = data.factors(all_indices(data)), data.concepts(all_indices(data))
    for name in set(data.factor_names) & set(data.concept_names):
        steps = factors[:, data.factor_names.index(name)]
        column = concepts[:, data.concept_names.index(name)]
        np.testing.assert_array_equal(column, data.factor_values[name][steps])


# -- interventions --------------------------------------------------------------------------------


def changed_concepts(data, hold):
    """Return which concepts (columns) change if each concept (row) is increased slightly."""
    indices = np.random.default_rng(0).integers(len(data), size=200)
    before = data.concepts(indices)
    names = data.concept_names
    answer = np.zeros((len(names), len(names)), np.int8)
    for i, cause in enumerate(names):
        for j, effect in enumerate(names):
            fixed = {n: before[:, k] for k, n in enumerate(names) if hold and n != effect}
            after = data.do(indices, fixed | {cause: before[:, i] + 0.5})
            answer[i, j] = i != j and (after[:, j] != before[:, j]).any()
    return answer


def test_the_graph_matches_interventions(data):
    assert data.graph.dtype == np.int8
    np.testing.assert_array_equal(changed_concepts(data, hold=True), data.graph)
    paths = sum(np.linalg.matrix_power(data.graph, k) for k in range(1, len(data.graph)))
    np.testing.assert_array_equal(changed_concepts(data, hold=False), paths > 0)


def test_the_published_graphs():
    pendulum = [[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]]
    flow = [[0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0]]
    assert (Pendulum().graph.tolist(), Flow().graph.tolist()) == (pendulum, flow)


def test_intervention_on_a_root_equals_another_index(data):
    indices = np.random.default_rng(1).integers(len(data), size=100)
    for name in set(data.factor_names) & set(data.concept_names):
        factors = data.factors(indices)
        factors[:, data.factor_names.index(name)] = 3
        there = data.concepts(data.indices(factors))
        value = data.factor_values[name][3]
        np.testing.assert_array_equal(data.do(indices, {name: value}), there)


def test_intervention_on_a_leaf_changes_nothing_else(data):
    indices = np.random.default_rng(2).integers(len(data), size=100)
    for k in np.flatnonzero(data.graph.sum(1) == 0):
        after = data.do(indices, {data.concept_names[k]: 4.25})
        expected = data.concepts(indices)
        expected[:, k] = 4.25
        np.testing.assert_array_equal(after, expected)


def test_several_interventions_and_one_value_per_index():
    data = Flow()
    after = data.do([0, 8099], {"water_height": [2, 3], "ball_size": 30})
    reach = [math.sqrt(1.96 * 2 * 1.5), math.sqrt(1.96 * 3 * (14 / 3 - 0.5))]
    np.testing.assert_allclose(after, [[30, 2, 6, reach[0]], [30, 3, 14, reach[1]]])
    data = Pendulum()
    straight = data.do([0], {"light_angle": 100, "pendulum_angle": 100})  # level, light above
    np.testing.assert_allclose(straight, [[100, 100, 9.5, 14.75]])


def test_no_intervention_changes_nothing(data):
    np.testing.assert_array_equal(data.do([5, 0], {}), data.concepts([5, 0]))
    assert data.do([], {}).shape == (0, 4)
    assert data.do([], {data.concept_names[0]: 3}).shape == (0, 4)


# -- images ---------------------------------------------------------------------------------------


def color_fraction(images, low, high, channel):
    """Return the fraction of a second color in each pixel, from the values of one channel."""
    return (images[..., channel].astype(float) - low) / (float(high) - low)


def test_length_and_position_of_the_shadow():
    data = Pendulum(image_size=32)
    indices = all_indices(data)[:-1]  # the last shadow's end is out of the picture
    concepts = data.concepts(indices)
    ground = data.images(indices)[:, -1]
    dark = color_fraction(ground, 232, 60, channel=0)
    pixel = 22 / 32
    centers = -1 + pixel * (np.arange(32) + 0.5)
    np.testing.assert_allclose(dark.sum(1) * pixel, concepts[:, 2], atol=0.02)
    np.testing.assert_allclose(dark @ centers / dark.sum(1), concepts[:, 3], atol=0.03)


def test_interventions_on_the_shadow():
    data = Pendulum(image_size=32)
    concepts = data.do([0] * 3, {"shadow_length": [0, 1, 8], "shadow_position": [5, 10, 12.5]})
    dark = color_fraction(data.render(concepts)[:, -1], 232, 60, channel=0) * 22 / 32
    np.testing.assert_allclose(dark.sum(1), [0, 1, 8], atol=0.02)


def test_positions_of_pendulum_and_light():
    data = Pendulum(image_size=64)
    indices = np.random.default_rng(3).integers(len(data), size=300)
    theta, phi = data.concepts(indices)[:, :2].T * math.pi / 200
    images = data.images(indices).astype(float)
    centers = 22 / 64 * (np.arange(64) + 0.5) - 1
    blue = (images[..., 2] - images[..., 0]).clip(40) - 40  # of the ball alone
    ball = blue / blue.sum((1, 2), keepdims=True)
    np.testing.assert_allclose(ball.sum(1) @ centers, 10 + 8 * np.sin(theta), atol=0.1)
    np.testing.assert_allclose(ball.sum(2) @ centers[::-1], 10.5 - 8 * np.cos(theta), atol=0.1)
    yellow = (images[..., 0] - images[..., 2]).clip(0)[:, 0]
    light = 10 + 10 / np.tan(phi)
    whole = (light > 2.5) & (light < 17.5)
    assert whole.sum() > 200
    place = yellow @ centers / yellow.sum(1)
    np.testing.assert_allclose(place[whole], light[whole], atol=0.1)


@pytest.mark.parametrize("size", [32, 64])
def test_height_of_the_water(size):
    data = Flow(image_size=size)
    indices = all_indices(data)[:: 64 // size * 3]
    column = int(1.9 / 14 * size)  # between the wall and the ball
    wet = color_fraction(data.images(indices)[:, : -size // 16, column], 250, 86, channel=0)
    level = 0.5 + wet.sum(1) * 14 / size
    np.testing.assert_allclose(level, 5 + data.concepts(indices)[:, 1], atol=0.02)


def test_size_and_position_of_the_ball():
    data = Flow(image_size=96)
    sizes = np.arange(5, 35, 3)
    concepts = data.do([0] * len(sizes), {"ball_size": sizes, "water_height": 3})
    images = data.render(concepts)[:, 46:-6, 9:39]  # from the ground to a little below the level
    red = color_fraction(images, 86, 213, channel=0)
    pixel = 14 / 96
    area = red.sum((1, 2)) * pixel**2
    np.testing.assert_allclose(np.sqrt(area / math.pi), sizes / 30, atol=0.02)
    heights = -0.375 + pixel * (np.arange(96)[::-1] + 0.5)[46:-6]
    widths = 2 + pixel * (np.arange(9, 39) + 0.5)
    weight = red / red.sum((1, 2), keepdims=True)
    np.testing.assert_allclose(weight.sum(2) @ heights, 0.5 + sizes / 30, atol=0.04)
    np.testing.assert_allclose(weight.sum(1) @ widths, 5.5, atol=0.04)


def test_start_and_end_of_the_jet():
    data = Flow(image_size=64)
    indices = np.random.default_rng(4).integers(len(data), size=400)
    _, _, hole, reach = data.concepts(indices).T
    images, pixel = data.images(indices), 14 / 64
    first = math.ceil(6.4 / pixel)
    row = color_fraction(images[:, -5, first:], 250, 86, channel=0)  # the row above the ground
    centers = 2 + pixel * (np.arange(64) + 0.5)
    place = row @ centers[first:] / row.sum(1)
    fallen = hole / 3 - 0.5 - pixel / 2
    expected = 8 + reach * np.sqrt(fallen / (hole / 3 - 0.5))
    np.testing.assert_allclose(place, expected, atol=0.08)
    wall = color_fraction(images[:, :-4, int(6 / pixel)], 68, 233, channel=2)[
        :, 20:
    ]  # the water's blue
    heights = (-0.375 + pixel * (np.arange(64)[::-1] + 0.5))[20:-4]
    np.testing.assert_allclose(wall @ heights / wall.sum(1), hole / 3, atol=0.05)


@pytest.mark.parametrize("reach", [0, 0.2, 0.6, 1.2, 3, 7.5])
def test_any_flow_distance_can_be_rendered(reach):
    data = Flow(image_size=96)
    image = data.render(data.do([4000], {"water_flow": reach}))[0]
    wet = color_fraction(image[:-6, 44:], 250, 86, channel=0)
    columns = np.flatnonzero((wet > 0.5).any(0))
    last = 2 + 14 / 96 * (44 + (columns.max() + 1 if len(columns) else 0))
    assert last == pytest.approx(8 + reach + 0.3, abs=0.3)
    hole = math.floor((13.625 - data.concepts([4000])[0, 2] / 3) * 96 / 14)
    assert (wet[: hole - 3] == 0).all()  # nothing above the hole


@pytest.mark.parametrize(
    ("kind", "concept", "value", "rows", "columns"),
    [
        (Pendulum, "light_angle", 80, slice(0, 6), slice(None)),
        (Pendulum, "pendulum_angle", 30, slice(14, 30), slice(None)),
        (Pendulum, "shadow_length", 9, slice(30, 32), slice(None)),
        (Pendulum, "shadow_position", 12, slice(30, 32), slice(None)),
        (Flow, "ball_size", 30, slice(None), slice(4, 12)),
        (Flow, "water_height", 4.5, slice(0, 20), slice(2, 14)),
        (Flow, "hole_position", 12, slice(None), slice(12, 32)),
        (Flow, "water_flow", 6, slice(None), slice(13, 32)),
    ],
)
def test_each_concept_changes_its_region_only(kind, concept, value, rows, columns):
    data = kind(image_size=32)
    before = data.concepts([1000])
    after = before.copy()
    after[0, data.concept_names.index(concept)] = value
    changed = (data.render(before) != data.render(after)).any(axis=(0, 3))
    assert changed.sum() >= 6
    changed[rows, columns] = False
    assert not changed.any()


@pytest.mark.parametrize("size", [32, 64, 96])
@pytest.mark.parametrize("kind", SETS)
def test_images_equal_rendered_concepts_in_any_batch(kind, size):
    data = kind(image_size=size)
    indices = np.random.default_rng(5).integers(len(data), size=70)
    batch = data.images(indices)
    assert batch.dtype == np.uint8
    assert batch.shape == (70, size, size, 3) == (70, *data.image_shape)
    concepts = data.concepts(indices)
    for k in (0, 33, 69):
        np.testing.assert_array_equal(data.concepts(indices[[k]])[0], concepts[k])
        np.testing.assert_array_equal(data.render(concepts[[k]])[0], batch[k])
    np.testing.assert_array_equal(data.render(concepts), batch)


def test_other_sizes_show_the_same_scene(data):
    indices = np.random.default_rng(6).integers(len(data), size=20)
    large = type(data)(96).images(indices).reshape(20, 32, 3, 32, 3, 3).mean((2, 4))
    difference = abs(large - data.images(indices))
    assert difference.mean() < 2
    assert np.quantile(difference, 0.99) < 32


def test_nearly_all_images_differ(data):
    different = {image.tobytes() for image in data.images(all_indices(data))}
    assert len(different) > 0.99 * len(data)


def test_images_are_copies_and_pickles_are_small(data):
    image = data.images([7])
    image[:] = 0
    assert data.images([7]).any()
    pickled = pickle.dumps(data)
    assert len(pickled) < 1000
    np.testing.assert_array_equal(pickle.loads(pickled).images([7, 8]), data.images([7, 8]))
    assert data.images([]).shape == (0, 32, 32, 3)
    assert data.render(np.empty((0, 4))).shape == (0, 32, 32, 3)


# -- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SETS)
def test_wrong_image_sizes(kind):
    with pytest.raises(ValueError, match=r"needs to be one of \(64, 32, 96\). Got 48"):
        kind(image_size=48)


@pytest.mark.parametrize(
    ("interventions", "message"),
    [
        ({"shade": 3}, "needs names from pendulum_angle, light_angle, .*Got 'shade'"),
        ({"light_angle": float("nan")}, "finite values from 1 to 199 for 'light_angle'. Got nan"),
        ({"shadow_position": float("inf")}, "finite values .*'shadow_position'. Got inf"),
        ({"light_angle": 0}, "from 1 to 199 for 'light_angle'. Got 0"),
        ({"light_angle": [90, 200.5]}, "from 1 to 199 for 'light_angle'. Got 200.5"),
        ({"light_angle": [90, 91, 92]}, r"one per index. Got shape \(3,\) for 2 indices"),
        ({"light_angle": [[90], [91]]}, r"one per index. Got shape \(2, 1\) for 2 indices"),
    ],
)
def test_wrong_interventions(interventions, message):
    with pytest.raises(ValueError, match=message):
        Pendulum().do([0, 1], interventions)


@pytest.mark.parametrize(
    ("concepts", "message"),
    [
        ([20, 2, 10, 3], r"4 columns \(ball_size, .*\). Got shape \(4,\)"),
        ([[20, 2, 10]], r"4 columns .* Got shape \(1, 3\)"),
        ([[20, 2, 10, np.nan]], "finite values from 0 to inf for 'water_flow'. Got nan"),
        ([[20, -0.5, 10, 3]], "from 0 to inf for 'water_height'. Got -0.5"),
        ([[20, 2, 1, 3]], "from 1.5 to 15 for 'hole_position'. Got 1"),
    ],
)
def test_wrong_concepts(concepts, message):
    with pytest.raises(ValueError, match=message):
        Flow().render(concepts)


def test_values_that_are_not_numbers():
    with pytest.raises(TypeError, match="needs numbers for 'light_angle'"):
        Pendulum().do([0], {"light_angle": "high"})
    with pytest.raises(TypeError, match="needs numbers for 'ball_size'"):
        Flow().render([["a", "b", "c", "d"]])


def test_wrong_indices(data):
    for method in (data.images, data.concepts, data.labels, lambda i: data.do(i, {})):
        with pytest.raises(IndexError, match=f"0 to {len(data) - 1}"):
            method([len(data)])
        with pytest.raises(TypeError, match="needs integers"):
            method([0.5])
