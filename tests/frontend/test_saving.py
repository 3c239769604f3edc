"""``.keras`` and ``.weights.h5`` files: to and from real Keras, and what bad files get."""

import io
import json
import os
import zipfile

import h5py
import keras as real
import numpy as np
import pytest
from model_pairs import INPUTS, MODELS, assert_close, both, config_of, copy_weights, draw, mlp, plain
from subclassed_pairs import classes, pair, plain_model, tower, with_custom_layer

import lamina
from lamina import keras
from lamina.frontend.saving.bytecode import dump_lambda
from lamina.ir.errors import ArgumentError, FileFormatError, UnsupportedError

layers = keras.layers
CUSTOM = {
    tower: draw(4, 3),
    plain_model: draw(4, 3),
    pair: {"a": draw(4, 3), "b": draw(4, 3, seed=1)},
    with_custom_layer: draw(4, 3),
}
ALL = [*MODELS, *CUSTOM]


@pytest.fixture(autouse=True, scope="module")
def registered():
    classes(real), classes(keras)


def inputs_of(build):
    return CUSTOM[build] if build in CUSTOM else INPUTS[build](3)


def filled(build):
    """The model in both, built, with the same weights, none of which is what a fresh model has."""
    theirs, mine = both(build)
    x = inputs_of(build)
    theirs(x), mine(x)
    values = [draw(*w.shape, seed=i) ** 2 + 0.1 for i, w in enumerate(theirs.weights)]
    theirs.set_weights(values)
    mine.set_weights(values)
    return theirs, mine, x, theirs(x)


def tree(source):
    """Groups and arrays of an HDF5 file: path -> shape (None for a group), attributes, values."""
    found = {}

    def visit(path, item):
        array = item[()] if isinstance(item, h5py.Dataset) else None
        found[path] = (dict(item.attrs), None if array is None else (array.shape, array.dtype, array.tobytes()))

    with h5py.File(source, "r") as file:
        file.visititems(visit)
    return found


def member(path, name):
    return zipfile.ZipFile(path).read(name)


def rewritten(path, **members):
    """The archive with some of its members replaced; None leaves one out."""
    names = {"config": "config.json", "metadata": "metadata.json", "weights": "model.weights.h5"}
    content = {name: member(path, name) for name in names.values()}
    content.update({names[key]: value for key, value in members.items()})
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in content.items():
            if value is not None:
                archive.writestr(name, value)
    return path


@pytest.mark.parametrize("build", ALL, ids=lambda f: f.__name__)
def test_keras_and_lamina_write_the_same_and_read_each_other(build, tmp_path):
    theirs, mine, x, expected = filled(build)
    by_keras, by_lamina = tmp_path / "keras.keras", tmp_path / "lamina.keras"
    theirs.save(by_keras)
    mine.save(by_lamina)
    assert tree(io.BytesIO(member(by_lamina, "model.weights.h5"))) == tree(
        io.BytesIO(member(by_keras, "model.weights.h5"))
    )
    assert plain(json.loads(member(by_lamina, "config.json"))) == plain(json.loads(member(by_keras, "config.json")))
    assert json.loads(member(by_lamina, "metadata.json")).keys() == json.loads(member(by_keras, "metadata.json")).keys()
    loaded = lamina.load(by_keras)
    assert_close(loaded(x), expected)
    assert config_of(loaded) == config_of(mine)
    theirs_again = real.models.load_model(by_lamina)
    assert_close(theirs_again(x), expected)
    if build in MODELS:  # Keras does not say in whom it builds the layers of a subclassed model that it loads
        assert [v.path for v in loaded.weights] == [v.path for v in theirs_again.weights]
    assert_close(keras.models.load_model(str(by_lamina))(x), expected)


@pytest.mark.parametrize("build", ALL, ids=lambda f: f.__name__)
def test_weights_alone(build, tmp_path):
    theirs, mine, x, expected = filled(build)
    by_keras, by_lamina = tmp_path / "keras.weights.h5", tmp_path / "lamina.weights.h5"
    theirs.save_weights(by_keras)
    mine.save_weights(by_lamina)
    assert tree(by_lamina) == tree(by_keras)
    fresh_theirs, fresh = both(build)
    fresh_theirs(x), fresh(x)
    fresh.load_weights(by_keras)
    assert_close(fresh(x), expected)
    fresh_theirs.load_weights(by_lamina)
    assert_close(fresh_theirs(x), expected)
    mine.save(tmp_path / "whole.keras")
    fresh.set_weights([0 * w for w in fresh.get_weights()])
    fresh.load_weights(tmp_path / "whole.keras")
    assert_close(fresh(x), expected)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "mixed_bfloat16"])
def test_types_of_weights(dtype, tmp_path):
    def build(keras):
        return keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, dtype=dtype, name="d")], name="typed")

    theirs, mine = both(build)
    copy_weights(theirs, mine)
    theirs.save(tmp_path / "keras.keras")
    mine.save(tmp_path / "lamina.keras")
    assert (
        tree(io.BytesIO(member(tmp_path / "lamina.keras", "model.weights.h5"))).keys()
        == tree(io.BytesIO(member(tmp_path / "keras.keras", "model.weights.h5"))).keys()
    )
    loaded = lamina.load(tmp_path / "keras.keras")
    again = lamina.load(tmp_path / "lamina.keras")
    for other in (loaded, again):
        assert [v.dtype for v in other.weights] == [v.dtype for v in mine.weights]
        for a, b in zip(other.get_weights(), mine.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


def test_float64_weights(tmp_path):
    """Which Keras on JAX has only where the whole process runs in 64 bits."""
    model = keras.Sequential([keras.Input((3,), dtype="float64"), layers.Dense(2, dtype="float64")])
    model.save(tmp_path / "m.keras")
    loaded = lamina.load(tmp_path / "m.keras")
    assert [v.dtype for v in loaded.weights] == ["float64", "float64"]
    for a, b in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_compiled_keras_model_loads(tmp_path):
    """It is set up for training as it was; test_optimizer_files.py looks at the optimizer's state."""
    theirs, _ = both(mlp)
    theirs.compile(optimizer="adam", loss="mse", metrics=["accuracy"])
    x = draw(8, 8)
    theirs.fit(x, draw(8, 3), epochs=1, verbose=0)
    theirs.save(tmp_path / "m.keras")
    loaded = lamina.load(tmp_path / "m.keras")
    assert_close(loaded(x), theirs(x, training=False))
    assert loaded.compiled and loaded.loss == "mse" and int(loaded.optimizer.iterations) == 1


def test_custom_objects(tmp_path):
    class Twice(layers.Layer):
        def __init__(self, power=2.0, **kwargs):
            super().__init__(**kwargs)
            self.power = power

        def call(self, x):
            return x * self.power

    path = tmp_path / "m.keras"
    model = keras.Sequential([keras.Input((2,)), Twice(3.0)])
    model.save(path)
    x = draw(1, 2)
    with pytest.raises(FileFormatError, match=r"unknown class 'Twice'.*custom_objects"):
        lamina.load(path)
    assert_close(lamina.load(path, custom_objects={"Twice": Twice})(x), 3 * x)
    with keras.saving.custom_object_scope({"Twice": Twice}):
        assert_close(lamina.load(path)(x), 3 * x)


def test_own_variables_of_a_users_layer(tmp_path):
    class Keeps(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.table = keras.Variable(np.zeros(3, "float32"), name="table")

        def call(self, x):
            return x + self.table

        def save_own_variables(self, store):
            store["half"] = self.table.numpy() / 2

        def load_own_variables(self, store):
            assert list(store.keys()) == ["half"] and "half" in store
            self.table.assign(store["half"] * 2)

    model = keras.Sequential([keras.Input((3,)), Keeps()])
    model.layers[0].table.assign(draw(3))
    model.save(tmp_path / "m.keras")
    assert "layers/keeps/vars/half" in tree(io.BytesIO(member(tmp_path / "m.keras", "model.weights.h5")))
    loaded = lamina.load(tmp_path / "m.keras", custom_objects={"Keeps": Keeps})
    np.testing.assert_array_equal(loaded.layers[0].table.numpy(), model.layers[0].table.numpy())


def test_a_shared_layer_is_one_layer_again(tmp_path):
    class Two(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.b = layers.Dense(2)
            self.a = self.b

        def call(self, x):
            return self.a(self.b(x))

    model = Two()
    model(draw(1, 2))
    model.save(tmp_path / "m.keras")
    arrays = [p for p in tree(io.BytesIO(member(tmp_path / "m.keras", "model.weights.h5"))) if p.endswith(("0", "1"))]
    assert arrays == ["a/vars/0", "a/vars/1"], "written once, where the first name is"
    loaded = lamina.load(tmp_path / "m.keras", custom_objects={"Two": Two})
    assert loaded.a is loaded.b
    assert_close(loaded(draw(2, 2)), model(draw(2, 2)))


def test_an_unbuilt_model_is_written_with_a_warning(tmp_path):
    model = keras.Sequential([layers.Dense(2)], name="raw")
    with pytest.warns(UserWarning, match="'raw' is not built"):
        model.save(tmp_path / "m.keras")
    loaded = lamina.load(tmp_path / "m.keras")
    assert not loaded.built and loaded(draw(1, 3)).shape == (1, 2)
    with pytest.raises(ArgumentError, match=r"'raw' is not built.*to save"):
        model.save_weights(tmp_path / "m.weights.h5")
    with pytest.raises(ArgumentError, match=r"'raw' is not built.*to load"):
        model.load_weights(tmp_path / "m.weights.h5")


# Bad files and paths.


@pytest.fixture
def saved(tmp_path):
    model = keras.Sequential(
        [keras.Input((3,)), layers.Dense(4, name="one"), layers.Dense(2, name="two")], name="small"
    )
    path = tmp_path / "small.keras"
    model.save(path)
    return path


@pytest.mark.parametrize("load", [lamina.load, keras.models.load_model, keras.saving.load_model])
def test_a_missing_file(load, tmp_path):
    for name in ("no.keras", "no.h5", "no"):
        with pytest.raises(FileNotFoundError, match=name.replace(".", r"\.")):
            load(tmp_path / name)


@pytest.mark.parametrize(
    "content, message",
    [(b"", "empty"), (b"hello world", "no zip archive"), (b"PK\x03\x04rest", "truncated or damaged")],
)
def test_what_is_no_zip(content, message, tmp_path):
    path = tmp_path / "m.keras"
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=message):
        lamina.load(path)


def test_a_truncated_file_is_refused_wherever_it_ends(saved):
    whole = saved.read_bytes()
    for end in range(1, len(whole) - 1, max(1, len(whole) // 60)):
        saved.write_bytes(whole[:end])
        with pytest.raises(FileFormatError):
            lamina.load(saved)


@pytest.mark.parametrize(
    "config, message",
    [
        (b"{", "config.json .*is not JSON"),
        (b"[]", "must be a JSON object"),
        (b"{}", "'class_name'"),
        (b'{"class_name": "Sequential"}', "'config'"),
        (b'{"module": "keras", "class_name": "Sequential", "config": {}}', "name|layers"),
        (b'{"module": "keras.layers", "class_name": "Dense", "config": {"units": 1}}', "holds a Dense, not a model"),
        (b'{"module": "os", "class_name": "system", "config": {}}', "unknown class 'system'"),
    ],
)
def test_a_wrong_config(saved, config, message):
    with pytest.raises(FileFormatError, match=message):
        lamina.load(rewritten(saved, config=config))


def change_config(path, change):
    config = json.loads(member(path, "config.json"))
    change(config["config"]["layers"])
    return rewritten(path, config=json.dumps(config).encode())


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda c: c[1].update(class_name="Dense9", module="keras.layers"), "unknown class 'Dense9'.*'Dense'"),
        (lambda c: c[1].pop("class_name"), "class_name|layer"),
        (lambda c: c[1].update(config=3), "must be a JSON object, got 3"),
        (lambda c: c[1]["config"].update(units=-1), "units"),
        (lambda c: c[1]["config"].update(unknown=1), "unknown"),
        (lambda c: c[1]["config"].update(activation="nothing"), "nothing"),
    ],
)
def test_a_wrong_layer_in_the_config(saved, change, message):
    with pytest.raises((FileFormatError, ArgumentError, TypeError), match=message) as caught:
        lamina.load(change_config(saved, change))
    assert isinstance(caught.value, lamina.LaminaError)


def test_weights_that_do_not_fit_the_config(saved):
    def change(config):
        config[1]["config"]["units"] = 5
        for layer in config[1:]:
            del layer["build_config"]

    change_config(saved, change)
    with pytest.raises(FileFormatError) as caught:
        lamina.load(saved)
    text = str(caught.value)
    assert "layers/dense (layer 'small/one')" in text
    assert "(3, 5)" in text and "(3, 4)" in text, "what was expected and what is there"
    assert "layers/dense_1 (layer 'small/two')" in text, "all that is wrong is told at once"


def test_weights_that_are_missing(saved):
    change_config(saved, lambda c: c[2]["config"].update(use_bias=False))
    with pytest.raises(FileFormatError, match=r"layers/dense_1 .*'two' has 1 variables, the file holds 2"):
        lamina.load(saved)
    change_config(saved, lambda c: c.pop(2))
    assert len(lamina.load(saved).layers) == 1, "what the model has no place for is left aside, as in Keras"


def test_weights_that_are_no_hdf5(saved):
    with pytest.raises(FileFormatError, match="not an HDF5 file"):
        lamina.load(rewritten(saved, weights=b"nothing"))
    with pytest.raises(FileFormatError, match=r"lacks model\.weights\.h5"):
        lamina.load(rewritten(saved, weights=None))


def test_nothing_changes_where_weights_do_not_fit(saved):
    other = keras.Sequential([keras.Input((3,)), layers.Dense(4), layers.Dense(3)], name="other")
    before = other.get_weights()
    with pytest.raises(FileFormatError, match=r"'other', which is left as it was:\n.*dense_1.*\(4, 3\).*\(4, 2\)"):
        other.load_weights(saved)
    for a, b in zip(other.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_skip_mismatch_reads_what_fits(saved):
    source = lamina.load(saved)
    other = keras.Sequential([keras.Input((3,)), layers.Dense(4), layers.Dense(3)], name="other")
    last = other.layers[1].get_weights()
    with pytest.warns(UserWarning, match=r"do not fit, and are skipped:\n.*dense_1"):
        other.load_weights(saved, skip_mismatch=True)
    for a, b in zip(other.get_weights(), source.get_weights()[:2] + last, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_file_without_containers_in_containers(tmp_path):
    """As Keras wrote them before it went into those: their layers keep the weights they have, with a warning."""
    _, mine, x, _ = filled(tower)
    path = tmp_path / "old.weights.h5"
    mine.save_weights(path)
    with h5py.File(path, "a") as file:
        del file["deep"]
    _, fresh = both(tower)
    fresh(x)
    before = [layer.get_weights()[0] for layer in (fresh.deep[0][0], fresh.deep[1][0])]
    with pytest.warns(UserWarning, match=r"nothing at deep/container, deep/container_1; the layers .* keep"):
        fresh.load_weights(path)
    for layer, kernel in zip((fresh.deep[0][0], fresh.deep[1][0]), before, strict=True):
        np.testing.assert_array_equal(layer.get_weights()[0], kernel)
    np.testing.assert_array_equal(fresh.blocks[0].get_weights()[0], mine.blocks[0].get_weights()[0])


@pytest.mark.parametrize(
    "name, said",
    [
        ("m.h5", "a model of Keras 2"),
        ("m.pt", r"a TorchScript module by its name, which torch\.jit\.load reads"),
        ("m.pt2", r"a program of torch\.export by its name, which torch\.export\.load reads"),
        ("m.TFLITE", "a TensorFlow Lite model by its name, which the Interpreter of ai-edge-litert"),
        ("m.safetensors", "a file of weights alone by its name, which safetensors reads"),
        ("m.onnx", "an ONNX model by its name, which onnxruntime reads"),
        ("folder", r"a TensorFlow SavedModel by its name, which tf\.saved_model\.load reads"),
    ],
)
def test_what_is_no_file_of_ours_says_what_reads_it(tmp_path, name, said):
    path = tmp_path / name
    if name == "folder":
        path.mkdir()
        path = path / "saved_model.pb"
    path.write_bytes(b"something")
    with pytest.raises(UnsupportedError, match=rf"{said}.*load reads \.keras, \.lamina, \.mlir and \.mlirbc files"):
        lamina.load(tmp_path / name)
    with pytest.raises(UnsupportedError, match=said):
        keras.models.load_model(tmp_path / name)


def test_a_program_is_no_keras_model_and_a_folder_is_no_file(tmp_path):
    (tmp_path / "m.mlir").write_text("module {}")
    with pytest.raises(UnsupportedError, match=r"a StableHLO program by its name, which lamina\.load reads"):
        keras.models.load_model(tmp_path / "m.mlir")
    with pytest.raises(FileFormatError, match="is a folder, and no SavedModel"):
        lamina.load(tmp_path)


def test_wrong_names_and_paths(saved, tmp_path):
    model = lamina.load(saved)
    with pytest.raises(ArgumentError, match=r"must end in '\.keras'"):
        model.save(tmp_path / "m.zip")
    with pytest.raises(ArgumentError, match=r"must end in '\.weights\.h5'"):
        model.save_weights(tmp_path / "m.h5")
    with pytest.raises(ArgumentError, match=r"reads '\.weights\.h5' and '\.keras'"):
        model.load_weights(tmp_path / "m.npz")
    with pytest.raises(FileNotFoundError, match="no file"):
        model.load_weights(tmp_path / "none.weights.h5")
    for name in ("m.keras", "m.weights.h5"):
        save = model.save if name == "m.keras" else model.save_weights
        with pytest.raises(ArgumentError, match=r"cannot write .*nowhere"):
            save(tmp_path / "nowhere" / name)
    assert os.listdir(tmp_path) == ["small.keras"], "nothing is left behind"


def test_overwrite(saved, tmp_path):
    model = lamina.load(saved)
    before = saved.read_bytes()
    with pytest.raises(ArgumentError, match="already; pass overwrite=True"):
        model.save(saved, overwrite=False)
    assert saved.read_bytes() == before
    model.layers[0].kernel.assign(np.zeros((3, 4), "float32"))
    model.save(saved)
    assert not lamina.load(saved).layers[0].kernel.numpy().any()
    weights = tmp_path / "w.weights.h5"
    model.save_weights(weights)
    with pytest.raises(ArgumentError, match="already"):
        model.save_weights(weights, overwrite=False)


def test_a_failing_save_leaves_the_old_file(saved):
    class Odd(layers.Layer):
        def __init__(self, thing, **kwargs):
            super().__init__(**kwargs)
            self.thing = thing

        def call(self, x):
            return x

    before = saved.read_bytes()
    with pytest.raises(ArgumentError, match="Odd"):
        keras.Sequential([keras.Input((2,)), Odd(object())]).save(saved)
    assert saved.read_bytes() == before and os.listdir(saved.parent) == [saved.name]


def test_a_lambda_is_refused_unless_trusted(saved):
    bytecode = {"class_name": "__lambda__", "config": {"value": dump_lambda(lambda x: x * 2)}}
    change_config(saved, lambda c: c[2]["config"].update(activation=bytecode))
    with pytest.raises(FileFormatError, match=r"lambda.*safe_mode=False"):
        lamina.load(saved)
    loaded = keras.models.load_model(saved, safe_mode=False)
    assert loaded.layers[1].activation(3) == 6
