"""docs/targets.md is what the targets' tables say, and no op is without a form and a reason."""

import targets

from lamina.ir import OPS


def test_the_table_is_current():
    text = targets.DOCUMENT.read_text(encoding="utf-8")
    assert text == targets.document(), "run: python tests/targets.py"


def test_no_op_is_without_a_form_and_a_reason():
    assert targets.holes() == []


def test_rows_are_all_ops_and_reasons_are_of_ops():
    for column in targets.COLUMNS:
        assert set(column.unsupported) <= set(OPS) and all(column.unsupported.values())
    rows = [line.split("`")[1] for line in targets.document().splitlines() if line.startswith("| `")]
    assert rows == sorted(OPS)
