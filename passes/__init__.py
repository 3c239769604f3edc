"""Passes: graph in, graph out. Importing this package fills the tables of passes, rules and pipelines."""

import importlib as _importlib

from .manager import (
    LEVELS,
    PASSES,
    Context,
    Fired,
    Option,
    Pass,
    Pipeline,
    Record,
    explain,
    format_records,
    parse_pipeline,
    register,
    run_pipeline,
)
from .prepare import PREPARE, is_prepared, split_prepared
from .ready import Ready
from .rewrite import RULES, Miss, NoMatch, Rewriter, Rule, RuleSet, rewrite, rule
from .specialize import specialize
from .targets import TARGETS, run_target

for _pass in ("simplify", "recognize", "fold", "layout", "decompose", "inline", "counting_loops"):
    _importlib.import_module(f".{_pass}", __name__)

LEVELS |= {
    "O0": "decompose",
    "O1": "simplify,decompose",
    "O2": "simplify,recognize,fold,layout,decompose,simplify,prepare",
    "O3": "simplify,recognize,fold,layout,simplify,recognize,fold,decompose,simplify,prepare",
}

__all__ = [
    "LEVELS",
    "PASSES",
    "PREPARE",
    "RULES",
    "TARGETS",
    "Context",
    "Fired",
    "Miss",
    "NoMatch",
    "Option",
    "Pass",
    "Pipeline",
    "Ready",
    "Record",
    "Rewriter",
    "Rule",
    "RuleSet",
    "explain",
    "format_records",
    "is_prepared",
    "parse_pipeline",
    "register",
    "rewrite",
    "rule",
    "run_pipeline",
    "run_target",
    "specialize",
    "split_prepared",
]
