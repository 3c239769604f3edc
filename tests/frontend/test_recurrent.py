"""Recurrent layers: what the graph holds, masks, states, dropout; real Keras is the reference."""

import keras as real
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_pairs import assert_close, both, copy_weights, draw
from recurrent_pairs import X, outputs_agree, pair_of

import lamina
from lamina import Spec, keras
from lamina.ir.errors import ArgumentError, IntegerDimError, ShapeError

layers = keras.layers


def ops_in(module):
    return [node.op.name for node in module.main.walk()]


def traced(layer, *specs, **keywords):
    layer(np.zeros([d or 2 for d in specs[0].shape], "float32"))
    return lamina.trace(layer, *specs, **keywords)


# The graph


@pytest.mark.parametrize(
    "layer, step, states, config",
    [("LSTM", "lstm_step", 2, {}), ("GRU", "gru_step", 1, {}), ("LSTM", "lstm_step", 2, {"go_backwards": True})],
)
def test_a_layer_is_one_scan_of_one_step(layer, step, states, config):
    module = traced(getattr(layers, layer)(3, **config), Spec((None, None, 4)))
    (scan,) = [node for node in module.main.nodes if node.op.name == "scan"]
    (body,) = scan.regions
    assert [node.op.name for node in body.nodes] == [step]
    assert len(body.outputs) == scan.attributes["carries"] == states  # nothing is stacked for the last output alone
    assert scan.attributes["reverse"] == config.get("go_backwards", False)


def test_all_outputs_are_stacked_where_they_are_wanted():
    module = traced(layers.LSTM(3, return_sequences=True), Spec((None, 5, 4)))
    (scan,) = [node for node in module.main.nodes if node.op.name == "scan"]
    assert len(scan.results) == 3 and len(scan.regions[0].nodes) == 1


def test_a_mask_selects_each_state_once():
    layer = layers.LSTM(3, return_sequences=True)
    layer(X)
    module = lamina.trace(lambda x, m: layer(x, mask=m), Spec((None, 5, 4)), Spec((None, 5), "bool"))
    (scan,) = [node for node in module.main.nodes if node.op.name == "scan"]
    names = [node.op.name for node in scan.regions[0].nodes]
    assert names.count("lstm_step") == 1 and names.count("select") == 2  # the output is the state that is kept


@pytest.mark.parametrize(
    "layer, config",
    [
        ("LSTM", {"activation": "relu"}),
        ("LSTM", {"recurrent_activation": "hard_sigmoid"}),
        ("GRU", {"activation": "elu"}),
        ("GRU", {"reset_after": False}),
    ],
)
def test_other_formulas_are_plain_ops(layer, config):
    names = ops_in(traced(getattr(layers, layer)(3, **config), Spec((None, 5, 4))))
    assert "scan" in names and not {"lstm_step", "gru_step"} & set(names)


def test_any_number_of_steps_is_one_trace():
    model = keras.Sequential(
        [keras.Input((None, 4)), layers.LSTM(3, return_sequences=True), layers.Bidirectional(layers.GRU(2))]
    )
    module = lamina.trace(model, Spec((None, None, 4)))
    assert not module.main.guards
    compiled = lamina.compile(model)
    for steps in (1, 3, 5):
        assert_close(compiled(X[:, :steps]), model(X[:, :steps]))


def test_unroll_pins_the_number_of_steps():
    layer = layers.LSTM(3, unroll=True)
    looped = layers.LSTM(3)
    assert_close(layer(X).shape, looped(X).shape)
    copy_weights(layer, looped)
    assert_close(layer(X), looped(X))
    compiled = lamina.compile(layer, Spec((None, None, 4)))
    assert_close(compiled(X), looped(X))
    assert_close(compiled(X[:, :2]), looped(X[:, :2]))
    module = lamina.trace(layer, Spec((None, 2, 4)))
    assert ops_in(module).count("lstm_step") == 2 and "scan" not in ops_in(module)
    with pytest.raises(IntegerDimError, match=r"my_rnn.*unroll=True.*Input\(\(steps"):
        keras.Sequential([keras.Input((None, 4)), layers.GRU(3, unroll=True, name="my_rnn")])


def test_a_call_on_arrays_is_one_program():
    layer = layers.Bidirectional(layers.LSTM(3))
    layer(X), layer(2 * X)
    assert len(layer._eager.programs) == 1
    assert not layer.forward_layer._eager.programs  # it was not called by itself
    (program,) = layer._eager.programs.values()
    assert ops_in(program.graph).count("scan") == 2


# Masks


def reference_lstm(layer, x, mask):
    """Outputs of all steps for one sample, step by step in NumPy: a masked step changes nothing."""
    kernel, recurrent, bias = (w.astype("float64") for w in layer.get_weights())
    h = c = np.zeros(recurrent.shape[0])
    outputs = []
    for x_t, taken in zip(x, mask):
        if taken:
            i, f, g, o = np.split(x_t @ kernel + h @ recurrent + bias, 4)
            i, f, o = (1 / (1 + np.exp(-v)) for v in (i, f, o))
            c = f * c + i * np.tanh(g)
            h = o * np.tanh(c)
        outputs.append(h)
    return np.array(outputs)


MASKED = layers.LSTM(3, return_sequences=True, name="masked")


@settings(max_examples=40)
@given(st.lists(st.booleans(), min_size=10, max_size=10))
def test_masked_steps_change_nothing(flags):
    mask = np.array(flags).reshape(2, 5)
    got = np.asarray(MASKED(X, mask=mask))
    for sample in range(2):
        wanted = reference_lstm(MASKED, X[sample], mask[sample])
        np.testing.assert_allclose(got[sample], wanted, rtol=1e-5, atol=1e-6)  # float32 sums of a dozen terms


@pytest.mark.parametrize("name, zero", [("LSTM", False), ("GRU", True), ("SimpleRNN", False)])
def test_masks_are_those_of_keras(name, zero):
    mask = np.array([[False, True, False, True, False], [True, True, True, False, True]])
    config = {"zero_output_for_mask": zero, "return_sequences": zero}
    outputs_agree(lambda k: getattr(k.layers, name)(3, return_state=True, **config), mask=mask)


def sequence_model(k):
    x = k.Input((None,), dtype="int32")
    e = k.layers.Embedding(10, 4, mask_zero=True)(x)
    y, h, c = k.layers.LSTM(3, return_sequences=True, return_state=True)(e)
    d = k.layers.LSTM(3)(k.layers.Embedding(10, 4)(x), initial_state=[h, c])
    y = k.layers.Bidirectional(k.layers.GRU(3, return_sequences=True))(y)
    y = k.layers.TimeDistributed(k.layers.Dense(2))(y)
    return k.Model(x, [d, y, k.layers.GlobalAveragePooling1D()(y)])


def test_masks_and_states_pass_through_a_functional_model():
    theirs, mine = both(sequence_model)
    copy_weights(theirs, mine)
    assert [w.path for w in mine.weights] == [w.path for w in theirs.weights]
    x = np.array([[1, 2, 0, 0], [3, 0, 4, 5]], "int32")
    wanted = theirs(x)
    assert_close(mine(x), wanted)
    assert_close(lamina.compile(mine)(x), wanted)


def test_masking_feeds_a_recurrent_layer():
    x = X.copy()
    x[0, 3:] = x[1, 1] = 0.5
    outputs_agree(
        lambda k: k.Sequential([k.Input((5, 4)), k.layers.Masking(0.5), k.layers.GRU(3), k.layers.Dense(1)]), x
    )


def test_a_step_that_is_masked_in_all_its_places_is_left_out():
    x = draw(2, 3, 4, 4, 1)
    mask = np.ones((2, 3, 4, 4), bool)
    mask[0, 1] = mask[1, 2] = False
    layer = layers.ConvLSTM2D(2, 2)
    whole = np.asarray(layer(x, mask=mask))
    np.testing.assert_array_equal(whole, layer(x, mask=mask.any((2, 3))))
    assert_close(whole[:1], layer(x[:1, [0, 2]]))  # as if the step were not there
    assert_close(whole[1:], layer(x[1:, :2]))


@pytest.mark.parametrize(
    "shape, steps", [((2, 4), "(2, 5)"), ((3, 5), "(2, 5)"), ((5,), "(2, 5)"), ((2, 5, 4, 1), "(2, 5)")]
)
def test_a_mask_of_another_shape_is_refused(shape, steps):
    with pytest.raises(ShapeError, match="my_lstm") as caught:
        layers.LSTM(3, name="my_lstm")(X, mask=np.ones(shape, bool))
    assert f"mask of shape (batch, steps) = {steps}" in str(caught.value)
    assert "i1[" + ",".join(map(str, shape)) in str(caught.value)


# States


@pytest.mark.parametrize("name", ["LSTM", "GRU", "SimpleRNN"])
def test_stateful_layers_go_on_where_they_ended(name):
    theirs, mine = pair_of(lambda k: getattr(k.layers, name)(3, stateful=True, return_sequences=True))
    assert [v.path for v in mine.variables] == [v.path for v in theirs.variables]  # states are none of them
    mine.reset_state(), theirs.reset_state()
    for part in (X[:, :2], X[:, 2:4]):
        assert_close(mine(part), theirs(part))
    for ours, other in zip(mine.states, theirs.states, strict=True):
        assert_close(ours.value, other.value)
    mine.reset_states()
    assert all((v.numpy() == 0).all() for v in mine.states)
    stateless = getattr(layers, name)(3, return_sequences=True)
    stateless.build(X.shape)
    copy_weights(mine, stateless)
    assert_close(np.concatenate([mine(X[:, :2]), mine(X[:, 2:4])], axis=1), stateless(X[:, :4]))


def test_stateful_models():
    def make(k):
        bidirectional = k.layers.Bidirectional(k.layers.GRU(2, stateful=True, return_sequences=True))
        return k.Sequential([k.Input(batch_shape=(2, 5, 4)), bidirectional, k.layers.LSTM(3, stateful=True)])

    theirs, mine = both(make)
    copy_weights(theirs, mine)
    compiled = lamina.compile(mine)
    assert_close(mine(X), theirs(X))
    assert_close(compiled(2 * X), theirs(2 * X))
    wanted = [*theirs.layers[0].states, *theirs.layers[1].states]
    for ours, other in zip([*mine.layers[0].states, *mine.layers[1].states], wanted, strict=True):
        assert_close(ours.value, other.value)
    mine.layers[0].reset_state(), theirs.layers[0].reset_state()
    assert_close(mine(X), theirs(X))


def test_states_need_their_batch_size():
    with pytest.raises(ShapeError, match=r"my_gru.*stateful=True needs a known batch size.*batch_shape"):
        keras.Sequential([keras.Input((5, 4)), layers.GRU(3, stateful=True, name="my_gru")])
    layer = layers.LSTM(3, stateful=True, name="my_lstm")
    layer(X)
    with pytest.raises(ShapeError, match=r"my_lstm.*batch of 2, received one of 1"):
        layer(X[:1])
    with pytest.raises(ArgumentError, match="stateful=True"):
        layers.Bidirectional(layers.LSTM(3)).reset_state()


def test_given_states():
    h, c = draw(2, 3, seed=1), draw(2, 3, seed=2)
    outputs_agree(lambda k: k.layers.LSTM(3, return_state=True), initial_state=[h, c])
    outputs_agree(lambda k: k.layers.GRU(3), initial_state=h)
    mask = np.array([[False, False, True, True, True], [True, False, True, True, False]])
    outputs_agree(lambda k: k.layers.GRU(3, return_sequences=True), initial_state=[h], mask=mask)
    outputs_agree(
        lambda k: k.layers.Bidirectional(k.layers.LSTM(3, return_state=True)), initial_state=[h, c, -h, -c], mask=mask
    )
    with pytest.raises(ArgumentError, match=r"my_lstm.*list of 2 states, received 1"):
        layers.LSTM(3, name="my_lstm")(X, initial_state=[h])
    with pytest.raises(ShapeError, match=r"my_gru.*batch size"):
        layers.GRU(3, name="my_gru")(X, initial_state=[draw(3, 3)])


def test_cells_by_themselves():
    for name, states in (("LSTMCell", 2), ("GRUCell", 1), ("SimpleRNNCell", 1)):
        given = [draw(2, 3, seed=i) for i in range(states)]
        theirs, mine = both(lambda k, name=name: getattr(k.layers, name)(3))
        x = X[:, 0]
        theirs(x, given)
        mine(x, given)
        copy_weights(theirs, mine)
        assert_close(mine(x, given), theirs(x, given))
        zeros = mine.get_initial_state(batch_size=2)
        assert [z.shape for z in zeros] == [(2, 3)] * states and all((np.asarray(z) == 0).all() for z in zeros)


# Dropout


def transparent(name="SimpleRNN", **config):
    """A layer whose output is what dropout leaves of an input of ones, plus half of the state."""
    layer = getattr(layers, name)(6, activation="linear", use_bias=False, return_sequences=True, **config)
    layer.build((None, None, 6))
    layer.set_weights([np.eye(6), np.zeros((6, 6))])
    return layer


def test_dropout_is_the_same_at_all_steps_and_another_in_each_call():
    layer = transparent(dropout=0.5, seed=1)
    ones = np.ones((4, 7, 6), "float32")
    np.testing.assert_array_equal(layer(ones), ones)
    first, second = (np.asarray(layer(ones, training=True)) for _ in range(2))
    for dropped in (first, second):
        assert set(np.unique(dropped)) == {0, 2}
        np.testing.assert_array_equal(dropped, np.repeat(dropped[:, :1], 7, axis=1))
    assert (first != second).any()
    np.testing.assert_array_equal(transparent(dropout=0.5, seed=1)(ones, training=True), first)
    compiled = lamina.compile(transparent(dropout=0.5, seed=1), Spec((None, None, 6)), training=True)
    np.testing.assert_array_equal(compiled(ones), first)


@pytest.mark.parametrize(
    "name, config, count",
    [
        ("SimpleRNN", {"dropout": 0.5}, 1),
        ("SimpleRNN", {"dropout": 0.5, "recurrent_dropout": 0.5}, 2),
        ("LSTM", {"dropout": 0.5}, 1),
        ("LSTM", {"dropout": 0.5, "implementation": 1}, 4),
        ("LSTM", {"recurrent_dropout": 0.5}, 4),
        ("GRU", {"dropout": 0.5, "recurrent_dropout": 0.5}, 6),
        ("GRU", {"recurrent_dropout": 0.5, "reset_after": False}, 3),
    ],
)
def test_masks_are_drawn_once_a_call(name, config, count):
    layer = getattr(layers, name)(3, seed=5, **config)
    layer(X)
    before = layer.cell.seed_generator.state.numpy().copy()
    still = np.asarray(layer(X))
    np.testing.assert_array_equal(layer.cell.seed_generator.state.numpy(), before)  # nothing is drawn out of training
    dropped = np.asarray(layer(X, training=True))
    assert layer.cell.seed_generator.state.numpy()[1] - before[1] == count
    assert np.isfinite(dropped).all() and (dropped != still).any()
    theirs = getattr(real.layers, name)(3, seed=5, **({"use_cudnn": False} if name != "SimpleRNN" else {}), **config)
    theirs(X)
    start_of_theirs = np.asarray(theirs.cell.seed_generator.state.value)[1]
    theirs(X, training=True)
    assert np.asarray(theirs.cell.seed_generator.state.value)[1] - start_of_theirs == count


def test_dropout_in_a_stack_and_in_images():
    cells = [layers.LSTMCell(3, dropout=0.5, seed=1), layers.GRUCell(2, recurrent_dropout=0.5, seed=2)]
    stack = layers.RNN(cells, return_sequences=True)
    images = layers.ConvLSTM2D(2, 2, dropout=0.5, recurrent_dropout=0.5, seed=3)
    for layer, x in ((stack, X), (images, draw(2, 3, 4, 4, 2))):
        still = np.asarray(layer(x))
        first, second = (np.asarray(layer(x, training=True)) for _ in range(2))
        assert first.shape == still.shape and (first != still).any() and (first != second).any()
    assert [int(cell.seed_generator.state.numpy()[1]) for cell in cells] == [2, 6]  # 1 and 3 masks in two calls


def test_a_mask_serves_until_it_is_reset():
    cell = layers.SimpleRNNCell(6, dropout=0.5, seed=1)
    cell.build((None, 6))
    ones = np.ones((2, 6), "float32")

    def twice(x, reset):
        first = cell.get_dropout_mask(x)
        if reset:
            cell.reset_dropout_mask()
        return first, cell.get_dropout_mask(x)

    kept, again = lamina.jit(lambda x: twice(x, False))(ones)
    np.testing.assert_array_equal(kept, again)
    first, other = lamina.jit(lambda x: twice(x, True))(ones)
    assert (np.asarray(first) != np.asarray(other)).any()
    assert layers.SimpleRNNCell(6).get_dropout_mask(ones) is None
