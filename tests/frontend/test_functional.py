"""Functional models against real Keras: structure, names, configs, outputs, errors."""

import jax
import keras as real
import numpy as np
import pytest
from model_pairs import INPUTS, MODELS, assert_close, both, config_of, copy_weights, draw, plain, start

import lamina
from lamina import keras
from lamina.frontend.models import Functional
from lamina.ir.errors import ArgumentError, DTypeError, FileFormatError, ShapeError

layers = keras.layers


@pytest.mark.parametrize("build", MODELS, ids=lambda f: f.__name__)
def test_structure_is_that_of_keras(build):
    theirs, mine = both(build)
    assert [layer.name for layer in mine.layers] == [layer.name for layer in theirs.layers]
    assert [v.path for v in mine.weights] == [v.path for v in theirs.weights]
    assert [v.shape for v in mine.weights] == [v.shape for v in theirs.weights]
    assert [v.path for v in mine.trainable_weights] == [v.path for v in theirs.trainable_weights]
    assert [v.path for v in mine.non_trainable_weights] == [v.path for v in theirs.non_trainable_weights]
    assert mine.count_params() == theirs.count_params()
    assert mine.input_shape == theirs.input_shape
    assert mine.output_shape == theirs.output_shape
    assert [t.shape for t in mine.inputs] == [t.shape for t in theirs.inputs]
    assert [t.shape for t in mine.outputs] == [t.shape for t in theirs.outputs]
    # The one list that Keras gives to models, not to each input or output tensor.
    if hasattr(theirs, "output_names"):
        assert mine.output_names == theirs.output_names


@pytest.mark.parametrize("build", MODELS, ids=lambda f: f.__name__)
def test_config_is_that_of_keras_and_makes_an_equal_model(build):
    theirs, mine = both(build)
    assert config_of(mine) == config_of(theirs)
    again = type(mine).from_config(theirs.get_config())
    assert config_of(again) == config_of(mine)
    assert config_of(keras.model_from_json(theirs.to_json())) == config_of(mine)
    copy_weights(mine, again)
    assert_close(again(INPUTS[build](2)), mine(INPUTS[build](2)))


@pytest.mark.parametrize("build", MODELS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("batch", [0, 1, 5])
def test_outputs_are_those_of_keras(build, batch):
    theirs, mine = both(build)
    copy_weights(theirs, mine)
    inputs = INPUTS[build](batch)
    outputs = mine(inputs)
    assert all(isinstance(x, jax.Array) for x in jax.tree.leaves(outputs))
    assert_close(outputs, theirs(inputs))


@pytest.mark.parametrize("build", MODELS, ids=lambda f: f.__name__)
def test_one_symbolic_trace_serves_every_batch(build):
    theirs, mine = both(build)
    copy_weights(theirs, mine)
    compiled = lamina.compile(mine)
    for batch in (1, 4):
        assert_close(compiled(INPUTS[build](batch)), theirs(INPUTS[build](batch)))


OPS = {
    "arithmetic": lambda ops, x: (x + 1.5) * x - 2.0 / (x * x + 3.0),
    "reversed": lambda ops, x: 1.0 - x,
    "negative": lambda ops, x: -(abs(x) ** 2.0),
    "matmul": lambda ops, x: x @ ops.transpose(x, (0, 2, 1)),
    "slice": lambda ops, x: x[:, 1:, ::2],
    "index": lambda ops, x: x[:, -1],
    "newaxis": lambda ops, x: x[:, None, ..., 0],
    "sum": lambda ops, x: ops.sum(x, axis=(1, 2)),
    "mean": lambda ops, x: ops.mean(x, axis=-1, keepdims=True),
    "max": lambda ops, x: ops.max(x, 1),
    "reshape": lambda ops, x: ops.reshape(x, (-1, 12)),
    "concatenate": lambda ops, x: ops.concatenate([x, x * 2.0], axis=1),
    "stack": lambda ops, x: ops.stack([x, x], 1),
    "split": lambda ops, x: ops.split(x, 2, axis=-1)[1],
    "where": lambda ops, x: ops.where(x > 0.0, x, 0.5),
    "cast": lambda ops, x: ops.cast(x > 0.0, "float32"),
    "softmax": lambda ops, x: ops.softmax(x, axis=1),
    "gelu": lambda ops, x: ops.gelu(x, approximate=False),
    "leaky_relu": lambda ops, x: ops.leaky_relu(x, negative_slope=0.3),
    "clip": lambda ops, x: ops.clip(x, -0.5, 0.5),
    "einsum": lambda ops, x: ops.einsum("bij,bkj->bik", x, x),
    "expand_dims": lambda ops, x: ops.expand_dims(x, 1),
    "logsumexp": lambda ops, x: ops.logsumexp(x, axis=-1),
    "abs": lambda ops, x: ops.abs(x),
    "silu": lambda ops, x: ops.swish(x),
    "one_hot": lambda ops, x: ops.one_hot(ops.argmax(x, axis=-1), 4),
}


@pytest.mark.parametrize("name", OPS)
def test_ops_in_a_model_are_written_and_read_as_keras_does(name):
    def build(keras):
        x = keras.Input((3, 4), name="x")
        return keras.Model(x, OPS[name](keras.ops, x), name=name)

    theirs, mine = both(build)
    assert [op.name for op in mine.operations] == [op.name for op in theirs.operations]
    x = draw(2, 3, 4)
    expected = theirs(x)
    assert_close(mine(x), expected)
    assert_close(Functional.from_config(plain(theirs.get_config()))(x), expected)
    assert_close(real.Model.from_config(plain(mine.get_config()))(x), expected)
    assert (
        plain(mine.get_config())["layers"][-1]["class_name"] == plain(theirs.get_config())["layers"][-1]["class_name"]
    )


def test_a_shared_layer_has_one_set_of_weights():
    dense = layers.Dense(2)
    a, b = keras.Input((3,)), keras.Input((3,))
    model = keras.Model([a, b], layers.Subtract()([dense(a), dense(b)]))
    assert len(model.weights) == 2
    x = draw(4, 3)
    np.testing.assert_array_equal(model([x, x]), np.zeros((4, 2), "float32"))
    kernel = dense.kernel.numpy()
    y = draw(4, 3, seed=1)
    assert_close(model([x, y]), (x - y) @ kernel)


def test_a_model_is_a_layer_of_another_and_of_itself():
    start()
    x = keras.Input((3,), name="x")
    inner = keras.Model(x, layers.Dense(3, use_bias=False)(x), name="inner")
    outer = keras.Model(x, inner(inner(x)), name="outer")
    kernel = inner.layers[1].kernel.numpy()
    value = draw(2, 3)
    assert_close(outer(value), value @ kernel @ kernel)
    assert [layer.name for layer in outer.layers] == ["x", "inner"]
    assert [v.path for v in outer.weights] == ["dense/kernel"]


def test_part_of_a_model_is_a_model():
    """From an input to what a layer in the middle made."""
    start()
    x = keras.Input((4,), name="x")
    hidden = layers.Dense(3, activation="relu", name="hidden")(x)
    whole = keras.Model(x, layers.Dense(2, name="out")(hidden))
    features = keras.Model(whole.input, whole.get_layer("hidden").output)
    value = draw(2, 4)
    w, b = whole.layers[1].get_weights()
    assert_close(features(value), np.maximum(value @ w + b, 0))
    assert features.weights == whole.weights[:2]


def test_a_model_may_start_in_the_middle_of_another():
    def build(keras):
        x = keras.Input((4,), name="x")
        hidden = keras.layers.Dense(3, name="hidden")(x)
        out = keras.layers.Dense(2, name="out")(keras.layers.ReLU(name="relu")(hidden))
        return keras.Model(x, out), keras.Model(hidden, out, name="head")

    (their_whole, theirs), (mine_whole, mine) = both(build)
    copy_weights(their_whole, mine_whole)
    value = draw(2, 3)
    assert_close(mine(value), theirs(value))
    assert [type(layer).__name__ for layer in mine.layers] == [type(layer).__name__ for layer in theirs.layers]
    again = Functional.from_config(mine.get_config())
    copy_weights(mine, again)
    assert_close(again(value), theirs(value))


@pytest.mark.parametrize("structure", [list, tuple, lambda pair: dict(zip("ab", pair, strict=True))])
def test_outputs_come_in_the_structure_they_were_given_in(structure):
    x = keras.Input((2,), name="x")
    model = keras.Model(x, structure((x * 2.0, x + 1.0)))
    outputs = model(np.ones((1, 2), "float32"))
    assert jax.tree.structure(outputs) == jax.tree.structure(structure((0, 0)))
    np.testing.assert_array_equal(jax.tree.leaves(outputs)[0], [[2, 2]])
    np.testing.assert_array_equal(jax.tree.leaves(outputs)[1], [[2, 2]])


def test_inputs_are_given_by_place_or_by_name():
    a, b = keras.Input((2,), name="a"), keras.Input((2,), name="b")
    model = keras.Model([a, b], a - b)
    x, y = draw(3, 2), draw(3, 2, seed=1)
    for given in ([x, y], (x, y), {"a": x, "b": y}, {"b": y, "a": x}):
        np.testing.assert_array_equal(model(given), x - y)


def test_a_dict_of_inputs_is_sorted_by_name_wherever_it_is_a_list():
    theirs, mine = both(
        lambda keras: keras.Model({"b": keras.Input((2,), name="b"), "a": (a := keras.Input((3,), name="a"))}, a * 1.0)
    )
    assert mine.input_shape == theirs.input_shape == [(None, 3), (None, 2)]
    assert mine.input_names == ["a", "b"]


def test_a_last_dimension_of_one_is_added_or_dropped():
    x = keras.Input((4, 1), name="x")
    model = keras.Model(x, x * 2.0)
    assert model(np.ones((3, 4), "float32")).shape == (3, 4, 1)
    flat = keras.Input((4,), name="flat")
    assert keras.Model(flat, flat * 2.0)(np.ones((3, 4, 1), "float32")).shape == (3, 4)


def test_inputs_are_converted_to_their_types():
    theirs, mine = both(lambda keras: keras.Model(i := keras.Input((2,), dtype="int32", name="i"), i * 2))
    for value in (np.array([[1, 2]], "int64"), np.array([[1, 2]], "uint8"), np.array([[1.7, 2.2]], "float32")):
        assert_close(mine(value), theirs(value))


def test_training_reaches_every_layer_in_it():
    x = keras.Input((50,), name="x")
    inner = keras.Sequential([keras.Input((50,)), layers.Dropout(0.5)])
    model = keras.Model(x, inner(layers.BatchNormalization()(x)))
    value = 1 + draw(40, 50)
    still = model(value)
    np.testing.assert_array_equal(model(value, training=False), still)
    moved = np.asarray(model(value, training=True))
    assert 0.4 < np.mean(moved == 0) < 0.6, "half of it is dropped"
    norm = model.layers[1]
    # Momentum 0.99: a hundredth of the batch's mean goes into the moving mean.
    np.testing.assert_allclose(norm.moving_mean.numpy(), 0.01 * value.mean(axis=0), rtol=1e-4, atol=1e-7)


def test_training_fixed_at_a_call_stays():
    x = keras.Input((50,), name="x")
    model = keras.Model(x, layers.Dropout(0.5)(x, training=True))
    assert 0.3 < np.mean(np.asarray(model(np.ones((20, 50), "float32"))) == 0) < 0.7


def test_trainable_goes_down_and_reorders_nothing():
    def build(keras):
        model = keras.Sequential(
            [keras.Input((3,)), keras.layers.Dense(2), keras.layers.BatchNormalization(), keras.layers.Dense(1)]
        )
        x = keras.Input((3,))
        return keras.Model(x, model(x))

    theirs, mine = both(build)
    for change in (
        lambda m: setattr(m.layers[1].layers[0], "trainable", False),
        lambda m: setattr(m, "trainable", False),
        lambda m: setattr(m.layers[1].layers[1], "trainable", True),
        lambda m: setattr(m, "trainable", True),
    ):
        change(theirs)
        change(mine)
        for kind in ("weights", "trainable_weights", "non_trainable_weights", "trainable_variables"):
            assert [v.path for v in getattr(mine, kind)] == [v.path for v in getattr(theirs, kind)], kind
        assert plain(mine.get_config())["trainable"] == plain(theirs.get_config())["trainable"]


def test_weights_are_exchanged_as_numpy_arrays():
    model = keras.Sequential([keras.Input((2,)), layers.Dense(3)])
    new = [draw(2, 3), draw(3)]
    model.set_weights(new)
    for got, expected in zip(model.get_weights(), new, strict=True):
        assert isinstance(got, np.ndarray)
        np.testing.assert_array_equal(got, expected)
    with pytest.raises(ArgumentError, match="has 2 weights, received 1"):
        model.set_weights(new[:1])
    with pytest.raises(ShapeError, match=r"kernel.*expected shape \(2, 3\), received \(3, 2\)"):
        model.set_weights([new[0].T * 0, new[1]])
    with pytest.raises(ShapeError, match=r"bias.*expected shape \(3,\), received \(2,\)"):
        model.set_weights([new[0] * 0, new[1][:2]])
    np.testing.assert_array_equal(model.get_weights()[0], new[0], err_msg="nothing changes where anything does not fit")


def test_get_layer():
    x = keras.Input((2,), name="x")
    model = keras.Model(x, layers.Dense(1, name="one")(x))
    assert model.get_layer("one") is model.get_layer(index=1) is model.layers[-1]
    assert model.get_layer(index=-1) is model.layers[-1]
    with pytest.raises(ArgumentError, match="no layer 'two'; it has x, one"):
        model.get_layer("two")
    with pytest.raises(ArgumentError, match="has 2 layers, received index=2"):
        model.get_layer(index=2)
    with pytest.raises(ArgumentError, match="name or an index"):
        model.get_layer()


@pytest.mark.parametrize("name", ["a/b", 3])
def test_a_name_is_a_string_without_slashes(name):
    with pytest.raises(ArgumentError, match="without '/'"):
        layers.Dense(1, name=name)


def test_inputs_that_the_outputs_do_not_need_are_kept():
    theirs, mine = both(
        lambda keras: keras.Model(
            [keras.Input((2,), name="unused"), (b := keras.Input((3,), name="b"))], keras.layers.Dense(1)(b)
        )
    )
    assert [layer.name for layer in mine.layers] == [layer.name for layer in theirs.layers]
    assert config_of(mine) == config_of(theirs)
    copy_weights(theirs, mine)
    assert_close(mine([draw(2, 2), draw(2, 3)]), theirs([draw(2, 2), draw(2, 3)]))


def test_attributes_of_a_functional_subclass_are_kept():
    class Named(keras.Model):
        def __init__(self, units, **kwargs):
            x = keras.Input((3,), name="x")
            super().__init__(x, layers.Dense(units)(x), **kwargs)
            self.units = units

        def get_config(self):
            return {"units": self.units, "name": self.name}

    model = Named(2, name="named")
    assert isinstance(model, Functional) and isinstance(model, Named)
    assert model(np.ones((1, 3), "float32")).shape == (1, 2)
    again = Named.from_config(model.get_config())
    assert (again.units, again.name, again.output_shape) == (2, "named", (None, 2))


def test_disconnected_outputs_name_what_is_missing():
    a, b = keras.Input((2,), name="a"), keras.Input((2,), name="b")
    with pytest.raises(ArgumentError, match=r"depend on .*'b'.* not among the model's inputs: a"):
        keras.Model(a, a + b)


def test_two_layers_of_one_name_are_refused():
    x = keras.Input((2,), name="x")
    y = layers.Dense(2, name="same")(layers.Dense(2, name="same")(x))
    with pytest.raises(ArgumentError, match="'same' is borne by 2 layers"):
        keras.Model(x, y)


@pytest.mark.parametrize(
    "inputs, outputs, message",
    [
        ("x", 3.0, "outputs .* symbolic tensors.*received 3.0"),
        (np.ones(2), "x", "inputs .* symbolic tensors"),
        ("x", [], "outputs .* received none"),
    ],
)
def test_what_is_no_symbolic_tensor_is_refused(inputs, outputs, message):
    x = keras.Input((2,), name="x")
    with pytest.raises(DTypeError, match=message):
        keras.Model(*(x if isinstance(v, str) else v for v in (inputs, outputs)))


@pytest.mark.parametrize(
    "given, error, message",
    [
        (draw(3, 5), ShapeError, r"input 'x' has shape \(None, 4\), received \(3, 5\)"),
        (draw(3, 4, 2), ShapeError, r"input 'x' has shape \(None, 4\), received \(3, 4, 2\)"),
        ([draw(3, 4), draw(3, 4)], ArgumentError, r"takes 1 input.* \(x\), received 2"),
        ({"y": draw(3, 4)}, ArgumentError, r"missing \['x'\] .* \['y'\]"),
    ],
)
def test_wrong_inputs_say_what_the_model_takes(given, error, message):
    x = keras.Input((4,), name="x")
    model = keras.Model(x, layers.Dense(2)(x), name="small")
    with pytest.raises(error, match=message) as caught:
        model(given)
    assert "small" in str(caught.value)


@pytest.mark.parametrize(
    "kwargs, message",
    [
        ({}, "needs a shape"),
        ({"shape": (2,), "batch_shape": (1, 2)}, "not both"),
        ({"shape": (-3,)}, "integer >= 0 or None"),
        ({"shape": ("a",)}, "integers and None"),
        ({"shape": (2,), "sparse": True}, "sparse"),
    ],
)
def test_wrong_arguments_of_input(kwargs, message):
    with pytest.raises(ArgumentError, match=message):
        keras.Input(**kwargs)


def test_input_takes_fixed_batches_and_types():
    for kwargs in ({"shape": (2,), "batch_size": 3}, {"batch_shape": (3, 2)}, {"shape": (2, None), "dtype": "int32"}):
        theirs, mine = real.Input(**kwargs), keras.Input(**kwargs)
        assert (mine.shape, mine.dtype) == (theirs.shape, theirs.dtype)


def _config():
    x = keras.Input((2,), name="x")
    return keras.Model(x, layers.Dense(1, name="d")(x), name="m").get_config()


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda c: c.pop("input_layers"), "input_layers"),
        (lambda c: c["layers"][1].pop("class_name"), "class_name"),
        (lambda c: c["layers"][1].update(class_name="Dens"), "Dens"),
        (
            lambda c: c["layers"][1]["inbound_nodes"][0]["args"][0]["config"].update(keras_history=["y", 0, 0]),
            "'d'.*no layer",
        ),
        (lambda c: c.update(output_layers=["d", 1, 0]), "d"),
        (lambda c: c.update(output_layers=["z", 0, 0]), "z"),
    ],
)
def test_a_wrong_config_says_what_is_wrong(change, message):
    config = plain(_config())
    change(config)
    with pytest.raises((FileFormatError, ArgumentError), match=message):
        Functional.from_config(config)
