"""What an op is: one declaration per op, and the table of all of them.

An op's declaration says everything the IR knows about it: attributes, type inference, NumPy evaluation, decomposition
for composites, batching rule and derivative. Each target has its own table of how it says the op (lowering/).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from .dims import Dim, DimLike
from .errors import ArgumentError, DTypeError
from .types import TensorType, element_type

if TYPE_CHECKING:
    from .builder import Builder
    from .graph import Graph, Value


class _Pending:
    """The sentinel of a rule that is not written yet; a test lists them."""

    def __repr__(self) -> str:
        return "Pending"


Pending = _Pending()


class _Through:
    """The sentinel of a transform rule that follows from what an op is made of."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __repr__(self) -> str:
        return f"by its {self.what}"


#: A composite is transformed by transforming its decomposition.
ByDecomposition = _Through("decomposition")
#: An op with regions is transformed by transforming these; the transform itself knows how (passes/).
ByRegions = _Through("regions")


@dataclass(frozen=True)
class NotDifferentiable:
    """In place of a derivative: there is none, for ``reason``."""

    reason: str


REQUIRED = object()


@dataclass(frozen=True)
class Attribute:
    """An attribute's kind and default.

    Kinds: ``int``, ``float``, ``bool``, ``str``, ``dtype``, ``array`` (a NumPy array), ``dim`` (integer or symbolic),
    ``ints``, ``dims``, ``strs`` (tuples), ``pairs`` (tuple of pairs of dimensions), ``groups`` (tuple of tuples of
    int),
    ``types`` (tuple of :class:`TensorType`), ``any`` (nested tuples of the plain kinds). A kind that ends in ``?`` may
    be None.
    """

    kind: str
    default: Any = REQUIRED


@dataclass
class Call:
    """One use of an op, as its rules see it: ``call["axis"]`` is an attribute.

    ``regions`` are graphs during inference; during evaluation ``run`` holds one callable for each
    (``arrays -> tuple of arrays``), and ``result_types`` the concrete result types.
    """

    op: OpDef
    attributes: Mapping[str, Any]
    regions: Sequence[Graph] = ()
    result_types: Sequence[TensorType] = ()
    run: Sequence[Callable[..., tuple[np.ndarray, ...]]] = ()
    call_function: Callable[..., Any] | None = None

    def __getitem__(self, name: str) -> Any:
        return self.attributes[name]


@dataclass(frozen=True)
class Linear:
    """In a transpose rule, the place of an operand that the op is linear in and whose value therefore is not known."""

    type: TensorType

    @property
    def shape(self) -> tuple[DimLike, ...]:
        return self.type.shape

    @property
    def dtype(self) -> np.dtype:
        return self.type.dtype

    @property
    def rank(self) -> int:
        return len(self.type.shape)


InferRule = Callable[..., Any]  # (call, *operand types) -> type or tuple of types
EvaluateRule = Callable[..., Any]  # (call, *arrays) -> array or tuple of arrays
DecomposeRule = Callable[..., Any]  # (builder, call, *values) -> value or tuple of values


@dataclass(frozen=True, eq=False)
class OpDef:
    """The declaration of an op.

    Args:
        name: unique; StableHLO's name where it has the op.
        meaning: one line with its source (section of the StableHLO specification, or a paper).
        infer: ``(call, *types) -> type(s)``; raises ShapeError/DTypeError/ArgumentError. None: a composite's types are
            those of its decomposition.
        evaluate: ``(call, *arrays) -> array(s)``, NumPy. None: a composite's value is that of its decomposition.
        attributes: name -> :class:`Attribute`.
        decompose: ``(builder, call, *values) -> value(s)``; present for composites only.
        regions: names of the regions it takes.
        elementwise: each result element depends on the operand elements at its place only; all shapes are equal.
        commutative: the two operands may be swapped.
        pure: same operands, same results, and nobody can tell whether it ran (so it may be merged, moved, dropped).
        jvp: ``(builder, call, primals, tangents, results) -> tangent(s)``. Primals and results are the node's values;
            a tangent is a value of its primal's type, or None for zero. A tangent enters linearly: by ops that have a
            ``transpose``. Or :class:`NotDifferentiable`, :data:`ByRegions`, :data:`ByDecomposition`.
        transpose: ``(builder, call, cotangent(s), *operands) -> cotangent(s)`` of an op that is linear in those
            operands that are a :class:`Linear`; others are values. Takes one cotangent for each result (a tuple where
            there are several, None for zero) and gives one for each operand (None for those that are not linear, and
            for zero). None: the op is not linear in anything.
        vjp: ``(builder, call, operands, results, cotangent(s)) -> cotangents``, where a composite has a better reverse
            derivative than jvp and transpose make of its decomposition. One cotangent for each operand, or None.
        vjp_attributes: attributes with which the op gives further results, after its own: on the way forward it is used
            with them, and ``vjp`` finds them among the results.
        batch: ``(builder, call, size, operands, batched) -> value(s)``. The operands marked in ``batched`` (at least
            one is) have one more dimension of ``size``, the first; so do all results.
    """

    name: str
    meaning: str
    infer: InferRule | None = None
    evaluate: EvaluateRule | None = None
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    decompose: DecomposeRule | None = None
    regions: tuple[str, ...] = ()
    elementwise: bool = False
    commutative: bool = False
    pure: bool = True
    batch: Any = Pending
    jvp: Any = Pending
    transpose: Any = None
    vjp: Any = None
    vjp_attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_composite(self) -> bool:
        return self.decompose is not None

    def __repr__(self) -> str:
        return f"<OpDef {self.name}>"


#: Every declared op by name.
OPS: dict[str, OpDef] = {}


def declare(definition: OpDef) -> OpDef:
    """Enter an op into the table. Raises :class:`ArgumentError` where the name is taken or the declaration has a
    hole."""
    if definition.name in OPS:
        raise ArgumentError(f"op {definition.name!r} is declared twice")
    if definition.decompose is None and (definition.infer is None or definition.evaluate is None):
        raise ArgumentError(f"op {definition.name!r} needs infer and evaluate, or a decomposition")
    OPS[definition.name] = definition
    return definition


def composite(
    name: str, meaning: str, infer: InferRule | None = None, **fields: Any
) -> Callable[[DecomposeRule], OpDef]:
    """Decorator: declare a composite whose decomposition is the decorated ``(builder, call, *values)``."""
    fields = {"jvp": ByDecomposition, "batch": ByDecomposition, **fields}

    def wrap(rule: DecomposeRule) -> OpDef:
        return declare(OpDef(name, meaning, infer, decompose=rule, **fields))

    return wrap


def normalize_attributes(op: OpDef, given: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in defaults and bring every attribute to its plain form. Raises on unknown, missing or ill-typed ones."""
    unknown = [name for name in given if name not in op.attributes]
    if unknown:
        raise ArgumentError(f"{op.name} has no attribute {unknown[0]!r}; it has {', '.join(op.attributes) or 'none'}")
    result = {}
    for name, attribute in op.attributes.items():
        value = given.get(name, attribute.default)
        if value is REQUIRED:
            raise ArgumentError(f"{op.name} needs the attribute {name!r}")
        try:
            result[name] = normalize_attribute(attribute.kind, value)
        except (TypeError, ValueError) as error:
            if isinstance(error, DTypeError):
                raise
            raise ArgumentError(
                f"{op.name}: attribute {name!r} should be {attribute.kind}, received {value!r}"
            ) from error
    return result


def _dim(value: Any) -> DimLike:
    return value if isinstance(value, Dim) else int(value.__index__())


def _int(value: Any) -> int:
    return int(value.__index__())


def _tensor_type(value: Any) -> TensorType:
    if not isinstance(value, TensorType):
        raise TypeError(value)
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _array(value: Any) -> np.ndarray:
    array = np.array(value, order="C")  # a copy: a constant never changes under the graph
    element_type(array.dtype)
    array.setflags(write=False)
    return array


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return tuple(_plain(v) for v in value)
    if value is None or isinstance(value, (bool, str, int, float, Dim)):
        return value
    raise TypeError(value)


_KINDS: dict[str, Callable[[Any], Any]] = {
    "int": _int,
    "float": float,
    "bool": bool,
    "str": _text,
    "dtype": element_type,
    "array": _array,
    "dim": _dim,
    "ints": lambda v: tuple(_int(x) for x in v),
    "dims": lambda v: tuple(_dim(x) for x in v),
    "strs": lambda v: tuple(_text(x) for x in v),
    "pairs": lambda v: tuple((_dim(a), _dim(b)) for a, b in v),
    "groups": lambda v: tuple(tuple(_int(x) for x in group) for group in v),
    "types": lambda v: tuple(_tensor_type(x) for x in v),
    "any": _plain,
}


def normalize_attribute(kind: str, value: Any) -> Any:
    """An attribute of ``kind`` in its plain form. Raises TypeError or ValueError (DTypeError too) where it is none."""
    if kind.endswith("?"):
        return None if value is None else _KINDS[kind[:-1]](value)
    return _KINDS[kind](value)


def as_tuple(result: Any) -> tuple:
    """A rule may return one thing or a tuple of them."""
    return result if isinstance(result, tuple) else (result,)


def infer_types(call: Call, types: Sequence[TensorType]) -> tuple[TensorType, ...]:
    """The result types of one use of an op; composites without an ``infer`` are decomposed in a scratch graph."""
    if call.op.infer is not None:
        return as_tuple(call.op.infer(call, *types))
    from .builder import Builder
    from .graph import Graph

    scratch = Graph()
    values = [scratch.add_input(t) for t in types]
    return tuple(v.type for v in decompose(Builder(scratch), call, values))


def decompose(builder: Builder, call: Call, values: Sequence[Value]) -> tuple[Value, ...]:
    """Emit the decomposition of a composite and return its results."""
    assert call.op.decompose is not None
    return as_tuple(call.op.decompose(builder, call, *values))
