"""What is printed is what Keras prints, character for character, on a clock that both share."""

import io
import itertools
import logging
import re
import sys
import time

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina import keras as ours
from lamina.frontend.training import progress
from lamina.ir.errors import ArgumentError


class Clock:
    """Moves on by a step at each look; in place of ``time.time``."""

    def __init__(self, step):
        self.now, self.step = 1000.0, step

    def __call__(self):
        self.now += self.step
        return self.now


def printed(make, drive, step=0.03, dynamic=True):
    """What ``drive`` of a bar prints."""
    out, stdout, clock = io.StringIO(), sys.stdout, time.time
    sys.stdout, time.time = out, Clock(step)
    try:
        bar = make()
        bar._dynamic_display = dynamic
        drive(bar)
    finally:
        sys.stdout, time.time = stdout, clock
    return out.getvalue()


def both(drive, step=0.03, dynamic=True, **kwargs):
    mine = printed(lambda: ours.utils.Progbar(**kwargs), drive, step, dynamic)
    theirs = printed(lambda: keras.utils.Progbar(**kwargs), drive, step, dynamic)
    assert mine == theirs
    return mine


VALUES = [("loss", 0.25), ("accuracy", np.float32(0.0004)), ("lr", 1e-5), ("negative", -3.0)]


def run(target, values=VALUES, jump=1):
    def drive(bar):
        for i in range(jump, (target or 12) + 1, jump):
            bar.update(i, [(name, value * i) for name, value in values])
        if target is None:
            bar.target = 12
            bar.update(12, values, finalize=True)

    return drive


@pytest.mark.parametrize("dynamic", [True, False])
@pytest.mark.parametrize("verbose", [0, 1, 2])
@pytest.mark.parametrize("step", [1e-5, 0.004, 0.03, 1.7, 40.0, 2000.0])
@pytest.mark.parametrize("target", [1, 9, 10, 123, None])
def test_bars_are_those_of_keras(target, step, verbose, dynamic):
    text = both(run(target), step, dynamic, target=target, verbose=verbose)
    assert (text == "") == (verbose == 0)
    if verbose == 2 and target:
        assert text.count("\n") == 1 and "\r" not in text


@given(
    target=st.one_of(st.none(), st.integers(0, 300)),
    updates=st.lists(st.tuples(st.integers(0, 320), st.floats(-1e5, 1e5), st.floats(0, 1e-2)), max_size=8),
    step=st.sampled_from([1e-4, 0.06, 3.0, 700.0]),
    kind=st.sampled_from(["none", "stateful", "stateless"]),
    width=st.integers(1, 40),
    finalize=st.sampled_from([None, None, True, False]),
)
def test_any_updates(target, updates, step, kind, width, finalize):
    kwargs = {"none": {}, "stateful": {"stateful_metrics": ["a"]}, "stateless": {"stateless_metrics": ["a"]}}[kind]

    def drive(bar):
        for current, a, b in sorted(updates):
            bar.update(current, [("a", a), ("b", b)], finalize)

    both(drive, step, target=target, width=width, interval=0.05, unit_name="sample", **kwargs)


def test_add_counts_on():
    def drive(bar):
        for _ in range(4):
            bar.add(3, [("loss", 0.5)])

    assert "12/12" in both(drive, target=12)


def test_an_average_is_weighted_by_steps_and_a_stateful_value_is_not():
    def drive(bar):
        bar.update(1, [("loss", 1.0), ("rate", 1.0)])
        bar.update(4, [("loss", 3.0), ("rate", 3.0)], finalize=False)

    text = both(drive, step=1.0, target=10, stateful_metrics=["rate"])
    assert "loss: 2.5000 - rate: 3.0000" in text


def test_only_one_kind_of_names():
    with pytest.raises(ArgumentError, match="received both"):
        ours.utils.Progbar(3, stateful_metrics=["a"], stateless_metrics=["b"])


# The logger


def fit_calls(callbacks, target, verbose, epochs=2, validation=True):
    callbacks.set_params({"verbose": verbose, "epochs": epochs, "steps": target})
    callbacks.on_train_begin()
    for epoch in range(epochs):
        callbacks.on_epoch_begin(epoch)
        for batch in range(7):
            callbacks.on_train_batch_begin(batch)
            callbacks.on_train_batch_end(batch, {"loss": np.float32(1 / (batch + 1)), "accuracy": batch / 7})
        logs = {"loss": 0.1, "accuracy": 0.9}
        if validation:
            callbacks.on_test_begin()
            for batch in range(2):
                callbacks.on_test_batch_begin(batch)
                callbacks.on_test_batch_end(batch, {"loss": 0.3})
            callbacks.on_test_end({"loss": 0.3})
            logs["val_loss"] = 0.3
        callbacks.on_epoch_end(epoch, logs)
    callbacks.on_train_end({"loss": 0.1})


def evaluate_calls(callbacks, target, verbose):
    callbacks.set_params({"verbose": verbose, "epochs": 1, "steps": target})
    callbacks.on_test_begin()
    for batch in range(7):
        callbacks.on_test_batch_end(batch, {"loss": 0.5})
    callbacks.on_test_end({"loss": 0.25})


def predict_calls(callbacks, target, verbose):
    callbacks.set_params({"verbose": verbose, "epochs": 1, "steps": target})
    callbacks.on_predict_begin()
    for batch in range(7):
        callbacks.on_predict_batch_end(batch, {"outputs": np.ones((2, 2))})
    callbacks.on_predict_end()


class Model:
    history = None


@pytest.mark.parametrize("calls", [fit_calls, evaluate_calls, predict_calls])
@pytest.mark.parametrize("verbose", [0, 1, 2])
@pytest.mark.parametrize("target", [7, None])
def test_fit_evaluate_and_predict_print_what_keras_prints(calls, verbose, target):
    def text_of(module):
        def make():
            return module.callbacks.CallbackList([module.callbacks.ProgbarLogger()], model=Model())

        return without_times(printed(make, lambda callback: calls(callback, target, verbose), step=1.0))

    assert text_of(ours) == text_of(keras)


def without_times(text):
    """The text without what the clock decides: ours looks at it once more, to see whether it is time to draw."""
    text = re.sub(r"\x1b\[1m[\d:s]+\x1b\[0m \d+[mu]?s/step|\d+s - \d+[mu]?s/step", "TIME", text)
    return re.sub(r"[ \x08]+([\r\n]|$)", r"\1", text)  # what clears the line before is as long as that was


def test_values_are_fetched_only_where_the_bar_draws(monkeypatch):
    fetched = []

    class OnDevice:
        shape = ()

        def __init__(self, number):
            self.number = number

        def __array__(self, dtype=None, copy=None):
            fetched.append(self.number)
            return np.asarray(float(self.number))

    clock = Clock(0.0)
    monkeypatch.setattr(time, "time", clock)
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    callbacks = ours.callbacks.CallbackList(add_progbar=True, model=Model(), verbose=1, epochs=1, steps=100)
    callbacks.on_train_begin()
    callbacks.on_epoch_begin(0)
    for batch in range(100):
        clock.now += 0.01
        callbacks.on_train_batch_end(batch, {"loss": OnDevice(batch)})
    assert 10 <= len(fetched) <= 25  # in 1 s at most each 0.05 s
    fetched.clear()
    callbacks.set_params({"verbose": 2, "epochs": 1, "steps": 100})
    callbacks.on_epoch_begin(1)
    for batch in range(100):
        callbacks.on_train_batch_end(batch, {"loss": OnDevice(batch)})
    assert not fetched


# Where it goes


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_auto_is_a_bar_on_a_terminal_and_a_line_for_each_epoch_elsewhere(monkeypatch):
    monkeypatch.delenv("PYCHARM_HOSTED", raising=False)
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert progress.resolve_verbose("auto") == 1
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert progress.resolve_verbose("auto") == 2
    assert [progress.resolve_verbose(v) for v in (0, 1, 2, True, False)] == [0, 1, 2, 1, 0]
    with pytest.raises(ArgumentError, match="verbose is 0"):
        progress.resolve_verbose("loud")


def test_messages_can_go_to_a_logger(capsys, caplog):
    assert ours.config.is_interactive_logging_enabled()
    ours.utils.disable_interactive_logging()
    try:
        assert not ours.utils.is_interactive_logging_enabled()
        with caplog.at_level(logging.INFO, logger="lamina"):
            progress.print_message("saved")
    finally:
        ours.config.enable_interactive_logging()
    progress.print_message("shown")
    assert capsys.readouterr().out == "shown\n" and caplog.messages == ["saved"]


def test_an_output_that_lacks_the_character_gets_another(monkeypatch):
    stored = io.BytesIO()
    out = io.TextIOWrapper(stored, encoding="ascii")
    monkeypatch.setattr(sys, "stdout", out)
    bar = ours.utils.Progbar(2)
    for i in itertools.count(1):
        bar.update(i)
        if i == 2:
            break
    assert b"2/2" in stored.getvalue() and b"=" * 20 in stored.getvalue()
