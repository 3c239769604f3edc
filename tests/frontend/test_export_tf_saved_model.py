"""SavedModels: loaded by TensorFlow alone, laid out as TensorFlow Serving wants them, written whole or not at all."""

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework.tensor_pb2 import TensorProto

import lamina
from lamina import Spec, keras, ops
from lamina.frontend.export import saved_model
from lamina.ir import Builder, Graph, Module, TensorType
from lamina.ir.errors import ArgumentError, DTypeError, UnsupportedError

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from models import MODELS, inputs, weights_of

RELATIVE = 1e-5  # float32 sums in another order, layer after layer


def suite_model(name):
    model = MODELS[name].build(keras)
    model.set_weights(weights_of(model))
    return model


def near(actual, expected):
    return np.abs(np.asarray(actual) - expected).max() <= RELATIVE * np.abs(expected).max()


ALONE = """
    import sys
    import numpy as np
    import tensorflow as tf

    loaded = tf.saved_model.load(sys.argv[1])
    serve = loaded.signatures["serving_default"]
    name, = serve.structured_input_signature[1]
    print(name, *serve.structured_outputs)
    for i in (1, 3):
        x = np.load(f"{sys.argv[2]}/x{i}.npy")
        (y,) = serve(**{name: tf.constant(x)}).values()
        np.save(f"{sys.argv[2]}/y{i}.npy", y)
        np.testing.assert_array_equal(loaded(tf.constant(x)), y)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(loaded(tf.constant(x)))
    assert serve.trainable_variables
    assert all(g is not None for g in tape.gradient(loss, serve.trainable_variables))
    assert "lamina" not in sys.modules
"""


@pytest.mark.parametrize("name", ["mlp"])
def test_tensorflow_alone_loads_and_trains_it(name, tmp_path):
    model = suite_model(name)
    assert lamina.export(model, tmp_path / "model") == tmp_path / "model"
    for batch in (1, 3):
        np.save(tmp_path / f"x{batch}.npy", inputs(name, batch))
    code = [sys.executable, "-c", textwrap.dedent(ALONE), str(tmp_path / "model"), str(tmp_path)]
    done = subprocess.run(code, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [model.inputs[0].name, model.output_names[0]]
    for batch in (1, 3):
        assert near(np.load(tmp_path / f"y{batch}.npy"), np.asarray(model(inputs(name, batch))))


@pytest.mark.long
@pytest.mark.parametrize("name", MODELS)
def test_models_of_the_suite(name):
    model = suite_model(name)
    run = saved_model.runner(lamina.trace(model))
    for batch in (1, 3):
        assert near(run([inputs(name, batch)])[0], np.asarray(model(inputs(name, batch))))


def test_further_signatures_share_their_variables(tmp_path):
    image = keras.Input((4,), name="image")
    features = keras.layers.Dense(3, name="features")(image)
    model = keras.Model(image, keras.layers.Dense(2, name="classes")(features))
    inner = keras.Model(image, features)
    lamina.export(model, tmp_path / "model", target="saved_model", signatures={"embed": lamina.trace(inner)})
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    assert set(loaded.signatures) == {"serving_default", "embed"}
    x = np.ones((2, 4), np.float32)
    assert near(loaded.signatures["embed"](image=x)["features"], np.asarray(inner(x)))
    assert near(loaded.signatures["serving_default"](image=x)["classes"], np.asarray(model(x)))
    loaded.features.kernel.assign(tf.zeros((4, 3)))
    np.testing.assert_array_equal(loaded.signatures["embed"](image=x)["features"], np.zeros((2, 3)))
    with pytest.raises(ArgumentError, match="serving_default"):
        lamina.export(model, tmp_path / "other", target="saved_model", signatures={"serving_default": inner})
    assert not (tmp_path / "other").exists()


def test_versions_stand_side_by_side_with_requests_to_warm_up_with(tmp_path):
    model = suite_model("mlp")
    x = inputs("mlp", 2)
    for version in (1, 2):
        lamina.export(model, tmp_path / "served", target="saved_model", version=version, warmup=[x])
    assert sorted(p.name for p in (tmp_path / "served").iterdir()) == ["1", "2"]
    file = tmp_path / "served" / "2" / "assets.extra" / "tf_serving_warmup_requests"
    (record,) = [r.numpy() for r in tf.data.TFRecordDataset(str(file))]
    ((number, request),) = fields(record)
    assert number == 6  # PredictionLog.predict_log
    request = dict(fields(request))[1]  # PredictLog.request
    spec, entry = (content for _, content in fields(request))
    assert dict(fields(spec)) == {3: b"serving_default"}  # ModelSpec.signature_name
    entry = dict(fields(entry))
    assert entry[1].decode() == model.inputs[0].name
    np.testing.assert_array_equal(tf.make_ndarray(TensorProto.FromString(entry[2])), x)
    with pytest.raises(DTypeError, match=r"expected warmup of f32\[N,256\]"):
        lamina.export(model, tmp_path / "served", target="saved_model", version=3, warmup=[x[:, :5]])
    with pytest.raises(ArgumentError, match="version"):
        lamina.export(model, tmp_path / "served", target="saved_model", version="3")
    assert sorted(p.name for p in (tmp_path / "served").iterdir()) == ["1", "2"]


def fields(message):
    """(number, content) of the fields of a protocol buffer that holds fields of bytes only."""
    found, place = [], 0
    while place < len(message):
        number, place, length, shift = message[place] >> 3, place + 1, 0, 0
        while True:
            digit = message[place]
            length, place, shift = length | (digit & 127) << shift, place + 1, shift + 7
            if digit < 128:
                break
        found.append((number, message[place : place + length]))
        place += length
    return found


def test_what_fails_leaves_what_was_there(tmp_path):
    place = tmp_path / "model"
    lamina.export(lambda x: ops.tanh(x), place, target="saved_model", specs=Spec((3,), name="x"))
    before = sorted(str(p) for p in tmp_path.rglob("*"))
    graph = Graph()
    x = graph.add_input(TensorType("f32", (4,)), "x")
    graph.outputs = [Builder(graph).custom_call(x, target="theirs", results=[x.type])]
    with pytest.raises(UnsupportedError):
        lamina.export(Module({"main": graph}), place, target="saved_model")
    with pytest.raises(ValueError, match="stop here"), saved_model.folder_beside(place) as folder:
        (folder / "half").write_text("written")
        raise ValueError("stop here")
    assert sorted(str(p) for p in tmp_path.rglob("*")) == before
    lamina.export(lambda x: -x, place, target="saved_model", specs=Spec((3,), name="x"))
    loaded = tf.saved_model.load(str(place))
    np.testing.assert_array_equal(loaded(np.ones(3, np.float32)), -np.ones(3))
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ArgumentError, match="it is a file"):
        lamina.export(lambda x: -x, tmp_path / "file", target="saved_model", specs=Spec((3,)))


def test_an_exact_program_is_saved_too(tmp_path):
    model = suite_model("mlp")
    lamina.export(model, tmp_path / "model", target="saved_model", exact=True)
    serve = tf.saved_model.load(str(tmp_path / "model")).signatures["serving_default"]
    x = inputs("mlp", 2)
    (y,) = serve(tf.constant(x)).values()
    assert near(y, np.asarray(model(x)))


def test_a_folder_of_other_things_is_not_replaced(tmp_path):
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "main.py").write_text("mine")
    with pytest.raises(ArgumentError, match="holds no SavedModel"):
        lamina.export(lambda x: -x, tmp_path / "project", specs=Spec((3,)))
    assert (tmp_path / "project" / "main.py").read_text() == "mine"
    assert [p.name for p in tmp_path.rglob("*")] == ["project", "main.py"]
