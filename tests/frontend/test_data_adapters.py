"""What batches come from arrays, generators, datasets and loaders; the orders are those of Keras on JAX."""

import itertools

import jax.numpy as jnp
import keras
import numpy as np
import pytest
from batch_checks import epochs_of, numbers, same
from hypothesis import given
from hypothesis import strategies as st
from keras.src.trainers import data_adapters as keras_adapters

from lamina import keras as ours
from lamina.frontend.training.data import (
    ArrayAdapter,
    DataAdapter,
    EpochIterator,
    get_data_adapter,
    pack_x_y_sample_weight,
    train_validation_split,
    unpack_x_y_sample_weight,
)
from lamina.ir.errors import ArgumentError, DTypeError, ShapeError


def keras_batches(**kwargs):
    return list(keras_adapters.get_data_adapter(**kwargs).get_jax_iterator())


# Arrays


@pytest.mark.parametrize("shuffle", [False, True, "batch"])
@pytest.mark.parametrize("size", [None, 1, 4, 10, 50])
def test_batches_and_orders_are_those_of_keras(shuffle, size):
    data = {"x": numbers(10, 3), "y": numbers(10, dtype="int64"), "batch_size": size, "shuffle": shuffle}
    adapter, theirs = get_data_adapter(**data), keras_adapters.get_data_adapter(**data)
    for seed in (0, 1):  # two epochs
        ours.utils.set_random_seed(seed)
        found = list(adapter)
        keras.utils.set_random_seed(seed)
        assert same(found, list(theirs.get_jax_iterator()))
    assert adapter.num_batches == theirs.num_batches == len(found)
    assert (adapter.batch_size, adapter.has_partial_batch) == (theirs.batch_size, theirs.has_partial_batch)
    assert adapter.partial_batch_size == theirs.partial_batch_size


@given(
    samples=st.integers(1, 40),
    size=st.integers(1, 45),
    shuffle=st.sampled_from([False, True, "batch"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_an_epoch_has_each_sample_once(samples, size, shuffle, seed):
    np.random.seed(seed)
    batches = list(ArrayAdapter(np.arange(samples), batch_size=size, shuffle=shuffle))
    assert sorted(np.concatenate(batches)) == list(range(samples))
    assert all(len(batch) == size for batch in batches[:-1])
    if shuffle == "batch":
        assert [sorted(b) for b in batches] == [sorted(b) for b in ArrayAdapter(np.arange(samples), batch_size=size)]


def test_a_batch_that_is_not_shuffled_is_a_view():
    x, y = numbers(10, 3), numbers(10)
    for bx, by in ArrayAdapter(x, y, batch_size=4):
        assert np.shares_memory(bx, x) and np.shares_memory(by, y)
    x[0, 0] = 99  # so that what changes between epochs is seen
    assert next(iter(ArrayAdapter(x, y)))[0][0, 0] == 99


def test_each_epoch_has_another_order():
    np.random.seed(0)
    adapter = ArrayAdapter(np.arange(100), shuffle=True)
    assert not same(list(adapter), list(adapter))


@pytest.mark.parametrize(
    "x",
    [
        numbers(6, 2),
        [numbers(6, 2), numbers(6)],
        {"b": numbers(6, 2), "a": (numbers(6), numbers(6, 1))},
        (numbers(6, 2), None),
    ],
    ids=["array", "list", "dict", "tuple with None"],
)
@pytest.mark.parametrize("y", [None, numbers(6), [numbers(6), numbers(6, 2)], {"out": numbers(6)}])
def test_nests_keep_their_structure(x, y):
    adapter = get_data_adapter(x, y, batch_size=4)
    assert same(list(adapter), keras_batches(x=x, y=y, batch_size=4))


@pytest.mark.parametrize("dtype", ["float64", "float16", "float32", "int64", "int8", "uint8", "bool", "complex64"])
def test_floats_become_the_default_float_type_and_the_rest_stays(dtype):
    x = numbers(4, 2).astype(dtype)
    (batch,) = get_data_adapter(x)
    assert batch.dtype == ("float32" if dtype.startswith("float") else dtype)
    assert same([batch], keras_batches(x=x))


def test_jax_arrays():
    x = jnp.arange(12.0).reshape(6, 2)
    found = list(get_data_adapter(x, jnp.arange(6), batch_size=4))
    assert same(found, list(get_data_adapter(np.asarray(x), np.arange(6, dtype="int32"), batch_size=4)))
    assert all(isinstance(leaf, np.ndarray) for batch in found for leaf in batch)


def test_what_has_an_array_method():
    class Wrapped:
        shape = (3,)

        def __array__(self, dtype=None, copy=None):
            return np.array([1.0, 2.0, 3.0])

    (batch,) = get_data_adapter(Wrapped())
    assert same(batch, np.array([1, 2, 3], "float32"))
    (batch,) = get_data_adapter(ours.Variable(np.arange(3.0)))
    assert same(batch, np.arange(3, dtype="float32"))


def test_pandas():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1.0, 2.0, 3.0], "b": [1, 2, 3]}, index=[9, 8, 7])
    series = pandas.Series([0, 1, 0])
    (batch,) = get_data_adapter(frame, series)
    assert same(batch, keras_batches(x=frame, y=series)[0])
    assert batch[1].shape == (3, 1)
    (train, _), (_, val_y) = train_validation_split((frame, series), 0.4)
    assert train.shape == (1, 2) and val_y.shape == (2, 1)
    frame["c"] = ["x", "y", "z"]
    with pytest.raises(DTypeError, match=r"the columns 'c' of the data frame x hold no numbers.*get_dummies"):
        get_data_adapter(frame)


@pytest.mark.parametrize("form", ["csr_matrix", "coo_matrix", "csr_array"])
@pytest.mark.parametrize("shuffle", [False, True])
def test_sparse_matrices_of_scipy_come_out_dense(form, shuffle):
    sparse = pytest.importorskip("scipy.sparse")
    dense = np.where(numbers(10, 4) % 3 == 0, numbers(10, 4, dtype="float64"), 0)
    y = np.arange(10)
    np.random.seed(0)
    found = list(get_data_adapter(getattr(sparse, form)(dense), y, batch_size=4, shuffle=shuffle))
    np.random.seed(0)
    assert same(found, list(get_data_adapter(dense, y, batch_size=4, shuffle=shuffle)))
    train, validation = train_validation_split((getattr(sparse, form)(dense), y), 0.3)
    assert same(list(get_data_adapter(*train)), list(get_data_adapter(dense[:7], y[:7])))
    assert same(list(get_data_adapter(*validation)), list(get_data_adapter(dense[7:], y[7:])))


def test_sparse_arrays_of_jax_come_out_dense():
    from jax.experimental import sparse

    (batch,) = get_data_adapter(sparse.BCOO.fromdense(jnp.eye(3)))
    assert same(batch, np.eye(3, dtype="float32"))


@pytest.mark.parametrize("steps, expected", [(3, 4), (10, 1), (1, 10)])
def test_steps_give_the_batch_size(steps, expected):
    adapter = get_data_adapter(numbers(10), steps_per_epoch=steps)
    assert (
        adapter.batch_size == expected == keras_adapters.get_data_adapter(numbers(10), steps_per_epoch=steps).batch_size
    )


# Weights


@pytest.mark.parametrize(
    "y",
    [
        np.array([0, 1, 2, 1]),
        np.array([[0], [1], [2], [1]]),
        np.eye(3)[[0, 1, 2, 1]],
        np.array([0.2, 0.9, 2.1, 1.0]),
        np.array([0, 1, 7, 1]),
    ],
    ids=["integers", "column", "one-hot", "floats", "unknown class"],
)
def test_class_weights(y):
    weights = {0: 0.5, 1: 2.0, 2: 3.0}
    found = list(get_data_adapter(numbers(4, 2), y, class_weight=weights))
    assert same(found, keras_batches(x=numbers(4, 2), y=y, class_weight=weights))


def test_one_sample_weight_serves_for_all_outputs():
    y, weight = {"a": numbers(4), "b": numbers(4, 2)}, numbers(4)
    found = list(get_data_adapter(numbers(4), y, weight))
    assert same(found, keras_batches(x=numbers(4), y=y, sample_weight=weight))
    assert same(found[0][2], {"a": weight, "b": weight})


@pytest.mark.parametrize(
    "kwargs, error, message",
    [
        ({"sample_weight": {"a": np.ones(4)}}, ArgumentError, "one array for each output"),
        ({"sample_weight": np.ones((4, 3))}, ShapeError, r"received shape \(4, 3\)"),
        ({"class_weight": {0: 1.0}}, ArgumentError, "for a model with one output"),
        ({"class_weight": {0: 1.0}, "sample_weight": np.ones(4)}, ArgumentError, "only one can be given"),
    ],
)
def test_weights_that_do_not_fit_several_outputs(kwargs, error, message):
    with pytest.raises(error, match=message):
        get_data_adapter(numbers(4), {"a": numbers(4), "b": numbers(4)}, **kwargs)


def test_class_weight_that_is_no_dict_or_has_no_classes():
    with pytest.raises(ArgumentError, match=r"a dict from class to weight, received \[1.0\]"):
        get_data_adapter(numbers(4), numbers(4), class_weight=[1.0])
    with pytest.raises(ArgumentError, match="needs targets"):
        get_data_adapter(numbers(4), class_weight={0: 1.0})


# Bad arrays


@pytest.mark.parametrize(
    "x, y, error, message",
    [
        (numbers(10, 2), numbers(9), ShapeError, "x has 10, y has 9"),
        ({"a": numbers(3), "b": [numbers(4)]}, None, ShapeError, r"x\['a'\] has 3, x\['b'\]\[0\] has 4"),
        (np.zeros((0, 3)), np.zeros(0), ShapeError, r"no samples: x has shape \(0, 3\), y has shape \(0,\)"),
        (np.float32(3), None, ShapeError, "x is the scalar"),
        (np.array(["a", "b"]), None, DTypeError, "x has dtype <U1, expected numbers"),
        (np.array([None, {}]), None, DTypeError, "x has dtype object"),
        (numbers(3), np.array(["a", "b", "c"]), DTypeError, "y has dtype"),
        (None, None, ArgumentError, "x is None"),
        ([], None, ArgumentError, "there is no data"),
        ([1.0, 2.0], None, ArgumentError, r"make one array of numbers with np.array\(x\)"),
        (numbers(2), [0, 1], ArgumentError, r"y is \[0, 1\].*np.array\(y\)"),
        ("data.csv", None, ArgumentError, "'data.csv'.*expected arrays, a generator"),
    ],
)
def test_data_that_can_not_be_used(x, y, error, message):
    with pytest.raises(error, match=message):
        get_data_adapter(x, y)


@pytest.mark.parametrize("size", [0, -1, 2.5, "32", True])
def test_batch_sizes_that_are_none(size):
    with pytest.raises(ArgumentError, match="batch_size is a positive integer"):
        get_data_adapter(numbers(4), batch_size=size)
    with pytest.raises(ArgumentError, match="shuffle is True, False or 'batch'"):
        get_data_adapter(numbers(4), shuffle="samples")


# The split


@pytest.mark.parametrize("fraction", [0.2, 0.5, 0.25, 0.8])
def test_the_last_part_is_for_validation(fraction):
    arrays = ({"a": numbers(10, 2)}, numbers(10), None)
    found = train_validation_split(arrays, fraction)
    assert same(found, keras_adapters.array_data_adapter.array_slicing.train_validation_split(arrays, fraction))
    assert same(np.concatenate([part[1] for part in found]), arrays[1])


@pytest.mark.parametrize(
    "arrays, fraction, message",
    [
        (numbers(3), 1e-17, "leaves none for validation"),
        (numbers(3), 0.9, "leaves none for training"),
        (numbers(3), 1.5, "between 0 and 1"),
        ((i for i in range(3)), 0.5, "received generator. Pass validation_data"),
    ],
)
def test_splits_that_can_not_be(arrays, fraction, message):
    with pytest.raises(ArgumentError, match=message):
        train_validation_split(arrays, fraction)


# Packing


def test_pack_and_unpack_are_those_of_keras():
    x, y, w = numbers(2), numbers(2, 1), numbers(2)
    for parts in ((x,), (x, y), (x, y, w), ([x],), ((x, x), y), (x, None), ({"a": x},)):
        assert same(pack_x_y_sample_weight(*parts), keras.utils.pack_x_y_sample_weight(*parts))
    for data in (x, (x,), [x, y], (x, y, w), {"a": x}):
        assert same(unpack_x_y_sample_weight(data), keras.utils.unpack_x_y_sample_weight(data))
    with pytest.raises(ArgumentError, match="received a tuple of 4"):
        unpack_x_y_sample_weight((1, 2, 3, 4))


# Generators


def batches_of(count):
    for i in range(count):
        yield np.full((2, 3), i, "float64"), np.full(2, i)


def test_a_generator_is_one_stream():
    adapter = get_data_adapter(batches_of(5))
    first, second = list(itertools.islice(adapter, 2)), list(adapter)
    assert [int(batch[1][0]) for batch in first + second] == [0, 1, 2, 3, 4]
    assert first[0][0].dtype == np.float32 and adapter.num_batches is None


def test_batches_of_a_generator_may_be_lists_of_numbers_nests_and_tensors():
    def generator():
        yield {"a": jnp.ones(2), "b": [np.ones(2, "int64")]}, np.float32(3)

    (batch,) = get_data_adapter(generator())
    assert same(batch, ({"a": np.ones(2, "float32"), "b": [np.ones(2, "int64")]}, np.float32(3)))


@pytest.mark.parametrize(
    "first, message",
    [([], "yields no batch"), ([np.ones(3)], "must give batches"), ([(1, 2, 3, 4)], "received a tuple of 4")],
)
def test_generators_that_give_no_batches(first, message):
    with pytest.raises(ArgumentError, match=message):
        get_data_adapter(batch for batch in first)


def test_what_a_generator_raises_comes_through():
    def generator():
        yield (np.ones(2),)
        raise KeyError("the file is gone")

    with pytest.raises(KeyError, match="the file is gone"):
        list(get_data_adapter(generator()))


@pytest.mark.parametrize("name", ["y", "sample_weight", "class_weight"])
def test_a_source_of_whole_batches_takes_no_arrays_beside_it(name):
    with pytest.raises(ArgumentError, match=f"x is a generator, .* {name} can't be passed beside it"):
        get_data_adapter(batches_of(2), **{name: {0: 1.0} if name == "class_weight" else np.ones(2)})
    with pytest.warns(UserWarning, match="shuffle='batch' has no effect, since x is a generator"):
        get_data_adapter(batches_of(2), shuffle="batch")


# Epochs


def test_an_epoch_is_all_that_there_is():
    iterator = EpochIterator(numbers(5), batch_size=2)
    assert iterator.num_batches == 3
    assert epochs_of(iterator, 2) == ([[[0], [2], [4]]] * 2, [False] * 2)


def test_epochs_of_so_many_steps_go_on_where_the_last_one_stopped():
    iterator = EpochIterator(numbers(4), batch_size=1, steps_per_epoch=3)
    found, ran_out = epochs_of(iterator, 4)
    assert found == [[[0], [1], [2]], [[3]], [[0], [1], [2]], [[3]]]
    assert ran_out == [False, True, False, True] and iterator.num_batches == 3


def test_an_epoch_that_ends_with_the_data_is_no_early_end():
    assert epochs_of(EpochIterator(numbers(4), batch_size=1, steps_per_epoch=2), 4) == (
        [[[0], [1]], [[2], [3]]] * 2,
        [False] * 4,
    )


def test_a_generator_that_ends_early_warns_as_keras_does():
    iterator = EpochIterator(((np.array([i]),) for i in range(5)), steps_per_epoch=3)
    assert [len(batches) for _, _, batches in iterator] == [1, 1, 1]
    with pytest.warns(
        UserWarning, match="Your input ran out of data; interrupting training.*had 2 batches, expected 3"
    ):
        assert len(list(iterator)) == 2
    with pytest.warns(UserWarning, match="had 0 batches"):
        assert list(iterator) == []


def test_the_length_of_a_source_is_known_after_its_first_epoch():
    iterator = EpochIterator((np.array([i]),) for i in range(5))
    assert iterator.num_batches is None
    assert len(list(iterator)) == 5 and not iterator.ran_out
    assert iterator.num_batches == 5


def test_several_steps_at_a_time():
    iterator = EpochIterator(numbers(5), batch_size=1, steps_per_execution=2)
    assert [(a, b, len(c)) for a, b, c in iterator] == [(0, 1, 2), (2, 3, 2), (4, 4, 1)]
    iterator = EpochIterator(numbers(8), batch_size=1, steps_per_epoch=3, steps_per_execution=2)
    assert [(a, b, len(c)) for a, b, c in iterator] == [(0, 1, 2), (2, 2, 1)]


def test_looking_at_the_first_batch_loses_none():
    iterator = EpochIterator((np.array([i]),) for i in range(3))
    assert iterator.first_batch()[0] == 0 == iterator.first_batch()[0]
    assert epochs_of(iterator, 1)[0] == [[[0], [1], [2]]]
    iterator = EpochIterator(numbers(3), batch_size=1)
    assert iterator.first_batch() == 0
    assert epochs_of(iterator, 1)[0] == [[[0], [1], [2]]]


def test_steps_per_epoch_must_be_a_number_of_steps():
    with pytest.raises(ArgumentError, match="steps_per_epoch is a positive integer"):
        EpochIterator(numbers(3), steps_per_epoch=0)


def test_the_source_is_told_of_each_epoch_even_where_it_is_left():
    class Source(DataAdapter):
        def __init__(self):
            self.calls = []

        def __iter__(self):
            yield from (np.zeros(1), np.zeros(1))

        def on_epoch_begin(self):
            self.calls.append("begin")

        def on_epoch_end(self):
            self.calls.append("end")

    source = Source()
    iterator = EpochIterator(source)
    for _ in iterator:
        break
    assert source.calls == ["begin", "end"]
    list(iterator)
    assert source.calls == ["begin", "end"] * 2
