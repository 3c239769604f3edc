"""Shardings in what is emitted: Shardy's dialect for XLA, nothing for targets of one device; programs on meshes."""

import jax
import numpy as np
import pytest
from jax.sharding import Mesh

import lamina
from lamina import keras
from lamina.compiler import Program
from lamina.ir import Builder, Graph, Module, TensorType
from lamina.lowering.stablehlo import emit

X = np.arange(12, dtype=np.float32).reshape(4, 3)
MESH = {"batch": 4, "model": 2}


def module(sharding=("batch", ("model",))):
    graph = Graph()
    x = graph.add_input(TensorType("f32", (8, 4), (("batch", "model"), None)), "x")
    graph.outputs = [Builder(graph).sharding_constraint(x, sharding=sharding)]
    return Module({"main": graph})


def test_constraints_and_inputs_name_the_mesh():
    text = str(emit(module(), MESH))
    mesh = '#sdy.sharding<mesh<["batch"=4, "model"=2]>, '
    assert f'%arg0: tensor<8x4xf32> {{sdy.sharding = {mesh}[{{"batch", "model"}}, {{}}]>}}' in text
    assert 'sdy.sharding_constraint %arg0 <mesh<["batch"=4, "model"=2]>, [{"batch"}, {"model"}]>' in text


def test_axes_that_a_mesh_lacks_are_left_out():
    text = str(emit(module(), {"batch": 8}))
    assert 'sdy.sharding_constraint %arg0 <mesh<["batch"=8]>, [{"batch"}, {}]>' in text


def test_one_device_needs_none():
    assert "sdy" not in str(emit(module()))
    compiled = lamina.compile(module())
    x = np.ones((8, 4), np.float32)
    np.testing.assert_array_equal(compiled(x)[0], x)
    assert "sdy" not in compiled.stablehlo()


def laid_out(x):
    return keras.distribution.distribute_tensor(keras.ops.tanh(x), keras.distribution.TensorLayout(("batch", None)))


@pytest.mark.parametrize("target", ["torchscript", "tf_function", "stablehlo"])
def test_targets_of_one_device_leave_constraints_out(target):
    pytest.importorskip({"torchscript": "torch", "tf_function": "tensorflow"}.get(target, "jax"))
    traced = lamina.trace(laid_out, lamina.Spec((4, 3)))
    assert any(n.op.name == "sharding_constraint" for n in traced.walk())
    assert lamina.verify(traced, [X], targets=("xla", target)).ok


def test_equal_graphs_on_other_meshes_share_nothing():
    device = jax.devices()[:1]
    meshes = [Mesh(np.array(device), (name,)) for name in ("batch", "rows", "batch")]

    def program(mesh):
        graph = Graph()
        x = graph.add_input(TensorType("f32", (4, 3)), "x")
        graph.outputs = [Builder(graph).sharding_constraint(x, sharding=(mesh.axis_names[0], None))]
        return Program(Module({"main": graph}), mesh=mesh)

    first, other, again = map(program, meshes)
    assert first._shared is again._shared and first._shared is not other._shared
    for each in (first, other, again):
        np.testing.assert_array_equal(each(X)[0], X)


def test_a_mesh_that_nothing_is_laid_over_is_not_used():
    graph = Graph()
    x = graph.add_input(TensorType("f32", (4, 3)), "x")
    graph.outputs = [Builder(graph).tanh(x)]
    assert Program(Module({"main": graph}), mesh=Mesh(np.array(jax.devices()[:1]), ("batch",))).mesh is None


def test_one_device_is_a_mesh_too():
    distribution = keras.distribution.DataParallel(devices=["cpu:0"])
    with distribution.scope():
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        compiled = lamina.compile(model)
        np.testing.assert_allclose(compiled(X), X @ model.layers[0].kernel.numpy(), rtol=1e-6, atol=1e-6)
        assert compiled._programs[0].mesh == distribution.device_mesh.backend_mesh
        assert compiled.graph.main.inputs[0].type.sharding == ("batch", None)
