"""lamina.verify: the wide reference, inputs, errors and bounds, where an error begins, reports."""

import json
import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from op_cases import CASES

import lamina
from lamina import Spec, keras, ops
from lamina.frontend.export import targets as export_targets
from lamina.frontend.export.parameters import parameter_arrays
from lamina.frontend.verify import OutputResult, Report, TargetResult, runners
from lamina.frontend.verify.compare import difference
from lamina.frontend.verify.inputs import random_inputs
from lamina.frontend.verify.reference import evaluate_wide, widen
from lamina.frontend.verify.runners import Runner
from lamina.ir.errors import ArgumentError, DTypeError, GuardError, ShapeError, UnsupportedError

HERE = ("numpy", "xla")


@pytest.fixture
def model():
    return small_model()


def small_model(seed=0):
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 2), name="image"),
            layers.Conv2D(3, 3, name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.Activation("gelu", name="gelu"),
            layers.Flatten(name="flat"),
            layers.Dropout(0.5, name="drop"),
            layers.Dense(4, activation="softmax", name="digit"),
        ],
        name="small",
    )


# The reference


def test_the_reference_is_the_graph_in_64_bits():
    def f(x):
        return ops.sum(ops.exp(x) * np.float32(0.1)), ops.cast(x, "float16"), ops.argmax(x), ops.fft((x, x))[0]

    module = lamina.trace(f, Spec((5,)))
    wide, _ = widen(module)
    lamina.ir.verify(wide)
    assert [v.dtype.name for v in wide.main.outputs] == ["float64", "float64", "int32", "float64"]
    x = np.random.default_rng(0).standard_normal(5).astype(np.float32)
    total, cast, place, transformed = evaluate_wide(module, [x], {}, module.main.outputs)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(total, np.sum(np.exp(exact) * np.float64(np.float32(0.1))), rtol=1e-15)
    np.testing.assert_array_equal(cast, exact)
    assert place == np.argmax(x)
    np.testing.assert_allclose(transformed, np.fft.fft(exact + 1j * exact).real, rtol=1e-14)


def test_loops_and_branches_are_widened_too():
    def f(x):
        last, all_ = ops.scan(lambda c, v: (c * 0.5 + ops.tanh(v), c), ops.zeros((2,)), x)
        chosen = ops.cond(ops.sum(x) > 0, lambda: last * 2.0, lambda: last)
        return all_, ops.while_loop(lambda v: ops.sum(v) < 5.0, lambda v: (v + 1.1,), (chosen,))[0]

    module = lamina.trace(f, Spec((6, 2)))
    wide, new = widen(module)
    lamina.ir.verify(wide)
    floats = {r.dtype.name for node in wide.walk() for r in node.results if r.dtype.kind == "f"}
    assert floats == {"float64"}
    assert {v.producer.op.name for v in new.values() if v.producer is not None} >= {"scan", "cond", "while"}


def test_ops_that_look_at_bits_run_in_their_own_type():
    def draw(x):
        return keras.random.uniform((4,), seed=7) + x

    module = lamina.trace(draw, Spec((4,)))
    assert "bitcast_convert" in {n.op.name for n in module.walk()}
    lamina.ir.verify(widen(module)[0])
    x = np.zeros(4, np.float32)
    (wide,) = evaluate_wide(module, [x], parameter_arrays(module), module.main.outputs)
    own = lamina.evaluate(module, x, parameters=parameter_arrays(module))[0][0]
    np.testing.assert_allclose(wide, own, rtol=1e-6)


@pytest.mark.parametrize("name", sorted(CASES))
def test_every_op_has_a_wide_form(name):
    @settings(max_examples=3)
    @given(CASES[name])
    def check(case):
        graph, inputs = case
        module = lamina.Module({"main": graph})
        wide, _ = widen(module)
        lamina.ir.verify(wide)
        assert not [v for v in wide.main.outputs if v.dtype.name in ("float16", "bfloat16", "float32", "complex64")]
        found = evaluate_wide(module, inputs, {}, graph.outputs)
        assert [a.shape for a in found] == [a.shape for a in lamina.evaluate(graph, *inputs)[0]]

    check()


# Inputs


def test_integers_are_below_what_they_index():
    def f(tokens, classes, flags, free, x):
        table = ops.reshape(ops.arange(21, dtype="float32"), (7, 3))
        return ops.take(table, tokens + 0, axis=0), ops.one_hot(classes, 5), flags, free, x[ops.clip(free, 0, 1)]

    specs = [Spec((400,), d) for d in ("int32", "uint8", "bool", "int64")] + [Spec((2,), "float32")]
    arrays = random_inputs(lamina.trace(f, *specs), {}, 0)
    assert [a.dtype.name for a in arrays] == ["int32", "uint8", "bool", "int64", "float32"]
    assert [set(a.tolist()) for a in arrays[:4]] == [set(range(7)), set(range(5)), {False, True}, {0, 1}]


def test_an_embedding_gets_tokens_of_its_vocabulary():
    tokens = keras.Input((50,), dtype="int32")
    model = keras.Model(tokens, keras.layers.Embedding(11, 2)(tokens))
    (drawn,) = random_inputs(lamina.trace(model), {"N": 20}, 3)
    assert drawn.shape == (20, 50) and set(drawn.ravel().tolist()) == set(range(11))


def test_random_inputs_are_of_the_seed_and_the_sizes(model):
    module = lamina.trace(model)
    first, again, other = (random_inputs(module, {}, seed)[0] for seed in (0, 0, 1))
    assert first.shape == (3, 8, 8, 2) and first.dtype == np.float32
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert random_inputs(module, {"N": 5}, 0)[0].shape == (5, 8, 8, 2)
    with pytest.raises(ArgumentError, match="no symbolic dimension 'M'; it has N"):
        random_inputs(module, {"M": 5}, 0)


def test_sizes_that_the_trace_does_not_allow_are_refused():
    module = lamina.trace(lambda x: ops.reshape(x, (-1, 2)) if x.shape[0] == 4 else x, Spec(("N",)))
    with pytest.raises(GuardError, match="N=4"):
        random_inputs(module, {"N": 4}, 0)


@pytest.mark.parametrize(
    ("inputs", "error", "said"),
    [
        (np.zeros((2, 8, 8, 2), np.complex64), DTypeError, "expected f32"),
        (np.zeros((2, 8, 9, 2), np.float32), ShapeError, "axis 2"),
        ((np.zeros(2), np.zeros(2)), ArgumentError, "image"),
    ],
)
def test_inputs_that_do_not_fit(model, inputs, error, said):
    with pytest.raises(error, match=said):
        lamina.verify(model, inputs, "numpy")


def test_specs_say_what_is_traced_and_inputs_what_it_runs_on(model):
    def f(x, y):
        return {"sum": x + y}

    specs = (Spec(("N", 4), name="left"), Spec((4,)))
    report = lamina.verify(f, targets="xla", specs=specs, dims={"N": 5})
    assert report.ok and report.inputs == {"left": "f32[5,4]", "y": "f32[4]"}
    arrays = (np.ones((2, 4), np.float32), np.ones(4, np.float32))
    report = lamina.verify(f, arrays, "xla", specs=specs)
    assert report.ok and report.inputs == {"left": "f32[2,4]", "y": "f32[4]"} and report.seed is None
    assert lamina.verify(model, targets="xla", specs=Spec((7, 8, 8, 2))).inputs == {"image": "f32[7,8,8,2]"}
    with pytest.raises(ArgumentError, match="inputs are Specs, and specs are given, too"):
        lamina.verify(f, specs, "xla", specs=specs)
    with pytest.raises(ArgumentError, match="is traced already and takes no specs"):
        lamina.verify(lamina.trace(f, *specs), targets="xla", specs=specs)


def test_integers_may_stand_for_floats(model):
    report = lamina.verify(model, np.ones((2, 8, 8, 2), np.int64), "numpy")
    assert report.ok and report.inputs == {"image": "f32[2,8,8,2]"} and report.seed is None


# Differences


def test_a_difference_is_absolute_relative_and_in_units_of_the_last_place():
    reference = np.array([1.0, -8.0, 0.0])
    eps = np.finfo(np.float32).eps
    found = difference(np.float32([1 + eps, -8, 0]), reference)
    assert found.absolute == eps and found.relative == eps / 8 and found.ulp == 1 and found.place == (0,)
    assert difference(np.float32([1, -8, 0]), reference).ulp == 0


@pytest.mark.parametrize(
    ("result", "reference", "expected"),
    [
        ([np.nan, np.inf], [np.nan, np.inf], 0),
        ([np.nan, 1], [1, 1], np.inf),
        ([np.inf, 1], [-np.inf, 1], np.inf),
        ([1, 1], [np.inf, 1], np.inf),
        ([0, 0], [0, 0], 0),
        ([1e-3, 0], [0, 0], np.inf),
        ([1], [1, 1], np.inf),
    ],
)
def test_numbers_that_have_no_error(result, reference, expected):
    assert difference(np.float32(result), np.float64(reference)).relative == expected


def test_integers_are_compared_exactly_and_narrow_floats_in_their_own_units():
    assert difference(np.int64([2**60 + 1]), np.int64([2**60])).absolute == 1
    assert difference(np.array([True]), np.array([False])).relative == np.inf
    assert difference(np.array([1.5], ml_dtypes.bfloat16), np.array([1.5 + 2**-8])).ulp == 0.5
    assert difference(np.complex64([1 + 1j]), np.complex128([1 + 2j])).absolute == 1
    assert difference(np.zeros((0, 3), np.float32), np.zeros((0, 3))).relative == 0


# Verifying


def test_a_model_by_what_is_always_there(model):
    report = lamina.verify(model, targets=HERE)
    assert report.ok and [t.target for t in report.targets] == [*HERE]
    assert report.model == "small" and report.inputs == {"image": "f32[3,8,8,2]"} and report.seed == 0
    for target in report.targets:
        (row,) = target.outputs
        assert row.output == "digit" and row.type == "f32[3,4]" and row.ok and not row.state
        assert 0 < row.relative <= row.bound == 1e-5 and row.absolute > 0 and row.ulp > 0
    assert report["numpy"].outputs[0].identical
    with pytest.raises(KeyError, match="numpy, xla were"):
        report["torchscript"]


def test_state_is_compared_and_left_as_it_was(model):
    before = [np.array(v) for v in model.variables]
    report = lamina.verify(model, targets=HERE, training=True)
    assert report.ok and report.static == {"training": "True"}
    for target in report.targets:
        states = {row.output for row in target.outputs if row.state}
        assert {name.split("/")[-1] for name in states} == {"moving_mean", "moving_variance", "seed_generator_state"}
        assert [row.output for row in target.outputs if not row.state] == ["digit"]
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(np.array(variable), value)


def test_dropout_of_a_fixed_seed_is_the_same_bit_for_bit():
    layer = keras.layers.Dropout(0.4, seed=3)
    report = lamina.verify(layer, Spec((None, 100)), HERE, training=True)
    assert report.ok
    assert all(row.identical for target in report.targets for row in target.outputs)


def test_what_may_be_verified(model, tmp_path):
    x = np.random.default_rng(0).standard_normal((2, 8, 8, 2)).astype(np.float32)
    model.save(tmp_path / "small.keras")
    compiled = lamina.compile(model)
    module = lamina.trace(model)
    for subject in (model, model.layers[-1], module, compiled, tmp_path / "small.keras", str(tmp_path / "small.keras")):
        inputs = np.ones((2, 108), np.float32) if subject is model.layers[-1] else x
        assert lamina.verify(subject, inputs, "xla").ok
    assert lamina.verify(lambda a, b: ops.matmul(a, b), (Spec(("N", 3)), Spec((3, "N"))), "xla").ok
    assert lamina.verify(lambda a, b: a - b, [x, x], "xla").ok
    assert lamina.verify(lamina.trace(lambda a: a * 2, Spec((3,))).main, targets="xla").ok
    with pytest.raises(ArgumentError, match="traced already and takes no training"):
        lamina.verify(module, targets="xla", training=True)
    with pytest.raises(DTypeError, match="received 3"):
        lamina.verify(3)
    with pytest.raises(ArgumentError, match="dims are sizes for random inputs"):
        lamina.verify(model, x, "xla", dims={"N": 3})


def test_inputs_in_the_model_s_structure():
    a, b = keras.Input((3,), name="left"), keras.Input((3,), name="right")
    model = keras.Model({"right": b, "left": a}, {"d": keras.layers.Subtract(name="d")([a, b])})
    given = {"right": np.ones((1, 3), np.float32), "left": np.zeros((1, 3), np.float32)}
    report = lamina.verify(model, given, HERE)
    assert report.ok and list(report.inputs) == ["left", "right"]
    assert lamina.verify(lamina.trace(model), given, HERE).ok


def test_narrow_types_have_wider_bounds():
    def bound(dtype):
        return lamina.verify(lambda x: ops.tanh(x), Spec((4,), dtype), "numpy").targets[0].outputs[0].bound

    assert [bound(d) for d in ("float64", "float32", "float16", "bfloat16")] == [1e-12, 1e-5, 2e-2, 1e-1]
    assert lamina.verify(lambda x: x + 1, Spec((4,), "int32"), "xla")["xla"].outputs[0].bound == 0


def test_names_of_targets():
    with pytest.raises(ArgumentError, match="'torchscrip' to verify by; did you mean 'torchscript'"):
        lamina.verify(lambda x: x, Spec((2,)), ("numpy", "torchscrip"))
    with pytest.raises(ArgumentError, match="nothing 'jx'"):
        lamina.verify(lambda x: x, Spec((2,)), "numpy", bounds={"jx": 1})


# Where an error begins


def wrong_at(op, factor=1.001, kind=None):
    """A runner that is wrong in nodes of one op, those in a layer whose name has ``kind``."""

    def make(module):
        from lamina.frontend.verify.cut import cut
        from lamina.ir import Builder

        planted = cut(module, module.main.outputs)
        for place, node in reversed(list(enumerate(planted.main.nodes))):
            if node.op.name == op and (kind is None or kind in node.location.layers):
                after = planted.main.nodes[place + 1 :]
                planted.main.nodes = planted.main.nodes[: place + 1]
                b = Builder(planted.main, location=node.location)
                wrong = b.multiply(node.result, b.full_like(node.result, factor))
                planted.main.nodes += after
                for user in after:
                    user.operands = [wrong if o is node.result else o for o in user.operands]
                planted.main.outputs = [wrong if o is node.result else o for o in planted.main.outputs]
        return lambda inputs: lamina.evaluate(planted, *inputs, parameters=parameter_arrays(planted))[0]

    return make


@pytest.mark.parametrize(
    ("op", "layer"),
    [("convolution", "conv"), ("batch_norm", "norm"), ("gelu", "gelu"), ("softmax", "digit"), ("dot_general", "digit")],
)
def test_an_error_in_one_layer_is_found(model, monkeypatch, op, layer):
    monkeypatch.setitem(runners.RUNNERS, "wrong", Runner("wrong", wrong_at(op)))
    report = lamina.verify(model, targets=("numpy", "wrong"))
    assert not report.ok and report["numpy"].ok
    failed = report["wrong"]
    assert failed.status == "failed" and failed.offender.op == op and failed.offender.layer == layer
    assert failed.offender.relative == pytest.approx(1e-3, rel=0.1)
    assert f"wrong: first differs at {op} in layer {layer}, f32[3" in str(report)
    assert str(report).endswith("outside the bounds or failed: wrong")


def test_an_error_deep_in_a_long_model_takes_few_runs(monkeypatch):
    model = keras.Sequential([keras.Input((4,)), *(keras.layers.Dense(4, "tanh", name=f"d{i}") for i in range(40))])
    made = []
    plant = wrong_at("tanh", kind="d29")
    monkeypatch.setitem(runners.RUNNERS, "wrong", Runner("wrong", lambda m: made.append(m) or plant(m)))
    assert lamina.verify(model, targets="wrong")["wrong"].offender.layer == "d29"
    assert len(made) <= 10


def test_an_error_in_a_state_only_is_found(model, monkeypatch):
    monkeypatch.setitem(runners.RUNNERS, "wrong", Runner("wrong", wrong_at("reduce_variance")))
    failed = lamina.verify(model, targets="wrong", training=True)["wrong"]
    assert failed.offender.layer == "norm" and failed.offender.op == "reduce_variance"


def test_what_a_target_raises_is_in_the_report(model, monkeypatch):
    def broken(module):
        raise RuntimeError("no such kernel")

    monkeypatch.setitem(runners.RUNNERS, "broken", Runner("broken", broken))
    report = lamina.verify(model, targets=("numpy", "broken"))
    assert not report.ok and report["broken"].status == "error" and report["numpy"].ok
    assert "broken: RuntimeError: no such kernel" in str(report)


def test_results_of_another_type_or_number_are_an_error(model, monkeypatch):
    monkeypatch.setitem(runners.RUNNERS, "wide", Runner("wide", lambda m: lambda x: [np.zeros((3, 4))]))
    monkeypatch.setitem(runners.RUNNERS, "none", Runner("none", lambda m: lambda x: []))
    report = lamina.verify(model, targets=("wide", "none"))
    assert "expected results of f32; received float64" in report["wide"].message
    assert report["none"].status == "error" and not report.ok


def test_what_can_t_be_expressed_is_said_and_raised_where_it_was_asked_for(model, monkeypatch):
    def refuse(module):
        raise UnsupportedError("the op gelu has no form in it (at gelu)")

    monkeypatch.setitem(runners.RUNNERS, "poor", Runner("poor", refuse))
    monkeypatch.setattr("lamina.frontend.verify.DEFAULT", ("numpy", "poor"))
    report = lamina.verify(model)
    assert report.ok and report["poor"].status == "unsupported" and "gelu" in report["poor"].message
    with pytest.raises(UnsupportedError, match="gelu"):
        lamina.verify(model, targets="poor")


def test_what_is_not_installed_is_said_and_raised_where_it_was_asked_for(model, monkeypatch):
    absent = export_targets.Target("absent", "nothing", package="no_such_package", extra="torch")
    monkeypatch.setitem(runners.RUNNERS, "absent", Runner("absent", target=absent))
    monkeypatch.setattr("lamina.frontend.verify.DEFAULT", ("numpy", "absent"))
    report = lamina.verify(model)
    assert report.ok and report["absent"].status == "not installed"
    assert "absent: not installed: pip install 'lamina[torch]'" in str(report)
    with pytest.raises(UnsupportedError, match=r"absent: not installed: pip install 'lamina\[torch\]'"):
        lamina.verify(model, targets=("numpy", "absent"))


# Reports


def test_bounds_are_the_user_s_where_given(model):
    assert not lamina.verify(model, targets=HERE, bounds=1e-12).ok
    report = lamina.verify(model, targets=HERE, bounds={"xla": 1e-12, "numpy": 1.0})
    assert report["numpy"].ok and not report["xla"].ok and report["xla"].offender is not None


def test_a_report_is_json_and_back(model, monkeypatch):
    monkeypatch.setitem(runners.RUNNERS, "wrong", Runner("wrong", wrong_at("gelu", np.inf)))
    report = lamina.verify(model, targets=("numpy", "wrong"), training=True)
    data = json.loads(report.json())
    assert data["ok"] is False and data["targets"][1]["offender"]["layer"] == "gelu"
    assert data["targets"][1]["outputs"][0]["relative"] == "inf"
    back = Report.from_json(report.json())
    assert back == report and math.isinf(back["wrong"].relative)


def test_a_table_has_the_outputs_and_the_worst_state():
    rows = tuple(OutputResult(f"s{i}", "f32[2]", 0.0, i * 1e-6, 0.0, 1e-5, True, state=i > 0) for i in range(4))
    report = Report("m", {"x": "f32[2]"}, 0, (TargetResult("numpy", "passed", rows),))
    text = str(report)
    assert "s0" in text and "s3 (worst of 3 states)" in text and "s2" not in text
    assert text.splitlines()[0] == "m(x: f32[2]), random inputs of seed 0"
    assert report.table().row_count == 2
    assert text.splitlines()[-1] == "1 within the bounds"


def test_no_targets_compare_nothing(model):
    with pytest.raises(ArgumentError, match="nothing would be compared"):
        lamina.verify(model, targets=())
