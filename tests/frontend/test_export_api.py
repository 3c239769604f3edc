"""lamina.export: which target, which options are whose, what is refused before anything is written."""

import os
import types
from pathlib import Path

import numpy as np
import pytest

import lamina
from lamina import Spec, keras, ops
from lamina.frontend.export import targets
from lamina.frontend.export.targets import TARGETS, Target, find_target, target_of_path
from lamina.ir import Builder, Location, TensorType
from lamina.ir.errors import ArgumentError, DTypeError, UnsupportedError


@pytest.fixture
def plain(monkeypatch):
    """A target that writes the graph's text, and the calls of its ``save``."""
    calls = []

    def save(module, path, *, upper=False, fail=False):
        calls.append(module)
        if fail:
            raise UnsupportedError("the op tanh has no form in plain (at dense)")
        text = str(module)
        path.write_text(text.upper() if upper else text)

    def build(module, *, upper=False):
        return lambda: str(module).upper() if upper else str(module)

    module = types.SimpleNamespace(save=save, build=build)
    monkeypatch.setitem(TARGETS, "plain", Target("plain", "text", (".plain",)))
    imported = targets.importlib.import_module
    monkeypatch.setattr(
        targets.importlib,
        "import_module",
        lambda name, package=None: module if name == ".plain" else imported(name, package),
    )
    return calls


@pytest.fixture
def model():
    layers = keras.layers
    return keras.Sequential([keras.Input((3,)), layers.Dropout(0.5), layers.Dense(2, "tanh", name="dense")], name="m")


# Targets


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a/model.pt", "torchscript"),
        ("model.PT", "torchscript"),
        ("model.pt2", "pt2"),
        ("model.tflite", "tflite"),
        ("model.mlir", "stablehlo"),
        ("model.mlirbc", "stablehlo"),
        ("model.lamina", "lamina"),
        ("a/folder", "saved_model"),
    ],
)
def test_the_ending_says_the_target(path, name):
    assert target_of_path(Path(path)).name == name


def test_an_ending_that_says_nothing():
    with pytest.raises(ArgumentError, match=r"'model.onnx': the ending '.onnx' says no target.*\.pt: torchscript"):
        lamina.export(lambda x: x, "model.onnx")


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("torchscrip", "torchscript"),
        ("TorchScript", "torchscript"),
        ("saved-model", "saved_model"),
        ("tf_lite", "tflite"),
    ],
)
def test_a_wrong_name_suggests_the_nearest(name, near):
    with pytest.raises(ArgumentError, match=f"no target '{name}'; did you mean '{near}'"):
        find_target(name)


def test_a_name_near_to_none_lists_all():
    with pytest.raises(ArgumentError, match=r"no target 'onnx'\. There are: torchscript, pt2, tf_function"):
        find_target("onnx")


def test_a_target_that_is_not_installed(model, monkeypatch, tmp_path):
    absent = Target("absent", "nothing", (".absent",), package="no_such_package", extra="tensorflow")
    monkeypatch.setitem(TARGETS, "absent", absent)
    with pytest.raises(UnsupportedError, match=r"no_such_package, which is not installed: pip install 'lamina\[tens"):
        lamina.export(model, tmp_path / "m.absent")
    assert os.listdir(tmp_path) == []


def test_every_target_is_there():
    for target in TARGETS.values():
        if target.missing is None:
            assert callable(target.function("runner"))
            assert callable(target.function("save" if target.suffixes else "build"))


# What may be exported


def test_what_may_be_exported(model, plain, tmp_path):
    model.save(tmp_path / "m.keras")
    module = lamina.trace(model)
    path = tmp_path / "m.plain"
    for subject in (model, module, lamina.compile(model), tmp_path / "m.keras", str(tmp_path / "m.keras")):
        assert lamina.export(subject, path) == path
        assert path.read_text() == str(plain[-1]) and "dense/kernel: f32[3,2]" in path.read_text()
        path.unlink()
    lamina.export(model.layers[-1], str(path), specs=Spec((None, 3)))
    assert "f32[N,3]" in path.read_text()
    lamina.export(lambda a, b: ops.add(a, b), path, specs=(Spec(("N",)), np.zeros(1, np.float32)))
    assert "(%a: f32[N], %b: f32[1])" in path.read_text()
    lamina.export(lamina.trace(ops.tanh, Spec((2,))).main, path)
    assert "tanh" in path.read_text()
    with pytest.raises(DTypeError, match=r"expected a function, layer, model, module.*received 3"):
        lamina.export(3, path)
    with pytest.raises(ArgumentError, match="traced already and takes no specs"):
        lamina.export(module, path, specs=Spec((2, 3)))


def test_dims_are_fixed_and_others_stay_open(plain, tmp_path):
    path = tmp_path / "f.plain"
    lamina.export(ops.tanh, path, specs=Spec(("N", "T")), dims={"T": 5})
    assert "f32[N,5]" in path.read_text()
    with pytest.raises(ArgumentError, match="no symbolic dimension 'M'; it has N, T"):
        lamina.export(ops.tanh, path, specs=Spec(("N", "T")), dims={"M": 5})


def test_options_are_the_target_s_and_others_reach_what_is_traced(model, plain, tmp_path):
    path = tmp_path / "m.plain"
    lamina.export(model, path, upper=True, training=True)
    assert "DROPOUT" in path.read_text()
    lamina.export(model, path, training=False)
    assert "dropout" not in path.read_text()
    lamina.export(lambda x, times: x * times, path, specs=Spec((2,)), times=3)
    assert "constant" in path.read_text()
    lamina.export(tmp_path_model(model, tmp_path), path, training=True)
    assert "dropout" in path.read_text()


def tmp_path_model(model, folder):
    model.save(folder / "m.keras")
    return folder / "m.keras"


@pytest.mark.parametrize("subject", ["model", "module", "function"])
def test_an_option_that_nobody_takes(model, plain, tmp_path, subject):
    chosen = {"model": model, "module": lamina.trace(model), "function": lambda x: x}[subject]
    with pytest.raises(ArgumentError, match=r"plain has no option 'uper'; did you mean 'upper'\? It has: fail, upper"):
        lamina.export(chosen, tmp_path / "m.plain", uper=True)
    with pytest.raises(ArgumentError, match=r"no option 'quality'\. It has: fail, upper"):
        lamina.export(chosen, tmp_path / "m.plain", quality=1)
    assert os.listdir(tmp_path) == []


def test_what_is_returned_takes_no_path(model, plain, monkeypatch):
    assert "func @main" in lamina.export(model, target="plain")()
    assert "FUNC @MAIN" in lamina.export(model, target="plain", upper=True)()
    with pytest.raises(ArgumentError, match="give a path, or a target such as 'tf_function'"):
        lamina.export(model)
    with pytest.raises(ArgumentError, match=r"tflite is written to a path, such as 'model\.tflite'; received None"):
        lamina.export(model, target="tflite")
    monkeypatch.setitem(TARGETS, "plain", Target("plain", "text", ()))
    with pytest.raises(ArgumentError, match=r"plain is returned, not written; received the path 'x\.plain'"):
        lamina.export(model, "x.plain", target="plain")


# Files


def test_what_was_there_stays_where_the_target_fails(model, plain, tmp_path):
    path = tmp_path / "m.plain"
    path.write_text("before")
    with pytest.raises(UnsupportedError, match="tanh"):
        lamina.export(model, path, fail=True)
    assert path.read_text() == "before" and os.listdir(tmp_path) == ["m.plain"]


def test_a_place_that_can_t_be_written_is_said_before_the_work(model, plain, tmp_path, monkeypatch):
    with pytest.raises(ArgumentError, match="there is no folder"):
        lamina.export(model, tmp_path / "nowhere" / "m.plain")
    (tmp_path / "folder.plain").mkdir()
    with pytest.raises(ArgumentError, match="is a folder"):
        lamina.export(model, tmp_path / "folder.plain")
    (tmp_path / "file").write_text("")
    with pytest.raises(ArgumentError, match="is a file"):
        lamina.export(model, tmp_path / "file", target="saved_model")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(ArgumentError, match="read-only"):
        lamina.export(model, tmp_path / "m.plain")
    assert plain == []


WRITTEN = [name for name, target in TARGETS.items() if target.suffixes]


@pytest.mark.parametrize("name", WRITTEN)
def test_a_file_appears_whole_and_replaces_what_was_there(model, name, tmp_path):
    path = tmp_path / f"m{TARGETS[name].suffixes[0]}"
    for _ in range(2):
        assert lamina.export(model, path) == path
        assert os.listdir(tmp_path) == [path.name]
    assert (path.is_dir() and os.listdir(path)) if TARGETS[name].is_folder else path.stat().st_size > 0


@pytest.mark.parametrize("name", [n for n in WRITTEN if n not in ("stablehlo", "lamina")])
def test_an_op_without_a_form_leaves_what_was_there(name, tmp_path):
    graph = lamina.Graph()
    x = graph.add_input(TensorType("f32", (2,)), "x")
    with (b := Builder(graph)).at(Location(("mystery",))):
        graph.outputs = [b.custom_call(x, target="magic", results=(x.type,))]
    path = tmp_path / f"m{TARGETS[name].suffixes[0]}"
    with pytest.raises(UnsupportedError, match=r"custom_call.*mystery"):
        lamina.export(graph, path)
    assert os.listdir(tmp_path) == []
    lamina.export(ops.tanh, path, specs=Spec((2,)))
    before = {p: p.read_bytes() for p in [path, *path.rglob("*")] if p.is_file()}
    with pytest.raises(UnsupportedError, match="custom_call"):
        lamina.export(graph, path)
    assert {p: p.read_bytes() for p in [path, *path.rglob("*")] if p.is_file()} == before and before
