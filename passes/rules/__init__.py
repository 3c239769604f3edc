"""Rewrite rules, grouped by purpose. Each module lists its rules as ``RULES``."""
