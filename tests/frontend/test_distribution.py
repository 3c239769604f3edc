"""keras.distribution on a CPU that counts as eight devices: results, what devices exchange, files, errors."""

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import keras as real
import pytest

from lamina import keras as ours

SCRIPT = Path(__file__).parent.parent / "on_mesh.py"
#: Float32 sums in another order, relative to the largest element.
CLOSE = 1e-5
WAYS = ("data", "model", "mixed")


def on_mesh(*names):
    """What functions of tests/on_mesh.py return, in one process."""
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "KERAS_BACKEND": "jax",
        "LAMINA_CACHE": "0",
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8".strip(),
    }
    command = [sys.executable, SCRIPT, *names]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def parameters(f):
    """Names of a callable's parameters, without keywords of any name."""
    found = inspect.signature(f).parameters.values()
    return [p.name for p in found if p.kind is not p.VAR_KEYWORD]


def test_names_and_arguments_are_those_of_keras():
    names = {n for n in dir(real.distribution) if not n.startswith("_")}
    assert names <= set(dir(ours.distribution))
    for name in names:
        theirs, mine = getattr(real.distribution, name), getattr(ours.distribution, name)
        expected = parameters(theirs)
        assert parameters(mine)[: len(expected)] == expected, name
    instances = []
    for d in (real.distribution, ours.distribution):
        mesh = d.DeviceMesh((1,), ["batch"], ["cpu:0"])
        layouts = d.LayoutMap(mesh)
        layout = d.TensorLayout(("batch",), mesh)
        instances.append([mesh, layout, layouts, d.DataParallel(mesh), d.ModelParallel(layout_map=layouts)])
    for theirs, mine in zip(*instances, strict=True):
        missing = {n for n in dir(theirs) if not n.startswith("_")} - set(dir(mine))
        assert missing <= {"distribute_tf_dataset"}, mine  # what distribute_dataset is made of, there


@pytest.fixture(scope="module")
def seen():
    return on_mesh("quick", "collectives", "tensors", "warns", "errors")


@pytest.fixture(scope="module")
def more():
    return on_mesh("compiled", "sequences", "made_before", "files", "real_keras")


@pytest.mark.parametrize("way", WAYS)
def test_training_equals_one_device(seen, way):
    logs, arrays, kernel, slot, _ = seen["quick"][way]
    assert logs < CLOSE and arrays < CLOSE
    expected = {"data": [[None, None], 8]}.get(way, [[None, "model"], 8])
    assert kernel == slot == expected  # an optimizer's state is laid out as its weight


def test_data_parallel_steps_sum_gradients_and_nothing_else(seen):
    parameters = 4 * (6 * 16 + 16 + 16 * 2 + 2)
    loss_and_metric = 2 * 4
    assert seen["quick"]["data"][4] == [["all-reduce", 1, parameters + loss_and_metric, 8]]
    found = seen["collectives"]["data"]
    assert found["inference"] == []
    assert found["step"] == [["all-reduce", 1, found["trainable"] + 4, 8]]


def test_steps_of_all_kinds_of_layers_also_sum_statistics_of_batches(seen):
    found = seen["collectives"]["all kinds"]
    kinds = {kind for kind, *_ in found["step"]}
    assert kinds == {"all-reduce"}
    loss_and_metrics = 3 * 4
    assert sum(bytes_ for _, _, bytes_, _ in found["step"]) == found["trainable"] + found["moving"] + loss_and_metrics


def test_tensor_parallel_blocks_sum_once_each_way(seen):
    activations = 32 * 16 * 4
    found = seen["collectives"]["model"]
    assert found["inference"] == [["all-reduce", 3, 3 * activations, 8]]
    # Backward, the first block's input needs no gradient.
    assert found["step"] == [["all-reduce", 5, 5 * activations, 8]]


def test_both_together_sum_over_each_axis_of_the_mesh(seen):
    activations = 32 * 16 * 4 // 4
    found = seen["collectives"]["mixed"]
    assert found["inference"] == [["all-reduce", 3, 3 * activations, 2]]
    gradients = (found["trainable"] - found["whole"]) // 2 + found["whole"]  # of this device's parts
    assert found["step"] == [["all-reduce", 1, gradients + 4, 4], ["all-reduce", 5, 5 * activations, 2]]


def test_tensors_are_laid_out_now_or_in_the_graph(seen):
    found = seen["tensors"]
    assert found["moved"] == [["batch", "model"], 0]
    assert found["by jax's sharding"] == ["batch", "model"]
    assert found["symbolic"] == "KerasTensor"
    assert found["constraints"] == [["batch", "model"], [None, "model"]]  # the layer's own, then that of its output
    assert found["laid out"] == [None, "model"]
    assert max(found["outputs"]) == 0 and found["gradient"] < CLOSE and found["vmap"] == 0


def test_layouts_that_do_not_fit_tensors_are_errors(seen):
    found = seen["tensors"]
    assert "has 1 axes, and the tensor 2 dimensions: (32, 6)" in found["rank"]
    assert found["axis"].endswith("has no axis 'z'; it has batch, model")
    assert found["output's rank"].startswith("ArgumentError: the layout of 'wrong/output': ")
    assert "'.*/kernel'" in found["output's rank"]


def test_a_layout_that_names_nothing_is_warned_of_once(seen):
    found = seen["warns"]
    kernel, output = found["unused"]
    assert kernel.startswith("the layout of 'first/kernel' names no Variable") and "'sequential/first/kernel'" in kernel
    assert output.startswith("the layout of 'attend/output' names no") and "/output'" in output
    assert found["again"] == []
    (compiled,) = found["compiled"]
    assert "'firsst/kernel'" in compiled and "'sequential/first/kernel'" in compiled


def test_batches_that_can_not_be_split_are_warned_of_but_for_a_last_one(seen):
    found = seen["warns"]
    for case, size in (("batches of 12", 12), ("several at once", 6)):
        (text,) = found[case]
        assert f"batches of {size} can't be split evenly over 8 devices along 'batch'" in text
        assert "a multiple of 8" in text
    assert found["a short last batch"] == []
    assert found["two axes"][0].startswith("DataParallel splits batches over the first axis")


@pytest.mark.parametrize(
    ("case", "parts"),
    [
        ("too many devices", ["ArgumentError", "takes 16 devices, received 8: cpu:0, ", "device_count=16"]),
        ("too few devices", ["takes 4 devices, received 8", "list_devices()[:4]"]),
        ("names", ["one name for each axis", "['batch']"]),
        ("same names", ["different names", "['batch', 'batch']"]),
        ("absent device", ["DeviceError", "'gpu:7'", "cpu:7"]),
        ("axis", ["no axis 'z'", "batch, model"]),
        ("axis twice", ["one dimension", "('batch', 'batch')"]),
        ("no mesh", ["no mesh yet", "device_mesh="]),
        ("batch axis", ["no axis 'z'"]),
        ("no map", ["layout_map is a LayoutMap"]),
        ("no distribution", ["DataParallel()", "'data'"]),
        ("not a mesh", ["device_mesh is a DeviceMesh"]),
        ("twice", ["there is a layout for 'a' already", "delete it first"]),
        ("no expression", ["'(' is no path and no regular expression"]),
        ("no layout", ["a TensorLayout or a tuple", "'a'"]),
        ("two keys", ["'ab'", "'a.*', '.*b'"]),
        ("can't be split", ["ShapeError", "'odd/kernel'", "(4, 3)", "{'batch': 4, 'model': 2}"]),
        ("rank", ["ShapeError", "'flat/kernel'", "('model',)"]),
        ("another mesh", ["DeviceError", "'first/kernel'", "shape=(8,)", "shape=(4, 2)", "distribution.scope()"]),
        ("compiled for another mesh", ["DeviceError", "'first/kernel'", "shape=(8,)"]),
        (
            "two meshes",
            ["DeviceError", "first/kernel over {'batch': 8}", "second/kernel over {'batch': 4, 'model': 2}"],
        ),
        ("mesh and device", ["DeviceError", "first/kernel", "alone/kernel was put on cpu:1"]),
    ],
)
def test_an_error_says_what_is_wrong(seen, case, parts):
    message = seen["errors"][case]
    assert all(part in message for part in parts), message


def test_errors_leave_the_model_as_it_was(seen):
    assert seen["errors"]["still there"] == [0, 8]


@pytest.mark.long
def test_models_of_all_kinds_train_as_on_one_device():
    """Batch sizes that can be split and that can't, all ways to call, dropout and noise among the layers."""
    found = on_mesh("training")["training"]
    assert len(found) == 7 * 3
    for case, (logs, arrays) in found.items():
        bound = 1e-3 if case.startswith("bfloat16") else CLOSE  # it has 8 bits of mantissa
        assert logs < bound and arrays < bound, (case, logs, arrays)


@pytest.mark.long
@pytest.mark.parametrize("way", WAYS)
def test_compiled_models_are_laid_over_the_mesh(more, way):
    found = more["compiled"][way]
    assert max(found["errors"].values()) < CLOSE and found["static"] < CLOSE
    assert found["output"] == ([] if way == "model" else ["batch"])
    assert found["constraints"] == 10  # 4 parameters and the input, each with its mesh
    assert found["arguments"] < 4 * (32 * 6 + 146)  # of one device
    assert found["hlo of what can't be split"]
    assert found["too many features"].startswith("ShapeError: input input_layer")
    assert found["gradient"] < CLOSE and found["vmap"] < CLOSE
    assert max(found["outside"]) < CLOSE and found["on one device"] < CLOSE


@pytest.mark.long
def test_sequences_are_split_over_an_axis_too(more):
    losses, arrays, constraints, inputs = more["sequences"]
    assert losses < CLOSE and arrays < CLOSE
    assert inputs == [["batch", "seq", None]] * 2
    # Forward for each layer, and backward the same for what comes back.
    assert constraints.count(["batch", "seq", None]) == 6 and constraints.count(["batch", None, None]) == 2


@pytest.mark.long
def test_models_made_before_follow_the_distribution(more):
    found = more["made_before"]
    assert len(found) == 6
    for case, (error, kernel, slot, outside) in found.items():
        assert error < CLOSE and outside < CLOSE, case
        assert kernel == slot == ([[None, None], 8] if case.startswith("data") else [[None, "model"], 8]), case


@pytest.mark.long
def test_files_are_restored_bit_by_bit_on_any_mesh(more):
    """.keras, weights, ModelCheckpoint, BackupAndRestore, .lamina; clone_model and set_weights."""
    found = more["files"]
    assert len(found) == 4 * 5
    layouts = {"alone": [None, 1], "data": [[None, None], 8]}
    for case, (weights, state, laid_out, slot, error) in found.items():
        expected = layouts.get(case.rpartition(" to ")[2], [[None, "model"], 8])
        assert weights and state, case
        assert laid_out == [json.dumps(expected)] and slot == expected, case
        assert error < CLOSE, case


@pytest.mark.long
@pytest.mark.parametrize("way", WAYS)
def test_training_equals_keras_under_its_distribution(more, way):
    logs, weights, alike, laid_out = more["real_keras"][way]
    assert logs < CLOSE and weights < CLOSE
    assert alike, laid_out  # weights and the optimizer's state


@pytest.mark.long
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("model", ["transformer", "resnet_block"])
def test_ten_steps_of_the_benchmarks_equal_one_device(model, optimizer):
    """Each loss; and with SGD outputs and weights, too. Adam enlarges a gradient that a ReLU near 0 changed."""
    name = f"{model}_{optimizer}"
    found = on_mesh(name)[name]
    assert list(found) == list(WAYS)
    for way, seen in found.items():
        loss, *others = seen["errors"]
        assert loss < CLOSE, (way, seen["errors"])
        assert optimizer == "adam" or max(others) < CLOSE, (way, seen["errors"])
    exchanged = {kind for kind, *_ in found["data"]["step"]}
    assert exchanged == {"all-reduce"}
    if model == "transformer":
        assert found["data"]["step"] == [["all-reduce", 1, found["data"]["trainable"] + 4, 8]]
        by_group = {group: count for _, count, _, group in found["mixed"]["step"]}
        assert by_group == {4: 1, 2: 16}  # gradients at once; attention and a block in each of 4 layers, both ways
