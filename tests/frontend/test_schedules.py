"""Learning-rate schedules give Keras's numbers at once and traced; and by meaning."""

import math

import keras
import numpy as np
import pytest

import lamina
from lamina import keras as ours
from lamina.frontend import saving
from lamina.frontend.optimizers import schedules
from lamina.ir.errors import ArgumentError

ROWS = [
    ("ExponentialDecay", {"initial_learning_rate": 0.3, "decay_steps": 7, "decay_rate": 0.9}),
    ("ExponentialDecay", {"initial_learning_rate": 0.3, "decay_steps": 7, "decay_rate": 0.9, "staircase": True}),
    ("InverseTimeDecay", {"initial_learning_rate": 0.3, "decay_steps": 7, "decay_rate": 0.5}),
    ("InverseTimeDecay", {"initial_learning_rate": 0.3, "decay_steps": 7, "decay_rate": 0.5, "staircase": True}),
    ("PolynomialDecay", {"initial_learning_rate": 0.3, "decay_steps": 7}),
    ("PolynomialDecay", {"initial_learning_rate": 0.3, "decay_steps": 7, "end_learning_rate": 0.1, "power": 0.5}),
    ("PolynomialDecay", {"initial_learning_rate": 0.3, "decay_steps": 7, "power": 2.0, "cycle": True}),
    ("PiecewiseConstantDecay", {"boundaries": [3, 6, 20], "values": [0.5, 0.25, 0.125, 0.1]}),
    ("PiecewiseConstantDecay", {"boundaries": [3.0, 6.0], "values": [1, 0.25, 2]}),
    ("CosineDecay", {"initial_learning_rate": 0.3, "decay_steps": 7}),
    ("CosineDecay", {"initial_learning_rate": 0.3, "decay_steps": 7, "alpha": 0.2, "name": "cosine"}),
    ("CosineDecay", {"initial_learning_rate": 0.1, "decay_steps": 7, "warmup_target": 0.4, "warmup_steps": 5}),
    ("CosineDecay", {"initial_learning_rate": 0.1, "decay_steps": 7, "warmup_target": 0.4, "alpha": 0.5}),
    ("CosineDecayRestarts", {"initial_learning_rate": 0.3, "first_decay_steps": 3}),
    ("CosineDecayRestarts", {"initial_learning_rate": 0.3, "first_decay_steps": 3, "t_mul": 1.0, "m_mul": 0.8}),
    ("CosineDecayRestarts", {"initial_learning_rate": 0.3, "first_decay_steps": 3, "t_mul": 1.5, "alpha": 0.1}),
]
STEPS = [0, 1, 3, 6, 7, 8, 20, 53]


@pytest.mark.parametrize("name, arguments", ROWS)
def test_rates_are_those_of_keras(name, arguments):
    schedule, theirs = getattr(schedules, name)(**arguments), getattr(keras.optimizers.schedules, name)(**arguments)
    traced = lamina.jit(schedule)
    for step in STEPS:
        expected = theirs(keras.ops.convert_to_tensor(np.int32(step)))
        found = schedule(ours.ops.convert_to_tensor(np.int32(step)))
        assert str(found.dtype) == str(expected.dtype) and found.shape == ()
        # A few float32 operations, which XLA may fuse; the cosine near pi/2 loses what is left of 1.
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8, err_msg=str(step))
        np.testing.assert_allclose(traced(np.int32(step)), expected, rtol=2e-6, atol=3e-8, err_msg=str(step))


@pytest.mark.parametrize("name, arguments", ROWS)
def test_configs_are_those_of_keras(name, arguments):
    schedule, theirs = getattr(schedules, name)(**arguments), getattr(keras.optimizers.schedules, name)(**arguments)
    written = schedules.serialize(schedule)
    assert written == keras.optimizers.schedules.serialize(theirs)
    for again in (schedules.deserialize(written), saving.deserialize_keras_object(written)):
        assert type(again) is type(schedule) and again.get_config() == schedule.get_config()
    by_keras = keras.optimizers.schedules.deserialize(written)
    assert type(by_keras) is type(theirs) and by_keras.get_config() == schedule.get_config()


def test_by_meaning():
    exponential = schedules.ExponentialDecay(1.0, 10, 0.5)
    assert [float(exponential(s)) for s in (0, 10, 20)] == [1.0, 0.5, 0.25]
    line = schedules.PolynomialDecay(1.0, 4, 0.0)
    assert [float(line(s)) for s in (0, 1, 2, 4, 9)] == [1.0, 0.75, 0.5, 0.0, 0.0]
    cosine = schedules.CosineDecay(0.0, 4, warmup_target=2.0, warmup_steps=2)
    assert [float(cosine(s)) for s in (0, 1, 2)] == [0.0, 1.0, 2.0]
    assert float(cosine(3)) == pytest.approx(1 + math.cos(math.pi / 4), rel=1e-6)  # float32
    assert float(cosine(6)) == pytest.approx(0.0, abs=1e-7)
    restarts = schedules.CosineDecayRestarts(1.0, 2, t_mul=2.0, m_mul=0.5)
    assert [float(restarts(s)) for s in (0, 2, 6)] == pytest.approx([1.0, 0.5, 0.25], rel=1e-6)


def test_a_schedule_of_the_users():
    @saving.register_keras_serializable("tests")
    class Halves(schedules.LearningRateSchedule):
        def __init__(self, rate):
            self.rate = rate

        def __call__(self, step):
            return self.rate / (2.0 ** ours.ops.cast(step, "float32"))

        def get_config(self):
            return {"rate": self.rate}

    optimizer = ours.optimizers.SGD(Halves(1.0))
    w = ours.Variable(np.float32(0.0), name="w")
    for _ in range(3):
        optimizer.apply([ours.ops.convert_to_tensor(np.float32(1.0))], [w])
    assert float(w.numpy()) == -1.75
    again = ours.optimizers.deserialize(ours.optimizers.serialize(optimizer))
    assert isinstance(again._learning_rate, Halves) and again.get_config() == optimizer.get_config()


def test_errors_say_what_to_do():
    with pytest.raises(ArgumentError, match="decay_steps must be greater than 0, received 0"):
        schedules.ExponentialDecay(0.1, 0, 0.5)
    with pytest.raises(ArgumentError, match="first_decay_steps must be greater than 0, received -1"):
        schedules.CosineDecayRestarts(0.1, -1)
    with pytest.raises(ArgumentError, match="expected one value more than boundaries, received 1 boundaries and 1"):
        schedules.PiecewiseConstantDecay([1], [0.5])
    with pytest.raises(TypeError, match="must define __call__"):
        schedules.LearningRateSchedule()(0)
    with pytest.raises(TypeError, match="must define get_config"):
        schedules.LearningRateSchedule().get_config()
