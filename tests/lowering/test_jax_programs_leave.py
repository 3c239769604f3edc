"""JAX's programs, imported, leave as TorchScript and as plain TensorFlow, and give there what JAX gives on XLA."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from jax_programs import PROGRAMS, QUICK, assert_close, draw

import lamina
from lamina.frontend.export import tf_function, torchscript

RUNNERS = {"torchscript": torchscript.runner, "tf_function": tf_function.runner}


def check(name: str, target: str) -> None:
    program = PROGRAMS[name]
    arrays = draw(name, program.args)
    module = lamina.from_jax(program.function, *arrays)
    found = RUNNERS[target](module)([np.asarray(a) for a in arrays])
    assert_close(found, jax.tree.leaves(jax.jit(program.function)(*arrays)), program.tolerance, name)


@pytest.mark.parametrize("target", RUNNERS)
@pytest.mark.parametrize("name", ["nn.attention.causal", "linalg.qr", *QUICK[::8]])
def test_program(name, target):
    check(name, target)


@pytest.mark.long
@pytest.mark.parametrize("target", RUNNERS)
@pytest.mark.parametrize("name", PROGRAMS)
def test_every_program(name, target):
    check(name, target)
