"""The suite's models, inference and training step, compiled for GPUs and TPUs that are not there.

A target is skipped by name only where its compiler can't be installed.
"""

import importlib.util
import math
from pathlib import Path

import jax
import pytest

import lamina
from lamina import keras
from lamina.ir.errors import UnsupportedError
from lamina.runtime.ahead import check_installed
from lamina.runtime.targets import parse_target

_spec = importlib.util.spec_from_file_location("models", Path(__file__).parents[1] / "benchmarks" / "models.py")
suite = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(suite)

CONVOLUTIONAL = {"tcn", "mobilenet_block", "resnet_block", "unet"}


def targets():
    for name in ("gpu:h100", "gpu:h100x8", "tpu:v5e-2x2"):
        try:
            check_installed(parse_target(name))
            yield name
        except UnsupportedError as error:
            yield pytest.param(name, marks=pytest.mark.skip(reason=str(error)))


@pytest.mark.long
@pytest.mark.parametrize("target", list(targets()))
@pytest.mark.parametrize("name", suite.MODELS)
def test_inference_and_training_step_compile(name, target):
    benchmark, devices = suite.MODELS[name], parse_target(target).count
    model, N = benchmark.build(keras), benchmark.batch
    loss, optimizer = suite.training_of(name, keras)
    model.compile(optimizer=optimizer, loss=loss)
    # what a TPU has products of: float32 to the last bit takes six of them, and its compiler as much longer
    with jax.default_matmul_precision("bfloat16" if target.startswith("tpu") else "highest"):
        inference = lamina.compile(model, target=target)
        training = lamina.compile(model, *suite.batch_specs(name, model), target=target, training_step=True)
        found = [program.describe(N=N) for program in (inference, training)]
    for program, told in zip((inference, training), found, strict=True):
        assert program.hlo(N=N).startswith("HloModule ")
        assert len(program.executable(N=N)) > 1000
        assert sum(told["fusions"].values()) > 0
        assert told["fits"] and told["devices"] == devices
        assert math.prod(benchmark.shape) * 4 * N // devices < told["memory"]["arguments"] < told["memory"]["total"]
        assert 0 < told["roofline"]["seconds"] < 1e-2
        if target.startswith("gpu"):
            cudnn = sum(n for call, n in told["custom_calls"].items() if "cudnn$conv" in call)
            assert (cudnn > 0) == (name in CONVOLUTIONAL)

    # a step of training is a pass forward and two backward, but for what needs no gradient
    assert 2 < found[1]["cost"]["flops"] / found[0]["cost"]["flops"] < 3.5
    assert found[0]["collectives"] == []
    exchanged = training.collectives(N=N)
    if devices == 1:
        assert exchanged == []
        return
    # the gradients, and the statistics of a batch that is split: two for each channel, forward and backward
    weights = sum(math.prod(v.shape) * 4 for v in model.trainable_variables)
    statistics = sum(math.prod(v.shape) * 4 for v in model.non_trainable_variables if "moving" in v.path)
    assert {c.kind for c in exchanged} == {"all-reduce"}
    assert {c.groups for c in exchanged} == {(tuple(range(devices)),)}
    assert weights <= sum(c.bytes * c.times for c in exchanged) <= weights + 3 * statistics + 64
    assert (sum(c.count for c in exchanged) == 1) == (statistics == 0)
