"""Metrics beside real Keras: state and results over batches, the stateless functions, traces, configs, errors."""

import inspect
import json

import jax.numpy as jnp
import keras as real
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lamina
from lamina import keras
from lamina.frontend.masking import set_mask
from lamina.ir.errors import ArgumentError, ShapeError

# Keras's own: it asks for 64-bit indices, which JAX narrows.
pytestmark = pytest.mark.filterwarnings("ignore:Explicitly requested dtype int64:UserWarning")

# float32 sums of a few dozen terms, and ratios of such.
RELATIVE = 2e-6


def draw(*shape, seed=0):
    return np.random.default_rng(seed).uniform(0.05, 0.95, size=shape).astype("float32")


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def classes(*shape, depth=4, seed=3):
    return np.random.default_rng(seed).integers(0, depth, size=shape)


def one_hot(*shape, depth=4, seed=3):
    return np.eye(depth, dtype="float32")[classes(*shape, depth=depth, seed=seed)]


def bits(*shape, seed=5):
    return (np.random.default_rng(seed).random(size=shape) < 0.5).astype("float32")


def edges(*shape, seed=0):
    """Probabilities, some of them 0, 1 and exactly at thresholds."""
    x = draw(*shape, seed=seed).ravel()
    x[:6] = [0, 1, 0.5, 0.25, 0.75, 1]
    return x.reshape(shape)


# How two batches (seeds 0 and 1) of labels and predictions are drawn.
PAIR = lambda seed: (normal(6, 4, seed=seed + 7), normal(6, 4, seed=seed))  # noqa: E731
POSITIVE = lambda seed: (draw(6, 4, seed=seed + 7), draw(6, 4, seed=seed))  # noqa: E731
BINARY = lambda seed: (bits(6, 4, seed=seed + 7), edges(6, 4, seed=seed))  # noqa: E731
FLAT = lambda seed: (bits(8, seed=seed + 7), edges(8, seed=seed))  # noqa: E731
CATEGORICAL = lambda seed: (one_hot(6, seed=seed + 7), draw(6, 4, seed=seed))  # noqa: E731
SPARSE = lambda seed: (classes(6, seed=seed + 7), draw(6, 4, seed=seed))  # noqa: E731
COLUMN = lambda seed: (classes(6, 1, seed=seed + 7), draw(6, 4, seed=seed))  # noqa: E731
STEPS = lambda seed: (classes(6, 3, seed=seed + 7), draw(6, 3, 4, seed=seed))  # noqa: E731
INTEGERS = lambda seed: (classes(6, seed=seed + 7), classes(6, seed=seed))  # noqa: E731
IMAGES = lambda seed: (classes(2, 3, 3, seed=seed + 7), classes(2, 3, 3, seed=seed))  # noqa: E731
HOT_IMAGES = lambda seed: (one_hot(2, 3, seed=seed + 7), draw(2, 3, 4, seed=seed))  # noqa: E731
VALUES = lambda seed: (normal(6, 4, seed=seed),)  # noqa: E731

THREE = [0.2, 0.5, 0.75]
ROWS = [
    ("Sum", {}, VALUES),
    ("Mean", {}, VALUES),
    ("Mean", {"dtype": "bfloat16"}, VALUES),
    ("MeanSquaredError", {}, PAIR),
    ("RootMeanSquaredError", {}, PAIR),
    ("MeanAbsoluteError", {}, PAIR),
    ("MeanAbsolutePercentageError", {}, PAIR),
    ("MeanSquaredLogarithmicError", {}, POSITIVE),
    ("LogCoshError", {}, PAIR),
    ("CosineSimilarity", {}, PAIR),
    ("CosineSimilarity", {"axis": 0}, PAIR),
    ("PearsonCorrelation", {}, PAIR),
    ("ConcordanceCorrelation", {"axis": -1}, PAIR),
    ("R2Score", {}, PAIR),
    ("R2Score", {"class_aggregation": "variance_weighted_average"}, PAIR),
    ("R2Score", {"class_aggregation": None, "num_regressors": 3}, PAIR),
    ("KLDivergence", {}, POSITIVE),
    ("Poisson", {}, POSITIVE),
    ("Hinge", {}, BINARY),
    ("SquaredHinge", {}, BINARY),
    ("CategoricalHinge", {}, CATEGORICAL),
    ("BinaryCrossentropy", {"label_smoothing": 0.1}, BINARY),
    ("BinaryCrossentropy", {"from_logits": True}, BINARY),
    ("CategoricalCrossentropy", {}, CATEGORICAL),
    ("SparseCategoricalCrossentropy", {"from_logits": True}, SPARSE),
    ("SparseCategoricalCrossentropy", {"ignore_class": 1}, SPARSE),
    ("Accuracy", {}, INTEGERS),
    ("BinaryAccuracy", {}, BINARY),
    ("BinaryAccuracy", {"threshold": 0.75}, FLAT),
    ("CategoricalAccuracy", {}, CATEGORICAL),
    ("SparseCategoricalAccuracy", {}, SPARSE),
    ("SparseCategoricalAccuracy", {}, COLUMN),
    ("SparseCategoricalAccuracy", {}, STEPS),
    ("TopKCategoricalAccuracy", {"k": 2}, CATEGORICAL),
    ("SparseTopKCategoricalAccuracy", {"k": 2}, SPARSE),
    ("SparseTopKCategoricalAccuracy", {"k": 3}, STEPS),
    ("TruePositives", {}, BINARY),
    ("TrueNegatives", {"thresholds": THREE}, BINARY),
    ("FalsePositives", {"thresholds": [0.0, 0.5, 1.0]}, FLAT),
    ("FalseNegatives", {"thresholds": 0.25}, FLAT),
    ("Precision", {}, BINARY),
    ("Precision", {"thresholds": THREE}, FLAT),
    ("Precision", {"top_k": 2}, CATEGORICAL),
    ("Recall", {}, FLAT),
    ("Recall", {"class_id": 2}, BINARY),
    ("Recall", {"top_k": 2, "class_id": 1}, CATEGORICAL),
    ("SensitivityAtSpecificity", {"specificity": 0.5}, BINARY),
    ("SensitivityAtSpecificity", {"specificity": 0.4, "num_thresholds": 1}, FLAT),
    ("SpecificityAtSensitivity", {"sensitivity": 0.5, "class_id": 1}, BINARY),
    ("PrecisionAtRecall", {"recall": 0.8, "num_thresholds": 5}, BINARY),
    ("RecallAtPrecision", {"precision": 0.5}, FLAT),
    ("AUC", {}, BINARY),
    ("AUC", {"curve": "PR"}, FLAT),
    ("AUC", {"curve": "PRGAIN", "num_thresholds": 20}, FLAT),
    ("AUC", {"curve": "PR", "summation_method": "majoring", "thresholds": THREE}, FLAT),
    ("AUC", {"summation_method": "minoring", "from_logits": True}, PAIR),
    ("AUC", {"multi_label": True}, BINARY),
    ("AUC", {"multi_label": True, "curve": "PR", "num_labels": 4, "label_weights": [1.0, 2.0, 0.0, 1.0]}, BINARY),
    ("AUC", {"multi_label": True, "thresholds": THREE}, BINARY),
    ("AUC", {"label_weights": [1.0, 2.0, 0.0, 1.0]}, BINARY),
    ("F1Score", {}, CATEGORICAL),
    ("F1Score", {"threshold": 0.5, "average": "macro"}, BINARY),
    ("FBetaScore", {"average": "weighted", "beta": 2.0}, CATEGORICAL),
    ("FBetaScore", {"average": "micro", "beta": 0.5, "threshold": 0.25}, BINARY),
    ("IoU", {"num_classes": 4, "target_class_ids": [0, 2]}, IMAGES),
    ("IoU", {"num_classes": 4, "target_class_ids": [1], "ignore_class": 2, "dtype": "float32"}, IMAGES),
    ("IoU", {"num_classes": 4, "target_class_ids": [0, 1], "sparse_y_pred": False}, STEPS),
    ("BinaryIoU", {}, BINARY),
    ("BinaryIoU", {"target_class_ids": [1], "threshold": 0.3}, FLAT),
    ("MeanIoU", {"num_classes": 3}, IMAGES),  # a class out of range
    ("OneHotIoU", {"num_classes": 4, "target_class_ids": [3, 0]}, HOT_IMAGES),
    ("OneHotMeanIoU", {"num_classes": 4}, HOT_IMAGES),
]
IDS = [f"{name}-{'-'.join(map(str, arguments))}-{i}" for i, (name, arguments, _) in enumerate(ROWS)]


def pair_of(name, arguments):
    return (getattr(k.metrics, name)(name="own", **arguments) for k in (real, keras))


def close(mine, theirs, relative=RELATIVE):
    mine, theirs = np.asarray(mine), np.asarray(theirs)
    assert mine.shape == theirs.shape and mine.dtype == theirs.dtype
    mine, theirs = mine.astype("float64"), theirs.astype("float64")
    scale = np.abs(theirs).max(initial=0)
    np.testing.assert_allclose(mine, theirs, rtol=relative, atol=relative * scale)


def weight_for(name, batch):
    """Weights that the metric takes: one for each sample, or, whole ones, one for each place of a mask."""
    if "IoU" not in name:
        return draw(len(batch[0]), seed=1)
    return classes(batch[0].size // (4 if "OneHot" in name else 1), seed=1)


@pytest.mark.parametrize(("name", "arguments", "batches"), ROWS, ids=IDS)
def test_state_and_results_over_batches(name, arguments, batches):
    theirs, mine = pair_of(name, arguments)
    narrow = 2e-2 if arguments.get("dtype") == "bfloat16" else RELATIVE
    for seed, weighted in ((0, False), (1, True), (2, False)):
        batch = batches(seed)
        weight = weight_for(name, batch) if weighted and arguments.get("dtype") != "float32" else None
        if (batches is STEPS and name == "IoU") or arguments.get("axis") == 0:
            weight = None  # one for each sample does not fit
        for metric in (theirs, mine):
            metric.update_state(*batch, sample_weight=weight)
        close(mine.result(), theirs.result(), narrow)
    assert [v.path for v in mine.variables] == [v.path for v in theirs.variables]
    for own, other in zip(mine.variables, theirs.variables, strict=True):
        close(own, other, narrow)
    mine.reset_state(), theirs.reset_state()
    assert not any(np.any(np.asarray(v)) for v in mine.variables)
    first = batches(0)
    close(mine(*first), theirs(*first), narrow)


@pytest.mark.parametrize(("name", "arguments", "batches"), ROWS, ids=IDS)
def test_stateless_and_traced_with_an_open_batch(name, arguments, batches):
    mine = getattr(keras.metrics, name)(name="own", **arguments)
    narrow = 2e-2 if arguments.get("dtype") == "bfloat16" else RELATIVE
    batch = [x.astype(x.dtype.name.replace("64", "32")) for x in batches(0)]
    mine.update_state(*batch)
    kept = [np.asarray(v) for v in mine.variables]
    start = [np.zeros_like(v) for v in kept]

    def run(*batch):
        values = mine.stateless_update_state(start, *batch)
        return values, mine.stateless_result(values)

    values, result = lamina.compile(run, *(lamina.Spec((None, *x.shape[1:]), x.dtype) for x in batch))(*batch)
    close(result, mine.result(), narrow)
    for own, expected in zip(values, kept, strict=True):
        close(own, expected, narrow)
    for own, before in zip(mine.variables, kept, strict=True):
        np.testing.assert_array_equal(np.asarray(own), before)


@pytest.mark.parametrize("name", ["Mean", "Precision", "F1Score"])
def test_stateless_calls_on_arrays(name):
    theirs, mine = pair_of(name, {})
    batch = CATEGORICAL(0)[: 1 if name == "Mean" else 2]
    theirs(*batch), mine(*batch)
    kept = [np.asarray(v) for v in mine.variables]
    start = mine.stateless_reset_state()
    assert len(start) == len(kept) and not any(np.any(np.asarray(v)) for v in start)
    values = mine.stateless_update_state(mine.stateless_update_state(start, *batch), *batch)
    for own, once in zip(values, kept, strict=True):
        close(own, 2 * once)
    close(mine.stateless_result(values), theirs.result())
    for own, before in zip(mine.variables, kept, strict=True):
        np.testing.assert_array_equal(np.asarray(own), before)


@pytest.mark.parametrize(("name", "arguments", "batches"), ROWS, ids=IDS)
def test_configs_go_both_ways(name, arguments, batches):
    theirs, mine = pair_of(name, arguments)
    config = keras.metrics.serialize(mine)
    wanted = real.metrics.serialize(theirs)
    lost = {"axis"} if name == "CosineSimilarity" and arguments else set()  # Keras forgets it
    assert set(config["config"]) - set(wanted["config"]) == lost
    plain = {k: v for k, v in config["config"].items() if k not in lost}
    if arguments.get("label_weights"):  # Keras writes a tensor, which it can't read
        assert plain.pop("label_weights") == wanted["config"]["label_weights"]["config"]["value"]
        assert keras.metrics.deserialize(wanted).label_weights.tolist() == arguments["label_weights"]
        del wanted["config"]["label_weights"]
    assert json.loads(json.dumps({**config, "config": plain})) == json.loads(json.dumps(wanted))
    assert keras.metrics.serialize(keras.metrics.deserialize(json.loads(json.dumps(config)))) == config
    assert type(real.metrics.deserialize(config)) is type(theirs)


# Weights and masks


@pytest.mark.parametrize("weight", [(), (6,), (6, 1), (6, 3), (1, 3)])
def test_means_with_weights_of_many_shapes(weight):
    values, factors = normal(6, 3, 2), draw(*weight, seed=2)
    theirs, mine = real.metrics.Mean(), keras.metrics.Mean()
    theirs.update_state(values, factors), mine.update_state(values, factors)
    close(mine.result(), theirs.result())
    close(mine.count, theirs.count)
    theirs, mine = real.metrics.Sum(), keras.metrics.Sum()
    theirs.update_state(values, factors), mine.update_state(values, factors)
    close(mine.result(), theirs.result())


@pytest.mark.parametrize("weight", [None, (6,), (6, 3)])
def test_masks_of_predictions(weight):
    y_true, y_pred, mask = normal(6, 3, 2, seed=1), normal(6, 3, 2), bits(6, 3) > 0
    factors = None if weight is None else draw(*weight, seed=2)
    masked = [jnp.asarray(y_pred), jnp.asarray(y_pred)]
    real.src.backend.set_keras_mask(masked[0], jnp.asarray(mask))
    set_mask(masked[1], jnp.asarray(mask))
    if weight == (6,):  # as in Keras, weights of samples do not broadcast to a mask of steps
        with pytest.raises(ShapeError, match="broadcast"):
            keras.metrics.MeanSquaredError().update_state(y_true, masked[1], factors)
        return
    theirs, mine = real.metrics.MeanSquaredError(), keras.metrics.MeanSquaredError()
    theirs.update_state(y_true, masked[0], factors), mine.update_state(y_true, masked[1], factors)
    close(mine.result(), theirs.result())

    traced = keras.metrics.MeanSquaredError()

    def step(true, pred, mask):
        set_mask(pred, mask)
        traced.update_state(true, pred, factors)
        return traced.result()

    close(lamina.jit(step)(y_true, y_pred, mask), theirs.result())
    close(traced.result(), theirs.result())  # the state was updated by the program


@pytest.mark.parametrize("weight", [(6,), (6, 1), (6, 4), ()])
@pytest.mark.parametrize("arguments", [{}, {"thresholds": [0.3, 0.6]}, {"thresholds": [0.0, 0.5, 1.0]}])
def test_counts_with_weights_of_many_shapes(weight, arguments):
    theirs, mine = real.metrics.FalseNegatives(**arguments), keras.metrics.FalseNegatives(**arguments)
    for metric in (theirs, mine):
        metric.update_state(*BINARY(0), sample_weight=draw(*weight, seed=2))
    close(mine.result(), theirs.result())


def test_classes_in_order_of_likelihood():
    order = np.argsort(-draw(6, 4), axis=-1)
    for k in (1, 2, 4):
        arguments = {"k": k, "from_sorted_ids": True}
        theirs, mine = pair_of("SparseTopKCategoricalAccuracy", arguments)
        theirs.update_state(classes(6), order), mine.update_state(classes(6), order)
        close(mine.result(), theirs.result())
        assert keras.metrics.serialize(mine) == real.metrics.serialize(theirs)


def test_float_weights_of_integer_counts_are_warned_about():
    metric = keras.metrics.MeanIoU(num_classes=4)
    with pytest.warns(UserWarning, match="fractions are lost"):
        metric.update_state(*INTEGERS(0), sample_weight=draw(6))


def test_too_many_regressors_are_warned_about():
    theirs, mine = (k.metrics.R2Score(num_regressors=50) for k in (real, keras))
    theirs.update_state(*PAIR(0)), mine.update_state(*PAIR(0))
    with pytest.warns(UserWarning, match="More independent"):
        expected = theirs.result()
    with pytest.warns(UserWarning, match="50 regressors are too many for 24 values"):
        close(mine.result(), expected)


# What a metric of the user's can be


def test_metrics_of_the_user():
    class Range(keras.metrics.Metric):
        def __init__(self, name="range", **kwargs):
            super().__init__(name=name, **kwargs)
            self.low = self.add_weight(name="low", initializer="zeros")
            self.high = self.add_variable((), "zeros", name="high")
            self.inner = [keras.metrics.Mean(name="inner"), {"sum": keras.metrics.Sum()}]

        def update_state(self, values, sample_weight=None):
            self.low.assign(keras.ops.minimum(self.low, keras.ops.min(values)))
            self.high.assign(keras.ops.maximum(self.high, keras.ops.max(values)))
            self.inner[0].update_state(values)
            self.inner[1]["sum"].update_state(values)

        def result(self):
            return {"low": self.low.value, "high": self.high.value, "sum": self.inner[1]["sum"].result()}

    metric = Range()
    assert [v.path for v in metric.variables] == ["range/low", "range/high", "inner/total", "inner/count", "sum/total"]
    values = normal(5)
    assert {k: float(v) for k, v in metric(values).items()} == {
        "low": min(values.min(), 0),
        "high": max(values.max(), 0),
        "sum": pytest.approx(values.sum(), rel=1e-5, abs=1e-6),
    }
    assert repr(metric) == "<Range name=range>" and metric.get_config() == {"name": "range", "dtype": "float32"}
    metric.reset_state()
    assert float(metric.inner[0].result()) == 0.0


def test_functions_and_losses_as_means():
    for fn, arguments in ((keras.losses.huber, {"delta": 0.5}), (keras.losses.MeanSquaredError(reduction=None), {})):
        metric = keras.metrics.MeanMetricWrapper(fn, name="own", **arguments)
        metric.update_state(*PAIR(0), sample_weight=draw(6))
        other = getattr(real.losses, getattr(fn, "__name__", "mean_squared_error"))
        theirs = real.metrics.MeanMetricWrapper(other, name="own", **arguments)
        theirs.update_state(*PAIR(0), sample_weight=draw(6))
        close(metric.result(), theirs.result())
        assert metric._direction == theirs._direction == "down"
        again = keras.metrics.deserialize(json.loads(json.dumps(keras.metrics.serialize(metric))))
        assert again.get_config() == metric.get_config()
    assert keras.metrics.serialize(keras.metrics.MeanMetricWrapper(keras.losses.huber, name="own")) == (
        real.metrics.serialize(real.metrics.MeanMetricWrapper(real.losses.huber, name="own"))
    )


# Names


def test_all_names_of_keras_are_there():
    names = [n for n in dir(real.metrics) if not n.startswith("_")]
    assert sorted(names) == sorted(keras.metrics.__all__)
    for name in names:
        theirs, mine = getattr(real.metrics, name), getattr(keras.metrics, name)
        if inspect.isclass(theirs):
            wanted = inspect.signature(theirs.__init__).parameters
            own = inspect.signature(mine.__init__).parameters
            assert {n: p.default for n, p in own.items()} == {n: p.default for n, p in wanted.items()}, name
        else:
            assert list(inspect.signature(mine).parameters) == list(inspect.signature(theirs).parameters)


NEED_ARGUMENTS = ("io_u", "mean_metric_wrapper", "one_hot", "mean_io_u", "_at_", "IoU", "MeanMetricWrapper", "At")


@pytest.mark.parametrize("name", sorted(real.src.metrics.ALL_OBJECTS_DICT))
def test_get(name):
    theirs = real.src.metrics.ALL_OBJECTS_DICT[name]
    mine = keras.metrics.ALL_OBJECTS[name]
    assert mine.__name__ == theirs.__name__
    if not any(part in name for part in NEED_ARGUMENTS):
        assert type(keras.metrics.get(name)) is mine


def test_functions():
    for name in ("binary_accuracy", "categorical_accuracy", "top_k_categorical_accuracy"):
        arguments = CATEGORICAL(0)
        close(getattr(keras.metrics, name)(*arguments), getattr(real.metrics, name)(*arguments))
    for batches in (SPARSE, COLUMN, STEPS):
        for name in ("sparse_categorical_accuracy", "sparse_top_k_categorical_accuracy"):
            if batches is COLUMN and "top_k" in name:
                continue
            extra = {"k": 2} if "top_k" in name else {}
            close(getattr(keras.metrics, name)(*batches(0), **extra), getattr(real.metrics, name)(*batches(0), **extra))
    for name in ("pearson_correlation", "concordance_correlation"):
        close(getattr(keras.metrics, name)(*PAIR(0)), getattr(real.metrics, name)(*PAIR(0)))
    assert keras.metrics.mean_squared_error is keras.losses.mean_squared_error
    assert keras.metrics.deserialize(real.metrics.serialize(real.metrics.binary_accuracy)) is (
        keras.metrics.binary_accuracy
    )


# Errors


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: keras.metrics.get("acuracy"), "did you mean 'accuracy'"),
        (lambda: keras.metrics.get(3), "3 is no metric"),
        (lambda: keras.metrics.Precision(thresholds=[0.5, 1.5]), r"between 0 and 1, received \[1.5\]"),
        (lambda: keras.metrics.AUC(curve="ROCK"), "one of ROC, PR, PRGAIN"),
        (lambda: keras.metrics.AUC(summation_method="trapezoid"), "one of interpolation"),
        (lambda: keras.metrics.AUC(num_thresholds=1), "num_thresholds > 1"),
        (lambda: keras.metrics.AUC(num_labels=3), "multi_label=True only"),
        (lambda: keras.metrics.PrecisionAtRecall(recall=2), "expected recall between 0 and 1"),
        (lambda: keras.metrics.RecallAtPrecision(0.5, num_thresholds=0), "num_thresholds > 0"),
        (lambda: keras.metrics.FBetaScore(beta=1), "beta as a float > 0"),
        (lambda: keras.metrics.FBetaScore(average="mean"), "expected average as one of"),
        (lambda: keras.metrics.F1Score(threshold=0.0), r"float in \(0, 1\]"),
        (lambda: keras.metrics.F1Score().result(), "no batch was seen"),
        (lambda: keras.metrics.R2Score(class_aggregation="mean"), "expected class_aggregation"),
        (lambda: keras.metrics.R2Score(num_regressors=-1), "num_regressors >= 0"),
        (lambda: keras.metrics.R2Score().result(), "no batch was seen"),
        (lambda: keras.metrics.IoU(2, [2]), "between 0 and 1, received"),
        (lambda: keras.metrics.MeanMetricWrapper("mse"), "expected a function"),
        (lambda: keras.metrics.Mean().stateless_result([1.0]), "one tensor for each of its 2"),
    ],
)
def test_arguments_that_do_not_serve(make, words):
    with pytest.raises(ArgumentError, match=words):
        make()


@pytest.mark.parametrize(
    ("metric", "true", "pred", "words"),
    [
        (keras.metrics.Precision, (4, 3), (4, 2), r"\(4, 3\).*\(4, 2\)"),
        (keras.metrics.AUC, (4,), (4, 2), r"\(4,\).*\(4, 2\)"),
        (lambda: keras.metrics.AUC(multi_label=True), (4,), (4,), "multi_label=True"),
        (lambda: keras.metrics.Recall(class_id=3), (4, 3), (4, 3), "class_id=3"),
        (keras.metrics.CategoricalAccuracy, (4,), (4, 3), "sparse_categorical_accuracy"),
        (keras.metrics.SparseCategoricalAccuracy, (4, 3), (4, 3), "categorical_accuracy"),
        (keras.metrics.F1Score, (4,), (4,), r"\[batch, classes\]"),
        (keras.metrics.R2Score, (4, 3, 2), (4, 3, 2), r"\[batch, outputs\]"),
        (lambda: keras.metrics.MeanIoU(3), (4,), (5,), "same number of classes"),
        (keras.metrics.MeanSquaredError, (4, 3), (4, 2), r"\(4, 3\).*\(4, 2\)"),
    ],
)
def test_shapes_that_do_not_fit(metric, true, pred, words):
    with pytest.raises(ShapeError, match=words):
        metric().update_state(bits(*true), draw(*pred))


def test_weights_that_do_not_fit():
    with pytest.raises(ShapeError, match=r"sample_weight of shape \(5,\) does not fit values of shape \(6,\)"):
        keras.metrics.MeanSquaredError().update_state(*PAIR(0), sample_weight=draw(5))
    with pytest.raises(ShapeError, match=r"weights of shape \(5, 1\) do not fit predictions of shape \(6, 4\)"):
        keras.metrics.Precision().update_state(*BINARY(0), sample_weight=draw(5))
    with pytest.raises(ArgumentError, match="top_k of at most 4"):
        keras.metrics.Precision(top_k=5).update_state(*BINARY(0))


def test_a_constructor_that_forgets_the_base_class():
    class Forgetful(keras.metrics.Metric):
        def __init__(self):
            self.total = self.add_variable((), "zeros")

    with pytest.raises(ArgumentError, match=r"must call super\(\).__init__\(\)"):
        Forgetful()
    with pytest.raises(TypeError, match="must define update_state"):
        keras.metrics.Metric()(1.0)


# Properties


@given(st.lists(st.floats(-5, 5, width=32), min_size=4, max_size=4), st.floats(-3, 3, width=32))
def test_the_mean_over_batches_is_that_of_all_values(values, other):
    metric = keras.metrics.Mean()
    metric.update_state(np.float32(values))
    metric.update_state(np.float32([other, other]), sample_weight=np.float32([1, 0]))
    np.testing.assert_allclose(metric.result(), np.mean([*values, other]), rtol=1e-5, atol=1e-5)


@given(st.integers(0, 10**6))
def test_the_area_is_the_share_of_pairs_in_order(seed):
    """AUC of ROC is the chance that a positive is above a negative; the thresholds' steps tell all of these apart."""
    rng = np.random.default_rng(seed)
    scores = rng.permutation(np.arange(12) / 12 + 0.04).astype("float32")
    labels = np.float32([0, 1] * 6)
    metric = keras.metrics.AUC(num_thresholds=200)
    metric.update_state(labels, scores)
    pairs = scores[labels == 1][:, None] > scores[labels == 0][None, :]
    np.testing.assert_allclose(metric.result(), pairs.mean(), rtol=1e-5)
