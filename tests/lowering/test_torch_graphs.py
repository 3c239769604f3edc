"""What leaves for torch beyond single ops: general regions, control flow, open dimensions, updates, results, text."""

import numpy as np
import pytest
import torch
from closeness import assert_close
from op_draw import region, use

import lamina
from lamina import Spec, keras, ops
from lamina.frontend.export import torchscript
from lamina.frontend.export.torch_module import Owned, scripted_module, to_input, to_numpy
from lamina.ir import Builder, Graph, Module, TensorType
from lamina.ir.errors import UnsupportedError
from lamina.ir.graph import Update
from lamina.lowering.torch.source import write_source

RNG = np.random.default_rng(0)
F32 = np.float32


def normal(*shape):
    return RNG.standard_normal(shape).astype(F32)


def check(graph, *inputs, exact=False):
    results = torchscript.runner(Module({"main": graph}))(list(inputs))
    if exact:
        for result, want in zip(results, lamina.evaluate(graph, *inputs)[0], strict=True):
            np.testing.assert_array_equal(result, want)
    else:
        assert_close(graph, inputs, results)


def agree(f, *arrays, specs=None, tolerance=1e-6):
    """A function, traced and run by torch, gives what its graph means."""
    module = lamina.trace(f, *(specs or arrays))
    expected, _ = lamina.evaluate(module, *arrays)
    for result, want in zip(torchscript.runner(module)(list(arrays)), expected, strict=True):
        assert result.dtype == want.dtype
        np.testing.assert_allclose(result, want, rtol=tolerance, atol=tolerance)
    return write_source(module).text


# Regions of any kind


def hypotenuse(b, x, y):
    return b.sqrt(b.add(b.multiply(x, x), b.multiply(y, y)))


def greatest_divisor(b, x, y):
    """A region that torch can't apply to a tensor: it loops for each element."""
    types = [("i32", ())] * 2
    test = region(types, lambda b, x, y: b.compare(y, b.constant(0, "i32"), direction="NE"))
    body = region(types, lambda b, x, y: (y, b.remainder(x, y)))
    return b.while_(x, y, consts=0, regions=[test, body])[0]


SCALARS, INTEGERS = [("f32", ())] * 2, [("i32", ())] * 2


@pytest.mark.parametrize("axes", [(0,), (1,), (0, 2), (0, 1, 2), ()])
def test_reduce_by_any_region(axes):
    body = region(SCALARS, hypotenuse)
    check(*_args(use("reduce", np.abs(normal(3, 4, 5)), F32(0.5), axes=axes, regions=[body])))
    body, x = region(INTEGERS, greatest_divisor), 6 * RNG.integers(1, 40, (3, 4, 5)).astype(np.int32)
    check(*_args(use("reduce", x, np.int32(0), axes=axes, regions=[body])), exact=True)


def _args(case):
    graph, inputs = case
    return (graph, *inputs)


def test_reduce_of_nothing_is_the_initial_value():
    body = region(SCALARS, hypotenuse)
    check(*_args(use("reduce", np.zeros((3, 0), F32), F32(2), axes=(1,), regions=[body])))


@pytest.mark.parametrize("fold", ["add", "maximum", "multiply", "other"])
def test_windows_with_a_start_that_counts(fold):
    body = region(SCALARS, hypotenuse if fold == "other" else lambda b, x, y: b.emit(fold, (x, y))[0])
    x = np.abs(normal(4, 6))
    graph, inputs = use(
        "reduce_window",
        x,
        F32(1.5),
        window=(2, 3),
        strides=(1, 2),
        base_dilation=(1, 2),
        window_dilation=(2, 1),
        padding=((1, 0), (0, 2)),
        regions=[body],
    )
    check(graph, *inputs)


def test_sort_by_two_keys():
    a, b = RNG.integers(0, 3, (4, 9)).astype(np.int32), normal(4, 9)
    types = [("i32", ())] * 2 + [("f32", ())] * 2

    def before(b, x, y, u, v):
        tie = b.and_(b.compare(x, y, direction="EQ"), b.compare(u, v, direction="GT"))
        return b.or_(b.compare(x, y, direction="LT"), tie)

    for axis in (0, 1):
        graph, inputs = use("sort", a, b, axis=axis, regions=[region(types, before)])
        check(graph, *inputs, exact=True)


@pytest.mark.parametrize("unique", [False, True])
@pytest.mark.parametrize("fold", ["add", "multiply", "minimum", "and", "second", "first", "other"])
def test_scatter_of_windows_in_order(fold, unique):
    dtype = np.int32 if fold == "and" else F32
    rules = {
        "second": lambda b, x, y: y,
        "first": lambda b, x, y: x,
        "other": lambda b, x, y: b.subtract(y, x),  # the order of updates counts
    }
    body = region([(dtype, ())] * 2, rules.get(fold, lambda b, x, y: b.emit(fold, (x, y))[0]))
    x = (8 * normal(6, 4)).astype(dtype)
    starts = np.int32([[0], [3], [5]] if unique else [[1], [0], [1], [-1], [5], [6]])
    updates = (8 * normal(len(starts), 1, 3)).astype(dtype)
    graph, inputs = use(
        "scatter",
        x,
        starts,
        updates,
        update_window_dims=(1, 2),
        inserted_window_dims=(),
        scatter_dims_to_operand_dims=(0,),
        index_vector_dim=1,
        unique_indices=unique,
        regions=[body],
    )
    check(graph, *inputs, exact=fold != "add")


def test_scatter_of_two_arrays_with_batching_dimensions():
    types = [("f32", ()), ("i32", ())] * 2

    def larger(b, x, i, y, j):
        more = b.compare(y, x, direction="GT")
        return b.select(more, y, x), b.select(more, j, i)

    x, i = normal(3, 5), np.zeros((3, 5), np.int32)
    places = np.int64([[0, 0, 4], [2, 2, 2], [9, -1, 1]])
    y, j = normal(3, 3), RNG.integers(1, 9, (3, 3)).astype(np.int32)
    graph, inputs = use(
        "scatter",
        x,
        i,
        places,
        y,
        j,
        update_window_dims=(),
        inserted_window_dims=(1,),
        input_batching_dims=(0,),
        scatter_indices_batching_dims=(0,),
        scatter_dims_to_operand_dims=(1,),
        index_vector_dim=2,
        regions=[region(types, larger)],
    )
    check(graph, *inputs, exact=True)


def test_select_and_scatter_by_any_region():
    x, source = normal(5, 6), normal(3, 3)
    select = region(SCALARS, lambda b, x, y: b.compare(b.abs(x), b.abs(y), direction="LE"))
    graph, inputs = use(
        "select_and_scatter",
        x,
        source,
        F32(0.25),
        window=(3, 2),
        strides=(1, 2),
        padding=((0, 0), (0, 0)),
        regions=[select, region(SCALARS, lambda b, x, y: b.subtract(y, x))],
    )
    check(graph, *inputs)


def test_convolution_of_integers_wraps():
    x, w = RNG.integers(-(2**31), 2**31, (1, 3, 5, 4), np.int32), RNG.integers(-(2**31), 2**31, (2, 2, 3, 2), np.int32)
    graph, inputs = use(
        "convolution",
        x,
        w,
        strides=(1, 2),
        padding=((1, 0), (-1, 2)),
        lhs_dilation=(2, 1),
        rhs_dilation=(1, 1),
        lhs_spec=(0, 1, 2, 3),
        rhs_spec=(3, 2, 0, 1),
        out_spec=(0, 1, 2, 3),
    )
    check(graph, *inputs, exact=True)


# Control flow


def test_loops_and_branches_within_each_other():
    def collatz(n):
        def step(n, count):
            n = ops.cond(n % 2 == 0, lambda: n // 2, lambda: 3 * n + 1)
            return n, count + 1

        return ops.while_loop(lambda n, count: n > 1, step, (n, ops.zeros((), "int32")))[1]

    text = agree(collatz, np.int32(27))
    assert "while bool(" in text and "if bool(" in text


def test_a_condition_of_several_lines_and_a_swap():
    def f(x, y):
        return ops.while_loop(
            lambda x, y, i: ops.logical_and(ops.sum(x) < 50, ops.sum(ops.abs(y)) < 60) & (i < 20),
            lambda x, y, i: (y, x + y, i + 1),
            (x, y, ops.zeros((), "int32")),
        )[:2]

    text = agree(f, np.ones(3, F32), 2 * np.ones(3, F32))
    assert "while True:" in text and "break" in text


@pytest.mark.parametrize("index", [-1, 0, 1, 2, 7])
def test_switch(index):
    def f(i, x):
        return ops.switch(i, [lambda x: x, lambda x: -x, lambda x: x * x], x)

    agree(f, np.int32(index), normal(3))


# Open dimensions


@pytest.mark.parametrize("sizes", [(2, 3), (5, 8), (0, 1), (1, 4)])
def test_one_program_serves_all_sizes(sizes):
    n, t = sizes

    def f(x, y):
        z = ops.concatenate([x, ops.flip(x, 1)], axis=1)  # [N, 2T]
        z = ops.reshape(z, (-1, 2, ops.shape(x)[1]))
        mean = ops.mean(x, axis=1) + ops.sum(y, axis=0)
        return z, ops.cumsum(x, axis=1), ops.max(ops.pad(x, ((0, 0), (1, 1))), axis=1) * mean, ops.argmax(x, axis=1)

    x, y = normal(n, t), normal(4, n)
    agree(f, x, y, specs=(Spec(("N", "T")), Spec((4, "N"))), tolerance=1e-5)


def test_what_the_trace_assumed_is_asserted():
    module = lamina.trace(lambda a, b: a + b, Spec(("A", 3)), Spec(("B", 3)))
    run = torchscript.runner(module)
    np.testing.assert_array_equal(run([np.ones((2, 3), F32), np.ones((2, 3), F32)])[0], np.full((2, 3), 2, F32))
    with pytest.raises(torch.jit.Error, match="must broadcast: A == B"):
        run([np.ones((2, 3), F32), np.ones((4, 3), F32)])


@pytest.mark.parametrize("size", [0, 3])
def test_a_size_that_an_input_has_in_an_expression(size):
    agree(
        lambda x, y: (ops.zeros_like(ops.reshape(x, (2, -1))), ops.sum(y, axis=1) + ops.ones((ops.shape(y)[0],))),
        normal(2 * size),
        normal(3 * size + 4, 2),
        specs=(Spec(("2*T",)), Spec(("3*U+4", 2))),
    )


def test_a_size_that_no_input_has_is_refused():
    module = lamina.trace(lambda x: ops.ones_like(ops.reshape(x, (2, -1)))[0], Spec(("2*A*B",)))
    with pytest.raises(UnsupportedError, match=r"(?s)no input has [AB] alone in a dimension.*=32"):
        write_source(module)


# Updates and results


def test_updates_take_the_values_from_before():
    """Two parameters change places, one is returned as it was: nothing sees what is written already."""
    graph = Graph()
    x = graph.add_input(TensorType("f32", (2,)), "x")
    a, b = (graph.add_parameter(name, TensorType("f32", (2,)), np.full(2, v, F32)) for name, v in (("a", 1), ("b", 2)))
    builder = Builder(graph)
    graph.outputs = [builder.add(x, a.value), builder.reshape(a.value, shape=(1, 2))]
    graph.updates = [Update(a, b.value), Update(b, a.value)]
    owned = Owned(Module({"main": graph}))
    scripted = scripted_module(owned)
    one = [t.tolist() for t in scripted(torch.zeros(2))]
    two = [t.tolist() for t in scripted(torch.zeros(2))]
    assert one == [[1, 1], [[1, 1]]]
    assert two == [[2, 2], [[2, 2]]]
    assert {k: v.tolist() for k, v in scripted.state_dict().items()} == {"a": [1, 1], "b": [2, 2]}
    assert not any(True for _ in scripted.parameters())  # what the program writes is state, not trained


def test_results_in_the_structure_of_the_model():
    def f(x):
        return {"b": x + 1, "a": x + 2}, [x * 2, x * 3], (x, {"inner": [x - 1]}), None

    module = lamina.trace(f, Spec((2,)))
    owned = Owned(module)
    x = np.ones(2, F32)
    returned = scripted_module(owned)(to_input(x))
    dicts, lists, (plain, inner) = returned
    assert sorted(dicts) == ["a", "b"] and float(dicts["a"][0]) == 3 and float(lists[1][0]) == 3
    assert float(plain[0]) == 1 and float(inner["inner"][0][0]) == 0
    expected, _ = lamina.evaluate(module, x)
    for result, want in zip(owned.source.flatten(returned), expected, strict=True):
        np.testing.assert_array_equal(to_numpy(result, np.dtype(F32)), want)


def test_names_that_mean_something_else_get_an_underscore():
    graph = Graph()
    x = graph.add_input(TensorType("f32", (2,)), "lambda")
    y = graph.add_input(TensorType("f32", (2,)), "torch")
    builder, total = Builder(graph), x
    names = ("training/weight", "dense-1/a b", "forward", "maximum/x", "dense", "dense/kernel", "1/2")
    for name in names:
        parameter = graph.add_parameter(name, TensorType("f32", (2,)), np.ones(2, F32))
        total = builder.add(total, parameter.value)
    graph.outputs = [builder.maximum(total, y)]
    module = Module({"main": graph})
    result = torchscript.runner(module)([np.zeros(2, F32), np.zeros(2, F32)])
    assert result[0].tolist() == [7, 7]
    paths = {name: ".".join(path) for name, path in write_source(module).paths.items()}
    assert len(set(paths.values())) == len(names)
    assert paths["training/weight"] == "training_.weight" and paths["forward"] == "forward_"


def test_constants_are_held_once_and_moved_with_the_module():
    table = normal(4, 3)
    module = lamina.trace(lambda x: ops.matmul(x, table) + ops.matmul(-x, table), Spec((2, 4)))
    source = write_source(module)
    assert len(source.constants) == 1
    agree(lambda x: ops.matmul(x, table), normal(2, 4))
    (name,) = source.constants
    assert name in dict(torchscript.build(module).named_buffers())


# Text

EXPECTED = """\
def forward(self, features: Tensor) -> Tensor:
    # hidden
    t = F.linear(features, self.net.hidden.kernel.t(), self.net.hidden.bias)
    t_1 = torch.relu(t)
    # norm
    t_2 = torch.layer_norm(t_1, [8], self.net.norm.gamma, self.net.norm.beta, 0.001)
    # classes
    t_3 = F.linear(t_2, self.net.classes.kernel.t(), self.net.classes.bias)
    t_4 = torch.softmax(t_3, 1)
    return t_4
"""


def test_text_of_a_small_model():
    model = keras.Sequential(
        [
            keras.Input((4,), name="features"),
            keras.layers.Dense(8, activation="relu", name="hidden"),
            keras.layers.LayerNormalization(name="norm"),
            keras.layers.Dropout(0.5, name="drop"),
            keras.layers.Dense(3, activation="softmax", name="classes"),
        ],
        name="net",
    )
    assert write_source(lamina.trace(model)).text == EXPECTED


def test_text_of_convolutions_has_no_transposes_between_them():
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(2, 2),
        ]
    )
    text = write_source(lamina.trace(model)).text
    lines = [line for line in text.splitlines() if ".permute(" in line and "kernel" not in line]
    assert len(lines) == 2  # of the input, and of the result
    assert text.count("torch.conv2d(") == 2 and text.count("bias") == 2
