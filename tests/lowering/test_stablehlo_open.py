"""StableHLO with open dimensions: refined to concrete shapes it computes what the graph means."""

import jax
import numpy as np
import pytest
from jax.extend.mlir import ir as mlir
from jax.extend.mlir.dialects import stablehlo
from jax.extend.mlir.passmanager import PassManager

import lamina
from lamina import Spec, keras, ops
from lamina.ir.errors import UnsupportedError
from lamina.lowering.stablehlo import parse
from lamina.runtime.pjrt import compile_and_load


def refined(text, shapes):
    """The module with its arguments fixed to concrete shapes, and all that follows from them."""
    module = parse(text)
    types = ",".join(f"tensor<{'x'.join(map(str, (*s, t)))}>" for s, t in shapes)
    stablehlo.register_stablehlo_passes()
    with module.context:
        passes = (
            f"builtin.module(stablehlo-refine-arguments{{types={types}}},stablehlo-refine-shapes,canonicalize,"
            "func.func(stablehlo-canonicalize-dynamism))"
        )
        PassManager.parse(passes).run(module.operation)
    return module


FUNCTIONS = {
    "reshape": lambda x, y: ops.reshape(x, (-1,)),
    "size": lambda x, y: x * x.shape[0] + x.shape[1] * 2 + 1,
    "mean": lambda x, y: ops.mean(x, axis=0),
    "slice": lambda x, y: x[1:] - x[:-1],
    "dynamic slice": lambda x, y: ops.slice(x, [ops.cast(ops.sum(y) * 0, "int32") + 1, 9], (1, x.shape[1])),
    "half": lambda x, y: x[: x.shape[0] // 2],
    "pad": lambda x, y: ops.pad(x, ((1, x.shape[1]), (0, 2))),
    "arange": lambda x, y: ops.arange(x.shape[0] * 3),
    "broadcast": lambda x, y: x[:, None, :] + y[None, :, :1],
    "concatenate": lambda x, y: ops.concatenate([x, y], axis=1),
    "matmul": lambda x, y: ops.matmul(ops.transpose(x), y),
    "softmax": lambda x, y: ops.softmax(x),
    "loop": lambda x, y: ops.while_loop(lambda i, a: i < 3, lambda i, a: (i + 1, a + ops.ones_like(a)), (0, x))[1],
    "either": lambda x, y: ops.cond(x[0, 0] > 0, lambda: x * 2, lambda: ops.zeros_like(x)),
    "met": lambda x, y: x + ops.ones((x.shape[0], 4)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_refined_it_is_what_the_graph_means(name):
    compiled = lamina.compile(FUNCTIONS[name], Spec((None, "T")), Spec((None, 3)))
    text = compiled.stablehlo()
    assert "tensor<?x?xf32>" in text
    random = np.random.default_rng(0)
    x, y = random.standard_normal((5, 4), "float32"), random.standard_normal((5, 3), "float32")
    (result,) = compile_and_load(refined(text, [((5, 4), "f32"), ((5, 3), "f32")])).run(x, y)
    (meant,), _ = lamina.evaluate(compiled.graph, x, y)
    np.testing.assert_allclose(np.asarray(result), meant, rtol=2e-6, atol=1e-6)  # sums of at most 5 normal numbers


def test_a_model_serves_every_batch_size():
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 2)),
            layers.Conv2D(4, 3, strides=2, padding="same", activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    )
    compiled = lamina.compile(model, pipeline="O1")
    values = [p.key.numpy() for p in compiled.optimized.main.parameters]
    text = compiled.stablehlo()
    x = np.random.default_rng(1).standard_normal((6, 8, 8, 2), "float32")
    for n in (1, 6):
        shapes = [(v.shape, "f32") for v in values] + [((n, 8, 8, 2), "f32")]
        (result,) = compile_and_load(refined(text, shapes)).run(*values, x[:n])
        np.testing.assert_allclose(np.asarray(result), np.asarray(compiled(x[:n])), rtol=1e-5)


def test_what_has_no_open_form_says_to_give_sizes():
    compiled = lamina.compile(lambda x: ops.cumsum(x, axis=0), Spec((None,)))
    with pytest.raises(UnsupportedError, match="N=32"):
        compiled.stablehlo()
    assert "tensor<7xf32>" in compiled.stablehlo(N=7)
    assert compiled(jax.numpy.ones(3)).tolist() == [1, 2, 3]


def test_open_and_concrete_text_differ_only_where_asked():
    compiled = lamina.compile(lambda x: x + 1, Spec((None, 2)))
    assert "?" in compiled.stablehlo() and "?" not in compiled.stablehlo(N=3)
    with mlir.Context():
        pass  # emission leaves no context behind that a user's own would clash with
