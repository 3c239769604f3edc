"""The command line: what each command prints, and what bad input gets: one clear message and the right exit status."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import lamina
from lamina.cli import main
from lamina.ir.errors import LaminaError

DIGITS = Path(lamina.__file__).parent / "frontend" / "data" / "digits.keras"
LAYERS = ["conv_1", "norm_1", "relu_1", "pool", "conv_2", "norm_2", "relu_2", "flatten", "digit"]

MY_MODELS = """
import lamina
from lamina import keras, ops

def two():
    a, b = keras.Input((3,), name="left"), keras.Input((3,), name="right")
    total = keras.layers.Add(name="total")([a, b])
    difference = keras.layers.Subtract(name="difference")([a, b])
    return keras.Model([a, b], [total, difference], name="two")

def named():
    a, b = keras.Input((3,), name="left"), keras.Input((3,), name="right")
    return keras.Model({"right": b, "left": a}, keras.layers.Subtract(name="difference")([a, b]))

class Nested:
    model = two()

def double(x):
    return x * 2

def branches(x):
    return x if ops.sum(x) > 0 else -x

def half():
    return lamina.compile(lambda x: ops.cast(x, "bfloat16"), lamina.Spec((None,)))

def pinned():
    return lamina.compile(lambda x: sum(x[i] for i in range(x.shape[0])), lamina.Spec((None, 2), name="x"))

compiled = lamina.compile(double, lamina.Spec(("T", 2)))
module = lamina.trace(double, lamina.Spec((None, 2)))
number = 3

def fails():
    raise RuntimeError("no weights today")
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to be in, with digits.keras, image.npy (five images), left.npy, right.npy and my_models.py."""
    shutil.copy(DIGITS, tmp_path)
    draw = np.random.default_rng(0)
    np.save(tmp_path / "image.npy", draw.random((5, 8, 8, 1), np.float32))
    np.save(tmp_path / "left.npy", np.float32([[1, 2, 3]]))
    np.save(tmp_path / "right.npy", np.float32([[10, 20, 30]]))
    (tmp_path / "my_models.py").write_text(MY_MODELS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    sys.modules.pop("my_models", None)
    return tmp_path


def call(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def succeed(*arguments):
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    return result.stdout


def fail(*arguments, status=1):
    """What a command that fails says on standard error; nothing on standard output, no traceback."""
    result = call(*arguments)
    assert result.exit_code == status, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    return result.stderr


# dump


def test_dump_traced_reads_back_and_names_every_layer(folder):
    text = succeed("dump", "digits.keras", "--stage", "traced")
    module = lamina.parse(text)
    assert module.main.symbols == ["N"]
    assert {layer for node in module.walk() for layer in node.location.layers} == set(LAYERS)
    assert all(node.location.layers for node in module.walk())


def test_dump_optimized_is_the_default_and_holds_what_is_prepared(folder):
    text = succeed("dump", "digits.keras")
    assert text == succeed("dump", "digits.keras", "--stage", "optimized")
    module = lamina.parse(text)
    assert set(module.functions) == {"main", "prepare"}
    assert "batch_norm" not in {node.op.name for node in module.main.walk()}
    outside = [node for graph in module.functions.values() for node in graph.nodes]
    assert all(node.location.layers for node in outside)


def test_dump_with_sizes_is_static(folder):
    for stage in ("traced", "optimized"):
        module = lamina.parse(succeed("dump", "digits.keras", "--stage", stage, "--dim", "N=3"))
        assert module.main.inputs[0].shape == (3, 8, 8, 1)
        assert module.main.outputs[0].shape == (3, 10)


def test_dump_stablehlo_and_hlo_name_the_layers(folder):
    stablehlo = succeed("dump", "digits.keras", "--stage", "stablehlo", "--dim", "N=3")
    assert "stablehlo.convolution" in stablehlo and "tensor<3x8x8x1xf32>" in stablehlo
    assert "tensor<?x8x8x1xf32>" in succeed("dump", "digits.keras", "--stage", "stablehlo")
    hlo = succeed("dump", "digits.keras", "--stage", "hlo", "--dim", "N=3")
    assert hlo.startswith("HloModule")
    for layer in ("conv_1", "relu_1", "pool", "conv_2", "relu_2", "digit"):
        assert re.search(rf'"[^"]*\b{layer}\b', stablehlo), layer
        assert re.search(rf'op_name="[^"]*\b{layer}\b', hlo), layer


def test_dump_after_a_pass(folder):
    before = lamina.parse(succeed("dump", "digits.keras", "--after", "simplify"))
    after = lamina.parse(succeed("dump", "digits.keras", "--after", "fold"))
    assert "batch_norm" in {node.op.name for node in before.walk()}
    assert "batch_norm" not in {node.op.name for node in after.walk()}
    assert succeed("dump", "digits.keras", "--after", "simplify#1") == str(before)
    assert succeed("dump", "digits.keras", "--after", "simplify#2") != str(before)


def test_dump_follows_the_pipeline(folder):
    text = succeed("dump", "digits.keras", "--pipeline", "O2,-fold_batch_norm,-decompose")
    assert "batch_norm(" in text and "prepared/" not in text


def test_dump_json_has_what_the_text_has(folder):
    data = json.loads(succeed("dump", "digits.keras", "--json"))
    module = lamina.parse(succeed("dump", "digits.keras"))
    assert (data["model"], data["stage"], data["dims"]) == ("digits", "optimized", {})
    for name, graph in module.functions.items():
        nodes = data["functions"][name]["nodes"]
        assert [n["op"] for n in nodes] == [n.op.name for n in graph.nodes]
        assert [n["layers"] for n in nodes] == [list(n.location.layers) for n in graph.nodes]
        types = [[str(r.type) for r in n.results] for n in graph.nodes]
        assert [[r["type"] for r in n["results"]] for n in nodes] == types
        known = {p["value"] for p in data["functions"][name]["parameters"] + data["functions"][name]["inputs"]}
        for node in nodes:
            assert known >= set(node["operands"])
            known |= {r["value"] for r in node["results"]}
    fold = next(r for r in data["records"] if r["pass"] == "fold")
    assert fold["changed"] and fold["rules"][0]["rule"] == "fold_batch_norm"
    assert fold["rules"][0]["layers"] == {"norm_1": 1, "norm_2": 1}
    reduce = next(n for n in data["functions"]["main"]["nodes"] if n["op"] == "reduce")
    assert reduce["regions"][0]["nodes"][0]["op"] == "maximum"


def test_dump_json_of_lowered_text(folder):
    data = json.loads(succeed("dump", "digits.keras", "--stage", "stablehlo", "--dim", "N=3", "--json"))
    assert data["dims"] == {"N": 3} and "module @digits {" in data["text"]


def test_dump_over_a_mesh_shows_shardings_and_what_devices_exchange(folder):
    laid_out = ["digits.keras", "--mesh", "batch=4,model=2", "--layout", ".*digit/kernel=none,model"]

    def dump(*arguments):
        command = [sys.executable, "-m", "lamina", "dump", *laid_out, *arguments]
        environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0 and done.stderr == "", done.stderr
        return done.stdout

    text = dump("--stage", "traced")
    assert '%image: f32[N,8,8,1] sharding(["batch",none,none,none])' in text
    assert re.search(r'param %digit/kernel: f32\[\d+,10\] sharding\(\[none,"model"\]\)', text)
    lines = dump("--stage", "hlo", "--dim", "N=32").splitlines()
    assert lines[0].split() == ["//", "collective", "count", "bytes", "times", "devices"]
    assert lines[1].split() == ["//", "all-reduce", "2", str(2 * 32 // 4 * 4), "1", "2"]  # softmax over classes
    assert lines[2].startswith("HloModule")


def test_dump_over_a_mesh_of_one(folder):
    traced = succeed("dump", "digits.keras", "--mesh", "batch=1", "--stage", "traced")
    assert 'sharding(["batch",none,none,none])' in traced
    data = json.loads(succeed("dump", "digits.keras", "--mesh", "batch=1", "--stage", "hlo", "--dim", "N=2", "--json"))
    assert data["collectives"] == []


def test_dump_of_attributes(folder):
    assert "digits" not in succeed("dump", "my_models:two")
    nested = succeed("dump", "my_models:Nested.model", "--stage", "traced")
    assert "func @main(%left: f32[N,3], %right: f32[N,3])" in nested
    assert "f32[T,2]" in succeed("dump", "my_models:compiled")
    assert "multiply" in succeed("dump", "my_models:module", "--stage", "traced")


def test_what_is_traced_for_each_size_needs_sizes(folder):
    message = fail("dump", "my_models:pinned")
    assert "Python needs the integer value" in message and "my_models.py" in message
    assert "slice" in succeed("dump", "my_models:pinned", "--dim", "N=3")
    assert "stablehlo.slice" in succeed("dump", "my_models:pinned", "--dim", "N=3", "--stage", "stablehlo")
    assert "rows/s" in succeed("bench", "my_models:pinned", "--dim", "N=3", "--runs", "1")


# run


def test_run_gives_what_the_compiled_model_gives(folder):
    said = succeed("run", "digits.keras", "--input", "image.npy", "--output", "y.npy")
    assert said == "y.npy: digit: float32[5,10]\n"
    expected = lamina.compile(lamina.load(DIGITS))(np.load("image.npy"))
    np.testing.assert_array_equal(np.load("y.npy"), expected)
    assert sorted(p.name for p in folder.glob("*.part")) == []


def test_run_on_a_named_device(folder):
    assert "float32[5,10]" in succeed("run", "digits.keras", "--input", "image=image.npy", "--device", "cpu")


def test_run_without_output_prints(folder):
    assert succeed("run", "my_models:double", "--input", "left.npy") == "output_0: float32[1,3]\n[[2. 4. 6.]]\n"


@pytest.mark.parametrize(
    "inputs",
    [["left.npy", "right.npy"], ["left=left.npy", "right=right.npy"], ["right=right.npy", "left=left.npy"],
     ["right=right.npy", "left.npy"]],
)  # fmt: skip
def test_run_takes_inputs_in_order_or_by_name(folder, inputs):
    options = [part for text in inputs for part in ("--input", text)]
    succeed("run", "my_models:two", *options, "--output", "y.npz")
    with np.load("y.npz") as y:
        assert set(y) == {"total", "difference"}
        np.testing.assert_array_equal(y["total"], [[11, 22, 33]])
        np.testing.assert_array_equal(y["difference"], [[-9, -18, -27]])


def test_run_of_a_model_whose_inputs_are_a_dict(folder):
    said = succeed("run", "my_models:named", "--input", "left=left.npy", "--input", "right=right.npy")
    assert "[[ -9. -18. -27.]]" in said


def test_run_of_a_function_that_is_traced_for_each_size(folder):
    np.save("x.npy", np.float32([[1, 2], [3, 4], [5, 6]]))
    assert "[ 9. 12.]" in succeed("run", "my_models:pinned", "--input", "x.npy")


def test_run_of_no_images(folder):
    np.save("none.npy", np.zeros((0, 8, 8, 1), np.float32))
    succeed("run", "digits.keras", "--input", "none.npy", "--output", "y.npy")
    assert np.load("y.npy").shape == (0, 10)


def test_run_writes_narrow_floats_as_float32(folder):
    np.save("x.npy", np.float32([1.5, 3.0]))
    succeed("run", "my_models:half", "--input", "x.npy", "--output", "y.npy")
    y = np.load("y.npy")
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, [1.5, 3.0])


# bench, devices, demo, and the program itself


def test_bench_says_what_was_measured(folder):
    said = succeed("bench", "digits.keras", "--dim", "N=4", "--runs", "3")
    assert re.search(r"digits on cpu .*f32\[4,8,8,1\]", said)
    for word in ("compilation", "StableHLO", "median", "p10", "p90", "(3 calls)", "rows/s"):
        assert word in said
    assert "T" not in succeed("bench", "my_models:compiled", "--dim", "T=2", "--runs", "1").splitlines()[0]


def test_devices_lists_what_device_takes(folder):
    assert "cpu:0" in succeed("devices")
    assert "float32" in succeed("run", "digits.keras", "--input", "image.npy", "--device", "cpu:0")


def test_demo_shows_every_stage_and_is_right():
    said = succeed("demo")
    for title in (
        "The graph, traced once",
        "What each pass did",
        "The graph after the passes",
        "computed from the weights alone",
        "StableHLO for N=256",
    ):
        assert title in said
    assert float(re.search(r"accuracy (\d+\.\d)%", said)[1]) > 97
    assert "of 1,797 images" in said and "one of 5" in said
    assert re.search(r"time \d+\.\d+ ms per batch", said)


def test_demo_fails_where_the_accuracy_is_low(monkeypatch):
    monkeypatch.setattr("lamina.frontend.demo.run_demo", lambda: 0.97)
    assert "97%" in fail("demo")


def test_demo_without_scikit_learn_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert "pip install 'lamina[demo]'" in fail("demo")


def program(*arguments, folder=None, **options):
    return subprocess.run(
        [sys.executable, "-m", "lamina", *arguments], capture_output=True, text=True, check=False, cwd=folder, **options
    )


def test_the_program_itself(folder):
    assert lamina.__version__ in program("--version", folder=folder).stdout
    failed = program("run", "digits.keras", folder=folder)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.startswith("error: ") and failed.stderr.count("\n") == 1


def test_help_imports_nothing_heavy():
    code = "import sys, lamina.cli; print([m for m in ('jax', 'numpy', 'rich', 'lamina.ir') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_reader_that_goes_away_is_no_error(folder):
    dump = subprocess.Popen(
        [sys.executable, "-m", "lamina", "dump", "digits.keras", "--stage", "hlo", "--dim", "N=3"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
    )
    dump.stdout.close()
    assert dump.stderr.read() == b""
    dump.stderr.close()
    dump.wait()


# What bad input gets


def test_debug_shows_the_traceback(folder):
    for arguments in (["--debug", "dump", "none.keras"], ["dump", "none.keras", "--debug"]):
        result = call(*arguments)
        assert isinstance(result.exception, FileNotFoundError)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("none.keras", "none.keras"),
        ("none.npy", "neither file nor attribute"),
        ("image.npy", "a kind that lamina does not read"),
        ("my_models", "neither file nor attribute"),
        ("nowhere:model", "no module 'nowhere'"),
        ("my_models:nothing", "no attribute 'nothing'"),
        ("my_models:number", "is a int; expected a model"),
        ("my_models:double", "the shapes of x of the function my_models:double are not known"),
        ("my_models:fails", "RuntimeError: no weights today"),
        ("my_models:fails", "my_models.py:35"),
    ],
)
def test_a_model_that_is_none(folder, model, said):
    assert said in fail("dump", model)


@pytest.mark.parametrize("suffix", [".h5", ".mlir", ".lamina"])
def test_a_kind_of_file_that_comes_later(folder, suffix):
    (folder / f"model{suffix}").write_bytes(b"")
    assert suffix in fail("dump", f"model{suffix}")


def rewritten(folder, **members):
    """digits.keras with other members: name -> function of the old bytes."""
    path = folder / "changed.keras"
    with zipfile.ZipFile(DIGITS) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            change = members.get(name.partition(".")[0], lambda data: data)
            new.writestr(name, change(old.read(name)))
    return path


def other_weights(data):
    """The weights file with one kernel of another shape."""
    import h5py

    buffer = io.BytesIO(data)
    with h5py.File(buffer, "r+") as file:
        group = file["layers/dense/vars"]
        del group["0"]
        group["0"] = np.zeros((7, 10), np.float32)
    return buffer.getvalue()


def without_config(data):
    config = json.loads(data)
    del config["config"]
    return json.dumps(config).encode()


def unknown_layer(data):
    return data.replace(b'"Flatten"', b'"Flatter"')


DAMAGED = {
    "no zip": (lambda folder: _written(folder, b"not a zip"), "zip"),
    "empty": (lambda folder: _written(folder, b""), ""),
    "truncated": (lambda folder: _written(folder, DIGITS.read_bytes()[:40_000]), ""),
    "config that is no JSON": (lambda folder: rewritten(folder, config=lambda data: b"{,"), "JSON"),
    "config that lacks keys": (lambda folder: rewritten(folder, config=without_config), "config"),
    "unknown layer": (lambda folder: rewritten(folder, config=unknown_layer), "Flatter"),
    "weights that do not match": (lambda folder: rewritten(folder, model=other_weights), "(7, 10)"),
}


def _written(folder, data):
    path = folder / "changed.keras"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_file(folder, kind):
    damage, said = DAMAGED[kind]
    message = fail("dump", damage(folder).name)
    assert said in message
    assert "changed.keras" in message
    assert "This is an error in the model's own Python" not in message


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((8, 8, 1), np.float32), "rank 4"),
        (np.zeros((2, 8, 9, 1), np.float32), "axis 2"),
        (np.zeros((2, 8, 8, 1), np.complex64), "complex64"),
    ],
)
def test_an_input_that_does_not_fit(folder, array, said):
    np.save("x.npy", array)
    message = fail("run", "digits.keras", "--input", "x.npy")
    assert said in message and "image" in message and "f32[N,8,8,1]" in message


@pytest.mark.parametrize("array", [np.array(["7"]), np.zeros(2, "datetime64[s]"), np.zeros(2, [("x", "f4")])])
def test_an_input_that_holds_no_numbers(folder, array):
    np.save("x.npy", array)
    message = fail("run", "digits.keras", "--input", "x.npy")
    assert "x.npy: expected an array of numbers" in message and repr(array.dtype.str) in message


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["digits.keras"], "1 input (image); received 0"),
        (["digits.keras", "--input", "image.npy", "--input", "image.npy"], "received 2"),
        (["digits.keras", "--input", "picture=image.npy"], "no input 'picture'; it has image"),
        (["digits.keras", "--input", "image=image.npy", "--input", "image=image.npy"], "given twice"),
        (["digits.keras", "--input", "none.npy"], "none.npy: No such file"),
        (["digits.keras", "--input", "digits.keras"], "several arrays"),
        (["digits.keras", "--input", "my_models.py"], "not an array that np.save wrote"),
        (["digits.keras", "--input", "image.npy", "--device", "tpu:7"], "present: cpu:0"),
        (["digits.keras", "--input", "image.npy", "--pipeline", "simplfy"], "did you mean simplify"),
        (["digits.keras", "--input", "image.npy", "--output", "nowhere/y.npy"], "no folder nowhere"),
        (["digits.keras", "--input", "image.npy", "--output", "y.csv"], ".npy"),
        (["my_models:two", "--input", "left.npy", "--input", "right.npy", "--output", "y.npy"], "name a .npz"),
        (["my_models:branches", "--input", "left.npy"], "my_models.py"),
    ],
)
def test_a_run_that_cannot_be(folder, arguments, said):
    assert said in fail("run", *arguments)
    assert not (folder / "y.npy").exists()


def test_an_output_that_is_a_folder(folder):
    (folder / "y.npy").mkdir()
    assert "folder" in fail("run", "digits.keras", "--input", "image.npy", "--output", "y.npy")


def test_an_output_in_a_read_only_folder(folder, monkeypatch):
    (folder / "fixed").mkdir(mode=0o500)
    access = os.access  # says yes to root, as which tests may run
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "fixed" and access(path, mode))
    assert "read-only" in fail("run", "digits.keras", "--input", "image.npy", "--output", "fixed/y.npy")


def test_a_failed_write_leaves_nothing(folder, monkeypatch):
    def full(file, *arrays, **options):
        file.write(b"half")
        raise OSError(28, "No space left on device", "y.npy")

    monkeypatch.setattr(np, "save", full)
    assert "No space left" in fail("run", "digits.keras", "--input", "image.npy", "--output", "y.npy")
    assert [p.name for p in folder.iterdir() if "y.npy" in p.name] == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--stage", "hlo"], "--dim N=32"),
        (["--stage", "traced", "--dim", "M=3"], "no symbolic dimension 'M'; it has N"),
        (["--stage", "hlo", "--dim", "N=3", "--dim", "M=3"], "no dimension 'M'; it has N"),
        (["--after", "fuse"], "the pipeline ran simplify, recognize"),
        (["--pipeline", "simplify{"], "does not read"),
        (["--pipeline", "O2,-nothing"], "nothing"),
        (["--mesh", "batch=64"], "takes 64 devices"),
        (["--mesh", "batch=1", "--layout", ".*kernel=none,rows"], "no axis 'rows'; it has batch"),
        (["--mesh", "batch=1", "--layout", "digit/kernel=none"], "its layout has 1 axes"),
    ],
)
def test_a_dump_that_cannot_be(folder, arguments, said):
    assert said in fail("dump", "digits.keras", *arguments)


def test_a_bench_without_sizes(folder):
    assert "--dim N=32" in fail("bench", "digits.keras")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["dump"], "MODEL"),
        (["dump", "digits.keras", "--stage", "final"], "'traced', 'optimized', 'stablehlo', 'hlo'"),
        (["dump", "digits.keras", "--dim", "N"], "such as N=32"),
        (["dump", "digits.keras", "--dim", "N=-1"], "such as N=32"),
        (["dump", "digits.keras", "--after", "fold", "--stage", "hlo"], "not both"),
        (["dump", "digits.keras", "--mesh", "batch"], "such as batch=4,model=2"),
        (["dump", "digits.keras", "--mesh", "batch=1", "--layout", "kernel"], "such as '.*/kernel=none,model'"),
        (["dump", "digits.keras", "--layout", "kernel=none"], "--layout goes with --mesh"),
        (["bench", "digits.keras", "--runs", "0"], "--runs"),
        (["nothing"], "No such command"),
    ],
)
def test_wrong_usage(folder, arguments, said):
    assert said in fail(*arguments, status=2)


def test_every_error_of_ours_is_one_message(folder, monkeypatch):
    def broken(*_, **__):
        raise LaminaError("digits.keras: first line\nsecond line")

    monkeypatch.setattr("lamina.frontend.saving.models.load", broken)
    assert fail("dump", "digits.keras") == "error: digits.keras: first line\nsecond line\n"


# verify


def test_verify_prints_a_table_and_says_so_where_all_is_well(folder):
    text = succeed("verify", "digits.keras", "--targets", "numpy, xla", "--dim", "N=5")
    assert "digits(image: f32[5,8,8,1]), random inputs of seed 0" in text
    assert text.count("ok") == 2 and "OUTSIDE" not in text
    assert text.splitlines()[-1] == "2 within the bounds"


def test_verify_json_reads_back(folder):
    from lamina.frontend.verify import Report

    report = Report.from_json(
        succeed("verify", "digits.keras", "--targets", "xla", "--input", "image=image.npy", "--json")
    )
    assert report.ok and report.inputs == {"image": "f32[5,8,8,1]"} and report.seed is None
    assert [o.output for o in report["xla"].outputs] == ["digit"]


def test_verify_passes_keywords_and_seeds_on(folder):
    text = succeed(
        "verify", "digits.keras", "--targets", "xla", "--set", "training=true", "--seed", "4", "--bound", "xla=1e-4"
    )
    assert "training=True" in text and "seed 4" in text and "1.0e-04" in text and "states" in text


def test_verify_takes_inputs_of_a_function_by_place_and_by_name(folder):
    np.save("x.npy", np.float32([1, 2]))
    assert "double(x: f32[2])" in succeed("verify", "my_models:double", "--input", "x.npy", "--targets", "xla")
    text = succeed("verify", "my_models:two", "--input", "right=right.npy", "--input", "left.npy", "--targets", "xla")
    assert "two(left: f32[1,3], right: f32[1,3])" in text and "total" in text and "difference" in text


def test_a_bound_that_is_passed_is_exit_status_1(folder):
    result = call("verify", "digits.keras", "--targets", "numpy,xla", "--bound", "xla=1e-12")
    assert result.exit_code == 1 and result.stderr == ""
    assert "OUTSIDE" in result.stdout
    assert "xla: first differs at convolution in layer conv_1" in result.stdout
    assert result.stdout.splitlines()[-1] == "outside the bounds or failed: xla"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--targets", "xl"], "did you mean 'xla'"),
        (["--targets", "xla", "--dim", "M=3"], "no symbolic dimension 'M'; it has N"),
        (["--targets", "xla", "--input", "left.npy"], "rank 4"),
        (["--targets", "xla", "--input", "picture=image.npy"], "no input 'picture'; it has image"),
        (["--targets", "xla", "--set", "trainin=true"], "trainin"),
    ],
)
def test_a_verify_that_cannot_be(folder, arguments, said):
    assert said in fail("verify", "digits.keras", *arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--bound", "xla=small"], "not a number such as 1e-4"),
        (["--bound", "1e-4", "--bound", "xla=1"], "one bound for all targets"),
        (["--set", "training"], "training=true"),
        (["--seed", "x"], "--seed"),
    ],
)
def test_a_verify_of_wrong_usage(folder, arguments, said):
    assert said in fail("verify", "digits.keras", *arguments, status=2)


# export


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-o", "digits.onnx"], "says no target; give --to, or an ending of .pt: torchscript"),
        (["-o", "nowhere/digits.mlir"], "no folder 'nowhere'"),
        (["-o", "digits.mlir", "--set", "versio=1"], "no option 'versio'; did you mean 'version'"),
        (["-o", "digits.mlir", "--dim", "M=3"], "no symbolic dimension 'M'; it has N"),
    ],
)
def test_an_export_that_cannot_be(folder, arguments, said):
    before = sorted(os.listdir(folder))
    assert said in fail("export", "digits.keras", *arguments)
    assert sorted(os.listdir(folder)) == before


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("foo", "there is no target 'foo'."),
        ("stablhlo", "there is no target 'stablhlo'; did you mean 'stablehlo'?"),
        ("tf_function", "tf_function is no file, and only returned by lamina.export."),
    ],
)
def test_a_target_that_is_not_written_is_wrong_usage(folder, target, said):
    message = fail("export", "digits.keras", "-o", "digits.bin", "--to", target, status=2)
    shown = " ".join(message.split())
    assert f"{said} What is written: torchscript, pt2, saved_model, tflite, stablehlo, lamina" in shown
    assert not Path("digits.bin").exists()


def test_an_export_without_a_path(folder):
    assert "--output" in fail("export", "digits.keras", "--to", "stablehlo", status=2)
