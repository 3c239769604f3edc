"""What all optimizers do around their rule: decay, clipping, averages, accumulation, scales, rates, errors."""

import keras
import numpy as np
import pytest

import lamina
from lamina import keras as ours
from lamina.frontend import optimizers
from lamina.frontend.optimizers import schedules
from lamina.ir.errors import ArgumentError, ShapeError

from .optimizer_rows import FEW, assert_equal, fresh_names, gradients, keras_steps, keras_steps_by, our_steps, variables


def tensor(value):
    return ours.ops.convert_to_tensor(np.asarray(value, "float32"))


def weight(value=(1.0, -2.0), name="w"):
    return ours.Variable(np.asarray(value, "float32"), name=name)


def traced(optimizer, trained):
    """The step as one program."""
    return lamina.jit(lambda *grads: optimizer.apply(list(grads), trained))


# Weight decay and clipping


def test_weight_decay_comes_off_before_the_update():
    w = weight()
    optimizers.SGD(0.5, weight_decay=0.1).apply([tensor([0.0, 0.0])], [w])
    np.testing.assert_allclose(w.numpy(), [0.95, -1.9], rtol=1e-6)


def test_variables_excluded_from_weight_decay():
    a, b, c = weight(name="kernel"), weight(name="bias"), weight(name="scale")
    optimizer = optimizers.AdamW(0.5, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_list=[c], var_names=["bia", "none"])
    optimizer.apply([tensor([0.0, 0.0])] * 3, [a, b, c])
    np.testing.assert_allclose(a.numpy(), [0.95, -1.9], rtol=1e-6)
    for kept in (b, c):
        np.testing.assert_array_equal(kept.numpy(), [1.0, -2.0])


@pytest.mark.parametrize(
    "limit, expected",
    [
        ({"clipnorm": 1.0}, [[0.6, 0.8], [0.3, 0.4]]),
        ({"clipvalue": 0.35}, [[0.35, 0.35], [0.3, 0.35]]),
        ({"global_clipnorm": 1.0}, [[3 / 29.25**0.5 * 1, 4 / 29.25**0.5], [0.3 / 29.25**0.5, 0.4 / 29.25**0.5]]),
        ({"global_clipnorm": 100.0}, [[3.0, 4.0], [0.3, 0.4]]),
    ],
)
def test_clipping(limit, expected):
    grads = [[3.0, 4.0], [0.3, 0.4]]
    if limit.get("global_clipnorm") == 1.0:
        expected = np.array(grads) / np.sqrt(25 + 0.25)
    trained = [weight([0.0, 0.0]), weight([0.0, 0.0])]
    optimizers.SGD(1.0, **limit).apply([tensor(g) for g in grads], trained)
    for w, e in zip(trained, expected, strict=True):
        np.testing.assert_allclose(-w.numpy(), e, rtol=1e-6)


def test_a_zero_gradient_is_clipped_to_zero_and_an_infinite_one_is_noticed():
    zero, other = weight(), weight()
    optimizers.SGD(1.0, clipnorm=1.0).apply([tensor([0.0, 0.0])], [zero])
    np.testing.assert_array_equal(zero.numpy(), [1.0, -2.0])
    optimizer = optimizers.SGD(1.0, global_clipnorm=1.0)
    traced(optimizer, [zero, other])(np.float32([np.inf, 0.0]), np.float32([1.0, 1.0]))
    assert np.isnan(zero.numpy()).all() and np.isnan(other.numpy()).all()


# Averages


def test_averages_by_hand_and_at_the_end():
    w = weight(0.0)
    optimizer = optimizers.SGD(1.0, use_ema=True, ema_momentum=0.5)
    for _ in range(3):
        optimizer.apply([tensor(-1.0)], [w])
    # The variable is 1, 2, 3; the average starts at its first value.
    assert float(optimizer.variables[2].numpy()) == 0.5 * (0.5 * 1 + 0.5 * 2) + 0.5 * 3
    assert float(w.numpy()) == 3.0
    optimizer.finalize_variable_values([w])
    assert float(w.numpy()) == 2.25
    with pytest.raises(ArgumentError, match="has averages of 1 variables, received 2"):
        optimizer.finalize_variable_values([w, w])


def test_variables_are_overwritten_by_their_averages():
    w = weight(0.0)
    optimizer = optimizers.SGD(1.0, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=2)
    values = []
    for _ in range(3):
        optimizer.apply([tensor(-1.0)], [w])
        values.append(float(w.numpy()))
    assert values == [1.0, 1.5, 2.5]  # the second is the average of 1 and 2


# Accumulation


@pytest.mark.parametrize("run", [lambda o, w: lambda g: o.apply([tensor(g)], w), traced], ids=["at once", "traced"])
def test_accumulated_gradients_are_one_step_by_their_mean(run):
    w = weight([0.0, 0.0])
    optimizer = optimizers.SGD(1.0, gradient_accumulation_steps=2)
    step = run(optimizer, [w])
    step(np.float32([1.0, 2.0]))
    np.testing.assert_array_equal(w.numpy(), [0.0, 0.0])
    assert int(optimizer.iterations) == 0
    step(np.float32([3.0, 4.0]))
    np.testing.assert_array_equal(w.numpy(), [-2.0, -3.0])
    assert int(optimizer.iterations) == 1
    np.testing.assert_array_equal(optimizer.variables[2].numpy(), [0.0, 0.0])


# Gradients that replace


@pytest.mark.parametrize("accumulate", [None, 2])
def test_variables_that_gradients_overwrite(accumulate):
    def steps(module, optimizer_module, apply):
        trained = variables(module, shapes=FEW)
        trained[1].overwrite_with_gradient = True
        optimizer = optimizer_module.Adam(clipnorm=0.1, gradient_accumulation_steps=accumulate)
        apply(optimizer, trained, 3, shapes=FEW)
        return optimizer, trained

    optimizer, trained = steps(ours, optimizers, our_steps)
    theirs, expected = steps(keras, keras.optimizers, keras_steps)
    assert_equal(trained, expected)
    assert_equal(optimizer.variables, theirs.variables, atol=1e-7)
    if accumulate is None:
        np.testing.assert_array_equal(trained[1].numpy(), gradients(2, shapes=FEW)[1])


@pytest.mark.parametrize("name", ["Adafactor", "Muon", "ScheduleFreeAdamW"])
def test_no_state_for_variables_that_gradients_overwrite(name):
    trained, expected = variables(ours, shapes=FEW), variables(keras, shapes=FEW)
    trained[0].overwrite_with_gradient = expected[0].overwrite_with_gradient = True
    optimizer, theirs = getattr(optimizers, name)(), getattr(keras.optimizers, name)()
    optimizer.build(trained)
    theirs.build(expected)
    assert [v.shape for v in optimizer.variables] == [tuple(v.shape) for v in theirs.variables]


# Constraints


def test_constraints_hold_after_each_step():
    w = weight([1.0, 2.0])
    w.constraint = ours.constraints.NonNeg()
    step = traced(optimizers.SGD(1.0), [w])
    step(np.float32([3.0, 1.0]))
    np.testing.assert_array_equal(w.numpy(), [0.0, 1.0])


# Loss scales


def test_a_fixed_loss_scale():
    w, optimizer = weight(0.0), optimizers.SGD(1.0, loss_scale_factor=4.0)
    assert float(optimizer.scale_loss(tensor(3.0))) == 12.0
    optimizer.apply([tensor(8.0)], [w])
    assert float(w.numpy()) == -2.0
    loss = tensor(3.0)
    assert optimizers.SGD().scale_loss(loss) is loss


@pytest.mark.parametrize("way", ["at once", "traced"])
def test_a_loss_scale_that_follows_the_gradients(way):
    grads = np.float32([[1.0, 2.0], [np.inf, 1.0], [3.0, -1.0], [1.0, 1.0], [np.nan, 0.0], [0.5, 0.5]])

    def made(module, optimizer_module):
        w = module.Variable(np.float32([1.0, -2.0]), name="w")
        inner = optimizer_module.Adam(0.1, loss_scale_factor=3.0)
        return optimizer_module.LossScaleOptimizer(inner, initial_scale=8.0, dynamic_growth_steps=2), w

    fresh_names()
    (optimizer, w), (theirs, expected) = made(ours, optimizers), made(keras, keras.optimizers)
    keras_steps_by(theirs, [expected], [[g] for g in grads])
    optimizer.build([w])
    step = traced(optimizer, [w])
    for g in grads:
        step(g) if way == "traced" else optimizer.apply([tensor(g)], [w])
    assert optimizer.inner_optimizer.loss_scale_factor is None
    assert_equal([w], [expected])
    assert_equal(optimizer.variables, theirs.variables, atol=1e-7)
    assert [v.path for v in optimizer.variables] == [v.path for v in theirs.variables]
    # 8, halved, doubled after two good steps, halved; one good step since.
    assert float(optimizer.dynamic_scale.numpy()) == 4.0
    assert int(optimizer.step_counter.numpy()) == 1
    assert int(optimizer.iterations) == 4
    assert float(optimizer.scale_loss(tensor(1.5))) == 6.0


def test_loss_scale_optimizer_stands_for_the_inner_one():
    inner = optimizers.SGD(0.25, use_ema=True)
    optimizer = optimizers.LossScaleOptimizer(inner, initial_scale=2.0)
    assert float(optimizer.scale_loss(tensor(1.5))) == 3.0
    assert float(optimizer.learning_rate) == 0.25
    optimizer.learning_rate = 0.5
    assert float(inner.learning_rate) == 0.5
    w = weight(0.0)
    optimizer.apply([tensor(-2.0)], [w])
    optimizer.apply([tensor(-2.0)], [w])
    optimizer.finalize_variable_values([w])
    assert float(w.numpy()) == pytest.approx(0.99 * 0.5 + 0.01 * 1.0, rel=1e-6)
    again = optimizers.deserialize(optimizers.serialize(optimizer))
    assert again.get_config() == optimizer.get_config()
    old = {**optimizer.get_config(), "weight_decay": None, "use_ema": False}
    assert type(optimizers.LossScaleOptimizer.from_config(old).inner_optimizer) is optimizers.SGD
    with pytest.raises(ArgumentError, match=r"pass clipnorm=1\.0 to the inner optimizer"):
        optimizers.LossScaleOptimizer(inner, clipnorm=1.0)
    with pytest.raises(ArgumentError, match="set loss_scale_factor of the inner optimizer"):
        optimizers.LossScaleOptimizer(inner, dynamic=False)
    with pytest.raises(ArgumentError, match="no argument 'scale'"):
        optimizers.LossScaleOptimizer(inner, scale=2.0)


# Several optimizers


def multi(module):
    options = module.OptimizerMap(module.Adam(0.1), {"v1": module.SGD(0.5, momentum=0.5), "v.*0": module.SGD(0.1)})
    return module.MultiOptimizer(options, loss_scale_factor=2.0)


@pytest.mark.parametrize("way", ["at once", "traced"])
def test_several_optimizers(way):
    shapes = {"v0": (4, 3), "v1": (4,), "other": (4,)}
    fresh_names()
    optimizer, trained = multi(optimizers), variables(ours, shapes=shapes)
    theirs, expected = multi(keras.optimizers), variables(keras, shapes=shapes)
    keras_steps(theirs, expected, 3, shapes=shapes)
    if way == "traced":
        step = traced(optimizer, trained)
        for number in range(3):
            step(*gradients(number, shapes=shapes))
    else:
        our_steps(optimizer, trained, 3, shapes=shapes)
    assert_equal(trained, expected)
    assert_equal(optimizer.variables, theirs.variables, atol=1e-7)
    assert [o.loss_scale_factor for o in optimizer.optimizers] == [2.0] * 3
    assert optimizer.get_config() == theirs.get_config()
    again = optimizers.deserialize(optimizers.serialize(optimizer))
    assert again.get_config() == optimizer.get_config()


def test_several_optimizers_by_a_function():
    a, b = weight(name="a"), weight(name="b")
    by_name = {"a": optimizers.SGD(1.0), "b": optimizers.SGD(0.5, use_ema=True, ema_momentum=0.0)}
    optimizer = optimizers.MultiOptimizer(lambda variable: by_name[variable.name])
    optimizer.apply([tensor([1.0, 1.0]), tensor([1.0, 1.0])], [a, b])
    np.testing.assert_array_equal(a.numpy(), [0.0, -3.0])
    np.testing.assert_array_equal(b.numpy(), [0.5, -2.5])
    optimizer.finalize_variable_values([a, b])
    np.testing.assert_array_equal(b.numpy(), [0.5, -2.5])
    for use in (lambda: optimizer.learning_rate, lambda: setattr(optimizer, "learning_rate", 1.0)):
        with pytest.raises(AttributeError, match="has no learning rate"):
            use()
    with pytest.raises(ArgumentError, match="a MultiOptimizer can't be one of several optimizers"):
        optimizers.MultiOptimizer(lambda variable: optimizer).build([a])
    with pytest.raises(ArgumentError, match="expected an optimizer for variable 'a', received None"):
        optimizers.MultiOptimizer(lambda variable: None).build([a])


def test_optimizer_map_finds_paths_and_patterns():
    adam, sgd, other = optimizers.Adam(), optimizers.SGD(), optimizers.Lion()
    found = optimizers.OptimizerMap(other)
    found["encoder/dense/kernel"] = adam
    found["encoder/.*"] = sgd
    assert found["encoder/dense/kernel"] is adam
    assert found["encoder/dense/bias"] is sgd
    assert found["decoder/encoder/x"] is other
    assert list(found) == ["encoder/dense/kernel", "encoder/.*"] and len(found) == 2
    found[".*/bias"] = adam
    with pytest.raises(ArgumentError, match="'encoder/dense/bias' matches several keys"):
        found["encoder/dense/bias"]
    del found[".*/bias"]
    with pytest.raises(ArgumentError, match=r"'encoder/\.\*' has an optimizer already"):
        found["encoder/.*"] = adam
    with pytest.raises(ArgumentError, match="a key must be a string"):
        found[3] = adam
    with pytest.raises(ArgumentError, match="expected an optimizer for 'x', received 'adam'"):
        found["x"] = "adam"
    with pytest.raises(TypeError, match="default_optimizer must be an optimizer"):
        optimizers.OptimizerMap("adam")


# Learning rates


def test_learning_rate_is_a_variable_that_may_be_set():
    w, optimizer = weight(0.0), optimizers.SGD(0.5)
    step = traced(optimizer, [w])
    step(np.float32(1.0))
    optimizer.learning_rate = 0.25
    step(np.float32(1.0))
    assert float(w.numpy()) == -0.75
    assert optimizer.learning_rate is optimizer.variables[1]


def test_a_schedule_counts_the_steps():
    w = weight(0.0)
    optimizer = optimizers.SGD(schedules.PiecewiseConstantDecay([0, 1], [1.0, 0.5, 0.25]))
    step = traced(optimizer, [w])
    for _ in range(3):
        step(np.float32(1.0))
    assert float(w.numpy()) == -1.75
    assert [v.name for v in optimizer.variables] == ["iteration"]
    with pytest.raises(TypeError, match="made with a schedule as its learning rate, which can't be set"):
        optimizer.learning_rate = 0.1
    again = optimizers.deserialize(optimizers.serialize(optimizer))
    assert again.get_config() == optimizer.get_config()


def test_a_schedule_may_replace_a_number_and_a_function_may_be_one():
    w, optimizer = weight(0.0), optimizers.SGD(1.0)
    optimizer.learning_rate = schedules.ExponentialDecay(1.0, 1, 0.5)
    for _ in range(2):
        optimizer.apply([tensor(1.0)], [w])
    assert float(w.numpy()) == -1.5
    assert [v.name for v in optimizer.variables] == ["iteration"]
    rates = iter([0.5, 0.25])
    optimizer = optimizers.SGD(lambda: next(rates))
    for _ in range(2):
        optimizer.apply([tensor(1.0)], [w])
    assert float(w.numpy()) == -2.25
    with pytest.raises(TypeError, match="made with a function"):
        optimizer.learning_rate = 1.0


# Calls


def test_apply_gradients_and_the_number_of_steps():
    w, optimizer = weight(0.0), optimizers.SGD(1.0)
    assert int(optimizer.apply_gradients([(tensor(1.0), w)])) == 1
    optimizer.apply([tensor(2.0)])
    assert float(w.numpy()) == -3.0
    optimizer.apply([])
    assert int(optimizer.iterations) == 2


@pytest.mark.parametrize("name", ["Adam", "Nadam", "LossScaleOptimizer", "MultiOptimizer"])
def test_stateless_apply(name):
    def made():
        inner = optimizers.Adam(gradient_accumulation_steps=2)
        if name == "LossScaleOptimizer":
            return optimizers.LossScaleOptimizer(inner)
        if name == "MultiOptimizer":
            return optimizers.MultiOptimizer(optimizers.OptimizerMap(inner))
        return getattr(optimizers, name)()

    (optimizer, trained), (stateful, others) = [(made(), variables(ours, shapes=FEW)) for _ in range(2)]
    optimizer.build(trained)
    before = [v.numpy() for v in [*trained, *optimizer.variables]]
    values, own = ([v.numpy() for v in some] for some in (trained, optimizer.variables))
    inside = lamina.jit(optimizer.stateless_apply)
    for number in range(3):
        grads = [g * np.float32(2.0**15 if name == "LossScaleOptimizer" else 1) for g in gradients(number, shapes=FEW)]
        step = inside if number == 1 else optimizer.stateless_apply
        values, own = step(own, grads, values)
        stateful.apply([tensor(g) for g in grads], others)
    for found, variable in zip([*values, *own], [*others, *stateful.variables], strict=True):
        np.testing.assert_allclose(found, variable.numpy(), rtol=1e-6, atol=1e-7)
    for old, variable in zip(before, [*trained, *optimizer.variables], strict=True):
        np.testing.assert_array_equal(old, variable.numpy())
    with pytest.raises(ArgumentError, match="received 1"):
        optimizer.stateless_apply(own, grads, values[:1])
    with pytest.raises(ArgumentError, match="needs an optimizer that is built"):
        optimizers.SGD().stateless_apply([], [], [])


def test_gradients_of_none():
    a, b = weight(name="a"), weight(name="b")
    optimizer = optimizers.SGD(1.0)
    with pytest.warns(UserWarning, match=r"there is no gradient \(None\) for 'b'"):
        optimizer.apply([tensor([1.0, 1.0]), None], [a, b])
    np.testing.assert_array_equal(a.numpy(), [0.0, -3.0])
    np.testing.assert_array_equal(b.numpy(), [1.0, -2.0])
    with pytest.raises(ArgumentError, match="all gradients are None"):
        optimizer.apply([None, None], [a, b])


def test_other_variables_than_built_with():
    a, b = weight(name="a"), weight(name="b")
    optimizer = optimizers.SGD(1.0, name="sgd")
    with pytest.raises(ArgumentError, match="which variables are these gradients for"):
        optimizer.apply([tensor([1.0, 1.0])])
    optimizer.build([a])
    with pytest.raises(ArgumentError, match="sgd was not built with the variable 'b', but with 'a'; make a new"):
        optimizer.apply([tensor([1.0, 1.0])], [b])
    with pytest.raises(ArgumentError, match="received 2 gradients for 1 variables"):
        optimizer.apply([tensor([1.0, 1.0])] * 2)
    np.testing.assert_array_equal(a.numpy(), [1.0, -2.0])


def test_a_gradient_of_another_shape_names_the_variable():
    w = weight(np.zeros((2, 3)), name="kernel")
    optimizer = optimizers.SGD(name="sgd")
    with pytest.raises(ShapeError, match="sgd/kernel"):
        traced(optimizer, [w])(np.zeros((4, 3), "float32"))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"learning_rate": "fast"}, "learning_rate must be a float"),
        ({"learning_rate": 1}, "learning_rate must be a float"),
        ({"clipnorm": 1.0, "clipvalue": 2.0}, "received clipnorm=1.0, clipvalue=2.0"),
        ({"gradient_accumulation_steps": 1}, "gradient_accumulation_steps must be an integer of 2 or more"),
        ({"use_ema": True, "ema_momentum": 1.5}, "ema_momentum must be from 0 to 1, received 1.5"),
        ({"use_ema": True, "ema_overwrite_frequency": 0.5}, "ema_overwrite_frequency must be an integer"),
        ({"rate": 1.0}, "SGD has no argument 'rate'"),
        ({"momentum": 1.5}, "momentum must be a float from 0 to 1, received 1.5"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        optimizers.SGD(**arguments)


def test_wrong_arguments_of_others():
    with pytest.raises(ArgumentError, match="weight_decay must be a float"):
        optimizers.AdamW(weight_decay=None)
    with pytest.raises(ArgumentError, match="beta_1 must be above 0"):
        optimizers.Lion(beta_1=0.0)
    with pytest.raises(ArgumentError, match="Ftrl: learning_rate_power must be 0 or less"):
        optimizers.Ftrl(learning_rate_power=0.5)
    with pytest.raises(ArgumentError, match="Ftrl: l1_regularization_strength must be 0 or more"):
        optimizers.Ftrl(l1_regularization_strength=-1.0)
    with pytest.warns(UserWarning, match="decay= is ignored"):
        optimizers.SGD(decay=0.5)


# State


def test_weights_may_be_set():
    optimizer = optimizers.SGD(1.0, momentum=0.5)
    with pytest.raises(ArgumentError, match="is not built"):
        optimizer.set_weights([])
    optimizer.build([weight()])
    optimizer.set_weights([3, 0.5, np.float32([1.0, 2.0])])
    assert int(optimizer.iterations) == 3
    np.testing.assert_array_equal(optimizer.get_weights()[2], [1.0, 2.0])
    with pytest.raises(ShapeError, match=r"w_momentum: expected shape \(2,\), received \(3,\)"):
        optimizer.set_weights([4, 0.5, np.zeros(3)])
    with pytest.raises(ArgumentError, match="has 3 variables, received 1 values"):
        optimizer.set_weights([4])
    assert int(optimizer.iterations) == 3


def test_an_optimizer_of_the_users():
    class Signs(optimizers.Optimizer):
        def __init__(self, learning_rate=0.5, decay_by=0.5, **kwargs):
            super().__init__(learning_rate=learning_rate, **kwargs)
            self.decay_by = decay_by

        def build(self, variables):
            super().build(variables)
            self.scales = []
            for variable in variables:
                self.scales.append(self.add_variable_from_reference(variable, name="scale", initializer="ones"))
            self.count = ours.Variable(0.0, name="count")

        def update_step(self, gradient, variable, learning_rate):
            scale = self.scales[self._get_variable_index(variable)]
            self.assign_sub(variable, ours.ops.sign(gradient) * scale * learning_rate)
            self.assign(scale, scale * self.decay_by)
            self.assign_add(self.count, 1.0)

        def get_config(self):
            return {**super().get_config(), "decay_by": self.decay_by}

    optimizer, w = Signs(name="signs"), weight([0.0, 0.0])
    step = traced(optimizer, [w])
    step(np.float32([3.0, -0.1]))
    step(np.float32([3.0, -0.1]))
    np.testing.assert_array_equal(w.numpy(), [-0.75, 0.75])
    names = [v.path for v in optimizer.variables]
    assert names == ["signs/iteration", "signs/learning_rate", "signs/w_scale", "signs/count"]
    assert float(optimizer.count.numpy()) == 2.0
    with pytest.raises(TypeError, match="Optimizer must define update_step"):
        optimizers.Optimizer(0.5).apply([tensor([1.0, 1.0])], [w])


def test_attributes_before_super_init():
    class Hasty(optimizers.SGD):
        def __init__(self):
            self.state = ours.Variable(1.0)
            super().__init__()

    with pytest.raises(ArgumentError, match=r"Hasty: call super\(\).__init__\(\) before setting attributes"):
        Hasty()


def test_own_variables():
    optimizer = optimizers.SGD()
    variable = optimizer.add_variable((2,), "ones", name="extra")
    assert (variable.path, variable.dtype, variable.trainable) == (f"{optimizer.name}/extra", "float32", False)
    first, second = optimizer.add_optimizer_variables([weight()], ["a", "b"], ["ones", "zeros"])
    assert float(first[0].numpy().sum()) == 2.0 and float(second[0].numpy().sum()) == 0.0
    with pytest.raises(ArgumentError, match="2 names, but 1 initializers"):
        optimizer.add_optimizer_variables([weight()], ["a", "b"], ["ones"])
    with pytest.raises(ArgumentError, match=r"TensorLayout.*'model'"):
        optimizer.add_variable((2,), layout="model")


def test_what_is_built_inside_a_trace_starts_from_the_values_outside():
    w = weight([1.0, -2.0])
    optimizer = optimizers.ScheduleFreeAdamW(0.5)
    step = traced(optimizer, [w])  # builds while it is traced
    at_once, other = optimizers.ScheduleFreeAdamW(0.5), weight([1.0, -2.0])
    for _ in range(2):
        step(np.float32([1.0, 0.5]))
        at_once.apply([tensor([1.0, 0.5])], [other])
    np.testing.assert_allclose(w.numpy(), other.numpy(), rtol=1e-6)
