"""Devices are found by name, and an absent one is an error that lists those present."""

import jax
import pytest

from lamina.ir.errors import DeviceError
from lamina.runtime.devices import Memory, device_name, devices, find_device, list_devices, memory_of


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


def test_devices_are_listed_with_their_names_and_one_default():
    found = devices()
    assert [d.name for d in found] == [device_name(d) for d in list_devices()]
    assert [find_device(d.name) for d in found if d.default] == [find_device()]


def test_a_cpu_counts_no_memory():
    assert memory_of(find_device("cpu")) is None


@pytest.mark.parametrize(
    ("stats", "memory", "text"),
    [
        (
            {"bytes_in_use": 2**30, "peak_bytes_in_use": 3 * 2**29, "bytes_limit": 2**34, "num_allocs": 7},
            Memory(2**30, 3 * 2**29, 2**34),
            "1.00 GiB in use, 1.50 GiB at most, 16.00 GiB in all",
        ),
        ({"bytes_in_use": 0}, Memory(0, None, None), "0.00 GiB in use"),
    ],
)
def test_memory_is_what_the_platform_tells(stats, memory, text):
    class Device:
        def memory_stats(self):
            return stats

    assert memory_of(Device()) == memory
    assert str(memory_of(Device())) == text
