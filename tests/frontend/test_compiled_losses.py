"""What ``compile`` makes of losses and metrics for one output and for several, beside real Keras; and its errors."""

from collections import OrderedDict

import keras as real
import numpy as np
import pytest
from keras.src.trainers.compile_utils import CompileLoss as RealLoss
from keras.src.trainers.compile_utils import CompileMetrics as RealMetrics

import lamina
from lamina import keras
from lamina.frontend.masking import set_mask
from lamina.frontend.training.compiled_losses import CompileLoss
from lamina.frontend.training.compiled_metrics import CompileMetrics
from lamina.ir.errors import ArgumentError, ShapeError

# float32 means of a few dozen terms.
RELATIVE = 2e-6


def draw(*shape, seed=0):
    return np.random.default_rng(seed).uniform(0.05, 0.95, size=shape).astype("float32")


A, B = draw(6, 3, seed=1), draw(6, 2, seed=2)  # outputs
YA, YB = draw(6, 3, seed=3), draw(6, 2, seed=4)  # their labels
W, V = draw(6, seed=5), draw(6, seed=6)  # weights
CLASSES = np.array([0, 2, 1, 1, 0, 2])
HOT = np.eye(3, dtype="float32")[CLASSES]
BITS = np.float32([0, 1, 1, 0, 1, 0])

NAMES = ["a", "b"]
LIST, DICT = ([YA, YB], [A, B]), ({"a": YA, "b": YB}, {"a": A, "b": B})
NESTED = ({"x": [YA, YB], "y": {"z": YA}}, {"x": [A, B], "y": {"z": A}})

# loss, loss_weights, output_names, labels, outputs, sample weights
LOSSES = [
    ("mse", None, None, YA, A, None),
    ("mse", None, ["a"], YA, A, W),
    ("mse", 0.5, ["a"], YA, A, None),
    (["mae"], [2.0], ["a"], YA, A, None),
    ({"a": "mae"}, {"a": 0.5}, ["a"], YA, A, W),
    ("mse", None, None, [YA], [A], None),
    ("mse", None, NAMES, *LIST, None),
    (["mse", "mae"], None, NAMES, *LIST, None),
    (["mse", "mae"], [0.2, 3.0], NAMES, *LIST, None),
    (["mse", "mae"], None, None, *LIST, [W, V]),
    (["mse", "mae"], None, NAMES, *LIST, W),
    (["mse", None], None, NAMES, *LIST, None),
    ([None, "mae"], None, NAMES, [YB], [A, B], None),
    ({"a": "mse", "b": "mae"}, {"a": 0.2, "b": 3.0}, NAMES, *LIST, None),
    ({"b": "mae", "a": "mse"}, None, NAMES, {"a": YA, "b": YB}, [A, B], None),
    ({"b": "mae", "a": "mse"}, {"b": 3.0, "a": 0.1}, NAMES, *DICT, {"a": W, "b": V}),
    ({"b": "mae", "a": "mse"}, None, None, *DICT, None),
    ({"b": "mae"}, None, None, *DICT, None),
    ({"b": "mae"}, None, None, {"b": YB}, {"a": A, "b": B}, None),
    ("mse", None, None, *DICT, None),
    (["mse", "mae"], None, None, *DICT, None),
    (["mse", "mae"], None, None, (YA, YB), (A, B), None),
    ("mse", None, None, *NESTED, None),
    ({"x": ["mse", "mae"], "y": {"z": "mse"}}, {"x": [1.0, 2.0], "y": {"z": 0.5}}, None, *NESTED, None),
    ("crossentropy", None, None, CLASSES, A, None),
    ("crossentropy", None, None, CLASSES[:, None], A, None),
    ("ce", None, None, HOT, A, None),
    ("CE", None, None, BITS[:, None], draw(6, 1), None),
    (["crossentropy", "crossentropy"], None, ["p", "q"], [CLASSES, BITS], [A, draw(6, 1)], None),
]
LOSS_IDS = [f"{i}-{loss}" for i, (loss, *_) in enumerate(LOSSES)]


def close(mine, theirs):
    assert np.shape(mine) == np.shape(theirs)
    np.testing.assert_allclose(np.asarray(mine), np.asarray(theirs), rtol=RELATIVE, atol=RELATIVE)


@pytest.mark.parametrize(("loss", "weights", "names", "y_true", "y_pred", "sample_weight"), LOSSES, ids=LOSS_IDS)
def test_the_sum_of_the_losses(loss, weights, names, y_true, y_pred, sample_weight):
    theirs, mine = (cls(loss, weights, output_names=names) for cls in (RealLoss, CompileLoss))
    for _ in range(2):
        close(mine(y_true, y_pred, sample_weight), theirs(y_true, y_pred, sample_weight))
    assert [m.name for m in mine.metrics] == [m.name for m in theirs.metrics]
    assert [v.path for v in mine.variables] == [v.path for v in theirs.variables]
    for own, other in zip(mine.metrics, theirs.metrics, strict=True):
        close(own.result(), other.result())


def test_losses_given_as_objects_and_functions():
    def squares(y_true, y_pred):
        return keras.ops.mean((y_true - y_pred) ** 2, axis=-1)

    given = [keras.losses.MeanAbsoluteError(name="own"), squares]
    mine = CompileLoss(given)
    close(mine(*LIST), np.mean(np.abs(YA - A)) + np.mean((YB - B) ** 2))
    assert [m.name for m in mine.metrics] == ["own_loss", "squares_loss"]


def test_dicts_of_other_orders():
    given = ({"a": "mse", "b": "mae"}, OrderedDict(b=3.0, a=0.1))
    mine = CompileLoss(*given)(OrderedDict(b=YB, a=YA), {"a": A, "b": B}, OrderedDict(b=V, a=W))
    errors = np.mean((YA - A) ** 2, axis=-1) * W, np.mean(np.abs(YB - B), axis=-1) * V
    close(mine, 0.1 * errors[0].mean() + 3 * errors[1].mean())


def test_several_losses_of_one_output_are_added():
    """Keras 3.15 uses the first alone."""
    mine = CompileLoss(["mse", "mae"], [2.0, 1.0], output_names=["a"])
    close(mine(YA, A), 2 * np.mean((YA - A) ** 2) + np.mean(np.abs(YA - A)))
    assert len(mine.metrics) == 2


def test_a_loss_without_outputs_is_none():
    assert CompileLoss([None, None], output_names=NAMES)(*LIST) is None


def test_traced_with_an_open_batch():
    theirs, mine = (cls({"a": "mse", "b": "mae"}, {"a": 2.0, "b": 1.0}) for cls in (RealLoss, CompileLoss))

    def step(y_true, y_pred, weight):
        return mine(y_true, y_pred, weight), [m.result() for m in mine.metrics]

    specs = [{"a": lamina.Spec((None, 3)), "b": lamina.Spec((None, 2))}] * 2
    compiled = lamina.compile(step, *specs, lamina.Spec((None,)))
    total, parts = compiled(*DICT, W)
    close(total, theirs(*DICT, W))
    for own, kept, other in zip(parts, mine.metrics, theirs.metrics, strict=True):
        close(own, other.result())
        close(kept.result(), other.result())
    half = [{key: x[:3] for key, x in nest.items()} for nest in DICT]
    close(compiled(*half, W[:3])[0], theirs(*half, W[:3]))
    for kept, other in zip(mine.metrics, theirs.metrics, strict=True):
        close(kept.result(), other.result())  # the mean weighs a batch by its size


def test_masks_of_outputs():
    y_true, y_pred, mask = draw(4, 3, 2, seed=1), draw(4, 3, 2), draw(4, 3, seed=2) > 0.4
    loss, metrics = CompileLoss("mse"), CompileMetrics(["mse"], None)

    def step(true, pred, mask):
        set_mask(pred, mask)
        metrics.update_state(true, pred)
        return loss(true, pred), metrics.result()

    total, logs = lamina.jit(step)(y_true, y_pred, mask)
    counted = np.mean((y_true - y_pred) ** 2, axis=-1)[mask]
    close(total, counted.mean())
    # As in Keras: each sample's mean of what counts, and of which share of its steps does.
    values = np.where(mask, np.mean((y_true - y_pred) ** 2, axis=-1), 0).mean(axis=1)
    close(logs["mse"], values.sum() / mask.mean(axis=1).sum())


@pytest.mark.parametrize(
    ("loss", "weights", "names", "y_true", "y_pred", "words"),
    [
        ("mze", None, None, YA, A, "did you mean 'mse'"),
        ({"a": "mse", "b": "mze"}, None, None, *DICT, r"loss\['b'\]: unknown loss 'mze'"),
        ({"a": "mse", "c": "mae"}, None, NAMES, *LIST, "key 'c', which is no output of the model"),
        ({"a": "mse"}, None, NAMES, *LIST, r"it lacks \['b'\]"),
        ({"a": "mse", "bb": "mae"}, None, None, *DICT, r"loss\['bb'\] is for no output of the model: did you mean 'b'"),
        ({"a": "mse"}, None, None, *LIST, r"the model's outputs there are \[\*, \*\]"),
        (["mse", "mae"], [1.0], NAMES, *LIST, "there are 2 losses .* and 1 weights"),
        ({"a": "mse", "b": "mae"}, {"a": 1.0, "x": 2.0}, None, *DICT, "loss_weights has the key 'x'"),
        ("mse", None, NAMES, [YA], [A, B], r"y_true is \[\*\], y_pred is \[\*, \*\]; the outputs' names are"),
        ("mse", None, NAMES, {"a": YA, "x": YB}, [A, B], "different structures"),
        (["mse", "mae"], None, NAMES, {"a": YA}, [A, B], "output 'b' has a loss, mae, but there are no labels"),
        (["mse", "mae", "mse"], None, NAMES, *LIST, r"loss\[2\] is for no output of the model: there are 2 outputs"),
    ],
)
def test_losses_that_do_not_fit(loss, weights, names, y_true, y_pred, words):
    with pytest.raises(ArgumentError, match=words):
        CompileLoss(loss, weights, output_names=names)(y_true, y_pred)


def test_other_errors_of_losses():
    with pytest.raises(ShapeError, match=r"mean_squared_error: labels .* \(6, 2\) .* \(6, 3\)"):
        CompileLoss("mse")(YB, A)
    with pytest.raises(ArgumentError, match="expected loss_weights as a number"):
        CompileLoss("mse", "2")
    with pytest.raises(ArgumentError, match="sample_weight and y_pred have different structures"):
        CompileLoss("mse", output_names=NAMES)(*LIST, {"a": W, "c": V})
    with pytest.raises(TypeError, match="no config"):
        CompileLoss("mse").get_config()


# metrics, weighted metrics, output_names, labels, outputs, sample weights
METRICS = [
    (["mse", "mae"], None, ["a"], YA, A, None),
    (["mse"], ["mse"], ["a"], YA, A, W),
    (["mse", "mse"], ["mse", "mse"], ["a"], YA, A, W),
    ({"a": ["mse"]}, None, ["a"], YA, A, None),
    ([["mse"], ["mae", "mse"]], None, NAMES, *LIST, None),
    ([["mse"], None], [None, "mse"], NAMES, *LIST, [W, V]),
    (["mse", "mae"], None, None, *LIST, None),
    ({"b": "mae", "a": ["mse", "mape"]}, {"a": ["mse"]}, NAMES, *LIST, W),
    ({"b": "mae"}, {"a": ["mse"], "b": ["mae"]}, NAMES, *LIST, [W, V]),
    ({"b": "mae", "a": ["mse"]}, {"b": ["mae"]}, None, *DICT, {"a": W, "b": V}),
    ({"b": "mae", "a": ["mse"]}, None, ["b", "a"], *DICT, None),
    ({"b": "mae", "a": ["mse"]}, None, None, OrderedDict(b=YB, a=YA), OrderedDict(b=B, a=A), None),
    ({"x": [["mse"], ["mae"]], "y": {"z": ["mse"]}}, None, None, *NESTED, None),
    (["accuracy"], None, None, CLASSES, A, None),
    (["acc"], ["acc"], None, HOT, A, W),
    (["Accuracy"], None, None, BITS[:, None], draw(6, 1), None),
    ([["accuracy"], ["accuracy"]], None, ["p", "q"], [CLASSES[:, None], BITS], [A, draw(6, 1)], None),
    (["categorical_accuracy", "AUC", "precision"], None, None, HOT, A, None),
]
METRIC_IDS = [f"{i}-{metrics}" for i, (metrics, *_) in enumerate(METRICS)]


@pytest.mark.parametrize(("metrics", "weighted", "names", "y_true", "y_pred", "weight"), METRICS, ids=METRIC_IDS)
def test_logs(metrics, weighted, names, y_true, y_pred, weight):
    theirs, mine = (cls(metrics, weighted, output_names=names) for cls in (RealMetrics, CompileMetrics))
    assert mine.metrics == [] and mine.variables == []
    for _ in range(2):
        theirs.update_state(y_true, y_pred, weight), mine.update_state(y_true, y_pred, weight)
        logs = theirs.result()
        assert list(mine.result()) == list(logs)
        for name, value in mine.result().items():
            close(value, logs[name])
    assert [v.path for v in mine.variables] == [v.path for v in theirs.variables]
    assert [m.name for m in mine.metrics] == [m.name for m in theirs.metrics]
    mine.reset_state()
    assert not any(np.any(np.asarray(v)) for v in mine.variables)


def test_labels_by_name_for_a_list_of_outputs():
    theirs, mine = (cls({"a": ["mse"], "b": "mae"}, None, output_names=NAMES) for cls in (RealMetrics, CompileMetrics))
    for metric in (theirs, mine):
        metric.update_state({"b": YB, "a": YA}, [A, B])
    assert list(mine.result()) == list(theirs.result()) == ["a_mse", "b_mae"]
    close(mine.result()["b_mae"], theirs.result()["b_mae"])


def test_metrics_given_as_objects_and_functions():
    def spread(y_true, y_pred):
        return keras.ops.max(keras.ops.abs(y_true - y_pred), axis=-1)

    given = [keras.metrics.MeanSquaredError(name="own"), spread, keras.losses.mean_absolute_error, keras.metrics.AUC]
    mine = CompileMetrics(given, None)
    mine.update_state(HOT, A)
    logs = mine.result()
    assert [*logs][:3] == ["own", "spread", "mean_absolute_error"] and [*logs][3].startswith("auc")
    close(logs["spread"], np.abs(HOT - A).max(axis=-1).mean())


def test_crossentropy_as_a_metric_fits_the_labels():
    for labels, outputs, name in (
        (CLASSES, A, "sparse_categorical_crossentropy"),
        (HOT, A, "categorical_crossentropy"),
        (BITS[:, None], draw(6, 1), "binary_crossentropy"),
    ):
        mine = CompileMetrics(["crossentropy"], ["ce"])
        mine.update_state(labels, outputs, W)
        close(mine.result()["crossentropy"], np.mean(getattr(real.losses, name)(labels, outputs)))
        assert list(mine.result()) == ["crossentropy", "ce"]


@pytest.mark.parametrize(
    ("metrics", "names", "y_true", "y_pred", "words"),
    [
        (["acuracy"], None, YA, A, "did you mean 'accuracy'"),
        ({"a": ["mse"], "c": ["mae"]}, NAMES, *LIST, "metrics has the key 'c', which is no output of the model"),
        (["mse", "mae", "mse"], NAMES, *LIST, r"have their structure \[\*, \*\] \(outputs \['a', 'b'\]\)"),
        ({"x": ["mse"]}, None, *NESTED, "by the names of the outputs"),
        ([["mse"], ["mae"]], NAMES, {"a": YA}, [A, B], "an output without labels"),
        ([[None], ["mse"]], NAMES, *LIST, "expected a metric, received None"),
    ],
)
def test_metrics_that_do_not_fit(metrics, names, y_true, y_pred, words):
    with pytest.raises(ArgumentError, match=words):
        CompileMetrics(metrics, None, output_names=names).update_state(y_true, y_pred)


def test_other_errors_of_metrics():
    with pytest.raises(ArgumentError, match="expected metrics as a list, tuple or dict, received 'mse'"):
        CompileMetrics("mse", None)
    with pytest.raises(ArgumentError, match="expected weighted_metrics"):
        CompileMetrics(None, "mse")
    with pytest.raises(ArgumentError, match="before the first batch"):
        CompileMetrics(["mse"], None).result()
    with pytest.raises(TypeError, match="no config"):
        CompileMetrics(["mse"], None).get_config()
