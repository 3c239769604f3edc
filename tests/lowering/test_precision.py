"""Products and convolutions of float32 have all its bits on every target, unless jax's setting asks for less."""

import re

import jax
import numpy as np
import pytest

import lamina
from lamina import Spec, keras
from lamina.ir.errors import UnsupportedError
from lamina.lowering.precision import LEVELS

SHAPE = Spec((2, 8, 8, 3))


def product(x):
    return keras.ops.matmul(x, x[:1])


def model():
    layers = [keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3), keras.layers.Flatten(), keras.layers.Dense(3)]
    return keras.Sequential(layers)


def said(text):
    """What StableHLO says of the first operand of products and convolutions."""
    return {name.lower() for name in re.findall(r"precision(?: = \[| )([A-Z]+)", text)}


def levels(compiled, **dims):
    return said(compiled.stablehlo(**dims))


@pytest.mark.parametrize("target", ["cpu", "gpu", "tpu"])
def test_float32_has_all_its_bits(target):
    assert levels(lamina.compile(model(), target=target), N=2) == {"highest"}


def test_that_is_so_for_training_steps_too():
    trained = model()
    trained.compile("sgd", "mse")
    x, y = np.zeros((2, 8, 8, 3), np.float32), np.zeros((2, 3), np.float32)
    trained.train_on_batch(x, y)
    leaves, tree = jax.tree.flatten((x, y))
    assert levels(trained.make_train_function().one.program(leaves, tree), N=2) == {"highest"}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_narrow_types_are_multiplied_as_they_are(dtype):
    assert levels(lamina.compile(product, Spec((4, 3, 3), dtype), target="gpu")) == {"default"}


@pytest.mark.parametrize("dtype", ["float64", "complex64"])
def test_other_wide_types_have_all_their_bits(dtype):
    assert levels(lamina.compile(product, Spec((4, 3, 3), dtype))) == {"highest"}


@pytest.mark.parametrize("name", [name for name in LEVELS if name not in ("fastest", "bfloat16_3x")])
def test_jax_says_the_same_of_its_setting(name):
    """``jax.default_matmul_precision`` takes these; what it means is what jax makes of it."""
    x = jax.ShapeDtypeStruct((3, 3), np.float32)
    compiled = lamina.compile(lambda x: x @ x, Spec((3, 3)))
    with jax.default_matmul_precision(name):
        theirs = jax.jit(lambda x: x @ x).lower(x).as_text()
        assert levels(compiled) == said(theirs)
    assert levels(compiled) == {"highest"}


def test_an_algorithm_is_refused():
    compiled = lamina.compile(lambda x: x @ x, Spec((3, 3)))
    with jax.default_matmul_precision("TF32_TF32_F32"), pytest.raises(UnsupportedError, match="tensorfloat32"):
        compiled(np.eye(3, dtype=np.float32))


def test_a_precision_that_the_graph_states_stands():
    def f(x):
        return jax.numpy.matmul(x, x, precision="high")

    module = lamina.from_jax(f, Spec((3, 3)))
    with jax.default_matmul_precision("bfloat16"):
        assert levels(lamina.compile(module)) == {"high"}


def test_a_call_under_another_setting_compiles_anew():
    compiled = lamina.compile(lambda x: x @ x + 3, Spec((3, 3)))
    x = np.eye(3, dtype=np.float32)
    compiled(x)
    executables = compiled._programs[0]._shared.executables._loaded
    before = len(executables)
    with jax.default_matmul_precision("tensorfloat32"):
        compiled(x)
        compiled(x)
    compiled(x)
    assert len(executables) == before + 1
