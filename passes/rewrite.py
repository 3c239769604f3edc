"""Rewriting: small named rules, and one worklist driver that applies them to a graph and its regions.

A rule is a function with :func:`rule` around it. It sees one node and either returns what replaces the node's results
or says no. Whatever it emits through the rewriter goes before the node; nodes left without use disappear; the new nodes
keep the locations of all that they replace.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import PurePath
from typing import Any

from ..ir.builder import Builder
from ..ir.errors import LaminaError, PassError
from ..ir.graph import Graph, Node, Update, Value
from ..ir.location import Location, merge
from ..ir.opdef import OpDef, as_tuple
from ..ir.types import same_type
from .patterns import Op, is_droppable, is_pure, match_node


@dataclass(frozen=True)
class NoMatch:
    """What a rule returns where its pattern fits and it refuses still: why."""

    reason: str


@dataclass(frozen=True)
class Rule:
    """A named rewrite.

    ``roots`` are the names of the ops it starts from (``"*"``: any), ``meaning`` the first line of its docstring,
    ``source`` the ``file:line`` where it is written.
    """

    name: str
    roots: tuple[str, ...]
    patterns: tuple[Op, ...]
    function: Callable[..., Any]
    meaning: str
    source: str

    def apply(self, r: Rewriter, node: Node) -> Any:
        """What replaces the results of ``node``: values, or None or :class:`NoMatch`."""
        if not self.patterns:
            return self.function(r, node)
        refusal = None
        for pattern in self.patterns:
            if pattern.name == node.op.name:
                for found in match_node(r, pattern, node, {}):
                    result = self.function(r, **found)
                    if result is not None and not isinstance(result, NoMatch):
                        return result
                    refusal = refusal or result
        return refusal


#: Every rule by name; a name is switched off by ``-name`` in a pipeline.
RULES: dict[str, Rule] = {}


def rule(*roots: str | Op) -> Callable[[Callable[..., Any]], Rule]:
    """Decorator: make a rule of a function, named as the function.

    Args:
        roots: names of ops (``"*"``: any); the function takes ``(r, node)``. Or patterns; it takes ``r`` and what the
            names in the pattern stand for. ``r`` is the :class:`Rewriter`, with which it emits nodes
            (``r.negate(x)``), and ``r.node`` the node it looks at.

    The function returns the value (or tuple of values) that replaces the results, of equal element types and shapes
    (new values take over the sharding); or None where the rule does not apply, or ``NoMatch("why")`` where it nearly
    does.
    """

    def wrap(function: Callable[..., Any]) -> Rule:
        name = function.__name__
        if name in RULES:
            raise PassError(f"rule {name!r} is declared twice: {RULES[name].source}")
        code = function.__code__
        patterns = tuple(p for p in roots if isinstance(p, Op))
        names = tuple(dict.fromkeys(p.name if isinstance(p, Op) else p for p in roots))
        meaning = (function.__doc__ or name).strip().splitlines()[0]
        source = f"{'/'.join(PurePath(code.co_filename).parts[-3:])}:{code.co_firstlineno}"
        RULES[name] = Rule(name, names, patterns, function, meaning, source)
        return RULES[name]

    return wrap


@dataclass(frozen=True)
class Miss:
    """A rule that did not apply to a node, and why."""

    rule: str
    node: str
    location: Location
    reason: str

    def __str__(self) -> str:
        return f"{self.rule} at {self.node} ({self.location}): {self.reason}"


@dataclass
class Log:
    """What happened during a pass: how often each rule fired in which layer; with ``explain`` also the misses."""

    explain: bool = False
    fired: dict[str, Counter[str]] = field(default_factory=dict)
    misses: list[Miss] = field(default_factory=list)

    def count(self, name: str, location: Location, times: int = 1) -> None:
        """Note that the rule or step ``name`` fired at ``location``."""
        self.fired.setdefault(name, Counter())[" + ".join(location.layers)] += times


class RuleSet:
    """Rules, indexed by the op they start from."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules = tuple(rules)
        self._by_op: dict[str, tuple[Rule, ...]] = {}

    def starting_at(self, op: str) -> tuple[Rule, ...]:
        """The rules that may apply to a node of ``op``, in order of declaration."""
        found = self._by_op.get(op)
        if found is None:
            found = self._by_op[op] = tuple(r for r in self.rules if op in r.roots or "*" in r.roots)
        return found


_SHARDED = NoMatch("the value in its place is laid over the devices in another way")

# How many nodes lie between the one a rule starts from and the farthest it looks at.
_REACH = 2

# The pseudo node at the end of a graph that uses the outputs and the updates' values.
_RETURN = OpDef("return", "the graph's results", lambda call, *types: (), lambda call, *arrays: ())


class Rewriter(Builder):
    """A graph while rules rewrite it. It is also the :class:`Builder` with which a rule emits its replacement.

    ``node`` is the node the rule looks at, ``settings`` the pass's options.
    """

    def __init__(self, graph: Graph, rules: RuleSet, log: Log, settings: Mapping[str, Any] | None = None) -> None:
        super().__init__(graph, nodes=[])
        self.settings = dict(settings or {})
        self.node: Node
        self._rules = rules
        self._log = log
        self._return = Node(_RETURN, graph.results, {})
        self._uses: dict[Value, dict[Node, int]] = {}
        self._next: dict[Node, Node] = {}
        self._previous: dict[Node, Node] = {}
        self._queue: deque[Node] = deque()
        self._queued: set[Node] = set()
        self._updated = {update.parameter.value for update in graph.updates}
        self._given = {p.value for p in graph.parameters}
        self._link([*graph.nodes, self._return])

    def _link(self, nodes: Sequence[Node]) -> None:
        for before, after in pairwise(nodes):
            self._next[before], self._previous[after] = after, before
        for node in nodes:
            self._use(node)
            self._enqueue(node)
        self._first = nodes[0]

    def _use(self, node: Node) -> None:
        for operand in node.operands:
            users = self._uses.get(operand)
            if users is None:
                self._uses[operand] = {node: 1}
            else:
                users[node] = users.get(node, 0) + 1

    def _enqueue(self, node: Node | None) -> None:
        if node is None or node is self._return or node in self._queued:
            return
        if self._rules.starting_at(node.op.name):
            self._queued.add(node)
            self._queue.append(node)

    # What rules ask.

    def users(self, value: Value) -> list[Node]:
        """The nodes that take ``value``; the graph's outputs and updates do not show."""
        return [node for node in self._uses.get(value, ()) if node is not self._return]

    def single_use(self, value: Value) -> bool:
        """Whether ``value`` is taken exactly once, outputs and updates counted."""
        return list(self._uses.get(value, {}).values()) == [1]

    def is_fixed_parameter(self, value: Value) -> bool:
        """Whether ``value`` is a parameter that this graph does not update."""
        return value in self._given and value not in self._updated

    # The driver.

    def run(self) -> bool:
        """Apply the rules until none applies; returns whether any did."""
        budget = 64 * len(self._queue) + 4096
        fired = 0
        while self._queue:
            node = self._queue.popleft()
            self._queued.discard(node)
            if node in self._next and self._rewrite(node):
                fired += 1
                if fired > budget:
                    raise PassError(f"the rules do not come to an end; the last ones: {self._most_fired()}")
        if fired:
            self._write_back()
        return fired > 0

    def _most_fired(self) -> str:
        counts = Counter({name: sum(where.values()) for name, where in self._log.fired.items()})
        return ", ".join(f"{name} x{count}" for name, count in counts.most_common(3))

    def _rewrite(self, node: Node) -> bool:
        self.node, self.location = node, node.location
        explain = self._log.explain
        for candidate in self._rules.starting_at(node.op.name):
            outcome = self._apply(candidate, node)
            if outcome is None or isinstance(outcome, NoMatch):
                if explain:
                    reason = outcome.reason if outcome else "the pattern does not fit"
                    self._log.misses.append(Miss(candidate.name, node.op.name, node.location, reason))
                continue
            self._replace(node, as_tuple(outcome))
            self._log.count(candidate.name, node.location)
            return True
        return False

    def _apply(self, candidate: Rule, node: Node) -> Any:
        """What the rule says of ``node``; checked, where that is a replacement."""
        self.nodes = []
        try:
            outcome = candidate.apply(self, node)
        except LaminaError as error:
            raise PassError(f"rule {candidate.name} ({candidate.source}) failed at {node}: {error}") from error
        if outcome is None or isinstance(outcome, NoMatch):
            return outcome  # nearly always
        values = as_tuple(outcome)
        if not have_types(values, node.results) or set(values) & set(node.results):
            raise PassError(
                f"rule {candidate.name} ({candidate.source}) replaced {[str(r.type) for r in node.results]} of {node} "
                f"by {[str(v.type) for v in values]}; the types should be equal and the values new"
            )
        return outcome if keep_sharding(node.results, values, self.nodes) else _SHARDED

    def _replace(self, node: Node, values: tuple[Value, ...]) -> None:
        new = self.nodes
        self._insert(new, node)
        for old, value in zip(node.results, values):
            if value.producer is not None and not value.name:
                value.name = old.name
            self._redirect(old, value)
        gone = self._erase(node)
        for made in reversed(new):  # what the rule emitted and did not use
            if not any(self._uses.get(r) for r in made.results) and is_droppable(made):
                self._erase(made)
        origins = [n.location for n in gone]
        origin = merge(origins)  # what most new nodes, which are where the node is, get
        for made in new:
            if made in self._next:
                made.location = origin if made.location is node.location else merge((made.location, *origins))
                self._enqueue(made)

    def _insert(self, new: Sequence[Node], before: Node) -> None:
        for made in new:
            last = self._previous.get(before)
            if last is None:
                self._first = made
            else:
                self._next[last], self._previous[made] = made, last
            self._next[made], self._previous[before] = before, made
            self._use(made)

    def _redirect(self, old: Value, new: Value) -> None:
        users = self._uses.pop(old, {})
        kept = self._uses.setdefault(new, {})
        for user, count in users.items():
            user.operands = [new if o is old else o for o in user.operands]
            kept[user] = kept.get(user, 0) + count
            self._enqueue_with_users(user, _REACH)

    def _enqueue_with_users(self, node: Node, reach: int) -> None:
        """Enqueue a node with a new operand, and those that may see the operand through it."""
        self._enqueue(node)
        if reach:
            for result in node.results:
                for user in self._uses.get(result, ()):
                    self._enqueue_with_users(user, reach - 1)

    def _erase(self, node: Node) -> list[Node]:
        """Take out ``node`` and whatever was there for it alone; returns what went."""
        gone, pending = [], [node]
        while pending:
            dead = pending.pop()
            if dead not in self._next:
                continue
            self._unlink(dead)
            gone.append(dead)
            for operand in dead.operands:
                users = self._uses[operand]
                users.pop(dead, None)
                producer = operand.producer
                if producer is None:
                    continue
                if not any(self._uses.get(r) for r in producer.results) and is_droppable(producer):
                    pending.append(producer)
                elif len(users) == 1:  # a single use may let another rule in
                    self._enqueue(producer)
                    self._enqueue(next(iter(users)))
        return gone

    def _unlink(self, node: Node) -> None:
        after, before = self._next.pop(node), self._previous.pop(node, None)
        if before is None:
            self._first = after
            del self._previous[after]
        else:
            self._next[before], self._previous[after] = after, before

    def _write_back(self) -> None:
        nodes, node = [], self._first
        while node is not self._return:
            nodes.append(node)
            node = self._next[node]
        graph, count = self.graph, len(self.graph.outputs)
        graph.nodes = nodes
        graph.outputs = self._return.operands[:count]
        graph.updates = [Update(u.parameter, v) for u, v in zip(graph.updates, self._return.operands[count:])]


def rewrite(
    graph: Graph,
    rules: RuleSet,
    log: Log | None = None,
    settings: Mapping[str, Any] | None = None,
    regions: bool = True,
) -> bool:
    """Apply ``rules`` to ``graph`` until none applies, first inside its regions.

    Args:
        log: receives what fired.
        settings: options that rules read as ``r.settings``.
        regions: whether to enter regions.

    Returns whether anything changed. Raises :class:`PassError` where a rule breaks a type or the rules go in circles.
    """
    log = log if log is not None else Log()
    changed = False
    if regions:
        for node in graph.nodes:
            for region in node.regions:
                changed |= rewrite(region, rules, log, settings)
    if not any(rules.starting_at(node.op.name) for node in graph.nodes):
        return changed
    return Rewriter(graph, rules, log, settings).run() or changed


def have_types(values: Sequence[Value], old: Sequence[Value]) -> bool:
    """Whether ``values`` may stand in the place of ``old``: as many, of equal element types and shapes."""
    return len(values) == len(old) and all(same_type(v.type, o.type) for v, o in zip(values, old))


def keep_sharding(old: Sequence[Value], values: Sequence[Value], new: Sequence[Node]) -> bool:
    """Give those of ``values`` that ``new`` nodes make the sharding of the ``old`` ones that they replace.

    Returns whether none is lost: values that were there before keep their own, which may be another.
    """
    for before, value in zip(old, values):
        if value.type == before.type:
            continue
        if value.producer in new:
            value.type = before.type
        elif before.type.sharding is not None:
            return False
    return True


def drop_dead(graph: Graph, log: Log | None = None) -> bool:
    """Remove nodes that neither outputs, updates nor side effects need, inside regions too."""
    live: set[Value] = set(graph.results)
    kept: list[Node] = []
    changed = False
    for node in reversed(graph.nodes):
        if live.isdisjoint(node.results) and is_droppable(node):
            changed = True
            if log is not None:
                log.count("dead_code", node.location)
            continue
        live.update(node.operands)
        kept.append(node)
        for region in node.regions:
            changed |= drop_dead(region, log)
    if len(kept) != len(graph.nodes):
        graph.nodes = kept[::-1]
    return changed


__all__ = ["Log", "Miss", "NoMatch", "RULES", "Rewriter", "Rule", "RuleSet", "drop_dead", "is_pure", "rewrite", "rule"]
