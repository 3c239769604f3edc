"""Each StableHLO operation, imported and evaluated or compiled, gives what XLA gives for the text itself."""

from __future__ import annotations

import functools

import jax
import numpy as np
import pytest
from jax_programs import assert_close
from stablehlo_programs import PROGRAMS, quick
from stablehlo_reference import interpreted, on_xla

import lamina

QUICK = quick()
REST = [name for name in PROGRAMS if name not in QUICK]


@functools.cache
def _interpreted() -> dict[str, list[np.ndarray]]:
    """What the interpreter gives for all programs that are compared with it; starting it takes the time."""
    chosen = {n: (p.text, p.arrays) for n, p in PROGRAMS.items() if p.reference == "interpreter"}
    return dict(zip(chosen, interpreted(list(chosen.values())), strict=True))


def _check(name: str, compiled: bool) -> None:
    program = PROGRAMS[name]
    if program.expected is not None:
        expected = list(program.expected)
    elif program.reference == "interpreter":
        expected = _interpreted()[name]
    else:
        expected = on_xla(program.text, program.arrays)
    module = lamina.from_stablehlo(program.text)
    results, updates = lamina.evaluate(module, *program.arrays)
    assert not updates
    assert_close(results, expected, program.tolerance, name)
    if compiled:
        assert_close(jax.tree.leaves(lamina.compile(module)(*program.arrays)), expected, program.tolerance, name)
    assert str(lamina.parse(str(module))) == str(module)


@pytest.mark.parametrize("name", QUICK)
def test_operation(name):
    _check(name, compiled=False)


@pytest.mark.parametrize("name", QUICK[::5])
def test_compiled_operation(name):
    _check(name, compiled=True)


@pytest.mark.long
@pytest.mark.parametrize("name", REST)
def test_operation_in_every_form(name):
    _check(name, compiled=REST.index(name) % 4 == 0)


def test_real_numbers_come_back_bit_for_bit():
    """Constants of all types, as text with plain literals and, where there are many elements, as bytes."""
    from lamina.ir import Builder, Graph, Module
    from lamina.ir.types import ELEMENT_TYPES, bit_width, is_integer
    from lamina.lowering import stablehlo

    rng = np.random.default_rng(0)
    for count in (3, 150):
        for name, dtype in ELEMENT_TYPES.items():
            raw = rng.integers(0, 2 ** min(bit_width(dtype), 8), count * dtype.itemsize, dtype=np.uint8)
            narrow = is_integer(dtype) and bit_width(dtype) < 8
            array = rng.integers(0, 2, count).astype(dtype) if name == "i1" or narrow else raw.view(dtype)
            graph = Graph()
            graph.outputs = [Builder(graph).constant(array)]
            back = lamina.from_stablehlo(str(stablehlo.emit(Module({"main": graph}))))
            (result,), _ = lamina.evaluate(back)
            assert result.dtype == array.dtype
            same = result.view(np.uint8) == np.ascontiguousarray(array).view(np.uint8)
            assert same.all() or _only_nan_payloads(result, array), name


def _only_nan_payloads(a: np.ndarray, b: np.ndarray) -> bool:
    """MLIR's text keeps every bit of a NaN; one that signals does not survive a register."""
    return np.array_equal(np.isnan(a), np.isnan(b)) and np.array_equal(a[~np.isnan(a)], b[~np.isnan(b)])
