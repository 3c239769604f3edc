"""`.keras` files: Keras's are read, Keras reads ours, and damaged or hostile files are refused."""

import io
import json
import re
import struct
import zipfile

import h5py
import keras
import ml_dtypes
import numpy as np
import pytest

from lamina.frontend.saving import archive
from lamina.frontend.saving import weights as weights_module
from lamina.frontend.saving.archive import open_keras, open_weights, write_keras
from lamina.frontend.saving.weights import Weights, write_weights
from lamina.ir.errors import ArgumentError, FileFormatError

CONFIG = {"module": "keras", "class_name": "Sequential", "config": {"layers": []}, "registered_name": None}
METADATA = {"keras_version": "3.15.1", "date_saved": "2026-01-31@12:00:00"}
ARRAYS = {
    "layers/dense/vars/0": np.arange(12, dtype="float32").reshape(3, 4),
    "layers/dense/vars/1": np.zeros(4, "float32"),
    "vars/0": np.array(3, "int32"),
}
NAMES = {"layers/dense": "dense", "layers/dropout": "dropout", "": "sequential"}


def keras_model():
    return keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(3, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5, seed=1),
            keras.layers.Dense(2),
        ]
    )


@pytest.fixture(scope="module")
def keras_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("keras") / "model.keras"
    model = keras_model()
    model.save(path)
    return path, model


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "model.keras"
    write_keras(path, CONFIG, METADATA, ARRAYS, NAMES)
    return path


def rewrite(path, change, compression=zipfile.ZIP_STORED):
    """Write the members of an archive anew after ``change`` has had its way with them."""
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    members = change(members) or members
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members.items():
            file.writestr(name, content)


def with_h5(path, build):
    """Put in an HDF5 file that ``build(file)`` makes."""
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        build(file)
    rewrite(path, lambda members: {**members, archive.WEIGHTS: content.getvalue()})


def test_reads_what_keras_wrote(keras_file):
    path, model = keras_file
    with open_keras(path) as file:
        assert file.config["class_name"] == "Sequential"
        assert [layer["class_name"] for layer in file.config["config"]["layers"]][1] == "Dense"
        assert file.metadata["keras_version"] == keras.__version__
        for layer, owner in zip(model.layers, ["dense", "batch_normalization", "dropout", "dense_1"]):
            found = file.weights.variables(f"layers/{owner}")
            np.testing.assert_equal(found, [np.asarray(value) for value in layer.weights[: len(found)]])
            assert file.weights.attributes(f"layers/{owner}/vars") == {"name": layer.name}
        assert "layers/dense/vars/0" in file.weights and file.weights.shape("layers/dense/vars/0") == (4, 3)
        assert file.weights.has_group("layers/dropout") and not file.weights.has_group("layers/lstm")
        assert file.weights.attributes("") == {}


def test_keras_reads_what_we_wrote(keras_file, tmp_path):
    path, model = keras_file
    copy = tmp_path / "copy.keras"
    with open_keras(path) as file:
        names = {
            group.removesuffix("vars").rstrip("/"): file.weights.attributes(group)["name"]
            for group in ("vars", "layers/dense/vars", "layers/dropout/vars")
        }
        write_keras(copy, file.config, file.metadata, file.weights, names)
    again = keras.models.load_model(copy)
    x = np.linspace(-1, 1, 20, dtype="float32").reshape(5, 4)
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
    with zipfile.ZipFile(path) as theirs, zipfile.ZipFile(copy) as ours:
        assert ours.namelist() == theirs.namelist()
        assert json.loads(ours.read("config.json")) == json.loads(theirs.read("config.json"))
        assert {info.compress_type for info in ours.infolist()} == {zipfile.ZIP_STORED}


def test_reads_a_weights_file_of_keras(keras_file, tmp_path):
    _, model = keras_file
    path = tmp_path / "model.weights.h5"
    model.save_weights(path)
    with open_weights(path) as weights:
        np.testing.assert_array_equal(weights["layers/dense/vars/0"], np.asarray(model.layers[0].kernel))


def test_round_trip(path):
    with open_keras(path) as file:
        assert (file.config, file.metadata) == (CONFIG, METADATA)
        assert set(file.weights) == set(ARRAYS) and len(file.weights) == 3
        for name, array in ARRAYS.items():
            np.testing.assert_array_equal(file.weights[name], array, strict=True)
        assert file.weights.attributes("layers/dropout/vars") == {"name": "dropout"}
        np.testing.assert_equal(file.weights.variables(""), [ARRAYS["vars/0"]])
        with pytest.raises(KeyError):
            file.weights["layers/dense/vars/2"]


def test_the_same_content_is_the_same_file(path, tmp_path):
    other = tmp_path / "other.keras"
    write_keras(other, CONFIG, METADATA, ARRAYS, NAMES)
    assert other.read_bytes() == path.read_bytes()


TYPES = [
    "bool",
    "int8",
    "uint16",
    "int64",
    "float16",
    "float64",
    "complex64",
    "bfloat16",
    "float8_e4m3fn",
    "float8_e5m2",
]


@pytest.mark.parametrize("name", TYPES)
def test_every_type_comes_back(name, tmp_path):
    values = {"vars/0": np.array([[0, 1], [2, 3]]).astype(name), "vars/1": np.zeros((0, 2), name)}
    write_weights(tmp_path / "w.h5", values, {})
    with open_weights(tmp_path / "w.h5") as weights:
        for key, value in values.items():
            assert weights[key].dtype == value.dtype and weights[key].shape == value.shape
            assert weights[key].tobytes() == value.tobytes()


def test_bfloat16_as_keras_writes_it(tmp_path):
    layer = keras.layers.Dense(2, dtype="bfloat16", kernel_initializer=keras.initializers.RandomNormal(seed=1))
    model = keras.Sequential([keras.Input((3,), dtype="bfloat16"), layer])
    model.save(tmp_path / "b.keras")
    with open_keras(tmp_path / "b.keras") as file:
        kernel = file.weights["layers/dense/vars/0"]
        assert kernel.dtype == ml_dtypes.bfloat16
        np.testing.assert_array_equal(kernel, np.asarray(layer.kernel))
        write_keras(tmp_path / "ours.keras", file.config, file.metadata, file.weights)
    again = keras.models.load_model(tmp_path / "ours.keras", compile=False)
    np.testing.assert_array_equal(again.layers[0].kernel, kernel)


def refuses(path, *parts):
    with pytest.raises(FileFormatError) as error:
        open_keras(path)
    for part in parts:
        assert part in str(error.value)


def test_missing_file(tmp_path):
    for opener in (open_keras, open_weights):
        with pytest.raises(FileNotFoundError, match=r"there is no file '.*gone\.keras'"):
            opener(tmp_path / "gone.keras")


def test_not_an_archive(tmp_path):
    path = tmp_path / "model.keras"
    path.write_bytes(b"")
    refuses(path, "model.keras is not a .keras file: it is empty")
    path.write_bytes(b"hello, world")
    refuses(path, "it is no zip archive")
    write_weights(tmp_path / "h5.keras", ARRAYS, {})
    refuses(tmp_path / "h5.keras", "is an HDF5 file, not a .keras archive: give it a name that ends in .h5")
    refuses(tmp_path, "is a folder; expected a .keras file")
    with pytest.raises(FileFormatError, match="is not an HDF5 file, or is truncated"):
        open_weights(path)


def test_truncated_anywhere(path):
    whole = path.read_bytes()
    for length in range(8, len(whole) - 1, len(whole) // 23):
        path.write_bytes(whole[:length])
        refuses(path, "truncated or damaged")


def test_flipped_bytes_are_noticed(path):
    whole = path.read_bytes()
    start = whole.index(b"\x89HDF")
    for position in range(start, start + 400, 40):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :])
        refuses(path, "model.weights.h5 is damaged or truncated")


@pytest.mark.parametrize("member", [archive.CONFIG, archive.METADATA, archive.WEIGHTS])
def test_missing_member(path, member):
    rewrite(path, lambda members: {name: content for name, content in members.items() if name != member})
    refuses(path, "is not a whole .keras file", f"it lacks {member}")


def test_weights_in_another_format(path):
    def change(members):
        members["model.weights.npz"] = members.pop(archive.WEIGHTS)

    rewrite(path, change)
    refuses(path, "Its weights are in model.weights.npz: save it again with weights_format='h5'")


def test_member_twice(path):
    with zipfile.ZipFile(path, "a") as file, pytest.warns(UserWarning, match="Duplicate name"):
        file.writestr(archive.CONFIG, "{}")
    refuses(path, "several members of one name")


@pytest.mark.parametrize(
    "content, message",
    [
        (b"{", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "must be a JSON object, got list"),
        (b"null", "must be a JSON object, got NoneType"),
        (b"{}", "its 'class_name' must be a JSON string, got 'nothing'"),
        (b'{"class_name": 3, "config": {}}', "its 'class_name' must be a JSON string, got 3"),
        (b'{"class_name": "Sequential"}', "its 'config' must be a JSON object, got 'nothing'"),
        (b'{"class_name": "Sequential", "config": [1]}', "its 'config' must be a JSON object, got [1]"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_config_that_is_none(path, content, message):
    rewrite(path, lambda members: {**members, archive.CONFIG: content})
    refuses(path, "config.json in ", message)


def test_metadata_that_is_none(path):
    rewrite(path, lambda members: {**members, archive.METADATA: b"["})
    refuses(path, "metadata.json in ", "is not JSON")


def test_weights_that_are_no_hdf5(path):
    rewrite(path, lambda members: {**members, archive.WEIGHTS: b"x" * 5000})
    refuses(path, "model.weights.h5 in ", "is not an HDF5 file, or is truncated")


@pytest.mark.parametrize("member", [archive.CONFIG, archive.WEIGHTS])
def test_zip_bomb(path, member, monkeypatch):
    monkeypatch.setattr(archive, "BOMB_FLOOR", 1 << 20)  # the true floor would take a quarter of a GB to exceed
    rewrite(path, lambda members: {**members, member: b" " * (2 << 20)}, zipfile.ZIP_DEFLATED)
    refuses(path, f"{member} would take 2,097,152 bytes, of which only", "are stored; refused")


def test_compressed_members_are_fine(path):
    rewrite(path, lambda members: None, zipfile.ZIP_DEFLATED)
    with open_keras(path) as file:
        np.testing.assert_array_equal(file.weights["layers/dense/vars/0"], ARRAYS["layers/dense/vars/0"])


def test_encrypted_member(path):
    whole = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = -1
        while (start := whole.find(signature, start + 1)) >= 0:
            struct.pack_into("<H", whole, start + offset, 1)
    path.write_bytes(bytes(whole))
    refuses(path, "config.json cannot be read", "encrypted")


def test_external_dataset(path, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"0" * 16)
    with_h5(path, lambda file: file.create_dataset("vars/0", (4,), "float32", external=[(str(secret), 0, 16)]))
    refuses(path, "the array 'vars/0' lies in another file", "refused")


def test_virtual_dataset(path):
    def build(file):
        layout = h5py.VirtualLayout((4,), "float32")
        layout[:] = h5py.VirtualSource("other.h5", "secret", (4,))
        file.create_virtual_dataset("vars/0", layout)

    with_h5(path, build)
    refuses(path, "the array 'vars/0' is a virtual dataset")


@pytest.mark.parametrize("link", [h5py.SoftLink("/vars/0"), h5py.ExternalLink("other.h5", "/secret")])
@pytest.mark.parametrize("where", ["vars/1", "layers"])
def test_links(path, link, where):
    def build(file):
        file["vars/0"] = np.zeros(3)
        file[where] = link

    with_h5(path, build)
    refuses(path, f"{where!r} is a {type(link).__name__}; links are refused")


def test_group_that_contains_itself(path):
    def build(file):
        file["layers/loop"] = file.require_group("layers")

    with_h5(path, build)
    refuses(path, "occurs twice, or is nested too deeply")


def test_deep_groups(path):
    with_h5(path, lambda file: file.create_group("/".join("g" * 100)))
    refuses(path, "nested too deeply")


def test_shape_bomb(path):
    with_h5(path, lambda file: file.create_dataset("vars/0", (1 << 40,), "float32", chunks=(1024,)))
    refuses(path, "the array 'vars/0' would take 4,398,046,511,104 bytes, but only 0 are stored; refused")


def test_many_small_bombs(path, monkeypatch):
    monkeypatch.setattr(weights_module, "BOMB_FLOOR", 1 << 20)

    def build(file):
        for number in range(5):
            file.create_dataset(f"vars/{number}", (1 << 17,), "float32", chunks=(1024,))  # each half of the floor

    with_h5(path, build)
    refuses(path, "all arrays together would take 2,621,440 bytes, but only 0 are stored")


@pytest.mark.parametrize(
    "build",
    [
        lambda file: file.create_dataset("vars/0", data=["text"]),
        lambda file: file.create_dataset("vars/0", data=np.zeros(2, "f4,i4")),
        lambda file: file.create_dataset("vars/0", data=h5py.Empty("float32")),
        lambda file: file.create_dataset("vars/0", data=np.zeros(2, ml_dtypes.bfloat16)),
        lambda file: file.create_dataset("vars/0", (1,), h5py.vlen_dtype(np.int32)),
        lambda file: file.create_dataset("vars/0", (1,), h5py.ref_dtype),
    ],
    ids=["text", "records", "empty", "opaque", "ragged", "references"],
)
def test_no_numbers(path, build):
    with_h5(path, build)
    refuses(path, "'vars/0' holds no numbers but")


def test_named_type(path):
    def build(file):
        file["vars"] = np.dtype("float32")

    with_h5(path, build)
    refuses(path, "'vars' is neither a group nor an array")


def test_variables_must_be_numbered(path):
    with_h5(path, lambda file: file.create_dataset("vars/5", data=np.zeros(2)))
    with open_keras(path) as file, pytest.raises(FileFormatError, match="must be numbered from 0, but are 5"):
        file.weights.variables("")


def test_damaged_array_data(path):
    """Damage that the zip does not see, as when the whole archive was packed from a damaged file."""
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        file.create_dataset("vars/0", data=np.arange(4096.0), chunks=(512,), compression="gzip", fletcher32=True)
    whole = content.getvalue()
    for position in range(3000, len(whole), 997):
        damaged = whole[:position] + b"\xaa" * 40 + whole[position + 40 :]
        try:
            with Weights(io.BytesIO(damaged), "w") as weights:
                values = dict(weights)
        except FileFormatError:
            continue
        np.testing.assert_array_equal(values["vars/0"], np.arange(4096.0))  # the damage hit unused space


def test_nothing_is_left_of_a_failed_write(tmp_path):
    path = tmp_path / "model.keras"
    path.write_bytes(b"before")
    with pytest.raises(ArgumentError, match="the config is not of JSON's types"):
        write_keras(path, {"class_name": object()}, METADATA, ARRAYS)

    def fail(file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(ArgumentError, match=r"cannot write '.*model\.keras': No space left on device"):
        archive.write_beside(path, fail)
    assert path.read_bytes() == b"before" and list(tmp_path.iterdir()) == [path]


def test_unwritable_paths(tmp_path):
    with pytest.raises(ArgumentError, match=re.escape("must end in '.keras'")):
        write_keras(tmp_path / "model.zip", CONFIG, METADATA, ARRAYS)
    with pytest.raises(ArgumentError, match=r"cannot write '.*nowhere.*': No such file or directory"):
        write_keras(tmp_path / "nowhere" / "model.keras", CONFIG, METADATA, ARRAYS)
    (tmp_path / "folder.keras").mkdir()
    with pytest.raises(ArgumentError, match=r"cannot write '.*folder\.keras'"):
        write_keras(tmp_path / "folder.keras", CONFIG, METADATA, ARRAYS)
    assert [item.name for item in tmp_path.iterdir()] == ["folder.keras"]
