"""The time that text takes for a graph of 10,000 nodes: printing it, reading it back, and as plain data for JSON.

python benchmarks/dump.py [--nodes 10000]
"""

import argparse
import json
import time

from common import seconds

import lamina
from lamina import ops
from lamina.frontend.dump import dump_json, dump_text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=10_000)
    options = parser.parse_args()

    def chain(x):
        for _ in range(options.nodes // 2):
            x = ops.tanh(x * x)
        return x

    stages = {
        "trace and compile at O2": lambda: lamina.compile(chain, lamina.Spec((None, 8))),
        "dump as text": lambda: dump_text(compiled, "traced"),
        "dump as JSON": lambda: json.dumps(dump_json(compiled, "traced")),
        "parse the text": lambda: lamina.parse(text),
    }
    start = time.perf_counter()
    compiled = stages.pop("trace and compile at O2")()
    nodes = sum(1 for _ in compiled.graph.walk())
    print(f"a graph of {nodes:,} nodes")
    print(f"  trace and compile at O2  {seconds(time.perf_counter() - start)}")
    text = dump_text(compiled, "traced")
    for name, stage in stages.items():
        start = time.perf_counter()
        stage()
        print(f"  {name:<24} {seconds(time.perf_counter() - start)}")


if __name__ == "__main__":
    main()
