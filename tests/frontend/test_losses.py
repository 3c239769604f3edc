"""Losses beside real Keras: values, reductions, weights, masks, types, configs; and errors that name both shapes."""

import inspect
import json
import re

import jax.numpy as jnp
import keras as real
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lamina
from lamina import keras
from lamina.frontend.masking import get_mask, set_mask
from lamina.ir.errors import ArgumentError, ShapeError

# float32: both sum and take logarithms in the same order up to what XLA fuses: a few units in the last place.
RELATIVE = {"float32": 2e-6, "bfloat16": 2e-2, "float16": 2e-3}

REDUCTIONS = ("sum_over_batch_size", "sum", "mean", "mean_with_sample_weight", "none", None)


def draw(*shape, seed=0):
    return np.random.default_rng(seed).uniform(0.05, 0.95, size=shape).astype("float32")


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def classes(*shape, depth=4, seed=3):
    return np.random.default_rng(seed).integers(0, depth, size=shape)


def one_hot(*shape, depth=4):
    return np.eye(depth, dtype="float32")[classes(*shape, depth=depth)]


def bits(*shape, seed=5):
    return (np.random.default_rng(seed).random(size=shape) < 0.5).astype("float32")


def unit(*shape):
    x = normal(*shape)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


# name of the class, its arguments, labels, predictions
PAIR = (normal(6, 4, seed=1), normal(6, 4))
POSITIVE = (draw(6, 4, seed=1), draw(6, 4))
BINARY = (bits(6, 4), draw(6, 4))
CATEGORICAL = (one_hot(6), draw(6, 4))
SPARSE = (classes(6), draw(6, 4))
ROWS = [
    ("MeanSquaredError", {}, *PAIR),
    ("MeanAbsoluteError", {}, *PAIR),
    ("MeanAbsolutePercentageError", {}, *PAIR),
    ("MeanSquaredLogarithmicError", {}, *POSITIVE),
    ("MeanSquaredLogarithmicError", {}, *PAIR),  # what is negative counts as epsilon
    ("Huber", {}, *PAIR),
    ("Huber", {"delta": 0.3}, *PAIR),
    ("LogCosh", {}, *PAIR),
    ("LogCosh", {}, PAIR[0] * 100, PAIR[1]),
    ("Poisson", {}, *POSITIVE),
    ("CosineSimilarity", {}, *PAIR),
    ("CosineSimilarity", {"axis": 0}, *PAIR),
    ("KLDivergence", {}, *POSITIVE),
    ("Hinge", {}, *BINARY),
    ("Hinge", {}, BINARY[0] * 2 - 1, normal(6, 4)),
    ("SquaredHinge", {}, BINARY[0] * 2 - 1, normal(6, 4)),
    ("SquaredHinge", {}, *BINARY),
    ("CategoricalHinge", {}, *CATEGORICAL),
    ("BinaryCrossentropy", {}, *BINARY),
    ("BinaryCrossentropy", {"from_logits": True}, bits(6, 4), normal(6, 4) * 5),
    ("BinaryCrossentropy", {"label_smoothing": 0.1, "axis": 0}, *BINARY),
    ("BinaryFocalCrossentropy", {}, *BINARY),
    ("BinaryFocalCrossentropy", {"apply_class_balancing": True, "alpha": 0.7, "gamma": 3.0}, *BINARY),
    ("BinaryFocalCrossentropy", {"from_logits": True, "label_smoothing": 0.2}, bits(6, 4), normal(6, 4)),
    ("CategoricalCrossentropy", {}, *CATEGORICAL),
    ("CategoricalCrossentropy", {"from_logits": True}, one_hot(6), normal(6, 4)),
    ("CategoricalCrossentropy", {"label_smoothing": 0.1}, *CATEGORICAL),
    ("CategoricalCrossentropy", {"axis": 1}, one_hot(2, 4).transpose(0, 2, 1), draw(2, 4, 4)),
    ("CategoricalFocalCrossentropy", {}, *CATEGORICAL),
    ("CategoricalFocalCrossentropy", {"alpha": 0.5, "gamma": 1.5, "from_logits": True}, one_hot(6), normal(6, 4)),
    ("CategoricalFocalCrossentropy", {"label_smoothing": 0.1}, *CATEGORICAL),
    ("SparseCategoricalCrossentropy", {}, *SPARSE),
    ("SparseCategoricalCrossentropy", {}, SPARSE[0][:, None], SPARSE[1]),
    ("SparseCategoricalCrossentropy", {"from_logits": True}, classes(6), normal(6, 4) * 5),
    ("SparseCategoricalCrossentropy", {"ignore_class": 1}, *SPARSE),
    ("SparseCategoricalCrossentropy", {"ignore_class": -1}, np.array([0, -1, 2, 3, -1, 1]), SPARSE[1]),
    ("SparseCategoricalCrossentropy", {"ignore_class": 0}, np.zeros(6, int), SPARSE[1]),
    ("SparseCategoricalCrossentropy", {"axis": 1}, classes(2, 4), draw(2, 4, 4)),
    ("CategoricalGeneralizedCrossEntropy", {}, *SPARSE),
    ("CategoricalGeneralizedCrossEntropy", {"q": 0.2}, *SPARSE),
    ("Dice", {}, *BINARY),
    ("Dice", {"axis": (1,)}, *BINARY),
    ("Dice", {"axis": (1, 2)}, bits(3, 4, 2), draw(3, 4, 2)),
    ("Tversky", {}, *BINARY),
    ("Tversky", {"alpha": 0.2, "beta": 0.7, "axis": (1,)}, *BINARY),
    ("Circle", {}, np.array([0, 1, 0, 1, 2, 2]), unit(6, 4)),
    ("Circle", {"gamma": 4.0, "margin": 0.2, "remove_diagonal": False}, np.array([0, 1, 0, 1, 2, 3]), unit(6, 4)),
    ("CTC", {}, np.array([[1, 2, 0], [3, 3, 1]]), normal(2, 7, 4)),
]
IDS = [f"{name}-{'-'.join(map(str, arguments))}-{i}" for i, (name, arguments, *_) in enumerate(ROWS)]


def close(mine, theirs, dtype="float32"):
    mine, theirs = np.asarray(mine), np.asarray(theirs)
    assert mine.shape == theirs.shape and mine.dtype == theirs.dtype
    scale = np.abs(theirs.astype("float64")).max(initial=0)
    np.testing.assert_allclose(
        mine.astype("float64"), theirs.astype("float64"), rtol=RELATIVE[dtype], atol=RELATIVE[dtype] * scale
    )


@pytest.mark.parametrize(("name", "arguments", "y_true", "y_pred"), ROWS, ids=IDS)
def test_values_and_weighted_means(name, arguments, y_true, y_pred):
    theirs, mine = (getattr(k.losses, name)(reduction=None, **arguments) for k in (real, keras))
    values = theirs(y_true, y_pred)
    close(mine(y_true, y_pred), values)
    theirs, mine = (getattr(k.losses, name)(**arguments) for k in (real, keras))
    weight = draw(*values.shape, seed=9)
    close(mine(y_true, y_pred, weight), theirs(y_true, y_pred, weight))


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", ["MeanSquaredError", "Circle", "Dice"])
def test_reductions(name, reduction):
    """Of values for each sample, of values with a mask of their own, and of a scalar."""
    _, arguments, y_true, y_pred = next(row for row in ROWS if row[0] == name)
    theirs, mine = (getattr(k.losses, name)(reduction=reduction, **arguments) for k in (real, keras))
    for weight in (None, draw(6, seed=9) if name != "Dice" else np.float32(0.3)):
        close(mine(y_true, y_pred, weight), theirs(y_true, y_pred, weight))


@pytest.mark.parametrize(("name", "arguments", "y_true", "y_pred"), ROWS, ids=IDS)
def test_traced_with_an_open_batch(name, arguments, y_true, y_pred):
    mine = getattr(keras.losses, name)(**arguments)
    specs = [lamina.Spec((None, *x.shape[1:]), str(x.dtype).replace("64", "32")) for x in (y_true, y_pred)]
    compiled = lamina.compile(lambda t, p: mine(t, p), *specs)
    close(compiled(y_true.astype(specs[0].dtype), y_pred), getattr(real.losses, name)(**arguments)(y_true, y_pred))


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        *((name, "bfloat16") for name in sorted({row[0] for row in ROWS} - {"CTC"})),
        *((name, "float16") for name in ("MeanSquaredError", "CategoricalCrossentropy", "CosineSimilarity", "Hinge")),
    ],
)
def test_narrow_types(name, dtype):
    """Predictions of a narrow type are computed on in the loss's type; a narrow loss computes in its own."""
    _, arguments, y_true, y_pred = next(row for row in ROWS if row[0] == name)
    if name in ("MeanAbsolutePercentageError", "Circle"):  # their values leave the range of float16
        y_true, arguments = (y_true, {"gamma": 2.0}) if name == "Circle" else (np.abs(y_true) + 1, arguments)
    narrow = jnp.asarray(y_pred, dtype)
    theirs, mine = (getattr(k.losses, name)(**arguments) for k in (real, keras))
    close(mine(y_true, narrow), theirs(y_true, narrow))
    theirs, mine = (getattr(k.losses, name)(dtype=dtype, **arguments) for k in (real, keras))
    assert mine.dtype == dtype
    a, e = (np.asarray(f(y_true, y_pred), "float64") for f in (mine, theirs))
    np.testing.assert_allclose(a, e, rtol=4 * RELATIVE[dtype], atol=4 * RELATIVE[dtype])


FUNCTIONS = [
    name
    for name in keras.losses.__all__
    if inspect.isfunction(getattr(real.losses, name, None)) and name not in ("get", "serialize", "deserialize")
]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name):
    """Their values and arguments; lists of numbers serve as well."""
    special = {
        "sparse_categorical_crossentropy": SPARSE,
        "categorical_generalized_cross_entropy": (*SPARSE, 0.3),
        "circle": (np.array([0, 1, 0, 1, 2, 2]), unit(6, 4)),
        "ctc": (np.array([[1, 2, 0], [3, 3, 1]]), normal(2, 7, 4)),
    }
    arguments = special.get(name, BINARY)
    mine, theirs = (getattr(k.losses, name) for k in (keras, real))
    close(mine(*arguments), theirs(*arguments))
    assert list(inspect.signature(mine).parameters) == list(inspect.signature(theirs).parameters)
    lists = [a.tolist() if isinstance(a, np.ndarray) else a for a in arguments]
    close(mine(*lists), theirs(*arguments))


def test_all_names_of_keras_are_there():
    names = [n for n in dir(real.losses) if not n.startswith("_")]
    assert sorted(names) == sorted(keras.losses.__all__)
    for name in names:
        theirs = getattr(real.losses, name)
        if inspect.isclass(theirs):
            mine = inspect.signature(getattr(keras.losses, name).__init__).parameters
            wanted = inspect.signature(theirs.__init__).parameters
            assert {n: p.default for n, p in mine.items()} == {n: p.default for n, p in wanted.items()}, name


def test_circle_with_references():
    labels, embeddings = np.array([0, 1, 0]), unit(3, 4)
    refs = {"ref_labels": np.array([0, 1, 1, 2]), "ref_embeddings": unit(4, 4), "remove_diagonal": False}
    close(keras.losses.circle(labels, embeddings, **refs), real.losses.circle(labels, embeddings, **refs))


def test_focal_loss_with_a_weight_for_each_class():
    alpha = [0.1, 0.2, 0.3, 0.4]
    arguments = {"alpha": alpha, "gamma": 2.0}
    theirs = real.losses.categorical_focal_crossentropy(*CATEGORICAL, **arguments)
    close(keras.losses.categorical_focal_crossentropy(*CATEGORICAL, **arguments), theirs)


def test_epsilon_is_that_of_the_call():
    before = keras.losses.binary_crossentropy([1.0], [0.0])
    try:
        for module in (keras, real):
            module.config.set_epsilon(0.1)
        close(keras.losses.binary_crossentropy([1.0], [0.0]), np.float32(-np.log(0.1)))
        close(keras.losses.poisson([1.0], [0.0]), real.losses.poisson(np.float32([1]), np.float32([0])))
    finally:
        for module in (keras, real):
            module.config.set_epsilon(1e-7)
    close(keras.losses.binary_crossentropy([1.0], [0.0]), before)


# Shapes


@pytest.mark.parametrize(
    ("true", "pred"),
    [((6,), (6, 1)), ((6, 1), (6,)), ((6, 3, 1), (6, 3)), ((6, 3), (6, 3, 1)), ((6, 1), (6, 1)), ((6, 1), (6, 3))],
)
def test_a_last_axis_of_one_is_dropped_or_added(true, pred):
    theirs, mine = (k.losses.MeanSquaredError(reduction=None) for k in (real, keras))
    close(mine(normal(*true, seed=1), normal(*pred)), theirs(normal(*true, seed=1), normal(*pred)))


@pytest.mark.parametrize("weight", [(), (6,), (6, 1), (6, 3), (6, 3, 1), (1, 3), (1,)])
@pytest.mark.parametrize("reduction", ["mean_with_sample_weight", None])
def test_weights_of_many_shapes(weight, reduction):
    y_true, y_pred = normal(6, 3, 2, seed=1), normal(6, 3, 2)
    factors = draw(*weight, seed=2)
    if weight == (6,):  # one for each sample does not broadcast to [6, 3]
        with pytest.raises(
            ShapeError, match=r"sample_weight of shape \(6,\) does not fit the values of shape \(6, 3\)"
        ):
            keras.losses.MeanSquaredError(reduction=reduction)(y_true, y_pred, factors)
        return
    theirs, mine = (k.losses.MeanSquaredError(reduction=reduction) for k in (real, keras))
    close(mine(y_true, y_pred, factors), theirs(y_true, y_pred, factors))


def test_weights_of_zero_and_empty_batches():
    for reduction in ("sum_over_batch_size", "mean_with_sample_weight"):
        theirs, mine = (k.losses.MeanSquaredError(reduction=reduction) for k in (real, keras))
        close(mine(*PAIR, np.zeros(6, "float32")), theirs(*PAIR, np.zeros(6, "float32")))
        empty = np.zeros((0, 3), "float32")
        close(mine(empty, empty), theirs(empty, empty))
    compiled = lamina.compile(keras.losses.MeanSquaredError(), lamina.Spec((None, 3)), lamina.Spec((None, 3)))
    assert float(compiled(empty, empty)) == 0.0


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weight", [None, (6, 3), (6, 3, 1)])
def test_masks(reduction, weight):
    y_true, y_pred = normal(6, 3, 2, seed=1), normal(6, 3, 2)
    mask = bits(6, 3) > 0
    factors = None if weight is None else draw(*weight, seed=2)
    theirs, mine = (k.losses.MeanSquaredError(reduction=reduction) for k in (real, keras))
    masked_theirs, masked_mine = jnp.asarray(y_pred), jnp.asarray(y_pred)
    real.src.backend.set_keras_mask(masked_theirs, jnp.asarray(mask))
    set_mask(masked_mine, jnp.asarray(mask))
    expected = theirs(y_true, masked_theirs, factors)
    close(mine(y_true, masked_mine, factors), expected)

    def traced(true, pred, mask):
        set_mask(pred, mask)
        return mine(true, pred, factors)

    close(lamina.jit(traced)(y_true, y_pred, mask), expected)


def test_the_mask_of_an_ignored_class_joins_that_of_the_predictions():
    labels, y_pred = classes(6, 3), draw(6, 3, 4)
    mask = bits(6, 3) > 0
    masked = [jnp.asarray(y_pred), jnp.asarray(y_pred)]
    real.src.backend.set_keras_mask(masked[0], jnp.asarray(mask))
    set_mask(masked[1], jnp.asarray(mask))
    theirs, mine = (k.losses.SparseCategoricalCrossentropy(ignore_class=2) for k in (real, keras))
    close(mine(labels, masked[1]), theirs(labels, masked[0]))
    values = keras.losses.sparse_categorical_crossentropy(labels, y_pred, ignore_class=2)
    np.testing.assert_array_equal(get_mask(values), labels != 2)


def test_an_axis_of_classes_that_is_not_the_last():
    labels, y_pred = classes(2, 5), draw(2, 4, 5)
    mine = keras.losses.sparse_categorical_crossentropy(labels, y_pred, axis=1)
    moved = real.losses.sparse_categorical_crossentropy(labels, np.moveaxis(y_pred, 1, -1))
    close(mine, moved)


def test_gradients_of_ignored_places_are_numbers():
    """Places that are ignored compute on 1s: probabilities of 0 / 0 there would make NaN of the derivative."""
    values = keras.losses.sparse_categorical_crossentropy(np.array([0, 1]), draw(2, 3), ignore_class=1)
    assert np.isfinite(np.asarray(values)).all() and float(values[1]) == 0.0


# Errors


@pytest.mark.parametrize(
    ("name", "true", "pred", "words"),
    [
        ("mean_squared_error", (4, 3), (4, 2), "must be equal"),
        ("categorical_crossentropy", (4,), (4, 3), "sparse_categorical_crossentropy"),
        ("categorical_crossentropy", (4, 2), (4, 3), "one-hot labels"),
        ("binary_crossentropy", (4, 2), (4, 3), "binary labels"),
        ("binary_crossentropy", (4, 1), (4, 3), "binary labels"),
        ("sparse_categorical_crossentropy", (4, 3), (4, 3), "categorical_crossentropy"),
        ("sparse_categorical_crossentropy", (5,), (4, 3), r"here \(4,\)"),
        ("ctc", (4,), (4, 3), "labels"),
        ("circle", (4,), (4, 3, 2), "embeddings"),
        ("categorical_generalized_cross_entropy", (4, 3), (4, 3), "integer labels"),
    ],
)
def test_shapes_that_do_not_fit(name, true, pred, words):
    arguments = (0.5,) if name == "categorical_generalized_cross_entropy" else ()
    labels = np.zeros(true, "int32" if "sparse" in name or name in ("ctc", "circle") else "float32")
    with pytest.raises(ShapeError) as error:
        getattr(keras.losses, name)(labels, draw(*pred), *arguments)
    message = str(error.value)
    text = [f"({', '.join(map(str, s))}{',' if len(s) == 1 else ''})" for s in (true, pred)]
    assert name in message and all(t in message for t in text)
    assert re.search(words, message)


def test_arguments_that_do_not_serve():
    with pytest.raises(ArgumentError, match="did you mean 'mse'"):
        keras.losses.get("mze")
    with pytest.raises(ArgumentError, match="3 is no loss"):
        keras.losses.get(3)
    with pytest.raises(ArgumentError, match="reduction must be one of"):
        keras.losses.MeanSquaredError(reduction="average")
    with pytest.raises(ArgumentError, match="0 < q < 1"):
        keras.losses.CategoricalGeneralizedCrossEntropy(q=1.0)
    with pytest.raises(ArgumentError, match="axis as an integer"):
        keras.losses.categorical_crossentropy(*CATEGORICAL, axis=True)
    with pytest.raises(ArgumentError, match="expected a function"):
        keras.losses.deserialize({"module": "keras.src.losses.losses", "class_name": "LossFunctionWrapper",
                                  "registered_name": "LossFunctionWrapper", "config": {"fn": None}})  # fmt: skip
    with pytest.raises(TypeError, match="must define call"):
        keras.losses.Loss()(*PAIR)
    with pytest.warns(SyntaxWarning, match="one class only"):
        keras.losses.categorical_crossentropy(np.ones((3, 1), "float32"), draw(3, 1))


# Names and configs


@pytest.mark.parametrize("name", sorted(real.src.losses.ALL_OBJECTS_DICT))
def test_get(name):
    mine, theirs = keras.losses.get(name) if name not in _NEEDS else None, real.src.losses.ALL_OBJECTS_DICT[name]
    if name in _NEEDS:
        assert name in keras.losses.ALL_OBJECTS
    elif inspect.isclass(theirs):
        assert type(mine).__name__ == theirs.__name__
        assert name == "Loss" or mine.name == theirs().name
    else:
        assert mine.__name__ == theirs.__name__ and mine is getattr(keras.losses, theirs.__name__)


_NEEDS = {"LossFunctionWrapper"}  # a class that no loss can be made of without arguments


@pytest.mark.parametrize(("name", "arguments", "y_true", "y_pred"), ROWS, ids=IDS)
def test_configs_go_both_ways(name, arguments, y_true, y_pred):
    theirs, mine = (getattr(k.losses, name)(reduction="sum", name="own", **arguments) for k in (real, keras))
    lost = {"delta", "axis"} if name in ("Huber", "CosineSimilarity", "SparseCategoricalCrossentropy") else set()
    config, wanted = (k.losses.serialize(x) for k, x in ((keras, mine), (real, theirs)))
    # What Keras forgets is written where it is not the default.
    assert set(config["config"]) - set(wanted["config"]) == lost & set(arguments)
    plain = {**config, "config": {k: v for k, v in config["config"].items() if k in wanted["config"]}}
    assert json.loads(json.dumps(plain)) == json.loads(json.dumps(wanted))
    for again in (
        keras.losses.deserialize(json.loads(json.dumps(config))),
        real.saving.deserialize_keras_object(config),
    ):
        close(again(y_true, y_pred), theirs(y_true, y_pred))
    assert keras.losses.get(wanted).name == "own"


def test_configs_of_functions_and_wrappers():
    config = keras.losses.serialize(keras.losses.huber)
    assert config == real.losses.serialize(real.losses.huber)
    assert keras.losses.deserialize(config) is keras.losses.huber
    wrapper = real.src.losses.losses.LossFunctionWrapper(real.losses.huber, name="own", delta=2.0)
    mine = keras.losses.deserialize(real.losses.serialize(wrapper))
    assert keras.losses.serialize(mine) == real.losses.serialize(wrapper)
    close(mine(*PAIR), wrapper(*PAIR))


def test_a_type_that_is_not_the_default_is_kept():
    mine = keras.losses.MeanSquaredError(dtype="bfloat16")
    assert keras.losses.deserialize(keras.losses.serialize(mine)).dtype == "bfloat16"
    assert real.losses.deserialize(keras.losses.serialize(mine)).dtype == "bfloat16"


def test_losses_of_the_user():
    class Cubed(keras.losses.Loss):
        def call(self, y_true, y_pred):
            return keras.ops.mean(keras.ops.abs(y_true - y_pred) ** 3, axis=-1)

    expected = np.mean(np.abs(PAIR[0] - PAIR[1]) ** 3)
    keras.utils.clear_session()
    assert [Cubed().name, Cubed().name, Cubed(name="own").name] == ["cubed", "cubed_1", "own"]
    np.testing.assert_allclose(Cubed()(*PAIR), expected, rtol=2e-6)
    np.testing.assert_allclose(Cubed()([list(map(float, r)) for r in PAIR[0]], PAIR[1]), expected, rtol=2e-6)

    class OfTwo(keras.losses.Loss):
        def call(self, y_true, y_pred):
            return keras.ops.mean(y_true["a"] - y_pred["a"] + y_true["b"][0] - y_pred["b"][0], axis=-1)

    nests = [{"a": x, "b": [x * 2]} for x in PAIR]
    np.testing.assert_allclose(OfTwo()(*nests), 3 * np.mean(PAIR[0] - PAIR[1]), rtol=1e-5, atol=1e-6)


# Properties


@given(st.integers(0, 10**6))
def test_a_loss_of_equal_things_is_nothing(seed):
    x = draw(5, 3, seed=seed)
    for loss in ("mse", "mae", "mape", "msle", "kld", "log_cosh", "huber"):
        np.testing.assert_allclose(keras.losses.get(loss)(x, x), np.zeros(5), atol=1e-6)


@given(st.sampled_from((2, 6)), st.integers(0, 10**6))
def test_integer_and_one_hot_labels_agree(depth, seed):
    labels = classes(5, depth=depth, seed=seed)
    logits = normal(5, depth, seed=seed)
    hot = np.eye(depth, dtype="float32")[labels]
    sparse = keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    np.testing.assert_allclose(
        keras.losses.categorical_crossentropy(hot, logits, from_logits=True), sparse, rtol=1e-6, atol=1e-6
    )
    meant = -(logits - np.log(np.exp(logits).sum(-1, keepdims=True)))[np.arange(5), labels]
    np.testing.assert_allclose(sparse, meant, rtol=1e-5, atol=1e-5)
