"""Which rules fire for which target on the models of the suite, and that none made for CPUs fires for another."""

from collections import Counter
from functools import cache
from pathlib import Path

import jax
import numpy as np
import pytest
from test_models import NAMES, initialized_by_zeros, suite

import lamina
from lamina import keras
from lamina.passes import TARGETS, parse_pipeline, run_pipeline, run_target, specialize
from lamina.passes.rules import cpu

GOLDEN = Path(__file__).parent / "golden" / "targets.txt"
#: Training graphs take their time; the rest of them is in the long tests.
QUICK = ("mlp", "mobilenet_block")
CASES = [(name, "inference") for name in NAMES] + [(name, "training") for name in NAMES]
CPU_RULES = {rule.name for rule in cpu.RULES}


def graphs(name, what):
    """A model's module for a batch of 8, before any pass, and the pipeline that it goes through."""
    with initialized_by_zeros():
        model = suite.MODELS[name].build(keras)
    if what == "inference":
        return lamina.trace(model), "O2"
    loss, optimizer = suite.training_of(name, keras)
    model.compile(optimizer, loss)
    batch = suite.inputs(name, 8), suite.targets(name, model, 8)
    function = model.make_train_function()
    model._build_for(function, lambda: batch)
    leaves, tree = jax.tree.flatten(batch)
    return function.one.program(leaves, tree).graph, "O2,-prepare"


@cache
def traced(name, what):
    return graphs(name, what)


def fired(name, what, target):
    """How often each rule fired for a target, in the general passes and in those of the target."""
    module, pipeline = traced(name, what)
    optimized, records = run_pipeline(module, pipeline, target=target)
    dims = dict.fromkeys(optimized.main.symbols, 8)
    ready, more = run_target(specialize(optimized, dims), target)
    assert not any(node.op.is_composite for node in ready.walk())
    count = Counter()
    for record in (*records, *more):
        for rule in record.fired:
            count[rule.rule] += rule.count
    return count


def marked(cases):
    long = pytest.mark.long
    return [c if c[1] == "inference" or c[0] in QUICK else pytest.param(*c, marks=long) for c in cases]


def line(name, what):
    """One line of the golden table: the rules for CPUs that fire."""
    found = {rule: n for rule, n in sorted(fired(name, what, "cpu").items()) if rule in CPU_RULES}
    return f"{name} {what}: " + (", ".join(f"{rule} {n}" for rule, n in found.items()) or "none")


@pytest.mark.parametrize(("name", "what"), marked(CASES))
def test_on_the_cpu_those_of_the_golden_table_fire(name, what):
    assert line(name, what) in GOLDEN.read_text().splitlines()


@pytest.mark.parametrize("target", ["gpu", "tpu"])
@pytest.mark.parametrize(("name", "what"), marked(CASES))
def test_elsewhere_none_that_is_made_for_cpus_fires(name, what, target):
    assert not CPU_RULES & fired(name, what, target).keys()


def test_what_is_off_by_name_stays_off_for_a_target():
    module, _ = traced("mobilenet_block", "inference")
    optimized, _ = run_pipeline(module, "O2", target="cpu")
    assert parse_pipeline("O2,-narrow_groups_as_shifts").off == {"narrow_groups_as_shifts"}
    _, records = run_target(specialize(optimized, {"N": 8}), "cpu", off=["narrow_groups_as_shifts"])
    assert "narrow_groups_as_shifts" not in {f.rule for record in records for f in record.fired}


@pytest.mark.parametrize("target", ["gpu", "tpu"])
def test_other_targets_have_no_rules_and_keep_the_layout_of_the_program(target):
    assert TARGETS[target].rules == ()
    assert TARGETS[target].layout == "keep"
    module, _ = traced("unet", "inference")

    def layouts(m):
        return [n.attributes["lhs_spec"] for n in m.walk() if n.op.name == "convolution"]

    assert layouts(run_pipeline(module, "O2", target=target)[0]) == layouts(module) != []


def test_a_depthwise_convolution_stays_one_for_gpu_and_tpu():
    module, _ = traced("mobilenet_block", "inference")
    groups = {}
    for target in ("cpu", "gpu", "tpu"):
        optimized, _ = run_pipeline(module, "O2", target=target)
        ready, _ = run_target(specialize(optimized, {"N": 8}), target)
        groups[target] = [
            n.attributes["feature_groups"]
            for n in ready.walk()
            if n.op.name == "convolution" and n.attributes["feature_groups"] > 1
        ]
    assert not groups["cpu"] and groups["gpu"] == groups["tpu"] != []


@pytest.mark.parametrize("target", ["gpu", "tpu"])
def test_a_program_for_another_target_means_the_same(target):
    """Its passes run here as well: what they leave is compiled for this machine's CPU."""
    with initialized_by_zeros():
        model = suite.MODELS["mobilenet_block"].build(keras)
    x = suite.inputs("mobilenet_block", 2)
    draw = np.random.default_rng(0)
    model.set_weights([draw.uniform(0.1, 0.5, w.shape).astype("float32") for w in model.get_weights()])
    here, there = (lamina.compile(model, target=t)(x) for t in ("cpu", target))
    np.testing.assert_allclose(here, there, rtol=2e-5, atol=1e-6)  # float32 sums in another order


if __name__ == "__main__":
    print("\n".join(line(*case) for case in CASES))
