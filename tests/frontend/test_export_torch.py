"""TorchScript files: the models of the suite, weights that train and are named as Keras names them, files that load."""

import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import lamina
from lamina import Spec, keras, ops
from lamina.frontend.export import torchscript
from lamina.frontend.export.parameters import parameter_arrays
from lamina.frontend.export.torch_module import Owned, scripted_module, to_numpy
from lamina.ir import Builder, Graph, Module, TensorType
from lamina.ir.errors import ArgumentError, UnsupportedError
from lamina.ir.location import Location

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from models import MODELS, inputs, weights_of

# A model's outputs and gradients: float32 sums over at most a few hundred products in another order, layer after layer.
RELATIVE = 1e-5


def suite_model(name):
    model = MODELS[name].build(keras)
    model.set_weights(weights_of(model))
    return model


def assert_near(actual, expected, scale=None):
    largest = np.abs(expected).max() if scale is None else scale
    assert np.abs(np.asarray(actual) - expected).max() <= RELATIVE * largest


def loaded(path):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*torch.jit", DeprecationWarning)  # torch's own, for who calls it
        warnings.filterwarnings("ignore", ".*torch.jit", FutureWarning)
        return torch.jit.load(path)


QUICK = ("lstm", "unet")


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.long) for n in MODELS])
def test_models_of_the_suite(name):
    model = suite_model(name)
    module = lamina.trace(model)
    run = torchscript.runner(module)
    x = inputs(name, 3)
    expected = np.asarray(model(x))
    for batch in (1, 3):  # an example's result does not depend on the others
        assert_near(run([x[:batch]])[0], expected[:batch])


@pytest.mark.parametrize("name", ["mlp", "transformer"])
def test_training_mode_drops_the_same_and_writes_its_state(name):
    module = lamina.trace(suite_model(name), training=True)
    x = inputs(name, 3)
    owned = Owned(module)
    scripted = scripted_module(owned)
    parameters = parameter_arrays(module)
    for _ in range(2):  # the second call goes on from what the first one left
        outputs, updates = lamina.evaluate(module, x, parameters=parameters)
        with torch.no_grad():
            result = owned.source.flatten(scripted(torch.from_numpy(x)))
        assert_near(result[0].numpy(), outputs[0])
        state = scripted.state_dict()
        assert updates
        for key, value in updates.items():
            now = to_numpy(state[".".join(owned.source.paths[key])], value.dtype)
            if value.dtype == np.uint32:  # seeds
                np.testing.assert_array_equal(now, value)
            else:
                assert_near(now, value)
        parameters = {**parameters, **updates}


@pytest.mark.parametrize("name", ["mlp", "lstm"])
def test_gradients_are_ours(name):
    compare_gradients(name)


@pytest.mark.long
@pytest.mark.parametrize("name", [n for n in MODELS if n not in ("mlp", "lstm")])
def test_gradients_of_other_models_are_ours(name):
    compare_gradients(name)


def compare_gradients(name):
    model = suite_model(name)
    x = inputs(name, 2)
    scripted = torchscript.build(lamina.trace(model))
    output = scripted(torch.from_numpy(x))
    weights = np.linspace(-1, 1, output.numel(), dtype=np.float32).reshape(output.shape)
    (output * torch.from_numpy(weights)).sum().backward()

    def loss(trainable):
        y, _ = model.stateless_call(trainable, [v.value for v in model.non_trainable_variables], x, training=False)
        return ops.sum(y * weights)

    ours = lamina.grad(loss)([v.value for v in model.trainable_variables])
    theirs = dict(scripted.named_parameters())
    assert len(theirs) == len(ours)
    scale = max(float(np.abs(g).max()) for g in map(np.asarray, ours))
    for variable, gradient in zip(model.trainable_variables, ours, strict=True):
        assert_near(theirs[variable.path.replace("/", ".")].grad, np.asarray(gradient), scale)


def test_gradients_reach_through_the_statistics_of_a_batch():
    model = small_model()
    scripted = torchscript.build(lamina.trace(model, training=True))
    weights = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)

    def loss(trainable):
        y, _ = model.stateless_call(trainable, [v.value for v in model.non_trainable_variables], IMAGES, training=True)
        return ops.sum(y * weights)

    ours = lamina.grad(loss)([v.value for v in model.trainable_variables])
    (scripted(torch.from_numpy(IMAGES)) * torch.from_numpy(weights)).sum().backward()
    theirs = dict(scripted.named_parameters())
    scale = max(float(np.abs(g).max()) for g in map(np.asarray, ours))
    for variable, gradient in zip(model.trainable_variables, ours, strict=True):
        assert_near(theirs[variable.path.replace("/", ".")].grad, np.asarray(gradient), scale)


def small_model():
    model = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            keras.layers.Conv2D(4, 3, name="conv"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Flatten(name="flat"),
            keras.layers.Dense(3, name="dense"),
        ],
        name="small",
    )
    model.set_weights(weights_of(model))
    return model


IMAGES = np.random.default_rng(3).standard_normal((2, 6, 6, 2)).astype(np.float32)


def test_state_dict_has_the_weights_by_their_names():
    model = small_model()
    model.layers[0].trainable = False
    scripted = torchscript.build(lamina.trace(model))
    state = scripted.state_dict()
    assert set(state) == {v.path.replace("/", ".") for v in model.weights}
    for variable in model.weights:
        np.testing.assert_array_equal(state[variable.path.replace("/", ".")].numpy(), variable.numpy())
    trained = {name for name, p in scripted.named_parameters() if p.requires_grad}
    assert trained == {v.path.replace("/", ".") for v in model.trainable_variables}
    assert not scripted.training
    changed = {name: tensor + 1 for name, tensor in state.items()}
    scripted.load_state_dict(changed)
    model.set_weights([v.numpy() + 1 for v in model.weights])
    with torch.no_grad():
        assert_near(scripted(torch.from_numpy(IMAGES)), np.asarray(model(IMAGES)))


def test_kernels_of_convolutions_lie_as_they_are_read():
    scripted = torchscript.build(lamina.trace(small_model()))
    kernel = scripted.state_dict()["small.conv.kernel"]
    assert tuple(kernel.shape) == (3, 3, 2, 4)
    assert kernel.permute(3, 2, 0, 1).is_contiguous(memory_format=torch.channels_last)


def test_a_file_runs_with_torch_alone(tmp_path):
    model = small_model()
    torchscript.save(lamina.trace(model), tmp_path / "model.pt")
    np.save(tmp_path / "x.npy", IMAGES)
    np.save(tmp_path / "y.npy", np.asarray(model(IMAGES)))
    script = f"""
        import sys, torch, numpy as np
        source = {{"source.py": ""}}
        module = torch.jit.load("model.pt", _extra_files=source)
        y = module(torch.from_numpy(np.load("x.npy"))).detach().numpy()
        expected = np.load("y.npy")
        assert np.abs(y - expected).max() <= {RELATIVE} * np.abs(expected).max()
        assert not any(name.split(".")[0] in ("lamina", "jax", "keras") for name in sys.modules)
        assert "self.small.conv.kernel" in source["source.py"].decode(), source
        assert "dense" in module.code
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], cwd=tmp_path, check=True)


def test_weights_as_constants(tmp_path):
    model = small_model()
    module = lamina.trace(model)
    torchscript.save(module, tmp_path / "model.pt", weights="constants")
    frozen = loaded(tmp_path / "model.pt")
    assert not list(frozen.parameters()) and not frozen.state_dict()
    assert_near(frozen(torch.from_numpy(IMAGES)), np.asarray(model(IMAGES)))
    assert_near(torchscript.runner(module, weights="constants")([IMAGES])[0], np.asarray(model(IMAGES)))
    with pytest.raises(ArgumentError, match="weights are 'parameters' or 'constants', received 'both'"):
        torchscript.build(module, weights="both")


def test_nothing_is_written_where_an_op_has_no_form(tmp_path):
    graph = Graph()
    x = graph.add_input(TensorType("f32", (2,)), "x")
    builder = Builder(graph, location=Location(("head/solve",)))
    graph.outputs = [builder.custom_call(x, target="solve", results=(x.type,))]
    path = tmp_path / "model.pt"
    path.write_bytes(b"before")
    with pytest.raises(UnsupportedError, match=r"custom_call .*export to stablehlo.*head/solve"):
        torchscript.save(Module({"main": graph}), path)
    assert path.read_bytes() == b"before" and list(tmp_path.iterdir()) == [path]


def test_a_parameter_without_a_value_is_refused():
    module = lamina.parse(str(lamina.trace(small_model())))
    with pytest.raises(ArgumentError, match="small/conv/kernel has no value"):
        torchscript.build(module)


def test_no_warning_of_torch_reaches_the_user(tmp_path):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torchscript.save(lamina.trace(lambda x: ops.sum(x), Spec(("N",))), tmp_path / "sum.pt")
    assert not [str(w.message) for w in caught]


def test_inputs_of_types_that_torch_lacks_are_widened():
    module = lamina.trace(lambda x, y: (x + y, x > y), Spec((3,), "uint32"), Spec((3,), "uint32"))
    x, y = np.array([2**32 - 1, 5, 0], np.uint32), np.array([3, 2**31, 0], np.uint32)
    total, larger = torchscript.runner(module)([x, y])
    np.testing.assert_array_equal(total, x + y)
    np.testing.assert_array_equal(larger, x > y)
    given = torchscript.build(module)(torch.tensor([2**32 - 1, 5, 0]), torch.tensor([3, 2**31, 0]))
    assert given[0].tolist() == (x + y).tolist()
