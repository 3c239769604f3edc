"""Arrays brought into form, windows of time series, and splits; those of ``keras.utils``."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lamina
from lamina import keras as ours
from lamina.frontend.training.data import get_data_adapter
from lamina.ir.errors import ArgumentError, ShapeError


@given(
    shape=st.lists(st.integers(1, 4), min_size=0, max_size=3),
    classes=st.one_of(st.none(), st.integers(5, 7)),
    seed=st.integers(0, 100),
)
def test_to_categorical(shape, classes, seed):
    x = np.random.RandomState(seed).randint(0, 5, shape)
    mine, theirs = ours.utils.to_categorical(x, classes), keras.utils.to_categorical(x, classes)
    assert mine.dtype == theirs.dtype and np.array_equal(mine, theirs)


def test_to_categorical_of_tensors():
    x = ours.ops.convert_to_tensor([[0], [2]])
    assert np.array_equal(ours.utils.to_categorical(x, 3), [[1, 0, 0], [0, 0, 1]])
    assert ours.utils.to_categorical(x).shape == (2, 3)
    traced = lamina.jit(lambda x: ours.utils.to_categorical(x, 3))
    assert np.array_equal(traced(x), [[1, 0, 0], [0, 0, 1]])


@pytest.mark.parametrize("x, classes", [([3], 3), ([-4, 0], 3), ([], None)])
def test_classes_that_are_none(x, classes):
    with pytest.raises(ArgumentError, match=r"expected classes from 0 to 2|needs num_classes"):
        ours.utils.to_categorical(x, classes)


@pytest.mark.parametrize("axis, order", [(-1, 2), (0, 1), (1, np.inf)])
def test_normalize(axis, order):
    x = np.array([[3.0, 4.0, 0.0], [0.0, 0.0, 0.0]])
    norms = np.linalg.norm(x, order, axis, keepdims=True)
    expected = x / np.where(norms == 0, 1, norms)
    assert np.array_equal(ours.utils.normalize(x, axis, order), expected)
    if axis != 0:  # which Keras takes for -1
        assert np.array_equal(expected, keras.utils.normalize(x, axis, order))
    if order != np.inf:
        tensor = ours.utils.normalize(ours.ops.convert_to_tensor(x), axis, order)
        np.testing.assert_allclose(tensor, expected, rtol=1e-6)


@given(
    sequences=st.lists(st.lists(st.integers(-9, 9), max_size=6), min_size=1, max_size=5),
    maxlen=st.one_of(st.none(), st.integers(1, 8)),
    padding=st.sampled_from(["pre", "post"]),
    truncating=st.sampled_from(["pre", "post"]),
    value=st.sampled_from([0.0, -1, 7]),
    dtype=st.sampled_from(["int32", "float32"]),
)
def test_pad_sequences(sequences, maxlen, padding, truncating, value, dtype):
    arguments = (sequences, maxlen, dtype, padding, truncating, value)
    mine, theirs = ours.utils.pad_sequences(*arguments), keras.utils.pad_sequences(*arguments)
    assert mine.dtype == theirs.dtype and np.array_equal(mine, theirs)


def test_sequences_of_vectors_and_of_strings():
    vectors = [[[1, 2]], [[3, 4], [5, 6]]]
    assert np.array_equal(ours.utils.pad_sequences(vectors), keras.utils.pad_sequences(vectors))
    texts = ours.utils.pad_sequences([["a"], ["b", "c"]], dtype=object, value="")
    assert texts.tolist() == [["", "a"], ["b", "c"]]


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"sequences": 3}, ArgumentError, "must be a list of sequences"),
        ({"sequences": [1, 2]}, ArgumentError, "Found non-iterable: 1"),
        ({"sequences": [[1]], "padding": "left"}, ArgumentError, 'padding is "pre" or "post"'),
        ({"sequences": [[1]], "truncating": "left"}, ArgumentError, 'truncating is "pre" or "post"'),
        ({"sequences": [["a"]], "value": "x"}, ArgumentError, "set dtype=object"),
        ({"sequences": [[[1, 2]], [[1]]]}, ShapeError, "the entries of sequence 1 have shape"),
    ],
)
def test_sequences_that_can_not_be_padded(arguments, error, message):
    with pytest.raises(error, match=message):
        ours.utils.pad_sequences(**arguments)


# Time series


def windows(series, length, stride, rate, start, end):
    """The definition."""
    part = series[start:end]
    starts = range(0, len(part) - (length - 1) * rate, stride)
    return np.array([[part[s + i * rate] for i in range(length)] for s in starts])


@given(
    steps=st.integers(8, 30),
    length=st.integers(1, 4),
    stride=st.integers(1, 5),
    rate=st.integers(1, 2),
    size=st.integers(1, 9),
    start=st.integers(0, 1),
    cut=st.integers(0, 1),
    features=st.booleans(),
)
def test_windows_of_a_time_series(steps, length, stride, rate, size, start, cut, features):
    series = np.arange(steps * 2.0).reshape(steps, 2) if features else np.arange(float(steps))
    targets = np.arange(steps) * 10
    end = steps - cut
    dataset = ours.utils.timeseries_dataset_from_array(
        series, targets, length, stride, rate, size, start_index=start, end_index=end
    )
    batches = list(dataset)
    expected = windows(series, length, stride, rate, start, end)
    assert np.array_equal(np.concatenate([x for x, _ in batches]), expected)
    assert np.array_equal(np.concatenate([y for _, y in batches]), targets[start:end][::stride][: len(expected)])
    assert [len(x) for x, _ in batches[:-1]] == [size] * (len(batches) - 1)
    assert len(dataset) == dataset.cardinality() == len(batches)


def test_windows_without_targets_and_single_windows():
    dataset = ours.utils.timeseries_dataset_from_array(np.arange(5), None, 3, batch_size=None)
    assert [w.tolist() for w in dataset] == [[0, 1, 2], [1, 2, 3], [2, 3, 4]] and len(dataset) == 3
    assert [w.shape for w in dataset.batch(2)] == [(2, 3), (1, 3)]
    with pytest.raises(ArgumentError, match=r"gives single samples.*batch"):
        get_data_adapter(dataset)
    with pytest.raises(ArgumentError, match="has batches of 2 already"):
        dataset.batch(2).batch(2)


def test_shuffled_windows_go_with_their_targets_in_new_orders():
    def orders(seed):
        dataset = ours.utils.timeseries_dataset_from_array(
            np.arange(50), np.arange(50), 2, batch_size=8, shuffle=True, seed=seed
        )
        epochs = [list(dataset) for _ in range(2)]
        assert all(np.array_equal(x[:, 0], y) for epoch in epochs for x, y in epoch)
        return [np.concatenate([y for _, y in epoch]).tolist() for epoch in epochs]

    first, second = orders(1)
    assert sorted(first) == sorted(second) == list(range(49)) and first != second
    assert orders(1) == [first, second] != orders(2)


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"sequence_length": 0}, ArgumentError, "sequence_length must be a positive integer"),
        ({"sequence_length": 11}, ShapeError, "no window fits: 11 steps, 1 apart, need 11, and the data has 10"),
        ({"sampling_rate": 0}, ArgumentError, "sampling_rate must be a positive"),
        ({"sequence_stride": 10}, ArgumentError, "sequence_stride=10 must be lower than the length of the data, 10"),
        ({"start_index": 5, "end_index": 5}, ArgumentError, "expected 0 <= start_index < end_index <= 10"),
        ({"end_index": 11}, ArgumentError, "end_index=11"),
        ({"batch_size": 0}, ArgumentError, "batch_size must be a positive integer"),
    ],
)
def test_windows_that_can_not_be(arguments, error, message):
    with pytest.raises(error, match=message):
        ours.utils.timeseries_dataset_from_array(np.arange(10), None, **{"sequence_length": 3, **arguments})


# Splits


@pytest.mark.parametrize("sizes", [(0.8, None), (None, 0.3), (2, 3), (0.5, 0.5), (0.33, 0.33), (9, None)])
@pytest.mark.parametrize("shuffle", [False, True])
def test_the_parts_of_a_split_are_those_of_keras(sizes, shuffle):
    from keras.src.utils.dataset_utils import _rescale_dataset_split_sizes

    x, y = np.arange(10), np.arange(10) * 2
    left, right = ours.utils.split_dataset((x, y), *sizes, shuffle=shuffle, seed=3)
    assert (len(left), len(right)) == _rescale_dataset_split_sizes(*sizes, 10)
    samples = [*left, *right]
    assert all(b == 2 * a for a, b in samples)
    found = [int(a) for a, _ in samples]
    assert len(set(found)) == len(found) and (found == sorted(found)) == (not shuffle)
    if shuffle:
        import random

        order = list(range(10))
        random.seed(3)
        random.shuffle(order)
        assert found == order[: len(left)] + order[10 - len(right) :]


def test_a_split_trains():
    x = np.random.RandomState(0).rand(20, 3)
    left, right = ours.utils.split_dataset([x, x.sum(1)], left_size=0.75)
    model = ours.Sequential([ours.layers.Input((3,)), ours.layers.Dense(1)])
    model.compile("sgd", "mse")
    history = model.fit(left.batch(4), validation_data=right.batch(4), verbose=0, epochs=2).history
    assert len(history["val_loss"]) == 2 and history["loss"][1] < history["loss"][0]


@pytest.mark.parametrize(
    "data, sizes, error, message",
    [
        (np.arange(4), {}, ArgumentError, "received None and None"),
        (np.arange(4), {"left_size": 4}, ArgumentError, "an integer from 1 to 3"),
        (np.arange(4), {"left_size": 1.5}, ArgumentError, "a fraction between 0 and 1; received 1.5"),
        (np.arange(4), {"left_size": 3, "right_size": 2}, ArgumentError, "together no more than 4"),
        (np.arange(4), {"left_size": 0.01}, ArgumentError, "two parts that are not empty"),
        ("text", {"left_size": 1}, ArgumentError, "splits an array"),
        ((np.arange(4), np.arange(3)), {"left_size": 1}, ShapeError, r"same number of samples, received \[3, 4\]"),
    ],
)
def test_splits_that_can_not_be(data, sizes, error, message):
    with pytest.raises(error, match=message):
        ours.utils.split_dataset(data, **sizes)


# Training from each kind of source


class Batches(ours.utils.PyDataset):
    def __init__(self, x, y, **kwargs):
        super().__init__(**kwargs)
        self.x, self.y = x, y

    def __len__(self):
        return -(-len(self.x) // 4)

    def __getitem__(self, i):
        return self.x[4 * i : 4 * i + 4], self.y[4 * i : 4 * i + 4]


def test_all_sources_train_alike():
    x = np.random.RandomState(0).rand(18, 3)
    y = x.sum(axis=1)

    def generator():
        for _ in range(2):
            yield from (Batches(x, y)[i] for i in range(5))

    def losses(data, **kwargs):
        ours.utils.set_random_seed(1)
        model = ours.Sequential([ours.layers.Input((3,)), ours.layers.Dense(1)])
        model.compile("sgd", "mse")
        return model.fit(*data, epochs=2, verbose=0, shuffle=False, **kwargs).history["loss"]

    expected = losses((x, y), batch_size=4)
    assert losses((x.astype("float32"), y), batch_size=4) == expected
    assert losses((ours.ops.convert_to_tensor(x), y), batch_size=4) == expected
    assert losses((Batches(x, y),)) == losses((Batches(x, y, workers=2),)) == expected
    assert losses((generator(),), steps_per_epoch=5) == expected
    dataset = ours.utils.split_dataset((x, y), left_size=17)[0]
    assert len(losses((dataset.batch(4),))) == 2
    pandas = pytest.importorskip("pandas")
    assert losses((pandas.DataFrame(x), pandas.Series(y)), batch_size=4) == pytest.approx(expected, rel=1e-6)
