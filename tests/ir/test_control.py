"""while, scan, cond, calls and wrapped regions; collectives on one device."""

import numpy as np
import pytest
from jax import lax

from lamina.ir import Builder, Graph, Module, TensorType, binary_region, clone_module, evaluate, symbol
from lamina.ir.errors import ArgumentError, DTypeError, ShapeError, UnsupportedError

N, T = symbol("N"), symbol("T")
FLOAT, INT = TensorType("f32"), TensorType("i32")


def counting_loop(region, types):
    """while i < limit: i, x = i + 1, x * 2; operands limit, i, x."""
    condition = region(types, lambda b, limit, i, x: b.compare(i, limit, direction="LT"))
    body = region(types, lambda b, limit, i, x: (b.add(i, b.constant(1, "i32")), b.add(x, x)))
    return [condition, body]


@pytest.mark.parametrize("turns", [0, 1, 5])
def test_while(run_op, region, turns):
    x = np.array([1, 2], np.float32)
    i, result = run_op(
        "while",
        np.int32(turns),
        np.int32(0),
        x,
        consts=1,
        regions=counting_loop(region, [INT, INT, TensorType("f32", (2,))]),
    )
    assert i == turns
    np.testing.assert_array_equal(result, x * 2**turns)


def test_while_errors(infer, region):
    types = [INT, INT, TensorType("f32", (N,))]
    loop = counting_loop(region, types)
    assert infer("while", *types, consts=1, regions=loop) == types[1:]
    with pytest.raises(ArgumentError, match=r"expected 2 regions \(cond, body\), received 1"):
        infer("while", *types, consts=1, regions=loop[:1])
    with pytest.raises(DTypeError, match=r"region 'cond' returns \(i32\[\]\); expected \(i1\[\]\)"):
        infer("while", *types, consts=1, regions=[region(types, lambda b, limit, i, x: i), loop[1]])
    with pytest.raises(
        ArgumentError, match=r"region 'body' returns \(i32\[\], f32\[N\]\); expected \(i32\[\], i32\[\], f32\[N\]\)"
    ):
        infer("while", *types, consts=0, regions=loop)
    with pytest.raises(ShapeError, match=r"region 'cond' takes \(i32\[\], i32\[\], f32\[N\]\); expected .*f32\[3\]"):
        infer("while", INT, INT, TensorType("f32", (3,)), consts=1, regions=loop)
    with pytest.raises(ArgumentError, match=r"consts should be in \[0, 3\] with 3 operands, received 4"):
        infer("while", *types, consts=4, regions=loop)
    foreign = region(types, lambda b, limit, i, x: b.compare(i, limit, direction="LT"))
    foreign.add_parameter("w", FLOAT)
    with pytest.raises(ArgumentError, match="region 'cond' has parameters or updates"):
        infer("while", *types, consts=1, regions=[foreign, loop[1]])


def scan_body(region, row):
    """scale, total, x -> total + scale*x; yields the new total and x."""

    def rule(b, scale, total, x):
        new = b.add(total, b.multiply(b.broadcast_to(scale, row.shape), x))
        return new, new, x

    return [region([FLOAT, row, row], rule)]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", [0, 1, 4])
def test_scan_as_jax(run_op, region, reverse, length):
    xs = np.random.default_rng(0).integers(-5, 5, (length, 3)).astype(np.float32)
    start = np.ones(3, np.float32)
    body = scan_body(region, TensorType("f32", (3,)))
    total, sums, copies = run_op(
        "scan", np.float32(2), start, xs, consts=1, carries=1, length=length, reverse=reverse, regions=body
    )
    expected, expected_sums = lax.scan(lambda c, x: (c + 2 * x, c + 2 * x), start, xs, reverse=reverse)
    np.testing.assert_array_equal(total, expected)
    np.testing.assert_array_equal(sums, expected_sums)
    np.testing.assert_array_equal(copies, xs)


def test_scan_over_a_symbolic_length(region):
    row = TensorType("f32", (N,))
    graph = Graph()
    values = [graph.add_input(t) for t in (FLOAT, row, TensorType("f32", (T, N)))]
    results = Builder(graph).emit("scan", values, {"consts": 1, "carries": 1, "length": T}, scan_body(region, row))
    assert [r.type for r in results] == [row, TensorType("f32", (T, N)), TensorType("f32", (T, N))]
    graph.outputs = list(results)
    (total, sums, _), _ = evaluate(graph, np.float32(1), np.zeros(2, np.float32), np.ones((3, 2), np.float32))
    np.testing.assert_array_equal(total, [3, 3])
    np.testing.assert_array_equal(sums, [[1, 1], [2, 2], [3, 3]])


def test_scan_without_arrays_counts(run_op, region):
    body = region([INT], lambda b, i: (b.add(i, b.constant(1, "i32")), i))
    last, counted = run_op("scan", np.int32(5), consts=0, carries=1, length=3, regions=[body])
    assert last == 8
    np.testing.assert_array_equal(counted, [5, 6, 7])


def test_scan_errors(infer, region):
    row = TensorType("f32", (3,))
    body = scan_body(region, row)
    attributes = {"consts": 1, "carries": 1, "length": T}
    with pytest.raises(ShapeError, match=r"the length T as first dimension, received f32\[4,3\]"):
        infer("scan", FLOAT, row, TensorType("f32", (4, 3)), regions=body, **attributes)
    with pytest.raises(ArgumentError, match=r"carries should be in \[0, 2\] with 3 operands and 1 consts, received 3"):
        infer("scan", FLOAT, row, TensorType("f32", (T, 3)), regions=body, **{**attributes, "carries": 3})
    with pytest.raises(ShapeError, match="region 'body' takes"):
        infer("scan", FLOAT, row, TensorType("f32", (T, 2)), regions=body, **attributes)
    wrong = region([FLOAT, row, row], lambda b, scale, total, x: (scale, x))
    with pytest.raises(
        ShapeError, match=r"region 'body' returns \(f32\[\], f32\[3\]\); expected \(f32\[3\], f32\[3\]\)"
    ):
        infer("scan", FLOAT, row, TensorType("f32", (T, 3)), regions=[wrong], **attributes)


def branches(region, count):
    return [region([FLOAT], lambda b, x, k=k: b.add(x, b.constant(k, "f32"))) for k in range(count)]


def test_cond_by_predicate_and_by_index(run_op, region):
    assert run_op("cond", np.True_, np.float32(10), regions=branches(region, 2)) == 10
    assert run_op("cond", np.False_, np.float32(10), regions=branches(region, 2)) == 11
    for index, expected in ((0, 0), (1, 1), (2, 2), (3, 2), (-1, 2), (99, 2)):
        assert run_op("cond", np.int32(index), np.float32(0), regions=branches(region, 3)) == expected


def test_cond_errors(infer, region):
    two = branches(region, 2)
    with pytest.raises(DTypeError, match=r"the index should be i1 or i32, received f32\[\]"):
        infer("cond", FLOAT, FLOAT, regions=two)
    with pytest.raises(ShapeError, match=r"should be a scalar, received i32\[2\]"):
        infer("cond", TensorType("i32", (2,)), FLOAT, regions=two)
    with pytest.raises(ArgumentError, match="expected 2 branches for a predicate, received 3"):
        infer("cond", TensorType("i1"), FLOAT, regions=branches(region, 3))
    with pytest.raises(DTypeError, match=r"region 'branches' returns \(i32\[\]\); expected \(f32\[\]\)"):
        infer("cond", INT, FLOAT, regions=[*two, region([FLOAT], lambda b, x: b.convert(x, dtype="i32"))])
    with pytest.raises(ArgumentError, match="expected an index and the branches' operands"):
        infer("cond", regions=two)


def calling_module():
    """main(x: f32[N]) calls double, with the result type as attribute."""
    double, main = Graph(), Graph()
    x = double.add_input(TensorType("f32", (N,)))
    double.outputs = [Builder(double).add(x, x)]
    y = main.add_input(TensorType("f32", (2 * T,)))
    called = Builder(main).call(y, callee="double", results=(TensorType("f32", (2 * T,)),))
    main.outputs = [called]
    return Module({"main": main, "double": double})


def test_call():
    module = calling_module()
    (result,), _ = evaluate(module, np.array([1, 2], np.float32))
    np.testing.assert_array_equal(result, [2, 4])
    with pytest.raises(ArgumentError, match="the module has no function 'double'"):
        evaluate(module.main, np.array([1, 2], np.float32))


def test_the_result_types_of_a_call_follow_its_dimensions():
    main = clone_module(calling_module(), {"T": 3}).main
    assert main.nodes[0].attributes["results"] == (TensorType("f32", (6,)),)
    assert main.nodes[0].result.type == TensorType("f32", (6,))


def test_call_needs_types(infer):
    with pytest.raises(ArgumentError, match="call: attribute 'results' should be types, received 'f32'"):
        infer("call", FLOAT, callee="f", results="f32")


def test_optimization_barrier_and_wrapped_regions(run_op, region):
    x = np.float32(3)
    first, second = run_op("optimization_barrier", x, np.int32(4))
    assert (first, second) == (3, 4)
    square = region([FLOAT], lambda b, v: b.multiply(v, v))
    assert run_op("remat", x, regions=[square]) == 9
    assert run_op("composite", x, name="my.square", regions=[square]) == 9


def test_remat_checks_its_region(infer, region):
    square = region([FLOAT], lambda b, v: b.multiply(v, v))
    with pytest.raises(DTypeError, match=r"remat: region 'body' takes \(f32\[\]\); expected \(i32\[\]\)"):
        infer("remat", INT, regions=[square])
    with pytest.raises(ArgumentError, match=r"composite: expected 1 regions \(body\), received 0"):
        infer("composite", FLOAT, name="x")


def custom_square(region, residual=FLOAT):
    """x**2 * n whose derivative is said to be 7 times the residual x; n is an integer and has none."""
    primal = region([FLOAT, INT], lambda b, x, n: b.multiply(b.multiply(x, x), b.convert(n, dtype="f32")))
    forward = region([FLOAT, INT], lambda b, x, n: (b.multiply(b.multiply(x, x), b.convert(n, dtype="f32")), x))
    backward = region([residual, FLOAT], lambda b, x, g: b.multiply(g, b.constant(7, "f32")))
    return [primal, forward, backward]


def test_custom_vjp_evaluates_as_its_primal(run_op, region):
    assert run_op("custom_vjp", np.float32(3), np.int32(2), regions=custom_square(region)) == 18


def test_custom_vjp_checks_its_regions(infer, region):
    primal, forward, backward = custom_square(region)
    with pytest.raises(ArgumentError, match=r"expected 3 regions \(primal, forward, backward\), received 2"):
        infer("custom_vjp", FLOAT, INT, regions=[primal, forward])
    with pytest.raises(
        DTypeError, match=r"region 'backward' takes \(i32\[\], f32\[\]\); expected \(f32\[\], f32\[\]\)"
    ):
        infer("custom_vjp", FLOAT, INT, regions=custom_square(region, INT))
    both = region([FLOAT, FLOAT], lambda b, x, g: (g, g))
    with pytest.raises(ArgumentError, match=r"region 'backward' returns \(f32\[\], f32\[\]\); expected \(f32\[\]\)"):
        infer("custom_vjp", FLOAT, INT, regions=[primal, forward, both])
    short = region([FLOAT, INT], lambda b, x, n: n)
    with pytest.raises(DTypeError, match="region 'forward' returns"):
        infer("custom_vjp", FLOAT, INT, regions=[primal, short, backward])


def test_custom_call_has_no_evaluation(run_op, infer):
    results = (TensorType("f32", (N,)),)
    assert infer("custom_call", FLOAT, target="mine", results=results) == list(results)
    with pytest.raises(UnsupportedError, match="custom_call 'mine' is defined by its target"):
        run_op("custom_call", np.float32(1), target="mine", results=(FLOAT,))


ALONE = ((0,),)


@pytest.mark.parametrize(
    ("op", "attributes", "has_region"),
    [
        ("all_reduce", {"groups": ALONE}, True),
        ("all_reduce", {}, True),
        ("all_gather", {"axis": 0, "groups": ALONE}, False),
        ("reduce_scatter", {"axis": 1, "groups": ALONE}, True),
        ("all_to_all", {"split_axis": 0, "concat_axis": 1, "split_count": 1, "groups": ALONE}, False),
        ("collective_permute", {"pairs": ((0, 0),)}, False),
    ],
)
def test_collectives_on_one_device_are_identities(run_op, op, attributes, has_region):
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    regions = [binary_region("add", "f32")] if has_region else []
    np.testing.assert_array_equal(run_op(op, x, regions=regions, **attributes), x)


def test_collectives_of_one_device_otherwise(run_op):
    np.testing.assert_array_equal(run_op("collective_permute", np.ones(2, np.float32), pairs=()), [0, 0])
    assert run_op("partition_id") == 0


def test_collective_types(infer):
    pair, x, add = ((0, 1),), TensorType("f32", (N, 4)), [binary_region("add", "f32")]
    assert infer("all_reduce", x, groups=pair, regions=add) == [x]
    assert infer("all_gather", x, axis=0, groups=pair) == [TensorType("f32", (2 * N, 4))]
    assert infer("reduce_scatter", x, axis=1, groups=pair, regions=add) == [TensorType("f32", (N, 2))]
    assert infer("all_to_all", x, split_axis=1, concat_axis=0, split_count=2, groups=pair) == [
        TensorType("f32", (2 * N, 2))
    ]
    assert infer("partition_id") == [TensorType("ui32")]


def test_collective_errors(run_op, infer):
    pair, x, add = ((0, 1),), TensorType("f32", (2, 3)), [binary_region("add", "f32")]
    with pytest.raises(
        UnsupportedError, match=r"all_gather evaluates on one device; received the groups \(\(0, 1\),\)"
    ):
        run_op("all_gather", np.zeros((2, 3), np.float32), axis=0, groups=pair)
    with pytest.raises(UnsupportedError, match="collective_permute evaluates on one device"):
        run_op("collective_permute", np.zeros(2, np.float32), pairs=((0, 1),))
    with pytest.raises(ShapeError, match=r"dimension 1 of f32\[2,3\] should be a multiple of 2"):
        infer("reduce_scatter", x, axis=1, groups=pair, regions=add)
    with pytest.raises(ArgumentError, match="groups should have one size and name each device once"):
        infer("all_reduce", x, groups=((0, 1), (2,)), regions=add)
    with pytest.raises(ArgumentError, match="the result's shape depends on the groups' size"):
        infer("all_gather", x, axis=0)
    with pytest.raises(ArgumentError, match="split_count should be the groups' size 2, received 3"):
        infer("all_to_all", x, split_axis=1, concat_axis=0, split_count=3, groups=pair)
    with pytest.raises(ArgumentError, match="each source and each target once"):
        infer("collective_permute", x, pairs=((0, 1), (0, 2)))
