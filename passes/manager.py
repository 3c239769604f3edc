"""The pass manager: what a pass is, the table of passes, pipelines as text, and running them with records.

A pipeline is a list of passes with options, of the names ``O0`` to ``O3``, and of rules or passes to leave out:
``"O2,-fold_batch_norm"``, ``"simplify{fold_limit=64},layout{data=nhwc},decompose{keep=softmax+gelu}"``.
"""

from __future__ import annotations

import difflib
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..ir.errors import LaminaError, PassError
from ..ir.graph import Graph, Module, clone_module, without_collection
from ..ir.verify import verify as verify_module
from .rewrite import RULES, Log, Miss, Rule, RuleSet, rewrite


@dataclass(frozen=True)
class Option:
    """An option of a pass: its default, whose Python type it has (a tuple of names is written ``a+b``), and meaning.

    ``choices``: the only values allowed, if not empty.
    """

    default: Any
    meaning: str
    choices: tuple[Any, ...] = ()


@dataclass
class Context:
    """What one run of a pass is given: option values (``context["data"]``), rules left out, the target, the log."""

    options: Mapping[str, Any]
    off: frozenset[str] = frozenset()
    target: str = "cpu"
    log: Log = field(default_factory=Log)

    def __getitem__(self, name: str) -> Any:
        return self.options[name]

    def enabled(self, rules: Iterable[Rule]) -> RuleSet:
        """Those of ``rules`` that are not switched off."""
        return RuleSet(r for r in rules if r.name not in self.off)


PassFunction = Callable[[Module, Context], bool]


@dataclass(frozen=True)
class Pass:
    """A pass: it changes a module in place and says whether it did.

    Args:
        name, meaning: for pipelines and listings.
        run: ``(module, context) -> changed``.
        options: the options it takes.
        requires: properties (:data:`PROPERTIES`) that the module must have before.
        establishes: properties that the module has after.
        keeps: properties that the module does not lose. All three are checked.
        rules: the rules it applies; each can be switched off by name. ``steps``: names of further switchable parts.
    """

    name: str
    meaning: str
    run: PassFunction
    options: Mapping[str, Option] = field(default_factory=dict)
    requires: tuple[str, ...] = ()
    establishes: tuple[str, ...] = ()
    keeps: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()
    steps: tuple[str, ...] = ()


def _is_primitive(module: Module) -> bool:
    return not any(node.op.is_composite for node in module.walk())


def _is_static(module: Module) -> bool:
    return all(r.type.is_static for node in module.walk() for r in node.results)


def _is_call_free(module: Module) -> bool:
    return not any(node.op.name == "call" for node in module.walk())


#: What can hold of a module, by name. ``signature`` is about two modules: equal inputs, outputs, parameters, updates.
PROPERTIES: dict[str, Callable[[Module], bool]] = {
    "primitive": _is_primitive,  # no composites
    "static": _is_static,  # no symbolic dimensions
    "call_free": _is_call_free,  # no calls
}

#: Every pass by name.
PASSES: dict[str, Pass] = {}
#: What the optimization levels stand for.
LEVELS: dict[str, str] = {}


def register(definition: Pass) -> Pass:
    """Enter a pass into the table. Raises :class:`PassError` where the name is taken."""
    if definition.name in PASSES:
        raise PassError(f"pass {definition.name!r} is registered twice")
    PASSES[definition.name] = definition
    return definition


@dataclass(frozen=True)
class Step:
    """A pass in a pipeline with the options that are given."""

    name: str
    options: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        given = ",".join(f"{k}={_option_text(v)}" for k, v in self.options)
        return self.name + (f"{{{given}}}" if given else "")


@dataclass(frozen=True)
class Pipeline:
    """Steps in order, and the names of rules and passes that are switched off. ``str`` gives its text."""

    steps: tuple[Step, ...]
    off: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return ",".join([*map(str, self.steps), *(f"-{name}" for name in sorted(self.off))])


_ITEM = re.compile(r"\s*(?P<name>-?[A-Za-z_][A-Za-z_0-9]*)\s*(?:\{(?P<options>[^{}]*)\})?\s*(?:,|$)")


def parse_pipeline(text: str | Pipeline) -> Pipeline:
    """Read a pipeline.

    Raises :class:`PassError` where the text does not read, or names an unknown pass, option or rule.
    """
    if isinstance(text, Pipeline):
        return text
    if not isinstance(text, str):
        raise PassError(f"a pipeline is text such as 'O2,-fold_batch_norm', received {text!r}")
    steps: list[Step] = []
    off: set[str] = set()
    position = 0
    while position < len(text):
        item = _ITEM.match(text, position)
        if item is None:
            raise PassError(
                f"pipeline {text!r} does not read at {text[position:]!r}; expected passes separated by "
                "commas, such as 'simplify,layout{data=nhwc},decompose' or 'O2,-fold_batch_norm'"
            )
        position = item.end()
        name, options = item["name"], item["options"]
        if name.startswith("-"):
            off.add(_switchable(name[1:]))
        elif name in LEVELS:
            if options:
                raise PassError(f"{name} is a whole pipeline and takes no options; give them to a pass: {LEVELS[name]}")
            level = parse_pipeline(LEVELS[name])
            steps += level.steps
        else:
            steps.append(_step(name, options or ""))
    return Pipeline(tuple(s for s in steps if s.name not in off), frozenset(off))


def _unknown(what: str, name: str, known: Iterable[str]) -> PassError:
    names = sorted(known)
    near = difflib.get_close_matches(name, names, 3)
    hint = f"; did you mean {', '.join(near)}?" if near else "."
    return PassError(f"there is no {what} {name!r}{hint} There are: {', '.join(names)}")


def _switchable(name: str) -> str:
    known = {*PASSES, *RULES, *(step for p in PASSES.values() for step in p.steps)}
    if name not in known:
        raise _unknown("rule or pass to switch off", name, known)
    return name


def _step(name: str, options: str) -> Step:
    if name not in PASSES:
        raise _unknown("pass", name, [*PASSES, *LEVELS])
    declared = PASSES[name].options
    given = []
    for part in filter(None, (part.strip() for part in options.split(","))):
        key, equals, value = (x.strip() for x in part.partition("="))
        if key not in declared:
            raise _unknown(f"option of {name}", key, declared)
        if not equals:
            example = _option_text(declared[key].default)
            raise PassError(f"option {key!r} of {name} needs a value: {name}{{{key}={example}}}")
        given.append((key, _option_value(f"{name}{{{key}}}", declared[key], value)))
    return Step(name, tuple(given))


def _option_text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "+".join(value) if isinstance(value, tuple) else str(value)


def _option_value(where: str, option: Option, text: str) -> Any:
    kind = type(option.default)
    if kind is bool and text in ("true", "false"):
        value: Any = text == "true"
    elif kind is int and re.fullmatch(r"-?\d+", text):
        value = int(text)
    elif kind is tuple:
        value = tuple(filter(None, text.split("+")))
    elif kind is str:
        value = text
    else:
        raise PassError(f"{where}: expected {kind.__name__} such as {_option_text(option.default)}, received {text!r}")
    if option.choices and value not in option.choices:
        raise PassError(f"{where}: expected one of {', '.join(map(str, option.choices))}; received {text!r}")
    return value


@dataclass(frozen=True)
class Fired:
    """How often a rule fired in a pass, by layer, and the source line of the rule."""

    rule: str
    count: int
    layers: tuple[tuple[str, int], ...]
    source: str = ""


@dataclass(frozen=True)
class Record:
    """What one pass did: text of the step, time, numbers of nodes (regions included), rules that fired.

    ``before`` and ``after`` are the modules where the run was asked to keep them.
    """

    name: str
    seconds: float
    nodes_before: int
    nodes_after: int
    changed: bool
    fired: tuple[Fired, ...] = ()
    before: Module | None = None
    after: Module | None = None


def run_pipeline(
    module: Module, pipeline: str | Pipeline, verify: bool = False, keep_graphs: bool = False, target: str = "cpu"
) -> tuple[Module, list[Record]]:
    """Run a pipeline on a copy of ``module``.

    Args:
        pipeline: text (see the top of this file) or a parsed :class:`Pipeline`.
        verify: verify the module before the first and after each pass.
        keep_graphs: keep the module before and after each pass in its record.
        target: what the module is for; passes that choose (layouts, composites to keep) choose by it.

    Returns:
        The new module and a record of each pass.

    Raises :class:`PassError`, which names the pass, where one breaks the graph or a property that it promised to keep.
    """
    parsed = parse_pipeline(pipeline)
    if verify:
        _verify(module, "the module was wrong before the first pass")
    module = _copy(module, "the module was wrong before the first pass")
    records: list[Record] = []
    with without_collection():
        for step in parsed.steps:
            module, record = _run_step(module, step, parsed.off, target, verify, keep_graphs, records)
            records.append(record)
    return module, records


def _run_step(
    module: Module,
    step: Step,
    off: frozenset[str],
    target: str,
    verify: bool,
    keep_graphs: bool,
    earlier: Sequence[Record],
) -> tuple[Module, Record]:
    definition = PASSES[step.name]
    options = {name: option.default for name, option in definition.options.items()} | dict(step.options)
    context = Context(options, off, target)
    for name in definition.requires:
        if not PROPERTIES[name](module):
            raise PassError(f"pass {step} requires a module that is {name}; an earlier pass has to make it so")
    earlier_passes = f" (passes before it: {', '.join(r.name for r in earlier)})" if earlier else ""
    broken = f"pass {step} broke the graph{earlier_passes}"
    before = clone_module(module) if keep_graphs else None
    promised = _promises(definition, module) if verify else []
    signature = _signature(module) if verify and "signature" in definition.keeps else None
    count = _count(module)
    start = time.perf_counter()
    try:
        changed = definition.run(module, context)
    except PassError as error:
        raise PassError(f"pass {step}: {error}") from error
    except LaminaError as error:
        raise PassError(f"pass {step} failed: {type(error).__name__}: {error}") from error
    seconds = time.perf_counter() - start
    if verify:
        _verify(module, broken)
        for name in promised:
            if not PROPERTIES[name](module):
                raise PassError(f"pass {step} promises a module that is {name}, and it is not")
        if signature is not None and signature != _signature(module):
            raise PassError(
                f"pass {step} changed the inputs, outputs, parameters or updates:\n"
                f"  before {signature}\n  after  {_signature(module)}"
            )
    after = _copy(module, broken) if keep_graphs else None
    return module, Record(str(step), seconds, count, _count(module), changed, _fired(context.log), before, after)


def _promises(definition: Pass, module: Module) -> list[str]:
    kept = [name for name in definition.keeps if name in PROPERTIES and PROPERTIES[name](module)]
    return [*kept, *definition.establishes]


def _signature(module: Module) -> list[Any]:
    main = module.main
    return [
        [str(v.type) for v in main.inputs],
        [str(v.type) for v in main.outputs],
        [f"{p.name}: {p.type}" for p in main.parameters],
        [u.parameter.name for u in main.updates],
    ]


def _verify(module: Module, what: str) -> None:
    try:
        verify_module(module)
    except LaminaError as error:
        raise PassError(f"{what}:\n{error}") from error


def _copy(module: Module, what: str) -> Module:
    """A copy; of a module in which a value is missing there is none, and the error says what is wrong with it."""
    try:
        return clone_module(module)
    except KeyError:
        _verify(module, what)
        raise


def _count(module: Module) -> int:
    return sum(map(_size, module.functions.values()))


def _size(graph: Graph) -> int:
    return len(graph.nodes) + sum(_size(region) for node in graph.nodes if node.regions for region in node.regions)


def _fired(log: Log) -> tuple[Fired, ...]:
    return tuple(
        Fired(name, sum(layers.values()), tuple(layers.most_common()), RULES[name].source if name in RULES else "")
        for name, layers in log.fired.items()
    )


def format_records(records: Sequence[Record]) -> list[tuple[str, ...]]:
    """Rows of text for a table, the first one its head: pass, milliseconds, nodes, rules that fired and where."""
    rows: list[tuple[str, ...]] = [("pass", "ms", "nodes", "rules")]
    for record in records:
        nodes = str(record.nodes_before)
        if record.nodes_after != record.nodes_before:
            nodes += f" -> {record.nodes_after}"
        rules = ", ".join(_fired_text(f) for f in record.fired) or ("changed" if record.changed else "no change")
        rows.append((record.name, f"{record.seconds * 1e3:.1f}", nodes, rules))
    return rows


def _fired_text(fired: Fired, most: int = 3) -> str:
    named = [layer for layer, _ in fired.layers if layer]
    where = ", ".join(named[:most]) + (f" and {len(named) - most} more" if len(named) > most else "")
    return f"{fired.rule} x{fired.count}" + (f" ({where})" if where else "")


def explain(module: Module, rule: str, settings: Mapping[str, Any] | None = None) -> list[Miss]:
    """Why ``rule`` does not apply: one entry for each node that it looked at and left, the module being left as it is.

    Raises :class:`PassError` with near names for an unknown rule.
    """
    if rule not in RULES:
        raise _unknown("rule", rule, RULES)
    owner = next((p for p in PASSES.values() if RULES[rule] in p.rules), None)
    options = {name: option.default for name, option in owner.options.items()} if owner else {}
    log = Log(explain=True)
    for graph in clone_module(module).functions.values():
        rewrite(graph, RuleSet([RULES[rule]]), log, options | dict(settings or {}))
    return log.misses


def apply_rules(module: Module, context: Context, rules: Iterable[Rule]) -> bool:
    """Apply ``rules`` to all functions of a module; whether any fired."""
    enabled = context.enabled(rules)
    changed = False
    for graph in module.functions.values():
        changed |= rewrite(graph, enabled, context.log, context.options)
    return changed
