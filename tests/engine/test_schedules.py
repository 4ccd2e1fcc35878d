"""Schedules: their values where they bend, through `Variable` steps too, and what they refuse."""

import json
import math

import keras
import numpy as np
import pytest
from keras import ops
from support.checks import compiled, images, small

from keras_disent import schedules
from keras_disent.engine.schedules import Cyclical, Linear
from keras_disent.experiments.planned import text

EXAMPLES = {
    "linear": Linear(0.5, 2.5, steps=20),
    "cyclical": Cyclical(0.25, 4.0, period=7, rising=0.75),
    "of Keras": keras.optimizers.schedules.PiecewiseConstantDecay([3, 9], [1.0, 2.0, 0.0]),
}
every_example = pytest.mark.parametrize("schedule", EXAMPLES.values(), ids=EXAMPLES)


def value(schedule, step):
    return float(ops.convert_to_numpy(schedule(step)))


@pytest.mark.parametrize(
    ("step", "expected"), [(0, 2.0), (1, 3.0), (4, 6.0), (7, 9.0), (8, 10.0), (9, 10.0)]
)
def test_linear_goes_from_start_to_end_and_stays(step, expected):
    assert value(Linear(2.0, 10.0, steps=8), step) == expected
    assert value(Linear(-2.0, -10.0, steps=8), step) == -expected  # downwards too


def test_linear_stays_for_ever():
    assert value(Linear(0.0, 25.0, steps=100_000), 2**31 - 1) == 25.0


def test_linear_in_one_step():
    assert [value(Linear(1.0, 0.0, steps=1), step) for step in range(3)] == [1.0, 0.0, 0.0]


@pytest.mark.parametrize("period", [0, 1, 5])
@pytest.mark.parametrize(
    ("within", "expected"), [(0, 1.0), (25, 2.0), (49, 2.96), (50, 3.0), (51, 3.0), (99, 3.0)]
)
def test_cyclical_rises_stays_and_starts_again(period, within, expected):
    schedule = Cyclical(1.0, 3.0, period=100)
    assert value(schedule, 100 * period + within) == pytest.approx(expected, rel=1e-6)


def test_cyclical_may_rise_all_the_time():
    saw = Cyclical(0.0, 1.0, period=4, rising=1.0)
    assert [value(saw, step) for step in range(6)] == [0.0, 0.25, 0.5, 0.75, 0.0, 0.25]


def test_cyclical_keeps_its_place_where_float32_has_no_odd_numbers():
    step = keras.Variable(2**24 + 1, dtype="int32", trainable=False)
    assert value(Cyclical(0.0, 1.0, period=4, rising=1.0), step) == 0.25


@every_example
def test_steps_may_be_variables(schedule):
    step = keras.Variable(0, dtype="int32", trainable=False)
    for number in (0, 3, 6, 7, 20, 1000):
        step.assign(number)
        assert value(schedule, step) == pytest.approx(value(schedule, number), rel=1e-6)


@every_example
def test_schedules_go_into_a_configuration_and_back(schedule):
    stored = json.loads(json.dumps(schedules.config(schedule)))
    again = schedules.weight("beta", stored)
    assert type(again) is type(schedule)
    assert again.get_config() == schedule.get_config()
    assert [value(again, step) for step in range(25)] == [value(schedule, s) for s in range(25)]


@every_example
def test_schedules_are_written_as_calls_and_read_back(schedule):
    stored = json.loads(json.dumps(schedules.config(schedule)))
    again = schedules.parse(text(stored))
    assert json.loads(json.dumps(again))["config"] == stored["config"]
    assert type(schedules.weight("beta", again)) is type(schedule)


def test_what_is_no_call_is_no_schedule():
    for value in ("ii", "4", "a b", "", "x.Linear(0, 1, 2)", "Linear", 4, None, [1, 2]):
        assert schedules.parse(value) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Line(0, 1, 2)", r"Unknown schedule 'Line'\. Choose from: CosineDecay, .*Linear, "),
        ("Linear(0, 1)", r"'Linear\(0, 1\)' is not a schedule: .*'steps'"),
        ("Linear(0, 1, steps=0)", r"is not a schedule: `steps` of a schedule is at least 1"),
        ("Linear(0, end, 2)", r"is not a schedule: it takes numbers, lists of them and booleans"),
        ("Linear(0, exit(), 2)", r"is not a schedule: it takes numbers"),
        ("Linear('a', 1, 2)", r"is not a schedule: could not convert"),
        ("Linear(*[0, 1, 2])", r"is not a schedule"),
        ("Linear(**{'start': 0})", r"is not a schedule"),
    ],
)
def test_calls_that_are_no_schedules(text, message):
    with pytest.raises(ValueError, match=message):
        schedules.parse(text)


def test_weights_are_numbers_or_schedules():
    for number in (0, 4, 2.5, np.int64(4), np.float32(2.5)):
        kept = schedules.weight("beta", number)
        assert type(kept) is float
        assert kept == number
        assert schedules.config(kept) == number
    schedule = EXAMPLES["linear"]
    assert schedules.weight("beta", schedule) is schedule


def test_at_gives_a_float32_scalar():
    for weight, expected in [(4.0, 4.0), (EXAMPLES["linear"], 1.5)]:
        now = schedules.value_at(weight, 10)
        assert keras.backend.standardize_dtype(now.dtype) == "float32"
        assert tuple(now.shape) == ()
        assert float(ops.convert_to_numpy(now)) == expected


@pytest.mark.parametrize("wrong", [-1, -0.001, math.nan, math.inf, "4", True, None, [1.0]])
def test_wrong_weights(wrong):
    with pytest.raises(ValueError, match=r"`gamma` is a number of at least 0, or a schedule\. Got"):
        schedules.weight("gamma", wrong)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Linear(0, 1, steps=0), r"`steps` of a schedule is at least 1\. Got 0\."),
        (lambda: Cyclical(0, 1, period=0), r"`period` of a schedule is at least 1\. Got 0\."),
        (lambda: Cyclical(0, 1, 10, rising=0), r"`rising` is .* in \(0, 1\]\. Got 0\."),
        (lambda: Cyclical(0, 1, 10, rising=1.5), r"`rising` is .* in \(0, 1\]\. Got 1\.5\."),
        (lambda: Cyclical(0, 1, 10, rising=math.nan), r"`rising` is .* Got nan\."),
    ],
)
def test_wrong_schedules(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_whole_numbers_do_not_stop_a_rate():
    stored = schedules.parse("CosineDecay(0, 10, warmup_target=2, warmup_steps=4)")
    schedule = keras.saving.deserialize_keras_object(stored)
    assert [value(schedule, step) for step in (0, 2, 4, 9)] == [0.0, 1.0, 2.0, pytest.approx(1.0)]


def test_files_of_weights_hold_the_weights_of_the_objective(tmp_path):
    path, other = tmp_path / "a.weights.h5", small("factor_vae", gamma=2.0)
    small("factor_vae", gamma=9.0).save_weights(path)
    other.load_weights(path)
    assert other.gamma == 9.0  # as the learning rate of a Keras optimizer
    other.gamma = 2.0
    assert float(other.current("gamma")) == 2.0


def test_a_schedule_is_stored_by_its_present_value(tmp_path):
    path, rising = tmp_path / "a.weights.h5", schedules.Linear(1.0, 5.0, steps=4)
    scheduled, fixed = compiled(small("factor_vae", gamma=rising)), small("factor_vae", gamma=2.0)
    scheduled.fit(images(16), batch_size=16, epochs=2, verbose=0)
    scheduled.save_weights(path)
    fixed.load_weights(path)
    assert fixed.gamma == 3.0
    fixed.gamma = 7.0
    fixed.save_weights(path)
    scheduled.load_weights(path)
    assert float(scheduled.current("gamma")) == 3.0  # it follows its schedule
