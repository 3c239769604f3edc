"""Fixtures of the IR's tests."""

import numpy as np
import pytest

from lamina.ir import Builder, Graph, TensorType, evaluate


@pytest.fixture
def run_op():
    """``run_op(name, *arrays, regions=(), **attributes)``: the value(s) of one op, inferred and evaluated."""

    def run(name, /, *arrays, regions=(), **attributes):
        arrays = [np.asarray(a) for a in arrays]
        graph = Graph()
        values = [graph.add_input(TensorType(a.dtype, a.shape)) for a in arrays]
        graph.outputs = list(Builder(graph).emit(name, values, attributes, regions))
        outputs, _ = evaluate(graph, *arrays)
        return outputs[0] if len(outputs) == 1 else outputs

    return run


@pytest.fixture
def region():
    """``region(types, rule)``: a region with inputs of ``types`` whose outputs are ``rule(builder, *inputs)``."""

    def make(types, rule):
        graph = Graph()
        inputs = [graph.add_input(t if isinstance(t, TensorType) else TensorType(t)) for t in types]
        outputs = rule(Builder(graph), *inputs)
        graph.outputs = list(outputs) if isinstance(outputs, (tuple, list)) else [outputs]
        return graph

    return make


@pytest.fixture
def infer():
    """``infer(name, *types, regions=(), **attributes)``: the result types of one op."""

    def run(name, /, *types, regions=(), **attributes):
        graph = Graph()
        values = [graph.add_input(t) for t in types]
        return [v.type for v in Builder(graph).emit(name, values, attributes, regions)]

    return run
