"""Users' cells in recurrent layers, wrappers around layers, and files of all these; real Keras is the reference."""

import io
import json
import zipfile

import h5py
import keras as real
import numpy as np
import pytest
from model_pairs import assert_close, both, config_of, copy_weights, draw, plain
from recurrent_pairs import X, outputs_agree, pair_of

import lamina
from lamina import Spec, keras
from lamina.ir.errors import ArgumentError, ShapeError

layers = keras.layers


# Cells of the user's


def cells_of(k):
    """Cells as users write them, by what is special about each."""

    @k.saving.register_keras_serializable("test_recurrent")
    class Plain(k.layers.Layer):
        """One state, which is the output."""

        def __init__(self, units, **kwargs):
            super().__init__(**kwargs)
            self.units = self.state_size = units

        def build(self, input_shape):
            self.kernel = self.add_weight(shape=(input_shape[-1], self.units), name="kernel")
            self.recurrent = self.add_weight(shape=(self.units, self.units), name="recurrent")

        def call(self, inputs, states):
            y = k.ops.tanh(k.ops.matmul(inputs, self.kernel) + k.ops.matmul(states[0], self.recurrent))
            return y, [y]

        def get_config(self):
            return {**super().get_config(), "units": self.units}

    class Other(Plain):
        """Two states of other sizes, an output that is none of them, states of its own to begin with."""

        def __init__(self, units, **kwargs):
            super().__init__(units, **kwargs)
            self.state_size = (units, 1)
            self.output_size = units + 1

        def get_initial_state(self, batch_size=None):
            return [k.ops.ones((batch_size, self.units)), k.ops.zeros((batch_size, 1))]

        def call(self, inputs, states, training=False):
            h, count = states
            y, (h,) = super().call(inputs, [h])
            count = count + (10 if training else 1)
            return k.ops.concatenate([y, count], axis=-1), [h, count]

    class Inner(k.layers.Layer):
        """A layer inside that is built at the first call; the output is the second state."""

        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.state_size = [4, 3]
            self.output_size = 3
            self.dense = k.layers.Dense(3, activation="relu")

        def build(self, input_shape):
            self.dense.build((None, input_shape[-1]))

        def call(self, inputs, states):
            y = self.dense(states[0]) + states[1]
            return y, [inputs, y]

    return {"plain": lambda: Plain(3), "other": lambda: Other(3), "inner": lambda: Inner()}


@pytest.mark.parametrize("config", [{}, {"return_sequences": True, "return_state": True, "go_backwards": True}])
@pytest.mark.parametrize("cell", ["plain", "other", "inner"])
def test_cells_of_the_users_are_run_as_by_keras(cell, config):
    _, mine = outputs_agree(lambda k: k.layers.RNN(cells_of(k)[cell](), **config))
    assert len(mine._eager.programs) == 1  # the loop is one program, though the cell is the user's
    compiled = lamina.compile(mine, Spec((None, None, 4)))
    assert_close(compiled(X), mine(X))


def test_cells_take_training_masks_and_stacks():
    outputs_agree(lambda k: k.layers.RNN(cells_of(k)["other"](), return_state=True), training=True)
    mask = np.array([[False, True, True, True, False], [True, False, True, True, True]])
    outputs_agree(lambda k: k.layers.RNN(cells_of(k)["plain"](), return_sequences=True), mask=mask)
    outputs_agree(
        lambda k: k.layers.RNN(cells_of(k)["other"](), return_sequences=True, zero_output_for_mask=True), mask=mask
    )
    outputs_agree(lambda k: k.layers.RNN([cells_of(k)["plain"](), k.layers.LSTMCell(2), cells_of(k)["other"]()]))
    outputs_agree(lambda k: k.layers.Bidirectional(k.layers.RNN(cells_of(k)["plain"]())), mask=mask)
    with pytest.raises(ArgumentError, match=r"zero_output_for_mask=True(.|\n)*my_rnn"):
        layers.RNN(cells_of(keras)["other"](), name="my_rnn")(X, mask=mask)


def test_a_layer_with_a_loop_of_its_own():
    def make(k):
        class Twice(k.layers.RNN):
            """Doubles the inputs before its loop, and the outputs after it."""

            def inner_loop(self, sequences, initial_state, mask, training=False):
                last, outputs, states = super().inner_loop(2 * sequences, initial_state, mask, training=training)
                return 2 * last, 2 * outputs, states

            def call(self, sequences, initial_state=None, mask=None, training=False):
                return super().call(sequences, initial_state=initial_state, mask=mask, training=training)

        return Twice(k.layers.LSTMCell(3), return_sequences=True)

    _, mine = outputs_agree(make)
    plain_layer = layers.RNN(layers.LSTMCell(3), return_sequences=True)
    plain_layer(X)
    copy_weights(mine, plain_layer)
    assert_close(mine(X), 2 * np.asarray(plain_layer(2 * X)))


def test_nested_states_and_outputs():
    class Nested(keras.layers.Layer):
        state_size = [[2, 3], 4]
        output_size = 4

        def call(self, inputs, states):
            (a, b), c = states
            c = c + inputs
            return {"sum": c, "first": a}, (((a + 1), b + 2), c)

    sequences, *states = layers.RNN(Nested(), return_sequences=True, return_state=True)(X)
    np.testing.assert_allclose(sequences["sum"], np.cumsum(X, axis=1), rtol=1e-6)  # float32 sums of five terms
    np.testing.assert_array_equal(sequences["first"], np.broadcast_to(np.arange(5)[:, None], (2, 5, 2)))
    (a, b), c = states
    assert_close(c, X.sum(1))
    assert a.shape == (2, 2) and b.shape == (2, 3) and (np.asarray(a) == 5).all() and (np.asarray(b) == 10).all()
    last = layers.RNN(Nested())(X)
    assert_close(last["sum"], np.asarray(sequences["sum"])[:, -1])
    assert_close(last["first"], np.asarray(sequences["first"])[:, -1])


def test_a_cell_that_is_no_layer():
    class Cell:
        state_size = 4

        def call(self, inputs, states):
            return states[0] + inputs, [states[0] + inputs]

    assert_close(layers.RNN(Cell())(X), X.sum(1))


def test_what_is_no_cell_is_refused():
    class NoSize(keras.layers.Layer):
        def call(self, inputs, states):
            return inputs, states

    class NoCall:
        state_size = 3

    class Fewer(NoSize):
        state_size = [3, 3]

        def call(self, inputs, states):
            return states[0], states[:1]

    class Single(NoSize):
        state_size = 3

        def call(self, inputs, states):
            return states[0]

    for cell, message in (
        (NoSize(), r"RNN 'my_rnn': expected cell to have state_size"),
        (NoCall(), r"RNN 'my_rnn': expected cell to be .*call\(inputs, states\)"),
        (3, r"RNN 'my_rnn': expected cell"),
    ):
        with pytest.raises(ArgumentError, match=message):
            layers.RNN(cell, name="my_rnn")
    for cell, message in ((Fewer(), r"it took 2, and returned 1(.|\n)*my_rnn"), (Single(), r"my_rnn.*next states")):
        with pytest.raises(ArgumentError, match=message):
            layers.RNN(cell, name="my_rnn")(X)
    with pytest.raises(ArgumentError, match=r"my_stack.*state_size"):
        layers.StackedRNNCells([NoSize()], name="my_stack")


# Wrappers


def test_time_distributed_does_what_keras_does():
    x = draw(2, 3, 4, 5, 1)
    make_inner = {
        "images": lambda k: k.Sequential([k.layers.Conv2D(2, 2, activation="relu"), k.layers.Flatten()]),
        "norm": lambda k: k.layers.BatchNormalization(),
        "model": lambda k: k.Sequential([k.layers.Flatten(), k.layers.Dense(3), k.layers.LayerNormalization()]),
    }
    for make in make_inner.values():
        outputs_agree(lambda k, make=make: k.layers.TimeDistributed(make(k)), x)
    theirs, mine = pair_of(lambda k: k.layers.TimeDistributed(k.layers.BatchNormalization(momentum=0.5)), X)
    values = [np.abs(w) for w in mine.get_weights()]
    theirs.set_weights(values), mine.set_weights(values)
    assert_close(mine(X, training=True), theirs(X, training=True))  # the statistics move with each step
    assert_close(mine.get_weights(), theirs.get_weights())


def test_time_distributed_takes_all_steps_at_once_where_it_may():
    def step_count(layer):
        wrapper = layers.TimeDistributed(layer)
        wrapper(X)
        module = lamina.trace(wrapper, Spec((None, None, 4)))
        return [node.op.name for node in module.main.nodes].count("scan")

    assert step_count(layers.Dense(3, activation="relu")) == 0
    assert step_count(keras.Sequential([layers.Dense(3), layers.Activation("gelu")])) == 0
    assert step_count(layers.Dense(3, activation=lambda x: x - keras.ops.mean(x))) == 1  # may look at the whole batch
    assert step_count(layers.BatchNormalization()) == 1
    dropped = np.asarray(layers.TimeDistributed(layers.Dropout(0.5, seed=1))(np.ones((3, 4, 9)), training=True))
    assert any((dropped[:, 0] != dropped[:, t]).any() for t in range(1, 4))


def test_layers_around_layers():
    class Doubled(layers.Wrapper):
        def call(self, inputs):
            return 2 * self.layer(inputs)

    wrapper = Doubled(layers.Dense(3, name="dense"), name="doubled")
    y = wrapper(X[:, 0])
    assert_close(y, 2 * np.asarray(wrapper.layer(X[:, 0])))
    assert [w.path for w in wrapper.weights] == ["doubled/dense/kernel", "doubled/dense/bias"]
    again = Doubled.from_config(wrapper.get_config())
    assert again.layer.units == 3 and again.layer is not wrapper.layer
    with pytest.raises(ArgumentError, match="layer"):
        layers.Wrapper(3)


def test_bidirectional_copies_its_layer():
    inner = layers.LSTM(3, return_sequences=True)
    inner(X)
    layer = layers.Bidirectional(inner)
    assert not layer.forward_layer.built and layer.backward_layer.go_backwards
    zeros = [w * 0 for w in inner.get_weights()] * 2
    assert (np.asarray(layers.Bidirectional(inner, weights=zeros)(X)) == 0).all()
    for config, message in (
        ({"merge_mode": "most"}, "merge_mode"),
        ({"backward_layer": layers.LSTM(3, return_sequences=True)}, "opposite directions"),
        ({"backward_layer": layers.LSTM(3, go_backwards=True)}, "agree in return_sequences"),
        ({"backward_layer": 3}, "backward_layer"),
    ):
        with pytest.raises(ArgumentError, match=message):
            layers.Bidirectional(inner, **config)


@pytest.mark.parametrize(
    "name, config, message",
    [
        ("LSTM", {"units": 0}, "units"),
        ("GRU", {"units": 3, "use_cudnn": "maybe"}, "use_cudnn"),
        ("ConvLSTM2D", {"filters": 2, "kernel_size": 2, "padding": "causal"}, "padding"),
        ("ConvLSTM2D", {"filters": 2, "kernel_size": 2, "strides": 2, "dilation_rate": 2}, "dilation_rate"),
    ],
)
def test_wrong_arguments_are_named(name, config, message):
    with pytest.raises(ArgumentError, match=message):
        getattr(layers, name)(**config)


def test_wrong_inputs_name_the_layer():
    with pytest.raises(ShapeError, match=r"my_lstm.*rank 3"):
        layers.LSTM(3, name="my_lstm")(X[0])
    with pytest.raises(ShapeError, match="spatial sizes must be known"):
        layers.ConvLSTM1D(2, 2)(keras.Input((3, None, 2)))
    with pytest.raises(ShapeError, match="does not fit"):
        layers.ConvLSTM1D(2, 4)(keras.Input((3, 3, 2)))
    with pytest.raises(ShapeError, match=r"my_steps.*rank 3"):
        layers.TimeDistributed(layers.Dense(2), name="my_steps")(X[0])
    with pytest.raises(ShapeError, match=r"my_steps.*mask of shape"):
        layers.TimeDistributed(layers.Dense(2), name="my_steps")(X, mask=np.ones((2, 4), bool))


# Files


def recurrent_model(k):
    x = k.Input((5, 4), name="x")
    y = k.layers.Bidirectional(k.layers.LSTM(3, return_sequences=True))(x)
    y = k.layers.RNN([k.layers.GRUCell(3), k.layers.SimpleRNNCell(2)], return_sequences=True)(y)
    y, state = k.layers.GRU(3, dropout=0.2, return_sequences=True, return_state=True)(y)
    y = k.layers.TimeDistributed(k.layers.Dense(4))(y)
    y = k.layers.SimpleRNN(3, return_sequences=True)(y, initial_state=[state])
    y = k.layers.Reshape((5, 3, 1))(y)
    return k.Model(x, k.layers.ConvLSTM1D(2, 2, go_backwards=True)(y), name="recurrent")


def arrays_of(file):
    """Path to shape and bytes of all arrays of an HDF5 file."""
    found = {}
    with h5py.File(file, "r") as opened:
        opened.visititems(lambda path, item: found.__setitem__(path, getattr(item, "shape", None)))
    return found


def layers_of(config):
    """What a model's config says of each layer."""
    return config["config"]["layers"]


def test_files_both_ways(tmp_path):
    theirs, mine = both(recurrent_model)
    values = [draw(*w.shape, seed=i) / 2 for i, w in enumerate(theirs.weights)]
    theirs.set_weights(values), mine.set_weights(values)
    assert [(w.path, w.shape) for w in mine.weights] == [(w.path, tuple(w.shape)) for w in theirs.weights]
    assert [v.path for v in mine.variables] == [v.path for v in theirs.variables]
    assert layers_of(config_of(mine)) == layers_of(config_of(theirs))
    wanted = theirs(X)
    assert_close(mine(X), wanted)
    by_keras, by_lamina = tmp_path / "keras.keras", tmp_path / "lamina.keras"
    theirs.save(by_keras), mine.save(by_lamina)
    inside = [zipfile.ZipFile(p).read("model.weights.h5") for p in (by_lamina, by_keras)]
    assert arrays_of(io.BytesIO(inside[0])) == arrays_of(io.BytesIO(inside[1]))
    configs = [json.loads(zipfile.ZipFile(p).read("config.json")) for p in (by_lamina, by_keras)]
    assert layers_of(plain(configs[0])) == layers_of(plain(configs[1]))
    assert_close(lamina.load(by_keras)(X), wanted)
    assert_close(real.models.load_model(by_lamina)(X), wanted)
    assert_close(lamina.load(by_lamina)(X), wanted)


def test_weights_both_ways(tmp_path):
    theirs, mine = both(recurrent_model)
    wanted = theirs(X)
    theirs.save_weights(tmp_path / "keras.weights.h5")
    mine.load_weights(tmp_path / "keras.weights.h5")
    assert_close(mine(X), wanted)
    other, _ = both(recurrent_model)
    mine.save_weights(tmp_path / "lamina.weights.h5")
    other.load_weights(tmp_path / "lamina.weights.h5")
    assert_close(other(X), wanted)


def test_a_users_cell_in_a_file(tmp_path):
    def make(k):
        return k.Sequential([k.Input((5, 4)), k.layers.Bidirectional(k.layers.RNN(cells_of(k)["plain"]()))])

    theirs, mine = both(make)
    copy_weights(theirs, mine)
    mine.save(tmp_path / "mine.keras")
    assert_close(lamina.load(tmp_path / "mine.keras")(X), theirs(X))
