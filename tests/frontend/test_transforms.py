"""Function transforms against jax's, on the same functions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lamina
from lamina import keras, ops
from lamina.frontend import Variable
from lamina.ir.errors import ArgumentError, DifferentiationError, DTypeError, ShapeError, TracingError

X = np.float32([0.3, -1.2, 0.7, 2.0])
M = np.float32([[0.5, -1.0, 2.0, 0.1], [1.5, 0.2, -0.3, 0.9], [-0.4, 0.8, 1.1, -2.0], [0.6, 0.6, -0.7, 0.3]])


def close(got, wanted, rtol=2e-5):
    """Equal within ``rtol`` of the largest element: float32 derivatives of short compositions."""
    got, wanted = jax.tree.leaves(got), jax.tree.leaves(wanted)
    assert len(got) == len(wanted)
    for a, b in zip(got, wanted, strict=True):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * max(1.0, np.abs(b).max(initial=0)))


def both(f):
    """One function written for a module of functions, for lamina and for jax."""
    return (lambda *a: f(ops, *a)), (lambda *a: f(jnp, *a))


FUNCTIONS = {
    "polynomial": lambda n, x: n.sum(x * x * x - 2 * x),
    "tanh": lambda n, x: n.sum(n.tanh(x) * x),
    "exp_mean": lambda n, x: n.mean(n.exp(x) / (1 + n.square(x))),
    "norm": lambda n, x: n.sqrt(n.sum(x * x)),
    "matrix": lambda n, x: n.sum(n.sin(n.matmul(M, x)) * x),
    "outer": lambda n, x: n.sum(n.square(n.outer(x, x) - M)),
    "max": lambda n, x: n.max(n.sin(x) * 3),
    "sort": lambda n, x: n.sum(n.sort(x) * X),
    "cumsum": lambda n, x: n.sum(n.cumsum(x) ** 2),
    "take": lambda n, x: n.sum(n.take(x, np.array([0, 2, 2, 1])) ** 2 * X),
    "where": lambda n, x: n.sum(n.where(x > 0, n.log(n.abs(x)), x * x)),
    "concatenate": lambda n, x: n.prod(n.concatenate([x[:2], n.flip(x)[1:]])),
    "logsumexp": lambda n, x: n.log(n.sum(n.exp(x - n.max(x)))),
    "reshape": lambda n, x: n.sum(n.matmul(n.reshape(x, (2, 2)), n.transpose(n.reshape(x, (2, 2)))) ** 3),
}
functions = pytest.mark.parametrize("name", FUNCTIONS)


@functions
def test_gradients_and_hessians(name):
    ours, theirs = both(FUNCTIONS[name])
    close(lamina.value_and_grad(ours)(X), jax.value_and_grad(theirs)(X))
    close(lamina.hessian(ours)(X), jax.hessian(theirs)(X), 1e-4)


@pytest.mark.long
@functions
def test_third_derivatives(name):
    ours, theirs = both(FUNCTIONS[name])
    weights = np.float32([1, -2, 3, 0.5])
    third = lamina.grad(lambda x: ops.sum(ops.matmul(lamina.hessian(ours)(x), weights) * weights))
    close(lamina.vmap(lamina.hessian(ours))(M[:3]), jax.vmap(jax.hessian(theirs))(M[:3]), 1e-4)
    close(third(X), jax.grad(lambda x: jnp.sum(jax.hessian(theirs)(x) @ weights * weights))(X), 1e-3)


@functions
def test_forward_and_reverse_agree_with_jax(name):
    ours, theirs = both(FUNCTIONS[name])
    direction = np.float32([0.3, -0.1, 0.9, 1.0])
    close(lamina.jvp(ours, (X,), (direction,)), jax.jvp(theirs, (X,), (direction,)))
    value, pull = lamina.vjp(ours, X)
    wanted, theirs_pull = jax.vjp(theirs, X)
    close((value, pull(np.float32(2.0))), (wanted, theirs_pull(np.float32(2.0))))


@functions
def test_vmap_in_any_order_with_grad(name):
    ours, theirs = both(FUNCTIONS[name])
    rows = M[:3]
    close(lamina.vmap(ours)(rows), jax.vmap(theirs)(rows))
    close(lamina.vmap(lamina.grad(ours))(rows), jax.vmap(jax.grad(theirs))(rows))
    close(
        lamina.grad(lambda x: ops.sum(lamina.vmap(ours)(x)))(rows),
        jax.grad(lambda x: jnp.sum(jax.vmap(theirs)(x)))(rows),
    )
    close(lamina.jit(lamina.vmap(lamina.vmap(ours)))(rows[None]), jax.vmap(jax.vmap(theirs))(rows[None]))


UNARY = ["tanh", "sin", "exp", "square", "cos", "negative", "arctan", "log1p_of_square", "cumsum", "flip"]
BINARY = ["add", "subtract", "multiply", "matmul_row", "maximum", "divide_safe", "outer_sum"]


def _apply(n, step, values):
    kind, a, b = step
    x, y = values[a % len(values)], values[b % len(values)]
    match kind:
        case "log1p_of_square":
            return n.log1p(x * x)
        case "matmul_row":
            return n.matmul(M, x) * y
        case "divide_safe":
            return x / (2 + y * y)
        case "outer_sum":
            return n.sum(n.outer(n.tanh(x), y), axis=0)
        case _ if kind in UNARY:
            return getattr(n, kind)(x)
        case _:
            return getattr(n, kind)(x, y)


steps = st.lists(
    st.tuples(st.sampled_from(UNARY + BINARY), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=6
)


def random_composition(program, seed):
    """Compare derivatives of a program. Its values are squashed, so that float32 has digits left whatever it is."""

    def f(n, x):
        values = [x]
        for step in program:
            values.append(n.tanh(_apply(n, step, values)))
        return n.sum(values[-1] * X)

    ours, theirs = both(f)
    x = np.random.default_rng(seed).normal(size=4).astype(np.float32)
    close(lamina.value_and_grad(ours)(x), jax.value_and_grad(theirs)(x), 1e-4)
    close(lamina.hessian(ours)(x), jax.hessian(theirs)(x), 1e-3)
    close(lamina.jacobian(lamina.grad(ours), mode="reverse")(x), jax.hessian(theirs)(x), 1e-3)


@settings(max_examples=6, deadline=None)
@given(steps, st.integers(0, 2**31 - 1))
def test_random_compositions(program, seed):
    random_composition(program, seed)


@pytest.mark.long
@settings(max_examples=60, deadline=None)
@given(steps, st.integers(0, 2**31 - 1))
def test_many_random_compositions(program, seed):
    random_composition(program, seed)


@settings(max_examples=5, deadline=None)
@given(steps, st.integers(0, 2**31 - 1))
def test_gradients_against_finite_differences_in_float64(program, seed):
    def f(x):
        values = [x]
        for step in program:
            values.append(ops.tanh(_apply(ops, step, values)))
        return ops.sum(values[-1])

    x = np.random.default_rng(seed).normal(size=4)
    with jax.enable_x64(True):
        x = jnp.asarray(x)
        gradient = np.asarray(lamina.grad(f)(x))
        value = lamina.jit(f)
        step = 1e-6
        for i in range(4):
            shift = jnp.zeros(4).at[i].set(step)
            slope = (float(value(x + shift)) - float(value(x - shift))) / (2 * step)
            # The truncation error of a central difference is step**2 f''' and its rounding error eps/step: 1e-8 or so.
            assert abs(slope - gradient[i]) < 1e-6 * max(1, abs(slope))


# Pytrees, arguments.


def test_nests_arguments_and_aux():
    def f(n, p, x, scale):
        hidden = n.tanh(n.matmul(x, p["w"]) + p["b"])
        return n.sum(hidden) * scale, {"hidden": hidden}

    params = {"w": M, "b": X}
    ours = lamina.value_and_grad(lambda *a: f(ops, *a), argnums=(0, 2), has_aux=True)
    theirs = jax.value_and_grad(lambda *a: f(jnp, *a), argnums=(0, 2), has_aux=True)
    close(ours(params, M, 2.0), theirs(params, M, 2.0))
    gradient, aux = lamina.grad(lambda *a: f(ops, *a), has_aux=True)(params, M, 2.0)
    assert gradient.keys() == {"w", "b"} and aux.keys() == {"hidden"}


def test_jacobians_of_nests():
    def f(n, x, y):
        return {"a": n.outer(x, y), "b": n.sin(x)}

    ours, theirs = both(f)
    x, y = X[:3], X[1:]
    close(lamina.jacobian(ours, argnums=(0, 1))(x, y), jax.jacrev(theirs, argnums=(0, 1))(x, y))
    close(lamina.jacobian(ours, argnums=1, mode="forward")(x, y), jax.jacfwd(theirs, argnums=1)(x, y))
    close(lamina.hessian(lambda p: ops.sum(p["x"] ** 2) * ops.sum(p["y"] ** 3))({"x": x, "y": y}),
          jax.hessian(lambda p: jnp.sum(p["x"] ** 2) * jnp.sum(p["y"] ** 3))({"x": x, "y": y}))  # fmt: skip


def test_vmap_axes():
    f = lambda n, x, p: {"y": n.matmul(x, p["w"]) + p["b"], "s": n.sum(x)}  # noqa: E731
    ours, theirs = both(f)
    x, p = M[:, :3].copy(), {"w": np.ones((4, 2), np.float32) * 0.5, "b": np.arange(6, dtype=np.float32).reshape(2, 3)}
    axes = (1, {"w": None, "b": 1})
    for out in (0, {"y": 1, "s": 0}, {"y": -1, "s": 0}):
        close(lamina.vmap(ours, in_axes=axes, out_axes=out)(x, p), jax.vmap(theirs, in_axes=axes, out_axes=out)(x, p))
    close(lamina.vmap(lambda: ops.ones((2,)), axis_size=3)(), jnp.ones((3, 2)))
    close(lamina.vmap(lambda x, k: x + k, in_axes=(0, None))(X, 1.5), X + 1.5)


def test_symbolic_batches():
    """A gradient is traced once for every batch size."""
    f = lambda n, x: n.mean(n.square(n.tanh(x)))  # noqa: E731
    ours, theirs = both(f)
    compiled = lamina.compile(lamina.grad(ours), lamina.Spec((None, 4)))
    for size in (1, 3):
        close(compiled(M[:size]), jax.grad(theirs)(M[:size]))
    per_row = lamina.compile(lamina.vmap(lamina.grad(lambda x: ours(x))), lamina.Spec((None, 4)))
    close(per_row(M), jax.vmap(jax.grad(theirs))(M))
    assert len(per_row.graph.main.symbols) == 1


# Control flow.


def _jax_scan(f, init, xs):
    return jax.lax.scan(f, init, xs)


def test_scan():
    def f(n, scan, w, h, xs):
        def body(carry, x):
            h, count = carry
            new = n.tanh(n.matmul(w, h) + x * count)
            return (new, count * 0.9), (n.sum(new * h), new)

        (last, _), (sums, every) = scan(body, (h, np.float32(1.0)), xs)
        return n.sum(last * last) + n.sum(sums) + n.sum(every[1] * X)

    xs = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    args = (M * 0.3, X, xs)
    ours = lambda *a: f(ops, lambda b, i, x: ops.scan(b, i, x), *a)  # noqa: E731
    theirs = lambda *a: f(jnp, _jax_scan, *a)  # noqa: E731
    close(lamina.grad(ours, argnums=(0, 1, 2))(*args), jax.grad(theirs, argnums=(0, 1, 2))(*args))
    tangents = tuple(np.cos(a) for a in args)
    close(lamina.jvp(ours, args, tangents), jax.jvp(theirs, args, tangents))
    close(lamina.hessian(ours, argnums=1)(*args), jax.hessian(theirs, argnums=1)(*args), 1e-4)
    close(
        lamina.jacobian(lamina.grad(ours, 1), argnums=2, mode="reverse")(*args),
        jax.jacrev(jax.grad(theirs, 1), 2)(*args),
        1e-4,
    )
    batched = (args[0], np.stack([X, -X]), np.stack([xs, xs * 0.5], 1))
    axes = (None, 0, 1)
    close(lamina.vmap(lamina.grad(ours, 0), axes)(*batched), jax.vmap(jax.grad(theirs, 0), axes)(*batched))


def test_a_scan_keeps_only_what_its_derivative_needs():
    """Of a linear recurrence nothing has to be kept; of tanh its result, which the scan gives already."""

    def linear(w, xs):
        return ops.scan(lambda h, x: (h * 0.5 + x * 2.0, None), w, xs)[0]

    def stacked(f):
        module = lamina.trace(lambda w, xs: lamina.grad(lambda *a: ops.sum(f(*a)), (0, 1))(w, xs), X, M)
        first = next(n for n in module.main.nodes if n.op.name == "scan")
        return [r.shape for r in first.results[first.attributes["carries"] :]]

    assert stacked(linear) == []
    assert stacked(lambda w, xs: ops.scan(lambda h, x: (ops.tanh(h + x), None), w, xs)[0]) == [(4, 4)]


def test_weight_gradients_of_a_scan_are_summed_in_one_product():
    def f(w, h, xs):
        return ops.sum(ops.scan(lambda h, x: (ops.tanh(ops.matmul(h, w) + x), None), h, xs)[0])

    xs = np.ones((5, 2, 4), np.float32)
    module = lamina.trace(lambda *a: lamina.grad(f)(*a), M, M[:2], xs)
    products = [n for n in module.main.nodes if n.op.name == "dot_general"]
    assert [len(p.attributes["lhs_contract"]) for p in products] == [2], str(module)
    theirs = lambda w, h, xs: jnp.sum(jax.lax.scan(lambda h, x: (jnp.tanh(h @ w + x), None), h, xs)[0])  # noqa: E731
    close(lamina.grad(f)(M, M[:2], xs), jax.grad(theirs)(M, M[:2], xs))


def test_cond_and_switch():
    f = lambda c, n, x: c(n.sum(x) > 0, lambda: n.sum(n.sin(x) * x), lambda: n.sum(x * x * x))  # noqa: E731
    ours = lambda x: f(ops.cond, ops, x)  # noqa: E731
    theirs = lambda x: f(jax.lax.cond, jnp, x)  # noqa: E731
    for x in (X, -X):
        close(lamina.jit(lamina.value_and_grad(ours))(x), jax.value_and_grad(theirs)(x))
        close(lamina.jit(lamina.hessian(ours))(x), jax.hessian(theirs)(x), 1e-4)
    rows = np.stack([X, -X])
    close(lamina.jit(lamina.vmap(lamina.grad(ours)))(rows), jax.vmap(jax.grad(theirs))(rows))
    branches = lambda n: [lambda x: n.sum(x), lambda x: n.sum(x * x), lambda x: n.sum(n.exp(x))]  # noqa: E731
    index = np.int32([0, 1, 2, 7])
    xs = np.stack([X] * 4)
    close(
        lamina.jit(lamina.vmap(lamina.grad(lambda i, x: ops.switch(i, branches(ops), x), 1)))(index, xs),
        jax.vmap(jax.grad(lambda i, x: jax.lax.switch(i, branches(jnp), x), 1))(index, xs),
    )


def test_while_goes_forward_only():
    def f(loop, n, x):
        return loop(lambda x, i: i < 4, lambda x, i: (n.sin(x) * 1.1, i + 1), (x, np.int32(0)))[0]

    ours = lambda x: f(lambda c, b, v: ops.while_loop(c, b, v), ops, x)  # noqa: E731
    theirs = lambda x: f(lambda c, b, v: jax.lax.while_loop(lambda s: c(*s), lambda s: b(*s), v), jnp, x)  # noqa: E731
    close(lamina.jit(lambda x: lamina.jvp(ours, (x,), (x,)))(X), jax.jvp(theirs, (X,), (X,)))
    with pytest.raises(DifferentiationError, match=r"while.*scan"):
        lamina.jit(lamina.grad(lambda x: ops.sum(ours(x))))(X)


def test_while_in_a_batch_turns_for_each_element_as_often_as_it_needs():
    def f(loop, x, most):
        return loop(lambda x, i: i < most, lambda x, i: (x * 2, i + 1), (x, np.int32(0)))[0]

    ours = lambda x, m: f(ops.while_loop, x, m)  # noqa: E731
    theirs = lambda x, m: f(lambda c, b, v: jax.lax.while_loop(lambda s: c(*s), lambda s: b(*s), v), x, m)  # noqa: E731
    most = np.int32([0, 3, 1, 5])
    close(lamina.jit(lamina.vmap(ours))(X, most), jax.vmap(theirs)(X, most))


# Functions with a derivative of their own, rematerialization.


def test_custom_gradient():
    @lamina.custom_gradient
    def clipped(x):
        return x * x, lambda ct: ops.clip(ct * 2 * x, -1.0, 1.0)

    @jax.custom_vjp
    def theirs(x):
        return x * x

    theirs.defvjp(lambda x: (x * x, x), lambda x, ct: (jnp.clip(ct * 2 * x, -1.0, 1.0),))
    close(lamina.grad(lambda x: ops.sum(clipped(x)))(X), jax.grad(lambda x: jnp.sum(theirs(x)))(X))
    close(lamina.vmap(lamina.grad(clipped))(X), jax.vmap(jax.grad(theirs))(X))
    close(lamina.vmap(lamina.grad(lamina.grad(clipped)))(X), jax.vmap(jax.grad(jax.grad(theirs)))(X))


def test_custom_gradient_goes_forward_where_it_is_linear():
    @lamina.custom_gradient
    def double(x):
        return ops.sin(x), lambda ct: ct * 3 * x

    close(lamina.jvp(double, (X,), (np.ones_like(X),)), (np.sin(X), 3 * X))


def test_stop_gradient():
    f = lambda s, x: x * s(x)  # noqa: E731
    close(lamina.vmap(lamina.grad(lambda x: f(lamina.stop_gradient, x)))(X), X)


def test_remat():
    f = lambda n, x: n.sum(n.sin(n.matmul(M, n.tanh(x))))  # noqa: E731
    ours, theirs = both(f)
    close(lamina.value_and_grad(lamina.remat(ours))(X), jax.value_and_grad(theirs)(X))
    close(lamina.hessian(lamina.remat(ours))(X), jax.hessian(theirs)(X), 1e-4)
    close(lamina.vmap(lamina.grad(lamina.remat(ours)))(M), jax.vmap(jax.grad(theirs))(M))


def test_remat_lowers_peak_memory():
    """A chain of blocks: without remat each keeps all its inner values for the way back."""

    def block(x):
        for _ in range(8):
            x = ops.sin(ops.matmul(x, x))
        return x

    def gradient(block):
        return lamina.compile(lamina.grad(lambda x: ops.sum(block(block(block(block(x)))))), lamina.Spec((128, 128)))

    kept, again = gradient(block), gradient(lamina.remat(block))
    x = np.random.default_rng(0).normal(size=(128, 128)).astype(np.float32) / 128
    close(again(x), kept(x), 1e-4)
    assert again.memory()["temporaries"] < 0.5 * kept.memory()["temporaries"]


# Layers, models, Variables.


def test_models_and_layers():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="tanh"), keras.layers.Dense(1)])
    w1, b1, w2, b2 = (np.asarray(v.value) for v in model.weights)
    theirs = lambda x: (jnp.tanh(x @ w1 + b1) @ w2 + b2)[0, 0]  # noqa: E731
    close(lamina.grad(lambda x: model(x)[0, 0])(M[:1]), jax.grad(theirs)(M[:1]))
    rows = M[:, None]
    close(lamina.vmap(model)(rows)[:, 0, 0], jax.vmap(theirs)(rows))
    close(lamina.jacobian(model.layers[0])(M[:2]).shape and lamina.jacobian(lambda x: model(x))(M[:1])[0, 0],
          jax.grad(theirs)(M[:1]))  # fmt: skip


def test_gradients_by_variables_and_assignments_in_the_function():
    from lamina.frontend.transforms import gradients_of

    w, seen = Variable(X, name="w"), Variable(np.float32(0), trainable=False, name="seen")

    def body():
        seen.assign_add(1.0)
        return ops.sum(w * w) * seen, {"sum": ops.sum(w)}

    loss, aux, (gradient,) = gradients_of(body, [w])
    close((loss, aux["sum"], gradient), (np.sum(X * X), np.sum(X), 2 * X))
    assert float(seen.value) == 1
    compiled = lamina.jit(lambda: gradients_of(body, [w])[2][0])
    close(compiled(), 4 * X)
    assert float(seen.value) == 2


def test_python_sees_values_where_nothing_is_compiled(capsys):
    def f(x):
        if x > 0:  # the value is known: a gradient that is called on arrays runs at once
            print(f"positive {x:.1f}")
            return x * x
        return -x * 3

    assert float(lamina.grad(f)(2.0)) == 4.0
    assert float(lamina.grad(f)(-2.0)) == -3.0
    assert capsys.readouterr().out == "positive 2.0\n"
    with pytest.raises(TracingError, match="the truth of"):
        lamina.jit(lamina.grad(f))(2.0)


# What bad input gets.


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: lamina.grad(lambda x: x * 2)(X), ShapeError, "one scalar.*jacobian"),
        (lambda: lamina.grad(lambda x: ops.sum(x))(np.arange(3)), DTypeError, "should be float"),
        (lambda: lamina.grad(lambda x: ops.argmax(x))(X), DTypeError, "real float"),
        (lambda: lamina.grad(lambda x: ops.sum(x), argnums=1)(X), ArgumentError, "argnums=1"),
        (lambda: lamina.grad(lambda x: ops.sum(x), has_aux=True)(X), ArgumentError, "pair"),
        (lambda: lamina.vmap(lambda x, y: x + y)(X, X[:3]), ShapeError, "one size"),
        (lambda: lamina.vmap(lambda x: x, in_axes=2)(M), ShapeError, "in_axes=2"),
        (lambda: lamina.vmap(lambda: 1.0)(), ArgumentError, "axis_size"),
        (lambda: lamina.vmap(lambda x: x, out_axes=None)(X), ShapeError, "out_axes"),
        (lambda: lamina.jvp(lambda x: x, (X,), (X[:2],)), ShapeError, "tangents"),
        (lambda: lamina.vjp(lambda x: x, X)[1]({"a": X}), ArgumentError, "structure"),
        (lambda: lamina.jacobian(lambda x: x, mode="sideways"), ArgumentError, "sideways"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_variable_cannot_hold_a_batch():
    total = Variable(np.float32(0), trainable=False, name="total")

    def f(x):
        total.assign_add(x)
        return x

    with pytest.raises(TracingError, match=r"vmap.*total.*differs within the batch"):
        lamina.vmap(f)(X)
    assert float(total.value) == 0


# Rematerialized layers.


@pytest.mark.parametrize(
    ("mode", "options", "regions"),
    [
        ("full", {}, 3), ("activations", {}, 3), (None, {}, 0), ("larger_than", {"output_size_threshold": 4}, 2),
        ("list_of_layers", {"layer_names": ["second"]}, 1),
    ],
)  # fmt: skip
def test_remat_scope(mode, options, regions):
    from lamina.frontend.transforms import gradients_of

    def build(scope):
        keras.utils.set_random_seed(0)
        with scope:
            sizes = {"first": 8, "second": 5, "third": 3}
            layers = [keras.layers.Dense(size, "tanh", name=name) for name, size in sizes.items()]
            return keras.Sequential([keras.Input((4,)), *layers])

    from contextlib import nullcontext

    plain, model = build(nullcontext()), build(keras.RematScope(mode, **options))

    def gradients(model):
        return lamina.jit(lambda x: gradients_of(lambda: (ops.sum(model(x)), None), model.trainable_variables)[2])(M)

    close(gradients(model), gradients(plain))
    kinds = [n.op.name for n in lamina.trace(model).main.walk()]
    assert kinds.count("remat") == regions


def test_remat_scope_refuses_an_unknown_mode():
    with pytest.raises(ArgumentError, match="sideways"):
        keras.RematScope("sideways")


def test_vectorize():
    distance = ops.vectorize(lambda a, b: ops.abs(a - b))
    close(distance(X[:, None], X[None]), np.abs(X[:, None] - X[None]))
    product = ops.vectorize(lambda m, v: ops.matmul(m, v), signature="(m,n),(n)->(m)")
    close(product(np.stack([M, -M]), X), np.stack([M @ X, -M @ X]))
    power = ops.vectorize(lambda x, n: x**n, excluded={1})
    close(power(X, 3), X**3)
    close(ops.vectorized_map(lambda x: ops.sum(x) * x, M), M.sum(1, keepdims=True) * M)
    with pytest.raises(ArgumentError, match="signature"):
        ops.vectorize(lambda x: x, signature="m,n")


def test_compiled_programs_have_derivatives_by_their_graph():
    compiled = lamina.compile(lambda x: ops.sum(ops.tanh(x)), lamina.Spec((4,)))
    with pytest.raises(TracingError, match="call_module"):  # and not a derivative of 0
        lamina.grad(lambda x: compiled(x))(X)
    close(lamina.grad(lambda x: lamina.call_module(compiled, x))(X), 1 - np.tanh(X) ** 2)
