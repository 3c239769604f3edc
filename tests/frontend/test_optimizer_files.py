"""An optimizer's state in ``.keras`` and ``.weights.h5`` files, which Keras writes and reads too."""

import zipfile

import h5py
import keras
import numpy as np
import pytest

import lamina
from lamina import keras as ours
from lamina.ir.errors import FileFormatError

from .optimizer_rows import assert_equal, fresh_names


def model(module, units=4):
    layers = module.layers
    return module.Sequential([module.Input((3,)), layers.Dense(units, name="first"), layers.Dense(2, name="second")])


def by_name(module, name):
    made = module.optimizers
    if name == "LossScaleOptimizer":
        return made.LossScaleOptimizer(made.Adam(), initial_scale=4.0)
    if name == "MultiOptimizer":
        return made.MultiOptimizer(made.OptimizerMap(made.Adam(), {".*bias": made.SGD(momentum=0.5)}))
    if name == "scheduled":
        return made.Adagrad(made.schedules.CosineDecay(0.1, 10), use_ema=True)
    return getattr(made, name)(gradient_accumulation_steps=2, use_ema=True)


NAMES = ["Adam", "Nadam", "Adafactor", "Muon", "LossScaleOptimizer", "MultiOptimizer", "scheduled"]


def keras_trained(name):
    """A model of Keras's after three steps."""
    fresh_names()
    theirs = model(keras)
    theirs.compile(by_name(keras, name), "mse")
    rng = np.random.default_rng(0)
    for _ in range(3):
        theirs.train_on_batch(rng.normal(size=(5, 3)), rng.normal(size=(5, 2)))
    return theirs


def names_in(path):
    """Paths of arrays and the names of groups in a file of weights."""
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda key, item: found.update({key: (getattr(item, "shape", None), dict(item.attrs))}))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_files_go_both_ways(name, tmp_path):
    theirs = keras_trained(name)
    theirs.save(tmp_path / "theirs.keras")
    fresh_names()
    loaded = lamina.load(tmp_path / "theirs.keras")
    assert type(loaded.optimizer).__name__ == type(theirs.optimizer).__name__
    assert loaded.optimizer.get_config() == theirs.optimizer.get_config()
    assert_equal(loaded.optimizer.variables, theirs.optimizer.variables, rtol=0, atol=0)
    assert_equal(loaded.weights, theirs.weights, rtol=0, atol=0)
    loaded.save(tmp_path / "ours.keras")
    back = keras.saving.load_model(tmp_path / "ours.keras")
    assert back.optimizer.get_config() == theirs.optimizer.get_config()
    assert_equal(back.optimizer.variables, theirs.optimizer.variables, rtol=0, atol=0)
    for path in ("theirs", "ours"):
        with zipfile.ZipFile(tmp_path / f"{path}.keras") as archive:
            (tmp_path / f"{path}.h5").write_bytes(archive.read("model.weights.h5"))
    assert names_in(tmp_path / "ours.h5") == names_in(tmp_path / "theirs.h5")


@pytest.mark.parametrize("name", ["Adam", "MultiOptimizer"])
def test_weights_files_go_both_ways(name, tmp_path):
    theirs = keras_trained(name)
    theirs.save_weights(tmp_path / "theirs.weights.h5")
    fresh_names()
    own = model(ours)
    own.optimizer = by_name(ours, name)
    own.optimizer.build(own.trainable_variables)
    own.load_weights(tmp_path / "theirs.weights.h5")
    assert_equal(own.optimizer.variables, theirs.optimizer.variables, rtol=0, atol=0)
    own.save_weights(tmp_path / "ours.weights.h5")
    assert names_in(tmp_path / "ours.weights.h5") == names_in(tmp_path / "theirs.weights.h5")
    back = model(keras)
    back.compile(by_name(keras, name), "mse")
    back.optimizer.build(back.trainable_variables)
    back.load_weights(tmp_path / "ours.weights.h5")
    assert_equal(back.optimizer.variables, theirs.optimizer.variables, rtol=0, atol=0)


def test_training_goes_on_where_it_stopped(tmp_path):
    own = model(ours)
    own.compile(ours.optimizers.AdamW(0.1), "mse")
    x, y = np.ones((4, 3), "float32"), np.zeros((4, 2), "float32")
    own.train_on_batch(x, y)
    own.save(tmp_path / "m.keras")
    loaded = lamina.load(tmp_path / "m.keras")
    for each in (own, loaded):
        each.train_on_batch(x, y)
    assert int(loaded.optimizer.iterations) == 2
    assert_equal(loaded.weights, own.weights)
    assert_equal(loaded.optimizer.variables, own.optimizer.variables)


def test_without_compile_there_is_no_optimizer(tmp_path):
    keras_trained("Adam").save(tmp_path / "m.keras")
    assert ours.saving.load_model(tmp_path / "m.keras", compile=False).optimizer is None


def test_a_file_without_the_state_of_an_optimizer(tmp_path):
    model(ours).save_weights(tmp_path / "plain.weights.h5")
    own = model(ours)
    own.optimizer = ours.optimizers.Adagrad(name="adagrad")
    own.optimizer.build(own.trainable_variables)
    with pytest.warns(UserWarning, match="adagrad keeps the state it has: it has 6 variables, the file holds 0"):
        own.load_weights(tmp_path / "plain.weights.h5")
    assert float(own.optimizer.variables[2].numpy()[0, 0]) == pytest.approx(0.1)
    own.optimizer = ours.optimizers.Adagrad(name="adagrad")
    own.save_weights(tmp_path / "unbuilt.weights.h5")
    assert "optimizer/vars/1" in names_in(tmp_path / "unbuilt.weights.h5")


def test_state_is_made_anew_where_the_file_has_none(tmp_path):
    own = model(ours)
    own.compile(ours.optimizers.Adagrad(), "mse")  # not built, so that there is no state to save
    own.save(tmp_path / "m.keras")
    with pytest.warns(UserWarning, match="it has 6 variables, the file holds 2"):
        loaded = lamina.load(tmp_path / "m.keras")
    for total in loaded.optimizer.variables[2:]:
        np.testing.assert_array_equal(total.numpy(), np.full(total.shape, 0.1, "float32"))


def test_nothing_changes_where_the_state_does_not_fit(tmp_path):
    other = model(ours, units=5)
    other.optimizer = ours.optimizers.SGD(momentum=0.5)
    other.optimizer.build(other.trainable_variables)
    other.save_weights(tmp_path / "other.weights.h5")
    own = model(ours)
    own.optimizer = ours.optimizers.SGD(0.25, momentum=0.5, name="sgd")
    own.optimizer.build(own.trainable_variables)
    before = [v.numpy() for v in [*own.weights, *own.optimizer.variables]]
    with pytest.raises(FileFormatError, match=r"optimizer \(sgd\)"):
        own.load_weights(tmp_path / "other.weights.h5")
    for old, variable in zip(before, [*own.weights, *own.optimizer.variables], strict=True):
        np.testing.assert_array_equal(old, variable.numpy())
