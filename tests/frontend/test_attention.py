"""Attention, EinsumDense and Lambda beyond the parity table: files, masks that travel, what is emitted, errors."""

import json
import warnings
import zipfile

import keras as real
import numpy as np
import pytest
from model_pairs import assert_close, both, draw, plain

import lamina
from lamina import keras
from lamina.ir.errors import ArgumentError, FileFormatError, ShapeError

layers = keras.layers
TOKENS = np.array([[1, 2, 0, 0, 0], [3, 4, 5, 6, 0], [7, 8, 9, 1, 2]], "int32")


def self_attention(keras):
    x = keras.Input((5, 4), name="x")
    y = keras.layers.MultiHeadAttention(2, 3, dropout=0.1, name="heads")(x, x)
    return keras.Model(x, keras.layers.Add()([x, y]), name="self_attention")


def gated(keras):
    x, memory = keras.Input((5, 4), name="x"), keras.Input((7, 6), name="memory")
    layer = keras.layers.MultiHeadAttention(2, 3, use_gate=True, output_shape=5, sliding_window=3, name="gated")
    return keras.Model([x, memory], layer(x, memory, use_causal_mask=True), name="cross")


def grouped(keras):
    x = keras.Input((5, 4), name="x")
    layer = keras.layers.GroupQueryAttention(3, 4, 2, use_gate=True, name="groups")
    return keras.Model(x, layer(x, x, return_attention_scores=True), name="grouped")


def plain_attention(keras):
    x, memory = keras.Input((5, 4), name="x"), keras.Input((7, 4), name="memory")
    dot = keras.layers.Attention(use_scale=True, score_mode="concat", name="dot")([x, memory])
    return keras.Model([x, memory], keras.layers.AdditiveAttention(name="sum")([dot, memory, memory]), name="plain")


def dense(keras):
    x = keras.Input((5, 4), name="x")
    y = keras.layers.EinsumDense("abc,cde->abde", (5, 2, 3), bias_axes="de", activation="tanh", name="dense")(x)
    return keras.Model(x, y, name="dense_model")


def function(keras):
    x = keras.Input((5, 4), name="x")
    return keras.Model(x, keras.layers.Lambda(keras.activations.gelu, name="gelu")(x), name="function")


def masked(keras):
    """A mask that goes through attention, a sum and a normalization to the pooling."""
    x = keras.Input((5,), dtype="int32", name="x")
    h = keras.layers.Embedding(10, 4, mask_zero=True, name="table")(x)
    for name in ("first", "second"):
        h = keras.layers.Add()([h, keras.layers.MultiHeadAttention(2, 3, dropout=0.2, name=name)(h, h)])
        h = keras.layers.LayerNormalization()(h)
    return keras.Model(x, keras.layers.GlobalAveragePooling1D()(h), name="masked")


INPUTS = {
    self_attention: draw(3, 5, 4),
    gated: [draw(3, 5, 4), draw(3, 7, 6, seed=1)],
    grouped: draw(3, 5, 4),
    plain_attention: [draw(3, 5, 4), draw(3, 7, 4, seed=1)],
    dense: draw(3, 5, 4),
    function: draw(3, 5, 4),
    masked: TOKENS,
}


def filled(build):
    """The model in both with equal weights, none of which is a first value."""
    theirs, mine = both(build)
    values = [draw(*w.shape, seed=i) for i, w in enumerate(theirs.weights)]
    theirs.set_weights(values)
    mine.set_weights(values)
    return theirs, mine


@pytest.mark.parametrize("build", INPUTS, ids=lambda f: f.__name__)
def test_files_go_both_ways(build, tmp_path):
    theirs, mine = filled(build)
    x = INPUTS[build]
    expected = theirs(x)
    assert_close(mine(x), expected)
    assert [w.path for w in mine.weights] == [w.path for w in theirs.weights]
    theirs.save(tmp_path / "keras.keras")
    mine.save(tmp_path / "lamina.keras")
    configs = [plain(json.loads(zipfile.ZipFile(p).read("config.json"))) for p in sorted(tmp_path.iterdir())]
    if build is not masked:  # Keras writes the mask as an input of the pooling, made by an operation of its own
        assert configs[0] == configs[1]
    assert_close(lamina.load(tmp_path / "keras.keras")(x), expected)
    assert_close(lamina.load(tmp_path / "lamina.keras")(x), expected)
    assert_close(real.models.load_model(tmp_path / "lamina.keras")(x), expected)


@pytest.mark.parametrize("build", INPUTS, ids=lambda f: f.__name__)
def test_compiled_for_any_batch(build):
    theirs, mine = filled(build)
    x = INPUTS[build]
    compiled = lamina.compile(mine)
    for size in (3, 1):
        part = [v[:size] for v in x] if isinstance(x, list) else x[:size]
        assert_close(compiled(part), theirs(part))


def ops_of(model, **static):
    return [node.op.name for node in lamina.trace(model, **static).main.nodes]


def test_attention_is_one_op_unless_scores_or_dropout_are_wanted():
    _, mine = both(self_attention)
    assert ops_of(mine).count("attention") == 1 and "softmax" not in ops_of(mine)
    assert "attention" not in ops_of(mine, training=True)
    _, scored = both(grouped)
    assert "attention" not in ops_of(scored)


def test_causality_needs_no_mask():
    x = keras.Input((5, 4))
    model = keras.Model(x, layers.MultiHeadAttention(2, 3)(x, x, use_causal_mask=True))
    (node,) = [n for n in lamina.trace(model).main.nodes if n.op.name == "attention"]
    assert node.attributes["causal"] and not node.attributes["mask"]


def test_dropout_in_training():
    x = draw(2, 6, 4)
    for layer in (
        layers.MultiHeadAttention(2, 3, dropout=0.5, seed=1),
        layers.GroupQueryAttention(3, 2, 1, dropout=0.5),
    ):
        kept = np.asarray(layer(x, x))
        dropped = [np.asarray(layer(x, x, training=True)) for _ in range(2)]
        assert np.abs(dropped[0] - kept).max() > 1e-3 and np.abs(dropped[0] - dropped[1]).max() > 1e-3
    layer = layers.Attention(dropout=0.5, seed=1)
    assert np.abs(np.asarray(layer([x, x], training=True)) - np.asarray(layer([x, x]))).max() > 1e-3


def test_own_attention_of_a_subclass():
    """What Keras's documentation says: override ``_compute_attention``; it gets a mask for causality, too."""

    def made(keras):
        class Uniform(keras.layers.MultiHeadAttention):
            def _compute_attention(self, query, key, value, attention_mask=None, *args, **kwargs):
                weights = keras.ops.cast(attention_mask, value.dtype)
                weights = weights / keras.ops.sum(weights, axis=-1, keepdims=True)
                return keras.ops.einsum("bts,bshd->bthd", weights, value), None

        x = keras.Input((5, 4), name="x")
        return keras.Model(x, Uniform(2, 3, name="uniform")(x, x, use_causal_mask=True))

    theirs, mine = both(made)
    mine.set_weights(theirs.get_weights())
    x = draw(1, 5, 4)
    assert_close(mine(x), theirs(x))


def test_first_values_are_keras_ones():
    def build(keras):
        keras.utils.set_random_seed(3)
        x = keras.Input((5, 4), name="x")
        glorot = keras.initializers.GlorotUniform(seed=1)
        layer = keras.layers.MultiHeadAttention(2, 3, kernel_initializer=glorot, name="heads")
        return keras.Model(x, layer(x, x))

    theirs, mine = both(build)
    for a, b in zip(mine.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


# Masks.


@pytest.mark.parametrize("scores", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_masks_of_query_value_and_key(dropout, scores):
    def build(keras):
        tokens, others = keras.Input((5,), dtype="int32", name="a"), keras.Input((4,), dtype="int32", name="b")
        embed = keras.layers.Embedding(10, 4, mask_zero=True, name="table")
        layer = keras.layers.MultiHeadAttention(2, 3, dropout=dropout, name="heads")
        x, memory = embed(tokens), embed(others)
        return keras.Model([tokens, others], layer(x, memory, memory, return_attention_scores=scores))

    theirs, mine = filled(build)
    inputs = [np.array(rows, "int32") for rows in ([[1, 2, 0, 0, 0], [0] * 5], [[1, 0, 2, 0], [0] * 4])]
    assert_close(mine(inputs), theirs(inputs))


def test_a_layer_that_loses_the_mask_says_so():
    def build(keras):
        x = keras.Input((5, 4), name="x")
        y = keras.layers.Masking(name="masking")(x)
        return keras.Model(x, keras.layers.Lambda(keras.ops.square, name="square")(y), name="net")

    with pytest.warns(UserWarning, match="does not support masking"):
        build(real)
    with pytest.warns(UserWarning, match=r"'square' \(a Lambda\).*mask.*supports_masking"):
        build(keras)


def test_a_layer_that_supports_masking_passes_it_on_silently():
    x = keras.Input((5, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y = layers.Lambda(keras.ops.square, mask=lambda inputs, mask: mask)(layers.Masking()(x))
        model = keras.Model(x, layers.GlobalAveragePooling1D()(y))
    values = draw(2, 5, 4)
    values[:, 3:] = 0
    assert_close(lamina.compile(model)(values), (values[:, :3] ** 2).mean(1))


def test_compute_mask_of_a_users_layer_means_that_it_supports_masking():
    class Halves(layers.Layer):
        def call(self, x):
            return x[:, ::2]

        def compute_mask(self, inputs, mask=None):
            return None if mask is None else mask[:, ::2]

    assert Halves().supports_masking and not layers.Lambda(abs).supports_masking


# Errors.


def in_heads(**arguments):
    return lambda: layers.MultiHeadAttention(**{"num_heads": 2, "key_dim": 3, "name": "it", **arguments})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (in_heads(num_heads=0), "'it'.*num_heads.*positive integer.*num_heads=0"),
        (in_heads(key_dim=2.5), "'it'.*key_dim.*positive integer.*key_dim=2.5"),
        (in_heads(value_dim=-1), "'it'.*value_dim"),
        (in_heads(dropout=2), "'it'.*dropout.*0 to 1"),
        (in_heads(output_shape="4"), "'it'.*output_shape.*'4'"),
        (in_heads(attention_axes="1"), "'it'.*attention_axes"),
        (in_heads(sliding_window=0), "'it'.*sliding_window.*positive integer or None"),
        (in_heads(flash_attention=True, dropout=0.1), "'it'.*flash_attention=True.*dropout=0.1"),
        (lambda: layers.GroupQueryAttention(3, 5, 2, name="it"), "'it'.*multiple of num_key_value_heads=2.*=5"),
        (lambda: layers.Attention(score_mode="cosine", name="it"), "'it'.*score_mode.*'dot' or 'concat'.*'cosine'"),
        (lambda: layers.EinsumDense("ab,bc->ac", 3, lora_rank=2, name="it"), "'it'.*lora_rank"),
        (lambda: layers.Lambda("relu", name="it"), "'it'.*function.*'relu'"),
    ],
)
def test_wrong_arguments(make, message):
    with pytest.raises(lamina.ir.errors.LaminaError, match=message):
        make()


def called(layer, *shapes, **call):
    if isinstance(layer, layers.Attention):
        return lambda: layer([draw(*s) for s in shapes], **call)
    return lambda: layer(*(draw(*s) for s in shapes), **call)


def heads():
    return layers.MultiHeadAttention(2, 3, name="it")


def einsum(equation, output_shape, **config):
    return layers.EinsumDense(equation, output_shape, name="it", **config)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (called(heads(), (2, 5, 4), (2, 7, 4), (2, 6, 4)), r"'it'.*value and key.*\(2, 7, 4\).*\(2, 6, 4\)"),
        (called(heads(), (2, 5, 4), (2, 7, 4), attention_mask=np.ones((2, 5, 6), bool)), r"'it'.*attention_mask.*5, 6"),
        (called(heads(), (2, 5, 4), (2, 7, 4), attention_mask=np.ones((1, 1, 2, 5, 7), bool)), "'it'.*attention_mask"),
        (called(heads(), (2, 5, 4), (3, 7, 4)), "batch"),
        (called(layers.GroupQueryAttention(3, 4, 2, name="it"), (2, 5, 4), (2, 4)), r"'it'.*value.*\(2, 4\)"),
        (called(layers.Attention(name="it"), (2, 5, 4), (2, 7, 3)), r"'it'.*query \(2, 5, 4\), value \(2, 7, 3\)"),
        (called(layers.Attention(name="it"), (2, 5, 4)), "'it'.*inputs.*list.*1 of them"),
        (called(layers.Attention(name="it"), (2, 5, 4), (2, 7, 4), mask=np.ones((2, 5), bool)), "'it'.*mask.*list"),
        (called(einsum("ab,bc->ac", 3), (2, 3, 4)), r"'it'.*takes 2 axes.*\(2, 3, 4\)"),
        (called(einsum("abc,cd->abd", (7, 3)), (2, 5, 4)), r"'it'.*'b'.*5 in inputs.*7 by output_shape"),
        (called(einsum("abc,cd->abd", 3), (2, 5, 4)), r"'it'.*makes 3 axes.*output_shape=\(3,\) gives 2"),
        (called(einsum("ab,bc", 3), (2, 4)), "'it'.*such as 'ab,bc->ac'.*'ab,bc'"),
        (called(einsum("ab,bc->ad", 3), (2, 4)), "'it'.*'d'"),
        (called(einsum("ab,bc->ac", 3, bias_axes="b"), (2, 4)), "'it'.*bias_axes='b'"),
        (called(einsum("abc,bcd->ad", (None,)), (2, 5, 4)), "'it'.*'d'.*output_shape"),
    ],
)
def test_shapes_that_do_not_fit(call, message):
    with pytest.raises((ShapeError, ArgumentError), match=message):
        call()


def test_scores_are_refused_where_flash_attention_is_demanded():
    layer = layers.MultiHeadAttention(2, 3, flash_attention=True, name="it")
    x = draw(2, 5, 4)
    assert layer(x, x).shape == (2, 5, 4)
    with pytest.raises(ArgumentError, match=r"'it'.*return_attention_scores"):
        layer(x, x, return_attention_scores=True)


def test_symbolic_shapes_that_keras_refuses():
    query, value = keras.Input((5, 4)), keras.Input((7, 6))
    with pytest.raises(ShapeError, match=r"equally many features.*4.*6"):
        layers.GroupQueryAttention(3, 4, 2).compute_output_shape(query.shape, value.shape)


# Lambda.


@keras.saving.register_keras_serializable(package="attention_tests")
def tripled(x, factor=1.0, training=None):
    return x * (3.0 * factor)


def test_a_lambda_gets_the_arguments_that_it_names():
    seen = {}

    def function(x, scale, mask=None, training=None):
        seen.update(mask=mask, training=training)
        return x * scale

    layer = layers.Lambda(function, arguments={"scale": 2.0})
    x = draw(2, 3)
    assert_close(layer(x, training=True), 2 * x)
    assert seen == {"mask": None, "training": True}


def test_a_lambda_runs_as_python_on_arrays():
    calls = []
    layer = layers.Lambda(lambda x: calls.append(type(x)) or x)
    layer(draw(2, 3)), layer(draw(2, 3))
    assert len(calls) == 2


def test_output_shapes_of_a_lambda():
    assert layers.Lambda(lambda x: x[:, :2]).compute_output_shape((None, 5)) == (None, 2)
    assert layers.Lambda(abs, output_shape=(7,)).compute_output_shape((None, 5)) == (None, 7)
    assert layers.Lambda(abs, output_shape=lambda s: (s[0], s[1] + 1)).compute_output_shape((None, 5)) == (None, 6)


def test_a_registered_function_is_saved_by_its_name(tmp_path):
    x = keras.Input((4,), name="x")
    model = keras.Model(x, layers.Lambda(tripled, arguments={"factor": 2.0}, name="triple")(x))
    model.save(tmp_path / "m.keras")
    assert "attention_tests>tripled" in zipfile.ZipFile(tmp_path / "m.keras").read("config.json").decode()
    values = draw(2, 4)
    assert_close(lamina.load(tmp_path / "m.keras")(values), 6 * values)


def test_a_python_lambda_is_not_saved(tmp_path):
    x = keras.Input((4,), name="x")
    model = keras.Model(x, layers.Lambda(lambda v: v * 2, name="twice")(x))
    with pytest.raises(ArgumentError, match=r"'twice'.*lambda.*register_keras_serializable.*subclass of Layer"):
        model.save(tmp_path / "m.keras")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def with_bytecode(tmp_path):
    """A file of Keras's that holds a lambda's code, which would write to a file if it ran."""
    trace = str(tmp_path / "it_ran")
    x = real.Input((4,), name="x")
    path = tmp_path / "m.keras"
    function = lambda v, trace=trace: open(trace, "w") and v * 2  # noqa: E731, SIM115
    layer = real.layers.Lambda(function, output_shape=(4,), name="twice")
    real.Model(x, layer(x)).save(path)
    (tmp_path / "it_ran").unlink(missing_ok=True)
    return path


@pytest.mark.parametrize("safe_mode", [True, False])
def test_code_never_comes_from_a_file(with_bytecode, safe_mode):
    message = (
        r"'twice'.*bytecode for function.*never run.*custom_objects=\{\"twice\": function\}.*register_keras_serial"
    )
    with pytest.raises(FileFormatError, match=message):
        keras.models.load_model(with_bytecode, safe_mode=safe_mode)
    assert not (with_bytecode.parent / "it_ran").exists()


def test_the_function_may_come_from_the_program(with_bytecode):
    values = draw(2, 4)
    model = lamina.load(with_bytecode, custom_objects={"twice": lambda v: v * 2})
    assert_close(model(values), 2 * values)
    assert not (with_bytecode.parent / "it_ran").exists()
