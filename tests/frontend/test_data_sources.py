"""Batches from datasets with workers, and from the loaders of PyTorch and TensorFlow."""

import threading

import keras
import numpy as np
import pytest
from batch_checks import epochs_of, numbers, same
from keras.src.trainers import data_adapters as keras_adapters
from worker_datasets import Squares

from lamina import keras as ours
from lamina.frontend.training.data import EpochIterator, get_data_adapter
from lamina.ir.errors import ArgumentError

# PyDataset


def order_of(adapter):
    return [int(batch[0][0, 0]) for batch in adapter]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batches_of_a_dataset_come_in_order(workers):
    adapter = get_data_adapter(Squares(workers=workers, max_queue_size=2))
    assert order_of(adapter) == list(range(6)) == order_of(adapter)
    assert adapter.num_batches == 6
    assert next(iter(adapter))[0].dtype == np.float32


@pytest.mark.parametrize("workers", [1, 3])
def test_a_shuffled_dataset_has_the_order_of_keras(workers):
    class Theirs(keras.utils.PyDataset):
        __len__ = Squares.__len__
        __getitem__ = Squares.__getitem__
        count, bad, fatal = 6, None, None

    ours.utils.set_random_seed(3)
    found = order_of(get_data_adapter(Squares(workers=workers), shuffle=True))
    keras.utils.set_random_seed(3)
    theirs = keras_adapters.get_data_adapter(Theirs(), shuffle=True)
    assert found == order_of(theirs.get_jax_iterator())


def test_workers_run_at_the_same_time():
    both = threading.Barrier(2, timeout=30)

    class Meeting(ours.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            both.wait()  # goes on only when two are here
            return (np.array([index]),)

    assert [int(b[0][0]) for b in get_data_adapter(Meeting(workers=2))] == [0, 1]


def test_no_more_is_made_ahead_than_the_queue_holds():
    made = []

    class Counting(ours.utils.PyDataset):
        def __len__(self):
            return 50

        def __getitem__(self, index):
            made.append(index)
            return (np.array([index]),)

    batches = iter(get_data_adapter(Counting(workers=2, max_queue_size=3)))
    next(batches)
    batches.close()  # waits for what is being made
    assert max(made) <= 3


def test_processes_as_workers():
    adapter = get_data_adapter(Squares(count=3, workers=1, use_multiprocessing=True))
    assert order_of(adapter) == [0, 1, 2]
    adapter.dataset.fatal = 1  # a process receives the dataset anew in each epoch
    with pytest.raises(ArgumentError, match="a worker process of the dataset Squares died"):
        order_of(adapter)


def test_an_error_of_a_worker_comes_up_in_its_turn():
    seen = []
    with pytest.raises(ValueError, match="batch 3 can't be read"):
        for batch in get_data_adapter(Squares(bad=3, workers=2)):
            seen.append(int(batch[0][0, 0]))
    assert seen == [0, 1, 2]


def test_a_dataset_without_end():
    iterator = EpochIterator(Squares(end=False, workers=2), steps_per_epoch=4)
    assert epochs_of(iterator, 2) == ([[[0], [1], [2], [3]], [[4], [5], [6], [7]]], [False, False])
    assert iterator.adapter.num_batches is None


def test_a_dataset_is_told_of_epochs_and_has_class_weights():
    dataset = Squares(count=2)
    iterator = EpochIterator(dataset, class_weight={1: 3.0})
    weights = [batch[2].tolist() for _, _, (batch,) in iterator]
    assert weights == [[1.0, 1.0], [3.0, 3.0]] and dataset.calls == ["begin", "end"]


def test_datasets_that_give_no_batches():
    class Bad(ours.utils.PyDataset):
        def __len__(self):
            return 1

        def __getitem__(self, index):
            return "no batch"

    with pytest.raises(ArgumentError, match=r"Bad.__getitem__ must return a dict or a tuple.*'no batch'"):
        list(get_data_adapter(Bad()))
    with pytest.raises(ArgumentError, match="has length 0"):
        get_data_adapter(Squares(count=0))
    with pytest.raises(ArgumentError, match=r"does not say how long it is; define __len__"):
        get_data_adapter(ours.utils.PyDataset())


def test_a_dataset_whose_constructor_does_not_call_super_still_works():
    class Forgetful(ours.utils.PyDataset):
        def __init__(self):
            pass

        def __len__(self):
            return 1

        def __getitem__(self, index):
            return (np.ones(2),)

    with pytest.warns(UserWarning, match=r"Forgetful should call super\(\).__init__"):
        assert len(list(get_data_adapter(Forgetful()))) == 1


def test_sequence_is_another_name_of_it():
    assert ours.utils.Sequence is ours.utils.PyDataset
    assert [int(b[0][0, 0]) for b in Squares(count=3)] == [0, 1, 2]


# PyTorch and TensorFlow, with stand-ins that have the names of the classes


def named_class(name, module, *bases, **members):
    return type(name, bases, {"__module__": module, **members})


class FakeTensor(named_class("Tensor", "torch")):
    dtype = "torch.float64"

    def __init__(self, values):
        self.values = np.asarray(values)

    def detach(self):
        return self

    cpu = detach

    def __array__(self, dtype=None, copy=None):
        return self.values


def fake_loader(batches, size=2, samples=5):
    cls = named_class("DataLoader", "torch.utils.data.dataloader", __iter__=lambda self: iter(batches))
    cls.__len__ = lambda self: len(batches)
    loader = cls()
    loader.batch_size, loader.dataset, loader.drop_last = size, range(samples), False
    return loader


def test_a_torch_loader_is_known_by_its_name():
    loader = fake_loader([[FakeTensor(np.ones((2, 3))), FakeTensor(np.arange(2))]] * 3)
    adapter = get_data_adapter(loader)
    found = list(adapter)
    assert same(found[0], (np.ones((2, 3), "float32"), np.arange(2)))
    assert (adapter.num_batches, adapter.batch_size, adapter.partial_batch_size) == (3, 2, 1)
    assert same(list(adapter), found)  # another epoch
    assert same(list(get_data_adapter(fake_loader([FakeTensor(np.ones(2))]))), [np.ones(2, "float32")])
    assert same(list(get_data_adapter(fake_loader([{"a": FakeTensor([1])}]))), [{"a": np.array([1])}])
    with pytest.raises(ArgumentError, match="x is a torch DataLoader"):
        get_data_adapter(loader, class_weight={0: 1.0})
    with pytest.raises(ArgumentError, match="the DataLoader has no batches"):
        get_data_adapter(fake_loader([]))


def test_a_torch_dataset_needs_a_loader():
    dataset = named_class(
        "TensorDataset", "torch.utils.data.dataset", named_class("Dataset", "torch.utils.data.dataset")
    )
    with pytest.raises(ArgumentError, match=r"wrap it in a torch.utils.data.DataLoader"):
        get_data_adapter(dataset())


def fake_tf_dataset(batches, count):
    members = {"__iter__": lambda self: iter(batches), "cardinality": lambda self: np.int64(count)}
    base = named_class("DatasetV2", "tensorflow.python.data.ops.dataset_ops")
    return named_class("BatchDataset", "tensorflow.python.data.ops.batch_op", base, **members)()


def test_a_tf_dataset_is_known_by_its_name():
    batches = [(np.ones((2, 3)), np.array([0, 1]))] * 2
    adapter = get_data_adapter(fake_tf_dataset(batches, 2), class_weight={1: 5.0})
    assert adapter.num_batches == 2
    assert same(next(iter(adapter)), (np.ones((2, 3), "float32"), np.array([0, 1]), np.array([1, 5], "float32")))
    assert get_data_adapter(fake_tf_dataset(batches, -2)).num_batches is None
    with pytest.raises(ArgumentError, match="is empty"):
        get_data_adapter(fake_tf_dataset([], 0))


def test_real_torch():
    torch = pytest.importorskip("torch")
    x, y = torch.arange(10.0).reshape(5, 2), torch.arange(5)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=2)
    assert same(list(get_data_adapter(loader)), list(get_data_adapter(x.numpy(), y.numpy(), batch_size=2)))
    assert get_data_adapter(loader).partial_batch_size == 1
    assert same(list(get_data_adapter(x, y, batch_size=2)), list(get_data_adapter(loader)))


def test_real_tensorflow():
    tf = pytest.importorskip("tensorflow")
    x, y = numbers(5, 2), np.arange(5)
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(2)
    assert same(list(get_data_adapter(dataset)), list(get_data_adapter(x, y, batch_size=2)))
    assert get_data_adapter(dataset).num_batches == 3 and get_data_adapter(dataset.repeat()).num_batches is None
    assert same(list(get_data_adapter(tf.constant(x), tf.constant(y), batch_size=2)), list(get_data_adapter(dataset)))
    ragged = tf.data.Dataset.from_tensors(tf.ragged.constant([[1.0], [2.0, 3.0]]))
    assert same(next(iter(get_data_adapter(ragged))), np.array([[1, 0], [2, 3]], "float32"))
    sparse = tf.data.Dataset.from_tensors(tf.sparse.from_dense(np.eye(3, dtype="float32")))
    assert same(next(iter(get_data_adapter(sparse))), np.eye(3, dtype="float32"))
