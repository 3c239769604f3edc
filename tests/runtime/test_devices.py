"""Devices are found by name, and an absent one is an error that lists those present."""

import jax
import pytest

from lamina.ir.errors import DeviceError
from lamina.runtime.devices import device_name, find_device, list_devices


def test_the_cpu_is_always_listed():
    assert "cpu" in {d.platform for d in list_devices()}
    assert len(set(list_devices())) == len(list_devices())


def test_every_device_is_found_by_its_own_name():
    for device in list_devices():
        assert find_device(device_name(device)) is device
        assert find_device(device) is device


def test_a_platform_alone_is_its_first_device_and_case_does_not_matter():
    assert find_device("cpu") is find_device("cpu:0") is find_device("CPU")


def test_no_name_is_the_default_device():
    assert find_device(None) == next(iter(jax.numpy.zeros(1).devices()))


@pytest.mark.parametrize("name", ["tpu:93", "cpu:93", "abacus", "cpu:x", "cpu:-1", ""])
def test_an_absent_device_is_an_error_that_lists_those_present(name):
    with pytest.raises(DeviceError, match="cpu:0") as caught:
        find_device(name)
    assert repr(name) in str(caught.value)
