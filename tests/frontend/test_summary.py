"""``summary()`` prints what Keras prints, character by character."""

import numpy as np
import pytest
from model_pairs import MODELS, both, draw
from subclassed_pairs import classes, pair, plain_model, tower, with_custom_layer

from lamina import keras
from lamina.frontend.summary import readable_size
from lamina.ir.errors import ArgumentError

import keras as real  # isort: skip

OPTIONS = [
    {},
    {"expand_nested": True},
    {"show_trainable": True},
    {"show_trainable": True, "expand_nested": True, "line_length": 130},
    {"line_length": 64},
    {"line_length": 200},
]


@pytest.fixture(autouse=True)
def terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    classes(real), classes(keras)


def printed(model, **options):
    texts = []
    model.summary(print_fn=lambda text, **_: texts.append(text), **options)
    (text,) = texts
    return text


def unbuilt(keras):
    return keras.Sequential([keras.layers.Dense(2), keras.layers.Dropout(0.5)], name="unbuilt")


def frozen(keras):
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(2), keras.layers.BatchNormalization()], name="frozen"
    )
    model.layers[0].trainable = False
    return model


def shared(keras):
    x = keras.Input((3,), name="x")
    dense = keras.layers.Dense(3, name="dense")
    return keras.Model(x, dense(dense(x)), name="shared")


def chain(keras):
    x = keras.Input((3,), name="x")
    return keras.Model(x, keras.layers.Dense(3)(keras.ops.relu(x)), name="chain")


def large(keras):
    return keras.Sequential([keras.Input((1000,)), keras.layers.Dense(2000), keras.layers.Dense(500, dtype="float16")])


def marked(keras):
    return keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(1, name="a_layer_of_a_very_long_name_that_needs_two_lines")],
        name="[bold]name",
    )


def two_outputs(keras):
    x = keras.Input((3,), name="x")
    inner = keras.Model(x, [x * 2.0, keras.layers.Dense(2)(x)], name="inner")
    y = keras.Input((3,), name="y")
    return keras.Model(y, inner(y), name="two")


@pytest.mark.parametrize(
    "build",
    [*MODELS, unbuilt, frozen, shared, chain, large, marked, two_outputs, with_custom_layer],
    ids=lambda f: f.__name__,
)
def test_models(build):
    theirs, mine = both(build)
    for options in OPTIONS:
        expected = printed(theirs, **options)
        assert "Total params" in expected
        assert printed(mine, **options) == expected, options


@pytest.mark.parametrize("called", [False, True], ids=["new", "called"])
@pytest.mark.parametrize(
    "build, inputs",
    [(tower, draw(4, 3)), (plain_model, draw(4, 3)), (pair, {"a": draw(4, 3), "b": draw(4, 3)})],
    ids=["tower", "plain", "pair"],
)
def test_subclassed_models(build, inputs, called):
    theirs, mine = both(build)
    if called:
        theirs(inputs), mine(inputs)
    for options in OPTIONS:
        assert printed(mine, **options) == printed(theirs, **options), options


@pytest.mark.parametrize(
    "layer_range", [["batch_normalization", "flatten"], ["dense", "conv2d"], ["conv2d.*", "conv2d.*"]]
)
def test_a_range_of_layers(layer_range):
    theirs, mine = both(MODELS[1])
    assert printed(mine, layer_range=layer_range) == printed(theirs, layer_range=layer_range)


@pytest.mark.parametrize("columns", [40, 80, 300])
def test_the_terminal_gives_the_width(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    for build in (MODELS[0], MODELS[2]):
        theirs, mine = both(build)
        assert printed(mine) == printed(theirs)


def test_positions():
    theirs, mine = both(MODELS[0])
    options = {"line_length": 100, "positions": [0.6, 0.8, 1.0]}
    assert printed(mine, **options) == printed(theirs, **options)


def test_without_print_fn_it_prints(capsys):
    _, mine = both(MODELS[0])
    mine.summary()
    text = capsys.readouterr().out
    assert text == printed(mine)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"line_length": 8}, "8 characters leaves no room for column"),
        ({"positions": [0.5, 1.0]}, "edges of 3 columns"),
        ({"layer_range": ["dense"]}, "two names"),
        ({"layer_range": ["dense", "nothing"]}, "no layer matches 'nothing'; the layers are dense, dropout"),
    ],
)
def test_wrong_options(options, message):
    _, mine = both(MODELS[0])
    with pytest.raises(ArgumentError, match=message):
        mine.summary(**options)


@pytest.mark.parametrize(
    "size, text",
    [(0, "0.00 B"), (1023, "1023.00 B"), (1024, "1.00 KB"), (1536 * 1024, "1.50 MB"), (2**60, "1024.00 PB")],
)
def test_readable_size(size, text):
    assert readable_size(size) == text


def test_the_numbers_are_those_of_the_weights():
    _, mine = both(frozen)
    text = printed(mine)
    assert f"Total params: {sum(np.size(w) for w in mine.get_weights())} " in text
    assert "Trainable params: 4 (16.00 B)" in text and "Non-trainable params: 12 (48.00 B)" in text
