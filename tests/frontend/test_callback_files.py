"""What callbacks write: logs, checkpoints that a kill leaves whole, event files; and what they send."""

import io
import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import keras
import numpy as np
import pytest
from callback_pairs import StandIn, X, Y, fit, model_of, weights_equal

from lamina import keras as ours
from lamina.ir.errors import ArgumentError, FileFormatError, UnsupportedError

# CSV


@pytest.mark.parametrize("separator, validation", [(",", True), (";", False)])
def test_csv_logger_writes_the_file_of_keras(separator, validation, tmp_path):
    rows = [{"loss": 0.5, "acc": 1.0}, {"loss": 0.25, "acc": [1, 2]}]
    if validation:
        rows = [{**row, "val_loss": 3.0} for row in rows]
    texts = []
    for module in (ours, keras):
        path = tmp_path / f"{module.__name__}.csv"
        for append in (False, True, False, True):
            callback = module.callbacks.CSVLogger(path, separator, append)
            callback.set_model(StandIn())
            callback.on_train_begin()
            for epoch, logs in enumerate(rows):
                callback.on_epoch_end(epoch, logs)
                assert path.read_text().count("\n") >= epoch + 1  # on disk already
            callback.on_train_end()
        texts.append(path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n\n", b"\n"))
    assert texts[0] == texts[1] and texts[0].count(b"epoch") == 1


# Checkpoints


@pytest.mark.parametrize("weights_only", [False, True])
def test_model_checkpoint_saves_each_epoch(weights_only, tmp_path):
    ending = ".weights.h5" if weights_only else ".keras"
    name = str(tmp_path / "deep" / ("m{epoch:02d}-{loss:.3f}" + ending))
    model, history = fit(ours, [ours.callbacks.ModelCheckpoint(name, save_weights_only=weights_only)], epochs=2)
    paths = [name.format(epoch=i + 1, loss=loss) for i, loss in enumerate(history["loss"])]
    assert sorted(os.listdir(tmp_path / "deep")) == sorted(map(os.path.basename, paths))
    if weights_only:
        other = model_of(ours)
        other.optimizer.build(other.trainable_variables)
        other.load_weights(paths[-1])
    else:
        other = ours.models.load_model(paths[-1])
    assert weights_equal(other, model.get_weights())
    # The optimizer's state is in it: training on gives what training on would have given.
    fit(ours, [], epochs=1, model=model)
    fit(ours, [], epochs=1, model=other)
    assert weights_equal(other, model.get_weights())


@pytest.mark.parametrize("mode, threshold", [("auto", None), ("max", None), ("min", 0.6)])
def test_only_the_best_is_saved_as_by_keras(mode, threshold, tmp_path, capsys):
    values = [1.0, 0.5, 0.7, 0.4, float("nan"), 0.4]
    found = []
    for module in (ours, keras):
        saved = []
        callback = module.callbacks.ModelCheckpoint(
            "x/m{epoch}.keras", "val_loss", 1, True, mode=mode, initial_value_threshold=threshold
        )
        model = StandIn()
        model.save = lambda path, overwrite, saved=saved: saved.append(path)
        callback.set_model(model)
        os.chdir(tmp_path)
        for epoch, value in enumerate(values):
            callback.on_epoch_begin(epoch)
            callback.on_epoch_end(epoch, {"val_loss": value})
        found.append((saved, capsys.readouterr().out))
    assert found[0] == found[1] and found[0][0]


@pytest.mark.parametrize("freq", [1, 3, 4, 7])
def test_batches_are_counted_over_epochs_as_by_keras(freq, tmp_path):
    found = []
    for module in (ours, keras):
        saved = []
        callback = module.callbacks.ModelCheckpoint(str(tmp_path / "{epoch}-{batch}.keras"), save_freq=freq)
        model = StandIn()
        model.save = lambda path, overwrite, saved=saved: saved.append(path)
        callback.set_model(model)
        for epoch in range(3):
            callback.on_epoch_begin(epoch)
            for batch in (1, 3, 4):  # two steps at a time
                callback.on_train_batch_end(batch, {"loss": 0.5})
        found.append(saved)
    assert found[0] == found[1] and found[0]


def test_checkpoints_that_can_not_be_made(tmp_path):
    make = ours.callbacks.ModelCheckpoint
    with pytest.raises(ArgumentError, match=r"must end in `.keras`.*pass `save_weights_only=True`"):
        make("m.weights.h5")
    with pytest.raises(ArgumentError, match=r"must end in `.weights.h5`"):
        make("m.keras", save_weights_only=True)
    with pytest.raises(ArgumentError, match="Unrecognized save_freq: batch"):
        make("m.keras", save_freq="batch")
    with pytest.raises(KeyError, match=r"val_los.* is none of epoch, loss, val_loss.*Did you mean `val_loss`"):
        fit(ours, [make(str(tmp_path / "{val_los}.keras"))], validation_data=(X, Y))
    (tmp_path / "folder.keras").mkdir()
    with pytest.raises(IsADirectoryError, match="existing directory"):
        fit(ours, [make(tmp_path / "folder.keras")])
    with pytest.warns(UserWarning, match="Can save best model only with val_loss available.*Did you mean `loss`"):
        fit(ours, [make(tmp_path / "best.keras", save_best_only=True)], epochs=1)
    assert (tmp_path / "best.keras").exists()


KILLED = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from killed_training import train
train({kind!r}, Path({folder!r}), {at!r})
"""


def killed(kind, folder, at):
    """Train in a process that kills itself at a point of a save of the second epoch."""
    code = KILLED.format(tests=str(Path(__file__).parents[1]), kind=kind, folder=str(folder), at=at)
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=folder.parent, capture_output=True, text=True
    )
    assert run.returncode == -9, run.stderr


def test_a_kill_in_the_middle_of_a_write_leaves_the_checkpoint_before(tmp_path):
    killed("checkpoint", tmp_path, "write")
    model = ours.models.load_model(tmp_path / "m.keras")
    with np.load(tmp_path / "first.npz") as first:
        assert weights_equal(model, [first[name] for name in first.files])


def uninterrupted(epochs=4):
    return fit(ours, None, epochs=epochs)[0].get_weights()


def test_a_kill_between_the_two_files_of_a_backup_is_mended(tmp_path):
    killed("backup", tmp_path / "backup", 3)
    assert (tmp_path / "backup" / "next_training_metadata.json").exists()
    model, history = fit(ours, [ours.callbacks.BackupAndRestore(tmp_path / "backup")])
    assert len(history["loss"]) == 2 and weights_equal(model, uninterrupted())
    assert not (tmp_path / "backup").exists()


class Stopped(BaseException):
    """What stands for a kill."""


@pytest.mark.parametrize("at", range(1, 5))
def test_wherever_a_backup_is_interrupted_training_goes_on_from_a_whole_one(at, tmp_path, monkeypatch):
    replace, calls = os.replace, []

    def stopping(*args):
        calls.append(args)
        if len(calls) == 4 + at:  # in the second epoch's save
            raise Stopped
        replace(*args)

    monkeypatch.setattr(os, "replace", stopping)
    with pytest.raises(Stopped):
        fit(ours, [ours.callbacks.BackupAndRestore(tmp_path)])
    monkeypatch.undo()
    model, history = fit(ours, [ours.callbacks.BackupAndRestore(tmp_path, delete_checkpoint=False)])
    assert len(history["loss"]) in (2, 3) and weights_equal(model, uninterrupted())
    assert sorted(p.name for p in tmp_path.glob("[!.]*")) == ["latest.weights.h5", "training_metadata.json"]


def test_backup_restores_what_keras_restores(tmp_path):
    lengths = []
    for module in (ours, keras):
        folder = tmp_path / module.__name__

        def stop(epoch, logs):
            if epoch == 2:
                raise RuntimeError("stop")

        stopping = module.callbacks.LambdaCallback(on_epoch_begin=stop)
        with pytest.raises(RuntimeError, match="stop"):
            fit(module, [module.callbacks.BackupAndRestore(folder), stopping])
        assert sorted(os.listdir(folder)) == ["latest.weights.h5", "training_metadata.json"]
        assert json.loads((folder / "training_metadata.json").read_text()) == {"epoch": 2, "batch": 0}
        _, history = fit(module, [module.callbacks.BackupAndRestore(folder)])
        lengths.append(len(history["loss"]))
        assert not folder.exists()
    assert lengths == [2, 2]


def test_a_damaged_backup_gives_way_to_the_one_before(tmp_path):
    make = lambda: ours.callbacks.BackupAndRestore(tmp_path, double_checkpoint=True, delete_checkpoint=False)  # noqa: E731
    fit(ours, [make()], epochs=2)
    (tmp_path / "latest.weights.h5").write_bytes(b"damaged")
    model, history = fit(ours, [make()])
    assert len(history["loss"]) == 3 and weights_equal(model, uninterrupted())
    fit(ours, [make()])
    for path in tmp_path.glob("*.bkp"):
        path.unlink()
    (tmp_path / "latest.weights.h5").write_bytes(b"damaged")
    with pytest.raises(FileFormatError, match="not an HDF5 file"):
        fit(ours, [make()])


def test_backups_of_batches_and_of_an_unbuilt_model(tmp_path):
    fit(ours, [ours.callbacks.BackupAndRestore(tmp_path / "b", save_freq=2, delete_checkpoint=False)])
    found = json.loads((tmp_path / "b" / "training_metadata.json").read_text())
    assert found == {"epoch": 3, "batch": 2}
    (tmp_path / "b" / "training_metadata.json").write_text("[]")
    with pytest.raises(FileFormatError, match="should hold the number of an epoch"):
        fit(ours, [ours.callbacks.BackupAndRestore(tmp_path / "b")])
    for kwargs in ({"backup_dir": ""}, {"backup_dir": "b", "save_freq": "batch"}):
        with pytest.raises(ArgumentError, match=r"backup_dir|save_freq"):
            ours.callbacks.BackupAndRestore(**kwargs)


# A server


@pytest.mark.parametrize("as_json", [False, True])
def test_remote_monitor(as_json, monkeypatch):
    sent = []
    monkeypatch.setattr(urllib.request, "urlopen", lambda request, timeout: sent.append(request) or io.BytesIO())
    callback = ours.callbacks.RemoteMonitor("http://host:1", "/p/", "field", {"X-Key": "1"}, as_json)
    callback.on_epoch_end(3, {"loss": 0.5, "rows": np.arange(2)})
    (request,) = sent
    expected = {"epoch": 3, "loss": 0.5, "rows": [0, 1]}
    body = request.data.decode()
    assert json.loads(body if as_json else urllib.parse.parse_qs(body)["field"][0]) == expected
    assert request.full_url == "http://host:1/p/" and request.get_method() == "POST"
    assert request.headers["X-key"] == "1" and ("json" in request.headers["Content-type"]) == as_json


def test_a_server_that_is_not_there_is_a_warning(monkeypatch):
    def unreachable(request, timeout):
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    with pytest.warns(UserWarning, match="Could not reach RemoteMonitor root server at http://localhost:9000"):
        ours.callbacks.RemoteMonitor().on_epoch_end(0, {})
    with pytest.raises(ArgumentError, match="address of a server"):
        ours.callbacks.RemoteMonitor("file:///etc")


# TensorBoard


def events_of(folder):
    """All values of a run: tag to a list of (step, value or tensor, plugin)."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.util import tensor_util

    found = {}
    for path in sorted(Path(folder).glob("events.out.tfevents.*")):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                array = tensor_util.make_ndarray(value.tensor)
                found.setdefault(value.tag, []).append((event.step, array, value.metadata.plugin_data.plugin_name))
    return found


def test_tensorboard_writes_event_files(tmp_path):
    pytest.importorskip("tensorboard")
    callback = ours.callbacks.TensorBoard(
        tmp_path, histogram_freq=1, write_images=True, write_steps_per_second=True, update_freq=2
    )
    model, history = fit(ours, [callback], epochs=2, validation_data=(X, Y))
    train, validation = events_of(tmp_path / "train"), events_of(tmp_path / "validation")
    assert [(step, float(v), plugin) for step, v, plugin in train["epoch_loss"]] == [
        (i, pytest.approx(loss), "scalars") for i, loss in enumerate(history["loss"])
    ]
    assert [float(v) for _, v, _ in validation["epoch_loss"]] == pytest.approx(history["val_loss"])
    assert [step for step, _, _ in train["batch_loss"]] == [2, 4, 6]
    assert [step for step, _, _ in validation["evaluation_loss_vs_iterations"]] == [3, 6]
    assert {"epoch_learning_rate", "epoch_steps_per_second", "batch_steps_per_second"} <= train.keys()
    config = json.loads(train["keras"][0][1].item())
    assert config == json.loads(model.to_json()) and train["keras"][0][2] == "graph_keras_model"
    path = model.weights[0].path
    buckets = train[f"{path}/histogram"][-1][1]
    kernel = model.get_weights()[0]
    assert buckets[:, 2].sum() == kernel.size and train[f"{path}/histogram"][-1][2] == "histograms"
    assert buckets[0, 0] == pytest.approx(kernel.min()) and buckets[-1, 1] == pytest.approx(kernel.max())
    width, height, picture = train[f"{path}/image"][-1][1][:3]
    assert (int(width), int(height)) == (1, 3) and picture.startswith(b"\x89PNG")


def test_tensorboard_of_the_epoch_only_writes_nothing_for_batches(tmp_path):
    pytest.importorskip("tensorboard")
    callback = ours.callbacks.TensorBoard(tmp_path, write_graph=False)
    model, _ = fit(ours, [callback], epochs=1)
    assert events_of(tmp_path / "train").keys() == {"epoch_loss", "epoch_learning_rate"}
    model.evaluate(X, Y, callbacks=[callback], verbose=0)
    assert "evaluation_loss_vs_iterations" in events_of(tmp_path / "validation")


def test_tensorboard_shows_embeddings(tmp_path):
    pytest.importorskip("tensorboard")
    model = ours.Sequential([ours.layers.Input((2,), dtype="int32"), ours.layers.Embedding(4, 3, name="words")])
    model.compile("sgd", "mse")
    make = lambda metadata: ours.callbacks.TensorBoard(tmp_path, embeddings_freq=1, embeddings_metadata=metadata)  # noqa: E731
    x, y = np.zeros((4, 2), "int32"), np.zeros((4, 2, 3))
    for metadata in ({"words": "labels.tsv"}, "labels.tsv"):
        model.fit(x, y, verbose=0, callbacks=[make(metadata)])
        text = (tmp_path / "projector_config.pbtxt").read_text()
        assert re.findall(r'(\w+): "(.*)"', text) == [
            ("tensor_name", "words"),
            ("tensor_path", "words_embedding.tsv"),
            ("metadata_path", "labels.tsv"),
        ]
    rows = np.loadtxt(tmp_path / "words_embedding.tsv", delimiter="\t")
    np.testing.assert_allclose(rows, model.get_weights()[0], rtol=1e-6)
    with pytest.raises(ArgumentError, match=r"'word'. The model has 'words'. Did you mean `words`"):
        model.fit(x, y, verbose=0, callbacks=[make({"word": "labels.tsv"})])


def test_tensorboard_profiles_a_batch(tmp_path):
    pytest.importorskip("tensorboard")
    fit(ours, [ours.callbacks.TensorBoard(tmp_path, write_graph=False, profile_batch="2,3")], epochs=2)
    (trace,) = (tmp_path / "train").glob("plugins/profile/*/*.xplane.pb")
    assert trace.stat().st_size > 0


def test_a_png_holds_its_pixels():
    from lamina.frontend.callbacks.event_file import png

    pixels = np.arange(24, dtype="uint8").reshape(2, 4, 3)
    data = png(pixels)
    assert data[:8] == b"\x89PNG\r\n\x1a\n" and data[16:24] == (4).to_bytes(4, "big") + (2).to_bytes(4, "big")
    import zlib

    start = data.index(b"IDAT")
    rows = zlib.decompress(data[start + 4 : start + 4 + int.from_bytes(data[start - 4 : start], "big")])
    assert np.array_equal(np.frombuffer(rows, "uint8").reshape(2, 13)[:, 1:].reshape(2, 4, 3), pixels)


@pytest.mark.parametrize("batches", [-1, (3, 2), "1,2,3", None, "a"])
def test_batches_to_profile_that_are_none(batches):
    pytest.importorskip("tensorboard")
    with pytest.raises(ArgumentError, match="profile_batch must be a non-negative integer or 2-tuple"):
        ours.callbacks.TensorBoard(profile_batch=batches)


def test_packages_that_are_not_installed_are_named(monkeypatch, tmp_path):
    from lamina.frontend.callbacks import event_file

    event_file._tensorboard.cache_clear()
    for name in [n for n in sys.modules if n.split(".")[0] in ("tensorboard", "orbax")]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("tensorboard", "orbax"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UnsupportedError, match="pip install tensorboard"):
        ours.callbacks.TensorBoard(tmp_path)
    with pytest.raises(UnsupportedError, match="pip install orbax-checkpoint"):
        ours.callbacks.OrbaxCheckpoint(tmp_path)


# Orbax


@pytest.mark.parametrize("background", [True, False])
def test_orbax_checkpoint(background, tmp_path):
    pytest.importorskip("orbax.checkpoint")
    callback = ours.callbacks.OrbaxCheckpoint(tmp_path / "c", max_to_keep=2, save_on_background=background)
    model, _ = fit(ours, [callback], epochs=3)
    assert sorted(os.listdir(tmp_path / "c")) == ["1", "2"]
    other = model_of(ours)
    other.optimizer.build(other.trainable_variables)
    reader = ours.callbacks.OrbaxCheckpoint(tmp_path / "c")
    reader.set_model(other)
    reader.restore()
    assert weights_equal(other, model.get_weights())
    for mine, saved in zip(other.optimizer.variables, model.optimizer.variables, strict=True):
        assert np.array_equal(mine.numpy(), saved.numpy())
    with pytest.raises(ArgumentError, match=r"has no checkpoint 7; it has"):
        reader.restore(7)
    reader.on_train_end()
