"""A layer against real Keras: a `Row` says which layer, with which config, on which inputs; `check` does the rest.

Adding a layer is a row in one of tests/frontend/layer_rows_*.py. What a row shows: weights (shapes, paths, types, which
train), outputs, masks, state after the call, `compute_output_shape`, the symbolic call, the graph with an open batch
evaluated in NumPy, the config both ways; and `check_policy` the same outputs in narrower types.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import jax
import keras as real
import numpy as np
import pytest
from keras.src.backend.common.masking import set_keras_mask
from model_pairs import plain, start

from lamina import keras as ours
from lamina.frontend.tracing import trace_flat
from lamina.ir import TensorType, evaluate
from lamina.ir.dims import symbol

POLICIES = ("float16", "bfloat16", "mixed_float16", "mixed_bfloat16")
# Half the distance from 1 to the next number: what one rounding may lose, relatively.
UNIT = {"float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
# Both run XLA on the same formulas, fused differently: sums of a few dozen terms are rounded in another order, each
# term by at most a unit (6e-8) of the largest; 1e-5 is some 170 of these.
RELATIVE = 1e-5


@dataclass(frozen=True)
class made:
    """A value that a function makes from the module `keras`, real or ours: `made(lambda k: k.layers.LSTM(3))`."""

    build: Callable[[Any], Any]

    def __repr__(self) -> str:
        lines = inspect.getsource(self.build).split("made(", 1)
        return lines[-1].partition(":")[2].strip().splitlines()[0][:60] if len(lines) == 2 else "made"


@dataclass(frozen=True)
class Row:
    """A layer with a config, called on inputs.

    `layer`: its name in keras.layers. `config`: constructor keywords. `shapes`: that of the input, or a list of them
    for a list of inputs; the first axis is the batch. `mask`: bool array, or list of arrays and None, of the inputs.
    `call`: further keywords of the call; arrays in it whose first axis is as long as the batch vary with the batch.
    Values in `config` and `call` may be `made(...)`. `dtype`, `low`, `high`: the inputs' element type and range; normal
    floats without a range. `open_batch`: whether the batch size may be open. `units`: how many units of the narrow
    type, relative to the largest output, results may be apart: 8 for a rounding more or less of a few intermediates,
    more for layers that round over and over.
    """

    layer: str
    config: dict[str, Any]
    shapes: Any
    mask: Any = None
    call: dict[str, Any] = field(default_factory=dict)
    dtype: str = "float32"
    low: float | None = None
    high: float | None = None
    open_batch: bool = True
    units: float = 8

    @property
    def id(self) -> str:
        config = {**self.config, **{f"call.{k}": v for k, v in mapped(_shown, self.call).items()}}
        masked = [] if self.mask is None else ["masked"]
        return "-".join([self.layer, *(f"{k}={v}" for k, v in config.items()), *masked])

    @property
    def is_float(self) -> bool:
        return np.issubdtype(np.dtype(self.dtype), np.floating)

    @property
    def batch(self) -> int:
        return (self.shapes[0] if isinstance(self.shapes, list) else self.shapes)[0]

    def inputs(self, seed: int = 0) -> Any:
        """Random inputs in the nest of `shapes`."""
        rng = np.random.default_rng(seed)

        def draw(shape: tuple[int, ...]) -> np.ndarray:
            if self.is_float:
                x = rng.normal(size=shape) if self.low is None else rng.uniform(self.low, self.high, shape)
            elif self.dtype == "bool":
                x = rng.uniform(size=shape) < 0.5
            else:
                x = rng.integers(0 if self.low is None else self.low, 10 if self.high is None else self.high, shape)
            return x.astype(self.dtype)

        return [draw(s) for s in self.shapes] if isinstance(self.shapes, list) else draw(self.shapes)

    def make(self, k: Any) -> Any:
        """The layer, named `it`, of the module `k`."""
        start()
        return getattr(k.layers, self.layer)(**{"name": "it", **resolved(self.config, k)})

    @property
    def takes_mask(self) -> bool:
        """Whether the layer is called with `mask=`; others find the masks on their inputs."""
        return "mask" in inspect.signature(getattr(real.layers, self.layer).call).parameters

    def arguments(self, k: Any, seed: int = 0) -> tuple[Any, dict[str, Any]]:
        """Input(s) and keywords of the call, the mask among them where the layer takes one."""
        keywords = resolved(self.call, k)
        if self.mask is not None and self.takes_mask:
            keywords["mask"] = self.mask
        return self.inputs(seed), keywords

    def symbolic_arguments(self, k: Any) -> tuple[Any, dict[str, Any], list[Any]]:
        """The same as `Input`s, for an open batch where the row allows it; and the list of these."""
        made_inputs: list[Any] = []

        def of(x: Any) -> Any:
            if not self.varies(x):
                return x
            batch = None if self.open_batch else x.shape[0]
            tensor = k.Input(batch_shape=(batch, *x.shape[1:]), dtype=x.dtype.name, name=f"x{len(made_inputs)}")
            made_inputs.append(tensor)
            return tensor

        arguments = mapped(of, self.arguments(k))
        return *arguments, made_inputs

    def varies(self, x: Any) -> bool:
        """Whether `x` is an array with a batch axis."""
        return isinstance(x, np.ndarray) and x.ndim > 0 and x.shape[0] == self.batch


def _shown(x: Any) -> Any:
    return "array" if isinstance(x, np.ndarray) else x


def mapped(function: Callable[[Any], Any], nest: Any) -> Any:
    """`function` of each leaf of a nest of dicts, lists and tuples, in order."""
    if isinstance(nest, dict):
        return {key: mapped(function, value) for key, value in nest.items()}
    if isinstance(nest, list | tuple):
        return type(nest)(mapped(function, value) for value in nest)
    return function(nest)


def leaves(nest: Any) -> list[Any]:
    """The leaves of a nest, in the order of `mapped`."""
    found: list[Any] = []
    mapped(found.append, nest)
    return found


def resolved(nest: Any, k: Any) -> Any:
    """The nest with what its `made` values make from `k`."""
    return mapped(lambda x: x.build(k) if isinstance(x, made) else x, nest)


def attach(tensors: Any, masks: Any, put: Callable[[Any, Any], None]) -> None:
    """Put the masks on the traced tensors, as the layer before would."""
    if masks is not None:
        for tensor, mask in zip(tensors, masks) if isinstance(tensors, list) else [(tensors, masks)]:
            put(tensor, mask)


def arrays(outputs: Any) -> Any:
    """A nest of outputs as NumPy arrays."""
    return jax.tree.map(np.asarray, outputs)


def random_values(layer: Any, seed: int = 1) -> list[np.ndarray]:
    """Weights for a layer: positive, so that variances may be among them."""
    rng = np.random.default_rng(seed)
    return [rng.uniform(0.2, 1.5, w.shape).astype(w.dtype) for w in (np.asarray(w.value) for w in layer.weights)]


def assert_close(got: Any, wanted: Any, relative: float = RELATIVE, what: str = "outputs") -> None:
    """Nests of equal structure, shapes and types, with values equal up to `relative` of the largest."""
    got, wanted = jax.tree.leaves_with_path(got), jax.tree.leaves_with_path(wanted)
    assert [p for p, _ in got] == [p for p, _ in wanted], what
    for (path, a), (_, b) in zip(got, wanted):
        a, b = np.asarray(a), np.asarray(b)
        where = f"{what}{jax.tree_util.keystr(path)}"
        assert (a.shape, a.dtype) == (b.shape, b.dtype), where
        a, b = a.astype("float64"), b.astype("float64")
        atol = relative * np.max(np.abs(b), initial=0, where=np.isfinite(b))
        np.testing.assert_allclose(a, b, rtol=relative, atol=atol, err_msg=where)


def reset(*layers: Any) -> None:
    """Stateful recurrent layers begin anew."""
    for layer in layers:
        if getattr(layer, "stateful", False):
            layer.reset_states() if hasattr(layer, "reset_states") else layer.reset_state()


def pair(row: Row) -> tuple[Any, Any]:
    """Ours and Keras's layer, built, with equal weights; the symbolic calls that build them are compared."""
    with no_random_values():
        mine, theirs = row.make(ours), row.make(real)
        results = []
        for k, layer in ((ours, mine), (real, theirs)):
            x, keywords, _ = row.symbolic_arguments(k)
            results.append(layer(x, **keywords))
    specs = [jax.tree.map(lambda t: (tuple(t.shape), *([t.dtype] if row.is_float else [])), y) for y in results]
    assert specs[0] == specs[1], "the symbolic call's shapes and types"  # of integers Keras declares another type
    described = [[(w.path, tuple(w.shape), w.dtype, w.trainable) for w in y.weights] for y in (mine, theirs)]
    assert described[0] == described[1], "weights"
    values = random_values(theirs)
    theirs.set_weights(values)
    mine.set_weights(values)
    return mine, theirs


@contextmanager
def no_random_values() -> Iterator[None]:
    """Random initial values are zeros: they are replaced, and drawing them would compile a program for each shape."""

    def zeros(key: Any, *args: Any, shape: Any = (), dtype: Any = "float32", **_: Any) -> np.ndarray:
        given = next((a for a in args if isinstance(a, tuple | list)), shape)
        return np.zeros(given, next((a for a in args if not isinstance(a, tuple | list | float | int)), dtype))

    with pytest.MonkeyPatch.context() as patch:
        for name in ("uniform", "normal", "truncated_normal"):
            patch.setattr(jax.random, name, zeros)
        yield


def called(row: Row, layer: Any) -> Any:
    """The outputs of a call of our layer, as arrays."""
    reset(layer)
    x, keywords = row.arguments(ours)
    return arrays(layer(x, **keywords))


def expected(row: Row, layer: Any) -> Any:
    """The outputs of Keras's layer, whose state changes as in a call."""
    reset(layer)
    x, keywords = row.arguments(real)
    nest = x, None if row.takes_mask else row.mask, keywords

    def call(given: list[Any]) -> Any:
        rest = iter(given)
        x, masks, keywords = mapped(lambda v: next(rest) if row.varies(v) else v, nest)
        attach(x, masks, set_keras_mask)
        return layer(x, **keywords)

    return run_keras(layer, call, [x for x in leaves(nest) if row.varies(x)])


def run_keras(layer: Any, call: Callable[[list[Any]], Any], given: list[Any]) -> Any:
    """Run `call(given)`, which calls the layer, as one program: that takes less time than one for each op.

    It is compiled without optimization, so that it rounds as op after op.
    """
    variables = layer.variables

    def run(state: list[Any], given: list[Any]) -> Any:
        with real.StatelessScope(state_mapping=list(zip(variables, state))) as scope:
            outputs = call(given)
        return outputs, [scope.get_current_value(v) for v in variables]

    compiled = jax.jit(run, compiler_options={"xla_backend_optimization_level": 0})
    outputs, after = compiled([v.value for v in variables], given)
    for variable, value in zip(variables, after, strict=True):
        variable.assign(value)
    return arrays(outputs)


def check(row: Row) -> None:
    """All that a row shows in its own types."""
    mine, theirs = pair(row)
    with no_random_values():
        check_config(mine, theirs)
    check_shapes(row, mine, theirs)
    values = mine.get_weights()
    wanted = expected(row, theirs)
    meaning, mask, updates = evaluated(row, mine)
    assert_close(meaning, wanted, what="outputs evaluated in NumPy")
    if row.mask is None or row.takes_mask:  # an array carries no mask
        assert_close(called(row, mine), wanted)
    for ours_after, theirs_after, before in zip(mine.weights, theirs.weights, values, strict=True):
        after = np.asarray(theirs_after.value)
        assert_close(ours_after.numpy(), after, what=f"{ours_after.path} after the call")
        assert_close(updates.get(ours_after.path, before), after, what=f"update of {ours_after.path}")
    check_masks(row, mine, theirs, mask)


def evaluated(row: Row, layer: Any) -> tuple[Any, Any, dict[str, Any]]:
    """Outputs, their masks, and state updates by path of the layer's graph for any batch size, in NumPy."""
    reset(layer)
    x, keywords = row.arguments(ours)
    keywords.pop("mask", None)  # it comes with the tensors, as from the layer before
    values = [v for v in leaves((x, row.mask, keywords)) if row.varies(v)]
    types = [TensorType(v.dtype, (symbol("N") if row.open_batch else v.shape[0], *v.shape[1:])) for v in values]

    def call(tensors: list[Any]) -> Any:
        given: Iterator[Any] = iter(tensors)
        inputs, masks, rest = mapped(lambda v: next(given) if row.varies(v) else v, (x, row.mask, keywords))
        attach(inputs, masks, lambda tensor, mask: setattr(tensor, "keras_mask", mask))
        y = layer(inputs, **rest)
        return y, jax.tree.map(lambda t: t.keras_mask, y)

    module, tree = trace_flat(call, types)
    outputs, updates = evaluate(module, *values, parameters={p.name: p.key.numpy() for p in module.main.parameters})
    paths = {p.name: p.key.path for p in module.main.parameters}
    y, mask = jax.tree.unflatten(tree, outputs)
    return y, mask, {paths[name]: value for name, value in updates.items() if name in paths}


def check_masks(row: Row, mine: Any, theirs: Any, in_graph: Any) -> None:
    """`compute_mask`, and the mask on the outputs in a graph."""
    x = row.inputs()
    got, wanted = (None if m is None else arrays(m) for m in (y.compute_mask(x, row.mask) for y in (mine, theirs)))
    assert_close(got, wanted, what="compute_mask")
    if row.mask is not None:
        carried = wanted if theirs.supports_masking else None
        assert_close(jax.tree.leaves(in_graph), jax.tree.leaves(carried), what="the output's mask")


def check_config(mine: Any, theirs: Any) -> None:
    """The config is Keras's, and either side makes an equal layer from it."""
    saved = plain(ours.saving.serialize_keras_object(mine))
    assert saved == plain(real.saving.serialize_keras_object(theirs))
    for k in (ours, real):
        again = k.saving.deserialize_keras_object(copy.deepcopy(saved))  # Keras takes parts out of it
        assert type(again) is type(mine if k is ours else theirs)
        assert plain(k.saving.serialize_keras_object(again)) == saved


def check_shapes(row: Row, mine: Any, theirs: Any) -> None:
    """`compute_output_shape` for the row's batch and an open one, where Keras's layer declares it.

    (Cells do not; Keras's base class would call them without their states.)
    """
    if type(theirs).compute_output_shape is real.layers.Layer.compute_output_shape:
        return
    for batch in (row.batch, None) if row.open_batch else (row.batch,):

        def shape_of(x: Any, batch: int | None = batch) -> Any:
            return (batch, *x.shape[1:]) if row.varies(x) else getattr(x, "shape", None)

        x, keywords = mapped(shape_of, row.arguments(real))
        named = {f"{name}_shape": shape for name, shape in keywords.items()}
        wanted_names = list(inspect.signature(theirs.compute_output_shape).parameters)[1:]
        named = {name: shape for name, shape in named.items() if name in wanted_names}
        got, wanted = (_plain_shapes(y.compute_output_shape(x, **named)) for y in (mine, theirs))
        assert got == wanted, f"compute_output_shape of {x}"


def _plain_shapes(nest: Any) -> Any:
    if isinstance(nest, list | tuple):
        return tuple(_plain_shapes(n) for n in nest)
    return {k: _plain_shapes(n) for k, n in nest.items()} if isinstance(nest, dict) else nest


@contextmanager
def policy(name: str) -> Iterator[None]:
    """Layers made meanwhile, those inside others too, compute in these types, in both libraries."""
    before = [k.config.dtype_policy() for k in (ours, real)]
    try:
        for k in (ours, real):
            k.config.set_dtype_policy(name)
        yield
    finally:
        for k, value in zip((ours, real), before):
            k.config.set_dtype_policy(value)


def check_policy(row: Row, name: str) -> None:
    """Outputs and state in narrower types: XLA may keep or drop an intermediate rounding when it fuses."""
    with policy(name):
        mine, theirs = pair(row)
        wanted = expected(row, theirs)
        relative = row.units * UNIT[name.removeprefix("mixed_")]
        if row.mask is not None and not row.takes_mask:
            return
        assert_close(called(row, mine), wanted, relative)
        for a, b in zip(mine.weights, theirs.weights, strict=True):
            assert_close(a.numpy(), np.asarray(b.value), relative, what=f"{a.path} after the call")
