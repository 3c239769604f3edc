"""Activations, regularizers and constraints: Keras's values, names and configs."""

import json

import keras
import numpy as np
import pytest

from lamina.frontend import activations, constraints, regularizers
from lamina.frontend.input import Input
from lamina.frontend.registry import custom_object_scope, register_keras_serializable
from lamina.frontend.tensor import Tensor
from lamina.frontend.tracing import trace_flat
from lamina.ir import TensorType, evaluate
from lamina.ir.errors import ArgumentError, ShapeError

NAMES = sorted(set(activations.ALL_OBJECTS) - {"threshold"})
X = np.append(np.linspace(-9, 9, 72), [0.0, -0.0, 3.0, -3.0, 6.0, -1.0, 1.0, 0.5]).astype("float32").reshape(8, 10)


def test_all_of_keras_activations_are_here():
    theirs = {name for name in dir(keras.activations) if not name.startswith("_")}
    assert theirs - {"get", "serialize", "deserialize"} <= set(activations.ALL_OBJECTS)


def close(got, wanted, units=4.0):
    """Elementwise within a few units in the last place of the greatest value: the same formulas, fused differently."""
    wanted = np.asarray(wanted)
    assert got.dtype.name == wanted.dtype.name
    eps = {"float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}[wanted.dtype.name]
    got, wanted = np.asarray(got).astype("float64"), wanted.astype("float64")
    np.testing.assert_allclose(got, wanted, rtol=units * eps, atol=units * eps * np.max(np.abs(wanted)))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("name", NAMES)
def test_values_are_those_of_keras(name, dtype):
    x = keras.ops.cast(X, dtype)
    close(activations.get(name)(x), keras.activations.get(name)(x))


@pytest.mark.parametrize(
    "name, arguments",
    [
        ("relu", {"negative_slope": 0.2}),
        ("relu", {"max_value": 6.0}),
        ("relu", {"max_value": 2.5}),
        ("relu", {"threshold": 1.5}),
        ("relu", {"threshold": -1.5}),
        ("relu", {"negative_slope": 0.2, "max_value": 4.0}),
        ("relu", {"negative_slope": 0.2, "max_value": 6, "threshold": 1}),
        ("leaky_relu", {"negative_slope": 0.4}),
        ("elu", {"alpha": 0.5}),
        ("celu", {"alpha": 2.0}),
        ("gelu", {"approximate": True}),
        ("softmax", {"axis": 0}),
        ("log_softmax", {"axis": 0}),
        ("sparsemax", {"axis": 0}),
        ("glu", {"axis": 0}),
        ("soft_shrink", {"threshold": 1.0}),
        ("hard_shrink", {"threshold": 1.0}),
        ("threshold", {"threshold": 0.5, "default_value": -2.0}),
        ("squareplus", {"b": 1.0}),
    ],
    ids=str,
)
def test_arguments_mean_what_they_mean_in_keras(name, arguments):
    close(getattr(activations, name)(X, **arguments), getattr(keras.activations, name)(X, **arguments))


def test_an_activation_of_a_traced_tensor_is_one_node():
    for name in NAMES:
        if name in ("linear", "exponential", "sigmoid"):
            continue
        module, _ = trace_flat(lambda ts, name=name: activations.get(name)(ts[0]), [TensorType("float32", (2, 4))])
        shown = {"swish": "silu", "hard_swish": "hard_silu"}.get(name, name)
        assert [node.op.name for node in module.main.nodes] == [shown]


def test_an_activation_of_a_symbolic_tensor_joins_the_model():
    y = activations.relu(Input((3,)), negative_slope=0.1, max_value=2.0)
    assert y.shape == (None, 3)
    assert y.history is not None


def test_names_and_aliases():
    assert activations.get(None) is activations.linear
    assert activations.get("swish") is activations.silu is activations.swish
    assert activations.get(np.tanh) is np.tanh
    assert activations.deserialize("relu") is activations.relu
    for name in NAMES:
        ours, theirs = activations.get(name), keras.activations.get(name)
        assert activations.serialize(ours) == keras.activations.serialize(theirs)
        assert activations.deserialize(activations.serialize(ours)) is ours


def test_a_function_of_the_users():
    @register_keras_serializable("mine")
    def twice(x):
        return x + x

    saved = activations.serialize(twice)
    assert saved["registered_name"] == "function" and saved["config"] == "mine>twice"
    assert activations.get(json.loads(json.dumps(saved))) is twice
    with custom_object_scope({"thrice": np.cbrt}):
        assert activations.get("thrice") is np.cbrt


@pytest.mark.parametrize(
    "module, kind", [(activations, "activation"), (regularizers, "regularizer"), (constraints, "constraint")]
)
def test_unknown_names_are_errors(module, kind):
    with pytest.raises(ArgumentError, match=f"unknown {kind} 'nothing_like_it'"):
        module.get("nothing_like_it")
    with pytest.raises(ArgumentError, match=f"5 is no {kind}"):
        module.get(5)


# Regularizers and constraints

W = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")


@pytest.mark.parametrize(
    "name, config",
    [
        ("L1", {}),
        ("L1", {"l1": 0.3}),
        ("L2", {}),
        ("L2", {"l2": 0.3}),
        ("L1L2", {}),
        ("L1L2", {"l1": 0.1, "l2": 0.2}),
        ("L1L2", {"l1": 0.1}),
        ("OrthogonalRegularizer", {}),
        ("OrthogonalRegularizer", {"factor": 0.5, "mode": "columns"}),
    ],
)
def test_regularizers_are_those_of_keras(name, config):
    ours, theirs = (getattr(m, name)(**config) for m in (regularizers, keras.regularizers))
    np.testing.assert_allclose(ours(W), theirs(keras.ops.array(W)), rtol=1e-5)
    assert ours(W).shape == ()
    assert regularizers.serialize(ours) == keras.regularizers.serialize(theirs)
    again = regularizers.get(json.loads(json.dumps(regularizers.serialize(ours))))
    assert type(again) is type(ours) and again.get_config() == ours.get_config()


@pytest.mark.parametrize("name", ["l1", "l2", "L1L2", "l1_l2", "l1l2", "orthogonal_regularizer"])
def test_regularizers_by_name(name):
    assert isinstance(regularizers.get(name), regularizers.Regularizer)


def test_regularizer_errors():
    with pytest.raises(ArgumentError, match=r"l2.*-1"):
        regularizers.L2(-1.0)
    with pytest.raises(ArgumentError, match="mode"):
        regularizers.OrthogonalRegularizer(mode="diagonals")
    with pytest.raises(ShapeError, match="matrix"):
        regularizers.OrthogonalRegularizer()(np.zeros(3, "float32"))
    with pytest.raises(TypeError, match="get_config"):
        regularizers.Regularizer().get_config()


@pytest.mark.parametrize(
    "name, config",
    [
        ("MaxNorm", {}),
        ("MaxNorm", {"max_value": 0.5, "axis": [0, 1]}),
        ("NonNeg", {}),
        ("UnitNorm", {}),
        ("UnitNorm", {"axis": 1}),
        ("MinMaxNorm", {"min_value": 0.5, "max_value": 1.0, "rate": 0.7, "axis": 1}),
    ],
)
def test_constraints_are_those_of_keras(name, config):
    ours, theirs = (getattr(m, name)(**config) for m in (constraints, keras.constraints))
    np.testing.assert_allclose(ours(W), theirs(W), rtol=1e-6, atol=1e-7)
    assert constraints.serialize(ours) == keras.constraints.serialize(theirs)
    again = constraints.get(json.loads(json.dumps(constraints.serialize(ours))))
    assert type(again) is type(ours) and again.get_config() == ours.get_config()


def test_constraints_do_what_they_say():
    np.testing.assert_allclose(np.linalg.norm(constraints.get("unit_norm")(W), axis=0), 1, rtol=1e-5)
    assert np.min(constraints.get("non_neg")(W)) == 0
    assert np.max(np.linalg.norm(constraints.MaxNorm(1.0)(W), axis=0)) <= 1 + 1e-6
    norms = np.linalg.norm(constraints.MinMaxNorm(0.9, 1.1)(W), axis=0)
    assert np.all((norms > 0.9 - 1e-5) & (norms < 1.1 + 1e-5))


def test_traced_penalties_have_the_meaning():
    def penalty(tensors):
        (w,) = tensors
        assert isinstance(w, Tensor)
        return regularizers.L1L2(0.1, 0.2)(w)

    module, _ = trace_flat(penalty, [TensorType("float32", W.shape)])
    (got,), _ = evaluate(module, W)
    np.testing.assert_allclose(got, 0.1 * np.abs(W).sum() + 0.2 * (W * W).sum(), rtol=1e-5)
