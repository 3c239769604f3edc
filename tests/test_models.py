"""Whole models, end to end: built unchanged on real Keras and here, one symbolic trace, every level, every stage.

The models are those that the benchmarks time. The quick tests take each once; every level at every batch size, training
and every stage of every model are long.
"""

import importlib.util
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest import mock

import jax
import keras as real
import numpy as np
import pytest
from model_pairs import config_of, start

import lamina
from lamina import ir
from lamina.passes import run_target

_spec = importlib.util.spec_from_file_location("models", Path(__file__).parents[1] / "benchmarks" / "models.py")
suite = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(suite)

NAMES = list(suite.MODELS)
LEVELS = ("O0", "O1", "O2", "O3")
BATCHES = (1, 7, 32)


def quick_for(*names):
    """All models, those not among ``names`` in the long sweep."""
    return [name if name in names else pytest.param(name, marks=pytest.mark.long) for name in NAMES]


def zeros(initializer, shape, dtype=None, **_):
    return jax.device_put(np.zeros(shape, dtype or "float32"))


@contextmanager
def initialized_by_zeros():
    """Random initializers would have XLA compile a program for each shape, for weights that others replace at once."""
    with ExitStack() as patches:
        for module in (real.initializers, lamina.keras.initializers):
            for name in ("VarianceScaling", "RandomUniform", "Orthogonal"):
                patches.enter_context(mock.patch.object(getattr(module, name), "__call__", zeros))
        yield


class Pair:
    """A model on real Keras and here with equal weights, an input of 32, and what real Keras makes of it."""

    def __init__(self, name):
        start()
        with initialized_by_zeros():
            self.ours, self.theirs = suite.pair(name)
        self.x = suite.inputs(name, max(BATCHES))
        infer, weights = suite.keras_inference(self.theirs)
        self.expected = np.asarray(jax.jit(infer)(*weights, self.x))


PAIRS = {}


@pytest.fixture(scope="module")
def pair(request):
    """Made once for each model and left as it was found by every test."""
    if request.param not in PAIRS:
        PAIRS[request.param] = Pair(request.param)
    return PAIRS[request.param]


def each_model(*quick):
    return pytest.mark.parametrize("pair", quick_for(*quick or NAMES), indirect=True)


def relative(a, b):
    return np.abs(np.asarray(a) - np.asarray(b)).max() / np.abs(np.asarray(b)).max()


def assert_equal_at(compiled, pair, batches):
    """Inference takes each example by itself, so that the expected outputs of a batch are the first of those of 32."""
    for n in batches:
        # float32 sums in another order than Keras's: 1e-5 relative to the largest output.
        assert relative(compiled(pair.x[:n]), pair.expected[:n]) < 1e-5


@each_model()
def test_weights_and_config_equal_those_of_keras(pair):
    assert [w.path for w in pair.ours.weights] == [w.path for w in pair.theirs.weights]
    assert [tuple(w.shape) for w in pair.ours.weights] == [tuple(w.shape) for w in pair.theirs.weights]
    assert [w.trainable for w in pair.ours.weights] == [w.trainable for w in pair.theirs.weights]
    assert pair.ours.count_params() == pair.theirs.count_params()
    assert config_of(pair.ours) == config_of(pair.theirs)


@each_model()
def test_summary_equals_that_of_keras(pair):
    lines = {}
    for model in (pair.ours, pair.theirs):
        said = lines[id(model)] = []
        model.summary(print_fn=said.append, line_length=120)
    assert lines[id(pair.ours)] == lines[id(pair.theirs)]


@pytest.mark.parametrize("name", NAMES)
def test_inputs_and_weights_suit_the_model(name):
    with initialized_by_zeros():
        model = suite.MODELS[name].build(lamina.keras)
    x = suite.inputs(name, 3)
    (input_,) = model.inputs
    assert x.shape == (3, *input_.shape[1:]) and x.dtype == np.dtype(input_.dtype)
    fresh, drawn = model.get_weights(), suite.weights_of(model)
    assert [(w.shape, w.dtype) for w in drawn] == [(w.shape, w.dtype) for w in fresh]
    assert all(np.ptp(w) > 0 for w in drawn if w.size > 1), "a weight of equal numbers hides that one is left out"


@each_model()
def test_one_trace_gives_keras_outputs_at_every_batch_size(pair):
    compiled = lamina.compile(pair.ours)
    assert_equal_at(compiled, pair, BATCHES)
    assert compiled(pair.x[:0]).shape == (0, *pair.expected.shape[1:])
    assert len(compiled._programs) == 1


@pytest.mark.long
@pytest.mark.parametrize("level", LEVELS)
@each_model()
def test_every_level_gives_keras_outputs_at_every_batch_size(pair, level):
    compiled = lamina.compile(pair.ours, pipeline=level, verify=True)
    assert_equal_at(compiled, pair, BATCHES)
    assert len(compiled._programs) == 1


@pytest.mark.parametrize("level", ["O0", "O1", "O3"])
@each_model("mlp", "gru_bidirectional", "transformer")
def test_every_level_gives_keras_outputs(pair, level):
    assert_equal_at(lamina.compile(pair.ours, pipeline=level, verify=True), pair, [7])


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Writes a pair's model with real Keras, and gives the file."""
    folder = tmp_path_factory.mktemp("written_by_keras")

    def write(pair):
        path = folder / f"{pair.theirs.name}_{id(pair)}.keras"
        if not path.exists():
            pair.theirs.save(path)
        return path

    return write


@each_model()
def test_a_file_that_keras_wrote_gives_its_outputs(pair, written):
    with initialized_by_zeros():
        model = lamina.keras.models.load_model(written(pair))
    assert config_of(model) == config_of(pair.theirs)
    assert_equal_at(lamina.compile(model), pair, [7])


@pytest.mark.long
@pytest.mark.parametrize("level", LEVELS)
@each_model()
def test_a_file_that_keras_wrote_gives_its_outputs_at_every_level_and_batch_size(pair, written, level):
    with initialized_by_zeros():
        model = lamina.keras.models.load_model(written(pair))
    compiled = lamina.compile(model, pipeline=level)
    assert_equal_at(compiled, pair, BATCHES)
    assert len(compiled._programs) == 1


@each_model("mlp")
def test_keras_reads_the_file_written_here(pair, tmp_path):
    pair.ours.save(tmp_path / "model.keras")
    model = real.models.load_model(tmp_path / "model.keras")
    assert relative(model(pair.x[:7]), pair.expected[:7]) < 1e-5


def dropouts_of(model):
    """Every dropout layer, those within other layers included: dropout is random, and so left out by its rate."""
    return [layer for layer in model._flatten_layers() if type(layer).__name__ == "Dropout"]


@each_model("mlp", "resnet_block")
def test_training_outputs_and_updates_equal_keras(pair):
    """Batch norms in training."""
    before = pair.ours.get_weights()
    rates = [(layer, layer.rate) for model in (pair.ours, pair.theirs) for layer in dropouts_of(model)]
    try:
        for layer, _ in rates:
            layer.rate = 0.0
        compiled = lamina.compile(pair.ours, training=True)
        expected = pair.theirs(pair.x[:8], training=True)
        assert relative(compiled(pair.x[:8]), expected) < 1e-5
        for mine, real_weight, old in zip(pair.ours.weights, pair.theirs.weights, before, strict=True):
            np.testing.assert_allclose(mine.numpy(), np.asarray(real_weight), rtol=1e-5, atol=1e-6)
            if mine.name == "moving_mean":
                assert np.abs(mine.numpy() - old).max() > 0
    finally:
        for layer, rate in rates:
            layer.rate = rate
        pair.ours.set_weights(before)
        pair.theirs.set_weights(before)


def stages(compiled, **dims):
    yield "traced", compiled.graph
    yield "optimized", compiled.optimized
    yield "specialized", compiled.specialized(**dims)
    yield "decomposed", run_target(compiled.graph, "cpu")[0]
    for record in compiled.records:
        yield f"after {record.name}", record.after


@pytest.mark.parametrize("training", [False, True])
@each_model("mlp", "resnet_block")
def test_every_stage_verifies_parses_back_and_names_its_layers(pair, training):
    compiled = lamina.compile(pair.ours, keep_graphs=True, training=training)
    names = {layer.name for layer in pair.ours._flatten_layers()}
    for stage, module in stages(compiled, N=4):
        ir.verify(module)
        back = lamina.parse(str(module), constants=ir.constants_of(module))
        assert ir.equal(back, module), (stage, ir.difference(back, module))
        assert str(back) == str(module)
        for node in module.walk():
            layers = {part for path in node.location.layers for part in path.split("/")}
            assert layers & names, f"{stage}: {node!r} names no layer"


@each_model("mlp", "resnet_block")
def test_optimized_hlo_still_names_the_layers(pair):
    hlo = lamina.compile(pair.ours).hlo(N=4)
    named = {layer.name for layer in pair.ours.layers if f"{layer.name}/" in hlo}
    computing = [layer.name for layer in pair.ours.layers if layer.weights and "batch_norm" not in layer.name]
    assert set(computing) <= named


@each_model("mlp", "unet", "transformer")
def test_evaluate_is_the_meaning_of_the_compiled_model(pair):
    compiled = lamina.compile(pair.ours)
    values = {p.name: p.key.numpy() for p in compiled.graph.main.parameters}
    outputs, updates = lamina.evaluate(compiled.graph, pair.x[:2], parameters=values)
    assert not updates
    assert relative(compiled(pair.x[:2]), outputs[0]) < 1e-5
