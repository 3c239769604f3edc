"""Out of lamina: one module a target, each with ``save`` and ``runner``."""
