"""keras.device, and where models, inputs and results are: on a CPU that counts as four devices."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "on_devices.py"


@pytest.fixture(scope="module")
def seen():
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4".strip()
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags, "LAMINA_CACHE": "0"}
    done = subprocess.run([sys.executable, SCRIPT], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_block_says_where_ops_run_and_ends_with_its_error(seen):
    assert seen["scopes"] == {
        "outside": [0],
        "inside": [1],
        "nested": [2],
        "thread": [0],
        "after": [1],
        "by jax.Device": [3],
        "after an error": [0],
    }


def test_a_model_trains_and_predicts_where_it_was_made(seen):
    assert seen["training"] == {
        "variables": [1],
        "losses equal": True,
        "after fit": [1],
        "predictions equal": True,
        "called": [1],
        "after set_weights": [1],
        "metrics": [1],
    }


def test_a_program_runs_where_its_variables_are_or_where_it_was_told_to(seen):
    found = seen["compiled"]
    assert found["by variables"] == [1, 1]
    assert found["by scope"] == [2, 2]
    assert found["by device"] == [3, 3]
    assert found["jit outside"] == [0]


def test_inputs_are_brought_to_the_program_and_only_if_they_are_elsewhere(seen):
    found = seen["compiled"]
    assert found["input elsewhere"] == [1]
    assert found["equal there"]
    assert found["predict elsewhere"] == [8, 1]
    assert found["input there already"] == [1]


def test_variables_are_brought_to_a_program_once(seen):
    assert seen["compiled"]["parameters brought"] == [3]
    assert seen["compiled"]["parameters brought once"]


def test_an_absent_device_is_an_error_that_lists_those_present(seen):
    assert seen["errors"]["absent"].startswith("DeviceError: there is no device 'gpu:5'; present: cpu:0 ")
    assert "cpu:3" in seen["errors"]["absent"]
    assert seen["errors"]["no name"].startswith("ArgumentError: expected a name such as 'gpu:0'")
    assert "Received: device_name=123" in seen["errors"]["no name"]


@pytest.mark.parametrize("case", ["model", "fit"])
def test_a_model_on_two_devices_is_an_error_that_names_its_weights(seen, case):
    message = seen["errors"][case]
    assert message.startswith("DeviceError: a program runs on one device, and its arrays are on 2: cpu:1 has ")
    assert "first/kernel" in message and "; cpu:2 has " in message and "second/kernel" in message
    assert "keras.device" in message


@pytest.mark.parametrize("case", ["ops", "inputs"])
def test_arrays_on_two_devices_are_an_error(seen, case):
    assert seen["errors"][case].startswith("DeviceError: a program runs on one device")


def test_an_eager_call_of_layers_on_two_devices_says_so(seen):
    assert seen["errors"]["call"].startswith("DeviceError: a program runs on one device")


def test_a_variable_keeps_its_device(seen):
    assert seen["errors"]["Variable keeps its device"] == [[1], [1], [1]]
