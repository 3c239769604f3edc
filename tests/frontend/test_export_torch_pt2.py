"""pt2 files: programs of torch.export with open dimensions, from the source that TorchScript has too."""

import io
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import lamina
from lamina import Spec, keras, ops
from lamina.frontend.export import pt2
from lamina.frontend.export.torch_module import Owned, plain_module
from lamina.ir.errors import UnsupportedError

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from models import MODELS, inputs, weights_of

RELATIVE = 1e-5  # as for TorchScript, whose ops these are


def near(actual, expected):
    return np.abs(actual - expected).max() <= RELATIVE * np.abs(expected).max()


QUICK = ("mlp",)


@pytest.mark.parametrize("name", QUICK)
def test_models_of_the_suite_at_two_sizes(name):
    model = MODELS[name].build(keras)
    model.set_weights(weights_of(model))
    run = pt2.runner(lamina.trace(model))
    x = inputs(name, 5)
    expected = np.asarray(model(x))
    for batch in (2, 5):  # an example's result does not depend on the others
        assert near(run([x[:batch]])[0], expected[:batch])


@pytest.mark.long
@pytest.mark.parametrize("name", [n for n in MODELS if n not in QUICK])
def test_other_models_of_the_suite(name):
    test_models_of_the_suite_at_two_sizes(name)


def small():
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(8, activation="gelu"), keras.layers.BatchNormalization()], name="small"
    )
    model.set_weights(weights_of(model))
    return model


@pytest.mark.parametrize("weights", ["parameters", "constants"])
def test_a_file_is_loaded_by_torch(tmp_path, weights):
    model, x = small(), np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pt2.save(lamina.trace(model), tmp_path / "small.pt2", weights=weights)
    assert not [str(w.message) for w in caught]
    with open(tmp_path / "small.pt2", "rb") as file:
        program = torch.export.load(io.BytesIO(file.read()))
    names = {v.path.replace("/", ".") for v in model.weights} if weights == "parameters" else set()
    assert set(program.state_dict) == names
    with torch.no_grad():
        assert near(program.module()(torch.from_numpy(x)).numpy(), np.asarray(model(x)))


def test_state_is_written():
    model, x = small(), np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    program = pt2.build(lamina.trace(model, training=True)).module()
    before = model.layers[-1].moving_mean.numpy()
    program(torch.from_numpy(x))
    (after,) = [v for k, v in program.state_dict().items() if k.endswith("moving_mean")]
    model(x, training=True)
    assert not np.allclose(after.numpy(), before)
    assert near(after.numpy(), model.layers[-1].moving_mean.numpy())


@pytest.mark.parametrize("sizes", [(3, 5), (7, 2)])
def test_several_open_dimensions(sizes):
    n, t = sizes
    module = lamina.trace(
        lambda x, y: (ops.cumsum(x, axis=1) * ops.shape(x)[0], ops.concatenate([x, y], axis=1), ops.mean(y, axis=0)),
        Spec(("N", "T")),
        Spec(("N", "2*T")),
    )
    draw = np.random.default_rng(0)
    arrays = [draw.standard_normal(shape).astype(np.float32) for shape in ((n, t), (n, 2 * t))]
    for result, want in zip(pt2.runner(module)(arrays), lamina.evaluate(module, *arrays)[0], strict=True):
        np.testing.assert_allclose(result, want, rtol=1e-5, atol=1e-6)


def test_loops_over_slices_are_followed():
    def f(x):
        return ops.scan(lambda carry, row: (carry * 0.5 + row, carry), ops.zeros((3,)), x)

    module, x = lamina.trace(f, Spec((4, 3))), np.arange(12, dtype=np.float32).reshape(4, 3)
    for result, want in zip(pt2.runner(module)([x]), lamina.evaluate(module, x)[0], strict=True):
        np.testing.assert_array_equal(result, want)


def test_what_goes_by_values_is_refused(tmp_path):
    def f(x):
        return ops.while_loop(lambda x: ops.sum(x) < 10, lambda x: (x * 2,), (x,))

    with pytest.raises(UnsupportedError, match=r"while has no form in torch.export.*export to torchscript"):
        pt2.save(lamina.trace(f, Spec((3,))), tmp_path / "loop.pt2")
    assert not list(tmp_path.iterdir())


def test_a_loop_of_open_length_is_refused():

    class Smooth(keras.layers.Layer):
        def call(self, x):
            return ops.scan(lambda carry, row: (carry * 0.5 + row, carry), ops.zeros((3,)), x)[1]

    model = Smooth(name="smooth")
    with pytest.raises(UnsupportedError, match=r"scan has no form.*its length is open; .*'T': 32.*\(at smooth"):
        pt2.build(lamina.trace(model, Spec(("T", 3))))
    recurrent = keras.Sequential([keras.Input((None, 3)), keras.layers.LSTM(2)])
    with pytest.raises(UnsupportedError, match=r"its length is open; .*'D1': 32.*\(at lstm"):
        pt2.build(lamina.trace(recurrent))


def test_the_layer_that_an_error_comes_from():
    owned = Owned(lamina.trace(small()))
    with pytest.raises(RuntimeError) as raised:
        plain_module(owned)(torch.zeros(2, 5))
    assert owned.where(raised.value).startswith(" at dense")


AFTER_TENSORFLOW = """
import warnings
import tensorflow
import torch
warnings.simplefilter("error")
import lamina
from lamina import keras
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
print(type(lamina.export(model, target="pt2")).__name__)
"""


@pytest.mark.long
def test_in_a_process_with_tensorflow():
    """Where torch finds no GPU it warns, and Triton crashes."""
    done = subprocess.run([sys.executable, "-c", AFTER_TENSORFLOW], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "ExportedProgram", done.stderr
