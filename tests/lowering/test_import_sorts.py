"""JAX's sorts are known by their comparators, which make -0 to 0 and every NaN to one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lamina
from lamina import Spec
from lamina.ir import Builder, Graph, TensorType
from lamina.ir.regions import simple_comparator

ODD = np.float32([0, -0.0, np.nan, 3, -np.inf, -np.nan, -3, np.inf, 0, -0.0, 1, 2])
SORTS = {
    "sort": jnp.sort,
    "argsort": jnp.argsort,
    "falling": lambda x: jnp.sort(x, descending=True),
    "with a value": lambda x: jax.lax.sort((x, jnp.arange(12)), num_keys=1),
    "second key": lambda x: jax.lax.sort((jnp.arange(12) % 2, x), num_keys=2),
}


def comparators(module):
    return [simple_comparator(node.regions[0]) for node in module.walk() if node.op.name == "sort"]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("name", SORTS)
def test_sorts_of_jax(name, dtype):
    x = ODD.astype(jnp.dtype(dtype))
    module = lamina.from_jax(SORTS[name], Spec(x.shape, dtype))
    assert comparators(module) == [None if name == "second key" else (0, "LT", False)]
    expected = [np.asarray(r) for r in jax.tree.leaves(SORTS[name](jnp.asarray(x)))]
    for results in (lamina.evaluate(module, x)[0], jax.tree.leaves(lamina.compile(module)(x))):
        for result, wanted in zip(results, expected, strict=True):
            assert np.asarray(result).tobytes() == wanted.tobytes()


def test_a_long_sort_in_every_target():
    x = np.random.default_rng(0).permutation(5000).astype(np.float32)  # exchange would take 5000 rounds
    module = lamina.from_jax(jnp.argsort, Spec(x.shape))
    assert lamina.verify(module, x, ["numpy", "xla", "torchscript", "tf_function"]).ok
    np.testing.assert_array_equal(lamina.evaluate(module, x)[0][0], np.argsort(x))


def comparator(direction, nan=np.nan, zero=0.0, total=True):
    """JAX's comparator, or one that is nearly so."""
    graph = Graph()
    b = Builder(graph)

    def normalized(x):
        null = b.constant(0.0, "f32")
        inner = b.select(b.compare(x, null, direction="EQ"), b.constant(zero, "f32"), x)
        return b.select(b.compare(x, x, direction="NE"), b.constant(nan, "f32"), inner)

    left, right = (normalized(graph.add_input(TensorType("f32"))) for _ in range(2))
    graph.outputs = [b.compare(left, right, direction=direction, total_order=total)]
    return graph


def test_what_only_looks_so():
    assert simple_comparator(comparator("LT")) == (0, "LT", False)
    for other in (
        comparator("GT"),  # NaN first
        comparator("LE"),
        comparator("LT", nan=1.0),
        comparator("LT", zero=-0.0),
        comparator("LT", zero=1.0),
        comparator("LT", total=False),
    ):
        assert simple_comparator(other) is None
