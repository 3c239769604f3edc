"""Callbacks do what Keras's do: both are driven with the same logs, or both trained from one seed."""

import inspect
import types

import keras
import numpy as np
import pytest
from callback_pairs import StandIn, X, Y, assert_close, both_driven, drive, fit, model_of, weights_equal
from hypothesis import given
from hypothesis import strategies as st

from lamina import keras as ours
from lamina.frontend.callbacks.callback import is_default, python_logs
from lamina.ir.errors import ArgumentError

VALUES = st.lists(st.sampled_from([0.0, 0.5, 0.50001, 0.9, 1.0, 1.2, 2.0, float("inf"), float("nan")]), max_size=12)


@given(
    values=VALUES,
    min_delta=st.sampled_from([0, 0.1, -0.3]),
    patience=st.integers(0, 3),
    mode=st.sampled_from(["auto", "min", "max"]),
    baseline=st.sampled_from([None, 0.7]),
    restore=st.booleans(),
    start=st.integers(0, 3),
)
def test_early_stopping(values, min_delta, patience, mode, baseline, restore, start):
    def make(callbacks):
        return callbacks.EarlyStopping(
            min_delta=min_delta,
            patience=patience,
            verbose=1,
            mode=mode,
            baseline=baseline,
            restore_best_weights=restore,
            start_from_epoch=start,
        )

    both_driven(make, values)


@given(
    values=VALUES,
    factor=st.sampled_from([0.1, 0.5]),
    patience=st.integers(0, 3),
    mode=st.sampled_from(["auto", "min", "max"]),
    min_delta=st.sampled_from([0, 1e-4, 0.2]),
    cooldown=st.integers(0, 2),
    min_lr=st.sampled_from([0.0, 0.06, 1.0]),
)
def test_reduce_lr_on_plateau(values, factor, patience, mode, min_delta, cooldown, min_lr):
    def make(callbacks):
        return callbacks.ReduceLROnPlateau("val_loss", factor, patience, 1, mode, min_delta, cooldown, min_lr)

    both_driven(make, values)


@pytest.mark.parametrize("kind", ["EarlyStopping", "ReduceLROnPlateau"])
def test_a_quantity_that_is_not_there_warns_with_the_nearest_name(kind):
    make = lambda callbacks: getattr(callbacks, kind)(monitor="val_lost", mode="min")  # noqa: E731
    (seen, _), _, warned = both_driven(make, [1.0, 2.0])
    assert warned == 2 and not seen[-1][2]
    with pytest.warns(UserWarning, match=r"`val_lost` which is not available.*loss,val_loss.*Did you mean `val_loss`"):
        drive(make(ours.callbacks), [1.0])
    both_driven(lambda callbacks: getattr(callbacks, kind)(), [1.0, None, 2.0])


def test_a_mode_is_told_by_the_metric_or_must_be_given():
    callback = ours.callbacks.EarlyStopping("val_score")
    with pytest.raises(ArgumentError, match="Pass `mode='max'`"):
        drive(callback, [1.0], "val_score")
    for direction, improves in (("up", 2.0), ("down", 0.5)):
        callback = ours.callbacks.EarlyStopping("val_score")
        callback.set_model(StandIn())
        metric = types.SimpleNamespace(name="score", _direction=direction)
        callback.model.metrics = [types.SimpleNamespace(metrics=[metric])]
        callback._set_monitor_op()
        assert callback._is_improvement(improves, 1.0) and not callback._is_improvement(1.0, 1.0)
    with pytest.warns(UserWarning, match="EarlyStopping mode 'least' is unknown, fallback to auto mode"):
        assert ours.callbacks.EarlyStopping(mode="least").mode == "auto"
    with pytest.raises(ArgumentError, match=r"factor >= 1.0. Received factor=2"):
        ours.callbacks.ReduceLROnPlateau(factor=2)


@pytest.mark.parametrize(
    "schedule", [lambda epoch, lr: lr * 0.5, lambda epoch: 1.0 / (epoch + 1), lambda epoch, lr: np.float32(lr)]
)
def test_learning_rate_scheduler(schedule):
    (seen, _), text, _ = both_driven(lambda callbacks: callbacks.LearningRateScheduler(schedule, verbose=1), [1.0] * 3)
    assert seen[-1][0]["learning_rate"] == seen[-1][1] and text.count("LearningRateScheduler setting") == 3


@pytest.mark.parametrize("bad", [1, "0.1", None])
def test_a_schedule_must_give_a_float(bad):
    callback = ours.callbacks.LearningRateScheduler(lambda epoch: bad)
    with pytest.raises(ArgumentError, match="should be a float"):
        drive(callback, [1.0])


def test_an_error_in_a_schedule_is_not_hidden():
    def schedule(epoch, lr):
        raise TypeError("of the schedule's own")

    with pytest.raises(TypeError, match="of the schedule's own"):
        drive(ours.callbacks.LearningRateScheduler(schedule), [1.0])


# In training, beside real Keras


@pytest.mark.parametrize(
    "make",
    [
        lambda c: [c.EarlyStopping("loss", min_delta=1e-2, patience=1, restore_best_weights=True)],
        lambda c: [c.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=0.05)],
        lambda c: [c.LearningRateScheduler(lambda epoch, lr: lr * 0.5)],
        lambda c: [c.TerminateOnNaN(), c.EarlyStopping("val_loss", patience=2)],
    ],
    ids=["EarlyStopping", "ReduceLROnPlateau", "LearningRateScheduler", "TerminateOnNaN"],
)
def test_training_with_callbacks_is_that_of_keras(make):
    results = [
        fit(module, make(module.callbacks), epochs=8, shuffle=True, validation_split=0.25) for module in (ours, keras)
    ]
    assert_close(results[0][1], results[1][1])
    for mine, theirs in zip(results[0][0].get_weights(), results[1][0].get_weights()):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)


def recorder(base):
    class Recorder(base):
        calls = None

    def hook(name):
        def call(self, *args, logs=None):
            if len(args) == (1 if "train_b" in name or "epoch" in name or "batch" in name else 0) + 1:
                *args, logs = args
            self.calls.append((name, *args, sorted(logs or {})))

        return call

    for name in [n for n in dir(ours.callbacks.Callback) if n.startswith("on_")]:
        if name not in ("on_batch_begin", "on_batch_end"):
            setattr(Recorder, name, hook(name))
    recorded = Recorder()
    recorded.calls = []
    return recorded


def test_hooks_are_called_in_the_order_of_keras():
    calls = []
    for module in (ours, keras):
        callback = recorder(module.callbacks.Callback)
        model, _ = fit(module, [callback], epochs=2, validation_data=(X, Y), validation_batch_size=12)
        model.evaluate(X, Y, callbacks=[callback], verbose=0)
        model.predict(X, callbacks=[callback], verbose=0)
        calls.append(callback.calls)
    assert calls[0] == calls[1]
    assert len(calls[0]) > 20


def test_a_callback_that_raises_leaves_the_weights_of_the_last_step():
    seen = []

    class Bad(ours.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append([w.copy() for w in self.model.get_weights()])
            if len(seen) == 5:
                raise RuntimeError("the callback's own")

    model = model_of(ours)
    with pytest.raises(RuntimeError, match="the callback's own"):
        fit(ours, [Bad()], model=model)
    for held, last, before in zip(model.get_weights(), seen[4], seen[3]):
        assert np.array_equal(held, last) and not np.array_equal(held, before) and np.isfinite(held).all()
    fit(ours, [], epochs=1, model=model)  # and it trains on


def test_terminate_on_nan():
    model = model_of(ours, optimizer=ours.optimizers.SGD(1e30))
    _, history = fit(ours, [ours.callbacks.TerminateOnNaN()], epochs=5, model=model)
    assert len(history["loss"]) == 1 and not np.isfinite(history["loss"][0])
    with pytest.raises(RuntimeError, match="NaN or Inf loss encountered at batch"):
        fit(ours, [ours.callbacks.TerminateOnNaN(raise_error=True)], model=model)


def test_history_is_that_of_keras_and_grows():
    models = [fit(module, None, epochs=2)[0] for module in (ours, keras)]
    for module, model in zip((ours, keras), models):
        again = model.fit(X, Y, batch_size=8, epochs=3, initial_epoch=2, verbose=0, shuffle=False)
        assert isinstance(again, module.callbacks.History) and again.epoch == [2] and model.history is again
    mine = ours.callbacks.History()
    fit(ours, [mine], epochs=2)
    fit(ours, [mine], epochs=1)
    assert len(mine.history["loss"]) == 3 and mine.epoch == [0]


# The list


def test_a_list_knows_who_listens_to_batches():
    def listens(*callbacks):
        return ours.callbacks.CallbackList(list(callbacks)).listens("on_train_batch_end")

    class General(ours.callbacks.Callback):
        def on_batch_end(self, batch, logs=None):
            pass

    assert not listens() and not listens(ours.callbacks.Callback(), ours.callbacks.EarlyStopping())
    assert listens(General()) and listens(ours.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: None))
    assert listens(ours.callbacks.TerminateOnNaN()) and listens(keras.callbacks.TerminateOnNaN())
    assert not listens(keras.callbacks.Callback())
    assert is_default(ours.callbacks.Callback().on_epoch_end)


def test_logs_of_batches_are_fetched_once_and_only_for_those_who_want_them():
    fetched = []

    def logs():
        fetched.append(1)
        return {"loss": np.float32(0.5), "inner": {"b": np.ones(2), "a": np.int64(3)}}

    seen = []
    quiet = ours.callbacks.CallbackList([ours.callbacks.ModelCheckpoint("m.keras"), ours.callbacks.TerminateOnNaN()])
    quiet.callbacks[1].on_batch_end = lambda batch, logs: seen.append(logs)
    quiet._find_listeners()
    ours.callbacks.CallbackList([]).on_train_batch_end(0, logs)
    assert not fetched
    loud = ours.callbacks.CallbackList(
        [ours.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(logs)) for _ in range(3)]
    )
    loud.on_train_batch_end(0, logs)
    assert len(fetched) == 1 and len(seen) == 3 and seen[0] is seen[2]
    assert list(seen[0]) == ["a", "b", "loss"] and type(seen[0]["loss"]) is float and seen[0]["a"] == 3.0
    assert seen[0]["b"].shape == (2,)


def test_what_a_callback_adds_to_the_logs_is_seen_by_the_next_and_recorded():
    def add(epoch, logs):
        logs["double"] = 2 * logs["loss"]

    seen = []
    callbacks = [
        ours.callbacks.LambdaCallback(on_epoch_end=add),
        ours.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(logs["double"])),
    ]
    _, history = fit(ours, callbacks, epochs=2)
    assert history["double"] == seen == [2 * loss for loss in history["loss"]]


def test_a_list_has_the_defaults_once():
    model = StandIn()
    mine = ours.callbacks.History()
    both = ours.callbacks.CallbackList(mine, add_history=True, add_progbar=True, model=model, verbose=2, epochs=1)
    assert [type(c).__name__ for c in both.callbacks] == ["History", "ProgbarLogger"]
    assert model.history is mine and both.callbacks[1].verbose == 2 and mine.params == {"verbose": 2, "epochs": 1}
    both.append(ours.callbacks.LambdaCallback(on_predict_batch_end=print))
    assert both.listens("on_predict_batch_end") and both.callbacks[-1].model is model


def test_python_logs_are_those_of_keras():
    from keras.src.utils.python_utils import pythonify_logs

    logs = {"b": np.float32(0.1), "a": 2, "nest": {"z": True, "c": np.float64(3)}, "text": "x", "array": np.ones(3)}
    mine, theirs = python_logs(logs), pythonify_logs(logs)
    assert list(mine) == list(theirs)
    assert all(np.array_equal(mine[k], theirs[k]) and type(mine[k]) is type(theirs[k]) for k in mine)


def test_lambda_callback():
    calls = []
    callback = ours.callbacks.LambdaCallback(
        on_train_begin=lambda logs: calls.append("train"),
        on_epoch_begin=lambda epoch, logs: calls.append(epoch),
        on_train_batch_begin=lambda batch, logs: calls.append(f"batch {batch}"),
        on_test_begin=lambda logs: calls.append("test"),
    )
    fit(ours, [callback], epochs=1, validation_data=(X, Y))
    assert calls == ["train", 0, "batch 0", "batch 1", "batch 2", "test"]
    with pytest.raises(ArgumentError, match=r"no hook 'on_epoch_ends'. Did you mean `on_epoch_end`"):
        ours.callbacks.LambdaCallback(on_epoch_ends=print)


def test_callbacks_of_keras_itself_work_too():
    _, mine = fit(ours, [keras.callbacks.EarlyStopping("loss", patience=0, min_delta=1.0)], epochs=5)
    assert len(mine["loss"]) == 2


# Averages


def test_swap_ema_weights_is_that_of_keras():
    results = []
    for module in (ours, keras):
        model = model_of(module, optimizer=module.optimizers.SGD(0.05, use_ema=True, ema_momentum=0.5))
        before = []
        callbacks = [
            module.callbacks.SwapEMAWeights(swap_on_epoch=True),
            module.callbacks.LambdaCallback(
                on_epoch_end=lambda epoch, logs, model=model, before=before: before.append(model.get_weights())
            ),
        ]
        _, history = fit(module, callbacks, model=model, validation_data=(X, Y))
        results.append((history, before, model.get_weights()))
    assert_close(results[0][0], results[1][0])
    for mine, theirs in zip(results[0][1] + [results[0][2]], results[1][1] + [results[1][2]]):
        for a, b in zip(mine, theirs):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_prediction_uses_averages_and_gives_the_weights_back():
    model = model_of(ours, optimizer=ours.optimizers.SGD(0.05, use_ema=True))
    model.train_on_batch(X, Y)
    weights, averages = model.get_weights(), [v.numpy() for v in model.optimizer._model_variables_moving_average]
    found = model.predict(X, callbacks=[ours.callbacks.SwapEMAWeights()], verbose=0)
    np.testing.assert_allclose(found, X @ averages[0] + averages[1], rtol=1e-6, atol=1e-6)
    assert weights_equal(model, weights)
    with pytest.raises(ArgumentError, match="use_ema=True to SGD"):
        fit(ours, [ours.callbacks.SwapEMAWeights(swap_on_epoch=True)])


def test_names_arguments_and_defaults_are_those_of_keras():
    names = [name for name in dir(keras.callbacks) if not name.startswith("_")]
    assert sorted(ours.callbacks.__all__) == sorted(names)
    for name in names:
        mine, theirs = (inspect.signature(getattr(module.callbacks, name)) for module in (ours, keras))
        assert [(p.name, p.default, p.kind) for p in mine.parameters.values()] == [
            (p.name, p.default, p.kind) for p in theirs.parameters.values()
        ], name
