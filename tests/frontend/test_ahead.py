"""``lamina.compile(..., target="gpu:h100x8")``: what is refused, what is seen, what is saved.

Compilers that can't be installed for a machine's platform are skipped by name.
"""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import lamina
from lamina import Spec, keras, ops
from lamina.frontend import ahead as frontend_ahead
from lamina.ir.errors import ArgumentError, DeviceError, UnsupportedError
from lamina.runtime import ahead
from lamina.runtime.targets import parse_target

TESTS = Path(__file__).resolve().parent.parent


def needs(target):
    try:
        ahead.check_installed(parse_target(target))
    except UnsupportedError as error:
        return pytest.mark.skipif(True, reason=str(error))
    return pytest.mark.skipif(False, reason="")


gpu, tpu = needs("gpu:h100"), needs("tpu:v5e")


@pytest.fixture(scope="module")
def model():
    layers = [keras.layers.Dense(32, activation="relu"), keras.layers.Dense(4, activation="softmax")]
    made = keras.Sequential([keras.Input((8,)), *layers], name="small")
    made.compile(keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy")
    return made


@pytest.fixture(scope="module")
def trained(model):
    batch = Spec((None, 8)), Spec((None,), "int32")
    return lamina.compile(model, *batch, target="gpu:h100x8", training_step=True)


# What is refused


@pytest.mark.parametrize(("target", "extra"), [("gpu:h100", "gpu-aot"), ("tpu:v5e-2x2", "tpu-aot")])
def test_a_missing_compiler_says_which_extra_brings_it(model, monkeypatch, target, extra):
    monkeypatch.setattr(ahead, "_version", lambda package: None)
    with pytest.raises(UnsupportedError, match=rf"needs .* not installed: pip install 'lamina\[{extra}\]'"):
        lamina.compile(model, target=target)


def test_a_compiler_of_another_version_is_refused(model, monkeypatch):
    monkeypatch.setattr(ahead, "_version", lambda package: "0.1" if "12" in package else None)
    with pytest.raises(UnsupportedError, match=r"needs jax-cuda12-pjrt of jaxlib's version.*installed is 0\.1: pip"):
        lamina.compile(model, target="gpu:h100")


def test_an_unknown_chip_is_refused(model):
    with pytest.raises(ArgumentError, match=r"'gpu:h101': no such chip is known; did you mean gpu:h10"):
        lamina.compile(model, target="gpu:h101")


@gpu
def test_it_can_not_be_called(model):
    compiled = lamina.compile(model, target="gpu:h100")
    with pytest.raises(DeviceError, match=r"small is compiled for gpu:h100, NVIDIA H100.*to run it here"):
        compiled(np.zeros((2, 8), np.float32))
    with pytest.raises(DeviceError, match="which is not there"):
        compiled.device  # noqa: B018


@gpu
@pytest.mark.parametrize(
    ("dims", "message"),
    [
        ({}, "give N=32"),
        ({"M": 3}, "no dimension 'M'"),
        ({"N": 12}, "a batch of 12 can't be split evenly over 8 devices; give a multiple of 8"),
    ],
)
def test_wrong_sizes_are_refused(model, dims, message):
    with pytest.raises(ArgumentError, match=message):
        lamina.compile(model, target="gpu:h100x8").memory(**dims)


@gpu
def test_what_does_not_go_together_is_refused(model):
    with pytest.raises(ArgumentError, match=r"device='cpu' says where a program runs"):
        lamina.compile(model, target="gpu:h100", device="cpu")
    with pytest.raises(ArgumentError, match="training_step=True is for targets such as 'gpu:h100'"):
        lamina.compile(model, Spec((None, 8)), training_step=True)
    with pytest.raises(ArgumentError, match="give specs of x, y and perhaps sample_weight, received 0"):
        lamina.compile(model, target="gpu:h100", training_step=True)
    with pytest.raises(ArgumentError, match="expected a model"):
        lamina.compile(ops.sin, Spec((None, 8)), target="gpu:h100", training_step=True)


@gpu
def test_a_program_that_xla_refuses_says_why_and_the_next_one_compiles(monkeypatch):
    target = parse_target("gpu:h100")
    with pytest.raises(UnsupportedError, match=r"compiling wrong for gpu:h100: XLA's compiler died \(exit status 1\)"):
        ahead.build(target, b"this is no MLIR", "wrong")
    assert lamina.compile(lambda x: x @ x, Spec((4, 4)), target="gpu:h100").hlo().startswith("HloModule")


@gpu
def test_a_compiler_that_ended_idle_is_started_again():
    compiled = lamina.compile(lambda x: x @ x + 1.0, Spec((4, 4)), target="gpu:h100")
    assert compiled.memory()["arguments"] == 64
    process = ahead._workers["gpu"].process
    process.stdin.close()
    assert process.wait(timeout=60) == 0
    assert lamina.compile(lambda x: x @ x + 2.0, Spec((4, 4)), target="gpu:h100").memory()["arguments"] == 64
    assert ahead._workers["gpu"].process is not process


# What is seen


@gpu
def test_inference_for_one_gpu(model):
    compiled = lamina.compile(model, target="gpu:h100")
    memory = compiled.memory(N=16)
    weights = 4 * (8 * 32 + 32 + 32 * 4 + 4)
    assert memory["arguments"] == weights + 4 * 16 * 8
    assert memory["total"] == sum(v for k, v in memory.items() if k not in ("total", "limit", "aliased"))
    assert compiled.fits(N=16) and memory["limit"] == parse_target("gpu:h100").chip.memory
    assert compiled.cost(N=16)["flops"] >= 2 * 16 * (8 * 32 + 32 * 4)
    assert compiled.collectives(N=16) == []
    assert sum(compiled.fusions(N=16).values()) > 0
    assert "sm_90" in compiled.hlo(N=16) or "HloModule small" in compiled.hlo(N=16)
    assert len(compiled.executable(N=16)) > 1000
    found = compiled.roofline(N=16)
    assert found.seconds == max(found.compute, found.memory) > 0
    assert compiled.built(N=16) is compiled.built(N=16)


@gpu
def test_a_training_step_for_eight_gpus_sums_the_gradients_and_keeps_its_state_in_place(model, trained):
    (exchanged,) = trained.collectives(N=32)
    weights = 4 * (8 * 32 + 32 + 32 * 4 + 4)
    assert (exchanged.kind, exchanged.groups) == ("all-reduce", (tuple(range(8)),))
    assert weights <= exchanged.bytes <= weights + 64  # and the loss
    memory = trained.memory(N=32)
    assert memory["arguments"] - memory["aliased"] < memory["arguments"]
    assert memory["aliased"] >= 2 * weights  # both of Adam's averages
    alone = lamina.compile(model, Spec((None, 8)), Spec((None,), "int32"), target="gpu:h100", training_step=True)
    whole, part = alone.cost(N=32), trained.cost(N=32)
    assert part["flops"] == pytest.approx(whole["flops"] / 8)
    assert alone.collectives(N=32) == []
    assert not any("donated" in str(v) for v in model.variables)
    assert model.optimizer.iterations.numpy() == 0  # nothing ran


@gpu
def test_a_chip_that_is_too_small_is_told():
    compiled = lamina.compile(lambda x: ops.sum(x * 2.0), Spec((None, 1024, 1024)), target="gpu:l4")
    assert compiled.fits(N=16) is True
    assert compiled.fits(N=8192) is False


@gpu
@pytest.mark.parametrize("name", ["gpu:a100", "gpu:h200", "gpu:l4"])
def test_every_kind_of_gpu_compiles(name):
    compiled = lamina.compile(lambda x: ops.softmax(x @ x), Spec((64, 64)), target=name)
    assert compiled.memory()["arguments"] == 64 * 64 * 4
    assert compiled.roofline().seconds > 0


@gpu
def test_python_that_needs_an_integer_is_traced_for_each():
    def unrolled(x):
        return sum(x[:, i] for i in range(x.shape[1]))

    compiled = lamina.compile(unrolled, Spec((None, "T")), target="gpu:h100")
    assert compiled.memory(N=4, T=3)["arguments"] == 48
    assert compiled.memory(N=4, T=5)["arguments"] == 80


@gpu
def test_a_module_and_a_loaded_program_compile_as_well(model, tmp_path):
    module = lamina.trace(model)
    lamina.compile(module).save(tmp_path / "small.lamina")
    sizes = [
        lamina.compile(subject, target="gpu:h100").memory(N=8)["arguments"]
        for subject in (module, lamina.load(tmp_path / "small.lamina").graph)
    ]
    assert sizes[0] == sizes[1] > 0


@gpu
def test_products_keep_float32_unless_less_is_asked_for():
    import jax

    def notes():
        return lamina.compile(lambda x: x @ x, Spec((64, 64)), target="gpu:h100").roofline().notes

    assert notes() == ()
    with jax.default_matmul_precision("tensorfloat32"):
        assert notes() == ("float32 at precision 'high' as 3 products of tf32",)


@tpu
@pytest.mark.parametrize(("name", "devices"), [("tpu:v5e-2x2", 4), ("tpu:v4-2x2x1", 4)])
def test_one_process_compiles_for_several_kinds_of_tpu(model, name, devices):
    step = lamina.compile(model, Spec((None, 8)), Spec((None,), "int32"), target=name, training_step=True)
    (exchanged,) = step.collectives(N=32)
    assert exchanged.groups == (tuple(range(devices)),)
    assert step.built(N=32).cost["flops"] > 0
    assert step.fits(N=32)


@gpu
def test_the_layout_of_a_distribution_holds_for_the_targets_devices():
    done = subprocess.run(
        [sys.executable, TESTS / "ahead_on_mesh.py"],
        env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=8"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    # 16 rows of each half of the batch, summed over the four parts of the inner dimension
    assert seen["inference"] == [["all-reduce", 1, 16 * 16 * 4, [4, 4]]]
    assert seen["afterwards"] == seen["inference"]
    # forward as above; and each quarter of the weights' gradients, with the loss, over both halves of the batch
    gradients = 4 * (16 * 16 + 16 + 16 * 16 + 16 + 1)
    assert seen["training"] == [seen["inference"][0], ["all-reduce", 1, gradients, [2] * 4]]
    assert seen["memory"] < seen["data parallel"]  # a part of the weights on each
    assert "a mesh of {'batch': 2, 'model': 4}, 8 devices, and gpu:h100x4 has 4" in seen["other size"]


# What is saved


@gpu
def test_a_file_holds_the_executable_and_runs_here(model, tmp_path):
    path = tmp_path / "small.lamina"
    compiled = lamina.compile(model, target="gpu:h100")
    compiled.save(path, N=16)
    with zipfile.ZipFile(path) as archive:
        told = json.loads(archive.read("ahead/0.json"))
        assert archive.read("ahead/0.bin") == compiled.executable(N=16)
        assert archive.read("ahead/0.hlo").decode() == compiled.hlo(N=16)
    assert (told["target"], told["dims"], told["memory"]) == ("gpu:h100", {"N": 16}, compiled.memory(N=16))
    x = np.random.default_rng(0).standard_normal((5, 8)).astype(np.float32)
    np.testing.assert_allclose(lamina.load(path)(x), model(x), rtol=1e-6)


@gpu
def test_a_saved_training_step_trains_where_it_is_loaded(model, trained, tmp_path):
    path = tmp_path / "step.lamina"
    trained.save(path, N=32)
    step = lamina.load(path)
    draw = np.random.default_rng(0)
    x, y = draw.standard_normal((32, 8)).astype(np.float32), draw.integers(0, 4, 32).astype(np.int32)
    losses = [float(step(x, y)["loss"]) for _ in range(30)]
    assert losses[-1] < losses[0]


# The command


@gpu
def test_the_command_prints_and_writes(tmp_path, monkeypatch):
    from click.testing import CliRunner

    from lamina.cli import main

    (tmp_path / "for_chips.py").write_text(
        "from lamina import keras\n"
        "def small():\n"
        "    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)], name='small')\n"
        "    model.compile('sgd', 'mse')\n"
        "    return model\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "small.lamina"

    def command(*options):
        return CliRunner().invoke(main, ["compile", "for_chips:small", *options])

    done = command("--target", "gpu:h100x8", "--dim", "N=32", "-o", str(path))
    assert done.exit_code == 0, done.output
    for line in ("small(N=32) for gpu:h100x8: NVIDIA H100", "fits (arguments", "collectives: none", "estimated"):
        assert line in done.stdout
    assert path.exists()
    step = command("--target", "gpu:h100x8", "--dim", "N=32", "--training-step", "float32[N,4]", "--json")
    assert json.loads(step.stdout)["collectives"][0]["kind"] == "all-reduce"
    for options, message in (
        (("--target", "gpu:h100"), "give N=32"),
        (("--target", "gpu"), "names no target"),
        (("--target", "gpu:h100", "--training-step", "float32"), "no element type and shape"),
    ):
        failed = command(*options)
        assert failed.exit_code == 1 and message in failed.stderr
    assert command("--target", "gpu:h100", "-o", "x.bin").exit_code == 2


def test_specs_of_targets_are_read_from_text():
    assert repr(frontend_ahead.spec_of("int32[N]")) == repr(Spec(("N",), "int32"))
    assert repr(frontend_ahead.spec_of(" float32[N, 10] ")) == repr(Spec(("N", 10)))
    assert repr(frontend_ahead.spec_of("float32[]")) == repr(Spec(()))
