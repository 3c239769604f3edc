"""Whole models leave for every target and compute there what they mean: the eight of the benchmarks and the digits.

Inference and a training-mode call with dropout and statistics. The quick tests take three models; the others are long.
"""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lamina
from lamina import keras
from lamina.frontend.verify.runners import RUNNERS

_spec = importlib.util.spec_from_file_location("models", Path(__file__).parents[1] / "benchmarks" / "models.py")
suite = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(suite)

DIGITS = Path(lamina.__file__).parent / "frontend" / "data" / "digits.keras"
NAMES = (*suite.MODELS, "digits")
QUICK = ("mlp", "tcn", "digits")
#: What shares its source with another target: quick for one model.
FURTHER = ("pt2", "saved_model", "tflite_float16", "tflite_int8")


def is_quick(name, target):
    return name == "digits" if target in FURTHER else name in QUICK


CASES = [
    pytest.param(n, t, id=f"{n}-{t}", marks=[] if is_quick(n, t) else pytest.mark.long) for n in NAMES for t in RUNNERS
]
_built = {}


def model_of(name):
    """A model with weights of a fixed seed, built once."""
    if name not in _built:
        if name == "digits":
            _built[name] = lamina.load(DIGITS)
        else:
            _built[name] = suite.MODELS[name].build(keras)
            _built[name].set_weights(suite.weights_of(_built[name]))
    return _built[name]


@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
@pytest.mark.parametrize(("name", "target"), CASES)
def test_a_model_computes_by_a_target_what_it_means(name, target, training):
    model = model_of(name)
    before = [np.array(v) for v in model.variables]
    report = lamina.verify(model, targets=target, dims={"N": 2}, training=training)
    assert report.ok, str(report)
    result = report[target]
    assert all(row.identical for row in result.outputs if "seed_generator_state" in row.output)
    if training:
        assert any(row.state for row in result.outputs) == bool(lamina.trace(model, training=True).main.updates)
    assert all(np.array_equal(np.array(v), b) for v, b in zip(model.variables, before, strict=True))


# A narrow file holds 1 / (1 - rate) in 16 bits, so that what is kept is rounded.
@pytest.mark.parametrize("target", [name for name, runner in RUNNERS.items() if not runner.bound])
def test_dropout_is_the_same_bit_for_bit(target):
    layer = keras.layers.Dropout(0.3, seed=11)
    report = lamina.verify(layer, lamina.Spec((None, 33)), target, dims={"N": 7}, training=True)
    assert report.ok and all(row.identical for row in report[target].outputs), str(report)


def test_a_training_call_has_its_derivative_in_torch():
    """Through statistics of the batch, which torch's own batch norm would take for constants."""
    import torch

    model = model_of("mlp")
    x = suite.inputs("mlp", 4)
    weights = np.linspace(-1, 1, 40, dtype=np.float32).reshape(4, 10)
    scripted = lamina.export(model, target="torchscript", training=True)
    (scripted(torch.from_numpy(x)) * torch.from_numpy(weights)).sum().backward()
    theirs = dict(scripted.named_parameters())

    def loss(trainable):
        y, _ = model.stateless_call(trainable, [v.value for v in model.non_trainable_variables], x, training=True)
        return lamina.ops.sum(y * weights)

    ours = lamina.grad(loss)([v.value for v in model.trainable_variables])
    assert len(theirs) == len(ours)
    scale = max(float(np.abs(np.asarray(g)).max()) for g in ours)
    for variable, gradient in zip(model.trainable_variables, ours, strict=True):
        found = theirs[variable.path.replace("/", ".")].grad.numpy()
        np.testing.assert_allclose(found, np.asarray(gradient), rtol=0, atol=1e-5 * scale)  # float32 sums


@pytest.mark.long
def test_torch_export_after_tensorflow_does_not_end_the_process():
    """Where Triton is installed, importing it after TensorFlow would."""
    lines = (
        "import tensorflow, lamina",
        "report = lamina.verify(lamina.ops.tanh, lamina.Spec((None,)), ('tf_function', 'pt2'))",
        "print(report.ok)",
    )
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.split() == ["True"], done.stderr
