"""Sequential models against real Keras."""

import keras as real
import numpy as np
import pytest
from model_pairs import assert_close, both, config_of, copy_weights, draw, mlp, plain, start

import lamina
from lamina import keras
from lamina.ir.errors import ArgumentError, DTypeError, FileFormatError, ShapeError

layers = keras.layers


def names(model):
    return [layer.name for layer in model.layers]


def test_without_an_input_it_is_built_at_the_first_call():
    theirs, mine = both(
        lambda keras: keras.Sequential([keras.layers.Dense(4, activation="relu"), keras.layers.Dense(2)])
    )
    assert not mine.built and mine.weights == []
    assert config_of(mine) == config_of(theirs)
    with pytest.raises(ArgumentError, match=r"not built.*Input"):
        _ = mine.inputs
    with pytest.raises(ArgumentError, match="not built"):
        mine.count_params()
    x = draw(5, 3)
    theirs(x)
    mine(x)
    assert mine.built
    assert [v.path for v in mine.weights] == [v.path for v in theirs.weights]
    assert (mine.input_shape, mine.output_shape) == (theirs.input_shape, theirs.output_shape) == ((5, 3), (5, 2))
    assert config_of(mine) == config_of(theirs)
    copy_weights(theirs, mine)
    for batch in (5, 2):  # the batch of the first call binds nobody
        assert_close(mine(draw(batch, 3)), theirs(draw(batch, 3)))


def test_build_makes_the_weights():
    theirs, mine = both(lambda keras: keras.Sequential([keras.layers.Dense(4), keras.layers.Dense(2)]))
    theirs.build((None, 3))
    mine.build((None, 3))
    assert mine.built
    assert [v.shape for v in mine.weights] == [(3, 4), (4,), (4, 2), (2,)]
    assert config_of(mine) == config_of(theirs)
    copy_weights(theirs, mine)
    for batch in (1, 6):
        assert_close(mine(draw(batch, 3)), theirs(draw(batch, 3)))


def test_add_and_pop():
    def build(keras):
        model = keras.Sequential(name="grown")
        model.add(keras.Input((3,)))
        model.add(keras.layers.Dense(4, name="first"))
        model.add(keras.layers.Dense(5, name="second"))
        model.add(keras.layers.Dense(6, name="third"))
        return model

    theirs, mine = both(build)
    assert names(mine) == names(theirs)
    assert mine.output_shape == theirs.output_shape == (None, 6)
    assert mine.pop().name == theirs.pop().name == "third"
    assert mine.output_shape == theirs.output_shape == (None, 5)
    assert [v.path for v in mine.weights] == [v.path for v in theirs.weights]
    copy_weights(theirs, mine)
    assert_close(mine(draw(2, 3)), theirs(draw(2, 3)))
    mine.add(layers.Dense(1, name="fourth"))
    assert names(mine) == ["first", "second", "fourth"]
    assert mine(draw(2, 3)).shape == (2, 1)


def test_an_input_shape_of_the_first_layer_serves_as_input():
    theirs, mine = both(
        lambda keras: (
            keras.Sequential([keras.layers.Dense(2, input_shape=(3,))])
            if keras is not real
            else keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        )
    )
    assert mine.built
    assert mine.input_shape == theirs.input_shape
    assert names(mine) == names(theirs)


@pytest.mark.parametrize("kwargs", [{}, {"training": False}])
def test_it_is_the_composition_of_its_layers(kwargs):
    _, mine = both(mlp)
    x = draw(4, 8)
    y = x
    for layer in mine.layers:
        y = layer(y, training=False) if isinstance(layer, layers.Dropout) else layer(y)
    assert_close(mine(x, **kwargs), y)


def test_nested():
    def build(keras):
        inner = keras.Sequential([keras.layers.Dense(4, activation="tanh"), keras.layers.Dense(3)], name="inner")
        return keras.Sequential([keras.Input((2,)), inner, keras.layers.Dense(1)], name="outer")

    theirs, mine = both(build)
    assert [v.path for v in mine.weights] == [v.path for v in theirs.weights]
    assert config_of(mine) == config_of(theirs)
    copy_weights(theirs, mine)
    assert_close(mine(draw(3, 2)), theirs(draw(3, 2)))


@pytest.mark.parametrize(
    "build",
    [
        mlp,
        lambda keras: keras.Sequential([keras.layers.Dense(2)], name="unbuilt"),
        lambda keras: keras.Sequential(
            [keras.Input((4, 4), batch_size=2), keras.layers.Flatten(), keras.layers.ReLU()]
        ),
        lambda keras: keras.Sequential([keras.Input((5,), dtype="int32"), keras.layers.LeakyReLU(0.5)]),
        lambda keras: keras.Sequential(name="empty"),
    ],
    ids=["mlp", "unbuilt", "fixed_batch", "integers", "empty"],
)
def test_config_is_that_of_keras_and_makes_an_equal_model(build):
    theirs, mine = both(build)
    assert config_of(mine) == config_of(theirs)
    again = keras.Sequential.from_config(plain(theirs.get_config()))
    assert config_of(again) == config_of(mine)
    assert config_of(keras.model_from_json(theirs.to_json())) == config_of(mine)
    assert again.built == mine.built == theirs.built


def test_its_input_and_output_serve_in_functional_models():
    start()
    model = mlp(keras)
    hidden = keras.Model(model.inputs, model.layers[0].output)
    x = draw(2, 8)
    w, b = model.layers[0].get_weights()
    assert_close(hidden(x), np.maximum(x @ w + b, 0))
    assert model.input.shape == (None, 8) and model.output.shape == (None, 3)


def test_changing_a_layer_shows_in_the_next_call():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2, use_bias=False)])
    x = draw(2, 3)
    model(x)
    model.layers[0].kernel.assign(np.ones((3, 2), "float32"))
    assert_close(model(x), x.sum(axis=1, keepdims=True) * np.ones((1, 2), "float32"))
    model.layers[0].activation = keras.activations.relu
    assert_close(model(x), np.maximum(x.sum(axis=1, keepdims=True) * np.ones((1, 2), "float32"), 0))


def test_wrong_layers_are_refused():
    with pytest.raises(DTypeError, match="takes layers, received 3"):
        keras.Sequential([3])
    dense = layers.Dense(2, name="same")
    with pytest.raises(ArgumentError, match="layer 'same' already"):
        keras.Sequential([dense, layers.Dense(2, name="same")])
    with pytest.raises(ArgumentError, match="Input comes first, received it after 'same'"):
        keras.Sequential([dense, keras.Input((2,))])
    with pytest.raises(ArgumentError, match="no layers"):
        keras.Sequential(name="empty").build((None, 2))


def test_wrong_inputs_are_refused():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2)], name="small")
    with pytest.raises(ShapeError, match=r"\(None, 3\), received \(4, 2\)"):
        model(draw(4, 2))
    with pytest.raises(ArgumentError, match="received 2"):
        model([draw(4, 3), draw(4, 3)])
    with pytest.raises(FileFormatError, match="unknown class 'NoSuchLayer'"):
        keras.Sequential.from_config({"name": "x", "layers": [{"class_name": "NoSuchLayer", "config": {}}]})


def test_the_batch_of_the_first_call_does_not_bind_a_compiled_model():
    model = keras.Sequential([layers.Dense(2)])
    model(draw(4, 3))
    compiled = lamina.compile(model)
    for batch in (1, 7):
        x = draw(batch, 3)
        assert_close(compiled(x), model(x))
