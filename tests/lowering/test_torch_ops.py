"""Every op in TorchScript gives what the NumPy meaning gives, on random shapes and types.

Scripting takes most of the time, so the quick test has few examples of each op; the long one has many.
"""

import numpy as np
import pytest
import torch
from closeness import assert_close
from hypothesis import HealthCheck, given, settings
from op_cases import CASES, ELSEWHERE
from op_draw import use

from lamina.frontend.export import torchscript
from lamina.frontend.export.torch_module import Owned, plain_module, quiet, to_input, to_numpy
from lamina.ir import OPS, Builder, Graph, Module, binary_region
from lamina.ir.errors import UnsupportedError
from lamina.ir.location import Location
from lamina.lowering.torch.library import HELPERS
from lamina.lowering.torch.source import RESERVED, RULES, UNSUPPORTED, write_source

QUICK, LONG = 4, 60


def check(case):
    graph, inputs = case
    assert_close(graph, inputs, torchscript.runner(Module({"main": graph}))(list(inputs)))


def sweep(name, examples):
    quiet_settings = settings(max_examples=examples, suppress_health_check=list(HealthCheck))
    quiet_settings(given(CASES[name])(check))()


@pytest.mark.parametrize("name", sorted(CASES))
def test_torchscript_agrees_with_the_meaning(name):
    sweep(name, QUICK)


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(CASES))
def test_torchscript_agrees_with_the_meaning_on_many_cases(name):
    sweep(name, LONG)


def test_no_op_without_a_form_or_a_reason():
    holes = [name for name, op in OPS.items() if name not in RULES and op.decompose is None]
    assert holes == []
    assert [name for name in (*RULES, *UNSUPPORTED) if name not in OPS] == []
    assert all(reason for reason in UNSUPPORTED.values())
    # What has neither a form nor a test here has a reason; `call` is inlined, and tested below.
    assert {name for name in ELSEWHERE if name not in UNSUPPORTED} == set()


@pytest.mark.parametrize("name", sorted(UNSUPPORTED.keys() - {"call"}))
def test_what_has_no_form_is_refused_by_op_layer_and_way_out(name):
    graph = Graph()
    x = graph.add_input(use("negate", np.zeros((4, 2), np.float32))[0].inputs[0].type, "x")
    builder = Builder(graph, location=Location(("block/dense",)))
    attributes, operands, regions = {}, [x], []
    match name:
        case "all_reduce" | "reduce_scatter":
            regions = [binary_region("add", "f32")]
            attributes = {"axis": 0} if name == "reduce_scatter" else {}
            attributes["groups"] = ((0, 1),)
        case "all_gather":
            attributes = {"axis": 0, "groups": ((0, 1),)}
        case "all_to_all":
            attributes = {"split_axis": 0, "concat_axis": 1, "split_count": 2, "groups": ((0, 1),)}
        case "collective_permute":
            attributes = {"pairs": ((0, 1), (1, 0))}
        case "partition_id":
            operands = []
        case "custom_call":
            attributes = {"target": "lapack", "results": (x.type,)}
    graph.outputs = list(builder.emit(name, operands, attributes, regions))
    with pytest.raises(UnsupportedError, match=rf"(?s){name} has no form in torch: .*block/dense") as raised:
        write_source(Module({"main": graph}))
    assert UNSUPPORTED[name] in str(raised.value)


def test_the_type_that_torch_lacks_is_refused():
    import ml_dtypes

    graph, _ = use("convert", np.ones(3, np.float32), dtype=ml_dtypes.float8_e4m3b11fnuz)
    with pytest.raises(UnsupportedError, match=r"float8_e4m3b11fnuz has no form in torch.*convert to float8_e4m3fnuz"):
        write_source(Module({"main": graph}))


@pytest.mark.parametrize("name", ["add", "reduce_window", "scatter", "while", "threefry_bits", "sort", "power", "fft"])
def test_the_source_is_python_too(name):
    @settings(max_examples=3, suppress_health_check=list(HealthCheck))
    @given(CASES[name])
    def run(case):
        graph, inputs = case
        owned = Owned(Module({"main": graph}))
        with torch.no_grad():
            outputs = owned.source.flatten(plain_module(owned)(*map(to_input, inputs)))
        assert_close(graph, inputs, [to_numpy(t, v.dtype) for t, v in zip(outputs, graph.outputs, strict=True)])

    run()


def test_every_helper_is_torchscript():
    with quiet():
        module = torch.jit.script(type("All", (torch.nn.Module,), {})())
        module.define("\n\n".join(HELPERS.values()) + "\n")
    assert all(hasattr(module, name) for name in HELPERS)


def test_the_names_that_scripted_modules_have_are_reserved():
    with quiet():
        taken = set(dir(torch.jit.script(type("Empty", (torch.nn.Module,), {})())))
    assert {name for name in taken if not name.startswith("_")} - RESERVED == set()


E4M3 = [464.0, 465.0, 500.0, -1e4, np.inf, 448.0, 1e-3, np.nan]


@pytest.mark.parametrize(
    ("op", "arrays", "attributes"),
    [
        ("convert", [np.float32(E4M3)], {"dtype": "f8e4m3fn"}),
        ("convert", [np.array([2**63 + 1025, 2**64 - 1, 3], np.uint64)], {"dtype": "f32"}),
        ("convert", [np.array([1e19, 2e19, -1.0, np.nan, 1.5])], {"dtype": "ui64"}),
        ("divide", [np.array([2**64 - 1, 2**63, 7], np.uint64), np.array([2**63, 3, 0], np.uint64)], {}),
        ("remainder", [np.array([2**64 - 1, 2**63, 7], np.uint64), np.array([2**63, 3, 0], np.uint64)], {}),
        ("power", [np.array([3, 2, 5], np.uint64), np.array([2**63, 2**63, 2**64 - 1], np.uint64)], {}),
        ("remainder", [np.array([1e300, -1e300, 5.0]), np.array([3e-300, 7e-100, np.inf])], {}),
        ("shift_right_logical", [np.array([-1, -(2**63), 5]), np.array([1, 63, 64])], {}),
        ("maximum", [np.float32([-0.0, 0.0, np.nan, 1]), np.float32([0.0, -0.0, 1, np.nan])], {}),
        ("divide", [np.int32([7, -7, -(2**31), 5]), np.int32([-2, 2, -1, 0])], {}),
        ("bitcast_convert", [np.int8([[0x12, 0x34, 0x56, 0x78]])], {"dtype": "i32"}),
        ("bitcast_convert", [np.uint8([0x12, 0xF4])], {"dtype": "i4"}),
    ],
)
def test_values_at_the_edges_of_types(op, arrays, attributes):
    check(use(op, *arrays, **attributes))
