"""Every op as StableHLO, compiled by XLA for the CPU, gives what the NumPy meaning gives, on random shapes and types.

Compiling is what takes the time, so the quick test has few examples of each op; the long one has many.
"""

import pytest
from closeness import assert_close
from hypothesis import HealthCheck, given, settings
from op_cases import CASES, ELSEWHERE, missing

from lamina.ir import OPS, Module
from lamina.lowering.stablehlo import emit
from lamina.runtime.pjrt import compile_and_load

QUICK, LONG = 6, 60


def check(case):
    graph, inputs = case
    assert_close(graph, inputs, compile_and_load(emit(Module({"main": graph}))).run(*inputs))


def sweep(name, examples):
    quiet = settings(max_examples=examples, suppress_health_check=list(HealthCheck))
    quiet(given(CASES[name])(check))()


def test_every_op_has_a_case():
    assert missing() == []
    assert [name for name in (*CASES, *ELSEWHERE) if name not in OPS] == []


@pytest.mark.parametrize("name", sorted(CASES))
def test_xla_agrees_with_the_meaning(name):
    sweep(name, QUICK)


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(CASES))
def test_xla_agrees_with_the_meaning_on_many_cases(name):
    sweep(name, LONG)
