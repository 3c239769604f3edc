"""Two processes on this machine: they train as one does, and end with an error that says why where they can't."""

import time

import numpy as np
import pytest
from click.testing import CliRunner
from process_programs import equal
from process_running import run

from lamina import keras
from lamina.cli import main
from lamina.frontend.training.shares import first_writes
from lamina.ir.errors import ArgumentError
from lamina.runtime import files

#: Two processes add up gradients in another order than one: some units in the last place, over the steps of a run.
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


def interleaved(parts, batch=8):
    """Rows that two processes have for their shares, in the order of the whole batches."""
    halves = [np.reshape(part, (-1, batch, np.shape(part)[-1])) for part in parts]
    return np.concatenate(np.concatenate(halves, axis=1))


def check_equal(kind, whole):
    found = [each.found for each in run("equal", kind=kind)]
    for each in found:
        for name in ("loss", "mae", "val_loss", "val_mae"):
            np.testing.assert_allclose(each["history"][name], whole["history"][name], **CLOSE)
        np.testing.assert_allclose(each["evaluated"], whole["evaluated"], **CLOSE)
        np.testing.assert_allclose(each["one"], whole["one"], **CLOSE)
        for mine, expected in zip(each["weights"], whole["weights"], strict=True):
            np.testing.assert_allclose(mine, expected, **CLOSE)
        assert each["history"] == found[0]["history"]
        assert each["weights"] == found[0]["weights"]
    for name in ("predicted", "batch"):
        parts = [each[name] for each in found]
        both = parts[0] if kind == "model" else interleaved(parts)
        np.testing.assert_allclose(both, whole[name], **CLOSE)


def test_data_parallel_in_two_processes_equals_one_device():
    check_equal("data", equal("none"))


@pytest.mark.long
@pytest.mark.parametrize("kind", ["model", "both"])
def test_model_parallel_in_two_processes_equals_one(kind):
    check_equal(kind, run("equal", processes=1, devices=4, kind=kind)[0].found)


@pytest.mark.long
def test_several_steps_of_a_generator_in_two_processes_equal_one():
    whole = run("several_steps", processes=1, devices=4, kind="data")[0].found["predicted"]
    parts = [each.found["predicted"] for each in run("several_steps", kind="data")]
    np.testing.assert_allclose(interleaved(parts), whole, **CLOSE)


@pytest.mark.long
def test_each_process_takes_its_share_of_a_tensorflow_dataset():
    whole = run("dataset", processes=1, devices=4)[0].found["history"]
    for each in run("dataset"):
        np.testing.assert_allclose(each.found["history"]["loss"], whole["loss"], **CLOSE)


@pytest.mark.long
def test_processes_without_a_seed_start_from_the_same_weights():
    kernels = [[each.found["kernel"] for each in run("seeds")] for _ in range(2)]
    assert kernels[0][0] == kernels[0][1]
    assert kernels[0][0] != kernels[1][0]


# What goes wrong

BOTH = {
    "program": "the processes differ in the number of nodes of layer",
    "uneven": "step 6 of train_step: the processes differ in the number of batches: process 0: 1; process 1: 0",
    "shape": "the processes differ in the arrays of a batch: process 0: ['float32[8, 6]', 'float32[8, 4]']; process 1: "
    "['float32[8, 12]', 'float32[8, 4]']",
    "source": "OSError: the disk is gone",
    "method": "process 0: step 0 of train_step; process 1: step 0 of test_step",
    "rest": "an array of shape (3, 6), can't be split evenly over its 2 devices along 'batch'",
}


@pytest.mark.long
@pytest.mark.parametrize("kind", BOTH)
def test_processes_that_differ_all_say_how(kind):
    for each in run("trouble", kind=kind, who=1):
        assert each.status == 1
        assert BOTH[kind] in each.err.splitlines()[-1] or BOTH[kind] in each.err


@pytest.mark.long
@pytest.mark.parametrize("who", [0, 1])
def test_a_process_that_is_killed_ends_the_other_with_its_name(who):
    begin = time.monotonic()
    ended = run("trouble", kind="die", who=who)
    assert time.monotonic() - begin < 60
    assert ended[who].status == -9
    assert ended[1 - who].status == 1
    assert f"process {who} of 2 (host " in ended[1 - who].err
    assert f"is gone, so process {1 - who} of 2" in ended[1 - who].err


@pytest.mark.long
@pytest.mark.parametrize("who", [0, 1])
def test_a_process_that_is_busy_elsewhere_ends_too(who):
    ended = run("trouble", kind="busy", who=who)
    assert ended[1 - who].status == 1
    assert f"process {who} of 2 (host " in ended[1 - who].err
    if who == 1:
        assert "did not end by itself" in ended[0].err
        assert "time.sleep(120)" in ended[0].err


@pytest.mark.long
@pytest.mark.parametrize("who", [0, 1])
def test_an_error_in_one_process_is_told_to_the_other(who):
    ended = run("trouble", kind="fail", who=who)
    assert [each.status for each in ended] == [1, 1]
    assert f"process {who} of 2" in ended[1 - who].err
    assert "has ended with ValueError: bad luck" in ended[1 - who].err


@pytest.mark.long
def test_a_process_that_stops_alone_ends_the_other():
    ended = run("trouble", kind="stop", who=1)
    assert ended[0].status == 1
    assert "has ended, while process 0 of 2" in ended[0].err


REFUSED = {
    "late": "jax has started its devices already",
    "twice": "this process has joined the others already",
    "count": "num_processes is 2 in process 0 and 3 in process 1; start all with the same number",
    "seeds": "set_random_seed was called with different seeds before initialize(): [0, 1]",
    "absent": "the 3 processes did not all join through 127.0.0.1:",
    "nobody": "nobody answers there. Is process 0 running",
}


@pytest.mark.long
@pytest.mark.parametrize("kind", REFUSED)
def test_processes_that_do_not_fit_are_refused(kind):
    ended = run("joining", kind=kind)
    for each in ended:
        assert each.status == 1
    assert any(REFUSED[kind] in each.err for each in ended)


def test_arguments_of_initialize_are_checked(monkeypatch):
    with pytest.raises(ArgumentError, match="job_addresses names 2 processes, a:1,b:2, and num_processes is 3"):
        keras.distribution.initialize("a:1,b:2", 3, 0)
    with pytest.raises(ArgumentError, match=r"job_addresses are host:port.*received 'a'"):
        keras.distribution.initialize("a", 2, 0)
    with pytest.raises(ArgumentError, match="process_id is from 0 to num_processes - 1, 1; received 2"):
        keras.distribution.initialize("localhost:1", 2, 2)
    monkeypatch.setenv("KERAS_DISTRIBUTION_NUM_PROCESSES", "two")
    with pytest.raises(ArgumentError, match="KERAS_DISTRIBUTION_NUM_PROCESSES is a whole number, received 'two'"):
        keras.distribution.initialize("a:1")


# Going on


@pytest.mark.long
@pytest.mark.parametrize(("kind", "who"), [("data", 1), ("model", 0)])
def test_training_goes_on_after_a_kill(tmp_path, kind, who):
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    whole = [each.found for each in run("backup", kind=kind, folder=tmp_path / "whole")]
    killed = run("backup", kind=kind, folder=tmp_path / "killed", who=who, at=10)  # in the third epoch of four steps
    assert killed[who].status == -9
    assert killed[1 - who].status == 1
    again = [each.found for each in run("backup", kind=kind, folder=tmp_path / "killed")]
    for each, expected in zip(again, whole, strict=True):
        assert each["epochs"] == [2, 3]
        assert each["weights"] == expected["weights"]
    rows = [(tmp_path / name / "log.csv").read_text().splitlines() for name in ("whole", "killed")]
    assert len(rows[0]) == 5
    assert rows[0] == rows[1]
    loaded = keras.models.load_model(tmp_path / "killed" / "epoch4.keras")
    for mine, expected in zip(loaded.get_weights(), whole[0]["weights"], strict=True):
        np.testing.assert_array_equal(mine, np.float32(expected))
    left = sorted(path.name for path in (tmp_path / "killed").iterdir())
    assert left == ["epoch1.keras", "epoch2.keras", "epoch3.keras", "epoch4.keras", "log.csv"]


@pytest.mark.long
def test_a_backup_of_another_model_is_refused_by_all(tmp_path):
    for each in run("other_model", folder=tmp_path / "backup"):
        assert each.status == 1
        assert "do not fit model 'small', which is left as it was" in each.err
        assert "dense_a" in each.err


def test_one_process_writes_its_files(tmp_path):
    with first_writes("a file") as writes:
        files.write_beside(tmp_path / "a", lambda file: file.write(b"a"))
    with files.discarding():
        files.write_beside(tmp_path / "b", lambda file: file.write(b"b"))
    assert writes
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


# The command


@pytest.mark.long
def test_launch_gives_the_status_of_the_process_that_fails(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys, time\n"
        "index = int(os.environ['KERAS_DISTRIBUTION_PROCESS_ID'])\n"
        "print('here', sys.argv[1], os.environ['JAX_LOCAL_DEVICE_IDS'])\n"
        "sys.exit(7) if index == 1 else time.sleep(60)\n"
    )
    begin = time.monotonic()
    result = CliRunner().invoke(main, ["launch", "--processes", "2", "--devices", "2", str(script), "--an-option"])
    assert time.monotonic() - begin < 30
    assert result.exit_code == 7
    assert "[0] here --an-option 0,1\n" in result.output
    assert "[1] here --an-option 2,3\n" in result.output
    assert "process 1 of 2 failed with status 7; the others are ended" in result.output
