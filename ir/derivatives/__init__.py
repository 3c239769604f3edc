"""Derivative rules, which the declarations in ``ir/ops`` name; :class:`lamina.ir.opdef.OpDef` says what they take."""
