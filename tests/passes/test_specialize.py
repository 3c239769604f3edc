"""Specialization: symbols replaced by sizes, what they decide decided, what they break refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from meaning import assert_same_meaning
from strategies import SIZES, arrays_for, modules

from lamina.ir import clone_module, difference, evaluate, parse, verify
from lamina.ir.dims import Dim, free_symbols
from lamina.ir.errors import ArgumentError, GuardError
from lamina.passes import specialize

TEXT = """
    func @main(%x: f32[N,M]) -> (f32[N*M], f32[N,M], i32[]) {
      guard N >= 2 "two rows" @rows
      guard N == M "square" @square
      param %w: f32[M]
      %0 = match_shape(%x) {shape=[N,N]} : f32[N,N]
      %1 = match_shape(%0) {shape=[N,M]} : f32[N,M] @square
      %2 = broadcast_in_dim(%w) {shape=[N,M], dims=[1]} : f32[N,M]
      %3 = add(%1, %2) : f32[N,M] @add
      %4 = reshape(%3) {shape=[N*M]} : f32[N*M]
      %5 = dim_value {dim=N*M+1, dtype=i32} : i32[]
      return %4, %3, %5
    }"""


def symbols_in(module):
    found = set()
    for graph in module.functions.values():
        found |= set(graph.symbols)
        found |= {s for g in graph.guards for s in free_symbols(g.left, g.right)}
        for node in graph.walk():
            found |= {s for r in node.results for s in r.type.symbols}
            found |= {s for v in node.attributes.values() if isinstance(v, Dim) for s in free_symbols(v)}
    return found


def test_sizes_stand_for_the_symbols_everywhere():
    result = specialize(parse(TEXT), {"N": 3, "M": 3})
    verify(result)
    assert (
        difference(
            result,
            parse("""
        func @main(%x: f32[3,3]) -> (f32[9], f32[3,3], i32[]) {
          param %w: f32[3]
          %0 = broadcast_in_dim(%w) {shape=[3,3], dims=[1]} : f32[3,3]
          %1 = add(%x, %0) : f32[3,3] @add
          %2 = reshape(%1) {shape=[9]} : f32[9]
          %3 = constant {value=i32[] 10} : i32[]
          return %2, %1, %3
        }"""),
        )
        is None
    ), str(result)


def test_the_module_is_left_as_it_is():
    module = parse(TEXT)
    specialize(module, {"N": 3, "M": 3})
    assert difference(module, parse(TEXT)) is None


def test_one_symbol_may_stay():
    result = specialize(parse(TEXT), {"M": 3})
    verify(result)
    assert symbols_in(result) == {"N"}
    assert [str(g) for g in result.main.guards] == ["N >= 2", "N == 3"]


def test_parameters_keep_their_keys():
    module, key = parse(TEXT), object()
    module.main.parameters[0].key = key
    result = specialize(module, {"N": 2, "M": 2})
    assert result.main.parameters[0].key is key and result.main.parameters[0].name == "w"


@pytest.mark.parametrize(
    ("sizes", "parts"),
    [
        ({"N": 1, "M": 1}, ["N >= 2", "two rows", "rows", "N=1"]),
        ({"N": 3, "M": 4}, ["N == M", "square", "N=3", "M=4"]),
        ({"N": 0}, ["N >= 2", "N=0"]),
    ],
)
def test_a_broken_assumption_is_refused(sizes, parts):
    with pytest.raises(GuardError) as error:
        specialize(parse(TEXT), sizes)
    for part in parts:
        assert part in str(error.value), str(error.value)


def test_an_unknown_symbol_is_named():
    with pytest.raises(ArgumentError, match="no symbolic dimension 'K'; it has M, N"):
        specialize(parse(TEXT), {"K": 3})


def test_a_negative_size_is_refused():
    with pytest.raises(ArgumentError, match="N=-1"):
        specialize(parse(TEXT), {"N": -1})


def test_a_function_called_with_two_sizes():
    module = parse("""
        func @main(%x: f32[N], %y: f32[M]) -> (f32[N], f32[M]) {
          %0 = call(%x) {callee="f"} : f32[N] @first
          %1 = call(%y) {callee="f"} : f32[M] @second
          return %0, %1
        }
        func @f(%a: f32[K]) -> (f32[K]) {
          %0 = dim_value {dim=K, dtype=f32} : f32[] @count
          %1 = broadcast_in_dim(%0) {shape=[K], dims=[]} : f32[K]
          %2 = multiply(%a, %1) : f32[K]
          return %2
        }""")
    verify(module)
    result = specialize(module, {"N": 2, "M": 3})
    verify(result)
    assert not symbols_in(result)
    x, y = np.array([1, 2], np.float32), np.array([1, 2, 3], np.float32)
    (a, b), _ = evaluate(result, x, y)
    np.testing.assert_array_equal(a, 2 * x)
    np.testing.assert_array_equal(b, 3 * y)


def test_sizes_reach_into_regions():
    module = parse("""
        func @main(%x: f32[N,3]) -> (f32[3], f32[N,3]) {
          %0 = constant {value=f32[] 0.0} : f32[]
          %1 = broadcast_in_dim(%0) {shape=[3], dims=[]} : f32[3]
          %2, %3 = scan(%1, %x) {carries=1, length=N} : f32[3], f32[N,3]
            region body(%c: f32[3], %i: f32[3]) -> (f32[3], f32[3]) {
              %4 = dim_value {dim=N, dtype=f32} : f32[]
              %5 = broadcast_in_dim(%4) {shape=[3], dims=[]} : f32[3]
              %6 = divide(%i, %5) : f32[3]
              %7 = add(%c, %6) : f32[3]
              return %7, %7
            }
          return %2, %3
        }""")
    verify(module)
    result = specialize(module, {"N": 4})
    verify(result)
    assert not symbols_in(result)
    assert not any(n.op.name == "dim_value" for n in result.walk())
    (scan,) = [n for n in result.main.nodes if n.op.name == "scan"]
    assert scan.attributes["length"] == 4
    (mean, _), _ = evaluate(result, np.ones((4, 3), np.float32))
    np.testing.assert_array_equal(mean, np.ones(3, np.float32))


@given(modules(), st.integers(0, 3))
@settings(max_examples=120)
def test_a_specialized_module_means_the_same(module, seed):
    original = clone_module(module)
    sizes = {name: SIZES[name] for name in module.main.symbols}
    result = specialize(module, sizes)
    verify(result)
    assert not symbols_in(result)
    assert not result.main.guards
    assert difference(original, module) is None
    assert_same_meaning(module, result, *arrays_for(module, seed))
