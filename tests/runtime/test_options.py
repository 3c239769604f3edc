"""The options that XLA compiles with: which ones, when, and what they change."""

import jax
import jaxlib
import numpy as np
import pytest

import lamina
from lamina import keras
from lamina.runtime.options import compiler_options

FLAG = "xla_cpu_experimental_ynn_fusion_type"


@pytest.fixture(autouse=True)
def asked_anew():
    compiler_options.cache_clear()
    yield
    compiler_options.cache_clear()


def test_only_the_release_that_was_measured_gets_options(monkeypatch):
    monkeypatch.setattr(jaxlib, "__version__", "0.10.2")
    assert list(compiler_options("cpu")) == [FLAG]
    assert not compiler_options("gpu")
    compiler_options.cache_clear()
    monkeypatch.setattr(jaxlib, "__version__", "0.12.0")
    assert not compiler_options("cpu")


def test_xla_flags_of_the_user_stand(monkeypatch):
    monkeypatch.setattr(jaxlib, "__version__", "0.10.2")
    monkeypatch.setenv("XLA_FLAGS", f"--{FLAG}=individual_convolution")
    assert not compiler_options("cpu")


@pytest.mark.skipif(not compiler_options("cpu"), reason="this release of XLA gets no options")
def test_convolutions_are_those_of_xla():
    model = keras.Sequential([keras.Input((8, 8, 4)), keras.layers.Conv2D(4, 3)])
    entry = lamina.compile(model).hlo(N=2).split("ENTRY")[1]
    assert " convolution(" in entry and "ynn_fusion" not in entry


def test_inside_another_jit_its_options_count():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    compiled, x = lamina.compile(model), np.ones((2, 4), "float32")
    wanted = np.asarray(compiled(x))
    np.testing.assert_array_equal(jax.jit(lambda x: compiled(x) * 2)(x), wanted * 2)
    np.testing.assert_array_equal(jax.jit(model)(x), wanted)
    assert jax.eval_shape(compiled, x).shape == (2, 3)
