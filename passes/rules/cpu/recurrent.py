"""Recurrent steps as XLA's CPU backend runs them fast."""

from __future__ import annotations

from ...rewrite import Rule

RULES: list[Rule] = []
