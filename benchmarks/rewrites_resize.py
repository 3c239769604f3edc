"""What the CPU's rules for resizing gain: rows of benchmarks/rewrites.py, "O2,-rule" against "O2"."""

from collections.abc import Callable

from rewrites_gradients import gradient

from lamina.ir import Builder, Graph, Module, TensorType

OFF, BAND = "O2,-resize_by_sums", "O2,-known_band_as_sums"


def resized(old: tuple[int, ...], new: tuple[int, ...], method: str = "bilinear", antialias: bool = False) -> Module:
    """One resize."""
    graph = Graph()
    x = graph.add_input(TensorType("f32", old), "x")
    graph.outputs = [Builder(graph).resize(x, shape=new, method=method, antialias=antialias)]
    return Module({"main": graph})


IMAGES = (8, 56, 56, 64)

#: name: what leaves the rule out, and the graph.
CASES: dict[str, tuple[str, Callable[[], Module]]] = {
    **{
        f"resize: {method} x2, 8x56x56x64": (OFF, lambda m=method: resized(IMAGES, (8, 112, 112, 64), m))
        for method in ("bilinear", "bicubic", "lanczos3", "lanczos5")
    },
    "resize: bilinear x2, 8x16x16x64": (OFF, lambda: resized((8, 16, 16, 64), (8, 32, 32, 64))),
    "resize: bilinear x2, channels first, 8x64x56x56": (OFF, lambda: resized((8, 64, 56, 56), (8, 64, 112, 112))),
    "resize: bilinear x1/2, 8x56x56x64": (OFF, lambda: resized(IMAGES, (8, 28, 28, 64))),
    "resize: bilinear to 41x67, 8x56x56x64": (OFF, lambda: resized(IMAGES, (8, 41, 67, 64))),
    "resize: photographs 224 to 256": (OFF, lambda: resized((8, 224, 224, 3), (8, 256, 256, 3))),
    "resize: antialiased 512 to 64": (OFF, lambda: resized((1, 512, 512, 3), (1, 64, 64, 3), antialias=True)),
    "gradient of resize: bilinear x2, 8x16x16x64": (
        BAND,
        lambda: gradient(resized((8, 16, 16, 64), (8, 32, 32, 64)), 0),
    ),
    "gradient of resize: bilinear x2, 8x56x56x64": (BAND, lambda: gradient(resized(IMAGES, (8, 112, 112, 64)), 0)),
    "gradient of resize: bicubic x2, 8x56x56x64": (
        BAND,
        lambda: gradient(resized(IMAGES, (8, 112, 112, 64), "bicubic"), 0),
    ),
    "gradient of resize: bilinear x1/2, 8x56x56x64": (BAND, lambda: gradient(resized(IMAGES, (8, 28, 28, 64)), 0)),
}
