"""Resizing as XLA's CPU backend runs it fast."""

from __future__ import annotations

from ...rewrite import Rule

RULES: list[Rule] = []
