"""The graph and its meaning: types, nodes, ops, text, verification, evaluation. Needs NumPy and ml_dtypes only."""

from . import ops as ops
from .builder import Builder, binary_region, find_op
from .dims import Dim, DimLike, symbol
from .equality import difference, equal
from .evaluate import evaluate
from .graph import Graph, Guard, Module, Node, Parameter, Update, Value, clone, clone_module
from .location import Frame, Location
from .opdef import OPS, Attribute, NotDifferentiable, OpDef, Pending
from .parser import parse
from .text import constants_of, print_graph, print_module
from .types import TensorType, element_type
from .verify import verify

__all__ = [
    "OPS",
    "Attribute",
    "Builder",
    "Dim",
    "DimLike",
    "Frame",
    "Graph",
    "Guard",
    "Location",
    "Module",
    "Node",
    "NotDifferentiable",
    "OpDef",
    "Parameter",
    "Pending",
    "TensorType",
    "Update",
    "Value",
    "binary_region",
    "clone",
    "clone_module",
    "constants_of",
    "difference",
    "element_type",
    "equal",
    "evaluate",
    "find_op",
    "parse",
    "print_graph",
    "print_module",
    "symbol",
    "verify",
]
