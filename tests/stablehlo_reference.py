"""What StableHLO programs give: on XLA, and by the specification's interpreter."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Sequence

import jax
import numpy as np
from jax.extend import backend
from jaxlib import _jax

from lamina.ir.literals import raw_bytes
from lamina.ir.types import element_type, short_name
from lamina.lowering.mlir import context, parse_program


def on_xla(text: str, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Compile a program as it is, and run it on the first device."""
    device = jax.devices()[0]
    with context(), jax.enable_x64(True):
        options = backend.get_compile_options(num_replicas=1, num_partitions=1)
        program = device.client.compile_and_load(parse_program(text), _jax.DeviceList((device,)), options)
        results = program.execute_sharded([jax.device_put(a, device) for a in arrays])
        return [np.asarray(r[0]) for r in results.disassemble_into_single_device_arrays()]


_INTERPRET = """
import base64, json, sys
import numpy as np
from jax.extend.mlir.dialects import stablehlo
from lamina.ir.types import element_type, short_name
from lamina.lowering.importer.reading import dtype_of
from lamina.lowering.mlir import array_attribute, context, parse_program

for text, given in json.load(sys.stdin):
    arrays = [np.frombuffer(base64.b64decode(d), element_type(t)).reshape(s) for t, s, d in given]
    with context():
        results = stablehlo.eval_module(parse_program(text), [array_attribute(a) for a in arrays])
        made = [(short_name(dtype_of(r.type)), np.array(r)) for r in results]
        print(json.dumps([[t, a.shape, base64.b64encode(a.tobytes()).decode()] for t, a in made]))
"""


def interpreted(programs: Sequence[tuple[str, Sequence[np.ndarray]]]) -> list[list[np.ndarray]]:
    """Run programs by the specification's interpreter, in a process of its own: it aborts where it lacks an op."""
    given = [
        (text, [(short_name(a.dtype), a.shape, base64.b64encode(raw_bytes(a)).decode()) for a in arrays])
        for text, arrays in programs
    ]
    done = subprocess.run(
        [sys.executable, "-c", _INTERPRET], input=json.dumps(given), capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert len(lines) == len(programs), done.stderr
    return [
        [np.frombuffer(base64.b64decode(d), element_type(t)).reshape(s) for t, s, d in json.loads(line)]
        for line in lines
    ]
