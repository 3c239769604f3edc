"""Every op's declaration is whole: meaning with a source, known attributes, rules that fit together."""

import inspect
import re

import pytest

from lamina.ir import OPS, Attribute, Builder, NotDifferentiable, Pending
from lamina.ir.errors import ArgumentError
from lamina.ir.opdef import _KINDS, REQUIRED, ByDecomposition, ByRegions, OpDef, declare, normalize_attributes
from lamina.passes.differentiate.forward_regions import RULES as FORWARD
from lamina.passes.differentiate.reverse_regions import EXPANSIONS
from lamina.passes.differentiate.reverse_regions import RULES as REVERSE
from lamina.passes.vectorize.regions import RULES as BATCHING

OPERATIONS = [pytest.param(op, id=name) for name, op in sorted(OPS.items())]
SOURCE = re.compile(r"\((.*)(StableHLO|CHLO|Shardy|XLA|jax\.|keras\.|arXiv:|defined in |\b(19|20)\d\d\b)(.*)\)")


@pytest.mark.parametrize("op", OPERATIONS)
def test_meaning_is_one_line_and_names_its_source(op):
    assert op.meaning.strip() and "\n" not in op.meaning
    assert SOURCE.search(op.meaning), f"{op.name} says {op.meaning!r}: where is it specified?"


@pytest.mark.parametrize("op", OPERATIONS)
def test_attributes_have_known_kinds_and_fitting_defaults(op):
    for name, attribute in op.attributes.items():
        assert isinstance(attribute, Attribute) and name.isidentifier()
        assert attribute.kind.removesuffix("?") in _KINDS, f"{op.name}: {name} has the unknown kind {attribute.kind!r}"
        if attribute.default is not REQUIRED:
            whole = normalize_attributes(OpDef(op.name, op.meaning, attributes={name: attribute}), {})
            assert whole[name] == attribute.default, f"{op.name}: the default of {name} is not in its plain form"


@pytest.mark.parametrize("op", OPERATIONS)
def test_types_and_values_are_defined(op):
    assert callable(op.infer), "a trace should not have to decompose an op to know its types"
    assert callable(op.decompose) != callable(op.evaluate), "a value comes from NumPy or from a decomposition, not both"
    first = next(iter(inspect.signature(op.infer).parameters.values()))
    assert first.kind in (first.POSITIONAL_ONLY, first.POSITIONAL_OR_KEYWORD)


@pytest.mark.parametrize("op", OPERATIONS)
def test_names_are_usable(op):
    assert OPS[op.name] is op
    assert re.fullmatch(r"[a-z][a-z0-9_]*", op.name)
    assert all(region.isidentifier() for region in op.regions) and len(set(op.regions)) == len(op.regions)
    # The builder calls ops by name; its own methods come first, and only `constant` is meant to.
    assert op.name == "constant" or not hasattr(Builder, op.name)


@pytest.mark.parametrize("op", OPERATIONS)
def test_flags_fit_together(op):
    if op.elementwise:
        assert not op.regions
    assert isinstance(op.pure, bool) and isinstance(op.commutative, bool)


@pytest.mark.parametrize("op", OPERATIONS)
def test_every_op_has_a_derivative_and_a_batching_rule(op):
    for field in ("jvp", "batch"):
        rule = getattr(op, field)
        assert rule is not Pending, f"{op.name}: say what its {field} is"
        if rule is ByDecomposition:
            assert op.is_composite
        elif rule is ByRegions:
            assert op.name in (FORWARD if field == "jvp" else BATCHING)
        elif isinstance(rule, NotDifferentiable):
            assert field == "jvp" and rule.reason, f"{op.name}: say why there is none"
        else:
            assert callable(rule)
    if op.jvp is ByRegions:
        assert op.name in REVERSE or op.name in EXPANSIONS
    assert op.transpose is None or callable(op.transpose)
    assert op.vjp is None or (op.is_composite and callable(op.vjp))
    assert all(name in op.attributes for name in op.vjp_attributes)


def test_a_declaration_with_a_hole_is_refused():
    with pytest.raises(ArgumentError, match="needs infer and evaluate, or a decomposition"):
        declare(OpDef("hollow", "nothing (StableHLO)"))
    with pytest.raises(ArgumentError, match="declared twice"):
        declare(OPS["add"])
    assert "hollow" not in OPS
