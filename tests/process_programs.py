"""Programs that tests run in several processes: ``python process_programs.py PROGRAM KEY=VALUE...``.

Without the environment variables of ``keras.distribution.initialize`` it is one process that does the same.
"""

import json
import os
import signal
import sys
import time

import numpy as np

from lamina import keras

COUNT = int(os.environ.get("KERAS_DISTRIBUTION_NUM_PROCESSES", "1"))
INDEX = int(os.environ.get("KERAS_DISTRIBUTION_PROCESS_ID", "0"))
BATCH, STEPS = 16, 4
HEARTBEAT = 5


def start(kind="data", seed=3, **options):
    """Join the others, and set the distribution."""
    if COUNT > 1:
        keras.distribution.initialize(timeout=60, heartbeat_timeout=HEARTBEAT)
    if seed is not None:
        keras.utils.set_random_seed(seed)
    if kind == "none":
        return
    if kind == "data":
        keras.distribution.set_distribution(keras.distribution.DataParallel(**options))
        return
    mesh = keras.distribution.DeviceMesh((1, 4) if kind == "model" else (2, 2), ["batch", "model"])
    layouts = keras.distribution.LayoutMap(mesh)
    layouts[r"small/dense_\w+/kernel"] = (None, "model")
    keras.distribution.set_distribution(keras.distribution.ModelParallel(layout_map=layouts))


def small(width=8, dropout=0.0, extra=False):
    layers = [keras.layers.Input((6,)), keras.layers.Dense(width, activation="relu", name="dense_a")]
    if dropout:
        layers.append(keras.layers.Dropout(dropout))
    if extra:
        layers.append(keras.layers.Dense(width, name="dense_extra"))
    model = keras.Sequential([*layers, keras.layers.Dense(4, name="dense_b")], name="small")
    model.compile("adam", "mse", metrics=["mae"])
    chosen = keras.distribution.distribution()
    if isinstance(chosen, keras.distribution.ModelParallel):
        kernel = model.weights[0].value
        assert kernel.addressable_shards[0].data.shape == (6, width // chosen.device_mesh.shape[1])
    return model


def data(rows=BATCH * STEPS):
    random = np.random.RandomState(0)
    return random.rand(rows, 6).astype("float32"), random.rand(rows, 4).astype("float32")


def shares():
    """How many different shares of a batch there are."""
    chosen = keras.distribution.distribution()
    return 1 if chosen is None else min(COUNT, chosen.num_model_replicas)


def share(array, batch=BATCH):
    """The part of this process: of each batch of all processes together its rows."""
    part, which = batch // shares(), 0 if shares() == 1 else keras.distribution.distribution().data_shard_id
    begins = range(which * part, len(array), batch)
    return np.concatenate([array[begin : begin + part] for begin in begins])


def equal(kind):
    """All that a model does with data."""
    start(kind)
    model = small(dropout=0.1)
    x, y = (share(a) for a in data())
    size = BATCH // shares()
    history = model.fit(x, y, batch_size=size, epochs=2, shuffle=False, verbose=0, validation_data=(x, y))
    evaluated = model.evaluate(x, y, batch_size=size, verbose=0)
    one = model.train_on_batch(x[:size], y[:size])
    predicted = model.predict(x, batch_size=size, verbose=0)
    on_batch = model.predict_on_batch(x[:size])
    weights = [np.asarray(w).tolist() for w in model.weights]
    predictions = {"predicted": predicted.tolist(), "batch": on_batch.tolist()}
    return {"history": history.history, "evaluated": evaluated, "one": one, "weights": weights, **predictions}


def several_steps(kind):
    """Several steps in one execution, and a generator."""
    start(kind)
    model = small()
    model.compile("sgd", "mse", steps_per_execution=2)
    x, y = (share(a) for a in data())
    size = BATCH // shares()
    batches = [(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)]
    model.fit(iter(batches), epochs=1, verbose=0)
    return {"predicted": model.predict(x, batch_size=size, verbose=0).tolist()}


def dataset():
    """A tf.data.Dataset has the batches of all processes together."""
    import tensorflow as tf

    start()
    model = small()
    batches = tf.data.Dataset.from_tensor_slices(data()).batch(BATCH)
    return {"history": model.fit(batches, epochs=1, shuffle=False, verbose=0).history}


def seeds():
    """Without a seed of the user's all start from the same weights."""
    start(seed=None)
    return {"kernel": np.asarray(small().weights[0]).tolist()}


class AtBatch(keras.callbacks.Callback):
    """Does something in one process, when it has seen so many batches."""

    def __init__(self, process, at, do):
        super().__init__()
        self.process, self.at, self.do, self.seen = process, at, do, 0

    def on_train_batch_end(self, batch, logs=None):
        self.seen += 1
        if self.process == INDEX and self.seen == self.at:
            self.do(self)


def die(callback):
    print("DIES", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def fail(callback):
    raise ValueError("bad luck")


def stop(callback):
    callback.model.stop_training = True


def trouble(kind, who):
    """What one process does otherwise than the other; both are to end with an error that says so."""
    start()
    who = int(who)
    mine = who == INDEX
    x, y = data()
    model = small(extra=kind == "program" and mine)
    callbacks = []
    if kind in ("die", "fail", "stop"):
        callbacks = [AtBatch(who, 3, {"die": die, "fail": fail, "stop": stop}[kind])]
    if kind == "busy":
        callbacks = [AtBatch(who, 3, die), AtBatch(1 - who, 3, lambda _: time.sleep(120))]
    if kind == "uneven" and mine:
        x, y = x[:48], y[:48]
    if kind == "shape" and mine:
        x = np.concatenate([x, x], axis=1)
        model = keras.Sequential([keras.Input((12,)), keras.layers.Dense(4)])
        model.compile("sgd", "mse")
    if kind == "rest":
        x, y = x[:59], y[:59]
    if kind == "method" and mine:
        model.evaluate(x, y, batch_size=8, verbose=0)
    if kind == "source":

        def batches():
            yield x[:8], y[:8]
            if mine:
                raise OSError("the disk is gone")
            yield x[:8], y[:8]

        model.fit(batches(), epochs=1, verbose=0)
    model.fit(x, y, batch_size=8, epochs=2, verbose=0, callbacks=callbacks)


def joining(kind):
    """Ways to call initialize that are refused."""
    given = {"timeout": 5, "heartbeat_timeout": HEARTBEAT}
    if kind == "late":
        keras.ops.ones(3)
    if kind == "count":
        given["num_processes"] = 2 + INDEX
    if kind == "seeds":
        keras.utils.set_random_seed(INDEX)
    if kind == "absent":
        given.update(num_processes=3)
    if kind == "nobody":
        given.update(process_id=1)
    keras.distribution.initialize(**given)
    if kind == "twice":
        keras.distribution.initialize(**given)


def backup(kind, folder, who="-1", at="0"):
    """Training that is to go on from a backup, with all callbacks that write files."""
    start(kind)
    model = small()
    x, y = (share(a) for a in data())
    callbacks = [
        keras.callbacks.BackupAndRestore(f"{folder}/backup"),
        keras.callbacks.ModelCheckpoint(f"{folder}/epoch{{epoch}}.keras"),
        keras.callbacks.CSVLogger(f"{folder}/log.csv", append=True),
        AtBatch(int(who), int(at), die),
    ]
    history = model.fit(x, y, batch_size=BATCH // shares(), epochs=4, shuffle=False, verbose=0, callbacks=callbacks)
    return {"epochs": history.epoch, "weights": [np.asarray(w).tolist() for w in model.weights]}


def other_model(folder):
    """A backup of another model is refused by all."""
    start()
    x, y = (share(a) for a in data())
    for width in (8, 12):
        model = small(width)
        keep = keras.callbacks.BackupAndRestore(folder, delete_checkpoint=False)
        model.fit(x, y, batch_size=8, epochs=1, verbose=0, callbacks=[keep])


if __name__ == "__main__":
    found = globals()[sys.argv[1]](**dict(argument.split("=", 1) for argument in sys.argv[2:]))
    if found is not None:
        print("FOUND " + json.dumps(found), flush=True)
