"""Programs called through jax.jit: results, composition with jax, donation, 64-bit types, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lamina.ir import Builder, Graph, TensorType
from lamina.ir.errors import DeviceError, UnsupportedError
from lamina.lowering.stablehlo import emit_into
from lamina.runtime.dispatch import Program, jitted, lamina_call, needs_x64, x64


def affine(dtype="f32", shape=(4,)):
    """The program ``x -> (2 * x + 1, sum(x))``."""
    graph = Graph()
    x = graph.add_input(TensorType(dtype, shape), "x")
    b = Builder(graph)
    doubled = b.add(b.multiply(x, b.full_like(x, 2)), b.full_like(x, 1))
    graph.outputs = [doubled, b.reduce_with("add", x, range(len(shape)), 0)]
    return program_of(graph, ("affine", dtype, shape))


def program_of(graph, key):
    def types(avals):
        return [jax.ShapeDtypeStruct(v.shape, v.dtype) for v in graph.results]

    wide = needs_x64(*(v.dtype for v in graph.inputs + graph.results))
    return Program(key, types, lambda ctx, values: emit_into(ctx, graph, values), "affine", wide)


X = np.arange(4, dtype=np.float32)


def test_numpy_and_jax_arrays_go_in_and_jax_arrays_come_out():
    call = jitted(affine())
    for x in (X, jnp.asarray(X)):
        y, total = call(x)
        assert isinstance(y, jax.Array)
        np.testing.assert_array_equal(y, 2 * X + 1)
        assert total == 6


def test_the_primitive_works_without_jit():
    y, total = lamina_call.bind(X, program=affine())
    np.testing.assert_array_equal(y, 2 * X + 1)
    assert total == 6


def test_a_program_is_part_of_a_larger_jax_function():
    program = affine()

    @jax.jit
    def larger(x):
        y, total = lamina_call.bind(jnp.sqrt(x), program=program)
        return y * total

    root = np.sqrt(X)
    np.testing.assert_allclose(larger(X), (2 * root + 1) * root.sum(), rtol=1e-6)


def test_equal_keys_are_one_program():
    assert affine() == affine() and hash(affine()) == hash(affine())
    assert affine() != affine(shape=(5,))


def test_the_code_is_inlined_under_the_programs_name():
    text = jitted(affine()).lower(X).as_text()
    assert "module @jit_affine" in text
    assert "custom_call" not in text and "stablehlo.multiply" in text


def test_donated_memory_is_taken():
    x = jax.device_put(X)
    y, _ = jitted(affine(), donate=(0,))(x)
    assert x.is_deleted()
    np.testing.assert_array_equal(y, 2 * X + 1)


@pytest.mark.parametrize("dtype", ["f64", "i64", "ui64", "c128"])
def test_64_bit_types_stay_and_the_global_setting_is_not_touched(dtype):
    program = affine(dtype)
    call = jitted(program)
    x = np.arange(4).astype(program.result_types(())[0].dtype) + 2**40
    with x64(True):
        on_device = jax.device_put(x)
    for given in (x, on_device):
        y, total = call(given)
        assert y.dtype == x.dtype
        np.testing.assert_array_equal(y, 2 * x + 1)
        assert np.asarray(total) == x.sum()
    assert jnp.ones(2).dtype == np.float32 and not jax.config.jax_enable_x64
    assert "64" in call.lower(x).as_text()


def test_x64_is_on_only_where_asked_for():
    with x64(False):
        assert jnp.ones(1).dtype == np.float32
    with x64(True):
        assert jnp.ones(1).dtype == np.float64
    assert jnp.ones(1).dtype == np.float32


def test_vmap_and_grad_name_what_to_use_instead():
    program = affine()
    with pytest.raises(UnsupportedError, match=r"jax.vmap.*'affine'.*lamina.vmap"):
        jax.vmap(lambda x: lamina_call.bind(x, program=program))(np.stack([X, X]))
    with pytest.raises(UnsupportedError, match=r"jax.grad.*lamina.grad"):
        jax.grad(lambda x: lamina_call.bind(x, program=program)[1])(X)


def test_a_named_device_is_where_it_runs():
    y, _ = jitted(affine(), device="cpu")(X)
    assert {d.platform for d in y.devices()} == {"cpu"}
    with pytest.raises(DeviceError, match="tpu:7"):
        jitted(affine(), device="tpu:7")


def test_an_error_while_lowering_is_lamina_s_own():
    graph = Graph()
    x = graph.add_input(TensorType("f32", (4,)), "x")
    graph.outputs = list(Builder(graph).emit("custom_call", (x,), {"target": "t", "results": [x.type]}))
    graph.nodes[0].attributes["backend_config"] = "not a dictionary"
    graph.nodes[0].attributes["api_version"] = 4
    with pytest.raises(Exception) as caught:
        jitted(program_of(graph, "bad"))(X)
    assert type(caught.value).__module__ == "lamina.ir.errors"
