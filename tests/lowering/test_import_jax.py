"""JAX's programs, imported, give what JAX gives on XLA: evaluated in NumPy, and compiled."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from jax_programs import PROGRAMS, QUICK, assert_close, draw

import lamina
from lamina.ir.errors import UnsupportedError


def _check(name: str, compiled: bool) -> None:
    program = PROGRAMS[name]
    arrays = draw(name, program.args)
    expected = jax.tree.leaves(jax.jit(program.function)(*arrays))
    module = lamina.from_jax(program.function, *arrays)
    results, _ = lamina.evaluate(module, *arrays)
    assert_close(results, expected, program.tolerance, name)
    assert str(lamina.parse(str(module))) == str(module)
    if compiled:
        assert_close(jax.tree.leaves(lamina.compile(module)(*arrays)), expected, program.tolerance, name)


def test_there_are_hundreds_of_programs():
    assert len(PROGRAMS) >= 300


@pytest.mark.parametrize("name", QUICK)
def test_program(name):
    _check(name, compiled=name in QUICK[::3])


@pytest.mark.long
@pytest.mark.parametrize("name", [n for n in PROGRAMS if n not in QUICK])
def test_every_program(name):
    _check(name, compiled=list(PROGRAMS).index(name) % 2 == 0)


# Scans.


@pytest.mark.parametrize(
    "name",
    ["lax.scan", "lax.scan.reverse", "lax.scan.rnn", "lax.scan.two", "lax.scan.nested", "lax.map", "lax.fori_loop"],
)
def test_loops_that_count_are_scans(name):
    program = PROGRAMS[name]
    module = lamina.from_jax(program.function, *draw(name, program.args))
    kinds = [n.op.name for n in module.walk() if n.op.name in ("scan", "while")]
    assert kinds and set(kinds) == {"scan"}


@pytest.mark.parametrize("name", ["tanh", "rnn", "scan", "sort", "gather", "cond", "cumsum", "layer_norm"])
def test_imported_functions_have_gradients(name):
    value_and_grad = PROGRAMS[f"grad.{name}"]
    arrays = draw(name, value_and_grad.args)
    from jax_programs import LOSSES

    module = lamina.from_jax(LOSSES[name][0], *arrays)
    gradient = lamina.grad(lambda *args: lamina.call_module(module, *args))(*arrays)
    expected = value_and_grad.function(*arrays)[1]
    assert_close([gradient], [expected], 256, name)


# Structures, names, symbolic dimensions.


def _strided(x):
    kernel = jax.numpy.ones((3, 3, 2, 5))
    return jax.lax.conv_general_dilated(x, kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def test_structures_and_names_are_kept():
    def layer(x, params):
        return {"y": x @ params["w"] + params["b"], "size": (x.shape[0] * 2.0, x.sum())}

    specs = lamina.Spec((None, 4)), {"w": lamina.Spec((4, 3)), "b": lamina.Spec((3,))}
    module = lamina.from_jax(layer, *specs)
    assert module.name == "layer"
    assert module.main.input_names == ["x", "params_b", "params_w"]
    assert module.main.in_structure == (0, {"b": 1, "w": 2})
    assert module.main.out_structure == {"size": (0, 1), "y": 2}
    x, w, b = np.ones((5, 4), np.float32), np.ones((4, 3), np.float32), np.arange(3, dtype=np.float32)
    result = lamina.compile(module)(x, {"w": w, "b": b})
    np.testing.assert_allclose(result["y"], x @ w + b)
    assert float(result["size"][0]) == 10


@pytest.mark.parametrize(
    ("f", "spec", "sizes"),
    [
        (lambda x: jax.numpy.reshape(x, (-1, 2)).sum(0) + x.shape[0] // 2 + x.shape[0] % 3, ("2*B", 4), (2, 6, 10)),
        (lambda x: jax.numpy.argmax(jax.numpy.pad(x[1:], ((0, 1), (0, 0))), axis=0), (None, 4), (1, 2, 7)),
        (lambda x: jax.numpy.cumsum(x, 0)[::2].mean(), (None, 4), (1, 2, 7)),
        (lambda x: jax.nn.softmax(x, axis=0), (None, 4), (1, 5)),
        (lambda x: jax.numpy.sort(x, axis=0)[:3], (None, 4), (1, 3, 6)),
        (lambda x: jax.lax.scan(lambda c, y: (c + y, c), jax.numpy.zeros(4), x), (None, 4), (1, 3)),
        (lambda x: jax.numpy.concatenate([x, x[:-1]], axis=1 - 1).T, ("T", 2), (1, 3)),
        (lambda x: jax.numpy.broadcast_to(x.mean(), (x.shape[1], x.shape[0])), ("T", "S"), (2, 3)),
        (_strided, (None, "H", "H", 2), (2, 5)),
    ],
)  # fmt: skip
def test_symbolic_dimensions(f, spec, sizes):
    module = lamina.from_jax(f, lamina.Spec(spec))
    assert not module.main.inputs[0].type.is_static
    compiled = lamina.compile(module)
    for size in sizes:
        x = np.random.default_rng(size).standard_normal(_shape(module, size)).astype(np.float32)
        expected = jax.tree.leaves(jax.jit(f)(x))
        assert_close(lamina.evaluate(module, x)[0], expected, 64)
        assert_close(jax.tree.leaves(compiled(x)), expected, 64)


def _shape(module, size):
    from lamina.ir.dims import evaluate_dim

    main = module.main
    values = {name: size + i for i, name in enumerate(main.symbols)}
    if main.symbols == ["B"]:
        values = {"B": size // 2}
    return tuple(evaluate_dim(d, values) for d in main.inputs[0].shape)


def test_layers_are_jaxs_scopes():
    program = PROGRAMS["jax.named_scope"]
    module = lamina.from_jax(program.function, *draw("x", program.args))
    assert {n.location.layers for n in module.walk()} == {("encoder/dense",)}


def test_wide_types_need_no_flag():
    module = lamina.from_jax(lambda x: x + 1, lamina.Spec((3,), "float64"))
    (result,), _ = lamina.evaluate(module, np.array([1e-300, 1, 2]))
    assert result.dtype == np.float64 and result[0] == 1


def test_qr_is_the_op_and_not_its_packed_form():
    program = PROGRAMS["linalg.qr"]
    module = lamina.from_jax(program.function, *draw("linalg.qr", program.args))
    names = [n.op.name for n in module.walk()]
    assert "qr" in names and "while" not in names and "custom_call" not in names


def test_packed_factors_are_those_of_lapack():
    def packed(x):
        return jax.numpy.linalg.qr(x, mode="raw")

    x = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    expected = jax.tree.leaves(jax.jit(packed)(x))
    assert_close(lamina.evaluate(lamina.from_jax(packed, x), x)[0], expected, 256)


def test_what_no_op_says_still_runs_on_xla():
    def eigenvalues(x):
        return jax.numpy.linalg.eigh(x @ x.T)[0]

    x = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    module = lamina.from_jax(eigenvalues, x)
    assert_close([lamina.compile(module)(x)], [eigenvalues(x)], 256)
    with pytest.raises(UnsupportedError, match="lapack_ssyevd_ffi"):
        lamina.evaluate(module, x)
