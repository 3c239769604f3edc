"""The process that compiles for chips that are not there; :mod:`ahead` starts it and talks to it.

It reads requests from standard input and answers on standard output: a line of JSON, then the bytes that it announces.
It ends at the end of its input, or when nothing was asked for a while.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
from typing import Any, BinaryIO

import jax
from jax.experimental.topologies import get_topology_desc

from .pjrt import compile_absent

#: Seconds without a request after which it ends, as it holds hundreds of megabytes.
_IDLE = 120.0


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until there are no more."""
    topologies: dict[str, Any] = {}
    while select.select([requests], [], [], _IDLE)[0]:  # nothing is buffered: a request follows the last answer
        line = requests.readline()
        if not line:
            return
        request = json.loads(line)
        module = requests.read(request["size"])
        try:
            key = json.dumps(request["topology"], sort_keys=True)
            if key not in topologies:
                topologies[key] = get_topology_desc(**request["topology"]).devices
            start = time.perf_counter()
            hlo, memory, cost, code = compile_absent(module, topologies[key])
            seconds = time.perf_counter() - start
            text = hlo.encode()
            answer = {"memory": memory, "cost": cost, "seconds": seconds, "hlo": len(text), "code": len(code)}
        except (jax.errors.JaxRuntimeError, NotImplementedError) as error:
            answer, text, code = {"error": str(error)}, b"", b""
        answers.write(json.dumps(answer).encode() + b"\n" + text + code)
        answers.flush()


if __name__ == "__main__":
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)  # what libraries print is no answer
        serve(sys.stdin.buffer, answers)
