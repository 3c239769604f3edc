"""Batching rules, which the declarations in ``ir/ops`` name; see :class:`lamina.ir.opdef.OpDef` for what they take."""
