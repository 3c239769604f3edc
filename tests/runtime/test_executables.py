"""Executables that are found on disk run as those that were compiled, bit for bit, and are used only where they fit."""

import os
import subprocess
import sys
import threading

import jax
import numpy as np
import pytest
from disk_caching import cache, compilations, forget, programs_on

import lamina
from lamina import Spec, keras, ops
from lamina.ir.errors import ArgumentError, ShapeError
from lamina.runtime import executables, pjrt
from lamina.runtime.disk_cache import disk_cache

__all__ = ["cache", "compilations"]  # fixtures


def ones(*shape):
    return np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)


def dense():
    net = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, kernel_initializer="ones"), keras.layers.ReLU()])
    return lamina.compile(net), lambda call: call(ones(5, 3))


def folded():
    layers = [keras.Input((6, 6, 2)), keras.layers.Conv2D(4, 3, kernel_initializer="ones")]
    net = keras.Sequential([*layers, keras.layers.BatchNormalization(moving_variance_initializer="ones")])
    return lamina.compile(net), lambda call: call(ones(2, 6, 6, 2))


def dictionaries():
    def both(d):
        return {"z": d["b"] - d["a"], "a": (d["a"] * 2, [d["b"] + 1])}

    return lamina.compile(both, {"b": Spec((2, 3)), "a": Spec((2, 3))}), lambda call: call(
        {"a": ones(2, 3), "b": 2 * ones(2, 3)}
    )


def stateful():
    net = keras.Sequential(
        [keras.Input((8,)), keras.layers.BatchNormalization(), keras.layers.Dropout(0.5, seed=3), keras.layers.ReLU()]
    )
    compiled = lamina.compile(net, training=True)
    return compiled, lambda call: (call(ones(16, 8)), call(ones(16, 8)), *net.get_weights())


def training():
    net = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, kernel_initializer="ones"), keras.layers.Dense(1)])
    net.layers[1].set_weights([np.ones((4, 1), np.float32), np.zeros(1, np.float32)])
    net.compile("adam", "mse")
    x, y = ones(16, 8), ones(16, 1)
    return net.train_on_batch, lambda call: (*(call(x, y) for _ in range(3)), *net.get_weights())


def wide():
    return lamina.compile(lambda x: ops.cumsum(x) / 3, Spec((None,), "float64")), lambda call: call(
        np.arange(7, dtype=np.float64)
    )


def donating():
    compiled = lamina.compile(lambda x: x * 2 + 1, Spec((64,)), donate=(0,))

    def run(call):
        x = jax.device_put(ones(64), may_alias=False)
        result = call(x)
        assert x.is_deleted()
        return result

    return compiled, run


def placed():
    compiled = lamina.compile(lambda x: ops.softmax(x), Spec((3, 4)), device="cpu:0")

    def run(call):
        result = call(ones(3, 4))
        assert result.committed
        return result

    return compiled, run


def sizes():
    compiled = lamina.compile(lambda x, unused: (ops.sum(x, axis=0), x.shape[0] * x), Spec((None, 3)), Spec((None, 2)))
    return compiled, lambda call: [call(ones(n, 3), ones(n, 2)) for n in (1, 4, 9, 4)]


def committed():
    compiled = lamina.compile(lambda x: ops.tanh(x), Spec((5,)))

    def run(call):
        here = jax.devices()[0]
        found = [
            call(ones(5)),
            call(jax.device_put(ones(5))),
            call(jax.device_put(ones(5), here)),
            call(ones(5)),
        ]
        assert [r.committed for r in found] == [False, False, True, False]
        return found

    return compiled, run


def scalars():
    return lamina.compile(lambda a, b: a * b + 1, Spec(()), Spec(())), lambda call: (
        call(2.0, 3),
        call(np.float32(2), 4.0),
    )


def narrow():
    return lamina.compile(lambda x: ops.exp(x), Spec((4,), "bfloat16")), lambda call: call(
        jax.numpy.arange(4, dtype="bfloat16")
    )


def loops():
    def count(x):
        return ops.while_loop(lambda i, y: i < 5, lambda i, y: (i + 1, y * 2), (0, x))

    return lamina.compile(count, Spec((3,))), lambda call: call(ones(3))


CASES = [
    *(dense, folded, dictionaries, stateful, training, wide, donating, placed, sizes, committed, scalars, narrow),
    loops,
]


def leaves(result):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(result)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_what_is_found_runs_as_what_was_compiled(case, cache, compilations):
    call, run = case()
    first = leaves(run(call))
    assert compilations and programs_on(cache)
    del call, run
    forget()
    compilations.clear()
    call, run = case()
    again = run(call)
    assert compilations == []
    for a, b in zip(first, leaves(again), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def test_the_structure_of_results_is_the_same(cache, compilations):
    shapes = []
    for _ in range(2):
        call, run = dictionaries()
        shapes.append(jax.tree.structure(run(call)))
        forget()
    assert shapes[0] == shapes[1] and "PyTreeDef({'a': (*, [*]), 'z': *})" in str(shapes[1])


def test_another_process_compiles_nothing(cache, tmp_path):
    script = """
import sys, numpy as np, jax, lamina
from lamina import keras
from lamina.runtime import executables
executables.LEAST_SECONDS = 0.0
net = keras.Sequential([keras.Input((8, 8, 2)), keras.layers.Conv2D(4, 3, kernel_initializer="ones"),
                        keras.layers.BatchNormalization(), keras.layers.Flatten(),
                        keras.layers.Dense(3, kernel_initializer="ones", activation="softmax")])
x = np.linspace(-1, 1, 2 * 8 * 8 * 2, dtype=np.float32).reshape(2, 8, 8, 2)
compiled = lamina.compile(net)
compiled_by_xla = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, seconds, **_: compiled_by_xla.append(event) if "backend_compile" in event else None)
y = np.asarray(compiled(x))
print(len(compiled_by_xla), y.tobytes().hex())
"""
    said = [
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
        for _ in range(2)
    ]
    assert [count for count, _ in said] == ["2", "0"]  # the program, and what depends on weights alone
    assert said[0][1] == said[1][1]


def test_wrong_arguments_are_the_same_errors(cache, compilations):
    for _ in range(2):
        call, run = dictionaries()
        for arguments, error in (
            ((ones(2, 3), ones(2, 3)), ArgumentError),
            (({"a": ones(2), "b": ones(2)},), ShapeError),
        ):
            with pytest.raises(error):
                call(*arguments)
        run(call)
        with pytest.raises(ArgumentError, match="structure"):
            call({"a": ones(2, 3)})
        forget()


def test_lists_for_tuples_are_taken(cache, compilations):
    for _ in range(2):
        compiled = lamina.compile(lambda pair: pair[0] - pair[1], (Spec((3,)), Spec((3,))))
        np.testing.assert_array_equal(compiled([ones(3), ones(3)]), np.zeros(3))
        np.testing.assert_array_equal(compiled((ones(3), 0 * ones(3))), ones(3))
        forget()


def run_dense():
    call, run = dense()
    return leaves(run(call))


@pytest.mark.parametrize(
    ("what", "where"),
    [("code_digest", executables), ("environment", pjrt)],
)
def test_other_code_or_another_machine_is_another_key(what, where, cache, compilations, monkeypatch):
    run_dense()
    forget()
    compilations.clear()
    monkeypatch.setattr(where, what, lambda *_: "other")
    run_dense()
    assert len(compilations) == 1
    assert len(programs_on(cache)) == 2


def test_options_of_the_compiler_are_part_of_the_environment(monkeypatch):
    device = jax.devices()[0]
    plain = pjrt.environment.__wrapped__(device)
    assert plain == pjrt.environment(device)
    monkeypatch.setenv("XLA_FLAGS", os.environ.get("XLA_FLAGS", "") + " --xla_cpu_enable_fast_math=true")
    assert pjrt.environment.__wrapped__(device) != plain


def test_lamina_s_own_code_is_part_of_the_key(tmp_path, monkeypatch):
    digests = set()
    for text in ("a = 1", "a = 22"):
        (tmp_path / "ir").mkdir(exist_ok=True)
        (tmp_path / "ir" / "x.py").write_text(text)
        for name in ("__init__.py", "compiler.py"):
            (tmp_path / name).touch()
        monkeypatch.setattr(executables, "__file__", str(tmp_path / "runtime" / "executables.py"))
        digests.add(executables.code_digest.__wrapped__())
    assert len(digests) == 2


@pytest.mark.parametrize("garbage", [b"no executable", b"", b"\0" * 10_000])
def test_code_that_xla_refuses_is_compiled_again(cache, compilations, garbage):
    expected = run_dense()
    (path,) = programs_on(cache)
    good = disk_cache().get(path.stem)
    head = good[: 4 + int.from_bytes(good[:4], "little")]
    disk_cache().put(path.stem, head + garbage)
    forget()
    compilations.clear()
    np.testing.assert_array_equal(run_dense()[0], expected[0])
    assert len(compilations) == 1
    assert disk_cache().get(path.stem)[: len(head)] == head and len(disk_cache().get(path.stem)) > len(head) + 100


@pytest.mark.parametrize("entry", [b"", b"\1\2", b"\xff\xff\xff\xff", b"\2\0\0\0{}", b"\4\0\0\0null", b"\3\0\0\0{{{"])
def test_an_entry_that_is_none_is_compiled_again(cache, compilations, entry):
    run_dense()
    (path,) = programs_on(cache)
    disk_cache().put(path.stem, entry)
    forget()
    compilations.clear()
    run_dense()
    assert len(compilations) == 1


def test_quick_compilations_are_not_kept(cache, compilations, monkeypatch):
    monkeypatch.setattr(executables, "LEAST_SECONDS", 1e9)
    run_dense()
    assert programs_on(cache) == []


def test_it_can_be_left_out_for_one_program(cache, compilations):
    def made(**options):
        compiled = lamina.compile(lambda x: ops.tanh(x) * 3, Spec((3,)), **options)
        return np.asarray(compiled(ones(3)))

    expected = made(cache=False)
    assert programs_on(cache) == []
    np.testing.assert_array_equal(made(), expected)
    assert len(programs_on(cache)) == 1
    forget()
    compilations.clear()
    made(cache=False)
    assert len(compilations) == 1


def test_without_a_cache_nothing_is_written(cache, compilations, monkeypatch):
    monkeypatch.setenv("LAMINA_CACHE", "0")
    run_dense()
    assert not cache.exists()


def test_custom_calls_are_not_kept(cache, compilations):
    from lamina.ir import Builder, Graph, TensorType

    graph = Graph()
    x = graph.add_input(TensorType("f32", (4,)), "x")
    call = {"target": "Sharding", "results": (x.type,)}
    graph.outputs = list(Builder(graph).emit("custom_call", (x,), call))
    np.testing.assert_array_equal(lamina.compile(graph)(ones(4))[0], ones(4))
    assert compilations and programs_on(cache) == []


def test_a_call_goes_the_way_of_jax_jit(cache, compilations):
    """Once its types are known, no Python of ours runs in a call of a program without state."""
    compiled = lamina.compile(lambda x: x + 1, Spec((3,)))
    compiled(ones(3))
    call = compiled._programs[0].call
    assert type(call) is type(jax.jit(lambda x: x))
    asked = []
    found = compiled._programs[0]._shared.executables
    original = type(found)._place

    def counted(*args):
        asked.append(1)
        return original(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(found), "_place", counted)
        for _ in range(3):
            compiled(ones(3))
        compiled(jax.device_put(ones(3)))
        for _ in range(3):
            compiled(jax.device_put(ones(3)))
    assert len(asked) <= 1  # for an array on the device, the first time


def test_inside_jax_it_is_part_of_the_larger_program(cache, compilations):
    def check():
        compiled = lamina.compile(lambda x: ops.tanh(x), Spec((3,)))
        alone = compiled(ones(3))
        inside = jax.jit(lambda x: compiled(x) * 2)(ones(3))
        np.testing.assert_allclose(inside, 2 * np.asarray(alone), rtol=1e-6)
        assert "lamina_call" in str(jax.make_jaxpr(lambda: compiled(ones(3)))())
        with jax.disable_jit():
            np.testing.assert_array_equal(compiled(ones(3)), alone)

    for _ in range(2):
        check()
        forget()


def test_threads_may_find_the_same_executable_at_once(cache, compilations):
    expected = run_dense()
    forget()
    compilations.clear()
    call, run = dense()
    barrier, results = threading.Barrier(8), [None] * 8

    def one(i):
        barrier.wait()
        results[i] = leaves(run(call))

    threads = [threading.Thread(target=one, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert compilations == []
    for result in results:
        np.testing.assert_array_equal(result[0], expected[0])


def test_a_sharded_call_is_compiled_by_jax(cache, tmp_path):
    """On four devices: arrays over several are no matter of the cache, those on any one are."""
    script = """
import jax, numpy as np, lamina
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
from lamina.runtime import executables
executables.LEAST_SECONDS = 0.0
found = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, seconds, **_: found.append(event) if "backend_compile" in event else None)
compiled = lamina.compile(lambda x: lamina.ops.tanh(x) * 2, lamina.Spec((None, 3)))
x = np.linspace(-1, 1, 24, dtype=np.float32).reshape(8, 3)
plain = np.asarray(compiled(x))
over = compiled(jax.device_put(x, NamedSharding(Mesh(np.array(jax.devices()), ("d",)), P("d"))))
assert len(over.sharding.device_set) == 4
np.testing.assert_array_equal(over, plain)
for device in jax.devices():
    here = compiled(jax.device_put(x, device))
    assert here.devices() == {device} and here.committed
    np.testing.assert_array_equal(here, plain)
with jax.default_device(jax.devices()[2]):
    assert compiled(x).devices() == {jax.devices()[2]}
print(len(found))
"""
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
    said = [
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, env=environment)
        for _ in range(2)
    ]
    assert [done.stdout.strip() for done in said] == ["2", "1"], said[0].stderr + said[1].stderr
