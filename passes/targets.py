"""What each target wants of the passes: rules that run on a specialized graph, and the composites these start from."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from ..ir.graph import Module
from ..ir.opdef import OPS
from .manager import LEVELS, Context, Pass, Record, apply_rules, register, run_pipeline
from .rewrite import Rule
from .rules import cpu


@dataclass(frozen=True)
class Target:
    """A target's rules, and the layout its convolutions run best in: ``nhwc``, ``nchw``, ``keep`` (as they are)."""

    name: str
    meaning: str
    rules: tuple[Rule, ...] = ()
    layout: str = "keep"

    @property
    def composites(self) -> frozenset[str]:
        """The ops that the target's rules start from, which a general pipeline therefore does not decompose."""
        return frozenset(n for rule in self.rules for n in rule.roots if n in OPS and OPS[n].is_composite)


#: The targets whose rules run here, by name. Exporters (torch, tf) take the graph before.
TARGETS: dict[str, Target] = {
    "cpu": Target("cpu", "XLA on CPUs", rules=cpu.RULES, layout="nhwc"),
    "gpu": Target("gpu", "XLA on GPUs"),
    "tpu": Target("tpu", "XLA on TPUs"),
}


def kept_composites(target: str) -> Collection[str]:
    """The composites that rules of ``target`` start from."""
    return TARGETS[target].composites if target in TARGETS else ()


def layout_of(target: str) -> str:
    """The layout that ``target`` runs convolutions in: ``nhwc``, ``nchw``, or ``keep`` for that of the program."""
    return TARGETS[target].layout if target in TARGETS else "keep"


def _target_pass(target: Target) -> Pass:
    def run(module: Module, context: Context) -> bool:
        return bool(target.rules) and apply_rules(module, context, target.rules)

    return register(
        Pass(target.name, f"rules for {target.meaning}", run, keeps=("signature", "static"), rules=target.rules)
    )


# Simplified once: XLA does the same again, and time counts here, for each set of sizes.
for _target in TARGETS.values():
    _target_pass(_target)
    LEVELS[f"target_{_target.name}"] = f"{_target.name},decompose{{final=true}},simplify{{rounds=1}}"


def run_target(
    module: Module, target: str, off: Collection[str] = (), verify: bool = False, keep_graphs: bool = False
) -> tuple[Module, list[Record]]:
    """Run the rules of ``target`` on a specialized module, then decompose what they left.

    Args:
        off: rules to leave out, by name.
        verify, keep_graphs: as in :func:`run_pipeline`.

    A target without rules here (``torch``, ``tf``) gives the module back as it is, in a list without records.
    """
    if target not in TARGETS:
        return module, []
    text = ",".join([f"target_{target}", *(f"-{name}" for name in sorted(off))])
    return run_pipeline(module, text, verify, keep_graphs, target)
