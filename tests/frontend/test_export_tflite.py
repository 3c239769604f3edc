"""TensorFlow Lite files: the models of the suite by its interpreter, quantized and not, and what it lacks."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

import lamina
from lamina import Spec, keras, ops
from lamina.frontend.export import tflite
from lamina.ir.errors import ArgumentError, UnsupportedError

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from models import MODELS, inputs, weights_of

#: Relative to the largest output. Weights as float16 have 11 bits; as int8 of one scale for each channel 8, and so
#: have activations: some layers of that.
BOUNDS = {None: 1e-5, "float16": 1e-2, "int8": 0.15}


def suite_model(name):
    model = MODELS[name].build(keras)
    model.set_weights(weights_of(model))
    return model


def check(name, quantize):
    model = suite_model(name)
    run = tflite.runner(lamina.trace(model), quantize=quantize)
    for batch in (1, 3):
        x = inputs(name, batch)
        expected = np.asarray(model(x))
        (y,) = run([x])
        assert y.shape == expected.shape
        assert np.abs(y - expected).max() <= BOUNDS[quantize] * np.abs(expected).max()


@pytest.mark.parametrize("name, quantize", [("mlp", "int8"), ("mlp", "float16"), ("lstm", None)])
def test_some_models_of_the_suite(name, quantize):
    check(name, quantize)


@pytest.mark.long
@pytest.mark.parametrize("quantize", BOUNDS)
@pytest.mark.parametrize("name", MODELS)
def test_models_of_the_suite(name, quantize):
    check(name, quantize)


@pytest.mark.long
@pytest.mark.parametrize("name", ["transformer", "mobilenet_block"])
def test_training_mode_drops_the_same(name):
    module = lamina.trace(suite_model(name), training=True)
    x = inputs(name, 3)
    expected = lamina.evaluate(module, x, parameters={p.name: p.key.numpy() for p in module.main.parameters})[0][0]
    (y,) = tflite.runner(module)([x])
    assert np.abs(y - expected).max() <= BOUNDS[None] * np.abs(expected).max()


def test_dropout_drops_the_same():
    image = keras.Input((64,))
    model = keras.Model(image, keras.layers.Dropout(0.5)(image))
    module = lamina.trace(model, training=True)
    x = np.ones((3, 64), np.float32)
    expected = lamina.evaluate(module, x, parameters={p.name: p.key.numpy() for p in module.main.parameters})[0][0]
    assert 0 < (expected == 0).sum() < expected.size
    np.testing.assert_array_equal(tflite.runner(module)([x])[0], expected)


def test_weights_take_a_half_and_a_quarter(tmp_path):
    model = suite_model("mlp")
    sizes = {}
    for quantize in BOUNDS:
        path = lamina.export(model, tmp_path / f"{quantize}.tflite", quantize=quantize)
        sizes[quantize] = path.stat().st_size
    assert 0.45 < sizes["float16"] / sizes[None] < 0.55
    assert 0.2 < sizes["int8"] / sizes[None] < 0.3
    interpreter = tflite.make_interpreter((tmp_path / "None.tflite").read_bytes())
    assert interpreter.get_signature_list() == {
        "serving_default": {"inputs": [model.inputs[0].name], "outputs": list(model.output_names)}
    }


def test_a_loop_over_an_open_batch_needs_no_more_than_the_builtins():
    def f(x):
        return ops.scan(lambda carry, row: (carry + row, carry * row), x[0], x)[1]

    module = lamina.trace(f, Spec((5, None), name="x"))
    run = tflite.runner(module)
    for size in (1, 4):
        x = np.random.default_rng(size).normal(size=(5, size)).astype(np.float32)
        np.testing.assert_allclose(run([x])[0], lamina.evaluate(module, x)[0][0], rtol=1e-6, atol=1e-6)


def test_what_the_runtime_lacks_is_named_with_the_way_out(tmp_path):
    def f(x):
        return ops.cholesky(x)

    with pytest.raises(UnsupportedError, match=r"no kernels for Cholesky.*select_ops=True"):
        lamina.export(f, tmp_path / "model.tflite", specs=Spec((3, 3)))
    assert list(tmp_path.iterdir()) == []
    path = lamina.export(f, tmp_path / "model.tflite", specs=Spec((3, 3)), select_ops=True)
    assert path.stat().st_size > 0


def test_the_converter_is_quiet_and_what_it_says_of_a_failure_is_kept(tmp_path, capfd, monkeypatch):
    path = tmp_path / "m.tflite"
    lamina.export(lambda x: x + 1, path, specs=Spec((3,)))
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"
    with pytest.raises(UnsupportedError):
        lamina.export(ops.erf, path, specs=Spec((3,)))
    assert capfd.readouterr().err == ""
    monkeypatch.setattr(tflite, "_lacking", lambda message: None)  # as of a failure of another kind
    with pytest.raises(Exception, match=r"tf\.Erf") as failure:
        lamina.export(ops.erf, path, specs=Spec((3,)))
    (note,) = failure.value.__notes__
    assert note.startswith("TensorFlow Lite's converter said:") and "TF Select ops: Erf" in note
    assert capfd.readouterr().err == ""


def test_a_wrong_option_is_refused(tmp_path):
    with pytest.raises(ArgumentError, match="expected quantize None, 'float16' or 'int8'; received 'int4'"):
        lamina.export(lambda x: -x, tmp_path / "model.tflite", specs=Spec((3,)), quantize="int4")
