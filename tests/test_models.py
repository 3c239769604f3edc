"""Whole models, end to end: built unchanged on real Keras and here, one symbolic trace, every level, every stage."""

import importlib.util
from pathlib import Path

import keras as real
import numpy as np
import pytest

import lamina
from lamina import ir
from lamina.passes import run_target

_spec = importlib.util.spec_from_file_location("models", Path(__file__).parents[1] / "benchmarks" / "models.py")
suite = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(suite)

NAMES = ("mlp", "resnet_block")
LEVELS = ("O0", "O1", "O2", "O3")


@pytest.fixture(scope="module", params=NAMES)
def pair(request):
    """The model on real Keras and here with the same weights, statistics of batch norms included, and inputs."""
    build = suite.MODELS[request.param]
    theirs, ours = build(real), build(lamina.keras)
    random = np.random.default_rng(0)
    # Fresh moving statistics are 0 and 1, which would hide a wrong one.
    weights = [w + random.uniform(0.0, 0.2, w.shape).astype(w.dtype) for w in theirs.get_weights()]
    theirs.set_weights(weights)
    ours.set_weights(weights)
    return theirs, ours, suite.inputs(request.param, 32)


def relative(a, b):
    return np.abs(np.asarray(a) - np.asarray(b)).max() / np.abs(np.asarray(b)).max()


def test_weights_have_keras_names_and_shapes(pair):
    theirs, ours, _ = pair
    assert [w.shape for w in ours.weights] == [tuple(w.shape) for w in theirs.weights]
    assert [w.name for w in ours.weights] == [w.name for w in theirs.weights]


@pytest.mark.parametrize("level", LEVELS)
def test_one_trace_gives_keras_outputs_at_every_batch_size(pair, level):
    theirs, ours, x = pair
    compiled = lamina.compile(ours, pipeline=level, verify=True)
    for n in (1, 7, 32):
        # float32 sums in another order than Keras's: 1e-5 relative to the largest output.
        assert relative(compiled(x[:n]), theirs(x[:n])) < 1e-5
    assert compiled(x[:0]).shape == (0, 10)
    assert len(compiled._programs) == 1


def test_training_outputs_and_updates_equal_keras(pair):
    """Batch norms in training; dropout is random, and so left out of the comparison by its rate."""
    theirs, ours, x = pair
    if any(isinstance(layer, real.layers.Dropout) for layer in theirs.layers):
        for model in (theirs, ours):
            next(layer for layer in model.layers if type(layer).__name__ == "Dropout").rate = 0.0
    before = ours.get_weights()
    compiled = lamina.compile(ours, training=True)
    expected = theirs(x[:8], training=True)
    assert relative(compiled(x[:8]), expected) < 1e-5
    for mine, real_weight, old in zip(ours.weights, theirs.weights, before, strict=True):
        np.testing.assert_allclose(mine.numpy(), np.asarray(real_weight), rtol=1e-5, atol=1e-6)
        if mine.name == "moving_mean":
            assert np.abs(mine.numpy() - old).max() > 0
    ours.set_weights(before)
    theirs.set_weights(before)


def stages(compiled, **dims):
    yield "traced", compiled.graph
    yield "optimized", compiled.optimized
    yield "specialized", compiled.specialized(**dims)
    yield "decomposed", run_target(compiled.graph, "cpu")[0]
    for record in compiled.records:
        yield f"after {record.name}", record.after


@pytest.mark.parametrize("training", [False, True])
def test_every_stage_verifies_parses_back_and_names_its_layers(pair, training):
    _, ours, _ = pair
    compiled = lamina.compile(ours, keep_graphs=True, training=training)
    names = {layer.name for layer in ours._flatten_layers()}
    for stage, module in stages(compiled, N=4):
        ir.verify(module)
        back = lamina.parse(str(module), constants=ir.constants_of(module))
        assert ir.equal(back, module), (stage, ir.difference(back, module))
        assert str(back) == str(module)
        for node in module.walk():
            layers = {part for path in node.location.layers for part in path.split("/")}
            assert layers & names, f"{stage}: {node!r} names no layer"


def test_optimized_hlo_still_names_the_layers(pair):
    _, ours, _ = pair
    hlo = lamina.compile(ours).hlo(N=4)
    named = {layer.name for layer in ours.layers if f"{layer.name}/" in hlo}
    computing = [layer.name for layer in ours.layers if layer.weights and "batch_norm" not in layer.name]
    assert set(computing) <= named


def test_evaluate_is_the_meaning_of_the_compiled_model(pair):
    _, ours, x = pair
    compiled = lamina.compile(ours)
    values = {p.name: p.key.numpy() for p in compiled.graph.main.parameters}
    outputs, updates = lamina.evaluate(compiled.graph, x[:2], parameters=values)
    assert not updates
    assert relative(compiled(x[:2]), outputs[0]) < 1e-5
