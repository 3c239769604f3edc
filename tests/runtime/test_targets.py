"""Names of chips that are not there, the files that say what a chip is, and the time that is estimated from these."""

import re

import pytest

from lamina.ir.errors import ArgumentError, FileFormatError
from lamina.runtime import targets
from lamina.runtime.hlo import Collective
from lamina.runtime.roofline import roofline
from lamina.runtime.targets import chips, is_target, parse_target, read_chip

EIGHT = (tuple(range(8)),)


@pytest.mark.parametrize(
    ("name", "chip", "count", "topology"),
    [
        ("gpu:h100", "h100", 1, "1x1x1"),
        ("gpu:h100x8", "h100", 8, "1x1x8"),
        ("GPU:A100x2", "a100", 2, "1x1x2"),
        ("gpu:h200x16", "h200", 16, "1x2x8"),
        ("tpu:v5e", "v5e", 1, "v5e:1x1"),
        ("tpu:v5e-2x2", "v5e", 4, "v5e:2x2"),
        ("tpu:v4-2x2x1", "v4", 4, "v4:2x2x1"),
        ("tpu:v6e-4x4", "v6e", 16, "v6e:4x4"),
    ],
)
def test_a_name_says_chips_and_their_topology(name, chip, count, topology):
    target = parse_target(name)
    assert (target.chip.name, target.count, target.name) == (chip, count, name.lower())
    asked = target.topology
    assert topology in (asked.get("topology"), asked["topology_name"])
    assert asked["platform"] == {"gpu": "cuda", "tpu": "tpu"}[target.platform]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("h100", "names no target; expected one such as 'gpu:h100'"),
        ("gpu:", "names no target"),
        ("gpu:h100x", "no such chip is known"),
        ("gpu:h900", r"no such chip is known; did you mean gpu:h\d00\? Known: gpu:a100"),
        ("tpu:h100", "did you mean gpu:h100"),
        ("gpu:h100x0", "from 1 to 8, or a multiple of 8"),
        ("gpu:h100x12", "from 1 to 8, or a multiple of 8"),
        ("gpu:h100-2x2", "written gpu:h100x4"),
        ("tpu:v5e-3x3", "topologies 1x1, 2x2, 2x4"),
        ("tpu:v4", "topologies 2x2x1"),
        ("tpu:v5ex4", "topologies 1x1"),
        (None, "names no target"),
    ],
)
def test_other_names_are_refused_with_what_is_known(name, message):
    with pytest.raises(ArgumentError, match=message):
        parse_target(name)


def test_platforms_and_nothing_are_no_chips():
    assert [is_target(name) for name in ("gpu", "cpu", "torch", None, "gpu:h100")] == [False] * 4 + [True]


def test_every_file_is_of_the_chip_it_is_named_after_and_says_where_its_figures_are_from():
    paths = sorted(targets._FOLDER.glob("*.toml"))
    assert {p.stem for p in paths} == set(chips()) >= {"a100", "h100", "h200", "l4", "v4", "v5e", "v5p", "v6e"}
    for path in paths:
        chip = chips()[path.stem]
        assert re.match(r"# .*\n# Figures", path.read_text(encoding="utf-8")), path.name
        assert chip.memory > 1e9 and chip.bandwidth > 1e11 and chip.flops["bfloat16"] > 1e13
        if chip.platform == "gpu":
            assert chip.description.split(",")[0].split()[1] in chip.xla["target_config"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("memory = ", "memory = 'much' #"), "memory"),
        (("platform =", "plattform ="), "plattform"),
        (("per_host", "hosts"), "topology"),
        (("target_config = ", "config = "), "xla"),
        (("name =", "name"), "other.toml"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path, change, problem):
    path = tmp_path / "other.toml"
    path.write_text((targets._FOLDER / "l4.toml").read_text(encoding="utf-8").replace(*change, 1), encoding="utf-8")
    with pytest.raises(FileFormatError, match=problem):
        read_chip(path)


def test_the_estimate_takes_the_longer_of_computing_and_moving_and_adds_sending():
    target = parse_target("gpu:h100x8")
    chip = target.chip
    exchanged = [Collective("all-reduce", 1, 8000, EIGHT), Collective("all-gather", 2, 800, EIGHT, times=10)]
    found = roofline(target, {("bfloat16", "default"): 1e12, ("float32", "highest"): 2e10}, 1e9, 1e6, exchanged)
    assert found.compute == pytest.approx(1e12 / chip.flops["bfloat16"] + 2.1e10 / chip.flops["float32"])
    assert found.memory == pytest.approx(1e6 / chip.bandwidth)
    assert found.communication == pytest.approx((8000 * 2 * 7 / 8 + 10 * 800 * 7 / 8) / chip.interconnect)
    assert found.seconds == pytest.approx(found.compute + found.communication)
    assert (found.bound, found.notes) == ("compute", ())
    assert str(found).startswith("estimated 1.3")


@pytest.mark.parametrize(
    ("target", "precision", "unit", "passes"),
    [
        ("gpu:h100", "highest", "float32", 1),
        ("gpu:h100", "high", "tf32", 3),
        ("gpu:h100", "default", "tf32", 1),
        ("tpu:v5e", "highest", "bfloat16", 6),
        ("tpu:v5e", "default", "bfloat16", 1),
    ],
)
def test_float32_is_multiplied_as_its_precision_says(target, precision, unit, passes):
    target = parse_target(target)
    found = roofline(target, {("float32", precision): 1e12}, 0, 0, [])
    assert found.compute == pytest.approx(passes * 1e12 / target.chip.flops[unit])
    assert bool(found.notes) == (unit != "float32")


def test_what_is_not_known_is_said():
    exchanged = [Collective("all-reduce", 1, 8000, EIGHT)]
    v4 = roofline(parse_target("tpu:v4-2x2x1"), {("bfloat16", "default"): 1e9}, 0, 1e6, exchanged)
    assert v4.communication is None and v4.seconds is None and v4.compute > 0
    assert v4.notes == ("the bandwidth between chips of v4 is not known",)
    assert "estimated not known" in str(v4)
    many = roofline(parse_target("gpu:h100x16"), {}, 0, 1e6, exchanged)
    assert many.notes == ("the bandwidth between machines is not known",)
    wide = roofline(parse_target("tpu:v5e"), {("float64", "highest"): 1e9}, 0, 1e6, [])
    assert wide.compute is None and wide.notes == ("the peak for float64 of v5e is not known",)
