"""Subclassed models and layers: what is tracked, when it is built, what a call does."""

import keras as real
import numpy as np
import pytest
from model_pairs import assert_close, both, config_of, copy_weights, draw, plain, start
from subclassed_pairs import classes, pair, plain_model, tower, with_custom_layer

import lamina
from lamina import keras
from lamina.ir.errors import ArgumentError, ShapeError

layers = keras.layers

INPUTS = {
    tower: draw(4, 3),
    plain_model: draw(4, 3),
    pair: {"a": draw(4, 3), "b": draw(4, 3, seed=1)},
    with_custom_layer: draw(4, 3),
}


@pytest.fixture(autouse=True, scope="module")
def registered():
    classes(real), classes(keras)


@pytest.mark.parametrize("build", INPUTS, ids=lambda f: f.__name__)
def test_weights_config_and_outputs_are_those_of_keras(build):
    theirs, mine = both(build)
    x = INPUTS[build]
    theirs(x)
    mine(x)
    for kind in ("weights", "variables", "trainable_weights", "non_trainable_weights", "non_trainable_variables"):
        assert [v.path for v in getattr(mine, kind)] == [v.path for v in getattr(theirs, kind)], kind
    assert [v.shape for v in mine.weights] == [v.shape for v in theirs.weights]
    assert [layer.name for layer in mine.layers] == [layer.name for layer in theirs.layers]
    assert mine.count_params() == theirs.count_params()
    assert config_of(mine) == config_of(theirs)
    copy_weights(theirs, mine)
    assert_close(mine(x), theirs(x))


@pytest.mark.parametrize("build", INPUTS, ids=lambda f: f.__name__)
def test_from_config(build):
    _, mine = both(build)
    mine(INPUTS[build])
    again = type(mine).from_config(plain(mine.get_config()))
    assert plain(again.get_config()) == plain(mine.get_config())
    again(INPUTS[build])
    copy_weights(mine, again)
    assert_close(again(INPUTS[build]), mine(INPUTS[build]))


class Growing(keras.Model):
    """Layers that are added to containers after these were assigned."""

    def __init__(self):
        super().__init__()
        self.blocks = []
        self.named = {}
        for i in range(2):
            self.blocks.append(layers.Dense(3, name=f"block{i}"))
            self.named[str(i)] = layers.Dense(3, name=f"named{i}")

    def call(self, x):
        for block in (*self.blocks, *self.named.values()):
            x = block(x)
        return x


def test_containers_are_tracked_as_they_grow():
    model = Growing()
    x = draw(2, 3)
    model(x)
    assert [layer.name for layer in model.layers] == ["block0", "block1", "named0", "named1"]
    assert len(model.weights) == 8
    model.blocks.append(layers.Dense(3, name="late"))
    model(x)
    assert len(model.weights) == 10
    del model.named["0"]
    assert len(model.weights) == 8
    model.blocks = []
    assert [layer.name for layer in model.layers] == ["named1"]


def test_an_attribute_that_is_replaced_is_forgotten():
    model = keras.Model()
    model.head = layers.Dense(2, name="old")
    model.head = layers.Dense(2, name="new")
    model.same = model.head
    assert [layer.name for layer in model.layers] == ["new"]
    del model.head
    assert [layer.name for layer in model.layers] == ["new"], "another attribute has it still"
    del model.same
    assert model.layers == []
    model.counter = keras.Variable(1.0, name="counter")
    assert [v.name for v in model.weights] == ["counter"]


def test_a_call_runs_as_python():
    seen = []

    class Loud(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(2)

        def call(self, x):
            y = self.dense(x)
            seen.append(float(np.asarray(y).sum()))  # values are there
            return y if seen[-1] > 1e9 else -y

    model = Loud()
    x = draw(3, 2)
    first, second = model(x), model(x)
    assert len(seen) == 2
    assert_close(first, second)
    assert_close(first, -np.asarray(model.dense(x)))


def test_training_reaches_layers_in_layers():
    class Dropping(layers.Layer):
        def __init__(self):
            super().__init__()
            self.drop = layers.Dropout(0.5)

        def call(self, x):  # it takes no training itself
            return self.drop(x)

    class Outer(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = Dropping()

        def call(self, x, training=None):
            self.was = training
            return self.inner(x)

    model = Outer()
    x = np.ones((50, 50), "float32")
    np.testing.assert_array_equal(model(x), x)
    assert model.was is None
    np.testing.assert_array_equal(model(x, training=False), x)
    assert 0.4 < np.mean(np.asarray(model(x, training=True)) == 0) < 0.6
    assert model.was is True


def test_a_default_of_training_holds_where_nothing_is_said():
    def build(keras):
        class Trains(keras.layers.Layer):
            def __init__(self):
                super().__init__()
                self.norm = keras.layers.BatchNormalization()

            def call(self, x, training=True):
                return self.norm(x)

        return Trains()

    theirs, mine = both(build)
    x = 2 + draw(64, 3)
    for kwargs in ({}, {"training": False}):
        assert_close(mine(x, **kwargs), theirs(x, **kwargs))
    assert_close(mine.norm.moving_mean.numpy(), np.asarray(theirs.norm.moving_mean))


def test_state_that_a_call_assigns_is_kept_eagerly_and_compiled():
    class Counting(layers.Layer):
        def __init__(self):
            super().__init__()
            self.count = self.add_weight(shape=(), initializer="zeros", dtype="int32", trainable=False, name="count")

        def call(self, x):
            self.count.assign_add(1)
            return x * keras.ops.cast(self.count, "float32")

    layer = Counting()
    x = np.ones((1, 2), "float32")
    for expected in (1, 2):
        np.testing.assert_array_equal(layer(x), expected * x)
    compiled = lamina.compile(layer, lamina.Spec((None, 2)))
    assert int(layer.count.numpy()) == 2, "tracing changes nothing"
    np.testing.assert_array_equal(compiled(x), 3 * x)
    assert int(layer.count.numpy()) == 3


def test_layers_made_in_call_arguments_of_every_kind():
    class Mixed(layers.Layer):
        def call(self, first, second=None, *, factor=1.0, flag=False):
            total = first if second is None else first + second
            return (total * factor, {"flag": flag})

    layer = Mixed()
    x = draw(2, 3)
    output, rest = layer(x, x, factor=2.0, flag=True)
    assert_close(output, 4 * x)
    assert rest == {"flag": True}
    with pytest.raises(TypeError, match=r"Mixed.*unexpected keyword argument 'wrong'.*call\(first, second=None"):
        layer(x, wrong=1)


def test_build_gets_the_shapes_by_name():
    shapes = {}

    class Two(layers.Layer):
        def build(self, query_shape, value_shape):
            shapes.update(query=query_shape, value=value_shape)

        def call(self, query, value):
            return query + keras.ops.sum(value)

    Two()(draw(2, 3), draw(5, 4))
    assert shapes == {"query": (2, 3), "value": (5, 4)}


def test_trainable_of_a_layer_is_that_of_all_in_it():
    theirs, mine = both(tower)
    theirs(INPUTS[tower]), mine(INPUTS[tower])
    for model in (theirs, mine):
        model.blocks[0].trainable = False
    assert [v.path for v in mine.trainable_weights] == [v.path for v in theirs.trainable_weights]
    for model in (theirs, mine):
        model.trainable = False
    assert mine.trainable_weights == [] and mine.blocks[1].trainable is False
    assert [v.path for v in mine.non_trainable_weights] == [v.path for v in theirs.non_trainable_weights]


def test_losses_of_regularizers():
    def build(keras):
        model = keras.Sequential(
            [keras.Input((3,)), keras.layers.Dense(2, kernel_regularizer=keras.regularizers.L2(0.1))]
        )
        return model

    theirs, mine = both(build)
    copy_weights(theirs, mine)
    assert len(mine.losses) == len(theirs.losses) == 1
    assert_close(np.asarray(mine.losses[0]), np.asarray(theirs.losses[0]))


def test_a_config_that_cannot_be_made_says_so():
    class Odd(layers.Layer):
        def __init__(self, thing):
            super().__init__()
            self.thing = thing

    with pytest.raises(ArgumentError, match=r"Odd.*define get_config"):
        Odd(object()).get_config()
    assert Odd("text").get_config()["thing"] == "text"

    with pytest.raises(
        ArgumentError, match=r"cannot make a Odd from its config: .*'wrong'.*The config was {'wrong': 3}"
    ):
        Odd.from_config({"wrong": 3})


def test_a_class_without_call_says_so():
    with pytest.raises(ArgumentError, match="layer class Empty has no call"):
        type("Empty", (layers.Layer,), {})()(draw(1, 2))
    with pytest.raises(ArgumentError, match="model class Void has no call"):
        type("Void", (keras.Model,), {})()(draw(1, 2))


def test_weights_of_a_layer_that_is_not_built():
    model = classes(keras)["Plain"]()
    assert model.weights == []
    with pytest.raises(ArgumentError, match=r"not built.*call it once"):
        model.count_params()
    with pytest.raises(ArgumentError, match="has 0 weights, received 4; the layer is not built yet"):
        model.set_weights([draw(1)] * 4)
    model(draw(2, 3))
    with pytest.raises(ShapeError, match=r"kernel.*\(3, 4\), received \(4, 3\)"):
        model.set_weights([w.T for w in model.get_weights()])


def test_a_seed_generator_is_state_but_no_weight():
    start()
    layer = layers.Dropout(0.5, seed=3)
    assert layer.weights == []
    assert [v.path for v in layer.variables] == ["seed_generator/seed_generator_state"]
    before = layer.variables[0].numpy()
    layer(np.ones((2, 2), "float32"), training=True)
    assert not np.array_equal(layer.variables[0].numpy(), before)
