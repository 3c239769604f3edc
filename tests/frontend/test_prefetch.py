"""The batches of the next step are taken while the device works: when, in which order, and what stays as it was."""

import jax
import numpy as np
import pytest

from lamina import keras

X = np.random.default_rng(0).standard_normal((24, 4)).astype(np.float32)
Y = X[:, :1] * 2


def model(**options):
    keras.utils.set_random_seed(1)
    made = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    made.compile("sgd", "mse", **options)
    return made


class Log(keras.callbacks.Callback):
    """Notes the end of each batch, among what the source notes."""

    def __init__(self, seen, stop_at=None):
        super().__init__()
        self.seen, self.stop_at = seen, stop_at

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(f"end {batch}")
        self.model.stop_training = batch == self.stop_at

    def on_test_batch_end(self, batch, logs=None):
        self.seen.append(f"end {batch}")

    on_predict_batch_end = on_test_batch_end


def source(seen, batches=6, fails_at=None):
    for i in range(batches):
        seen.append(f"make {i}")
        if i == fails_at:
            raise OSError("the file is gone")
        yield X[4 * i : 4 * i + 4], Y[4 * i : 4 * i + 4]


def test_the_next_batch_is_made_before_anybody_waits_for_a_step():
    seen = []
    model().fit(source(seen), steps_per_epoch=3, verbose=0, callbacks=[Log(seen)])
    assert seen == ["make 0", "make 1", "end 0", "make 2", "end 1", "end 2"]


def test_an_epoch_takes_no_batch_of_the_next():
    seen = []
    model().fit(source(seen), steps_per_epoch=3, epochs=2, verbose=0, callbacks=[Log(seen)])
    assert seen[6:] == ["make 3", "make 4", "end 0", "make 5", "end 1", "end 2"]


@pytest.mark.parametrize("call", ["evaluate", "predict"])
def test_evaluation_and_prediction_do_so_too(call):
    seen = []
    batches = source(seen) if call == "evaluate" else ((x,) for x, _ in source(seen))
    getattr(model(), call)(batches, steps=2, verbose=0, callbacks=[Log(seen)])
    assert seen == ["make 0", "make 1", "end 0", "end 1"]


def test_those_of_one_execution_are_made_together():
    seen = []
    model(steps_per_execution=2).fit(source(seen), steps_per_epoch=6, verbose=0, callbacks=[Log(seen)])
    assert seen == [*(f"make {i}" for i in range(4)), "end 1", "make 4", "make 5", "end 3", "end 5"]


def test_stopping_leaves_one_batch_that_was_taken_and_not_used():
    seen = []
    model().fit(source(seen), steps_per_epoch=6, verbose=0, callbacks=[Log(seen, stop_at=1)])
    assert seen == ["make 0", "make 1", "end 0", "make 2", "end 1"]


def test_an_error_of_the_source_comes_in_its_turn_with_its_own_traceback():
    seen = []
    fails, plain = model(), model()
    with pytest.raises(OSError, match="the file is gone") as caught:
        fails.fit(source(seen, fails_at=2), steps_per_epoch=6, verbose=0, callbacks=[Log(seen)])
    assert seen == ["make 0", "make 1", "end 0", "make 2", "end 1"]
    assert caught.traceback[-1].name == "source"
    plain.fit(source([]), steps_per_epoch=2, verbose=0)
    for a, b in zip(fails.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_interrupt_while_a_batch_is_made_leaves_whole_steps():
    def interrupted():
        yield from source([], batches=2)
        raise KeyboardInterrupt

    stopped, plain = model(), model()
    with pytest.raises(KeyboardInterrupt):
        stopped.fit(interrupted(), steps_per_epoch=6, verbose=0)
    plain.fit(source([]), steps_per_epoch=2, verbose=0)
    for a, b in zip(stopped.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("steps_per_execution", [1, 2])
@pytest.mark.parametrize("kind", ["generator", "PyDataset"])
def test_a_source_may_fill_one_array_again_and_again(kind, steps_per_execution):
    # 64-byte aligned, so that a CPU would read it in place
    room = np.empty(4 * 4 * 4 + 64, np.uint8)
    start = -room.ctypes.data % 64
    buffer = room[start : start + 64].view(np.float32).reshape(4, 4)

    def fill(i):
        buffer[:] = X[4 * i : 4 * i + 4]
        return buffer, Y[4 * i : 4 * i + 4]

    class Dataset(keras.utils.PyDataset):
        def __len__(self):
            return 6

        def __getitem__(self, index):
            return fill(index)

    def generator():
        yield from map(fill, range(6))

    one, other = (model(steps_per_execution=steps_per_execution) for _ in range(2))
    one.fit(Dataset() if kind == "PyDataset" else generator(), steps_per_epoch=6, shuffle=False, verbose=0)
    other.fit(source([]), steps_per_epoch=6, verbose=0)
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_arrays_train_as_batch_by_batch():
    by_fit, by_hand = model(), model()
    by_fit.fit(X, Y, batch_size=5, shuffle=False, verbose=0)
    for i in range(0, len(X), 5):
        by_hand.train_on_batch(X[i : i + 5], Y[i : i + 5])
    for a, b in zip(by_fit.get_weights(), by_hand.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_predictions_of_many_batches_leave_the_device_in_order():
    made = model()
    found = made.predict(((X[i : i + 4],) for i in range(0, 24, 4)), steps=6, verbose=0, callbacks=[Log([])])
    np.testing.assert_array_equal(found, np.concatenate([made.predict_on_batch(X[i : i + 4]) for i in range(0, 24, 4)]))


def test_batches_are_put_where_the_step_runs_if_that_has_memory_of_its_own():
    """As on a GPU: the step's device is the CPU's here, and treated as one that reads nothing in place."""
    made = model()
    made.train_on_batch(X[:4], Y[:4])
    step = made.make_train_function().one
    step._brings = True
    leaves, _ = step.place((X[:4], Y[:4]))
    assert all(isinstance(x, jax.Array) for x in leaves)
    other = model()
    other.fit(X, Y, batch_size=4, shuffle=False, verbose=0, epochs=2)
    made.fit(X[4:], Y[4:], batch_size=4, shuffle=False, verbose=0)
    made.fit(X, Y, batch_size=4, shuffle=False, verbose=0)
    for a, b in zip(made.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
