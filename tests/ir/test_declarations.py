"""Every op's declaration is whole: meaning with a source, known attributes, rules that fit together."""

import inspect
import re

import pytest

from lamina.ir import OPS, Attribute, Builder, NotDifferentiable, Pending
from lamina.ir.errors import ArgumentError
from lamina.ir.opdef import _KINDS, REQUIRED, OpDef, declare, normalize_attributes

OPERATIONS = [pytest.param(op, id=name) for name, op in sorted(OPS.items())]
TRANSFORMS = ("batch", "jvp", "transpose", "vjp")
SOURCE = re.compile(r"\((.*)(StableHLO|CHLO|XLA|jax\.|keras\.|arXiv:|defined in |\b(19|20)\d\d\b)(.*)\)")


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


def test_transform_rules_are_there_or_pending():
    pending = {field: [] for field in TRANSFORMS}
    for op in OPS.values():
        for field in TRANSFORMS:
            rule = getattr(op, field)
            # A composite is transformed through its decomposition where it has no rule of its own.
            if rule is Pending and not op.is_composite:
                pending[field].append(op.name)
            assert rule in (None, Pending) or callable(rule) or isinstance(rule, NotDifferentiable)
            if isinstance(rule, NotDifferentiable):
                assert rule.reason, f"{op.name}: say why there is no {field}"
    for field, names in pending.items():
        print(f"{field}: {len(names)} primitives pending: {', '.join(names) or 'none'}")
    assert pending["vjp"] == [], "an op has a vjp or None, for the derivative comes from jvp and transpose"


def test_a_declaration_with_a_hole_is_refused():
    with pytest.raises(ArgumentError, match="needs infer and evaluate, or a decomposition"):
        declare(OpDef("hollow", "nothing (StableHLO)"))
    with pytest.raises(ArgumentError, match="declared twice"):
        declare(OPS["add"])
    assert "hollow" not in OPS
