"""torch modules from written source: scripted, and plain ones of Python."""

from __future__ import annotations

import re
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ...ir import Module
from ...ir.errors import ArgumentError, UnsupportedError
from ...ir.types import short_name
from ...lowering.torch.source import TorchSource, write_source
from ...lowering.torch.writer import held
from .parameters import parameter_arrays


def import_torch() -> Any:
    """The package. Raises :class:`UnsupportedError` where it is not installed."""
    try:
        import torch
    except ImportError:
        raise UnsupportedError(
            "this needs the package torch, which is not installed: pip install 'lamina[torch]'"
        ) from None
    if "tensorflow" in sys.modules:
        # Triton, which torch.export imports where it is installed, crashes a process that has imported TensorFlow.
        sys.modules.setdefault("triton", None)  # type: ignore[arg-type]
    return torch


@contextmanager
def quiet() -> Iterator[None]:
    """Without torch's warnings that TorchScript, or what it calls itself, is deprecated."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`?torch\.jit\.", DeprecationWarning)
        warnings.filterwarnings("ignore", r"`?torch\.jit\.", FutureWarning)
        yield


def to_torch(array: np.ndarray) -> Any:
    """A new tensor of the type that the element type is held in."""
    torch = import_torch()
    name = short_name(array.dtype)
    if name == "bf16":
        return torch.from_numpy(np.array(array).view(np.int16)).view(torch.bfloat16)
    if name == "ui64":
        return torch.from_numpy(np.array(array).view(np.int64))
    return torch.from_numpy(np.array(array.astype(held(array.dtype)), order="C"))


def to_input(array: np.ndarray) -> Any:
    """A tensor that ``forward`` takes in place of an array."""
    return to_torch(np.ascontiguousarray(array).reshape(array.shape))


def to_numpy(tensor: Any, dtype: np.dtype) -> np.ndarray:
    """A result as an array of its element type."""
    torch = import_torch()
    tensor = tensor.detach().cpu().resolve_conj().resolve_neg()
    if tensor.dtype == torch.bfloat16:
        return np.array(tensor.contiguous().view(torch.int16).numpy()).view(dtype)
    array: np.ndarray = tensor.numpy()
    if dtype == np.uint64:
        return np.array(array).view(np.uint64)
    return np.array(array) if array.dtype == dtype else array.astype(dtype)


def flat_runner(owned: Owned, module: Any) -> Callable[[list[np.ndarray]], list[np.ndarray]]:
    """A torch module made of ``owned`` as a function of flat arrays, without gradients."""
    torch = import_torch()
    types = [v.dtype for v in owned.source.module.main.outputs]

    def run(inputs: list[np.ndarray]) -> list[np.ndarray]:
        with torch.no_grad():
            returned = module(*map(to_input, inputs))
        outputs = owned.source.flatten(returned)
        return [to_numpy(t, dtype) for t, dtype in zip(outputs, types, strict=True)]

    return run


def checked_weights(target: str, weights: str) -> str:
    """``weights``. Raises :class:`ArgumentError` for what is no way to hold them."""
    if weights not in ("parameters", "constants"):
        raise ArgumentError(f"{target}: weights are 'parameters' or 'constants', received {weights!r}")
    return weights


class Owned:
    """A module for torch before it has its code: the source, and the tensors that it owns by name."""

    def __init__(self, module: Module, weights: str = "parameters") -> None:
        self.source: TorchSource = write_source(module)
        self.name = re.sub(r"\W", "_", f"Torch_{module.name}", flags=re.ASCII)
        arrays = parameter_arrays(self.source.module)
        self.tensors: list[tuple[tuple[str, ...], Any, bool]] = []
        self.persistent = weights == "parameters"
        for parameter in self.source.module.main.parameters:
            array = arrays[parameter.name]
            trains = weights == "parameters" and parameter.name in self.source.trained
            self.tensors.append((self.source.paths[parameter.name], self._laid_out(parameter.name, array), trains))

    def where(self, error: BaseException) -> str:
        """The layer that an error of the plain module comes from, as `` at layer``; empty where it is not known."""
        lines = self.source.text.splitlines()
        for frame in reversed(traceback.extract_tb(error.__traceback__)):
            if frame.filename == f"<{self.name}>" and frame.name == "forward":
                above = [line.strip() for line in lines[: frame.lineno] if line.strip().startswith("# ")]
                return f" at {above[-1][2:]}" if above else ""
        return ""

    def _laid_out(self, name: str, array: np.ndarray) -> Any:
        """In the order of axes in memory that suits the use."""
        order = self.source.orders.get(name)
        if order is None:
            return to_torch(array)
        back = sorted(range(len(order)), key=lambda i: order[i])
        return to_torch(np.ascontiguousarray(array.transpose(order))).permute(back)

    def fill(self, module: Any) -> Any:
        """Put the tensors into a torch module."""
        torch = import_torch()
        for path, tensor, trains in self.tensors:
            inner = module
            for part in path[:-1]:
                if part not in inner._modules:
                    inner.add_module(part, torch.nn.Module())
                inner = inner._modules[part]
            if trains:
                inner.register_parameter(path[-1], torch.nn.Parameter(tensor))
            else:
                inner.register_buffer(path[-1], tensor, persistent=self.persistent)
        for name, array in self.source.constants.items():
            module.register_buffer(name, to_torch(array), persistent=False)
        return module.eval()


def plain_module(owned: Owned) -> Any:
    """A module whose methods are the source, as Python."""
    import typing

    torch = import_torch()
    space: dict[str, Any] = {"torch": torch, "F": torch.nn.functional, "Tensor": torch.Tensor}
    space.update({n: getattr(typing, n) for n in ("List", "Tuple", "Dict")})
    methods: dict[str, Any] = {}
    code = compile(owned.source.text, f"<{owned.name}>", "exec")
    exec(code, space, methods)
    return owned.fill(type(owned.name, (torch.nn.Module,), methods)())


def scripted_module(owned: Owned) -> Any:
    """A scripted module with the source."""
    torch = import_torch()
    F, Tensor = torch.nn.functional, torch.Tensor  # noqa: F841, names that the source refers to
    # A class of its own: TorchScript takes modules of one class with equal attributes for one type.
    own_class = type(owned.name, (torch.nn.Module,), {"__module__": "lamina"})
    with quiet():
        scripted = torch.jit.script(owned.fill(own_class()))
        scripted.define(owned.source.text)
    return scripted
