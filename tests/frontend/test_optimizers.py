"""Each optimizer changes variables as Keras's does, at once and traced; and by meaning, in NumPy."""

import inspect

import keras
import numpy as np
import pytest

import lamina
from lamina import keras as ours
from lamina.frontend import optimizers, saving
from lamina.ir.errors import ArgumentError

from .optimizer_rows import (
    FEW,
    IDS,
    NAMES,
    ROWS,
    SHAPES,
    assert_equal,
    fresh_names,
    gradients,
    keras_steps,
    our_steps,
    shapes_of,
    variables,
)

STEPS = 4


@pytest.fixture(scope="module")
def expected():
    """What Keras's optimizer and variables hold after the steps, computed once for each row."""
    kept = {}

    def of(name, arguments):
        key = (name, str(arguments))
        if key not in kept:
            fresh_names()
            optimizer = getattr(keras.optimizers, name)(**arguments)
            shapes = shapes_of(name, arguments)
            trained = variables(keras, shapes=shapes)
            keras_steps(optimizer, trained, STEPS, shapes=shapes)
            kept[key] = (optimizer, trained)
        return kept[key]

    return of


@pytest.mark.parametrize("name, arguments", ROWS, ids=IDS)
def test_steps_are_those_of_keras(name, arguments, expected):
    theirs, expected_variables = expected(name, arguments)
    shapes = shapes_of(name, arguments)
    optimizer = getattr(optimizers, name)(**arguments)
    trained = variables(ours, shapes=shapes)
    step = lamina.jit(lambda *grads: optimizer.apply(list(grads), trained))
    for number in range(STEPS):
        step(*gradients(number, shapes=shapes))
    assert_equal(trained, expected_variables)
    assert_equal(optimizer.variables, theirs.variables, atol=1e-7)
    assert int(optimizer.iterations) == int(theirs.iterations)


@pytest.mark.parametrize("name, arguments", ROWS, ids=IDS)
def test_state_is_named_and_ordered_as_in_keras(name, arguments, expected):
    theirs, _ = expected(name, arguments)
    fresh_names()
    optimizer = getattr(optimizers, name)(**arguments)
    optimizer.build(variables(ours, shapes=shapes_of(name, arguments)))
    found = [(v.path, v.shape, v.dtype, v.trainable) for v in optimizer.variables]
    wanted = [(v.path, tuple(v.shape), str(v.dtype), v.trainable) for v in theirs.variables]
    assert found == wanted


@pytest.mark.parametrize(
    "name, arguments",
    [
        *[(name, {}) for name in ("SGD", "Adam", "Nadam", "Adafactor", "Ftrl", "Lamb", "Muon", "ScheduleFreeAdamW")],
        ("RMSprop", {"momentum": 0.5, "centered": True, "weight_decay": 0.1, "global_clipnorm": 0.5}),
        ("Adam", {"use_ema": True, "gradient_accumulation_steps": 2, "ema_overwrite_frequency": 2}),
    ],
)
def test_steps_at_once_are_traced_steps(name, arguments):
    made = [(getattr(optimizers, name)(**arguments), variables(ours, shapes=FEW)) for _ in range(2)]
    (at_once, trained), (traced, others) = made
    our_steps(at_once, trained, 3, shapes=FEW)
    step = lamina.jit(lambda *grads: traced.apply(list(grads), others))
    for number in range(3):
        step(*gradients(number, shapes=FEW))
    assert_equal(trained, others)
    assert_equal(at_once.variables, traced.variables, atol=1e-7)


@pytest.mark.parametrize("name, dtype", list(zip(NAMES, ("float16", "bfloat16") * len(NAMES), strict=False)))
def test_half_precision_is_that_of_keras(name, dtype):
    theirs, expected = getattr(keras.optimizers, name)(), variables(keras, dtype, FEW)
    keras_steps(theirs, expected, STEPS, dtype, FEW)
    optimizer, trained = getattr(optimizers, name)(), variables(ours, dtype, FEW)
    step = lamina.jit(lambda *grads: optimizer.apply(list(grads), trained))
    for number in range(STEPS):
        step(*gradients(number, dtype, FEW))
    assert {v.dtype for v in trained} == {dtype}
    # XLA keeps what it fuses in float32: a step may be rounded where the other side's is not.
    assert_equal(trained, expected, rtol=2 * {"float16": 2**-10, "bfloat16": 2**-7}[dtype], atol=0)
    assert [v.dtype for v in optimizer.variables] == [str(v.dtype) for v in theirs.variables]


@pytest.mark.parametrize("name, arguments", ROWS, ids=IDS)
def test_configs_are_those_of_keras(name, arguments):
    fresh_names()
    optimizer, theirs = getattr(optimizers, name)(**arguments), getattr(keras.optimizers, name)(**arguments)
    written = saving.serialize_keras_object(optimizer)
    assert written == keras.saving.serialize_keras_object(theirs)
    assert list(written["config"]) == list(theirs.get_config())
    again, by_keras = optimizers.deserialize(written), keras.saving.deserialize_keras_object(written)
    assert type(again) is type(optimizer) and again.get_config() == optimizer.get_config()
    assert type(by_keras) is type(theirs) and by_keras.get_config() == optimizer.get_config()


@pytest.mark.parametrize("name", [*NAMES, "Optimizer", "LossScaleOptimizer", "MultiOptimizer", "OptimizerMap"])
def test_signatures_are_those_of_keras(name):
    def plain(function):
        parameters = inspect.signature(function).parameters.values()
        kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
        return [(p.name, p.default) for p in parameters if p.kind not in kinds]

    assert plain(getattr(optimizers, name)) == plain(getattr(keras.optimizers, name))


def test_common_arguments_may_be_positional():
    optimizer = optimizers.Adam(0.1, 0.8, 0.9, 1e-3, True, 0.5, None, 0.25)
    config = optimizer.get_config()
    assert (config["weight_decay"], config["clipnorm"], config["clipvalue"]) == (0.5, None, 0.25)


def test_every_public_name_of_keras_is_there():
    pairs = [(keras.optimizers, optimizers)]
    pairs += [(getattr(keras.optimizers, part), getattr(optimizers, part)) for part in ("schedules", "legacy")]
    for theirs, own in pairs:
        assert {name for name in dir(theirs) if not name.startswith("_")} <= set(dir(own))
    assert ours.Optimizer is optimizers.Optimizer
    with pytest.raises(ImportError, match="optimizers of Keras 2"):
        optimizers.legacy.Adam(0.1)


@pytest.mark.parametrize("name", [*NAMES, *map(str.lower, NAMES), "rMsPrOp"])
def test_get_by_name(name):
    found = optimizers.get(name)
    assert type(found).__name__.lower() == name.lower()
    assert type(optimizers.get({"class_name": name, "config": {"learning_rate": 0.5}})) is type(found)


def test_get_takes_what_compile_takes():
    adam = optimizers.Adam()
    assert optimizers.get(adam) is adam
    assert optimizers.get(None) is None
    assert optimizers.get(optimizers.serialize(adam)).get_config() == adam.get_config()
    with pytest.raises(ArgumentError, match="unknown optimizer 'adan': did you mean 'adam'"):
        optimizers.get("adan")
    with pytest.raises(ArgumentError, match="3 is no optimizer: expected an Optimizer, a name"):
        optimizers.get(3)


# By meaning


def one_variable(value):
    return ours.Variable(np.asarray(value, "float32"), name="w")


def test_adam_by_its_paper():
    w = one_variable([1.0, -2.0, 3.0])
    optimizer = optimizers.Adam(0.1, beta_1=0.8, beta_2=0.9, epsilon=1e-9)
    grads = [np.array([1.0, -0.5, 0.25]), np.array([0.5, 0.5, -2.0]), np.array([-1.0, 3.0, 0.1])]
    expected, m, v = w.numpy().astype("float64"), 0.0, 0.0
    for t, g in enumerate(grads, 1):
        optimizer.apply([ours.ops.convert_to_tensor(g.astype("float32"))], [w])
        m, v = 0.8 * m + 0.2 * g, 0.9 * v + 0.1 * g * g
        expected = expected - 0.1 * (m / (1 - 0.8**t)) / np.sqrt(v / (1 - 0.9**t))
    # Some ten float32 roundings a step.
    np.testing.assert_allclose(w.numpy(), expected, rtol=1e-5)


def test_momentum_by_hand():
    w = one_variable(1.0)
    optimizer = optimizers.SGD(0.5, momentum=0.5)
    for _ in range(2):
        optimizer.apply([ours.ops.convert_to_tensor(np.float32(1.0))], [w])
    # m = -0.5, then 0.5 * -0.5 - 0.5 = -0.75
    assert float(w.numpy()) == 1.0 - 0.5 - 0.75


def test_muon_makes_orthogonal_steps():
    rng = np.random.default_rng(1)
    w = ours.Variable(np.zeros((6, 3), "float32"), name="w")
    optimizer = optimizers.Muon(1.0, weight_decay=None, rms_rate=None, ns_steps=10)
    optimizer.apply([ours.ops.convert_to_tensor(rng.normal(size=(6, 3)).astype("float32"))], [w])
    sizes = np.linalg.svd(w.numpy(), compute_uv=False)
    # The polynomial's fixed points lie in [0.7, 1.2] (Jordan et al., 2024).
    assert np.all((sizes > 0.6) & (sizes < 1.3))


def test_lamb_steps_are_as_long_as_the_weight():
    w = ours.Variable(np.array([[3.0, 0.0], [0.0, 4.0]], "float32"), name="w")
    before = w.numpy()
    optimizers.Lamb(0.01).apply([ours.ops.convert_to_tensor(np.ones((2, 2), "float32"))], [w])
    # |w| = 5, rate 0.01; float32.
    assert np.linalg.norm(w.numpy() - before) == pytest.approx(0.05, rel=1e-4)


def test_a_trace_computes_what_variables_share_once():
    def nodes(count):
        shapes = {f"w{i}": (3, 4) for i in range(count)}
        optimizer, trained = optimizers.Adam(0.1), variables(ours, shapes=shapes)
        optimizer.build(trained)
        specs = [lamina.Spec((3, 4))] * count
        module = lamina.trace(lambda *grads: optimizer.apply(list(grads), trained), *specs)
        return [node.op.name for node in module.main.nodes]

    one, three = nodes(1), nodes(3)
    assert three.count("power") == one.count("power") == 2
    assert (len(three) - len(one)) % 2 == 0
    assert (len(three) - len(one)) // 2 <= 19


def test_updates_are_located_at_their_variable():
    optimizer, trained = optimizers.SGD(name="sgd"), variables(ours)
    optimizer.build(trained)
    module = lamina.trace(lambda *grads: optimizer.apply(list(grads), trained), *map(lamina.Spec, SHAPES.values()))
    paths = {path for node in module.main.nodes for path in node.location.layers}
    assert {f"sgd/{name}" for name in SHAPES} <= paths
