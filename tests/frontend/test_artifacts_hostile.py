"""`.lamina` files that are damaged are refused by their checksum; those that somebody changed on purpose, checksum and
all, do no harm: no code of theirs runs, nothing is written, no more memory is taken than the file has bytes."""

import hashlib
import io
import json
import pickle
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from disk_caching import cache, compilations
from hypothesis import given
from hypothesis import strategies as st

import lamina
from lamina import Spec, keras
from lamina.ir.errors import FileFormatError
from lamina.runtime import artifact
from lamina.runtime.safetensors import decode, encode

__all__ = ["cache", "compilations"]  # fixtures


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """The bytes of a small file with a weight, a constant and state."""
    count = keras.Variable([1.0, 2.0], name="count")

    def step(x):
        count.assign(count + 1.0)
        return x * count + np.linspace(0, 1, 100, dtype=np.float32)[:2], np.arange(100, dtype=np.float32)

    path = tmp_path_factory.mktemp("good") / "good.lamina"
    lamina.compile(step, Spec((2,), name="x")).save(path)
    return path.read_bytes()


def load(folder, data):
    path = folder / "changed.lamina"
    path.write_bytes(data)
    return lamina.load(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("hostile")


def test_the_sample_is_good(good, folder):
    y, _ = load(folder, good)(np.float32([1, 1]))
    np.testing.assert_allclose(y, [2, 3], atol=0.02)


@given(st.data())
def test_every_change_of_a_byte_is_refused(good, folder, data):
    at = data.draw(st.integers(0, len(good) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda b: b != good[at]))
    with pytest.raises(FileFormatError, match=r"checksum does not fit|no zip archive"):
        load(folder, good[:at] + bytes([byte]) + good[at + 1 :])


@given(st.data())
def test_every_truncation_and_addition_is_refused(good, folder, data):
    end = data.draw(st.integers(1, len(good) - 1))
    for changed in (b"", good[:end], good[end:], good + data.draw(st.binary(min_size=1))):
        with pytest.raises(FileFormatError, match=r"checksum does not fit|no zip archive|is empty"):
            load(folder, changed)


def test_every_bit_of_the_file_counts(good):
    """All of them, one after the other, by the check itself."""
    for at in range(len(good)):
        for bit in range(8):
            changed = bytearray(good)
            changed[at] ^= 1 << bit
            with pytest.raises(FileFormatError):
                artifact._check_whole(bytes(changed), "file")


def test_a_part_exchanged_with_another_good_file_is_refused(good, folder):
    half = len(good) // 2
    other = resealed(good, **{"graph.0.txt": lambda text: text.replace(b"multiply", b"subtract")})
    with pytest.raises(FileFormatError, match="checksum"):
        load(folder, good[:half] + other[half:])


# Changed on purpose, with a checksum that fits


def members_of(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def sealed(members, infos=None, compression=zipfile.ZIP_STORED):
    """A file of these members, a list of pairs, with the checksum over all."""
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w", compression) as archive:
        for name, data in members:
            archive.writestr(name, data)
        archive.comment = b"0" * 64
    return with_checksum(stored.getvalue())


def with_checksum(data):
    return data[:-64] + hashlib.sha256(data[:-64]).hexdigest().encode()


def resealed(data, manifest=lambda m: m, drop=(), **changes):
    """A good file whose members are changed by functions of their bytes; the manifest says what they are."""
    members = members_of(data)
    said = json.loads(members.pop("manifest.json"))
    for name in drop:
        del members[name]
    for name, change in changes.items():
        members[name] = change(members.get(name, b""))
    said["members"] = {
        name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()} for name, content in members.items()
    }
    said = manifest(said)
    return sealed([("manifest.json", json.dumps(said)), *members.items()])


def test_the_forger_can_forge(good, folder):
    text = {"graph.0.txt": lambda text: text.replace(b"multiply", b"subtract")}
    y, _ = load(folder, resealed(good, **text))(np.float32([1, 1]))
    np.testing.assert_allclose(y, [-1, -2], atol=0.02)


class Dangerous:
    def __reduce__(self):
        return (pytest.fail, ("code of the file ran",))


PICKLE = pickle.dumps(Dangerous())


def replaced(content):
    return lambda _: content


def set_to(**values):
    return lambda manifest: {**manifest, **values}


def edited(old, new):
    def change(text):
        assert old in text
        return text.replace(old, new)

    return change


def calling(target):
    """The graph, with a custom call in it."""
    call = f'%9 = custom_call(%x) {{target="{target}"}} : f32[2]\n  return %9'.encode()
    return lambda text: (
        text[: text.rindex(b"return")]
        .replace(b") -> (f32[2], f32[100])", b") -> (f32[2])")
        .replace(b"outputs (0, 1)", b"outputs (0)")
        + call
        + b"\n}\n"
    )


WEIGHT = np.zeros((2,), np.float32)

CHANGED = {
    "a member of a name with a path": (dict(**{"../evil.txt": replaced(b"x")}), "a member '../evil.txt'"),
    "an absolute member": (dict(**{"/tmp/evil": replaced(b"x")}), "a member '/tmp/evil'"),
    "a member of code": (dict(**{"model.py": replaced(b"print(1)")}), "a member 'model.py'"),
    "a pickle for a graph": (dict(**{"graph.0.txt": replaced(PICKLE)}), "graph is not what this version"),
    "a pickle for weights": (dict(**{"weights.safetensors": replaced(PICKLE)}), "safetensors"),
    "a manifest that is a pickle": ({"manifest": lambda _: PICKLE.hex()}, "JSON object with members"),
    "a manifest without graphs": ({"manifest": set_to(graphs=[])}, "names no graphs"),
    "graphs of another kind": ({"manifest": set_to(graphs=[3])}, "a graph that is not there"),
    "a graph that is not there": ({"manifest": set_to(graphs=[{"text": "graph.9.txt"}])}, "a graph that is not there"),
    "weights of another kind": (
        {"manifest": set_to(graphs=[{"text": "graph.0.txt", "weights": [1], "trainable": [True]}])},
        "names other weights",
    ),
    "a newer format": ({"manifest": set_to(format=2, lamina="9.9")}, "format 2, written by lamina '9.9'"),
    "a pipeline that is none": ({"manifest": set_to(pipeline="import os")}, "can't be compiled"),
    "a pipeline of another kind": ({"manifest": set_to(pipeline=["O2"])}, "should have a pipeline"),
    "donated inputs that are none": ({"manifest": set_to(donate=["a"])}, "numbers of donated inputs"),
    "a target of another kind": ({"manifest": set_to(target=1)}, "target"),
    "specs that are none": ({"manifest": set_to(specs="__import__('os')")}, "graph is not what this version"),
    "specs of another kind": ({"manifest": set_to(specs=7)}, "graph is not what this version"),
    "no weights": ({"drop": ["weights.safetensors"]}, r"no weights\.safetensors"),
    "no constants": (dict(**{"constants.safetensors": replaced(encode({}))}), "graph is not what this version"),
    "other weights": (dict(**{"weights.safetensors": replaced(encode({"other": WEIGHT}))}), "no weight 'count'"),
    "a weight of another shape": (
        dict(**{"weights.safetensors": replaced(encode({"count": np.zeros(3, np.float32)}))}),
        r"count should be f32\[2\]",
    ),
    "a weight of another type": (
        dict(**{"weights.safetensors": replaced(encode({"count": np.zeros(2, np.int32)}))}),
        r"count should be f32\[2\], the file has int32",
    ),
    "a weight that says it is large": (
        dict(
            **{
                "weights.safetensors": replaced(
                    struct.pack("<Q", 66)
                    + b'{"count":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,8]}}'[:66]
                    + b"\0" * 8
                )
            }
        ),
        "safetensors",
    ),
    "a header that says it is large": (
        dict(**{"weights.safetensors": replaced(struct.pack("<Q", 1 << 60) + b"{}")}),
        "its header should have 1,152",
    ),
    "a constant that says it is large": (
        dict(
            **{
                "graph.0.txt": edited(
                    b"return", b"%8 = constant {value=f32[1000000000000] splat(0.0)} : f32[1000000000000]\n  return"
                )
            }
        ),
        "graph is not what this version",
    ),
    "a graph that is no tree of nodes": (
        dict(**{"graph.0.txt": edited(b"%x: f32", b"%y: f32")}),
        "graph is not what this version",
    ),
    "a graph that nests without end": (
        dict(**{"graph.0.txt": edited(b"inputs (0)", b"inputs " + b"(" * 100_000)}),
        "graph is not what this version",
    ),
    "a call of Python by its address": (
        dict(**{"graph.0.txt": calling("xla_ffi_python_cpu_callback")}),
        "calls 'xla_ffi_python_cpu_callback', which may be any code",
    ),
    "a call of anything": (dict(**{"graph.0.txt": calling("system")}), "calls 'system'"),
}


@pytest.mark.parametrize("name", CHANGED)
def test_what_was_changed_on_purpose_is_refused(name, good, tmp_path):
    change, said = CHANGED[name]
    with pytest.raises(FileFormatError, match=said):
        load(tmp_path, resealed(good, **change))
    assert [p.name for p in tmp_path.iterdir()] == ["changed.lamina"]


def test_members_that_the_manifest_does_not_know_are_refused(good, tmp_path):
    members = members_of(good)
    for changed in (
        [*members.items(), ("executables/" + "0" * 64, b"code")],
        [(n, d) for n, d in members.items() if n != "weights.safetensors"],
        [(n, d if n != "graph.0.txt" else d + b" ") for n, d in members.items()],
    ):
        with pytest.raises(FileFormatError, match=r"other members|is not what the manifest says"):
            load(tmp_path, sealed(changed))
    with pytest.raises(FileFormatError, match=r"no manifest\.json"):
        load(tmp_path, sealed([("graph.0.txt", b"")]))


def test_members_of_one_name_are_refused(good, tmp_path):
    members = [*members_of(good).items(), ("graph.0.txt", b"another")]
    with pytest.warns(UserWarning, match="Duplicate name"):
        data = sealed(members)
    with pytest.raises(FileFormatError, match="members twice"):
        load(tmp_path, data)


def test_a_compressed_bomb_is_refused_before_it_is_unpacked(good, tmp_path):
    members = [*members_of(good).items(), ("graph.1.txt", bytes(200 << 20))]
    data = sealed(members, compression=zipfile.ZIP_DEFLATED)
    assert len(data) < 1 << 20
    refused_in_little_memory(tmp_path, data, "is compressed")


def refused_in_little_memory(folder, data, said):
    tracemalloc.start()
    try:
        with pytest.raises(FileFormatError, match=said):
            load(folder, data)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_members_that_lie_over_one_another_are_refused(good, tmp_path):
    """Many names for the same bytes: the sizes add up to far more than the file has."""
    big = bytes(1 << 20)
    data = bytearray(
        sealed([*members_of(good).items(), *((f"graph.{i}.txt", b"") for i in range(1, 60)), ("graph.99.txt", big)])
    )
    start = data.index(b"PK\1\2")
    infos = zipfile.ZipFile(io.BytesIO(bytes(data))).infolist()
    target = infos[-1]
    at = start
    for info in infos:  # the directory's entries: crc, sizes and place become those of the large member
        name, extra = len(info.filename.encode()), 0
        if info.filename.startswith("graph.") and info.filename != "graph.0.txt":
            struct.pack_into("<III", data, at + 16, target.CRC, len(big), len(big))
            struct.pack_into("<I", data, at + 42, target.header_offset)
        at += 46 + name + extra
    refused_in_little_memory(tmp_path, with_checksum(bytes(data)), "more bytes than the file")


def test_a_size_that_is_not_there_is_refused(good, tmp_path):
    data = bytearray(good)
    at = data.index(b"PK\1\2")
    struct.pack_into("<II", data, at + 20, 0xFFFFFFF0, 0xFFFFFFF0)
    refused_in_little_memory(tmp_path, with_checksum(bytes(data)), "more bytes than the file")


@given(st.data())
def test_no_change_under_a_good_checksum_does_harm(good, folder, data):
    """Whatever the bytes are, the file loads, or is refused by an error of ours."""
    at = data.draw(st.integers(0, len(good) - 65))
    changed = good[:at] + data.draw(st.binary(min_size=1, max_size=8)) + good[at + 1 :]
    try:
        load(folder, with_checksum(changed))
    except FileFormatError:
        return


def test_nothing_of_a_file_is_run(good, tmp_path, cache, compilations, monkeypatch):
    """Executables that this user did not sign are no more than bytes."""
    import lamina.runtime.pjrt as pjrt

    monkeypatch.setattr(pjrt, "deserialize", lambda *_: pytest.fail("code of the file was loaded"))
    data = resealed(good, **{f"executables/{'0' * 64}": replaced(bytes(32) + b"code")})
    y, _ = load(tmp_path, data)(np.float32([1, 1]))
    np.testing.assert_allclose(y, [2, 3], atol=0.02)
    assert decode(members_of(good)["weights.safetensors"], "good")["count"].tolist() == [1, 2]
